package artifact_test

import (
	"archive/zip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"miniforge/internal/artifact"
)

// module writes a small module with one function that depends on one package.
func module(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, "go.mod", "module example\n\ngo 1.26\n")
	write(t, root, "greet/greet.go", "package greet\n\nfunc Hello() string { return \"hello\" }\n")
	write(t, root, "other/other.go", "package other\n")
	for _, f := range artifact.Functions() {
		write(t, root, "handlers/"+f+"/main.go", "package main\n\nfunc main() { println(\""+f+"\") }\n")
	}
	write(t, root, "handlers/order-intake/main.go", "package main\n\nimport \"example/greet\"\n\nfunc main() { println(greet.Hello()) }\n")
	return root
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func options(source, out string) artifact.Options {
	return artifact.Options{
		Source: source, Out: out, GOOS: runtime.GOOS, GOARCH: runtime.GOARCH,
		Functions: []string{"order-intake", "stream-processor"},
	}
}

func build(t *testing.T, o artifact.Options) []artifact.Package {
	t.Helper()
	packages, err := artifact.Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

func cachedOnes(packages []artifact.Package) []string {
	names := []string{}
	for _, p := range packages {
		if p.Cached {
			names = append(names, p.Function)
		}
	}
	return names
}

func TestSameSourceSameBytes(t *testing.T) {
	t.Parallel()
	source := module(t)
	here, there := build(t, options(source, t.TempDir())), build(t, options(source, t.TempDir()))
	for i := range here {
		a, _ := here[i].Bytes()
		b, _ := there[i].Bytes()
		if len(a) == 0 || !slices.Equal(a, b) {
			t.Errorf("%s: two builds differ (%d and %d bytes)", here[i].Function, len(a), len(b))
		}
		if here[i].SHA256 != there[i].SHA256 || here[i].Size != int64(len(a)) {
			t.Errorf("%s: %+v and %+v", here[i].Function, here[i], there[i])
		}
	}
}

func TestArchiveIsWhatLambdaTakes(t *testing.T) {
	t.Parallel()
	p := build(t, options(module(t), t.TempDir()))[0]
	z, err := zip.OpenReader(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if len(z.File) != 1 || z.File[0].Name != "bootstrap" || z.File[0].Mode() != 0o755 {
		t.Errorf("archive holds %v, want one executable bootstrap", z.File)
	}
}

func TestBuildsOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	source, out := module(t), t.TempDir()
	build(t, options(source, out))
	both := []string{"order-intake", "stream-processor"}
	steps := []struct {
		name   string
		change func()
		cached []string
	}{
		{"nothing changed", func() {}, both},
		{"a test was added", func() { write(t, source, "greet/greet_test.go", "package greet\n") }, both},
		{"a package that nothing imports", func() { write(t, source, "other/other.go", "package other\n\nvar X int\n") }, both},
		{"a package that one imports", func() {
			write(t, source, "greet/greet.go", "package greet\n\nfunc Hello() string { return \"good evening\" }\n")
		}, []string{"stream-processor"}},
		{"go.mod", func() { write(t, source, "go.mod", "module example\n\n// changed\ngo 1.26\n") }, []string{}},
		{"an archive was damaged", func() {
			path := filepath.Join(out, runtime.GOOS+"-"+runtime.GOARCH, "order-intake.zip")
			if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"stream-processor"}},
	}
	for _, step := range steps {
		step.change()
		if diff := cmp.Diff(step.cached, cachedOnes(build(t, options(source, out)))); diff != "" {
			t.Errorf("%s: cached (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestFailuresSayWhatToDo(t *testing.T) {
	source := module(t)
	t.Run("compile error names file and line", func(t *testing.T) {
		broken := module(t)
		write(t, broken, "handlers/order-intake/main.go", "package main\n\nfunc main() { undefined() }\n")
		_, err := artifact.Build(t.Context(), options(broken, t.TempDir()))
		if !errors.Is(err, artifact.ErrCompile) || !strings.Contains(err.Error(), "main.go:3") {
			t.Errorf("error = %v, want ErrCompile with file and line", err)
		}
	})
	t.Run("no such function", func(t *testing.T) {
		o := options(source, t.TempDir())
		o.Functions = []string{"order-eater"}
		if _, err := artifact.Build(t.Context(), o); !errors.Is(err, artifact.ErrNoSource) {
			t.Errorf("error = %v, want ErrNoSource", err)
		}
	})
	t.Run("no toolchain", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := artifact.Build(t.Context(), options(source, t.TempDir())); !errors.Is(err, artifact.ErrNoToolchain) {
			t.Errorf("error = %v, want ErrNoToolchain", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := artifact.Build(ctx, options(source, t.TempDir())); !errors.Is(err, context.Canceled) {
			t.Errorf("error = %v, want context.Canceled", err)
		}
	})
}

func TestFindSource(t *testing.T) {
	t.Parallel()
	source, err := filepath.EvalSymlinks(module(t))
	if err != nil {
		t.Fatal(err)
	}
	got, err := artifact.FindSource(filepath.Join(source, "handlers", "order-intake"))
	if err != nil || got != source {
		t.Errorf("FindSource = %q, %v, want %q", got, err, source)
	}
	if _, err := artifact.FindSource(t.TempDir()); !errors.Is(err, artifact.ErrNoSource) {
		t.Errorf("outside a checkout: error = %v, want ErrNoSource", err)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	var events []artifact.Event
	o := options(module(t), t.TempDir())
	o.Functions = []string{"payment-processor"}
	o.Progress = func(e artifact.Event) { e.Took = 0; events = append(events, e) }
	build(t, o)
	build(t, o)
	want := []artifact.Event{
		{Function: "payment-processor"},
		{Function: "payment-processor", Done: true},
		{Function: "payment-processor", Done: true, Cached: true},
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}
