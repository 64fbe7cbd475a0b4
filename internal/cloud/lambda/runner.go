package lambda

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/event/pattern"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const (
	// sessionTime is how long a mapping keeps its role's session before it
	// assumes the role again.
	sessionTime = 10 * time.Minute
	// Waits after a failure to read or to invoke, doubling.
	retryFirst = 100 * time.Millisecond
	retryMost  = 10 * time.Second
)

// runners has one goroutine for each enabled mapping, and starts and ends them
// as mappings change.
type runners struct {
	s       *Service
	mu      sync.Mutex
	dirty   map[string]bool // mappings that changed
	wake    chan struct{}
	running map[string]*runner // by mapping key; only run uses it
	all     sync.WaitGroup
}

func newRunners(s *Service) *runners {
	return &runners{s: s, dirty: map[string]bool{}, wake: make(chan struct{}, 1), running: map[string]*runner{}}
}

// changed has a mapping looked at.
func (r *runners) changed(key string) {
	r.mu.Lock()
	r.dirty[key] = true
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run serves all mappings until ctx ends and all runners have.
func (r *runners) run(ctx context.Context) error {
	err := r.s.DB.View(func(tx *store.Tx) error {
		for row, err := range mappings.Range(tx, "", "") {
			if err != nil {
				return err
			}
			r.changed(row.Key)
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer r.all.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		r.mu.Lock()
		dirty := r.dirty
		r.dirty = map[string]bool{}
		r.mu.Unlock()
		for key := range dirty {
			r.restart(ctx, key)
		}
	}
}

// restart ends a mapping's runner and starts one for what the mapping is now,
// which begins when the other, and what it has under way, has ended.
func (r *runners) restart(ctx context.Context, key string) {
	before := r.running[key]
	if before != nil {
		before.stop()
		delete(r.running, key)
	}
	var m mappingRow
	var found bool
	err := r.s.DB.View(func(tx *store.Tx) (err error) { m, found, err = mappings.Get(tx, key); return err })
	if err != nil {
		r.s.Log.Error("cannot read event source mapping", "mapping", key, "error", err)
		return
	}
	if !found || !m.Enabled {
		return
	}
	filters, err := filtersOf(m.Config.FilterCriteria)
	if err != nil {
		r.s.Log.Error("cannot read the filters of an event source mapping", "mapping", key, "error", err)
		return
	}
	ctx, stop := context.WithCancel(ctx)
	x := &runner{Service: r.s, mappingRow: m, name: m.target(r.s.Account), filters: filters, stop: stop, done: make(chan struct{})}
	r.running[key] = x
	r.all.Go(func() {
		defer stop()
		defer close(x.done)
		if before != nil {
			<-before.done
		}
		x.run(ctx)
	})
}

// A runner serves one mapping.
type runner struct {
	*Service
	mappingRow
	name    name
	filters []*pattern.Pattern
	stop    context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	session wire.As
	until   time.Time
	said    string
}

func (x *runner) run(ctx context.Context) {
	if !pause(ctx, time.Until(x.Begin)) {
		return
	}
	var err error
	for tries := 0; ; tries++ {
		begun := time.Now()
		if x.kind() == "sqs" {
			err = x.serveQueue(ctx)
		} else {
			err = x.serveStream(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > retryMost {
			tries = 0
		}
		x.problem(err)
		x.forgetSession()
		if !pause(ctx, backoff(tries, retryFirst, retryMost)) {
			return
		}
	}
}

// pause waits; it returns false if ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// problem notes why the mapping does not get on.
func (x *runner) problem(err error) {
	text := "PROBLEM: Function call failed"
	_, function := errors.AsType[*types.ResourceNotFoundException](err)
	switch {
	case err == nil:
		return
	case function:
		text = "PROBLEM: Function does not exist or was deleted"
	case isCode(err, "ResourceNotFoundException"), isCode(err, "QueueDoesNotExist"):
		text = "PROBLEM: Event source does not exist or was deleted"
	case isDenied(err):
		text = "PROBLEM: Lambda is not authorized to read the event source: " + err.Error()
	}
	x.note(text)
	x.Log.Warn("event source mapping does not get on", "mapping", x.UUID, "function", x.name.function, "error", err)
}

func isDenied(err error) bool {
	return isCode(err, "AccessDeniedException") || isCode(err, "AccessDenied")
}

// note keeps the last result with the mapping, when it changes.
func (x *runner) note(text string) {
	x.mu.Lock()
	same := x.said == text
	x.said = text
	x.mu.Unlock()
	if same {
		return
	}
	err := x.DB.Update(context.WithoutCancel(x.life), func(tx *store.Tx) error {
		m, ok, err := mappings.Get(tx, x.key())
		if err != nil || !ok || m.Version != x.Version {
			return err
		}
		m.Result = text
		return mappings.Put(tx, x.key(), m)
	})
	if err != nil && !errors.Is(err, store.ErrClosed) {
		x.Log.Error("cannot note the result of an event source mapping", "mapping", x.UUID, "error", err)
	}
}

// role is the identity in which the mapping reads its source: the function's role.
func (x *runner) role(ctx context.Context) (wire.As, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if time.Now().Before(x.until) {
		return x.session, nil
	}
	t, err := x.resolve(x.name)
	if err != nil {
		return wire.As{}, err
	}
	as, err := x.assumed(ctx, x.name, *t.version.Config.Role)
	if err != nil {
		return wire.As{}, err
	}
	x.session, x.until = as, time.Now().Add(sessionTime)
	return as, nil
}

func (x *runner) forgetSession() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.until = time.Time{}
}

// assumed is a function's identity.
func (s *Service) assumed(ctx context.Context, n name, role string) (wire.As, error) {
	out, err := s.assume(ctx, n, role)
	if err != nil {
		return wire.As{}, err
	}
	as := sessionOf(n, role, out)
	as.Endpoint, _ = s.Endpoint() // only answers that name URLs need it
	return as, nil
}
