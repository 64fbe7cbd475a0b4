package sfn

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/wire"
)

// Every state type: what comes out and what the history says.
func TestStates(t *testing.T) {
	for _, c := range []struct {
		name, states, input, output, history string
	}{
		{
			"pass", `"A":{"Type":"Pass","Result":{"r":1},"ResultPath":"$.x","End":true}`, `{"a":1}`, `{"a":1,"x":{"r":1}}`,
			"ExecutionStarted<0 PassStateEntered<0 PassStateExited<2 ExecutionSucceeded<3",
		},
		{
			"paths", `"A":{"Type":"Pass","InputPath":"$.in","Parameters":{"v.$":"$.n","c.$":"$$.State.Name"},"OutputPath":"$.v","End":true}`,
			`{"in":{"n":[1,2.50]}}`, `[1,2.5]`, "ExecutionStarted<0 PassStateEntered<0 PassStateExited<2 ExecutionSucceeded<3",
		},
		{
			"choice", `"A":{"Type":"Choice","Choices":[{"Variable":"$.n","NumericGreaterThan":1,"Next":"B"}],"Default":"C"},"B":{"Type":"Succeed"},"C":{"Type":"Fail"}`,
			`{"n":2}`, `{"n":2}`,
			"ExecutionStarted<0 ChoiceStateEntered<0 ChoiceStateExited<2 SucceedStateEntered<3 SucceedStateExited<4 ExecutionSucceeded<5",
		},
		{
			"wait", `"A":{"Type":"Wait","SecondsPath":"$.s","Next":"B"},"B":{"Type":"Succeed"}`, `{"s":90}`, `{"s":90}`,
			"ExecutionStarted<0 WaitStateEntered<0 WaitStateExited<2 SucceedStateEntered<3 SucceedStateExited<4 ExecutionSucceeded<5",
		},
		{
			"task", `"A":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:getItem","Parameters":{"TableName":"t"},"ResultSelector":{"i.$":"$.Item"},"End":true}`,
			`{}`, `{"i":{"x":{"S":"y"}}}`,
			"ExecutionStarted<0 TaskStateEntered<0 TaskScheduled<2 TaskStarted<3 TaskSucceeded<4 TaskStateExited<5 ExecutionSucceeded<6",
		},
		{
			"function by its ARN", `"A":{"Type":"Task","Resource":"` + fn + `","End":true}`, `{"q":1}`, `{"ok":true}`,
			"ExecutionStarted<0 TaskStateEntered<0 LambdaFunctionScheduled<2 LambdaFunctionStarted<3 LambdaFunctionSucceeded<4 TaskStateExited<5 ExecutionSucceeded<6",
		},
		{
			"lambda:invoke", `"A":{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Parameters":{"FunctionName":"f","Payload.$":"$"},"OutputPath":"$.Payload.ok","End":true}`,
			`{"q":1}`, `true`,
			"ExecutionStarted<0 TaskStateEntered<0 TaskScheduled<2 TaskStarted<3 TaskSucceeded<4 TaskStateExited<5 ExecutionSucceeded<6",
		},
		{
			"parallel", `"A":{"Type":"Parallel","Branches":[{"StartAt":"X","States":{"X":{"Type":"Pass","Result":1,"End":true}}},{"StartAt":"Y","States":{"Y":{"Type":"Pass","Result":2,"End":true}}}],"End":true}`,
			`{}`, `[1,2]`,
			"ExecutionStarted<0 ParallelStateEntered<0 ParallelStateStarted<2 PassStateEntered<3 PassStateExited<4 PassStateEntered<3 PassStateExited<6 ParallelStateSucceeded<7 ParallelStateExited<8 ExecutionSucceeded<9",
		},
		{
			"map", `"A":{"Type":"Map","ItemsPath":"$.l","MaxConcurrency":1,"ItemSelector":{"v.$":"$$.Map.Item.Value","i.$":"$$.Map.Item.Index","k.$":"$.k"},"ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Pass","End":true}}},"End":true}`,
			`{"l":["a","b"],"k":7}`, `[{"v":"a","i":0,"k":7},{"v":"b","i":1,"k":7}]`,
			"ExecutionStarted<0 MapStateEntered<0 MapStateStarted<2 MapIterationStarted<3 PassStateEntered<4 PassStateExited<5 MapIterationSucceeded<6 " +
				"MapIterationStarted<7 PassStateEntered<8 PassStateExited<9 MapIterationSucceeded<10 MapStateSucceeded<11 MapStateExited<12 ExecutionSucceeded<13",
		},
		{
			"map of nothing", `"A":{"Type":"Map","ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Pass","End":true}}},"End":true}`, `[]`, `[]`,
			"ExecutionStarted<0 MapStateEntered<0 MapStateStarted<2 MapStateSucceeded<3 MapStateExited<4 ExecutionSucceeded<5",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.api = func(context.Context, string, string, string) (string, error) { return `{"Item":{"x":{"S":"y"}}}`, nil }
				r.invoke = func(context.Context, string) (string, string, error) { return `{"ok":true}`, "", nil }
				arn := r.start(states(c.states), c.input)
				d := r.end(arn)
				if d.Status != types.ExecutionStatusSucceeded {
					t.Fatalf("%s: %v %v", d.Status, deref(d.Error), deref(d.Cause))
				}
				sameJSON(t, d.Output, c.output)
				if got := strings.Join(r.history(arn), " "); got != c.history {
					t.Errorf("history\n got %s\nwant %s", got, c.history)
				}
			})
		})
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

