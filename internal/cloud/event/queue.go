package event

import (
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/google/uuid"

	"miniforge/internal/cloud/growstack"
	"miniforge/internal/cloud/store"
)

// tasks holds every task that has not ended, under kind and ID.
const tasks = store.Table[row]("event.tasks")

// A row is a task at rest. Seq tells a task from a later one of the same ID; it
// rises in the order of sending (UUID version 7), over restarts too.
type row struct {
	Task
	Seq string `json:"seq"`
}

// sequences are the same rows, of which no more is read than that.
const sequences = store.Table[struct {
	Seq string `json:"seq"`
}](tasks)

// A Queue runs tasks when they are due. Rows are the truth; in memory it keeps
// only when and in which order they are due.
type Queue struct {
	db  store.DB
	log *slog.Logger

	decorate func(Handler) Handler // see Decorate

	mu      sync.Mutex
	kinds   map[string]*kind
	entries map[string]*entry // by row key
	running bool
	wake    chan struct{}
}

var _ Sender = (*Queue)(nil)

// A kind is all tasks with one handler.
type kind struct {
	name    string
	handler Handler
	workers int
	delay   func() time.Duration // nil: none
	busy    int
	waiting entries          // not running; a heap
	lanes   map[string]*lane // lanes with a task running
}

// A lane with a running task keeps those that became due meanwhile.
type lane struct{ parked []*entry }

type entry struct {
	key  string
	lane string
	due  time.Time
	seq  string
	at   int  // place in the heap; -1: not in it
	gone bool // finished or replaced
}

// NewQueue makes a queue on db. Handlers are registered before Run.
func NewQueue(db store.DB, log *slog.Logger) *Queue {
	return &Queue{db: db, log: log, kinds: map[string]*kind{}, entries: map[string]*entry{}, wake: make(chan struct{}, 1)}
}

// Handle has tasks of a kind done by h, at most workers at a time. A kind that
// is taken panics: a wrong registration shows at start-up.
func (q *Queue) Handle(name string, workers int, h Handler) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.kinds[name] != nil {
		panic("event: two handlers for " + name)
	}
	q.kinds[name] = &kind{name: name, handler: h, workers: workers, lanes: map[string]*lane{}}
}

// Decorate wraps the handlers of all kinds. It is called before Run.
func (q *Queue) Decorate(d func(Handler) Handler) { q.decorate = d }

// Delay has tasks of a kind that are to run at once run so much later, as if
// they were on their way until then. It is called before Run. A kind without a
// handler panics, as for Handle.
func (q *Queue) Delay(kind string, by func() time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.kinds[kind] == nil {
		panic("event: nothing to delay: no handler for " + kind)
	}
	q.kinds[kind].delay = by
}

// Jump has every task that waits come due earlier by d, or later where d is
// negative: what a jump of the clock does to timers that are set. Tasks that
// are sent afterwards, and all of them after a restart, are not affected.
func (q *Queue) Jump(d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.entries {
		e.due = e.due.Add(-d) // all alike: the heaps stay in order
	}
	q.poke()
}

func rowKey(kind, id string) string { return kind + "\x00" + id }

// Send implements [Sender].
func (q *Queue) Send(tx *store.Tx, t Task) error {
	q.mu.Lock()
	k := q.kinds[t.Kind]
	q.mu.Unlock()
	if k == nil {
		return fmt.Errorf("send task: nothing handles %q", t.Kind)
	}
	if t.ID == "" {
		t.ID = uuid.NewString()
	}
	if t.Sent.IsZero() {
		t.Sent = time.Now()
	}
	if t.Due.IsZero() {
		t.Due = t.Sent
		if k.delay != nil {
			t.Due = t.Due.Add(k.delay())
		}
	}
	seq, err := uuid.NewV7()
	if err != nil {
		return fmt.Errorf("send task: %w", err)
	}
	r := row{Task: t, Seq: seq.String()}
	if err := tasks.Put(tx, rowKey(t.Kind, t.ID), r); err != nil {
		return err
	}
	tx.OnCommit(func() { q.put(r) })
	return nil
}

// Finish implements [Sender].
func (q *Queue) Finish(tx *store.Tx, kind, id string) error {
	key := rowKey(kind, id)
	if err := tasks.Delete(tx, key); err != nil {
		return err
	}
	tx.OnCommit(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.drop(key)
	})
	return nil
}

// put makes a committed task known, instead of the one before of the same ID.
func (q *Queue) put(r row) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.running {
		return // Run reads all rows when it starts
	}
	q.add(r)
	q.poke()
}

func (q *Queue) add(r row) {
	key := rowKey(r.Kind, r.ID)
	if e := q.entries[key]; e != nil && e.seq == r.Seq {
		return // seen by both load and put
	}
	q.drop(key)
	k := q.kinds[r.Kind]
	if k == nil {
		q.log.Warn("task of an unknown kind stays in the store", "kind", r.Kind, "id", r.ID)
		return
	}
	e := &entry{key: key, lane: r.Lane, due: r.Due, seq: r.Seq}
	q.entries[key] = e
	heap.Push(&k.waiting, e)
}

// drop forgets a waiting task; one that runs is marked, so that its end changes nothing.
func (q *Queue) drop(key string) {
	e := q.entries[key]
	if e == nil {
		return
	}
	e.gone = true
	delete(q.entries, key)
	if e.at >= 0 {
		for _, k := range q.kinds {
			if e.at < len(k.waiting) && k.waiting[e.at] == e {
				heap.Remove(&k.waiting, e.at)
				return
			}
		}
	}
}

