package sfn

import (
	"math/rand/v2"
	"strings"

	"github.com/google/uuid"

	"miniforge/internal/cloud/sfn/asl"
)

// stamp is how the context object writes times.
const stamp = "2006-01-02T15:04:05.000Z"

// env is what a thread's evaluation sees.
func (r *run) env(t *thread) *asl.Env {
	e := &asl.Env{UUID: uuid.NewString, Random: rand.Float64, Context: func() any { return r.context(t) }}
	if r.only != nil && r.only.context != nil {
		e.Context = func() any { return r.only.context }
	}
	return e
}

// context makes the context object of a thread.
func (r *run) context(t *thread) any {
	if r.execution == nil {
		r.describe()
	}
	retries := 0
	for _, n := range t.Retries {
		retries += n
	}
	c := map[string]any{
		"Execution":    r.execution,
		"StateMachine": r.machine,
		"State":        map[string]any{"Name": t.State, "EnteredTime": t.Entered.UTC().Format(stamp), "RetryCount": int64(retries)},
	}
	if t.Token != "" {
		c["Task"] = map[string]any{"Token": t.Token}
	}
	for i := t; i != nil; i = i.live.parent {
		if i.IsItem {
			c["Map"] = map[string]any{"Item": map[string]any{"Index": int64(i.Index), "Value": i.live.item}}
			break
		}
	}
	return c
}

// describe makes the parts of the context object that stay as they are.
func (r *run) describe() {
	input, err := asl.Decode(r.x.Input)
	if err != nil {
		input = nil // it was valid when the execution started
	}
	r.execution = map[string]any{
		"Id": r.x.ARN, "Name": r.x.Name, "RoleArn": r.x.Role, "Input": input,
		"StartTime": r.x.Start.UTC().Format(stamp), "RedriveCount": int64(r.p.Redrives),
	}
	if r.p.Redrives > 0 {
		r.execution["RedriveTime"] = r.p.Redriven.UTC().Format(stamp)
	}
	r.machine = map[string]any{"Id": r.x.Machine, "Name": r.x.Machine[strings.LastIndexByte(r.x.Machine, ':')+1:]}
}
