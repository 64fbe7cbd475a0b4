package local

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func env(pairs ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == key {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestFindFolder(t *testing.T) {
	for _, tc := range []struct {
		name string
		env  func(string) string
		want Folder
	}{
		{"named", env("MINIFORGE_STATE_DIR", "/s", "XDG_STATE_HOME", "/x", "HOME", "/h"), "/s"},
		{"XDG", env("XDG_STATE_HOME", "/x", "HOME", "/h"), "/x/miniforge"},
		{"a relative XDG path is ignored, as its specification says", env("XDG_STATE_HOME", "x", "HOME", "/h"), "/h/.local/state/miniforge"},
		{"home", env("HOME", "/h"), "/h/.local/state/miniforge"},
	} {
		if got, err := FindFolder(tc.env); got != tc.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", tc.name, got, err, tc.want)
		}
	}
	if _, err := FindFolder(env()); !errors.Is(err, ErrFolder) || !strings.Contains(err.Error(), "MINIFORGE_STATE_DIR") {
		t.Errorf("without a home: %v; want ErrFolder with the way out", err)
	}
}

// serve runs a cloud in memory until the test ends.
func serve(t *testing.T, f Folder, o Options) State {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	started, ended := make(chan State, 1), make(chan error, 1)
	o.Ephemeral = true
	go func() { ended <- f.Serve(ctx, o, func(s State) { started <- s }) }()
	t.Cleanup(func() {
		stop()
		if err, open := <-ended; open && err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	select {
	case s := <-started:
		return s
	case err := <-ended:
		close(ended)
		t.Fatalf("serve: %v", err)
		return State{}
	}
}

func TestServe(t *testing.T) {
	f := Folder(t.TempDir())
	if _, err := f.Running(t.Context()); !errors.Is(err, ErrNeverStarted) {
		t.Errorf("before the first start: %v, want ErrNeverStarted", err)
	}
	var s State
	t.Run("while it runs", func(t *testing.T) {
		s = serve(t, f, Options{Port: 0, Account: "123456789012", Version: "v1"})
		got, err := f.Running(t.Context())
		if err != nil || got.Endpoint != s.Endpoint || got.PID != os.Getpid() || got.Account != "123456789012" {
			t.Errorf("running: %+v, %v; want %+v", got, err, s)
		}
		if pid, err := f.serving(); pid != os.Getpid() || err != nil {
			t.Errorf("served by %d, %v; want this process", pid, err)
		}
		if err := f.Serve(t.Context(), Options{Port: AnyPort}, func(State) {}); !errors.Is(err, ErrRunning) {
			t.Errorf("a second one: %v, want ErrRunning", err)
		}
		if err := Folder(t.TempDir()).Serve(t.Context(), Options{Port: s.Port}, func(State) {}); !errors.Is(err, ErrPortTaken) {
			t.Errorf("on the same port: %v, want ErrPortTaken", err)
		}
		info, err := os.Stat(f.join("cloud.json"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of cloud.json: %v, %v; want 0600, as the root secret is in it", info.Mode(), err)
		}
	})
	got, err := f.Running(t.Context())
	if !errors.Is(err, ErrNotRunning) || got.Port != s.Port {
		t.Errorf("after its end: port %d, %v; want ErrNotRunning and port %d kept", got.Port, err, s.Port)
	}
	t.Run("again", func(t *testing.T) {
		if again := serve(t, f, Options{Port: AnyPort}); again.Port != s.Port {
			t.Errorf("the second start got port %d, want %d again", again.Port, s.Port)
		}
	})
	if stopped, err := f.Stop(t.Context()); stopped || err != nil {
		t.Errorf("stopping what does not run: %v, %v; want nothing to happen", stopped, err)
	}
}

func TestAnotherProcessOnThePort(t *testing.T) {
	f := Folder(t.TempDir())
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "ok", "pid": 1})
	}))
	t.Cleanup(other.Close)
	_, port, _ := net.SplitHostPort(other.Listener.Addr().String())
	s := State{PID: os.Getpid() + 1, Endpoint: other.URL, Port: 1, AccessKeyID: "a", SecretAccessKey: "b"}
	if err := f.save(s); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Running(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("another process answers on port %s: %v, want ErrNotRunning", port, err)
	}
}

func TestDamagedState(t *testing.T) {
	for name, text := range map[string]string{
		"cut off": `{"pid": 12, "port": 4`, "empty": "", "of another kind": `[]`, "without credentials": `{"pid":1,"port":1,"endpoint":"http://127.0.0.1:1"}`,
	} {
		f := Folder(t.TempDir())
		if err := os.WriteFile(f.join("cloud.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := f.Running(t.Context())
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), f.join("cloud.json")) {
			t.Errorf("%s: %v; want ErrDamaged that names the file", name, err)
		}
		if err := f.Serve(t.Context(), Options{Port: 0, Ephemeral: true}, func(State) {}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: serve: %v; want ErrDamaged, the file untouched", name, err)
		}
		if got, _ := os.ReadFile(f.join("cloud.json")); string(got) != text {
			t.Errorf("%s: the file was changed to %q", name, got)
		}
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	f := Folder(t.TempDir())
	first, err := f.Lock("stack", "miniforge up")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Lock("stack", "miniforge down")
	held, is := errors.AsType[*HeldError](err)
	if !is || !strings.Contains(held.Holder, "miniforge up") {
		t.Fatalf("second: %v; want a HeldError that names the first", err)
	}
	if other, err := f.Lock("other", "miniforge up"); err != nil {
		t.Errorf("another stack: %v", err)
	} else if err := other.Unlock(); err != nil {
		t.Error(err)
	}
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := f.Lock("stack", "miniforge down")
	if err != nil {
		t.Fatalf("after it was given back: %v", err)
	}
	if err := again.Unlock(); err != nil {
		t.Error(err)
	}
}

func TestStartReportsFailure(t *testing.T) {
	for _, tc := range []struct{ name, script, want string }{
		{"the reason is passed on", `printf '{"error":"port is taken"}' >&3; exit 1`, "port is taken"},
		{"an early end shows the log", `echo no such library >&2; exit 1`, "no such library"},
		{"a lie is found out", `printf '{}' >&3`, ErrNeverStarted.Error()},
	} {
		f := Folder(t.TempDir())
		_, err := f.Start(t.Context(), []string{"/bin/sh", "-c", tc.script})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q in it", tc.name, err, tc.want)
		}
	}
}

func TestStartIsCancelled(t *testing.T) {
	f := Folder(t.TempDir())
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	started := filepath.Join(string(f), "started")
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(started); err == nil {
				cancel(reason)
			}
		}
	}()
	if _, err := f.Start(ctx, []string{"/bin/sh", "-c", "touch started; exec tail -f /dev/null"}); !errors.Is(err, reason) {
		t.Errorf("start: %v, want the reason of the context", err)
	}
}

func TestUnusableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := Folder(filepath.Join(file, "state"))
	if err := f.Serve(t.Context(), Options{Port: 0}, func(State) {}); !errors.Is(err, ErrFolder) {
		t.Errorf("serve: %v, want ErrFolder", err)
	}
	if _, err := f.Start(t.Context(), []string{"/bin/true"}); !errors.Is(err, ErrFolder) {
		t.Errorf("start: %v, want ErrFolder", err)
	}
	if _, err := f.Lock("stack", "test"); !errors.Is(err, ErrFolder) {
		t.Errorf("lock: %v, want ErrFolder", err)
	}
}
