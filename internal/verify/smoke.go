package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"miniforge/internal/check"
	"miniforge/internal/graph"
)

// smoke is the suite of what exists and how it is connected.
func (r *Run) smoke() check.Suite {
	checks := append(r.resources(), r.wiring()...)
	return check.Suite{Name: "smoke", Title: "Everything is there and connected", Checks: append(checks, r.hops()...)}
}

// resources asks, for each resource, whether it is as declared. The graph is
// looked at once, all at the same time, by whichever check comes first.
func (r *Run) resources() []check.Check {
	g, err := r.stack.Graph()
	if err != nil {
		return []check.Check{{ID: "resource", Title: "The stack is well declared", Run: func(context.Context, *check.T) error { return err }}}
	}
	look := once(func(ctx context.Context) (found, error) {
		// An error is the sum of those of the steps, which are claimed singly.
		steps, _ := g.Inspect(ctx, graph.Options{})
		f := found{steps: make(map[string]graph.Step, len(steps))}
		for _, s := range steps {
			f.steps[s.ID] = s
		}
		var err error
		f.leftOut, err = r.leftOut(f.steps)
		return f, err
	})
	var checks []check.Check
	for _, res := range g.Resources() {
		checks = append(checks, check.Check{
			ID: "resource." + res.ID(), Title: res.ID() + " exists as declared",
			Run: func(ctx context.Context, t *check.T) error {
				f, err := look(ctx)
				switch {
				case err != nil:
					return err
				case f.leftOut[res.ID()]:
					return fmt.Errorf("%w: the stack was made without its pipeline", check.ErrSkip)
				}
				return claimStep(t, f.steps[res.ID()])
			},
		})
	}
	return checks
}

// found is what a look at all resources found.
type found struct {
	steps   map[string]graph.Step
	leftOut map[string]bool // resources of a part that up left out
}

// leftOut is the pipeline, if nothing of it is there: then it was left out.
func (r *Run) leftOut(steps map[string]graph.Step) (map[string]bool, error) {
	ids, err := r.stack.DeliveryIDs()
	if err != nil {
		return nil, err
	}
	for id := range ids {
		if s := steps[id]; s.Action != graph.Create || s.Err != nil {
			return nil, nil //nolint:nilerr // an error is for the resource's own check
		}
	}
	return ids, nil
}

func claimStep(t *check.T, s graph.Step) error {
	switch {
	case errors.Is(s.Err, graph.ErrForeign):
		t.Claim("it", "belongs to this stack", s.Err.Error(), false)
		return nil
	case s.Err != nil:
		return s.Err
	case s.Action == graph.Create:
		t.Claim("it", "exists", "absent", false)
	case s.Action == graph.Keep:
		t.Claim("it", "as declared", "as declared", true)
	case len(s.Drift) == 0:
		return fmt.Errorf("looked for %s, found it to be %q", s.ID, s.Action)
	}
	for _, d := range s.Drift {
		t.Claim(d.Field, d.Want, d.Got, false)
	}
	return nil
}

// once remembers what f returned, unless it failed.
func once[V any](f func(context.Context) (V, error)) func(context.Context) (V, error) {
	var mu sync.Mutex
	var have bool
	var v V
	return func(ctx context.Context) (V, error) {
		mu.Lock()
		defer mu.Unlock()
		if have {
			return v, nil
		}
		got, err := f(ctx)
		if err == nil {
			v, have = got, true
		}
		return got, err
	}
}