const failing = `{"why":"because","n":1e300,"l":[1]}`

// How executions fail: the error's name and its cause.
func TestFailures(t *testing.T) {
	task := func(resource, rest string) string {
		return `"A":{"Type":"Task","Resource":"` + resource + `","Parameters":{"FunctionName":"f"}` + rest + `,"End":true}`
	}
	const update = "arn:aws:states:::dynamodb:updateItem"
	for _, c := range []struct {
		name, states, name2, cause string
		err                        error
	}{
		{name: "fail", states: `"A":{"Type":"Fail","Error":"E","CausePath":"$.why"}`, name2: "E", cause: "because"},
		{name: "no choice", states: `"A":{"Type":"Choice","Choices":[{"Variable":"$.why","IsNull":true,"Next":"B"}]},"B":{"Type":"Succeed"}`, name2: "States.NoChoiceMatched", cause: "entered at the event id #2"},
		{name: "missing path", states: `"A":{"Type":"Pass","Parameters":{"x.$":"$.no"},"End":true}`, name2: "States.Runtime", cause: "An error occurred while executing the state 'A' (entered at the event id #2). The JSONPath '$.no' specified for the field 'x.$' could not be found in the input '"},
		{name: "intrinsic", states: `"A":{"Type":"Pass","Parameters":{"x.$":"States.MathAdd($.why, 1)"},"End":true}`, name2: "States.IntrinsicFailure", cause: "integer"},
		{name: "endless concurrency", states: `"A":{"Type":"Map","ItemsPath":"$$.Execution.Input.l","MaxConcurrencyPath":"$.n","ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Succeed"}}},"End":true}`, name2: "States.Runtime", cause: "MaxConcurrencyPath"},
		{name: "condition", states: task(update, ""), err: &ddbtypes.ConditionalCheckFailedException{Message: new("The conditional request failed")}, name2: "DynamoDB.ConditionalCheckFailedException", cause: "The conditional request failed (Service: AmazonDynamoDBv2; Status Code: 400; Error Code: ConditionalCheckFailedException; Request ID: "},
		{name: "condition by SDK", states: task("arn:aws:states:::aws-sdk:dynamodb:updateItem", ""), err: &ddbtypes.ConditionalCheckFailedException{Message: new("The conditional request failed")}, name2: "DynamoDb.ConditionalCheckFailedException", cause: "(Service: DynamoDb, Status Code: 400"},
		{name: "unmodelled", states: task(update, ""), err: wire.Errorf("ValidationException", "bad"), name2: "DynamoDB.AmazonDynamoDBException", cause: "Error Code: ValidationException"},
		{name: "unmodelled by SDK", states: task("arn:aws:states:::aws-sdk:dynamodb:updateItem", ""), err: wire.Errorf("ValidationException", "bad"), name2: "DynamoDb.DynamoDbException", cause: "bad"},
		{name: "connection", states: task(update, ""), err: errors.New("broken pipe"), name2: "DynamoDB.SdkClientException", cause: "broken pipe"},
		{name: "throttled function", states: task("arn:aws:states:::lambda:invoke", ""), err: &lambdatypes.TooManyRequestsException{Message: new("Rate Exceeded.")}, name2: "Lambda.TooManyRequestsException", cause: "Service: AWSLambda"},
		{name: "timeout", states: task("arn:aws:states:::dynamodb:getItem", `,"TimeoutSeconds":5`), err: errHang, name2: "States.Timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				answer := func(ctx context.Context) error {
					if errors.Is(c.err, errHang) {
						time.Sleep(time.Hour)
					}
					return c.err
				}
				r.api = func(ctx context.Context, _, _, _ string) (string, error) { return "{}", answer(ctx) }
				r.invoke = func(ctx context.Context, _ string) (string, string, error) { return "{}", "", answer(ctx) }
				d := r.end(r.start(states(c.states), failing))
				if d.Status != types.ExecutionStatusFailed || deref(d.Error) != c.name2 || !strings.Contains(deref(d.Cause), c.cause) {
					t.Errorf("%s %s %s", d.Status, deref(d.Error), deref(d.Cause))
				}
			})
		})
	}
}

