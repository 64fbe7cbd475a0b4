package drive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"miniforge/internal/order"
)

// Polling starts quickly, as a local system ends an order in milliseconds, and
// slows down, as AWS may take minutes for a first one.
const (
	firstPoll = 5 * time.Millisecond
	lastPoll  = 500 * time.Millisecond
)

// Await polls an order until it is terminal or ctx ends. It calls seen, if not
// nil, whenever the order's timeline has grown. With its error it returns the
// order as last seen.
func (c *Client) Await(ctx context.Context, id string, seen func(order.View)) (order.View, error) {
	return c.AwaitUntil(ctx, id, seen, func(v order.View) bool { return v.Status.Terminal() })
}

// AwaitSettled is Await, but waits also for the announcement of the order's
// end, which is the last that the workflow does for it.
func (c *Client) AwaitSettled(ctx context.Context, id string) (order.View, error) {
	return c.AwaitUntil(ctx, id, nil, func(v order.View) bool { return v.Status.Terminal() && v.NotifiedAt != nil })
}

// AwaitUntil polls an order until done says so or ctx ends.
func (c *Client) AwaitUntil(ctx context.Context, id string, seen func(order.View), done func(order.View) bool) (order.View, error) {
	var last order.View
	pause := firstPoll
	for {
		v, err := c.Get(ctx, id)
		switch {
		case err == nil:
			if seen != nil && (len(v.Timeline) != len(last.Timeline) || v.Status != last.Status) {
				seen(v)
			}
			last = v
			if done(v) {
				return v, nil
			}
		case !temporary(err) || ctx.Err() != nil:
			return last, awaitError(ctx, id, last, err)
		}
		select {
		case <-ctx.Done():
			return last, awaitError(ctx, id, last, context.Cause(ctx))
		case <-time.After(pauseAfter(err, pause)):
			pause = min(pause*3/2, lastPoll)
		}
	}
}

func awaitError(ctx context.Context, id string, last order.View, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(context.Cause(ctx), err)
	}
	if last.ID == "" {
		return fmt.Errorf("wait for order %s: %w", id, err)
	}
	return fmt.Errorf("wait for order %s, last seen %s: %w", id, last.Status, err)
}
