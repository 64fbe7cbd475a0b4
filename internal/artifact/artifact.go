// Package artifact builds the functions of the system into the archives that
// Lambda takes, reproducibly: the same sources, toolchain and platform give the
// same bytes, so that the digest of an archive tells whether a function changed.
package artifact

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

var (
	// ErrNoToolchain means that there is no go command to build with.
	ErrNoToolchain = errors.New("no Go toolchain: install Go (https://go.dev/dl) and put its bin folder on PATH")
	// ErrNoSource means that the sources of the functions were not found.
	ErrNoSource = errors.New("no sources of the functions: run inside a checkout of miniforge, or name one")
	// ErrCompile means that a function does not compile; the error's text ends
	// with what the compiler said.
	ErrCompile = errors.New("compile functions")
)

// Functions lists what Build builds unless told otherwise.
func Functions() []string {
	return []string{"order-intake", "stream-processor", "inventory-checker", "payment-processor"}
}

// Options say what to build.
type Options struct {
	Source string // root of the module, see FindSource
	Out    string // where archives are kept; made if missing
	GOOS   string // "linux" for AWS; the own platform where functions run as processes
	GOARCH string // "amd64" or "arm64"
	// Functions are folders below handlers/; all of them by default.
	Functions []string
	// Progress, if set, is told of each function: once before it is built and
	// once when its archive is there.
	Progress func(Event)
}

// Event tells how far a function is.
type Event struct {
	Function string
	Done     bool
	Cached   bool
	Took     time.Duration // since Build began, if Done
}

// Package is a function's archive.
type Package struct {
	Function string `json:"function"`
	Path     string `json:"path"`
	// SHA256 is the digest of the archive in base64, as in Lambda's CodeSha256.
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"` // bytes
	// Toolchain is what built it: "go1.26.8".
	Toolchain string `json:"toolchain"`
	Cached    bool   `json:"cached"`
}

// Bytes reads the archive.
func (p Package) Bytes() ([]byte, error) {
	b, err := os.ReadFile(p.Path)
	if err != nil {
		return nil, fmt.Errorf("read package of %s: %w", p.Function, err)
	}
	return b, nil
}

// FindSource returns the root of the module that dir lies in, if it is the one
// with the functions. Its error wraps ErrNoSource.
func FindSource(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find sources: %w", err)
	}
	for at := abs; ; at = filepath.Dir(at) {
		if isSource(at) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("find sources from %s: %w", abs, ErrNoSource)
		}
	}
}

func isSource(dir string) bool {
	for _, f := range Functions() {
		if info, err := os.Stat(filepath.Join(dir, "handlers", f)); err != nil || !info.IsDir() {
			return false
		}
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// Build makes the archives that are missing or outdated and returns all of
// them, in the order of Options.Functions. Two builds into one folder at the
// same time are safe: files appear whole or not at all.
func Build(ctx context.Context, o Options) ([]Package, error) {
	if len(o.Functions) == 0 {
		o.Functions = Functions()
	}
	if o.Progress == nil {
		o.Progress = func(Event) {}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	o.Out = filepath.Join(o.Out, o.GOOS+"-"+o.GOARCH)
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return nil, fmt.Errorf("make package folder: %w", err)
	}
	start := time.Now()
	tool, err := findToolchain(ctx, o.Source)
	if err != nil {
		return nil, err
	}
	digests, err := digests(o, tool)
	if err != nil {
		return nil, err
	}
	packages := make([]Package, len(o.Functions))
	var stale []string
	for i, f := range o.Functions {
		p, ok := cached(o.Out, f, digests[f])
		if !ok {
			stale = append(stale, f)
			o.Progress(Event{Function: f})
			continue
		}
		packages[i] = p
		o.Progress(Event{Function: f, Done: true, Cached: true, Took: time.Since(start)})
	}
	if len(stale) == 0 {
		return by(tool, packages), nil
	}
	built, err := build(ctx, o, tool, stale, digests, func(f string) {
		o.Progress(Event{Function: f, Done: true, Took: time.Since(start)})
	})
	if err != nil {
		return nil, err
	}
	for i, f := range o.Functions {
		if p, ok := built[f]; ok {
			packages[i] = p
		}
	}
	return by(tool, packages), nil
}

// by names the toolchain: a package that is not rebuilt was built by the same,
// as its version is part of the digest.
func by(tool toolchain, packages []Package) []Package {
	for i := range packages {
		packages[i].Toolchain = tool.version
	}
	return packages
}

func (o Options) check() error {
	switch {
	case o.Source == "" || !isDir(filepath.Join(o.Source, "handlers")):
		return fmt.Errorf("build functions in %q: %w", o.Source, ErrNoSource)
	case o.Out == "":
		return errors.New("build functions: no folder given for the packages")
	case o.GOOS == "" || o.GOARCH == "":
		return errors.New("build functions: no platform given")
	}
	for _, f := range o.Functions {
		if f == "" || strings.ContainsAny(f, `/\.`) || !isDir(filepath.Join(o.Source, "handlers", f)) {
			return fmt.Errorf("build function %q: there is no handlers/%s in %s: %w", f, f, o.Source, ErrNoSource)
		}
	}
	if sorted := slices.Sorted(slices.Values(o.Functions)); len(slices.Compact(sorted)) != len(o.Functions) {
		return errors.New("build functions: a function is named twice")
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path) //nolint:gosec // the user names the folder
	return err == nil && info.IsDir()
}
