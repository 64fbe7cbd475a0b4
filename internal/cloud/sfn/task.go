package sfn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"miniforge/internal/cloud/growstack"
	"miniforge/internal/cloud/sfn/asl"
)

// schedule has a Task state's work started by the next commit.
func (r *run) schedule(t *thread) {
	st := t.state()
	res := parseResource(st.Resource)
	t.Token, t.Child, t.Deadline, t.BeatBy, t.Due = "", "", time.Time{}, time.Time{}, time.Time{}
	if res.pattern == byToken || res.kind == isActivity {
		t.Token = r.s.newToken(r.x.ARN, t.ID)
		r.tokens[t.Token] = &token{Execution: r.x.ARN, Thread: t.ID, Activity: res.activity()}
	}
	e := r.env(t)
	var limit time.Duration
	in, err := st.Input(e, t.live.data)
	if err == nil {
		limit, err = r.limits(t, e)
	}
	var params payload
	if err == nil {
		params, err = payloadOf(in)
	}
	if err != nil {
		delete(r.tokens, t.Token)
		r.check(t, err)
		return
	}
	t.Params = params.raw
	d := detail{
		Resource: res.name, Kind: res.service, Region: r.x.Region, Input: params.text,
		Timeout: int64(limit.Seconds()), Heartbeat: int64(t.Beat.Seconds()),
	}
	t.Phase = inTask
	switch res.kind {
	case isFunction:
		d.Region, d.Resource, d.Kind = "", st.Resource, ""
		r.emit(t, "LambdaFunctionScheduled", d)
		r.emit(t, "LambdaFunctionStarted", detail{})
	case isActivity:
		d.Region, d.Resource, d.Kind = "", st.Resource, ""
		r.emit(t, "ActivityScheduled", d)
		t.Phase = inToken
		r.offers[t.Token] = queuedTask{Activity: st.Resource, Input: *params.text, At: time.Now()}
		return
	default:
		r.emit(t, "TaskScheduled", d)
		r.emit(t, "TaskStarted", detail{Resource: res.name, Kind: res.service})
	}
	r.launch = append(r.launch, t)
}

// limits sets when a task has taken too long, and returns the time that it has.
func (r *run) limits(t *thread, e *asl.Env) (limit time.Duration, err error) {
	st := t.state()
	in, err := st.Selected(e, t.live.data)
	if err != nil {
		return 0, err
	}
	if limit, err = st.Timeout(e, in); err != nil {
		return 0, err
	}
	if t.Beat, err = st.Heartbeat(e, in); err != nil {
		return 0, err
	}
	now := time.Now()
	if limit > 0 {
		t.Deadline = now.Add(limit)
	}
	if t.Beat > 0 && t.Token != "" {
		t.BeatBy = now.Add(t.Beat)
	}
	return limit, nil
}

// start sets off the effects whose scheduling has been committed. Those that
// only wait for another execution get a context of their own.
func (r *run) start(ctx, waits context.Context) {
	for _, t := range r.launch {
		if r.threads[t.ID] != t {
			continue
		}
		r.attempts++
		t.live.attempt = r.attempts
		job := effect{
			run: r, res: parseResource(t.state().Resource), params: t.Params, token: t.Token, child: t.Child,
			scheduled: t.Prev, result: result{thread: t.ID, attempt: r.attempts},
		}
		if job.child != "" {
			r.effects.Go(func() { r.results <- job.do(waits) })
			continue
		}
		r.s.effects.Add(1)
		r.effects.Go(func() {
			growstack.Grow()
			res := job.do(ctx)
			r.s.effects.Add(-1)
			r.results <- res
		})
	}
	r.launch = nil
}

// take takes in the end of an effect.
func (r *run) take(res result) {
	t := r.threads[res.thread]
	if t == nil || t.live.attempt != res.attempt || t.Phase != inTask && t.Phase != inSync || r.p.Status != running {
		return // timed out, or ended with a parent
	}
	rs := parseResource(t.state().Resource)
	switch {
	case res.err != nil:
		r.taskFailed(t, res.err, false)
	case res.child != "":
		r.submitted(t, rs, res.out)
		t.Phase, t.Child = inSync, res.child
		r.launch = append(r.launch, t)
	case res.sent:
		r.submitted(t, rs, res.out)
		t.Phase = inToken
	default:
		r.taskSucceeded(t, res.out)
	}
}

func (r *run) submitted(t *thread, rs resource, out any) {
	r.emit(t, "TaskSubmitted", detail{Resource: rs.name, Kind: rs.service, Output: new(asl.EncodeToString(out))})
}

// eventPrefix is how the names of a task's events begin.
func (r resource) eventPrefix() string {
	switch r.kind {
	case isFunction:
		return "LambdaFunction"
	case isActivity:
		return "Activity"
	}
	return "Task"
}

func (r resource) detail() detail {
	if r.kind != isTask {
		return detail{}
	}
	return detail{Resource: r.name, Kind: r.service}
}

func (r *run) taskSucceeded(t *thread, out any) {
	rs := parseResource(t.state().Resource)
	text := asl.EncodeToString(out)
	if err, ok := errors.AsType[*asl.Error](tooLarge(t, len(text))); ok {
		r.taskFailed(t, err, false)
		return
	}
	r.dropToken(t)
	t.Child = ""
	d := rs.detail()
	d.Output = &text
	r.emit(t, rs.eventPrefix()+"Succeeded", d)
	r.check(t, r.leave(t, r.env(t), out, t.state().Next))
}

// taskFailed ends a try of a task.
func (r *run) taskFailed(t *thread, err *asl.Error, late bool) {
	rs := parseResource(t.state().Resource)
	r.dropToken(t)
	if late {
		r.orphan(t)
	}
	t.live.attempt = 0
	d := rs.detail()
	d.Error, d.Cause = optional(err.Name), optional(err.Cause)
	kind := "Failed"
	if late {
		kind = "TimedOut"
	}
	r.emit(t, rs.eventPrefix()+kind, d)
	r.stateFailed(t, err)
}

func (r *run) dropToken(t *thread) {
	if t.Token != "" {
		r.tokens[t.Token] = nil
	}
}

// answered takes in what has come for a task with a token.
func (r *run) answered(t *thread, k token) {
	if k.Taken && !t.live.taken && t.Phase == inToken && k.Activity != "" {
		if t.Params != nil { // not told yet, also not before a restart
			r.emit(t, "ActivityStarted", detail{Worker: optional(k.Worker)})
			t.Params = nil
		}
		t.live.taken = true
	}
	if t.Beat > 0 && !k.Beat.IsZero() && k.Beat.Add(t.Beat).After(t.BeatBy) {
		t.BeatBy = k.Beat.Add(t.Beat)
		r.mark(t)
	}
	if !k.Ended || t.Phase != inToken {
		return // an answer may overtake the end of the request that carried the token
	}
	if k.Failed {
		r.taskFailed(t, &asl.Error{Name: k.Error, Cause: k.Cause}, false)
		return
	}
	out, err := asl.Decode(k.Output)
	if err != nil {
		r.taskFailed(t, &asl.Error{Name: asl.ErrRuntime, Cause: fmt.Sprintf("the output of the task is no JSON: %v", err)}, false)
		return
	}
	r.taskSucceeded(t, out)
}