func (q *Queue) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Pending counts the tasks that have not ended, by kind.
func (q *Queue) Pending() map[string]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := map[string]int{}
	for _, k := range q.kinds {
		if c := len(k.waiting) + k.busy; c > 0 {
			n[k.name] = c
		}
	}
	return n
}

// Run does tasks until ctx ends and those under way have returned. Tasks that
// an earlier process left are done first to last by when they were due.
func (q *Queue) Run(ctx context.Context) error {
	q.wrap()
	if err := q.load(); err != nil {
		return fmt.Errorf("load tasks: %w", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if next := q.start(ctx, &wg); next.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(next))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-q.wake:
		case <-timer.C:
		}
	}
}

// wrap decorates the handlers.
func (q *Queue) wrap() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, k := range q.kinds {
		if q.decorate != nil {
			k.handler = q.decorate(k.handler)
		}
	}
}

func (q *Queue) load() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running = true
	return q.db.View(func(tx *store.Tx) error {
		for r, err := range tasks.Range(tx, "", "") {
			if err != nil {
				return err
			}
			if q.entries[r.Key] == nil {
				q.add(r.Value)
			}
		}
		return nil
	})
}

// start sets off what is due and may run, and returns when to look again; zero
// means when woken.
func (q *Queue) start(ctx context.Context, wg *sync.WaitGroup) (next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, k := range q.kinds {
		for k.busy < k.workers && len(k.waiting) > 0 && !k.waiting[0].due.After(now) {
			e := heap.Pop(&k.waiting).(*entry)
			if l := k.lanes[e.lane]; e.lane != "" && l != nil {
				l.parked = append(l.parked, e)
				continue
			}
			if e.lane != "" {
				k.lanes[e.lane] = &lane{}
			}
			k.busy++
			wg.Go(func() {
				growstack.Grow()
				q.do(ctx, k, e)
			})
		}
		if k.busy < k.workers && len(k.waiting) > 0 && (next.IsZero() || k.waiting[0].due.Before(next)) {
			next = k.waiting[0].due
		}
	}
	return next
}

// do makes one try of a task.
func (q *Queue) do(ctx context.Context, k *kind, e *entry) {
	defer q.free(k, e)
	var r row
	var found bool
	err := q.db.View(func(tx *store.Tx) (err error) {
		r, found, err = tasks.Get(tx, e.key)
		return err
	})
	if err != nil || !found || r.Seq != e.seq {
		if err != nil && ctx.Err() == nil {
			q.log.Error("cannot read task", "kind", k.name, "error", err)
			q.again(k, e)
		}
		return
	}
	result := q.handle(ctx, k.handler, r.Task)
	if ctx.Err() != nil {
		return // the next process does it again
	}
	if err := q.end(ctx, e, r, result); err != nil {
		q.log.Error("cannot record a task's end", "kind", k.name, "id", r.ID, "error", err)
		q.again(k, e)
	}
}

// afterFailure is when a task is done again that the store did not give, or
// whose end it did not take: the disk is full, say.
const afterFailure = time.Second

// again has a task done again that is in the store as it was.
func (q *Queue) again(k *kind, e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !e.gone {
		e.due = time.Now().Add(afterFailure)
		heap.Push(&k.waiting, e)
	}
}

// afterPanic is when a task that hit a bug is tried again: not at once, as it
// will most likely hit it again.
const afterPanic = time.Minute

// handle calls a handler. Nobody above recovers: without this, one task that
// hits a bug would end the process, and again after each restart.
func (q *Queue) handle(ctx context.Context, h Handler, t Task) (result Result) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("task panicked", "kind", t.Kind, "id", t.ID, "panic", p, "stack", string(debug.Stack()))
			result = Retry(afterPanic)
		}
	}()
	return h(ctx, t)
}

func (q *Queue) end(ctx context.Context, e *entry, r row, result Result) error {
	q.mu.Lock()
	gone := e.gone
	q.mu.Unlock()
	if gone {
		return nil // ended in the handler's own transaction, or replaced
	}
	return q.db.Update(ctx, func(tx *store.Tx) error {
		now, ok, err := sequences.Get(tx, e.key)
		if err != nil || !ok || now.Seq != r.Seq {
			return err
		}
		if !result.retry {
			return q.Finish(tx, r.Kind, r.ID)
		}
		if !result.uncounted {
			r.Attempts++
		}
		r.Due = time.Now().Add(result.after)
		return q.Send(tx, r.Task)
	})
}

// free gives the worker and the lane to the next.
func (q *Queue) free(k *kind, e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k.busy--
	if l := k.lanes[e.lane]; e.lane != "" && l != nil {
		delete(k.lanes, e.lane)
		for _, p := range l.parked {
			if !p.gone {
				heap.Push(&k.waiting, p)
			}
		}
	}
	q.poke()
}

// entries is a heap by due time, then order of sending.
type entries []*entry

func (h entries) Len() int { return len(h) }

func (h entries) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].seq < h[j].seq
}

func (h entries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements [heap.Interface].
func (h *entries) Push(x any) {
	e := x.(*entry)
	e.at = len(*h)
	*h = append(*h, e)
}

// Pop implements [heap.Interface].
func (h *entries) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	e.at = -1
	return e
}
