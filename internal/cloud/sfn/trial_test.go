package sfn

import (
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
)

const tryTask = `{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","InputPath":"$.in","Parameters":{"FunctionName":"f","Payload.$":"$"},
	"ResultSelector":{"got.$":"$.Payload"},"ResultPath":"$.out","Next":"N",
	"Retry":[{"ErrorEquals":["Busy"],"IntervalSeconds":3,"MaxAttempts":2}],"Catch":[{"ErrorEquals":["Boom"],"Next":"X"},{"ErrorEquals":["Busy"],"Next":"Y"}]}`

func TestTestStateShowsTheSteps(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		out := must(r.TestState(r.ctx, &sdk.TestStateInput{
			Definition: new(tryTask), Input: new(`{"in":{"n":1}}`), InspectionLevel: types.InspectionLevelDebug,
			Mock: &types.MockInput{Result: new(`{"Payload":7}`)},
		}))
		d := out.InspectionData
		sameJSON(t, d.Input, `{"in":{"n":1}}`)
		sameJSON(t, d.AfterInputPath, `{"n":1}`)
		sameJSON(t, d.AfterParameters, `{"FunctionName":"f","Payload":{"n":1}}`)
		sameJSON(t, d.Result, `{"Payload":7}`)
		sameJSON(t, d.AfterResultSelector, `{"got":7}`)
		sameJSON(t, d.AfterResultPath, `{"in":{"n":1},"out":{"got":7}}`)
		sameJSON(t, out.Output, `{"in":{"n":1},"out":{"got":7}}`)
		if out.Status != types.TestExecutionStatusSucceeded || *out.NextState != "N" || d.ErrorDetails != nil {
			t.Errorf("%s, next %s, %+v", out.Status, *out.NextState, d.ErrorDetails)
		}
		if n := len(r.called()); n != 0 {
			t.Errorf("%d calls in spite of the mock", n)
		}
	})
}

func TestTestStateHandlesErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err     string
		retries int32
		status  types.TestExecutionStatus
		details types.InspectionErrorDetails
	}{
		"retried":       {"Busy", 0, types.TestExecutionStatusRetriable, types.InspectionErrorDetails{RetryIndex: new(int32(0)), RetryBackoffIntervalSeconds: new(int32(3))}},
		"retried again": {"Busy", 1, types.TestExecutionStatusRetriable, types.InspectionErrorDetails{RetryIndex: new(int32(0)), RetryBackoffIntervalSeconds: new(int32(6))}},
		"retries spent": {"Busy", 2, types.TestExecutionStatusCaughtError, types.InspectionErrorDetails{CatchIndex: new(int32(1))}},
		"caught":        {"Boom", 0, types.TestExecutionStatusCaughtError, types.InspectionErrorDetails{CatchIndex: new(int32(0))}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				out := must(r.TestState(r.ctx, &sdk.TestStateInput{
					Definition: new(tryTask), Input: new(`{"in":{}}`), InspectionLevel: types.InspectionLevelDebug,
					Mock:               &types.MockInput{ErrorOutput: &types.MockErrorOutput{Error: &c.err}},
					StateConfiguration: &types.TestStateConfiguration{RetrierRetryCount: &c.retries},
				}))
				got, want := out.InspectionData.ErrorDetails, c.details
				if out.Status != c.status || got == nil || !same(got.CatchIndex, want.CatchIndex) || !same(got.RetryIndex, want.RetryIndex) ||
					!same(got.RetryBackoffIntervalSeconds, want.RetryBackoffIntervalSeconds) {
					t.Errorf("%s %+v", out.Status, got)
				}
			})
		})
	}
}

func same[T comparable](a, b *T) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

func TestTestStateOfMap(t *testing.T) {
	const definition = `{"Type":"Map","ItemsPath":"$.l","MaxConcurrency":2,"ToleratedFailureCount":1,"ItemSelector":{"v.$":"$$.Map.Item.Value","c.$":"$$.Mine"},
		"ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}},"End":true}`
	bubble(t, func(t *testing.T, r *rig) {
		in := &sdk.TestStateInput{
			Definition: new(definition), Input: new(`{"l":[1,2]}`), InspectionLevel: types.InspectionLevelDebug, Context: new(`{"Mine":"c"}`),
			Mock: &types.MockInput{Result: new(`["a","b"]`)},
		}
		out := must(r.TestState(r.ctx, in))
		sameJSON(t, out.Output, `["a","b"]`)
		sameJSON(t, out.InspectionData.AfterItemSelector, `[{"v":1,"c":"c"},{"v":2,"c":"c"}]`)
		if d := out.InspectionData; *d.MaxConcurrency != 2 || *d.ToleratedFailureCount != 1 {
			t.Errorf("%+v", d)
		}
		in.StateConfiguration = &types.TestStateConfiguration{MapIterationFailureCount: new(int32(2))}
		if out := must(r.TestState(r.ctx, in)); *out.Error != "States.ExceedToleratedFailureThreshold" {
			t.Errorf("%s", out.Status)
		}
	})
}

func TestTestStateRefuses(t *testing.T) {
	mock := &types.MockInput{Result: new(`1`)}
	for name, in := range map[string]*sdk.TestStateInput{
		"a Map without a mock":  {Definition: new(`{"Type":"Map","ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}},"End":true}`)},
		"a task without a role": {Definition: new(tryTask)},
		"a token without a mock": {RoleArn: new(roleARN),
			Definition: new(`{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","Parameters":{},"End":true}`)},
		"a mock of nothing":  {Definition: new(`{"Type":"Succeed"}`), Mock: mock},
		"an empty mock":      {Definition: new(tryTask), Mock: &types.MockInput{}},
		"a mock that is bad": {Definition: new(tryTask), Mock: &types.MockInput{Result: new(`{`)}},
		"a bad context":      {Definition: new(tryTask), Mock: mock, Context: new(`[]`)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				if _, err := r.TestState(r.ctx, in); code(err) != "ValidationException" {
					t.Errorf("%v", err)
				}
			})
		})
	}
}
