package drive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"miniforge/internal/order"
)

// Reader reads orders by their ids. Orders that it does not find are missing
// in its answer.
type Reader func(ctx context.Context, ids []string) ([]order.View, error)

// Watch tells many waiters when their orders have ended. It reads all orders
// that are waited for at once, so that waiting costs the system as little for
// a thousand orders as for one.
type Watch struct {
	read Reader
	wake chan struct{}

	mu      sync.Mutex
	waiting map[string][]chan order.View
	last    error // of the newest read
}

// NewWatch makes a Watch, which tells nothing until it runs.
func NewWatch(read Reader) *Watch {
	return &Watch{read: read, wake: make(chan struct{}, 1), waiting: map[string][]chan order.View{}}
}

// Reads are at least so far apart, and more if they take long, so that they
// make up no more than a tenth of the time; but not much more: whoever places
// the next order when one has ended must not wait for the pause after a read
// that happened to be slow.
const (
	betweenReads = 10 * time.Millisecond
	readShare    = 9
	atMost       = 100 * time.Millisecond
)

// Run reads as long as there is somebody who waits and ctx lives.
func (w *Watch) Run(ctx context.Context) {
	for {
		ids := w.awaited()
		if len(ids) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-w.wake:
				continue
			}
		}
		start := time.Now()
		orders, err := w.read(ctx, ids)
		w.tell(orders, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(max(betweenReads, readShare*time.Since(start)), atMost)):
		}
	}
}

func (w *Watch) awaited() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids := make([]string, 0, len(w.waiting))
	for id := range w.waiting {
		ids = append(ids, id)
	}
	return ids
}

func (w *Watch) tell(orders []order.View, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = err
	for _, o := range orders {
		if !o.Status.Terminal() {
			continue
		}
		for _, c := range w.waiting[o.ID] {
			c <- o // has room for it
		}
		delete(w.waiting, o.ID)
	}
}

// Await waits until an order has ended, or ctx, and returns the order as it was
// read then.
func (w *Watch) Await(ctx context.Context, id string) (order.View, error) {
	c := make(chan order.View, 1)
	w.mu.Lock()
	w.waiting[id] = append(w.waiting[id], c)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // is awake
	}
	select {
	case o := <-c:
		return o, nil
	case <-ctx.Done():
		w.mu.Lock()
		defer w.mu.Unlock()
		w.waiting[id] = slices.DeleteFunc(w.waiting[id], func(x chan order.View) bool { return x == c })
		if len(w.waiting[id]) == 0 {
			delete(w.waiting, id)
		}
		return order.View{}, errors.Join(fmt.Errorf("order %s has not ended: %w", id, context.Cause(ctx)), w.last)
	}
}

// asking is how many requests read orders through the API at a time.
const asking = 8

// reader reads orders by b.Read, or, without one or when it fails, one by one
// through the API, which everybody may ask.
func (c *Client) reader(b Burst) Reader {
	return func(ctx context.Context, ids []string) ([]order.View, error) {
		if b.Read != nil {
			if orders, err := b.Read(ctx, ids); err == nil {
				return orders, nil
			}
		}
		orders := make([]order.View, len(ids))
		var eg errgroup.Group
		eg.SetLimit(asking)
		for i, id := range ids {
			eg.Go(func() (err error) {
				orders[i], err = c.Get(ctx, id)
				return err
			})
		}
		// What could be read counts; the error tells a waiter why nothing came.
		return orders, eg.Wait()
	}
}
