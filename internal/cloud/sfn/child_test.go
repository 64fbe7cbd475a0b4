package sfn

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
)

// parent starts an execution that waits for one of the child machine, and
// returns both.
func (r *rig) parent(child, fields string) (parent, started string) {
	r.t.Helper()
	machine := r.machine(child)
	parent = r.start(states(fmt.Sprintf(`"A":{"Type":"Task","Resource":"arn:aws:states:::states:startExecution.sync:2",
		"Parameters":{"StateMachineArn":"%s","Input":{"n":1}}%s}`, machine, fields)), `{}`)
	synctest.Wait()
	l := must(r.ListExecutions(r.ctx, &sdk.ListExecutionsInput{StateMachineArn: &machine}))
	if len(l.Executions) != 1 {
		r.t.Fatalf("%d children", len(l.Executions))
	}
	return parent, *l.Executions[0].ExecutionArn
}

const anHour = `{"StartAt":"W","States":{"W":{"Type":"Wait","Seconds":3600,"End":true}}}`

func TestChildIsAwaited(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		parent, child := r.parent(anHour, `,"OutputPath":"$.Output","End":true`)
		d := r.end(parent)
		sameJSON(t, d.Output, `{"n":1}`)
		if took := d.StopDate.Sub(*d.StartDate); took != time.Hour {
			t.Errorf("took %v", took)
		}
		if c := r.end(child); c.Status != types.ExecutionStatusSucceeded {
			t.Errorf("child %s", c.Status)
		}
	})
}

func TestChildIsAwaitedAfterRestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		parent, child := r.parent(anHour, `,"OutputPath":"$.Output","End":true`)
		r.stop()
		r.boot()
		sameJSON(t, r.end(parent).Output, `{"n":1}`)
		if c := r.end(child); c.Status != types.ExecutionStatusSucceeded {
			t.Errorf("child %s", c.Status)
		}
	})
}

// A child does not outlive those who wait for it, nor do they wait for it when
// they are over themselves.
func TestChildEndsWithItsParent(t *testing.T) {
	for name, c := range map[string]struct {
		fields string
		stop   bool
		status types.ExecutionStatus
	}{
		"stopped":                   {`,"End":true`, true, types.ExecutionStatusAborted},
		"task timed out":            {`,"TimeoutSeconds":60,"End":true`, false, types.ExecutionStatusFailed},
		"task timed out and caught": {`,"TimeoutSeconds":60,"Catch":[{"ErrorEquals":["States.Timeout"],"Next":"B"}],"Next":"B"},"B":{"Type":"Succeed"`, false, types.ExecutionStatusSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				parent, child := r.parent(anHour, c.fields)
				if c.stop {
					must(r.StopExecution(r.ctx, &sdk.StopExecutionInput{ExecutionArn: &parent}))
				}
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if d := must(r.DescribeExecution(r.ctx, &sdk.DescribeExecutionInput{ExecutionArn: &parent})); d.Status != c.status {
					t.Errorf("parent %s", d.Status)
				}
				if d := must(r.DescribeExecution(r.ctx, &sdk.DescribeExecutionInput{ExecutionArn: &child})); d.Status != types.ExecutionStatusAborted {
					t.Errorf("child %s", d.Status)
				}
			})
		})
	}
}
