//go:build unix

package sandbox_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"miniforge/internal/cloud/lambda/sandbox"
)

// binary builds the test function once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := tempDir()
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "bootstrap")
	out, err := exec.Command("go", "build", "-tags", "lambda.norpc", "-o", file, "miniforge/internal/cloud/lambda/testdata/function").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build test function: %w: %s", err, out)
	}
	return file, nil
})

type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, s)
}

func (l *lines) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.all
	l.all = nil
	return all
}

// launch starts the test function.
func launch(t *testing.T, env ...string) (sandbox.Sandbox, *lines, error) {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := sandbox.NewProcesses(slog.New(slog.DiscardHandler))
	t.Cleanup(p.Close)
	l := &lines{}
	box, err := p.Launch(t.Context(), sandbox.Spec{Dir: filepath.Dir(file), Command: []string{file}, Env: env, Line: l.add, InitTimeout: 10 * time.Second})
	if err == nil {
		t.Cleanup(box.Close)
	}
	return box, l, err
}

func invoke(box sandbox.Sandbox, do string, value any, timeout time.Duration) sandbox.Result {
	payload, _ := json.Marshal(map[string]any{"do": do, "value": value})
	return box.Invoke(sandbox.Invocation{
		RequestID: "id-" + do, FunctionARN: "arn:aws:lambda:us-east-1:123456789012:function:f:live", Payload: payload, Timeout: timeout,
		ClientContext: `{"custom":{"k":"v"}}`, TraceID: "Root=1-2-3",
	})
}

func TestInvocations(t *testing.T) {
	box, l, err := launch(t, "A=b")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // warm
		r := invoke(box, "echo", "hello", time.Second)
		if string(r.Payload) != `"hello"` || r.Failed || r.Failure != nil {
			t.Fatalf("echo: %+v %s", r, r.Payload)
		}
		if r.MaxMemory < 1<<20 {
			t.Errorf("memory used: %d bytes", r.MaxMemory)
		}
	}
	r := invoke(box, "context", nil, 5*time.Second)
	var got struct {
		ID, ARN, Trace string
		Left           int64
		Client         map[string]string
	}
	if err := json.Unmarshal(r.Payload, &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "id-context" || !strings.HasSuffix(got.ARN, ":live") || got.Client["k"] != "v" || got.Trace != "Root=1-2-3" || got.Left < 4000 || got.Left > 5000 {
		t.Errorf("context: %+v", got)
	}
	r = invoke(box, "declined", nil, time.Second)
	if !r.Failed || !strings.Contains(string(r.Payload), `"errorType":"Declined"`) {
		t.Errorf("declined: %+v %s", r, r.Payload)
	}
	r = invoke(box, "env", nil, time.Second)
	for _, x := range []string{"A=b", "AWS_LAMBDA_RUNTIME_API=127.0.0.1:"} {
		if !strings.Contains(string(r.Payload), x) {
			t.Errorf("environment lacks %s: %s", x, r.Payload)
		}
	}
	if strings.Contains(string(r.Payload), "GOPATH") || strings.Contains(string(r.Payload), "HOME=") {
		t.Errorf("environment leaks: %s", r.Payload)
	}
	l.take()
	invoke(box, "log", 1000, time.Second)
	if all := l.take(); len(all) != 1001 || all[0] != "line 0" || all[999] != "line 999" || all[1000] != "no newline" {
		t.Errorf("%d lines were there when the invocation had ended", len(all))
	}
	r = invoke(box, "big", nil, 5*time.Second)
	if r.Failure == nil || r.Failure.Type != sandbox.TooLarge {
		t.Errorf("big: %+v", r.Failure)
	}
}

func TestTimeoutKillsTheProcess(t *testing.T) {
	box, _, err := launch(t, "PATH=/usr/bin:/bin")
	if err != nil {
		t.Fatal(err)
	}
	var child int
	if err := json.Unmarshal(invoke(box, "child", nil, time.Second).Payload, &child); err != nil {
		t.Fatal(err)
	}
	r := invoke(box, "sleep", nil, 200*time.Millisecond)
	if r.Failure == nil || r.Failure.Type != sandbox.TimedOut || r.Failure.Message != "Task timed out after 0.20 seconds" {
		t.Fatalf("got %+v", r.Failure)
	}
	select {
	case <-box.Ended():
	default:
		t.Error("the sandbox goes on")
	}
	// The child is a zombie of init at most; a signal reaches it no more once reaped.
	for deadline := time.Now().Add(5 * time.Second); syscall.Kill(child, 0) == nil; {
		if time.Now().After(deadline) {
			if !zombie(child) {
				t.Error("what the function started goes on")
			}
			break
		}
	}
}

func TestExit(t *testing.T) {
	box, l, err := launch(t)
	if err != nil {
		t.Fatal(err)
	}
	r := invoke(box, "exit", nil, time.Second)
	if r.Failure == nil || r.Failure.Type != sandbox.ExitError || r.Failure.Message != "Runtime exited with error: exit status 2" {
		t.Errorf("got %+v", r.Failure)
	}
	if all := l.take(); len(all) != 1 || all[0] != "leaving" {
		t.Errorf("last words: %q", all)
	}
}

func TestInitFails(t *testing.T) {
	_, _, err := launch(t, "INIT=fail")
	f, ok := errors.AsType[*sandbox.Failure](err)
	if !ok || f.Type != sandbox.ExitError || f.Message != "Runtime exited with error: exit status 3" {
		t.Errorf("got %v", err)
	}
}

func TestNoBootstrap(t *testing.T) {
	p := sandbox.NewProcesses(slog.New(slog.DiscardHandler))
	defer p.Close()
	_, err := p.Launch(t.Context(), sandbox.Spec{Dir: t.TempDir(), Command: []string{"/does/not/exist"}, Line: func(string) {}, InitTimeout: time.Second})
	if f, ok := errors.AsType[*sandbox.Failure](err); !ok || f.Type != sandbox.InvalidEntry {
		t.Errorf("got %v", err)
	}
}

func BenchmarkWarmInvoke(b *testing.B) {
	file, err := binary()
	if err != nil {
		b.Fatal(err)
	}
	p := sandbox.NewProcesses(slog.New(slog.DiscardHandler))
	defer p.Close()
	box, err := p.Launch(b.Context(), sandbox.Spec{Dir: filepath.Dir(file), Command: []string{file}, Line: func(string) {}, InitTimeout: 10 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	defer box.Close()
	for b.Loop() {
		if r := invoke(box, "echo", "x", time.Second); r.Failure != nil {
			b.Fatal(r.Failure)
		}
	}
}
