package sfn

import (
	"math"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/sfn/asl"
)

// A trial is TestState's: what to use instead of the world around the state,
// and what the state did instead of what would come next.
type trial struct {
	mock    *asl.Error // outcome instead of the state's work, if mocked
	result  any
	mocked  bool
	context any // context object; nil: that of an execution
	retries int // that the state's retrier has already spent
	failed  int // iterations of a Map

	status   types.TestExecutionStatus
	output   *string
	next     *string
	err      *asl.Error
	had      *any // the state's result
	handling types.InspectionErrorDetails
}

// newTrial reads what TestState is to use.
func newTrial(in *sdk.TestStateInput) (*trial, error) {
	t := &trial{}
	if in.Variables != nil {
		return nil, validation("Variables are of the query language JSONata, which is not supported here")
	}
	if in.Context != nil {
		v, err := asl.Decode(*in.Context)
		if _, ok := v.(map[string]any); err != nil || !ok {
			return nil, validation("The context must be a JSON object")
		}
		t.context = v
	}
	if c := in.StateConfiguration; c != nil {
		if c.RetrierRetryCount != nil {
			t.retries = int(*c.RetrierRetryCount)
		}
		if c.MapIterationFailureCount != nil {
			t.failed = int(*c.MapIterationFailureCount)
		}
	}
	if in.Mock == nil {
		return t, nil
	}
	t.mocked = true
	switch m := in.Mock; {
	case (m.Result == nil) == (m.ErrorOutput == nil):
		return nil, validation("A mock needs either a result or an errorOutput")
	case m.ErrorOutput != nil:
		t.mock = &asl.Error{}
		if m.ErrorOutput.Error != nil {
			t.mock.Name = *m.ErrorOutput.Error
		}
		if m.ErrorOutput.Cause != nil {
			t.mock.Cause = *m.ErrorOutput.Cause
		}
	default:
		v, err := asl.Decode(*m.Result)
		if err != nil {
			return nil, validation("The result of the mock must be JSON")
		}
		t.result = v
	}
	return t, nil
}

// tests tells whether a state can be tested: what ends in another place only
// with a mock.
func (t *trial) tests(st *asl.State, in *sdk.TestStateInput) error {
	r := parseResource(st.Resource)
	switch {
	case t.mocked && !slices.Contains([]string{"Task", "Parallel", "Map"}, st.Type):
		return validation("A mock cannot be used for a state of the type '" + st.Type + "'")
	case t.mocked:
	case st.Type == "Parallel" || st.Type == "Map":
		return validation("The state type '" + st.Type + "' can be tested with a mock only")
	case st.Type == "Task" && (r.kind == isActivity || r.pattern != ""):
		return validation("The resource " + st.Resource + " can be tested with a mock only")
	case st.Type == "Task" && in.RoleArn == nil:
		return validation("The role ARN is required to test a Task state")
	}
	return nil
}

// branched is the mocked outcome of a Parallel or Map state.
func (r *run) branched(t *thread, e *asl.Env) error {
	st, only := t.state(), r.only
	in, err := st.Input(e, t.live.data)
	if err == nil && st.Type == "Map" {
		var items []any
		var ok bool
		if items, err = st.Items(e, in); err == nil && only.failed > 0 && st.HasTolerance() {
			if ok, err = st.Tolerates(e, in, only.failed, len(items)); err == nil && !ok {
				err = &asl.Error{Name: asl.ErrTolerance, Cause: tooManyFailed}
			}
		}
	}
	switch {
	case err != nil:
		return err
	case only.mock != nil:
		r.stateFailed(t, only.mock)
		return nil //nolint:nilerr // the error is the state's, and is told as its outcome
	}
	return r.leave(t, e, only.result, st.Next)
}

// tried notes that the state has failed. Of a caught error it only notes that:
// the output is made as ever.
func (r *run) tried(t *thread, err *asl.Error) (over bool) {
	st, only := t.state(), r.only
	only.err = err
	i := st.FindRetrier(err.Name)
	switch {
	case i >= 0 && only.retries < st.Retry[i].MaxAttempts:
		only.status = types.TestExecutionStatusRetriable
		delay := st.Retry[i].Delay(only.retries, func() float64 { return 1 })
		only.handling.RetryIndex = new(int32(i))
		only.handling.RetryBackoffIntervalSeconds = new(int32(min(delay.Seconds(), math.MaxInt32)))
	case st.FindCatcher(err.Name) != nil && only.status == "":
		only.status = types.TestExecutionStatusCaughtError
		for i := range st.Catch {
			if &st.Catch[i] == st.FindCatcher(err.Name) {
				only.handling.CatchIndex = new(int32(i))
			}
		}
		return false
	default:
		only.status = types.TestExecutionStatusFailed
	}
	r.end(failed, nil, err)
	return true
}

// answer is TestState's, with as much detail as is asked for.
func (t *trial) answer(r *run, level types.InspectionLevel) *sdk.TestStateOutput {
	out := &sdk.TestStateOutput{Status: t.status, Output: t.output, NextState: t.next}
	if t.err != nil {
		out.Error, out.Cause = optional(t.err.Name), optional(t.err.Cause)
	}
	if out.Status == "" { // the time of an execution is over
		out.Status, out.Error, out.Cause = types.TestExecutionStatusFailed, r.p.Error, r.p.Cause
	}
	if level != types.InspectionLevelDebug && level != types.InspectionLevelTrace {
		return out
	}
	root := r.threads[""]
	x := root.state().Inspect(r.env(root), root.live.data, t.had)
	d := &types.InspectionData{
		Input: shown(x.Input), AfterInputPath: shown(x.InputPath), AfterParameters: shown(x.Parameters),
		AfterItemsPath: shown(x.ItemsPath), AfterItemSelector: shown(x.ItemSelector),
		Result: shown(x.Result), AfterResultSelector: shown(x.ResultSelector), AfterResultPath: shown(x.ResultPath),
	}
	if x.Concurrency != nil {
		d.MaxConcurrency = new(int32(*x.Concurrency))
	}
	if x.Tolerated != nil {
		d.ToleratedFailureCount = new(int32(*x.Tolerated))
	}
	if x.Percentage != nil {
		d.ToleratedFailurePercentage = new(float32(*x.Percentage))
	}
	if h := t.handling; h.CatchIndex != nil || h.RetryIndex != nil {
		d.ErrorDetails = &h
	}
	out.InspectionData = d
	return out
}

func shown(raw []byte) *string {
	if raw == nil {
		return nil
	}
	return new(string(raw))
}
