package verify

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"miniforge/internal/check"
	"miniforge/internal/order"
)

// atRest asks of the files themselves what the services only say: that nothing
// of an order can be read where the target keeps its data.
func (r *Run) atRest() []check.Check {
	return []check.Check{{ID: "ciphertext.at-rest", Title: "Nothing of a customer can be read in the files of the cloud", Run: r.ciphertext}}
}

// ciphertext lets orders that carry marks pass through the whole system, one to
// its good end and one to the dead letters, and searches all files for them.
func (r *Run) ciphertext(ctx context.Context, t *check.T) error {
	if r.o.Files == nil {
		return fmt.Errorf("%w: the files of this target cannot be looked at", check.ErrSkip)
	}
	before, err := stamps(r.o.Files)
	if err != nil {
		return err
	}
	marks, err := r.markedOrders(ctx, t)
	if err != nil {
		return err
	}
	after, err := stamps(r.o.Files)
	if err != nil {
		return err
	}
	found, err := search(ctx, r.o.Files, marks)
	if err != nil {
		return err
	}
	// Otherwise these are not the files in which the orders are.
	written := 0
	for name, stamp := range after {
		if before[name] != stamp {
			written++
		}
	}
	t.Claim("files written while the orders passed", "at least one", fmt.Sprint(written), written > 0)
	t.None(fmt.Sprintf("places in %d files (%d MB) where a mark can be read", found.files, found.bytes>>20), found.places)
	return nil
}

// markedOrders returns the marks, by what they were put into. That the orders
// give them back shows that they are stored somewhere.
func (r *Run) markedOrders(ctx context.Context, t *check.T) (map[string]string, error) {
	marks := map[string]string{}
	sku, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return nil, err
	}
	for _, token := range []string{"tok_visa", "tok_declined-"} {
		mark := func(what string) string {
			what += " of the order that pays by " + strings.Trim(token, "-")
			marks[what] = rand.Text()
			return marks[what]
		}
		want := request(token, order.Item{SKU: sku, Quantity: 1})
		want.Customer = order.Customer{Name: "Probe " + mark("name"), Email: mark("address") + "@miniforge.example"}
		if strings.HasSuffix(token, "-") { // the gateway did not issue it, so it declines
			want.Payment.Token += mark("payment token")
		}
		key := r.lab.newKey() + mark("idempotency key")
		if _, err := r.lab.placeAs(ctx, want, key); err != nil {
			return nil, err
		}
		o, err := r.lab.settled(ctx, order.IDForKey(key))
		if err != nil {
			return nil, err
		}
		check.Equal(t, "order "+o.ID+" is stored with its marks", true, o.Customer == want.Customer && o.Payment == want.Payment && o.IdempotencyKey == key)
	}
	return marks, nil
}

// A stamp tells whether a file was written to.
type stamp struct {
	size int64
	at   time.Time
}

func stamps(files fs.FS) (map[string]stamp, error) {
	all := map[string]stamp{}
	err := regular(files, func(name string, f fs.FileInfo) error {
		all[name] = stamp{f.Size(), f.ModTime()}
		return nil
	})
	return all, err
}

// regular calls f for each file. Files of a cloud that runs come and go.
func regular(files fs.FS, f func(name string, info fs.FileInfo) error) error {
	err := fs.WalkDir(files, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				err = f(name, info)
			}
		}
		if name != "." && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("look at the files of the cloud: %w", err)
	}
	return nil
}

// A find is what a search has seen.
type find struct {
	files  int
	bytes  int64
	places []string
}

// search looks into each file, and into those that a zip archive holds, for
// marks, however they are written.
func search(ctx context.Context, files fs.FS, marks map[string]string) (find, error) {
	var found find
	var all []needle
	for _, what := range slices.Sorted(maps.Keys(marks)) {
		all = append(all, needles(what, marks[what])...)
	}
	err := regular(files, func(name string, info fs.FileInfo) error {
		if err := context.Cause(ctx); err != nil && ctx.Err() != nil {
			return err
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		found.files++
		found.bytes += info.Size()
		places, err := searchIn(f, name, all)
		found.places = append(found.places, places...)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if strings.HasSuffix(name, ".zip") {
			return found.archive(files, name, all)
		}
		return nil
	})
	return found, err
}

// archive searches what a zip archive holds.
func (f *find) archive(files fs.FS, name string, all []needle) error {
	raw, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	z, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil {
		return nil //nolint:nilerr // whatever it is then was searched as it is
	}
	for _, member := range z.File {
		in, err := member.Open()
		if err != nil {
			return fmt.Errorf("open %s in %s: %w", member.Name, name, err)
		}
		places, err := searchIn(in, name+"!"+member.Name, all)
		f.places = append(f.places, places...)
		_ = in.Close()
		if err != nil {
			return fmt.Errorf("read %s in %s: %w", member.Name, name, err)
		}
	}
	return nil
}

// A needle is one way in which a mark may be written.
type needle struct {
	what string
	text []byte
}

// needles are those ways. Base64 writes three bytes as four characters, so that
// a text looks in three ways, by where in a longer one it begins; the characters
// at its ends depend on what is beside it.
func needles(what, mark string) []needle {
	all := []needle{
		{what, []byte(mark)}, {what + ", in lower case", []byte(strings.ToLower(mark))},
		{what + ", in hexadecimal", []byte(hex.EncodeToString([]byte(mark)))},
		{what + ", in hexadecimal", []byte(strings.ToUpper(hex.EncodeToString([]byte(mark))))},
	}
	for shift := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + mark))
		begin, end := (shift*8+5)/6, (shift+len(mark))*8/6
		all = append(all, needle{what + ", in base64", []byte(text[begin:end])})
	}
	return all
}

// searchIn reads piece by piece, as files may be large. Pieces overlap, so that
// nothing is missed where they meet.
func searchIn(in io.Reader, name string, all []needle) ([]string, error) {
	longest := 0
	for _, n := range all {
		longest = max(longest, len(n.text))
	}
	var places []string
	seen := map[string]bool{}
	buffer, kept := make([]byte, 1<<20), 0
	for {
		n, err := io.ReadFull(in, buffer[kept:])
		piece := buffer[:kept+n]
		for _, needle := range all {
			if !seen[needle.what] && bytes.Contains(piece, needle.text) {
				seen[needle.what] = true
				places = append(places, name+": "+needle.what)
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return places, nil
		}
		if err != nil {
			return places, err
		}
		kept = copy(buffer, piece[max(0, len(piece)-longest+1):])
	}
}
