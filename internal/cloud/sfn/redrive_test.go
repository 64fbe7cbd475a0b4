package sfn

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
)

const getItem = `"Type":"Task","Resource":"arn:aws:states:::dynamodb:getItem","Parameters":{"TableName":"t"}`

func (r *rig) redrive(arn string) error {
	_, err := r.RedriveExecution(r.ctx, &sdk.RedriveExecutionInput{ExecutionArn: &arn})
	return err
}

func TestRedriveGoesOnWhereItFailed(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var broken atomic.Bool
		broken.Store(true)
		r.api = func(context.Context, string, string, string) (string, error) {
			if broken.Load() {
				return "", &ddbtypes.ResourceNotFoundException{Message: new("no table")}
			}
			return `{"ok":1}`, nil
		}
		arn := r.start(states(`"A":{"Type":"Pass","Next":"B"},"B":{`+getItem+`,"ResultPath":null,"End":true}`), `{"n":1}`)
		if d := r.end(arn); d.Status != types.ExecutionStatusFailed || d.RedriveStatus != types.ExecutionRedriveStatusRedrivable {
			t.Fatalf("%s, %s", d.Status, d.RedriveStatus)
		}
		broken.Store(false)
		if err := r.redrive(arn); err != nil {
			t.Fatal(err)
		}
		d := r.end(arn)
		if d.Status != types.ExecutionStatusSucceeded || *d.RedriveCount != 1 || d.Error != nil {
			t.Errorf("%s after %d redrives, error %v", d.Status, *d.RedriveCount, d.Error)
		}
		sameJSON(t, d.Output, `{"n":1}`)
		if h := strings.Join(r.history(arn), " "); strings.Count(h, "PassStateEntered") != 1 || !strings.Contains(h, "ExecutionRedriven") {
			t.Errorf("history %s", h)
		}
		err := r.redrive(arn)
		if _, ok := errors.AsType[*types.ExecutionNotRedrivable](err); !ok {
			t.Errorf("redrive of a success: %v", err)
		}
	})
}

// Iterations that have succeeded are not repeated, others are counted anew.
func TestRedriveOfMap(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var broken atomic.Bool
		broken.Store(true)
		calls := map[string]int{}
		r.api = func(_ context.Context, _, _, in string) (string, error) {
			r.mu.Lock()
			calls[in]++
			r.mu.Unlock()
			if broken.Load() && !strings.Contains(in, "good") {
				return "", &ddbtypes.ResourceNotFoundException{Message: new("no table")}
			}
			return `{}`, nil
		}
		arn := r.start(states(`"A":{"Type":"Map","MaxConcurrency":1,"ToleratedFailureCount":1,"ItemProcessor":{"StartAt":"X","States":{"X":{
			"Type":"Task","Resource":"arn:aws:states:::dynamodb:getItem","Parameters":{"TableName.$":"$"},"ResultSelector":{"one":1},"End":true}}},"End":true}`),
			`["bad1","good1","bad2","good2"]`)
		if d := r.end(arn); d.Status != types.ExecutionStatusFailed || *d.Error != "States.ExceedToleratedFailureThreshold" {
			t.Fatalf("%s", d.Status)
		}
		broken.Store(false)
		if err := r.redrive(arn); err != nil {
			t.Fatal(err)
		}
		d := r.end(arn)
		sameJSON(t, d.Output, `[{"one":1},{"one":1},{"one":1},{"one":1}]`)
		for in, want := range map[string]int{"bad1": 2, "good1": 1, "bad2": 2, "good2": 1} {
			if got := calls[`{"TableName":"`+in+`"}`]; got != want {
				t.Errorf("%s was called %d times, want %d: %v", in, got, want, calls)
			}
		}
	})
}

// A run whose effect is under way when its execution is stopped and redriven
// leaves the execution to the new run.
func TestRedriveAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		release := make(chan struct{})
		r.api = func(context.Context, string, string, string) (string, error) {
			<-release
			return `{}`, nil
		}
		arn := r.start(states(`"A":{`+getItem+`,"End":true}`), `{}`)
		synctest.Wait()
		must(r.StopExecution(r.ctx, &sdk.StopExecutionInput{ExecutionArn: &arn, Error: new("E"), Cause: new("C")}))
		if err := r.redrive(arn); err != nil {
			t.Fatal(err)
		}
		close(release)
		if d := r.end(arn); d.Status != types.ExecutionStatusSucceeded {
			t.Errorf("%s", d.Status)
		}
		want := "ExecutionStarted<0 TaskStateEntered<0 TaskScheduled<2 TaskStarted<3 ExecutionAborted<4 ExecutionRedriven<5 " +
			"TaskStateEntered<6 TaskScheduled<7 TaskStarted<8 TaskSucceeded<9 TaskStateExited<10 ExecutionSucceeded<11"
		if got := strings.Join(r.history(arn), " "); got != want {
			t.Errorf("history\n%s\nwant\n%s", got, want)
		}
	})
}
