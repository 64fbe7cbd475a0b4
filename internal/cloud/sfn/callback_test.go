package sfn

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
)

const awaiting = `"A":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage.waitForTaskToken","HeartbeatSeconds":60,"End":true,
	"Parameters":{"QueueUrl":"q","MessageBody":{"token.$":"$$.Task.Token"}}}`

// sent finds the token in the message that was sent.
func (r *rig) sent() string {
	r.t.Helper()
	synctest.Wait()
	all := r.called()
	if len(all) == 0 {
		r.t.Fatal("nothing sent")
	}
	_, rest, _ := strings.Cut(all[len(all)-1], `{\"token\":\"`)
	token, _, ok := strings.Cut(rest, `\"`)
	if !ok {
		r.t.Fatalf("no token in %s", all)
	}
	return token
}

func TestTaskToken(t *testing.T) {
	for _, c := range []struct {
		name string
		act  func(r *rig, token string) error
		want string
	}{
		{"success", func(r *rig, token string) error {
			_, err := r.SendTaskSuccess(r.ctx, &sdk.SendTaskSuccessInput{TaskToken: &token, Output: new(`{"ok":1}`)})
			return err
		}, `SUCCEEDED  {"ok":1}`},
		{"failure", func(r *rig, token string) error {
			_, err := r.SendTaskFailure(r.ctx, &sdk.SendTaskFailureInput{TaskToken: &token, Error: new("No"), Cause: new("c")})
			return err
		}, `FAILED No `},
		{"silence", func(*rig, string) error { return nil }, `FAILED States.HeartbeatTimeout `},
		{"heartbeats", func(r *rig, token string) error {
			for range 5 {
				time.Sleep(50 * time.Second)
				if _, err := r.SendTaskHeartbeat(r.ctx, &sdk.SendTaskHeartbeatInput{TaskToken: &token}); err != nil {
					return err
				}
			}
			_, err := r.SendTaskSuccess(r.ctx, &sdk.SendTaskSuccessInput{TaskToken: &token, Output: new(`2`)})
			return err
		}, `SUCCEEDED  2`},
		{"over a restart", func(r *rig, token string) error {
			r.stop()
			r.boot()
			_, err := r.SendTaskSuccess(r.ctx, &sdk.SendTaskSuccessInput{TaskToken: &token, Output: new(`3`)})
			return err
		}, `SUCCEEDED  3`},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				arn := r.start(states(awaiting), `{}`)
				token := r.sent()
				if err := c.act(r, token); err != nil {
					t.Fatal(err)
				}
				d := r.end(arn)
				if got := string(d.Status) + " " + deref(d.Error) + " " + deref(d.Output); got != c.want {
					t.Errorf("got %s", got)
				}
				_, err := r.SendTaskSuccess(r.ctx, &sdk.SendTaskSuccessInput{TaskToken: &token, Output: new(`0`)})
				if _, ok := errors.AsType[*types.TaskTimedOut](err); !ok {
					t.Errorf("a token that was used: %v", err)
				}
				if h := strings.Join(r.history(arn), " "); !strings.Contains(h, "TaskStarted<3 TaskSubmitted<4 Task") {
					t.Error(h)
				}
			})
		})
	}
}

// An answer that comes before the request that carried the token has ended is not lost.
func TestAnswerOvertakesItsRequest(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.api = func(context.Context, string, string, string) (string, error) {
			time.Sleep(5 * time.Second)
			return `{}`, nil
		}
		arn := r.start(states(awaiting), `{}`)
		must(r.SendTaskSuccess(r.ctx, &sdk.SendTaskSuccessInput{TaskToken: new(r.sent()), Output: new(`1`)}))
		if d := r.end(arn); deref(d.Output) != "1" {
			t.Error(d.Status, deref(d.Error), r.history(arn))
		}
	})
}

func TestBadToken(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, bad := range []string{"x", "e30=", "bnVsbA==", "AAAA"} {
			_, err := r.SendTaskHeartbeat(r.ctx, &sdk.SendTaskHeartbeatInput{TaskToken: &bad})
			if _, ok := errors.AsType[*types.InvalidToken](err); !ok {
				t.Errorf("%s: %v", bad, err)
			}
		}
	})
}

func TestActivity(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		a := *must(r.CreateActivity(r.ctx, &sdk.CreateActivityInput{Name: new("act")})).ActivityArn
		got := make(chan *sdk.GetActivityTaskOutput)
		go func() {
			got <- must(r.GetActivityTask(r.ctx, &sdk.GetActivityTaskInput{ActivityArn: &a, WorkerName: new("w")}))
		}()
		synctest.Wait()
		arn := r.start(states(`"A":{"Type":"Task","Resource":"`+a+`","TimeoutSeconds":300,"End":true}`), `{"q":1}`)
		task := <-got
		sameJSON(t, task.Input, `{"q":1}`)
		synctest.Wait()
		must(r.SendTaskSuccess(r.ctx, &sdk.SendTaskSuccessInput{TaskToken: task.TaskToken, Output: new(`5`)}))
		if d := r.end(arn); deref(d.Output) != "5" {
			t.Fatal(d.Status, deref(d.Cause))
		}
		want := "ExecutionStarted<0 TaskStateEntered<0 ActivityScheduled<2 ActivityStarted<3 ActivitySucceeded<4 TaskStateExited<5 ExecutionSucceeded<6"
		if h := strings.Join(r.history(arn), " "); h != want {
			t.Error(h)
		}
		if none := must(r.GetActivityTask(r.ctx, &sdk.GetActivityTaskInput{ActivityArn: &a})); none.TaskToken != nil {
			t.Error("a task came twice")
		}
	})
}

func TestChildExecutions(t *testing.T) {
	for _, c := range []struct{ name, resource, output string }{
		{"sync", "startExecution.sync", `$.Output`},
		{"sync:2", "startExecution.sync:2", `$.Output.r`},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				child := r.machine(states(`"A":{"Type":"Wait","Seconds":100,"Next":"P"},"P":{"Type":"Pass","Result":{"r":"done"},"End":true}`))
				arn := r.start(states(`"A":{"Type":"Task","Resource":"arn:aws:states:::states:`+c.resource+`","Parameters":{"StateMachineArn":"`+child+`","Input":{"x.$":"$.x"}},"OutputPath":"`+c.output+`","End":true}`), `{"x":1}`)
				time.Sleep(50 * time.Second)
				r.stop() // in the middle: it waits again for the same child
				r.boot()
				d := r.end(arn)
				want := map[string]string{"sync": `"{\"r\":\"done\"}"`, "sync:2": `"done"`}[c.name]
				if deref(d.Output) != want {
					t.Errorf("%s %s %s", d.Status, deref(d.Output), deref(d.Cause))
				}
				if n := len(must(r.ListExecutions(r.ctx, &sdk.ListExecutionsInput{StateMachineArn: &child})).Executions); n != 1 {
					t.Errorf("%d children", n)
				}
			})
		})
	}
}

func TestChildFails(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		child := r.machine(states(`"A":{"Type":"Fail","Error":"E"}`))
		d := r.end(r.start(states(`"A":{"Type":"Task","Resource":"arn:aws:states:::states:startExecution.sync:2","Parameters":{"StateMachineArn":"`+child+`"},"End":true}`), `{}`))
		if deref(d.Error) != "States.TaskFailed" || !strings.Contains(deref(d.Cause), `"Error":"E"`) {
			t.Errorf("%s %s", deref(d.Error), deref(d.Cause))
		}
	})
}
