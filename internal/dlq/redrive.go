package dlq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/sync/errgroup"

	"miniforge/internal/order"
)

// Outcome is what became of a letter.
type Outcome struct {
	Letter Letter `json:"letter"`
	Plan   Plan   `json:"plan"`
	// Deleted tells that the letter has been redriven and is gone. Otherwise it
	// is in the queue as before.
	Deleted bool   `json:"deleted"`
	Error   string `json:"error,omitempty"`
}

// Options tune a redrive.
type Options struct {
	DryRun bool    // decide only
	Rate   float64 // letters a second; 0 is as many as there are
	Max    int     // redrive at most so many letters; 0 is all. Refused ones do not count
	// Tell, if set, is called with each outcome as it is there, one at a time.
	Tell func(Outcome)
}

// atOnce is how many letters are redriven at the same time.
const atOnce = 10

// Run redrives the letters of a queue, one after the other or some at once. A
// letter is deleted when its orders have been taken over by a new run, and not
// before: whatever happens meanwhile, it can be redriven again.
//
// What happens to single letters is in their outcomes; the error is that of
// reading the queue, or of ctx.
func (r *Redriver) Run(ctx context.Context, q *Queue, o Options) ([]Outcome, error) {
	outcomes := []Outcome{}
	var mu sync.Mutex
	left := o.Max
	tell := func(out Outcome) {
		mu.Lock()
		defer mu.Unlock()
		outcomes = append(outcomes, out)
		if out.Plan.Action != Refuse {
			left--
		}
		if o.Tell != nil {
			o.Tell(out)
		}
	}
	var pace <-chan time.Time
	if o.Rate > 0 {
		t := time.NewTicker(max(time.Duration(float64(time.Second)/o.Rate), 1))
		defer t.Stop()
		pace = t.C
	}
	for o.Max == 0 || left > 0 {
		most := atOnce
		if o.Max > 0 {
			most = min(most, left)
		}
		letters, err := q.Next(ctx, most)
		if err != nil || len(letters) == 0 {
			return outcomes, err
		}
		var eg errgroup.Group
		for i, l := range letters {
			if pace != nil && (i > 0 || len(outcomes) > 0) {
				select {
				case <-ctx.Done():
				case <-pace:
				}
			}
			if ctx.Err() != nil {
				break
			}
			eg.Go(func() error { tell(r.redrive(ctx, q, l, o.DryRun)); return nil })
		}
		_ = eg.Wait() // errors are outcomes
		if ctx.Err() != nil {
			return outcomes, context.Cause(ctx)
		}
	}
	return outcomes, nil
}

func (r *Redriver) redrive(ctx context.Context, q *Queue, l Letter, dry bool) Outcome {
	p, err := r.Plan(ctx, l)
	out := Outcome{Letter: l, Plan: p}
	if err == nil && p.Action != Refuse && !dry {
		if err = r.carryOut(ctx, q, l, p); err == nil {
			err = q.Delete(ctx, l)
		}
		out.Deleted = err == nil
	}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

func (r *Redriver) carryOut(ctx context.Context, q *Queue, l Letter, p Plan) error {
	switch p.Action {
	case Announce:
		return r.announce(ctx, p.Orders, "")
	case Rerun, Recover:
		o := p.Orders[0]
		if p.Action == Recover {
			if err := r.compensate(ctx, o); err != nil {
				return err
			}
		}
		o, err := r.reset(ctx, o)
		if err != nil {
			return err
		}
		return r.announce(ctx, []order.Order{o}, l.ExecutionARN)
	case Complete:
		return r.complete(ctx, p.Orders[0])
	case Forward:
		return r.forward(ctx, q, l)
	default: // Discard
		return nil
	}
}

// forward sends a notification to the queue that it did not reach. To publish
// it again would send it to every other subscriber a second time.
func (r *Redriver) forward(ctx context.Context, q *Queue, l Letter) error {
	name := r.Stack.Notifications()
	url, err := q.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return fmt.Errorf("find queue %s: %w", name, err)
	}
	attributes := maps.Clone(l.attributes)
	for _, added := range []string{"RequestID", "ErrorCode", "ErrorMessage"} { // by SNS
		delete(attributes, added)
	}
	if _, err = q.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url.QueueUrl, MessageBody: &l.Body, MessageAttributes: attributes}); err != nil {
		return fmt.Errorf("send to %s: %w", name, err)
	}
	return nil
}

// awaitTakeover waits until other executions than the old one have taken over
// all orders.
func (r *Redriver) awaitTakeover(ctx context.Context, orders []order.Order, old string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Patience, fmt.Errorf("not within %s", r.Patience))
	defer cancel()
	open := make([]string, len(orders))
	for i, o := range orders {
		open[i] = o.ID
	}
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		var failed error
		open = slices.DeleteFunc(open, func(id string) bool {
			o, err := r.order(ctx, id)
			if err != nil && !errors.Is(err, errAbsent) {
				failed = err
				return false
			}
			return err != nil || o.ExecutionARN != "" && o.ExecutionARN != old
		})
		if len(open) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("no run has taken over order %s: %w", open[0], context.Cause(ctx)), failed)
		case <-time.After(pause):
		}
	}
}
