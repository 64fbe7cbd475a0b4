package fault

import (
	"context"
	"net/http"
	"time"

	"miniforge/internal/cloud/wire"
)

// onCall are the kinds that strike calls.
var onCall = []Kind{Throttle, Error, Denied, Slow, Kill, Clock}

// Intercept is a [wire.Interceptor]: it strikes calls from outside and between
// services.
func (e *Engine) Intercept(next wire.Func) wire.Func {
	return func(ctx context.Context, c *wire.Call) (any, error) {
		if e.idle.Load() {
			return next(ctx, c)
		}
		struck, after, err := e.before(ctx, e.strike(subjectOf(c), onCall...))
		switch {
		case err != nil:
			return nil, err
		case struck != nil:
			return nil, struck.err(c.Service)
		}
		out, err := next(ctx, c)
		for _, r := range after {
			if r.Kind == Kill {
				e.kill()
			}
			if err == nil {
				// What failed anyway tells the truth.
				return nil, r.err(c.Service)
			}
		}
		return out, err
	}
}

func subjectOf(c *wire.Call) subject {
	s := subject{service: c.Service, operation: c.Op, principal: c.Principal.ARN}
	if s.principal == "" {
		s.principal = c.Principal.Service
	}
	for _, a := range c.Access {
		s.resources = append(s.resources, a.Resource)
	}
	return s
}

// before does what strikes before the call. It returns the rule that ends the
// call there, if one does, and those that strike after it.
func (e *Engine) before(ctx context.Context, hit []Rule) (struck *Rule, after []Rule, err error) {
	for _, r := range hit {
		switch {
		case r.Kind == Slow:
			sleep(ctx, time.Duration(r.Delay))
			if ctx.Err() != nil {
				return nil, nil, ctx.Err()
			}
		case r.Kind == Clock:
			e.o.Jump(time.Duration(r.Delay))
		case r.Point == After:
			after = append(after, r)
		case r.Kind == Kill:
			e.kill()
		default:
			return &r, nil, nil
		}
	}
	return nil, after, nil
}

// HTTP strikes requests to HTTP APIs, as service "execute-api". The operation
// is method and path below the stage.
func (e *Engine) HTTP(route func(*http.Request) string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.idle.Load() {
			next.ServeHTTP(w, r)
			return
		}
		const service = "execute-api"
		struck, after, err := e.before(r.Context(), e.strike(subject{service: service, operation: route(r)}, onCall...))
		switch {
		case err != nil:
			return // the client is gone
		case struck == nil && len(after) == 0:
			next.ServeHTTP(w, r)
			return
		case struck == nil:
			next.ServeHTTP(nowhere{http.Header{}}, r)
			if struck = &after[0]; struck.Kind == Kill {
				e.kill()
			}
		}
		status, message := struck.answer()
		answer(w, status, map[string]string{"message": message})
	})
}

// nowhere takes an answer that never arrives.
type nowhere struct{ header http.Header }

// Header implements [http.ResponseWriter].
func (n nowhere) Header() http.Header { return n.header }

// Write implements [http.ResponseWriter].
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (nowhere) WriteHeader(int) {}
