package sfn

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
)

// allLogged has all events logged.
var allLogged = &types.LoggingConfiguration{Level: "ALL", IncludeExecutionData: true, Destinations: []types.LogDestination{
	{CloudWatchLogsLogGroup: &types.CloudWatchLogsLogGroup{LogGroupArn: new("arn:aws:logs:us-east-1:" + account + ":log-group:/aws/vendedlogs/states/x:*")}},
}}

// However commits and deliveries fall together, each event is delivered once,
// and soon, also where the execution then does nothing for a day.
func TestLogMissesNothing(t *testing.T) {
	for _, task := range []time.Duration{0, 100 * time.Millisecond, 400 * time.Millisecond, logEvery, 1300 * time.Millisecond} {
		for _, delivery := range []time.Duration{0, 100 * time.Millisecond, 700 * time.Millisecond, 2500 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s task, %s delivery", task, delivery), func(t *testing.T) {
				bubble(t, func(t *testing.T, r *rig) {
					r.invoke = func(context.Context, string) (string, string, error) { time.Sleep(task); return `{}`, "", nil }
					r.slowLog = delivery
					definition := `"Z":{"Type":"Wait","Seconds":86400,"End":true}`
					const tasks = 9
					for i := range tasks {
						definition += fmt.Sprintf(`,"%c":{"Type":"Task","Resource":"%s","Next":"%c"}`, 'A'+i, fn, 'A'+i+1)
					}
					definition = strings.ReplaceAll(states(definition), fmt.Sprintf(`"Next":"%c"`, 'A'+tasks), `"Next":"Z"`)
					m := must(r.CreateStateMachine(r.ctx, &sdk.CreateStateMachineInput{Name: new("x"), RoleArn: new(roleARN), Definition: &definition,
						LoggingConfiguration: allLogged})).StateMachineArn
					arn := *must(r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: m})).ExecutionArn
					time.Sleep(tasks*task + 3*(logEvery+delivery))
					synctest.Wait()
					var want, got []int64
					for _, e := range r.events(arn) {
						want = append(want, e.Id)
					}
					for _, l := range r.logs {
						var line struct {
							ID int64 `json:"id,string"`
						}
						if err := json.Unmarshal([]byte(l[strings.IndexByte(l, ' '):]), &line); err != nil {
							t.Fatal(err)
						}
						got = append(got, line.ID)
					}
					if !slices.Equal(got, want) || len(got) < 3*tasks {
						t.Errorf("logged %v of %v", got, want)
					}
				})
			})
		}
	}
}
