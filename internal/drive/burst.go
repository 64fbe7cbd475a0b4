package drive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"miniforge/internal/bench"
	"miniforge/internal/order"
)

// Burst is many orders placed at once.
type Burst struct {
	Count       int
	Concurrency int // orders under way at once; 1 if 0
	// Make makes the i-th order and its idempotency key.
	Make func(i int) (order.Request, string)
	// Wait follows each order to its end before its place is taken by the next.
	Wait bool
	// Read, if set, reads many orders at once, those that are waited for.
	// Asking the API for each of them would cost the system more than they do.
	Read Reader
	// Tries is how often an order is tried under its key if the API does not
	// answer or asks to slow down; 1 if 0.
	Tries int
	// Progress, if set, is told of each order when it is done with. Calls come
	// one at a time.
	Progress func(Fate)
}

// Fate is what became of one order of a burst.
type Fate struct {
	Index    int
	ID       string
	Key      string
	Status   order.State   // as last seen; empty if the order was not accepted
	Accept   time.Duration // of the POST
	Complete time.Duration // from the POST to the end seen, if waited for
	Err      error
}

// Summary is a finished burst.
type Summary struct {
	Fates    []Fate // in the order of their index
	Took     time.Duration
	Accept   bench.Latency
	Complete bench.Latency
}

// Count is how many orders were last seen in a state.
func (s Summary) Count(state order.State) int {
	n := 0
	for _, f := range s.Fates {
		if f.Status == state {
			n++
		}
	}
	return n
}

// Accepted is how many orders the API took.
func (s Summary) Accepted() int {
	n := 0
	for _, f := range s.Fates {
		if f.ID != "" {
			n++
		}
	}
	return n
}

// Rate is the number of accepted orders per second.
func (s Summary) Rate() float64 {
	if s.Took <= 0 {
		return 0
	}
	return float64(s.Accepted()) / s.Took.Seconds()
}

// Burst places orders and returns what became of each. What happens to single
// orders is in their fates; the error is that of ctx.
func (c *Client) Burst(ctx context.Context, b Burst) (Summary, error) {
	if b.Make == nil || b.Count < 0 {
		return Summary{}, fmt.Errorf("burst of %d orders: nothing to make them with", b.Count)
	}
	s := Summary{Fates: make([]Fate, b.Count)}
	accept, complete := bench.NewHistogram(), bench.NewHistogram()
	var mu sync.Mutex
	w := NewWatch(c.reader(b))
	watching, stop := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { w.Run(watching) })
	var eg errgroup.Group
	eg.SetLimit(max(b.Concurrency, 1))
	start := time.Now()
	for i := range b.Count {
		if ctx.Err() != nil {
			s.Fates[i] = Fate{Index: i, Err: context.Cause(ctx)}
			continue
		}
		eg.Go(func() error {
			f := c.one(ctx, b, w, i)
			s.Fates[i] = f
			mu.Lock()
			defer mu.Unlock()
			if f.ID != "" {
				accept.Record(f.Accept)
			}
			if b.Wait && f.Err == nil {
				complete.Record(f.Complete)
			}
			if b.Progress != nil {
				b.Progress(f)
			}
			return nil
		})
	}
	_ = eg.Wait() // no function fails: errors are fates
	stop()
	watch.Wait()
	s.Took, s.Accept, s.Complete = time.Since(start), accept.Latency(), complete.Latency()
	return s, context.Cause(ctx)
}

func (c *Client) one(ctx context.Context, b Burst, w *Watch, i int) Fate {
	request, key := b.Make(i)
	f := Fate{Index: i, Key: key}
	start := time.Now()
	accepted, err := c.PlacePatiently(ctx, request, key, b.Tries)
	if err != nil {
		f.Err = err
		return f
	}
	f.ID, f.Status, f.Accept = accepted.ID, accepted.Status, accepted.Took
	if !b.Wait {
		return f
	}
	v, err := w.Await(ctx, f.ID)
	if v.Status != "" {
		f.Status = v.Status
	}
	if err != nil {
		f.Err = err
		return f
	}
	f.Complete = time.Since(start)
	// When the end was seen depends on the reads. The order knows better, but
	// not when its request was sent: it was accepted at some time of f.Accept.
	if n := len(v.Timeline); n > 0 && v.Timeline[n-1].At.After(v.CreatedAt.Time) {
		f.Complete = min(f.Complete, f.Accept+v.Timeline[n-1].At.Sub(v.CreatedAt.Time))
	}
	return f
}

// PlacePatiently is Place, but repeats an order that the API did not answer or
// asked to send later, up to so many tries in all and until ctx ends. It waits
// as long as a Retry-After asks, or ever longer. Without a key the order might be
// taken twice, so then it is tried once only.
func (c *Client) PlacePatiently(ctx context.Context, r order.Request, key string, tries int) (Accepted, error) {
	if key == "" {
		tries = 1
	}
	pause := 50 * time.Millisecond
	for try := 1; ; try++ {
		accepted, err := c.Place(ctx, r, key)
		if err == nil || try >= tries || !temporary(err) || ctx.Err() != nil {
			accepted.Tries = try
			return accepted, err
		}
		select {
		case <-ctx.Done():
			return Accepted{}, errors.Join(context.Cause(ctx), err)
		case <-time.After(pauseAfter(err, pause)):
			pause = min(2*pause, 5*time.Second)
		}
	}
}
