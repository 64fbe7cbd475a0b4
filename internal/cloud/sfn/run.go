package sfn

import (
	"context"
	"errors"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/sfn/asl"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// runKind is the task that is a running execution: it is sent when the
// execution starts and finished with its end, so that a crash in between has
// the next process go on.
const runKind = "sfn.run"

// errOver says that somebody else has ended the execution: StopExecution. It
// may have been redriven since, then another run has it.
var errOver = errors.New("the execution is over")

// ours tells whether the execution is as this run has left it.
func (r *run) ours(p progress) bool { return p.Status == running && p.Last == r.saved }

// A run carries one execution out. Only the goroutine of its loop touches it;
// effects run beside it and report on results.
//
// Durability: what threads do is collected and written in one transaction
// before the effects start that follow from it. All states between two effects
// are one commit, then; that loses nothing, because up to the commit nobody
// has seen anything of them, and after a crash the next process does them
// again from the last commit. An effect under way at a crash is repeated, with
// the parameters that were written.
type run struct {
	s    *Service
	x    *execution
	p    progress
	m    *asl.Machine
	base time.Time // start or redrive, for the log

	execution, machine map[string]any // of the context object, once it was asked for

	durable  bool
	saved    int64 // p.Last of the last commit
	attempts int
	only     *trial // of TestState: one state, and no more

	sessionMu sync.Mutex // effects make it, at the same time
	as        *wire.As   // the role's session

	threads map[string]*thread
	ready   []*thread
	launch  []*thread

	kept []*record // all events, of an execution that lives in memory

	// Since the last commit.
	records []*record
	dirty   map[string]bool
	gone    map[string]bool
	tokens  map[string]*token // nil: deleted
	offers  map[string]queuedTask

	orphans []string // executions that nobody waits for any more

	results chan result
	effects sync.WaitGroup
}

// live is what a thread has in memory only.
type live struct {
	machine *asl.Machine
	parent  *thread
	data    any     // Input, or Output if it is done, decoded
	text    *string // Input as events have it; nil: not made by this run
	item    any     // Item, decoded
	items   []any   // of a Map
	sel     any     // its selected input
	attempt int     // of the effect whose result counts; 0: none
	taken   bool    // a worker has the activity's task
}

// A result is the end of an effect, or of its first part.
type result struct {
	thread  string
	attempt int
	out     any
	err     *asl.Error
	child   string // an execution has been started and is to be waited for
	sent    bool   // a request has been sent whose answer comes by its token
}

func (s *Service) newRun(x *execution, p progress, m *asl.Machine, durable bool) *run {
	return &run{
		s: s, x: x, p: p, m: m, durable: durable, saved: p.Last, base: x.Start,
		threads: map[string]*thread{}, dirty: map[string]bool{}, gone: map[string]bool{},
		tokens: map[string]*token{}, offers: map[string]queuedTask{}, results: make(chan result, 16),
	}
}

// runTask is the handler of runKind.
func (s *Service) runTask(ctx context.Context, t event.Task) (result event.Result) {
	// Nobody above recovers: without this, one execution that hits a bug would
	// end the process, and again after each restart.
	defer func() {
		if p := recover(); p != nil {
			s.Log.Error("execution panicked", "execution", t.ID, "panic", p, "stack", string(debug.Stack()))
			result = event.Retry(time.Minute)
		}
	}()
	// Subscribe before reading, so that nothing is missed in between.
	wake, cancel := s.Signals.Subscribe(wakeKey(t.ID))
	defer cancel()
	r, err := s.loadRun(t.ID)
	switch {
	case errors.Is(err, errOver):
		return event.Done()
	case err != nil:
		s.Log.Error("cannot load execution", "execution", t.ID, "error", err)
		return event.Retry(time.Minute)
	}
	err = r.loop(ctx, wake)
	switch {
	case err == nil || errors.Is(err, errOver):
		return event.Done()
	case ctx.Err() == nil:
		s.Log.Error("execution interrupted", "execution", t.ID, "error", err)
	}
	return event.Retry(time.Second)
}

// loadRun reads an execution as its last commit left it.
func (s *Service) loadRun(arn string) (r *run, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		x, ok, err := executions.Get(tx, arn)
		if err != nil {
			return err
		}
		p, ok2, err := progresses.Get(tx, arn)
		if err != nil {
			return err
		}
		if !ok || !ok2 || p.Status != running {
			return errOver
		}
		m, err := s.parsed(tx, x.Definition)
		if err != nil {
			return err
		}
		r = s.newRun(&x, p, m, true)
		if !p.Redriven.IsZero() {
			r.base = p.Redriven
		}
		for row, err := range threadRows.Prefix(tx, arn+"\x00") {
			if err != nil {
				return err
			}
			r.threads[row.Value.ID] = row.Value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, r.revive()
}

// revive links the threads that were read and has them go on.
func (r *run) revive() error {
	// Parents come before their children in this order.
	for _, id := range slices.Sorted(maps.Keys(r.threads)) {
		t := r.threads[id]
		if err := r.link(t); err != nil {
			return err
		}
		switch t.Phase {
		case entering:
			r.ready = append(r.ready, t)
		case inTask, inSync:
			r.launch = append(r.launch, t)
		}
	}
	return nil
}

// link finds a thread's place in the definition and decodes its data.
func (r *run) link(t *thread) (err error) {
	t.live.machine = r.m
	if t.ID != "" {
		at := strings.LastIndexByte(t.ID, '/')
		p := r.threads[t.ID[:at]]
		t.live.parent = p
		t.live.machine = r.branch(p, t.Index)
	}
	if t.IsItem {
		t.live.item, _ = asl.Decode(t.Item) // written by Encode
	}
	data := t.Input
	if t.Phase == done {
		data = t.Output
	}
	t.live.data, err = asl.Decode(data)
	return err
}

// branch is what the child of a thread with the given index runs.
func (r *run) branch(p *thread, index int) *asl.Machine {
	st := p.state()
	if st.Processor != nil {
		return st.Processor
	}
	return st.Branches[index]
}

func (t *thread) state() *asl.State { return t.live.machine.States[t.State] }

// begin makes the first thread of a new execution.
func (r *run) begin(input any, raw string) {
	t := &thread{State: r.m.StartAt, Phase: entering, Input: []byte(raw)}
	t.live = live{machine: r.m, data: input}
	r.threads[""] = t
	r.ready = append(r.ready, t)
}

// loop runs until the execution ends, for good or (with ctx) for this process.
func (r *run) loop(ctx context.Context, wake <-chan struct{}) (err error) {
	// Effects outlive a time-out or an abort, as on AWS, but not this function;
	// waiting for another execution ends with this one.
	defer r.effects.Wait()
	defer r.collect()()
	defer func() {
		if err == nil || errors.Is(err, errOver) {
			r.leaveChildren(ctx)
		}
	}()
	waits, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for first, own := true, false; ; first = false {
		if !first {
			if own, err = r.wait(ctx, wake, timer); err != nil {
				return err
			}
		}
		if err := r.inbox(own); err != nil {
			return err
		}
		r.expire(time.Now())
		r.advance()
		if err := r.save(ctx); err != nil {
			return err
		}
		if r.p.Status != running {
			return nil
		}
		r.start(ctx, waits)
		r.stopOrphans(ctx)
	}
}

// collect makes sure that no effect blocks on a result that nobody reads: what
// it returns drains the channel until all effects have ended.
func (r *run) collect() func() {
	return func() {
		ended := make(chan struct{})
		go func() { r.effects.Wait(); close(ended) }()
		for {
			select {
			case <-r.results:
			case <-ended:
				return
			}
		}
	}
}

// wait returns when something has happened, having taken in all results there
// are; own tells that it was no more than that.
func (r *run) wait(ctx context.Context, wake <-chan struct{}, timer *time.Timer) (own bool, err error) {
	timer.Stop()
	if next := r.nextTimer(); !next.IsZero() {
		timer.Reset(time.Until(next))
	}
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-wake:
	case <-timer.C:
	case res := <-r.results:
		own = true
		r.take(res)
		for more := true; more; {
			select {
			case res := <-r.results:
				r.take(res)
			default:
				more = false
			}
		}
	}
	return own, ctx.Err()
}

// nextTimer is when the next thing is due by itself; zero means never.
func (r *run) nextTimer() (next time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	sooner(r.p.Deadline)
	for _, t := range r.threads {
		switch t.Phase {
		case waiting, retrying:
			sooner(t.Due)
		case inTask, inToken, inSync:
			sooner(t.Deadline)
			sooner(t.BeatBy)
		}
	}
	return next
}

// expire carries out what is due.
func (r *run) expire(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	if due(r.p.Deadline) {
		r.timeOut()
		return
	}
	var ids []string // mostly none
	for id, t := range r.threads {
		if due(t.Due) || due(t.Deadline) || due(t.BeatBy) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids {
		t := r.threads[id]
		switch {
		case t == nil: // gone with its parent
		case t.Phase == waiting && due(t.Due):
			r.waited(t)
		case t.Phase == retrying && due(t.Due):
			r.again(t)
		case t.Phase != inTask && t.Phase != inToken && t.Phase != inSync:
		case due(t.Deadline):
			r.taskFailed(t, &asl.Error{Name: asl.ErrTimeout}, true)
		case due(t.BeatBy):
			r.taskFailed(t, &asl.Error{Name: asl.ErrHeartbeatTimeout}, true)
		}
	}
}

// inbox takes in what came by SendTask* and by workers of activities. After no
// more than results of its own a run need not look where it expects nothing:
// whether somebody has ended the execution is seen by save.
func (r *run) inbox(own bool) error {
	if !r.durable || own && !r.expects() {
		return nil
	}
	var came []*thread
	answers := map[*thread]token{}
	err := r.s.DB.View(func(tx *store.Tx) error {
		p, _, err := progresses.Get(tx, r.x.ARN)
		if err != nil {
			return err
		}
		if !r.ours(p) {
			return errOver
		}
		for _, t := range r.threads {
			if t.Token == "" || t.Phase != inToken && t.Phase != inTask || r.tokens[t.Token] != nil {
				continue
			}
			k, ok, err := tokens.Get(tx, t.Token)
			if err != nil {
				return err
			}
			if ok {
				came, answers[t] = append(came, t), k
			}
		}
		return nil
	})
	slices.SortFunc(came, func(a, b *thread) int { return strings.Compare(a.ID, b.ID) })
	for _, t := range came {
		if r.threads[t.ID] == t { // not gone with a parent that failed just now
			r.answered(t, answers[t])
		}
	}
	return err
}

// expects tells whether somebody has a token to answer with.
func (r *run) expects() bool {
	for _, t := range r.threads {
		if t.Token != "" {
			return true
		}
	}
	return false
}

// mark has a thread written with the next commit.
func (r *run) mark(t *thread) {
	r.dirty[t.ID] = true
	delete(r.gone, t.ID)
}

// emit appends an event after the thread's last.
func (r *run) emit(t *thread, kind string, d detail) {
	r.p.Last++
	prev := int64(0)
	if t != nil {
		prev, t.Prev = t.Prev, r.p.Last
		r.mark(t)
	}
	r.records = append(r.records, &record{ID: r.p.Last, Prev: prev, At: r.s.now(), Type: kind, detail: d})
}

// end ends the execution.
func (r *run) end(status string, output *string, err *asl.Error) {
	r.p.Status, r.p.Stop, r.p.Output = status, r.s.now(), output
	if err != nil {
		r.p.Error, r.p.Cause = optional(err.Name), optional(err.Cause)
	}
	r.ready, r.launch = nil, nil
}

func (r *run) timeOut() {
	r.emit(r.threads[""], "ExecutionTimedOut", detail{Error: new(asl.ErrTimeout)})
	r.end(timedOut, nil, &asl.Error{Name: asl.ErrTimeout})
}

// limit fails an execution whose history is full.
func (r *run) limit() bool {
	if r.p.Status != running || r.p.Last < maxEvents-1 {
		return false
	}
	err := &asl.Error{Name: asl.ErrRuntime, Cause: "The execution reached the maximum number of history events (25000)."}
	r.emit(r.threads[""], "ExecutionFailed", detail{Error: &err.Name, Cause: &err.Cause})
	r.end(failed, nil, err)
	return true
}
