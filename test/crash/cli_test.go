package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"miniforge/internal/stack"
)

var everyCall = flag.Bool("every-call", false, "cut up and down at each of their calls, before and after its effect, instead of at some")

// A blade cuts a run of the program off at its n-th call: before the call has an
// effect, or after it and before the answer. Whatever else is under way then
// gets no answer either, and there is no further call: the process is dead.
type blade struct {
	http.RoundTripper
	at    int
	after bool
	die   context.CancelFunc

	mu    sync.Mutex
	calls int
	dead  bool
}

var errKilled = errors.New("the process was killed")

func (b *blade) RoundTrip(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	b.calls++
	cut := !b.dead && b.calls == b.at
	b.dead = b.dead || cut
	dead := b.dead
	b.mu.Unlock()
	switch {
	case cut && b.after:
		if resp, err := b.RoundTripper.RoundTrip(r); err == nil {
			_ = resp.Body.Close()
		}
		b.die()
		return nil, errKilled
	case cut:
		b.die()
		return nil, errKilled
	case dead:
		return nil, errKilled
	}
	resp, err := b.RoundTripper.RoundTrip(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, errKilled
	}
	return resp, err
}

type command func(context.Context, *stack.Stack) error

// cut runs a command until its n-th call, and reports whether there is one.
func (a *account) cut(run command, n int, after bool) bool {
	ctx, die := context.WithCancel(a.t.Context())
	defer die()
	b := &blade{RoundTripper: a.Transport(), at: n, after: after, die: die}
	err := run(ctx, a.stack(b))
	if b.dead && err == nil {
		a.t.Errorf("killed at call %d, and says that all went well", n)
	}
	return b.dead
}

func (a *account) must(what string, run command) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	if err := run(ctx, a.stack(a.Transport())); err != nil {
		a.t.Errorf("%s: %v", what, err)
	}
}

// count is how many calls a command makes that nobody disturbs.
func (a *account) count(run command) int {
	a.t.Helper()
	b := &blade{RoundTripper: a.Transport(), at: -1}
	if err := run(a.t.Context(), a.stack(b)); err != nil {
		a.t.Fatal(err)
	}
	return b.calls
}

// TestUpAndDownAreCutAnywhere kills up and down at one call after the other,
// and runs them again: the account must be as if nothing had happened, with
// nothing left over and nothing there twice.
func TestUpAndDownAreCutAnywhere(t *testing.T) {
	ref := newAccount(t)
	ups := ref.count(up)
	built := ref.inventory()
	again := ref.count(up)
	if diff := cmp.Diff(built, ref.inventory()); diff != "" {
		t.Fatalf("a second up changed (-before +after):\n%s", diff)
	}
	downs := ref.count(down)
	gone := ref.inventory()
	if len(built) < 30 || !slices.Equal(gone, []string{"key PendingDeletion"}) {
		t.Fatalf("the lists tell too little: %d things, then %v", len(built), gone)
	}
	t.Logf("up makes %d calls, the second %d, down %d", ups, again, downs)
	for _, after := range []bool{false, true} {
		step, start := 1, 1
		if !*everyCall {
			step = 6
			if after {
				start = step / 2 // the calls in between
			}
		}
		for n := start; n <= max(ups, downs); n += step {
			t.Run(fmt.Sprintf("call %d, after its effect %v", n, after), func(t *testing.T) {
				t.Parallel()
				a := newAccount(t)
				if a.cut(up, n, after) && n%3 == 0 {
					a.must("down after a killed up", down) // who gives up
				}
				a.must("up after a killed up", up)
				if diff := cmp.Diff(built, a.inventory()); diff != "" {
					t.Errorf("after a killed up (-want +got):\n%s", diff)
				}
				a.cut(down, n, after)
				a.must("down after a killed down", down)
				if diff := cmp.Diff(gone, a.inventory()); diff != "" {
					t.Errorf("after a killed down (-want +got):\n%s", diff)
				}
			})
		}
	}
}