var errHang = errors.New("no answer")

func TestFunctionErrorIsItsTypeAndPayload(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		const payload = `{"errorType":"PaymentDeclined","errorMessage":"no"}`
		r.invoke = func(context.Context, string) (string, string, error) { return payload, "Unhandled", nil }
		arn := r.start(states(`"A":{"Type":"Task","Resource":"arn:aws:states:::lambda:invoke","Parameters":{"FunctionName":"f"},
			"Catch":[{"ErrorEquals":["PaymentDeclined"],"ResultPath":"$.error","Next":"B"}],"End":true},"B":{"Type":"Pass","End":true}`), `{"a":1}`)
		d := r.end(arn)
		sameJSON(t, d.Output, `{"a":1,"error":{"Error":"PaymentDeclined","Cause":"{\"errorType\":\"PaymentDeclined\",\"errorMessage\":\"no\"}"}}`)
		want := "ExecutionStarted<0 TaskStateEntered<0 TaskScheduled<2 TaskStarted<3 TaskFailed<4 TaskStateExited<5 PassStateEntered<6 PassStateExited<7 ExecutionSucceeded<8"
		if got := strings.Join(r.history(arn), " "); got != want {
			t.Errorf("history %s", got)
		}
		e := r.events(arn)
		if s := e[2].TaskScheduledEventDetails; *s.Resource != "invoke" || *s.ResourceType != "lambda" || *s.Region != "us-east-1" {
			t.Errorf("scheduled %+v", s)
		}
	})
}

func TestRetryBacksOff(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var at []time.Duration
		begin := time.Now()
		r.invoke = func(context.Context, string) (string, string, error) {
			at = append(at, time.Since(begin))
			if len(at) < 4 {
				return `{"errorType":"Flaky"}`, "Unhandled", nil
			}
			return `1`, "", nil
		}
		arn := r.start(states(`"A":{"Type":"Task","Resource":"`+fn+`","End":true,
			"Retry":[{"ErrorEquals":["Other"]},{"ErrorEquals":["States.TaskFailed"],"IntervalSeconds":2,"BackoffRate":3,"MaxDelaySeconds":10,"MaxAttempts":3}]}`), `{}`)
		if d := r.end(arn); d.Status != types.ExecutionStatusSucceeded {
			t.Fatal(d.Status)
		}
		want := []time.Duration{0, 2 * time.Second, 8 * time.Second, 18 * time.Second}
		if !slices.Equal(at, want) {
			t.Errorf("tried at %v", at)
		}
		if got := r.history(arn); got[5] != "LambdaFunctionScheduled<5" {
			t.Errorf("history %v", got)
		}
	})
}

