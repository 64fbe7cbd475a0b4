package sfn

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"miniforge/internal/cloud/sfn/asl"
)

// advance lets all threads go on that can.
func (r *run) advance() {
	for len(r.ready) > 0 && r.p.Status == running {
		t := r.ready[0]
		r.ready = r.ready[1:]
		if r.threads[t.ID] != t || t.Phase != entering || r.limit() {
			continue
		}
		r.enter(t)
	}
	if r.p.Status != running {
		r.ready = nil
	}
}

// enter carries a state out as far as that goes at once.
func (r *run) enter(t *thread) {
	st := t.state()
	r.mark(t)
	t.Entered, t.Retries, t.Params, t.Token, t.Child = r.s.now(), nil, nil, "", ""
	text := t.live.text
	if text == nil {
		text = new(string(t.Input))
	}
	r.emit(t, st.Type+"StateEntered", detail{Name: &st.Name, Input: text})
	t.EntryID = t.Prev
	e := r.env(t)
	switch st.Type {
	case "Task":
		r.schedule(t)
	case "Pass":
		in, err := st.Input(e, t.live.data)
		if err == nil {
			err = r.leave(t, e, st.Pass(in), st.Next)
		}
		r.check(t, err)
	case "Choice":
		r.check(t, r.choose(t, e))
	case "Wait":
		r.check(t, r.pause(t, e))
	case "Succeed":
		in, err := st.Selected(e, t.live.data)
		if err == nil {
			err = r.leave(t, e, in, "")
		}
		r.check(t, err)
	case "Fail":
		in, err := st.Selected(e, t.live.data)
		if err != nil {
			r.check(t, err)
			return
		}
		f, err := st.Failure(e, in)
		if err != nil {
			r.check(t, err)
			return
		}
		r.stateFailed(t, f)
	case "Parallel", "Map":
		r.check(t, r.fork(t, e))
	}
}

func (r *run) choose(t *thread, e *asl.Env) error {
	in, err := t.state().Selected(e, t.live.data)
	if err != nil {
		return err
	}
	next, err := t.state().Choose(e, in)
	if err != nil {
		return err
	}
	return r.leave(t, e, in, next)
}

func (r *run) pause(t *thread, e *asl.Env) error {
	in, err := t.state().Selected(e, t.live.data)
	if err != nil {
		return err
	}
	until, err := t.state().WaitUntil(e, in, t.Entered)
	if err != nil {
		return err
	}
	t.Due, t.Phase = until, waiting
	if !until.After(time.Now()) {
		r.waited(t)
	}
	return nil
}

// waited ends a Wait state.
func (r *run) waited(t *thread) {
	e := r.env(t)
	in, err := t.state().Selected(e, t.live.data)
	if err == nil {
		err = r.leave(t, e, in, t.state().Next)
	}
	r.check(t, err)
}

// again tries a state once more.
func (r *run) again(t *thread) {
	r.mark(t)
	if t.state().Type == "Task" {
		r.schedule(t)
		return
	}
	r.check(t, r.fork(t, r.env(t)))
}

// check has a state fail with an error of its evaluation.
func (r *run) check(t *thread, err error) {
	if err == nil {
		return
	}
	r.stateFailed(t, r.located(t, err))
}

// located tells in the cause where an error happened, as AWS does.
func (r *run) located(t *thread, err error) *asl.Error {
	e, ok := errors.AsType[*asl.Error](err)
	if !ok {
		e = &asl.Error{Name: asl.ErrRuntime, Cause: err.Error()}
	}
	if e.Name == asl.ErrDataLimit {
		return e
	}
	return &asl.Error{Name: e.Name, Cause: fmt.Sprintf("An error occurred while executing the state '%s' (entered at the event id #%d). %s", t.State, t.EntryID, e.Cause)}
}

// caught goes on where a catcher says.
func (r *run) caught(t *thread, c *asl.Catcher, err *asl.Error) error {
	out, e := c.Caught(t.live.data, err)
	if e != nil {
		return e
	}
	p, e := payloadOf(out)
	if e != nil {
		return e
	}
	return r.exit(t, p, c.Next)
}

