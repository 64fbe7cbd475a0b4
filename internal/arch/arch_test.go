package arch

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// The layers of the module, by folder.
var (
	machinery = []string{"internal/graph", "internal/check", "internal/report", "internal/cloud", "internal/ui", "internal/bench", "internal/doctor"}
	system    = []string{"internal/access", "internal/stack", "internal/verify", "internal/dlq", "internal/order", "internal/orderdb", "internal/drive", "internal/resource", "internal/rollout", "internal/delivery", "internal/handler", "handlers", "asl"}
	surface   = []string{"internal/cli", "cmd"}
	cloud     = "internal/cloud"
	// shared are the parts of the cloud that its services are built on; every
	// other folder below it is a service.
	shared = []string{"wire", "store", "event", "authz", "envelope", "jsontext", "memo", "growstack", "vended", "fault", "latency", "trace"}
)

// A rule forbids packages to reach others.
type rule struct {
	name   string
	reason string
	who    func(pkg string) bool
	never  func(pkg, imported string) bool // imported is a full path, or the folder of an own package
}

func in(folders ...string) func(string) bool {
	return func(pkg string) bool { return within(pkg, folders...) }
}

func notIn(folders ...string) func(string) bool {
	return func(pkg string) bool { return !within(pkg, folders...) }
}

func importing(folders ...string) func(string, string) bool {
	return func(_, imported string) bool { return within(imported, folders...) }
}

func service(pkg string) string {
	rest, below := strings.CutPrefix(pkg, cloud+"/")
	if !below {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	if slices.Contains(shared, name) {
		return ""
	}
	return name
}

var rules = []rule{
	{
		"machinery knows no system", "graph, check, report and cloud serve any system: this one must not leak into them",
		in(machinery...), importing(system...),
	},
	{
		"nothing imports the surface", "the command line is the outermost layer",
		notIn(surface...), importing(surface...),
	},
	{
		"the system knows no target", "what is provisioned, driven and verified must not depend on where it is",
		in(system...), importing("internal/target", cloud, "internal/ui"),
	},
	{
		"only target reaches the cloud", "everybody else talks to it as to AWS",
		notIn(append([]string{cloud, "internal/target"}, surface...)...), importing(cloud),
	},
	{
		"services know no other service", "only the composition root knows them all; they meet by calls and events",
		func(pkg string) bool { return service(pkg) != "" },
		func(pkg, imported string) bool { return service(imported) != "" && service(imported) != service(pkg) },
	},
	{
		"shared parts know no service", "a service is built on them",
		func(pkg string) bool { return within(pkg, cloud) && pkg != cloud && service(pkg) == "" },
		func(_, imported string) bool { return imported == cloud || service(imported) != "" },
	},
	{
		"the domain knows no AWS", "orders are what they are wherever they are stored",
		in("internal/order", "internal/graph", "internal/check", "internal/report", "internal/ui", "internal/artifact"), importing("github.com/aws"),
	},
}

// direct are rules about what a package's own files import.
var direct = []rule{
	{
		"only ui draws", "one place decides how everything looks",
		notIn("internal/ui"), importing("github.com/charmbracelet", "github.com/muesli/termenv"),
	},
	{
		"only cli parses flags", "everything behind it takes options",
		notIn("internal/cli"), importing("github.com/spf13", "flag"),
	},
	{
		"nobody logs globally", "libraries take a *slog.Logger or return errors",
		func(string) bool { return true }, importing("log", "github.com/stretchr/testify", "github.com/golang/mock", "go.uber.org/mock"),
	},
	{
		"handlers are small", "a function that starts fast imports little",
		in("handlers"), importing("internal/stack", "internal/resource", "internal/graph", "internal/verify", "internal/drive"),
	},
}

func TestImports(t *testing.T) {
	files := load(t)
	reached := reach(files)
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.name, " ", "-"), func(t *testing.T) {
			judged := 0
			for pkg, imports := range reached {
				if !r.who(pkg) {
					continue
				}
				judged++
				for _, i := range imports {
					if own := strings.TrimPrefix(i, module+"/"); r.never(pkg, own) {
						t.Errorf("%s reaches %s: %s", pkg, own, r.reason)
					}
				}
			}
			if judged == 0 {
				t.Error("the rule applies to no package")
			}
		})
	}
}

func TestDirectImports(t *testing.T) {
	for _, f := range load(t) {
		for _, i := range f.imports {
			if f.test && i == "flag" {
				continue // golden files are rewritten by a flag of go test
			}
			// The standard library's log has packages below it, such as log/slog.
			if i == "log/slog" {
				continue
			}
			for _, r := range direct {
				if own := strings.TrimPrefix(i, module+"/"); r.who(f.pkg) && r.never(f.pkg, own) {
					t.Errorf("%s imports %s: %s", f.path, own, r.reason)
				}
			}
		}
	}
}

const (
	maxFile     = 500
	maxTestFile = 700
	maxFunc     = 60
	maxTestFunc = 100
	maxMain     = 25
	// maxList is for the functions that register a service's operations with
	// their rules: lists, as long as the service is broad.
	maxList = 120
)

func TestSizes(t *testing.T) {
	for _, f := range load(t) {
		most, mostFunc := maxFile, maxFunc
		switch {
		case f.test:
			most, mostFunc = maxTestFile, maxTestFunc
		case f.path == "cmd/miniforge/main.go":
			most = maxMain
		}
		if f.lines > most {
			t.Errorf("%s has %d lines, more than %d", f.path, f.lines, most)
		}
		for _, d := range f.ast.Decls {
			fn, is := d.(*ast.FuncDecl)
			if !is {
				continue
			}
			limit := mostFunc
			if strings.HasPrefix(strings.ToLower(fn.Name.Name), "register") {
				limit = maxList
			}
			from, to := f.fset.Position(fn.Pos()).Line, f.fset.Position(fn.End()).Line
			if n := to - from + 1; n > limit {
				t.Errorf("%s:%d: function %s has %d lines, more than %d", f.path, from, fn.Name.Name, n, limit)
			}
			if fn.Name.Name == "init" && fn.Recv == nil {
				t.Errorf("%s:%d: init functions make order matter: register by hand", f.path, from)
			}
		}
	}
}
