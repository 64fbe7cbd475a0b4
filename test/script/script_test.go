// Package script runs the whole program as its users do: every .txtar file of
// this folder is one story, told in commands.
package script

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"miniforge/internal/cli"
	"miniforge/internal/ui"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"miniforge": miniforge})
}

// miniforge is cmd/miniforge's main: the test binary is run under its name.
func miniforge() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	executable, err := os.Executable()
	if err != nil {
		panic(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	os.Exit(cli.Main(ctx, cli.Env{
		Args: os.Args[1:], Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal: ui.TerminalSize, Executable: executable, Dir: dir,
	}))
}

func TestScripts(t *testing.T) {
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 ".",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                commands(),
		Setup: func(e *testscript.Env) error {
			state := filepath.Join(e.WorkDir, "state")
			e.Vars = append(e.Vars,
				"HOME="+filepath.Join(e.WorkDir, "home"), // not the user's own: testscript's is /no-home
				"MINIFORGE_STATE_DIR="+state,
				"MINIFORGE_SOURCE="+source,
				"STATE="+state,
				// The functions are built by the toolchain, which needs its caches.
				"GOCACHE="+goEnv("GOCACHE", filepath.Join(os.Getenv("HOME"), ".cache", "go-build")),
				"GOPATH="+goEnv("GOPATH", filepath.Join(os.Getenv("HOME"), "go")),
				"GOFLAGS="+os.Getenv("GOFLAGS"), "GOPROXY="+os.Getenv("GOPROXY"),
			)
			// A story that fails half-way must not leave its cloud running.
			e.Defer(func() {
				stop := func(key string) string {
					if key == "MINIFORGE_STATE_DIR" {
						return state
					}
					return ""
				}
				cli.Main(context.Background(), cli.Env{
					Args: []string{"cloud", "stop"}, Getenv: stop, Stdin: nil, Stdout: discard{}, Stderr: os.Stderr,
					Terminal: func(any) (int, int, bool) { return 0, 0, false },
				})
			})
			return nil
		},
	})
}

func goEnv(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
