package latency

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"miniforge/internal/cloud/wire"
)

// Intercept is a [wire.Interceptor]: every call, from outside and between
// services, takes its time before anything is done about it.
func (m *Model) Intercept(next wire.Func) wire.Func {
	if m == nil {
		return next
	}
	return func(ctx context.Context, c *wire.Call) (any, error) {
		if err := sleep(ctx, m.draw("call", c.Service+"."+c.Op, m.profile.of(c.Service, c.Op))); err != nil {
			return nil, err
		}
		return next(ctx, c)
	}
}

func (p *profile) of(service, op string) distribution {
	ops, ok := p.call[service]
	if !ok {
		ops = p.call[""]
	}
	d, ok := ops[op]
	if !ok {
		d = ops[""]
	}
	return d
}

// HTTP has requests to HTTP APIs take their time. What the API then calls
// takes its own.
func (m *Model) HTTP(next http.Handler) http.Handler {
	if m == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sleep(r.Context(), m.draw("request", "", m.profile.request)) == nil { // otherwise the client is gone
			next.ServeHTTP(w, r)
		}
	})
}

// Hops lists the kinds of tasks that are deliveries, which take time.
func (m *Model) Hops() []string {
	if m == nil {
		return nil
	}
	return slices.Collect(maps.Keys(m.profile.hop))
}

// Hop is how long a task of that kind is on its way before it is first tried.
func (m *Model) Hop(kind string) time.Duration {
	if m == nil {
		return 0
	}
	return m.draw("hop", kind, m.profile.hop[kind])
}

// Start waits as long as a function's process takes to start, beyond what it
// takes here.
func (m *Model) Start(ctx context.Context) error {
	if m == nil {
		return nil
	}
	return sleep(ctx, m.draw("start", "", m.profile.start))
}

// sleep waits, but not longer than ctx lives: then it returns its error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
