package fault

import (
	"context"
	"strings"
	"sync"
	"time"

	"miniforge/internal/cloud/event"
)

// An Invocation is what strikes one run of a function. The zero value is a run
// without faults.
type Invocation struct {
	// End is Crash or Timeout if the run ends so, at Point.
	End   Kind
	Point Point
	// Limit replaces the function's own time-out, if not 0.
	Limit time.Duration
	// Again has the function run a second time with the same event.
	Again bool
	// Payload is the event, reordered where that strikes.
	Payload []byte
}

// Function decides about one run of the function with the given ARN.
func (e *Engine) Function(arn string, payload []byte) Invocation {
	in := Invocation{Payload: payload}
	if e.idle.Load() {
		return in
	}
	s := subject{service: "lambda", operation: "Invoke", resources: []string{arn}}
	for _, r := range e.strikeFunction(s, payload) {
		switch r.Kind {
		case Crash, Timeout:
			in.End, in.Point, in.Limit = r.Kind, r.Point, time.Duration(r.Delay)
		case Duplicate:
			in.Again = true
		case Reorder:
			in.Payload = reorder(in.Payload)
		}
	}
	return in
}

// strikeFunction asks about reordering only where there is something to
// reorder, so that every fault that is counted has happened.
func (e *Engine) strikeFunction(s subject, payload []byte) []Rule {
	kinds := []Kind{Crash, Timeout, Duplicate}
	if reorderable(payload) {
		kinds = append(kinds, Reorder)
	}
	return e.strike(s, kinds...)
}

// Tasks returns a decorator of task handlers: deliveries between services that
// happen twice, or late.
func (e *Engine) Tasks() func(event.Handler) event.Handler {
	d := deferred{waiting: map[string]bool{}}
	return func(next event.Handler) event.Handler {
		return func(ctx context.Context, t event.Task) event.Result {
			if e.idle.Load() {
				return next(ctx, t)
			}
			service, operation, _ := strings.Cut(t.Kind, ".")
			s := subject{service: service, operation: operation}
			if d.end(t) {
				return next(ctx, t) // its fault has happened
			}
			if hit := e.strike(s, Delay); len(hit) > 0 {
				d.begin(t)
				return event.Again(time.Duration(hit[0].Delay))
			}
			result := next(ctx, t)
			if result != event.Done() || len(e.strike(s, Duplicate)) == 0 {
				return result
			}
			// As if the process had died before the end was recorded: done
			// again, unless the handler ended the task with its effect.
			d.begin(t)
			return event.Again(0)
		}
	}
}

// deferred remembers the tasks to which a fault happened and that come again.
type deferred struct {
	mu      sync.Mutex
	waiting map[string]bool
}

// maxDeferred bounds what tasks that never come again leave behind.
const maxDeferred = 10_000

func (d *deferred) begin(t event.Task) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) >= maxDeferred {
		clear(d.waiting)
	}
	d.waiting[t.Kind+"\x00"+t.ID] = true
}

// end reports whether a fault happened to the task before, and forgets it.
func (d *deferred) end(t event.Task) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.waiting[t.Kind+"\x00"+t.ID]
	delete(d.waiting, t.Kind+"\x00"+t.ID)
	return was
}
