package sfn

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/store"
)

// express makes an express machine that logs all.
func (r *rig) express(definition string) (*string, error) {
	group := "arn:aws:logs:us-east-1:" + account + ":log-group:/aws/vendedlogs/states/x:*"
	out, err := r.CreateStateMachine(r.ctx, &sdk.CreateStateMachineInput{
		Name: new("x"), Type: "EXPRESS", RoleArn: new(roleARN), Definition: &definition,
		LoggingConfiguration: &types.LoggingConfiguration{Level: "ALL", Destinations: []types.LogDestination{
			{CloudWatchLogsLogGroup: &types.CloudWatchLogsLogGroup{LogGroupArn: &group}},
		}},
	})
	if err != nil {
		return nil, err
	}
	return out.StateMachineArn, nil
}

// logTypes are the types of the events that were logged.
func (r *rig) logTypes() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.logs {
		_, after, _ := strings.Cut(l, `"type":"`)
		kind, _, _ := strings.Cut(after, `"`)
		all = append(all, kind)
	}
	return all
}

// rows counts what is left of executions.
func (r *rig) rows() (n int) {
	must(0, r.db.View(func(tx *store.Tx) error {
		for range executions.Range(tx, "", "") {
			n++
		}
		for range histories.Range(tx, "", "") {
			n++
		}
		for range listing.Range(tx, "", "") {
			n++
		}
		for range threadRows.Range(tx, "", "") {
			n++
		}
		for range logged.Range(tx, "", "") {
			n++
		}
		return nil
	}))
	return n
}

func TestExpressLogsAndLeavesNothing(t *testing.T) {
	want := []string{"ExecutionStarted", "PassStateEntered", "PassStateExited", "ExecutionSucceeded"}
	for name, start := range map[string]func(r *rig, m *string) error{
		"sync": func(r *rig, m *string) error {
			_, err := r.StartSyncExecution(r.ctx, &sdk.StartSyncExecutionInput{StateMachineArn: m})
			return err
		},
		"async": func(r *rig, m *string) error {
			_, err := r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: m})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				m := must(r.express(states(`"A":{"Type":"Pass","End":true}`)))
				must(0, start(r, m))
				time.Sleep(time.Minute)
				synctest.Wait()
				if got := r.logTypes(); !slices.Equal(got, want) {
					t.Errorf("logged %v, want %v", got, want)
				}
				if n := r.rows(); n != 0 {
					t.Errorf("%d rows are left", n)
				}
			})
		})
	}
}

func TestExpressTimesOut(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		m := must(r.express(`{"TimeoutSeconds":3600,"StartAt":"A","States":{"A":{"Type":"Wait","Seconds":3000,"End":true}}}`))
		must(r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: m}))
		out := must(r.StartSyncExecution(r.ctx, &sdk.StartSyncExecutionInput{StateMachineArn: m}))
		if took := out.StopDate.Sub(*out.StartDate); out.Status != types.SyncExecutionStatusTimedOut || took != 5*time.Minute {
			t.Errorf("%s after %v", out.Status, took)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		n := 0
		for _, k := range r.logTypes() {
			if k == "ExecutionTimedOut" {
				n++
			}
		}
		if n != 2 {
			t.Errorf("%d executions have timed out: %v", n, r.logTypes())
		}
	})
}

func TestExpressRefusesWhatOutlivesIt(t *testing.T) {
	for name, resource := range map[string]string{
		"token":    "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
		"sync":     "arn:aws:states:::states:startExecution.sync",
		"activity": "arn:aws:states:us-east-1:" + account + ":activity:a",
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				task := states(`"A":{"Type":"Task","Resource":"` + resource + `","Parameters":{},"End":true}`)
				if _, err := r.express(task); code(err) != "InvalidDefinition" {
					t.Errorf("create: %v", err)
				}
				m := must(r.express(states(`"A":{"Type":"Pass","End":true}`)))
				if _, err := r.UpdateStateMachine(r.ctx, &sdk.UpdateStateMachineInput{StateMachineArn: m, Definition: &task}); code(err) != "InvalidDefinition" {
					t.Errorf("update: %v", err)
				}
			})
		})
	}
}
