package artifact_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"miniforge/internal/artifact"
)

// The sources alone, in an empty folder, must be enough to build everything
// that the pipeline builds.
func TestSourcesBuild(t *testing.T) {
	module, err := artifact.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := artifact.Sources(module)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, s := range sources {
		file := filepath.Join(dir, filepath.FromSlash(s.Path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, s.Content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "./handlers/...", "./"+artifact.DeployProgram)
	list.Dir = dir
	if out, err := list.CombinedOutput(); err != nil {
		t.Fatalf("the sources do not suffice: %v\n%s", err, out)
	}
}

func TestSourcesAreExactlyWhatIsNeeded(t *testing.T) {
	module, err := artifact.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := artifact.Sources(module)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, s := range sources {
		paths = append(paths, s.Path)
		if strings.HasSuffix(s.Path, "_test.go") || strings.HasPrefix(s.Path, "internal/cloud/") || strings.HasPrefix(s.Path, "internal/cli/") {
			t.Errorf("%s is no part of a delivery", s.Path)
		}
	}
	if !slices.IsSorted(paths) {
		t.Error("the sources are not in order")
	}
	for _, needed := range []string{"go.mod", "go.sum", "buildspec.yml", "appspec.yml", "handlers/order-intake/main.go", "internal/order/order.go", "internal/artifact/artifact.go", "cmd/miniforge-deploy/main.go"} {
		if !slices.Contains(paths, needed) {
			t.Errorf("%s is missing", needed)
		}
	}
}
