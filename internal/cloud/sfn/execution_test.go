package sfn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/wire"
)

const waits = `"A":{"Type":"Wait","Seconds":100,"End":true}`

func TestStartIsIdempotentByName(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		m := r.machine(states(waits))
		start := func(input string) (*sdk.StartExecutionOutput, error) {
			return r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: &m, Name: new("n"), Input: &input})
		}
		one := must(start(`{}`))
		time.Sleep(time.Second)
		again := must(start(`{}`))
		if *one.ExecutionArn != *again.ExecutionArn || !one.StartDate.Equal(*again.StartDate) {
			t.Errorf("%v %v", one, again)
		}
		exists := func(err error) {
			t.Helper()
			if e, ok := errors.AsType[*types.ExecutionAlreadyExists](err); !ok || *e.Message != "Execution Already Exists: '"+*one.ExecutionArn+"'" {
				t.Error(err)
			}
		}
		_, err := start(`{"other":1}`)
		exists(err)
		r.end(*one.ExecutionArn)
		_, err = start(`{}`)
		exists(err)
	})
}

func TestStartRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		m := r.machine(states(waits))
		for _, c := range []struct{ name, machine, execution, input, want string }{
			{"no JSON", m, "n", `{`, "InvalidExecutionInput"},
			{"bad name", m, "a b", `{}`, "InvalidName"},
			{"no machine", m + "x", "n", `{}`, "StateMachineDoesNotExist"},
			{"no ARN", "m", "n", `{}`, "InvalidArn"},
			{"another thing's ARN", "arn:aws:states:us-east-1:" + account + ":activity:a", "n", `{}`, "InvalidArn"},
		} {
			_, err := r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: &c.machine, Name: &c.execution, Input: &c.input})
			if code(err) != c.want {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
}

func code(err error) string {
	if e, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err); ok {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestStop(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		arn := r.start(states(waits), `{}`)
		synctest.Wait()
		must(r.StopExecution(r.ctx, &sdk.StopExecutionInput{ExecutionArn: &arn, Error: new("E"), Cause: new("c")}))
		d := must(r.DescribeExecution(r.ctx, &sdk.DescribeExecutionInput{ExecutionArn: &arn}))
		if d.Status != types.ExecutionStatusAborted || *d.Error != "E" || *d.Cause != "c" || d.StopDate == nil {
			t.Errorf("%+v", d)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if h := strings.Join(r.history(arn), " "); h != "ExecutionStarted<0 WaitStateEntered<0 ExecutionAborted<2" {
			t.Error(h)
		}
		again := must(r.StopExecution(r.ctx, &sdk.StopExecutionInput{ExecutionArn: &arn}))
		if !again.StopDate.Equal(*d.StopDate) {
			t.Error("stopped twice")
		}
	})
}

func TestListNewestFirstByStatus(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		m := r.machine(states(`"A":{"Type":"Choice","Choices":[{"Variable":"$","NumericEquals":1,"Next":"F"}],"Default":"W"},"F":{"Type":"Fail"},"W":{"Type":"Wait","Seconds":1000,"End":true}`))
		for i := range 5 {
			must(r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: &m, Name: new(fmt.Sprintf("n%d", i)), Input: new(fmt.Sprint(i % 2))}))
			time.Sleep(time.Second)
		}
		list := func(status types.ExecutionStatus) (names []string) {
			p := sdk.NewListExecutionsPaginator(direct{r}, &sdk.ListExecutionsInput{StateMachineArn: &m, StatusFilter: status, MaxResults: 2})
			for p.HasMorePages() {
				for _, e := range must(p.NextPage(r.ctx)).Executions {
					names = append(names, *e.Name)
				}
			}
			return names
		}
		for status, want := range map[types.ExecutionStatus][]string{
			"": {"n4", "n3", "n2", "n1", "n0"}, "RUNNING": {"n4", "n2", "n0"}, "FAILED": {"n3", "n1"}, "SUCCEEDED": nil,
		} {
			if got := list(status); !slices.Equal(got, want) {
				t.Errorf("%q: %v", status, got)
			}
		}
		_, err := r.ListExecutions(r.ctx, &sdk.ListExecutionsInput{StateMachineArn: &m, NextToken: new("bm8")})
		if code(err) != "InvalidToken" {
			t.Error(err)
		}
	})
}

