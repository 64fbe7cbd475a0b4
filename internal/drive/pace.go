package drive

import (
	"context"
	"sync"
	"time"

	"miniforge/internal/order"
)

// A pace knows how long the orders of a burst take. Asking for each of them
// every few milliseconds would cost the system more than the orders: who waits
// first sleeps for the time that the ones before took.
type pace struct {
	mu   sync.Mutex
	took time.Duration // a moving average; 0: none has ended yet
}

func (p *pace) ended(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.took == 0 {
		p.took = took
	}
	p.took += (took - p.took) / 16
}

func (p *pace) typical() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.took
}

// await waits for the end of an order that was placed at start.
func (p *pace) await(ctx context.Context, c *Client, id string, start time.Time) (order.View, error) {
	typical := p.typical()
	sleep := time.NewTimer(time.Until(start.Add(typical)))
	defer sleep.Stop()
	select {
	case <-sleep.C:
	case <-ctx.Done():
	}
	return c.poll(ctx, id, max(firstPoll, typical/8), nil, func(v order.View) bool { return v.Status.Terminal() })
}
