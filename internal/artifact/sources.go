package artifact

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// DeployProgram is the folder of the program that builds and deploys inside
// the pipeline.
const DeployProgram = "cmd/miniforge-deploy"

// root are the files at the root of the module that a delivery needs.
var root = []string{"appspec.yml", "buildspec.yml", "go.mod", "go.sum"}

// A Source is one file that a delivery is built from.
type Source struct {
	Path       string // with slashes, relative to the module's root
	Content    []byte
	Executable bool
}

// Sources returns exactly the files that the pipeline needs in order to build
// the functions and the program that deploys them, in order of path: their
// packages and those of this module that they import, without tests, and the
// files that say how to build. Modules from elsewhere are pinned by go.sum.
func Sources(module string) ([]Source, error) {
	text, err := os.ReadFile(filepath.Join(module, "go.mod"))
	if err != nil {
		return nil, fmt.Errorf("list sources: %w: %w", ErrNoSource, err)
	}
	w := walker{root: module, module: modulePath(text), packages: map[string]pkg{}}
	closure := map[string]bool{}
	start := []string{DeployProgram}
	for _, f := range Functions() {
		start = append(start, "handlers/"+f)
	}
	for _, dir := range start {
		if err := w.visit(dir, closure); err != nil {
			return nil, fmt.Errorf("list sources of %s: %w", dir, err)
		}
	}
	paths := slices.Clone(root)
	for _, dir := range slices.Sorted(maps.Keys(closure)) {
		paths = append(paths, w.packages[dir].files...)
	}
	slices.Sort(paths)
	sources := make([]Source, 0, len(paths))
	for _, p := range paths {
		// What editors and file managers leave behind is nobody's source.
		if strings.HasPrefix(path.Base(p), ".") || strings.HasSuffix(p, "~") {
			continue
		}
		s, err := readSource(module, p)
		if errors.Is(err, fs.ErrNotExist) && p == "go.sum" { // a module without dependencies has none
			continue
		} else if err != nil {
			return nil, fmt.Errorf("read source: %w", err)
		}
		sources = append(sources, s)
	}
	return sources, nil
}

func readSource(module, p string) (Source, error) {
	file := filepath.Join(module, filepath.FromSlash(p))
	content, err := os.ReadFile(file)
	if err != nil {
		return Source{}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return Source{}, err
	}
	return Source{Path: p, Content: content, Executable: info.Mode()&0o111 != 0}, nil
}