func TestHistoryReverseAndWithoutData(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		arn := r.start(states(`"A":{"Type":"Pass","End":true}`), `{"secret":1}`)
		r.end(arn)
		var ids []int64
		in := &sdk.GetExecutionHistoryInput{ExecutionArn: &arn, ReverseOrder: true, MaxResults: 3, IncludeExecutionData: new(false)}
		for p := sdk.NewGetExecutionHistoryPaginator(direct{r}, in); p.HasMorePages(); {
			for _, e := range must(p.NextPage(r.ctx)).Events {
				ids = append(ids, e.Id)
				if b, _ := json.Marshal(e); strings.Contains(string(b), "secret") {
					t.Errorf("data in %s", b)
				}
			}
		}
		if !slices.Equal(ids, []int64{4, 3, 2, 1}) {
			t.Error(ids)
		}
	})
}

func TestRedriveOfParallelIsIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		broken := true
		n := 0
		r.api = func(_ context.Context, _, op, _ string) (string, error) {
			if op == "PutItem" {
				n++
				return `{}`, nil
			}
			if broken {
				return "", wire.Errorf("ValidationException", "broken")
			}
			return `{"Item":{}}`, nil
		}
		put := `{"StartAt":"P","States":{"P":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:putItem","Parameters":{},"ResultPath":null,"End":true}}}`
		get := `{"StartAt":"G","States":{"G":{"Type":"Wait","Seconds":1,"Next":"H"},"H":{"Type":"Task","Resource":"arn:aws:states:::dynamodb:getItem","Parameters":{},"OutputPath":"$.Item","End":true}}}`
		arn := r.start(states(`"A":{"Type":"Parallel","End":true,"Branches":[`+put+`,`+get+`]}`), `{"i":1}`)
		d := r.end(arn)
		if d.Status != types.ExecutionStatusFailed || d.RedriveStatus != types.ExecutionRedriveStatusRedrivable {
			t.Fatalf("%s %s", d.Status, d.RedriveStatus)
		}
		broken = false
		one := must(r.RedriveExecution(r.ctx, &sdk.RedriveExecutionInput{ExecutionArn: &arn, ClientToken: new("t")}))
		again := must(r.RedriveExecution(r.ctx, &sdk.RedriveExecutionInput{ExecutionArn: &arn, ClientToken: new("t")}))
		if !one.RedriveDate.Equal(*again.RedriveDate) {
			t.Error("the token was not recognised")
		}
		d = r.end(arn)
		sameJSON(t, d.Output, `[{"i":1},{}]`)
		if n != 1 || *d.RedriveCount != 1 {
			t.Errorf("what had succeeded was done %d times; redriven %d times", n, *d.RedriveCount)
		}
		if _, err := r.RedriveExecution(r.ctx, &sdk.RedriveExecutionInput{ExecutionArn: &arn}); code(err) != "ExecutionNotRedrivable" {
			t.Error(err)
		}
	})
}

func TestDeleteEndsExecutions(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		m := r.machine(states(waits))
		arn := *must(r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: &m})).ExecutionArn
		must(r.PublishStateMachineVersion(r.ctx, &sdk.PublishStateMachineVersionInput{StateMachineArn: &m}))
		synctest.Wait()
		must(r.DeleteStateMachine(r.ctx, &sdk.DeleteStateMachineInput{StateMachineArn: &m}))
		synctest.Wait()
		_, err := r.DescribeStateMachine(r.ctx, &sdk.DescribeStateMachineInput{StateMachineArn: &m})
		if code(err) != "StateMachineDoesNotExist" {
			t.Error(err)
		}
		if _, err := r.DescribeExecution(r.ctx, &sdk.DescribeExecutionInput{ExecutionArn: &arn}); code(err) != "ExecutionDoesNotExist" {
			t.Error(err)
		}
		must(r.DeleteStateMachine(r.ctx, &sdk.DeleteStateMachineInput{StateMachineArn: &m}))
	})
}

