package store

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// filesOf are a store's files as they are on the disk now.
func filesOf(t testing.TB, file string) image {
	t.Helper()
	m := image{}
	for _, f := range []string{"", ".wal0", ".wal1"} {
		b, err := os.ReadFile(file + f)
		if err != nil {
			t.Fatal(err)
		}
		m[f] = b
	}
	return m
}

// with is the image with another content of one file.
func (m image) with(file string, content []byte) image {
	c := maps.Clone(m)
	c[file] = content
	return c
}

// opensTo claims that the store which an image holds has exactly these rows.
func (m image) opensTo(t *testing.T, want map[string]string, format string, args ...any) {
	t.Helper()
	got, err := m.contents(t)
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Fatalf("%s: %v (-want +got):\n%s", fmt.Sprintf(format, args...), err, d)
	}
}

// sector is what a disk writes whole or not at all; a write of several may be
// cut between any of them, in any order.
const sector = 512

// treeWrites divides what a commit of the tree changed into the sectors of its
// pages, which bbolt writes first and flushes, and its meta page, which it
// writes last: whatever of the pages did not arrive, the meta page did not
// begin to.
func treeWrites(t *testing.T, before, after []byte) (sectors []int, metaPage int) {
	t.Helper()
	page, metaPage := os.Getpagesize(), -1
	old := grown(before, len(after))
	for at := 0; at < len(after); at += sector {
		if bytes.Equal(old[at:at+sector], after[at:at+sector]) {
			continue
		}
		if p := at / page; p < 2 {
			if metaPage >= 0 && metaPage != p {
				t.Fatal("a commit changed both meta pages: none would be whole after a cut")
			}
			metaPage = p
			continue
		}
		sectors = append(sectors, at)
	}
	if len(sectors) == 0 || metaPage < 0 {
		t.Fatalf("the commit changed %d sectors of pages and meta page %d", len(sectors), metaPage)
	}
	return sectors, metaPage
}

// grown is b at the length to which bbolt grows the file, with a flush, before
// it writes to it.
func grown(b []byte, size int) []byte {
	return append(append(make([]byte, 0, size), b...), make([]byte, max(0, size-len(b)))...)
}

// TestPowerCutInCheckpoint cuts the power while the tree takes in the log:
// whatever of that arrives on the disk, the log still has all of it.
func TestPowerCutInCheckpoint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	random := rand.New(rand.NewPCG(1, 0)) //nolint:gosec // a test's
	rows := map[string]string{}
	for round := range 3 {
		db := openFile(t, file)
		for i := range 12 {
			k, v := fmt.Sprintf("row %d", random.IntN(20)), strings.Repeat(fmt.Sprint(i), 1+random.IntN(600))
			put(t, db, k, v)
			rows[k] = v
		}
		before := filesOf(t, file)
		if err := db.Close(); err != nil { // which has the tree take in everything
			t.Fatal(err)
		}
		after := filesOf(t, file)[""]
		sectors, meta := treeWrites(t, before[""], after)
		tree := grown(before[""], len(after))
		before.with("", tree).opensTo(t, rows, "round %d, the file only grown", round)

		for i, at := range sectors { // one after the other, the last one torn
			torn := bytes.Clone(tree)
			copy(torn[at:], after[at:at+random.IntN(sector)])
			before.with("", torn).opensTo(t, rows, "round %d, cut in sector %d of %d", round, i, len(sectors))
			copy(tree[at:], after[at:at+sector])
		}
		for n := range 100 { // in any order
			some := grown(before[""], len(after))
			for _, at := range sectors {
				if random.IntN(2) == 0 {
					copy(some[at:], after[at:at+sector])
				}
			}
			before.with("", some).opensTo(t, rows, "round %d, choice %d of sectors", round, n)
		}
		page := os.Getpagesize()
		for at := meta * page; at < (meta+1)*page; at++ { // every byte of the meta page
			if tree[at] == after[at] {
				continue
			}
			tree[at] = after[at]
			before.with("", tree).opensTo(t, rows, "round %d, cut in the meta page after byte %d", round, at-meta*page)
		}
		if !bytes.Equal(tree, after) {
			t.Fatal("the writes do not add up to the commit")
		}
	}
}

// TestPowerCutOverOldRecords cuts the power while a record is written over
// those of the log's earlier life: at every byte, and between any sectors.
func TestPowerCutOverOldRecords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	db := openFile(t, file)
	rows := map[string]string{}
	for i := range 8 {
		k, v := fmt.Sprintf("row %d", i), strings.Repeat("x", 200)
		put(t, db, k, v)
		rows[k] = v
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openFile(t, file)
	put(t, db, "first", "of the new life")
	rows["first"] = "of the new life"
	before := filesOf(t, file)
	put(t, db, "torn", strings.Repeat("y", 1200))
	whole := filesOf(t, file)[".wal0"]
	old := before[".wal0"]
	from, to := 0, 0
	for at := range whole {
		if at >= len(old) || old[at] != whole[at] {
			if to == 0 {
				from = at
			}
			to = at + 1
		}
	}
	if len(old) < to || to-from < 1200 {
		t.Fatalf("bytes %d to %d were written, of %d that were there: not over old records", from, to, len(old))
	}
	for at := from; at < to; at++ {
		torn := append(bytes.Clone(whole[:at]), old[at:]...)
		before.with(".wal0", torn).opensTo(t, rows, "cut at byte %d of %d", at-from, to-from)
	}
	first, last := from/sector, (to-1)/sector
	n := last - first + 1
	for choice := range 1<<n - 1 {
		some := bytes.Clone(old)
		for i := range n {
			if choice&(1<<i) != 0 {
				at := (first + i) * sector
				end := min(at+sector, len(whole))
				copy(some[at:end], whole[at:end])
			}
		}
		before.with(".wal0", some).opensTo(t, rows, "sectors %0*b of %d", n, choice, n)
	}
	rows["torn"] = strings.Repeat("y", 1200)
	before.with(".wal0", whole).opensTo(t, rows, "whole")
}