func TestRetriesEnd(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var tries atomic.Int32
		r.invoke = func(context.Context, string) (string, string, error) {
			tries.Add(1)
			return `{"errorType":"Flaky"}`, "Unhandled", nil
		}
		d := r.end(r.start(states(`"A":{"Type":"Task","Resource":"`+fn+`","End":true,
			"Retry":[{"ErrorEquals":["States.ALL"],"MaxAttempts":2,"JitterStrategy":"FULL"}]}`), `{}`))
		if d.Status != types.ExecutionStatusFailed || tries.Load() != 3 || *d.Error != "Flaky" {
			t.Errorf("%s after %d tries", d.Status, tries.Load())
		}
	})
}

func TestFailingBranchEndsTheOthers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		arn := r.start(states(`"A":{"Type":"Parallel","End":true,"Catch":[{"ErrorEquals":["Boom"],"ResultPath":"$.e","Next":"B"}],"Branches":[
			{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":9999,"End":true}}},
			{"StartAt":"F","States":{"F":{"Type":"Fail","Error":"Boom","Cause":"c"}}}]},"B":{"Type":"Succeed"}`), `{"a":1}`)
		synctest.Wait()
		d := must(r.DescribeExecution(r.ctx, &sdk.DescribeExecutionInput{ExecutionArn: &arn}))
		if d.Status != types.ExecutionStatusSucceeded {
			t.Fatal(d.Status, r.history(arn))
		}
		sameJSON(t, d.Output, `{"a":1,"e":{"Error":"Boom","Cause":"c"}}`)
		if h := strings.Join(r.history(arn), " "); !strings.Contains(h, "FailStateEntered<3 ParallelStateFailed<5 ParallelStateExited<6") {
			t.Error(h)
		}
	})
}

func TestMapLimitsConcurrency(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var now, most atomic.Int32
		r.invoke = func(context.Context, string) (string, string, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return `0`, "", nil
		}
		begin := time.Now()
		arn := r.start(states(`"A":{"Type":"Map","MaxConcurrency":2,"End":true,"ItemProcessor":{"StartAt":"X","States":{"X":{"Type":"Task","Resource":"`+fn+`","End":true}}}}`), `[1,2,3,4,5]`)
		if d := r.end(arn); most.Load() != 2 || d.StopDate.Sub(begin) != 3*time.Second {
			t.Errorf("%d at a time, %v", most.Load(), d.StopDate.Sub(begin))
		}
	})
}

