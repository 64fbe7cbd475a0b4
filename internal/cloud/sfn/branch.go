package sfn

import (
	"maps"
	"slices"
	"strings"

	"miniforge/internal/cloud/sfn/asl"
)

// fork starts the branches of a Parallel state or the iterations of a Map.
func (r *run) fork(t *thread, e *asl.Env) error {
	st := t.state()
	if r.only != nil {
		return r.branched(t, e)
	}
	t.Total, t.Started, t.Ended, t.Failed, t.Limit = len(st.Branches), 0, 0, 0, 0
	t.Phase = branching
	if st.Type == "Parallel" {
		in, err := st.Input(e, t.live.data)
		if err != nil {
			return err
		}
		shared, err := payloadOf(in)
		if err != nil {
			return err
		}
		r.emit(t, "ParallelStateStarted", detail{})
		for t.Started < t.Total {
			r.spawn(t, shared, nil)
		}
		return nil
	}
	if err := r.itemize(t, e); err != nil {
		return err
	}
	limit, err := st.Concurrency(e, t.live.sel)
	if err != nil {
		return err
	}
	t.Total, t.Limit = len(t.live.items), limit
	if limit == 0 {
		t.Limit = maxConcurrency
	}
	r.emit(t, "MapStateStarted", detail{Length: int32(t.Total)})
	if t.Total == 0 {
		return r.join(t)
	}
	return r.iterate(t)
}

const tooManyFailed = "The specified tolerated failure threshold was exceeded"

// maxConcurrency is how many iterations of an inline Map run at a time, at most.
const maxConcurrency = 40

// itemize finds the items of a Map, also after a restart.
func (r *run) itemize(t *thread, e *asl.Env) (err error) {
	if t.live.items != nil {
		return nil
	}
	if t.live.sel, err = t.state().Selected(e, t.live.data); err != nil {
		return err
	}
	t.live.items, err = t.state().Items(e, t.live.sel)
	return err
}

// iterate starts as many iterations as may run.
func (r *run) iterate(t *thread) error {
	if err := r.itemize(t, r.env(t)); err != nil {
		return err
	}
	started := t.Prev
	for t.Started < t.Total && t.Started-t.Ended < t.Limit {
		item := t.live.items[t.Started]
		c := &thread{ID: childID(t, t.Started), IsItem: true, Index: t.Started, Item: asl.Encode(item)}
		c.live.parent, c.live.item = t, item
		// The selector sees the Map's context object with the item in it.
		seen := *c
		seen.State, seen.Entered, seen.Retries = t.State, t.Entered, t.Retries
		in, err := t.state().ItemInput(r.env(&seen), t.live.sel, item)
		if err != nil {
			return err
		}
		p, err := payloadOf(in)
		if err != nil {
			return err
		}
		t.Prev = started
		r.spawn(t, p, c)
	}
	return nil
}

// spawn starts the next branch or, with c, iteration of t.
func (r *run) spawn(t *thread, in payload, c *thread) {
	if c == nil {
		c = &thread{ID: childID(t, t.Started), Index: t.Started}
	}
	m := r.branch(t, t.Started)
	c.State, c.Phase, c.Prev = m.StartAt, entering, t.Prev
	c.live.machine, c.live.parent = m, t
	c.receive(in)
	r.threads[c.ID] = c
	r.mark(c)
	r.mark(t)
	if c.IsItem {
		r.emit(c, "MapIterationStarted", detail{Name: new(t.State), Index: int32(c.Index)})
	}
	t.Started++
	r.ready = append(r.ready, c)
}

// joined counts a child that has ended well.
func (r *run) joined(c *thread) {
	t := c.live.parent
	if c.IsItem {
		r.emit(c, "MapIterationSucceeded", detail{Name: new(t.State), Index: int32(c.Index)})
	}
	t.Ended++
	r.mark(t)
	t.Prev = c.Prev
	r.proceed(t)
}

// proceed starts what may start now, or ends the state.
func (r *run) proceed(t *thread) {
	if t.Ended == t.Total {
		r.check(t, r.join(t))
		return
	}
	if t.Started < t.Total {
		r.check(t, r.iterate(t))
	}
}

// join ends a Parallel or Map state with its children's outputs in order.
func (r *run) join(t *thread) error {
	out := []any{}
	for i := range t.Started {
		c := r.threads[childID(t, i)]
		if c.Phase != done {
			continue // a failure that is tolerated
		}
		out = append(out, c.live.data)
	}
	r.emit(t, t.state().Type+"StateSucceeded", detail{})
	r.prune(t)
	return r.leave(t, r.env(t), out, t.state().Next)
}

// childFailed fails the state that a failed branch or iteration belongs to,
// unless it tolerates that.
func (r *run) childFailed(c *thread, err *asl.Error) {
	t := c.live.parent
	st := t.state()
	r.mark(t)
	if c.IsItem {
		r.emit(c, "MapIterationFailed", detail{Name: new(t.State), Index: int32(c.Index)})
		t.Failed++
		if e := r.itemize(t, r.env(t)); e == nil && st.HasTolerance() {
			ok, e := st.Tolerates(r.env(t), t.live.sel, t.Failed, t.Total)
			if e == nil && ok {
				t.Ended++
				t.Prev = c.Prev
				r.proceed(t)
				return
			}
			err = &asl.Error{Name: asl.ErrTolerance, Cause: tooManyFailed}
		}
	}
	t.Prev = c.Prev
	r.abort(t, c)
	r.emit(t, st.Type+"StateFailed", detail{Error: optional(err.Name), Cause: optional(err.Cause)})
	r.stateFailed(t, err)
}

// abort tells in the history which iterations end because another has failed.
func (r *run) abort(t, failed *thread) {
	for i := range t.Started {
		c := r.threads[childID(t, i)]
		if c != nil && c != failed && c.IsItem && c.Phase != done && c.Phase != broken {
			r.emit(c, "MapIterationAborted", detail{Name: new(t.State), Index: int32(c.Index)})
		}
	}
}

// prune forgets all threads below t. Effects of theirs that are under way find
// nobody who waits for them.
func (r *run) prune(t *thread) {
	for _, id := range slices.Collect(maps.Keys(r.threads)) {
		if !strings.HasPrefix(id, t.ID+"/") {
			continue
		}
		r.dropToken(r.threads[id])
		r.orphan(r.threads[id])
		delete(r.threads, id)
		delete(r.dirty, id)
		r.gone[id] = true
	}
}