func TestCreateIsIdempotent(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		create := func(definition, role string) (*sdk.CreateStateMachineOutput, error) {
			return r.CreateStateMachine(r.ctx, &sdk.CreateStateMachineInput{Name: new("m"), Definition: &definition, RoleArn: &role})
		}
		one := must(create(states(waits), roleARN))
		if two := must(create(states(waits), roleARN+"2")); *two.StateMachineArn != *one.StateMachineArn {
			t.Error("another machine")
		}
		if d := must(r.DescribeStateMachine(r.ctx, &sdk.DescribeStateMachineInput{StateMachineArn: one.StateMachineArn})); *d.RoleArn != roleARN || d.Status != "ACTIVE" {
			t.Errorf("%+v", d)
		}
		if _, err := create(states(`"A":{"Type":"Succeed"}`), roleARN); code(err) != "StateMachineAlreadyExists" {
			t.Error(err)
		}
		if _, err := create(states(`"A":{"Type":"Pass"}`), roleARN); code(err) != "InvalidDefinition" {
			t.Error(err)
		}
		r.noRole = true
		if _, err := create(states(waits), roleARN); code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "authorized to assume the provided role") {
			t.Error(err)
		}
	})
}

func TestUpdateAndVersions(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		m := r.machine(states(`"A":{"Type":"Pass","Result":1,"End":true}`))
		v1 := must(r.PublishStateMachineVersion(r.ctx, &sdk.PublishStateMachineVersionInput{StateMachineArn: &m})).StateMachineVersionArn
		up := must(r.UpdateStateMachine(r.ctx, &sdk.UpdateStateMachineInput{StateMachineArn: &m, Definition: new(states(`"A":{"Type":"Pass","Result":2,"End":true}`)), Publish: true}))
		if *v1 != m+":1" || *up.StateMachineVersionArn != m+":2" || deref(up.RevisionId) == "" {
			t.Errorf("%s %s", *v1, *up.StateMachineVersionArn)
		}
		al := must(r.CreateStateMachineAlias(r.ctx, &sdk.CreateStateMachineAliasInput{Name: new("live"),
			RoutingConfiguration: []types.RoutingConfigurationListItem{{StateMachineVersionArn: v1, Weight: 100}}})).StateMachineAliasArn
		for target, want := range map[string]string{m: "2", *v1: "1", *up.StateMachineVersionArn: "2", *al: "1"} {
			arn := *must(r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: &target})).ExecutionArn
			if d := r.end(arn); deref(d.Output) != want {
				t.Errorf("%s gives %s", target, deref(d.Output))
			}
		}
		if n := len(must(r.ListExecutions(r.ctx, &sdk.ListExecutionsInput{StateMachineArn: al})).Executions); n != 1 {
			t.Errorf("the alias has %d executions", n)
		}
		if _, err := r.DeleteStateMachineVersion(r.ctx, &sdk.DeleteStateMachineVersionInput{StateMachineVersionArn: v1}); code(err) != "ConflictException" {
			t.Error(err)
		}
	})
}

func TestExpressRunsSync(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		m := must(r.CreateStateMachine(r.ctx, &sdk.CreateStateMachineInput{Name: new("x"), Type: "EXPRESS", RoleArn: new(roleARN),
			Definition: new(states(`"A":{"Type":"Wait","Seconds":2,"Next":"B"},"B":{"Type":"Pass","Parameters":{"n.$":"$.n"},"End":true}`))})).StateMachineArn
		out := must(r.StartSyncExecution(r.ctx, &sdk.StartSyncExecutionInput{StateMachineArn: m, Input: new(`{"n":1}`)}))
		sameJSON(t, out.Output, `{"n":1}`)
		if out.Status != "SUCCEEDED" || out.StopDate.Sub(*out.StartDate) != 2*time.Second {
			t.Errorf("%+v", out)
		}
		bad := must(r.StartSyncExecution(r.ctx, &sdk.StartSyncExecutionInput{StateMachineArn: m}))
		if bad.Status != "FAILED" || *bad.Error != "States.Runtime" {
			t.Errorf("%+v", bad)
		}
		if _, err := r.StartSyncExecution(r.ctx, &sdk.StartSyncExecutionInput{StateMachineArn: new(r.machine(states(waits)))}); code(err) != "StateMachineTypeNotSupported" {
			t.Error(err)
		}
	})
}

