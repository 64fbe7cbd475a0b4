package lambda

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"miniforge/internal/cloud/lambda/sandbox"
)

const (
	// idleTime is how long a sandbox is kept without work.
	idleTime = 5 * time.Minute
	// maxStarting bounds how many sandboxes of one version start at a time:
	// the machine's few processors make more of them slower than waiting for
	// one that gets free.
	maxStarting = 4
	// maxTotal bounds the sandboxes of all versions together.
	maxTotal = 512
)

var errStopping = errors.New("the cloud is stopping")

// An instance is a sandbox with what its function's environment was made of.
type instance struct {
	sandbox.Sandbox
	key      string
	log      *logStream
	expires  time.Time // of its credentials
	initTook time.Duration
	used     bool      // has served an invocation
	since    time.Time // when it was given away
	last     time.Time // when it got idle
	retired  bool
}

func (i *instance) close() {
	i.Sandbox.Close()
	i.log.close()
}

// usable tells whether an idle instance can take an invocation.
func (i *instance) usable(now time.Time) bool {
	select {
	case <-i.Ended():
		return false
	default:
		return now.Before(i.expires) && !i.retired
	}
}

// A pool keeps warm instances, by key: everything that makes them equal. Who
// asks gets an idle one, or the first that gets free or has started; more are
// started for those who would wait longer for one that gets free than for a new one.
type pool struct {
	life context.Context
	most int // of one key

	mu     sync.Mutex
	groups map[string]*group
	total  int
	timer  *time.Timer
	closed bool
	work   sync.WaitGroup // starting and closing
}

type group struct {
	idle     []*instance // the last one was used last
	busy     map[*instance]bool
	starting int
	waiting  []*waiter
	// Moving averages of how long an instance takes to start and is kept; 0: unknown.
	start, turn time.Duration
}

// patience is after how long a waiter gets an instance of its own whatever was
// expected: a few starts' time.
func (g *group) patience() time.Duration { return max(4*g.start, 20*time.Millisecond) }

// short is how many of those who wait are to get a new instance. While one
// starts, each that is busy may get free several times.
func (g *group) short(now time.Time) int {
	if g.start == 0 || g.turn == 0 {
		return len(g.waiting)
	}
	overdue := 0
	for _, w := range g.waiting { // the first has waited longest
		if now.Sub(w.since) < g.patience() {
			break
		}
		overdue++
	}
	return max(overdue, len(g.waiting)-len(g.busy)*int(g.start/g.turn))
}

// average takes a new value into a moving average.
func average(old, value time.Duration) time.Duration {
	if old == 0 {
		return value
	}
	return old + (value-old)/8
}

// A starter makes an instance.
type starter func(context.Context) (*instance, error)

type waiter struct {
	start starter
	since time.Time
	got   chan grant // of size 1
}

type grant struct {
	*instance
	err error
}

func newPool(life context.Context, most int) *pool {
	return &pool{life: life, most: most, groups: map[string]*group{}}
}

// acquire returns an instance that the caller alone uses until release. An
// error is that of starting one.
func (p *pool) acquire(ctx context.Context, key string, start starter) (*instance, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errStopping
	}
	g := p.groups[key]
	if g == nil {
		g = &group{busy: map[*instance]bool{}}
		p.groups[key] = g
	}
	now := time.Now()
	for len(g.idle) > 0 {
		i := g.idle[len(g.idle)-1]
		g.idle = g.idle[:len(g.idle)-1]
		if i.usable(now) {
			g.busy[i], i.since = true, now
			p.mu.Unlock()
			return i, nil
		}
		p.discard(i)
	}
	w := &waiter{start: start, since: now, got: make(chan grant, 1)}
	g.waiting = append(g.waiting, w)
	p.grow(key, g)
	enough := time.NewTimer(g.patience())
	p.mu.Unlock()
	defer enough.Stop()
	for {
		select {
		case got := <-w.got:
			return got.instance, got.err
		case <-enough.C:
			p.mu.Lock()
			p.grow(key, g)
			enough.Reset(g.patience())
			p.mu.Unlock()
		case <-ctx.Done():
			return nil, p.leave(key, w, ctx.Err())
		case <-p.life.Done():
			return nil, p.leave(key, w, errStopping)
		}
	}
}

