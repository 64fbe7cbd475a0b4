package artifact

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// manifest stands beside an archive and tells what it was made from.
type manifest struct {
	Digest string `json:"digest"` // of the inputs
	SHA256 string `json:"sha256"` // of the archive
}

// built is the fixed time of all files in all archives: the first that the
// format can express. Lambda unpacks into a read-only file system and does not
// care.
var built = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// cached returns the archive in out if it was made from the same inputs, and
// is whole.
func cached(out, function, digest string) (Package, bool) {
	text, err := os.ReadFile(manifestPath(out, function))
	if err != nil {
		return Package{}, false
	}
	var m manifest
	if json.Unmarshal(text, &m) != nil || m.Digest != digest {
		return Package{}, false
	}
	archive, err := os.ReadFile(archivePath(out, function))
	if err != nil || sha(archive) != m.SHA256 {
		return Package{}, false
	}
	return Package{Function: function, Path: archivePath(out, function), SHA256: m.SHA256, Size: int64(len(archive)), Cached: true}, true
}

// build compiles the functions and packs each binary.
func build(ctx context.Context, o Options, tool toolchain, functions []string, digests map[string]string, done func(string)) (map[string]Package, error) {
	work, err := os.MkdirTemp(o.Out, ".build-")
	if err != nil {
		return nil, fmt.Errorf("make build folder: %w", err)
	}
	defer os.RemoveAll(work)
	if err := tool.compile(ctx, o, functions, work); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	packages := make(map[string]Package, len(functions))
	var eg errgroup.Group
	for _, f := range functions {
		eg.Go(func() error {
			p, err := pack(o, f, filepath.Join(work, f), digests[f])
			if err != nil {
				return fmt.Errorf("pack %s: %w", f, err)
			}
			mu.Lock()
			defer mu.Unlock()
			packages[f] = p
			done(f)
			return nil
		})
	}
	return packages, eg.Wait()
}

func pack(o Options, function, binary, digest string) (Package, error) {
	if o.GOOS == "windows" {
		binary += ".exe"
	}
	code, err := os.ReadFile(binary)
	if err != nil {
		return Package{}, err
	}
	archive, err := archiveOf(code)
	if err != nil {
		return Package{}, err
	}
	p := Package{Function: function, Path: archivePath(o.Out, function), SHA256: sha(archive), Size: int64(len(archive))}
	m, err := json.Marshal(manifest{Digest: digest, SHA256: p.SHA256})
	if err != nil {
		return Package{}, err
	}
	// The manifest goes last: until it is there, the archive counts as outdated.
	if err := writeFile(p.Path, archive); err != nil {
		return Package{}, err
	}
	return p, writeFile(manifestPath(o.Out, function), append(m, '\n'))
}

// archiveOf is the archive of one executable named bootstrap, which is what the
// provided.al2023 runtime starts. It is compressed at the fastest level: an
// eighth larger than at the default one, in less than half of the time, which
// is what somebody who changed a handler waits for.
func archiveOf(code []byte) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: built}
	header.SetMode(0o755)
	w, err := z.CreateHeader(header)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(code); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeFile puts a whole file in place at once.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".write-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone after the rename
	_, err = f.Write(data)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

func archivePath(out, function string) string  { return filepath.Join(out, function+".zip") }
func manifestPath(out, function string) string { return filepath.Join(out, function+".json") }

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(sum[:])
}
