package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Result is how often an operation was done, and how long it took.
type Result struct {
	Service   string        `json:"service"`
	Operation string        `json:"operation"`
	Clients   int           `json:"clients"`
	Errors    int64         `json:"errors"`
	Error     string        `json:"error,omitempty"` // the first
	Took      time.Duration `json:"took_ns"`
	PerSecond float64       `json:"per_second"` // successes
	Latency   Latency       `json:"latency"`    // of successes
}

// A Clock times the operations of a load. It may be used by several goroutines.
type Clock struct {
	mu    sync.Mutex
	order []string
	ops   map[string]*tally
}

type tally struct {
	histogram *Histogram
	errors    int64
	first     error
}

// Time does an operation and records how long it took, or that it failed. What
// fails because ctx has ended does not count.
func (c *Clock) Time(ctx context.Context, operation string, do func(context.Context) error) error {
	start := time.Now()
	err := do(ctx)
	took := time.Since(start)
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.ops[operation]
	if t == nil {
		t = &tally{histogram: NewHistogram()}
		c.ops[operation] = t
		c.order = append(c.order, operation)
	}
	switch {
	case err == nil:
		t.histogram.Record(took)
	case ctx.Err() == nil:
		t.errors++
		if t.first == nil {
			t.first = err
		}
	}
	return err
}

// A Script is what one client does again and again: some operations, each timed
// by the clock. It is told which client it is and how often it has run. Its
// error ends the round, not the load.
type Script func(ctx context.Context, clock *Clock, client, round int) error

// Run has so many clients follow a script for so long and returns a result for
// each operation, in the order in which they were first timed. Every client
// follows it at least once, and ends a round that it has begun: to cut that off
// would leave out the slowest operations. Run ends early, with the cause, if ctx
// does; what has been measured is returned, too.
func Run(ctx context.Context, clients int, duration time.Duration, script Script) ([]Result, error) {
	if clients < 1 || duration <= 0 {
		return nil, fmt.Errorf("bench: %d clients for %s", clients, duration)
	}
	clock := &Clock{ops: map[string]*tally{}}
	going, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	start := time.Now()
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			pause := time.Millisecond
			for round := 0; round == 0 || going.Err() == nil; round++ {
				if script(ctx, clock, client, round) == nil {
					pause = time.Millisecond
					continue
				}
				// An endpoint that fails at once must not be hammered.
				select {
				case <-going.Done():
				case <-time.After(pause):
					pause = min(2*pause, time.Second)
				}
			}
		})
	}
	wg.Wait()
	return clock.results(clients, time.Since(start)), context.Cause(ctx)
}

func (c *Clock) results(clients int, took time.Duration) []Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	results := make([]Result, 0, len(c.order))
	for _, name := range c.order {
		t := c.ops[name]
		r := Result{Operation: name, Clients: clients, Errors: t.errors, Took: took, Latency: t.histogram.Latency()}
		r.PerSecond = float64(r.Latency.Count) / took.Seconds()
		if t.first != nil {
			r.Error = t.first.Error()
		}
		results = append(results, r)
	}
	return results
}