func TestLogging(t *testing.T) {
	for _, c := range []struct {
		level types.LogLevel
		want  []string
	}{
		{"ALL", []string{"ExecutionStarted", "FailStateEntered", "ExecutionFailed"}},
		{"ERROR", []string{"ExecutionFailed"}},
		{"OFF", nil},
	} {
		t.Run(string(c.level), func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				m := must(r.CreateStateMachine(r.ctx, &sdk.CreateStateMachineInput{Name: new("x"), RoleArn: new(roleARN), Definition: new(states(`"A":{"Type":"Fail","Error":"E"}`)),
					LoggingConfiguration: &types.LoggingConfiguration{Level: c.level, IncludeExecutionData: true, Destinations: []types.LogDestination{
						{CloudWatchLogsLogGroup: &types.CloudWatchLogsLogGroup{LogGroupArn: new("arn:aws:logs:us-east-1:" + account + ":log-group:/aws/vendedlogs/states/x:*")}}}}})).StateMachineArn
				arn := *must(r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: m, Input: new(`{"q":1}`)})).ExecutionArn
				time.Sleep(time.Minute)
				synctest.Wait()
				var got []string
				for _, l := range r.logs {
					principal, text, _ := strings.Cut(l, " ")
					var line struct {
						Type      string         `json:"type"`
						Execution string         `json:"execution_arn"`
						ID        string         `json:"id"`
						Details   map[string]any `json:"details"`
					}
					if err := json.Unmarshal([]byte(text), &line); err != nil || line.Execution != arn || principal != "delivery.logs.amazonaws.com" {
						t.Fatal(l, err)
					}
					if line.Type == "ExecutionStarted" && line.Details["input"] != `{"q":1}` {
						t.Error(text)
					}
					got = append(got, line.Type)
				}
				if !slices.Equal(got, c.want) {
					t.Error(got)
				}
			})
		})
	}
}

func TestTestState(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, c := range []struct{ name, definition, input, want string }{
			{"pass", `{"Type":"Pass","Parameters":{"a.$":"$.b"},"Next":"X"}`, `{"b":1}`, `SUCCEEDED X {"a":1} `},
			{"choice", `{"Type":"Choice","Choices":[{"Variable":"$.b","NumericEquals":1,"Next":"Y"}]}`, `{"b":1}`, `SUCCEEDED Y {"b":1} `},
			{"last", `{"Type":"Succeed"}`, `{}`, `SUCCEEDED  {} `},
			{"fail", `{"Type":"Fail","Error":"E"}`, `{}`, `FAILED   E`},
			{"caught", `{"Type":"Task","Resource":"` + fn + `","Catch":[{"ErrorEquals":["Boom"],"Next":"C","ResultPath":null}],"End":true}`, `{"i":1}`, `CAUGHT_ERROR C {"i":1} Boom`},
			{"retriable", `{"Type":"Task","Resource":"` + fn + `","Retry":[{"ErrorEquals":["Boom"]}],"End":true}`, `{}`, `RETRIABLE   Boom`},
		} {
			r.invoke = func(context.Context, string) (string, string, error) { return `{"errorType":"Boom"}`, "Unhandled", nil }
			out, err := r.TestState(r.ctx, &sdk.TestStateInput{Definition: &c.definition, Input: &c.input, RoleArn: new(roleARN)})
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			if got := fmt.Sprintf("%s %s %s %s", out.Status, deref(out.NextState), deref(out.Output), deref(out.Error)); got != c.want {
				t.Errorf("%s: %s", c.name, got)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		ok := must(r.ValidateStateMachineDefinition(r.ctx, &sdk.ValidateStateMachineDefinitionInput{Definition: new(states(waits))}))
		if ok.Result != "OK" || len(ok.Diagnostics) != 0 {
			t.Errorf("%+v", ok)
		}
		bad := must(r.ValidateStateMachineDefinition(r.ctx, &sdk.ValidateStateMachineDefinitionInput{Definition: new(states(`"A":{"Type":"Task","Resource":"arn:aws:states:::nothing:atAll","End":true}`))}))
		if bad.Result != "FAIL" || *bad.Diagnostics[0].Location != "/States/A/Resource" {
			t.Errorf("%+v", bad)
		}
	})
}

func TestTags(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		m := r.machine(states(waits))
		must(r.TagResource(r.ctx, &sdk.TagResourceInput{ResourceArn: &m, Tags: []types.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}}))
		must(r.UntagResource(r.ctx, &sdk.UntagResourceInput{ResourceArn: &m, TagKeys: []string{"a"}}))
		if got := must(r.Tagged(r.ctx, "us-east-1"))[m]; len(got) != 1 || got["b"] != "2" {
			t.Error(got)
		}
		if _, err := r.ListTagsForResource(r.ctx, &sdk.ListTagsForResourceInput{ResourceArn: new(m + "x")}); code(err) != "ResourceNotFound" {
			t.Error(err)
		}
	})
}
