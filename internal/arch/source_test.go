package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "miniforge"

// root is the module's root, seen from this package.
const root = "../.."

// A file is one parsed Go file of the module.
type file struct {
	path    string // "internal/cli/up.go"
	pkg     string // "internal/cli"
	test    bool
	lines   int
	imports []string
	ast     *ast.File
	fset    *token.FileSet
}

// load parses all Go files of the module, found by walking: a list kept by hand
// would miss the next folder.
func load(t *testing.T) []file {
	t.Helper()
	var files []file
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "dist") {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) == ".go" {
			files = append(files, parse(t, name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("found %d files: this is not the module's root", len(files))
	}
	return files
}

func parse(t *testing.T, name string) file {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(root, name)
	if err != nil {
		t.Fatal(err)
	}
	rel = filepath.ToSlash(rel)
	f := file{
		path: rel, pkg: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), ast: tree, fset: fset,
		lines: fset.File(tree.Pos()).LineCount(),
	}
	for _, i := range tree.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		f.imports = append(f.imports, p)
	}
	return f
}

// reach is what each package imports, directly or through packages of this
// module; what tests import does not count.
func reach(files []file) map[string][]string {
	direct := map[string][]string{}
	for _, f := range files {
		if !f.test {
			direct[f.pkg] = append(direct[f.pkg], f.imports...)
		}
	}
	all := map[string][]string{}
	for pkg := range direct {
		seen := map[string]bool{}
		var visit func(string)
		visit = func(pkg string) {
			for _, i := range direct[pkg] {
				if seen[i] {
					continue
				}
				seen[i] = true
				if own, is := strings.CutPrefix(i, module+"/"); is {
					visit(own)
				}
			}
		}
		visit(pkg)
		for i := range seen {
			all[pkg] = append(all[pkg], i)
		}
		slices.Sort(all[pkg])
	}
	return all
}

// within reports whether a package is one of the folders or below one.
func within(pkg string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return pkg == f || strings.HasPrefix(pkg, f+"/") })
}
