package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"miniforge/internal/artifact"
	"miniforge/internal/graph"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/target/local"
)

// A run is one run of the program and what came of it.
type run struct {
	code           int
	stdout, stderr string
}

// world is the outside of a run. The zero value has an empty state folder and
// no terminal.
type world struct {
	ctx      context.Context //nolint:containedctx // of one run
	vars     map[string]string
	stdin    string
	terminal bool // standard input is one
	dir      string
}

func (w world) run(t *testing.T, words ...string) run {
	t.Helper()
	state := t.TempDir()
	stdin := strings.NewReader(w.stdin)
	var stdout, stderr bytes.Buffer
	if w.ctx == nil {
		w.ctx = t.Context()
	}
	code := Main(w.ctx, Env{
		Args: words,
		Getenv: func(key string) string {
			if v, is := w.vars[key]; is {
				return v
			}
			if key == "MINIFORGE_STATE_DIR" {
				return state
			}
			return ""
		},
		Stdin: stdin, Stdout: &stdout, Stderr: &stderr,
		Terminal:   func(stream any) (int, int, bool) { return 80, 24, w.terminal && stream == io.Reader(stdin) },
		Executable: "/nonexistent/miniforge", Dir: w.dir,
	})
	return run{code, stdout.String(), stderr.String()}
}

func TestExitCodes(t *testing.T) {
	for _, tc := range []struct {
		reason string
		err    error
		want   int
	}{
		{"anything else has failed", errors.New("x"), exitFailed},
		{"a failure says its own", fail(exitLeft, "", errors.New("x")), exitLeft},
		{"also within others", errors.Join(errors.New("x"), fmt.Errorf("y: %w", fail(exitChecks, "", errors.New("z")))), exitChecks},
		{"a wrong target is bad usage", fmt.Errorf("x: %w", target.ErrTarget), exitUsage},
		{"no answer", fmt.Errorf("x: %w", target.ErrUnreachable), exitEndpoint},
		{"credentials", fmt.Errorf("x: %w", target.ErrCredentials), exitEndpoint},
		{"no cloud", local.ErrNeverStarted, exitEndpoint},
		{"time is up", errTimeout, exitTimeout},
		{"Ctrl-C", context.Canceled, exitInterrupted},
		{"a foreign resource", &wrapped{graph.ErrForeign}, exitFailed},
		{"no sources", artifact.ErrNoSource, exitFailed},
		{"no API", stack.ErrNoEndpoint, exitFailed},
	} {
		if got := judge(tc.err); got.code != tc.want {
			t.Errorf("%s: %v has exit code %d, want %d", tc.reason, tc.err, got.code, tc.want)
		}
	}
}

type wrapped struct{ err error }

func (w *wrapped) Error() string { return "wrapped" }
func (w *wrapped) Unwrap() error { return w.err }

func TestEnvelopeOfFailure(t *testing.T) {
	got := world{}.run(t, "status", "-o", "json")
	var e struct {
		Schema string
		OK     bool
		Data   any
		Error  struct {
			Message  string
			ExitCode int `json:"exit_code"`
			Next     string
		}
	}
	if err := json.Unmarshal([]byte(got.stdout), &e); err != nil {
		t.Fatalf("standard output is not one JSON value: %v\n%s", err, got.stdout)
	}
	if e.Schema != "miniforge.status/1" || e.OK || e.Error.ExitCode != exitEndpoint || got.code != exitEndpoint || e.Error.Next != "run: miniforge up" {
		t.Errorf("envelope %+v with exit code %d", e, got.code)
	}
	if want := "miniforge: no local cloud has been started yet\nnext:  run: miniforge up\n"; got.stderr != want {
		t.Errorf("standard error %q, want %q", got.stderr, want)
	}
}

func TestDownWithoutCloudHasNothingToDo(t *testing.T) {
	got := world{}.run(t, "down")
	if got.code != exitOK || got.stdout != "Stack miniforge: nothing to do in 0ms\n" {
		t.Errorf("%+v", got)
	}
}

// hanging calls asked at each request, and answers nothing until the test ends.
func hanging(t *testing.T, asked func()) string {
	t.Helper()
	done := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked()
		<-done // the server sees no cancellation before the body has been read
	}))
	t.Cleanup(func() { close(done); s.Close() })
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	return s.URL
}

func TestTimeout(t *testing.T) {
	got := world{}.run(t, "status", "--target", hanging(t, func() {}), "--timeout", "50ms")
	if got.code != exitTimeout || !strings.Contains(got.stderr, "time is up (--timeout) after 50ms") {
		t.Errorf("%+v; want exit code %d and the reason", got, exitTimeout)
	}
}

func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	got := world{ctx: ctx}.run(t, "status", "--target", hanging(t, cancel)) // as Ctrl-C in the midst of a call
	if got.code != exitInterrupted {
		t.Errorf("%+v; want exit code %d", got, exitInterrupted)
	}
}

func TestConfirm(t *testing.T) {
	for _, tc := range []struct {
		name string
		w    world
		args []string
		code int
		said string
	}{
		{"without a terminal it never hangs", world{}, nil, exitConfirm, "repeat with --yes"},
		{"yes", world{terminal: true, stdin: "y\n"}, nil, exitOK, "[y/N]"},
		{"YES", world{terminal: true, stdin: " YES \n"}, nil, exitOK, "[y/N]"},
		{"no", world{terminal: true, stdin: "n\n"}, nil, exitConfirm, "nothing was changed"},
		{"just return is a no", world{terminal: true, stdin: "\n"}, nil, exitConfirm, "nothing was changed"},
		{"end of input is a no", world{terminal: true}, nil, exitConfirm, "nothing was changed"},
		{"confirmed beforehand", world{}, []string{"--yes"}, exitOK, ""},
		{"confirmed by the environment", world{vars: map[string]string{"MINIFORGE_YES": "true"}}, nil, exitOK, ""},
	} {
		got := tc.w.run(t, append([]string{"cloud", "reset"}, tc.args...)...)
		if got.code != tc.code || !strings.Contains(got.stderr, tc.said) {
			t.Errorf("%s: %+v; want exit code %d and %q", tc.name, got, tc.code, tc.said)
		}
	}
}

func TestBrokenStandardOutputIsAnError(t *testing.T) {
	code := Main(t.Context(), Env{
		Args: []string{"version"}, Getenv: func(string) string { return "" }, Stdout: broken{}, Stderr: io.Discard,
		Terminal: func(any) (int, int, bool) { return 0, 0, false },
	})
	if code != exitFailed {
		t.Errorf("exit code %d, want %d: what was asked for was not delivered", code, exitFailed)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestEveryCommandIsDocumented(t *testing.T) {
	root := (&app{env: Env{Getenv: func(string) string { return "" }}}).root()
	commands := root.Commands()
	for len(commands) > 0 {
		c := commands[0]
		commands = append(commands[1:], c.Commands()...)
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q: want one, without a period", c.CommandPath(), c.Short)
		}
		if c.RunE == nil && c.Run == nil {
			t.Errorf("%s does nothing", c.CommandPath())
		}
	}
}

func TestSuggestions(t *testing.T) {
	got := world{}.run(t, "ordr")
	want := run{exitUsage, "", "miniforge: unknown command \"ordr\" for \"miniforge\"; did you mean \"order\"?\nusage: miniforge COMMAND\n"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(run{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