// leave takes a waiter out of the line, and gives back what it got meanwhile.
func (p *pool) leave(key string, w *waiter, err error) error {
	p.mu.Lock()
	if g := p.groups[key]; g != nil {
		g.waiting = slices.DeleteFunc(g.waiting, func(x *waiter) bool { return x == w })
	}
	p.mu.Unlock()
	select {
	case got := <-w.got:
		if got.instance != nil {
			p.release(got.instance)
		}
	default:
	}
	return err
}

// grow starts instances for who waits. The lock is held.
func (p *pool) grow(key string, g *group) {
	for !p.closed && g.starting < maxStarting && len(g.busy)+len(g.idle)+g.starting < p.most && g.starting < g.short(time.Now()) {
		if p.total >= maxTotal && !p.evict() {
			return
		}
		start := g.waiting[g.starting].start
		g.starting++
		p.total++
		p.work.Go(func() { p.start(key, g, start) })
	}
}

func (p *pool) start(key string, g *group, start starter) {
	began := time.Now()
	i, err := start(p.life)
	p.mu.Lock()
	defer p.mu.Unlock()
	g.starting--
	if err != nil {
		p.total--
		if len(g.waiting) > 0 {
			g.waiting[0].got <- grant{err: err}
			g.waiting = g.waiting[1:]
		}
		p.grow(key, g)
		p.forget(key, g)
		return
	}
	i.key = key
	g.start = average(g.start, time.Since(began))
	p.hand(i, g)
	p.grow(key, g)
}

// hand gives a free instance to the first who waits, or keeps it. The lock is held.
func (p *pool) hand(i *instance, g *group) {
	if p.closed || !i.usable(time.Now()) {
		delete(g.busy, i)
		p.discard(i)
		return
	}
	if len(g.waiting) > 0 {
		g.busy[i], i.since = true, time.Now()
		g.waiting[0].got <- grant{instance: i}
		g.waiting = g.waiting[1:]
		return
	}
	delete(g.busy, i)
	i.last = time.Now()
	g.idle = append(g.idle, i)
	if p.timer == nil {
		p.timer = time.AfterFunc(idleTime, p.reap)
	}
}

// release gives an instance back.
func (p *pool) release(i *instance) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		i.close()
		return
	}
	defer p.mu.Unlock()
	g := p.groups[i.key]
	g.turn = average(g.turn, time.Since(i.since))
	p.hand(i, g)
	p.grow(i.key, g)
	p.forget(i.key, g)
}

// discard closes an instance that is in no list any more. The lock is held.
func (p *pool) discard(i *instance) {
	p.total--
	p.work.Go(i.close)
}

// forget drops a group that holds nothing. The lock is held.
func (p *pool) forget(key string, g *group) {
	if len(g.idle)+len(g.busy)+len(g.waiting)+g.starting == 0 {
		delete(p.groups, key)
	}
}

// evict closes the instance that has been idle longest. The lock is held.
func (p *pool) evict() bool {
	var from *group
	for _, g := range p.groups {
		if len(g.idle) > 0 && (from == nil || g.idle[0].last.Before(from.idle[0].last)) {
			from = g
		}
	}
	if from == nil {
		return false
	}
	i := from.idle[0]
	from.idle = from.idle[1:]
	p.discard(i)
	return true
}

// reap closes what has been idle for too long, and looks again when the next is due.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer = nil; p.closed {
		return
	}
	now := time.Now()
	var next time.Time
	for key, g := range p.groups {
		g.idle = slices.DeleteFunc(g.idle, func(i *instance) bool {
			due := i.last.Add(idleTime)
			if due.After(now) && i.usable(now) {
				if next.IsZero() || due.Before(next) {
					next = due
				}
				return false
			}
			p.discard(i)
			return true
		})
		p.forget(key, g)
	}
	if !next.IsZero() {
		p.timer = time.AfterFunc(next.Sub(now), p.reap)
	}
}

// retire ends the instances whose key begins with prefix; those at work end
// when they are released.
func (p *pool) retire(prefix string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, g := range p.groups {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		for _, i := range g.idle {
			p.discard(i)
		}
		g.idle = nil
		for i := range g.busy {
			i.retired = true
		}
		p.forget(key, g)
	}
}

// close ends all instances, those at work too, and waits for that.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	for _, g := range p.groups {
		for _, i := range g.idle {
			p.discard(i)
		}
		g.idle = nil
		for i := range g.busy {
			p.work.Go(i.Sandbox.Close)
		}
	}
	p.mu.Unlock()
	p.work.Wait()
}
