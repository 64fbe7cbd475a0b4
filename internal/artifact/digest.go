package artifact

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"hash"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// digests returns, for each function, a digest over all that its binary is
// made from. Reading the imports of the module's own packages is exact enough
// and takes a millisecond, where `go list -deps` takes a second; what lies
// outside the module is pinned by go.mod and go.sum.
func digests(o Options, tool toolchain) (map[string]string, error) {
	common := sha256.New()
	fmt.Fprintln(common, "miniforge artifact 1", tool.version, o.GOOS, o.GOARCH, flags)
	var module string
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(o.Source, name))
		if err != nil && (name == "go.mod" || !errors.Is(err, os.ErrNotExist)) {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		if name == "go.mod" {
			module = modulePath(text)
		}
		sum := sha256.Sum256(text)
		common.Write(sum[:])
	}
	if module == "" {
		return nil, fmt.Errorf("read go.mod in %s: it names no module", o.Source)
	}
	w := walker{root: o.Source, module: module, packages: map[string]pkg{}}
	out := make(map[string]string, len(o.Functions))
	for _, f := range o.Functions {
		closure := map[string]bool{}
		if err := w.visit("handlers/"+f, closure); err != nil {
			return nil, fmt.Errorf("read sources of %s: %w", f, err)
		}
		h := sha256.New()
		h.Write(common.Sum(nil))
		for _, dir := range slices.Sorted(maps.Keys(closure)) {
			fmt.Fprintln(h, dir, hex.EncodeToString(w.packages[dir].sum))
		}
		out[f] = hex.EncodeToString(h.Sum(nil))
	}
	return out, nil
}

// pkg is one package of the module.
type pkg struct {
	sum     []byte   // over its files
	files   []string // paths below the root, with slashes
	imports []string // folders of the module's packages that it imports
}

type walker struct {
	root, module string
	packages     map[string]pkg // by folder, with slashes
}

// visit adds dir and all the module's packages that it needs to closure.
func (w *walker) visit(dir string, closure map[string]bool) error {
	if closure[dir] {
		return nil
	}
	closure[dir] = true
	p, ok := w.packages[dir]
	if !ok {
		var err error
		if p, err = w.read(dir); err != nil {
			return err
		}
		w.packages[dir] = p
	}
	for _, next := range p.imports {
		if err := w.visit(next, closure); err != nil {
			return err
		}
	}
	return nil
}

// read digests the files of a package, but not its tests. Files other than Go
// files count too: they may be embedded.
func (w *walker) read(dir string) (pkg, error) {
	var p pkg
	h := sha256.New()
	entries, err := os.ReadDir(filepath.Join(w.root, filepath.FromSlash(dir)))
	if err != nil {
		return p, err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		if err := w.readFile(dir, e.Name(), h, &p); err != nil {
			return p, err
		}
	}
	p.sum = h.Sum(nil)
	return p, nil
}

func (w *walker) readFile(dir, name string, h hash.Hash, p *pkg) error {
	text, err := os.ReadFile(filepath.Join(w.root, filepath.FromSlash(dir), name))
	if err != nil {
		return err
	}
	p.files = append(p.files, path.Join(dir, name))
	fmt.Fprintln(h, name, len(text))
	h.Write(text)
	if !strings.HasSuffix(name, ".go") {
		return nil
	}
	file, err := parser.ParseFile(token.NewFileSet(), path.Join(dir, name), text, parser.ImportsOnly)
	if err != nil {
		// The compiler says it better; a digest is needed to get there.
		return nil //nolint:nilerr // see above
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if below, ok := strings.CutPrefix(imported, w.module+"/"); ok && isDir(filepath.Join(w.root, filepath.FromSlash(below))) {
			p.imports = append(p.imports, below)
		}
	}
	return nil
}

func modulePath(gomod []byte) string {
	for s := bufio.NewScanner(bytes.NewReader(gomod)); s.Scan(); {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(s.Text()), "module "); ok {
			return strings.Trim(strings.TrimSpace(rest), `"`)
		}
	}
	return ""
}
