package stack

import (
	"context"

	"miniforge/internal/delivery"
	"miniforge/internal/resource"
)

// A Delivered says what it took to have the sources delivered.
type Delivered struct {
	Pushed resource.Pushed
	// Execution delivers them, or has done so where Unchanged is set: then
	// nothing was pushed, and nothing started.
	Execution delivery.Execution
	Unchanged bool
}

// Deliver pushes Options.Sources, by a function that calls Push, and starts the
// pipeline if no execution delivers them already. It does not wait for the end.
//
// A run that was cut short is taken up where it was: what was pushed is not
// pushed again, and an execution that was started is not started again.
func (s *Stack) Deliver(ctx context.Context, push func(context.Context) (resource.Pushed, error)) (d Delivered, err error) {
	pipeline := s.Delivery()
	last, err := pipeline.Last(ctx)
	if err != nil {
		return d, err
	}
	if d.Pushed, err = push(ctx); err != nil {
		return d, err
	}
	switch {
	case d.Pushed.Commits == 0 && last != nil && last.Commit == d.Pushed.Commit && last.Succeeded():
		d.Unchanged, d.Execution = true, *last
	case d.Pushed.Commits == 0 && last != nil && last.Running() && (last.Commit == "" || last.Commit == d.Pushed.Commit):
		d.Execution = *last // it takes, or has taken, what the branch holds
	default:
		if d.Execution.ID, err = pipeline.Start(ctx); err != nil {
			return d, err
		}
		d.Execution.Status = "InProgress"
	}
	return d, nil
}
