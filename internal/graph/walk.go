package graph

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Inspect looks at every resource and changes nothing: each Step says what
// Ensure would do. What cannot be observed is an error in its Step and blocks
// nothing, as a look at one resource does no harm to another.
func (g *Graph) Inspect(ctx context.Context, o Options) ([]Step, error) {
	w := g.newWalk(o, g.needs, func(ctx context.Context, r Resource) (Step, error) {
		s, err := look(ctx, r)
		if wait, ok := errors.AsType[*NotYet](err); ok {
			err = wait.Err // a look does not wait
		}
		return s, err
	})
	w.lenient = true
	return w.run(ctx)
}

// Ensure makes everything exist as declared, and makes no write for what
// already is. A failure blocks only what depends on it. The returned error
// joins the errors of all steps that failed themselves.
func (g *Graph) Ensure(ctx context.Context, o Options) ([]Step, error) {
	return g.newWalk(o, g.needs, func(ctx context.Context, r Resource) (Step, error) {
		s, err := look(ctx, r)
		if err != nil {
			return s, err
		}
		switch s.Action {
		case Foreign:
			err = ErrForeign
		case Create:
			err = r.Create(ctx)
		case Update:
			err = r.Update(ctx, s.Drift)
		case Replace:
			err = replace(ctx, r, s.Drift, o.Replace)
		}
		return s, err
	}).run(ctx)
}

// Destroy deletes what is ours, the needing before the needed. What is foreign
// is left alone, and blocks nothing: it is no part of this stack. Steps come in
// the order of deletion.
func (g *Graph) Destroy(ctx context.Context, o Options) ([]Step, error) {
	steps, err := g.newWalk(o, g.needed, func(ctx context.Context, r Resource) (Step, error) {
		seen, err := r.Observe(ctx)
		switch {
		case err != nil || !seen.Exists:
			return Step{Action: Keep}, err
		case !seen.Owned:
			return Step{Action: Foreign}, nil
		}
		return Step{Action: Delete}, r.Delete(ctx)
	}).run(ctx)
	slices.Reverse(steps)
	return steps, err
}

// look decides what to do about a resource.
func look(ctx context.Context, r Resource) (Step, error) {
	seen, err := r.Observe(ctx)
	switch {
	case err != nil:
		return Step{Action: Keep}, err
	case !seen.Exists:
		return Step{Action: Create}, nil
	case !seen.Owned:
		return Step{Action: Foreign}, nil
	case len(seen.Drift) == 0:
		return Step{Action: Keep}, nil
	}
	s := Step{Action: Update, Drift: seen.Drift}
	for _, d := range seen.Drift {
		if d.Replace {
			s.Action = Replace
		}
	}
	return s, nil
}

func replace(ctx context.Context, r Resource, drift []Diff, allowed bool) error {
	if !allowed {
		for _, d := range drift {
			if d.Replace {
				return fmt.Errorf("%s: %w", d, ErrReplace)
			}
		}
	}
	if err := r.Delete(ctx); err != nil {
		return err
	}
	return r.Create(ctx)
}

// A walk visits every node once, each as soon as those before it have ended.
type walk struct {
	Options
	nodes   []Resource
	before  [][]int // by position, which nodes must have ended
	lenient bool    // a failure blocks nobody
	do      func(context.Context, Resource) (Step, error)

	steps  []Step
	ended  []chan struct{}
	slots  chan struct{}
	report sync.Mutex
}

func (g *Graph) newWalk(o Options, before [][]int, do func(context.Context, Resource) (Step, error)) *walk {
	w := &walk{Options: o.withDefaults(), nodes: g.nodes, before: before, do: do}
	w.steps, w.ended = make([]Step, len(g.nodes)), make([]chan struct{}, len(g.nodes))
	for i := range w.ended {
		w.ended[i] = make(chan struct{})
	}
	w.slots = make(chan struct{}, w.Workers)
	return w
}

// run starts one goroutine for each node. A node takes a worker's slot only
// after those before it have ended, so the limit costs no parallelism and
// cannot lock the walk up. The group has no shared cancellation: a call that
// is cut off leaves its resource in an unknown state, so a failure must not
// stop its siblings.
func (w *walk) run(ctx context.Context) ([]Step, error) {
	var eg errgroup.Group
	for i := range w.nodes {
		eg.Go(func() error {
			defer close(w.ended[i])
			w.steps[i] = w.visit(ctx, i)
			return nil
		})
	}
	_ = eg.Wait()
	var errs []error
	for _, s := range w.steps {
		if s.Err != nil && s.Action != Blocked {
			errs = append(errs, fmt.Errorf("%s %s: %w", s.Action, s.ID, s.Err))
		}
	}
	return w.steps, errors.Join(errs...)
}

func (w *walk) visit(ctx context.Context, i int) Step {
	id := w.nodes[i].ID()
	for _, j := range w.before[i] {
		<-w.ended[j]
		if err := w.steps[j].Err; err != nil && !w.lenient {
			s := Step{ID: id, Action: Blocked, Err: fmt.Errorf("%w by %s", ErrBlocked, w.steps[j].ID)}
			w.tell(Ended, s)
			return s
		}
	}
	w.slots <- struct{}{}
	defer func() { <-w.slots }()

	start := time.Now()
	w.tell(Started, Step{ID: id})
	s := w.patiently(ctx, w.nodes[i])
	s.Took = time.Since(start)
	w.tell(Ended, s)
	return s
}

// patiently repeats the work on a resource while it is NotYet possible.
func (w *walk) patiently(ctx context.Context, r Resource) Step {
	if ctx.Err() != nil {
		return Step{ID: r.ID(), Action: Keep, Err: context.Cause(ctx)}
	}
	pause, first := w.RetryMin, Keep
	for attempt := 1; ; attempt++ {
		s, err := w.do(ctx, r)
		if attempt == 1 {
			first = s.Action
		} else if first != Keep && s.Action != Foreign {
			s.Action = first // a later attempt finishes what the first one began
		}
		s.ID, s.Attempts, s.Err = r.ID(), attempt, err
		if _, again := errors.AsType[*NotYet](err); !again {
			return s
		}
		w.tell(Retrying, s)
		if !w.rest(ctx, pause) {
			s.Err = fmt.Errorf("%w (last: %w)", context.Cause(ctx), err)
			return s
		}
		pause = min(2*pause, w.RetryMax)
	}
}

// rest waits without keeping a worker from other resources. It reports false
// if the context ended first.
func (w *walk) rest(ctx context.Context, pause time.Duration) bool {
	<-w.slots
	defer func() { w.slots <- struct{}{} }()
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

func (w *walk) tell(p Phase, s Step) {
	if w.Progress == nil {
		return
	}
	w.report.Lock()
	defer w.report.Unlock()
	w.Progress(Progress{Phase: p, Step: s, Total: len(w.nodes)})
}
