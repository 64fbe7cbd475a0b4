package event

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"miniforge/internal/cloud/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a queue whose handler notes what ran when.
type rig struct {
	*Queue
	db    store.DB
	start time.Time
	mu    sync.Mutex
	ran   []string
}

func newRig(db store.DB) *rig {
	return &rig{Queue: NewQueue(db, slog.New(slog.DiscardHandler)), db: db, start: time.Now()}
}

func (r *rig) note(t Task) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ran = append(r.ran, t.ID+"@"+time.Since(r.start).String())
}

func (r *rig) expect(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.ran, want) {
		t.Errorf("ran %q, want %q", r.ran, want)
	}
}

func (r *rig) send(t *testing.T, all ...Task) {
	t.Helper()
	for _, x := range all {
		if err := r.db.Update(t.Context(), func(tx *store.Tx) error { return r.Send(tx, x) }); err != nil {
			t.Fatal(err)
		}
	}
}

// runs starts the queue and returns what stops it and waits.
func (r *rig) runs(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestTasksRunWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("k", 4, func(_ context.Context, t Task) Result { r.note(t); return Done() })
		defer r.runs(t)()
		r.send(t, Task{Kind: "k", ID: "later", Due: time.Now().Add(time.Minute)}, Task{Kind: "k", ID: "now"})
		r.send(t, Task{Kind: "k", ID: "soon", Due: time.Now().Add(time.Second)})
		time.Sleep(2 * time.Minute)
		r.expect(t, "now@0s", "soon@1s", "later@1m0s")
		if n := r.Pending(); len(n) != 0 {
			t.Errorf("left: %v", n)
		}
	})
}

func TestRetryCountsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("k", 1, func(_ context.Context, t Task) Result {
			r.note(t)
			if t.Attempts < 2 {
				return Retry(time.Second << t.Attempts)
			}
			return Done()
		})
		defer r.runs(t)()
		r.send(t, Task{Kind: "k", ID: "a"})
		time.Sleep(time.Minute)
		r.expect(t, "a@0s", "a@1s", "a@3s")
	})
}

func TestTasksOutliveTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := store.Memory() // stands for a durable one
		r := newRig(db)
		r.Handle("k", 1, func(ctx context.Context, _ Task) Result { <-ctx.Done(); return Done() })
		stop := r.runs(t)
		r.send(t, Task{Kind: "k", ID: "cut off"}, Task{Kind: "k", ID: "not begun"})
		synctest.Wait()
		stop()

		r = newRig(db)
		r.Handle("k", 1, func(_ context.Context, t Task) Result { r.note(t); return Done() })
		defer r.runs(t)()
		synctest.Wait()
		r.expect(t, "cut off@0s", "not begun@0s")
	})
}

func TestLaneIsOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("k", 9, func(_ context.Context, t Task) Result { r.note(t); time.Sleep(time.Second); return Done() })
		defer r.runs(t)()
		for _, id := range []string{"a", "b", "c"} {
			r.send(t, Task{Kind: "k", ID: id, Lane: "one"})
		}
		r.send(t, Task{Kind: "k", ID: "free"})
		time.Sleep(time.Minute)
		r.mu.Lock()
		slices.Sort(r.ran) // the free one runs beside the first of the lane
		r.mu.Unlock()
		r.expect(t, "a@0s", "b@1s", "c@2s", "free@0s")
	})
}

func TestReplacedAndFinishedTasksDoNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("k", 1, func(_ context.Context, t Task) Result { r.note(t); return Done() })
		defer r.runs(t)()
		r.send(t, Task{Kind: "k", ID: "timer", Due: time.Now().Add(time.Second)})
		r.send(t, Task{Kind: "k", ID: "timer", Due: time.Now().Add(5 * time.Second)})
		r.send(t, Task{Kind: "k", ID: "ended", Due: time.Now().Add(time.Second)})
		if err := r.db.Update(t.Context(), func(tx *store.Tx) error { return r.Finish(tx, "k", "ended") }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r.expect(t, "timer@5s")
	})
}

func TestFinishInsideTheHandlerEndsTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("k", 1, func(ctx context.Context, task Task) Result {
			r.note(task)
			if err := r.db.Update(ctx, func(tx *store.Tx) error { return r.Finish(tx, "k", task.ID) }); err != nil {
				t.Error(err)
			}
			return Retry(time.Second) // too late: it has ended
		})
		defer r.runs(t)()
		r.send(t, Task{Kind: "k", ID: "a"})
		time.Sleep(time.Minute)
		r.expect(t, "a@0s")
	})
}

func TestRolledBackSendDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("k", 1, func(_ context.Context, t Task) Result { r.note(t); return Done() })
		defer r.runs(t)()
		_ = r.db.Update(t.Context(), func(tx *store.Tx) error {
			if err := r.Send(tx, Task{Kind: "k", ID: "a"}); err != nil {
				t.Error(err)
			}
			return context.Canceled
		})
		time.Sleep(time.Minute)
		r.expect(t)
		if err := r.db.Update(t.Context(), func(tx *store.Tx) error { return r.Send(tx, Task{Kind: "unknown"}) }); err == nil {
			t.Error("a task that nobody handles was taken")
		}
	})
}

func TestAgainIsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("k", 1, func(_ context.Context, t Task) Result {
			r.note(t)
			if t.Attempts > 0 {
				panic("an attempt was counted")
			}
			return Done()
		})
		first := true
		r.Decorate(func(next Handler) Handler {
			return func(ctx context.Context, t Task) Result {
				if result := next(ctx, t); !first {
					return result
				}
				first = false
				return Again(time.Second)
			}
		})
		defer r.runs(t)()
		r.send(t, Task{Kind: "k", ID: "a"})
		time.Sleep(time.Minute)
		r.expect(t, "a@0s", "a@1s")
	})
}

// TestEndedWithItsEffect: what a handler ended in its own transaction is not
// done again, whatever comes after.
func TestEndedWithItsEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("k", 1, func(ctx context.Context, t Task) Result {
			r.note(t)
			_ = r.db.Update(ctx, func(tx *store.Tx) error { return r.Finish(tx, t.Kind, t.ID) })
			return Again(0)
		})
		defer r.runs(t)()
		r.send(t, Task{Kind: "k", ID: "a"})
		time.Sleep(time.Minute)
		r.expect(t, "a@0s")
	})
}

// TestPanic: a task that hits a bug ends neither the process nor other tasks,
// and is tried again.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("k", 1, func(_ context.Context, t Task) Result {
			r.note(t)
			if t.ID == "bad" && t.Attempts == 0 {
				panic("a bug")
			}
			return Done()
		})
		defer r.runs(t)()
		r.send(t, Task{Kind: "k", ID: "bad"}, Task{Kind: "k", ID: "good"})
		time.Sleep(time.Hour)
		r.expect(t, "bad@0s", "good@0s", "bad@1m0s")
	})
}

func TestJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("k", 1, func(_ context.Context, t Task) Result { r.note(t); return Done() })
		defer r.runs(t)()
		synctest.Wait() // what waits before the queue runs is not there to be moved
		now := time.Now()
		r.send(t, Task{Kind: "k", ID: "soon", Due: now.Add(time.Minute)}, Task{Kind: "k", ID: "late", Due: now.Add(time.Hour)})
		r.Jump(10 * time.Minute)
		r.send(t, Task{Kind: "k", ID: "new", Due: now.Add(time.Minute)})
		time.Sleep(2 * time.Hour)
		r.expect(t, "soon@0s", "new@1m0s", "late@50m0s")
	})
}

// fullDB has no room for writes for a while.
type fullDB struct {
	store.DB
	full atomic.Bool
}

func (d *fullDB) Update(ctx context.Context, fn func(*store.Tx) error) error {
	if d.full.Load() {
		return &store.FullError{Err: syscall.ENOSPC}
	}
	return d.DB.Update(ctx, fn)
}

// TestATaskWhoseEndIsNotRecordedIsDoneAgain fills the disk while a task runs:
// its end is recorded when there is room, not at the next start.
func TestATaskWhoseEndIsNotRecordedIsDoneAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &fullDB{DB: store.Memory()}
		r := newRig(db)
		r.Handle("k", 1, func(_ context.Context, t Task) Result {
			r.note(t)
			db.full.Store(time.Since(r.start) < 1500*time.Millisecond)
			return Done()
		})
		defer r.runs(t)()
		r.send(t, Task{Kind: "k", ID: "a", Lane: "l"}, Task{Kind: "k", ID: "b", Lane: "l", Due: time.Now().Add(time.Minute)})
		time.Sleep(2 * time.Minute)
		r.expect(t, "a@0s", "a@1s", "a@2s", "b@1m0s")
		if n := r.Pending(); len(n) != 0 {
			t.Errorf("left: %v", n)
		}
	})
}

// TestDelay: what is to run at once is on its way for a while; what has its own
// time is not, and neither is a task that is tried again.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(store.Memory())
		r.Handle("slow", 10, func(_ context.Context, task Task) Result {
			r.note(task)
			if task.ID == "twice" && task.Attempts == 0 {
				return Retry(time.Second)
			}
			return Done()
		})
		r.Handle("fast", 1, func(_ context.Context, task Task) Result { r.note(task); return Done() })
		r.Delay("slow", func() time.Duration { return 5 * time.Second })
		defer r.runs(t)()
		r.send(t, Task{Kind: "slow", ID: "twice"}, Task{Kind: "slow", ID: "due", Due: r.start.Add(time.Second)}, Task{Kind: "fast", ID: "fast"})
		time.Sleep(10 * time.Second)
		r.expect(t, "fast@0s", "due@1s", "twice@5s", "twice@6s")
	})
}