func TestMapToleratesFailures(t *testing.T) {
	for _, c := range []struct {
		name, tolerance string
		want            string
	}{
		{"count", `"ToleratedFailureCount":1,`, "SUCCEEDED "},
		{"percentage", `"ToleratedFailurePercentage":34,`, "SUCCEEDED "},
		{"exceeded", `"ToleratedFailurePercentage":10,`, "FAILED States.ExceedToleratedFailureThreshold"},
		{"none", ``, "FAILED Odd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				d := r.end(r.start(states(`"A":{"Type":"Map",`+c.tolerance+`"End":true,"ItemProcessor":{"StartAt":"X","States":{
					"X":{"Type":"Choice","Choices":[{"Variable":"$","NumericEquals":1,"Next":"F"}],"Default":"S"},"F":{"Type":"Fail","Error":"Odd"},"S":{"Type":"Succeed"}}}}`), `[0,1,2]`))
				if got := string(d.Status) + " " + deref(d.Error); got != c.want {
					t.Errorf("got %s", got)
				}
			})
		})
	}
}

func TestExecutionTimesOut(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		begin := time.Now()
		arn := r.start(`{"TimeoutSeconds":30,"StartAt":"A","States":{"A":{"Type":"Wait","Seconds":99,"End":true}}}`, `{}`)
		d := r.end(arn)
		if d.Status != types.ExecutionStatusTimedOut || d.StopDate.Sub(begin) != 30*time.Second {
			t.Errorf("%s after %v", d.Status, d.StopDate.Sub(begin))
		}
	})
}

func TestHistoryLimit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		arn := r.start(states(`"A":{"Type":"Pass","Next":"B"},"B":{"Type":"Choice","Choices":[{"Variable":"$.x","IsPresent":true,"Next":"C"}],"Default":"A"},"C":{"Type":"Succeed"}`), `{}`)
		d := r.end(arn)
		if d.Status != types.ExecutionStatusFailed || *d.Error != "States.Runtime" || !strings.Contains(*d.Cause, "25000") {
			t.Errorf("%s %s %s", d.Status, deref(d.Error), deref(d.Cause))
		}
	})
}

func TestDataLimit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.invoke = func(context.Context, string) (string, string, error) {
			return `"` + strings.Repeat("x", 262_144) + `"`, "", nil
		}
		d := r.end(r.start(states(`"A":{"Type":"Task","Resource":"`+fn+`","End":true,"Catch":[{"ErrorEquals":["States.ALL"],"Next":"B"}]},"B":{"Type":"Succeed"}`), `{}`))
		if d.Status != types.ExecutionStatusFailed || *d.Error != "States.DataLimitExceeded" {
			t.Errorf("%s %s", d.Status, deref(d.Error))
		}
	})
}

// A task that is under way when the process ends is done again; what had ended
// is not; waits end when they would have.
func TestGoesOnAfterRestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var first, second atomic.Int32
		r.api = func(ctx context.Context, _, op, _ string) (string, error) {
			if op == "PutItem" {
				first.Add(1)
				return `{}`, nil
			}
			if second.Add(1) == 1 {
				<-ctx.Done() // the process ends
				return "", ctx.Err()
			}
			return `{"Item":{"n":{"N":"1"}}}`, nil
		}
		begin := time.Now()
		arn := r.start(states(`"A":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:putItem","Parameters":{},"ResultPath":null,"Next":"P"},
			"P":{"Type":"Parallel","End":true,"Branches":[
				{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":600,"End":true}}},
				{"StartAt":"T","States":{"T":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:getItem","Parameters":{},"OutputPath":"$.Item","End":true}}}]}`), `{"i":1}`)
		time.Sleep(time.Minute)
		r.stop()
		time.Sleep(time.Minute)
		r.boot()
		d := r.end(arn)
		sameJSON(t, d.Output, `[{"i":1},{"n":{"N":"1"}}]`)
		if first.Load() != 1 || second.Load() != 2 || d.StopDate.Sub(begin) != 600*time.Second {
			t.Errorf("called %d and %d times, took %v", first.Load(), second.Load(), d.StopDate.Sub(begin))
		}
	})
}

// The workflow of the repository, with everything in order.
func TestWorkflow(t *testing.T) {
	raw, err := os.ReadFile("../../../asl/fulfilment.asl.json")
	if err != nil {
		t.Fatal(err)
	}
	definition := strings.NewReplacer("${InventoryCheckerArn}", fn, "${PaymentProcessorArn}", fn).Replace(string(raw))
	bubble(t, func(t *testing.T, r *rig) {
		r.invoke = func(_ context.Context, payload string) (string, string, error) {
			if strings.Contains(payload, `"charge"`) {
				return `{"status":"charged","charge_id":"c1"}`, "", nil
			}
			return `{"available":true,"reason":"","explanation":"","lines":[]}`, "", nil
		}
		d := r.end(r.start(definition, `{"order_id":"o1","items":[{"sku":"s","quantity":2},{"sku":"t","quantity":1}],"payment":{"token":"t"},"customer":{"name":"n","email":"e"},"created_at":"2026-01-01T00:00:00.000Z"}`))
		if d.Status != types.ExecutionStatusSucceeded {
			t.Fatalf("%s: %s %s", d.Status, deref(d.Error), deref(d.Cause))
		}
		if n := len(r.called()); n < 9 {
			t.Errorf("only %d calls: %v", n, r.called())
		}
	})
}
