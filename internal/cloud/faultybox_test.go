package cloud

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"miniforge/internal/cloud/fault"
	"miniforge/internal/cloud/lambda/sandbox"
)

// A box is a sandbox that counts.
type box struct {
	invoked int
	ended   chan struct{}
}

func (b *box) Invoke(sandbox.Invocation) sandbox.Result {
	b.invoked++
	time.Sleep(10 * time.Millisecond)
	return sandbox.Result{Payload: []byte("done")}
}

func (b *box) Ended() <-chan struct{} { return b.ended }
func (b *box) Close()                 { close(b.ended) }

type boxes struct{ last *box }

func (l *boxes) Launch(context.Context, sandbox.Spec) (sandbox.Sandbox, error) {
	l.last = &box{ended: make(chan struct{})}
	return l.last, nil
}

// TestFunctionsFail: what a function did, what its caller is told, and whether
// the process can be used again.
func TestFunctionsFail(t *testing.T) {
	for _, tc := range []struct {
		name    string
		rule    fault.Rule
		invoked int
		failure string
		took    time.Duration
		usable  bool
	}{
		{"no fault", fault.Rule{Kind: fault.Crash, Resource: "*other*"}, 1, "", 10 * time.Millisecond, true},
		{"crash before", fault.Rule{Kind: fault.Crash}, 0, sandbox.ExitError, 0, false},
		{"crash after", fault.Rule{Kind: fault.Crash, Point: fault.After}, 1, sandbox.ExitError, 10 * time.Millisecond, false},
		{"time-out before", fault.Rule{Kind: fault.Timeout}, 0, sandbox.TimedOut, 5 * time.Second, false},
		{"time-out after", fault.Rule{Kind: fault.Timeout, Point: fault.After}, 1, sandbox.TimedOut, 5 * time.Second, false},
		{"time-out, sooner", fault.Rule{Kind: fault.Timeout, Point: fault.After, Delay: fault.Duration(time.Second)}, 1, sandbox.TimedOut, time.Second, false},
		{"twice", fault.Rule{Kind: fault.Duplicate}, 2, "", 20 * time.Millisecond, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := fault.New(fault.Options{})
				if err := e.Add(fault.Schedule{Rules: []fault.Rule{tc.rule}}); err != nil {
					t.Fatal(err)
				}
				inner := &boxes{}
				b, err := faultyLauncher{inner, e}.Launch(t.Context(), sandbox.Spec{})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				r := b.Invoke(sandbox.Invocation{FunctionARN: "arn:aws:lambda:us-east-1:1:function:f:live", Timeout: 5 * time.Second})
				got := ""
				if r.Failure != nil {
					got = r.Failure.Type
				}
				usable := true
				select {
				case <-b.Ended():
					usable = false
				default:
				}
				if inner.last.invoked != tc.invoked || got != tc.failure || usable != tc.usable || time.Since(start) != tc.took {
					t.Errorf("ran %d times, failure %q, usable %v, after %v; want %d, %q, %v, %v", inner.last.invoked, got, usable, time.Since(start), tc.invoked, tc.failure, tc.usable, tc.took)
				}
			})
		})
	}
}

// TestClosingEndsATimeout: a cloud that stops does not wait for a function that
// pretends to hang.
func TestClosingEndsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := fault.New(fault.Options{})
		if err := e.Add(fault.Schedule{Rules: []fault.Rule{{Kind: fault.Timeout}}}); err != nil {
			t.Fatal(err)
		}
		inner := &box{ended: make(chan struct{})}
		b := faultyBox{closeOnce{inner}, e}
		start := time.Now()
		time.AfterFunc(time.Second, func() { close(inner.ended) })
		b.Invoke(sandbox.Invocation{Timeout: time.Minute})
		if took := time.Since(start); took != time.Second {
			t.Errorf("waited %v", took)
		}
	})
}

// closeOnce is a box that may be closed when it has ended, as sandboxes may.
type closeOnce struct{ *box }

func (closeOnce) Close() {}