// A payload is a value with its JSON: rows have raw, events text.
type payload struct {
	value any
	raw   json.RawMessage
	text  *string
}

// payloadOf fails for a value that could not be read again, after a restart.
func payloadOf(v any) (payload, error) {
	raw := asl.Encode(v)
	if asl.TooDeep(raw) {
		return payload{}, &asl.Error{Name: asl.ErrRuntime, Cause: fmt.Sprintf("The data is nested more than %d levels deep.", asl.MaxDepth)}
	}
	return payload{v, raw, new(string(raw))}, nil
}

// leave makes a state's output and goes on to the next; "" ends the thread.
func (r *run) leave(t *thread, e *asl.Env, result any, next string) error {
	if r.only != nil && t.state().Type != "Choice" && t.state().Type != "Wait" && t.state().Type != "Succeed" {
		r.only.had = &result
	}
	out, err := t.state().Output(e, t.live.data, result)
	if err != nil {
		return err
	}
	if t.live.text != nil && t.state().Keeps() {
		return r.exit(t, payload{t.live.data, t.Input, t.live.text}, next)
	}
	p, err := payloadOf(out)
	if err != nil {
		return err
	}
	return r.exit(t, p, next)
}

func (r *run) exit(t *thread, out payload, next string) error {
	if err := tooLarge(t, len(out.raw)); err != nil {
		return err
	}
	st := t.state()
	r.emit(t, st.Type+"StateExited", detail{Name: &st.Name, Output: out.text})
	if r.only != nil {
		r.only.output, r.only.next = out.text, optional(next)
		if r.only.status == "" {
			r.only.status = "SUCCEEDED"
		}
		r.end(succeeded, r.only.output, nil)
		return nil
	}
	if next == "" {
		r.finished(t, out)
		return nil
	}
	t.State, t.Phase = next, entering
	t.receive(out)
	t.live.items, t.live.sel = nil, nil
	r.ready = append(r.ready, t)
	return nil
}

// receive makes a payload the thread's input.
func (t *thread) receive(in payload) { t.Input, t.live.data, t.live.text = in.raw, in.value, in.text }

func tooLarge(t *thread, size int) error {
	if size <= asl.MaxPayload {
		return nil
	}
	return &asl.Error{Name: asl.ErrDataLimit, Cause: fmt.Sprintf("The state/task '%s' returned a result with a size exceeding the maximum number of bytes service limit.", t.State)}
}

// finished ends a thread with its output.
func (r *run) finished(t *thread, out payload) {
	if t.ID == "" {
		r.emit(t, "ExecutionSucceeded", detail{Output: out.text})
		r.end(succeeded, out.text, nil)
		return
	}
	t.Phase, t.Output, t.Input = done, out.raw, json.RawMessage("null")
	t.live.data, t.live.text = out.value, nil
	r.mark(t)
	r.joined(t)
}

// stateFailed has the thread's state tried again, its error caught, or the
// thread fail.
func (r *run) stateFailed(t *thread, err *asl.Error) {
	st := t.state()
	r.mark(t)
	if r.only != nil && r.tried(t, err) {
		return
	}
	if i := st.FindRetrier(err.Name); i >= 0 && r.only == nil {
		if t.Retries == nil {
			t.Retries = make([]int, len(st.Retry))
		}
		if n := t.Retries[i]; n < st.Retry[i].MaxAttempts {
			r.prune(t)
			t.Retries[i]++
			t.Phase, t.Due = retrying, time.Now().Add(st.Retry[i].Delay(n, r.s.random))
			return
		}
	}
	if c := st.FindCatcher(err.Name); c != nil {
		r.prune(t)
		e := r.caught(t, c, err)
		if e == nil {
			return
		}
		err = r.located(t, e)
	}
	t.Phase = broken
	if t.ID != "" {
		r.childFailed(t, err)
		return
	}
	r.emit(t, "ExecutionFailed", detail{Error: optional(err.Name), Cause: optional(err.Cause)})
	r.end(failed, nil, err)
}

func childID(p *thread, index int) string { return p.ID + "/" + strconv.Itoa(index) }
