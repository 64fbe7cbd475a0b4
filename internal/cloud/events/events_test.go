package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A rig is the service with queues, state machines and roles that note what they get.
type rig struct {
	*Service
	t   *testing.T
	ctx context.Context

	mu      sync.Mutex
	got     []string // "queue: body", "machine: input"
	names   []string // of executions
	letters []*sqs.SendMessageInput
	tries   int
	fail    func(what string, n int) error
	trusted func(role string) bool
}

func (r *rig) note(what, body string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	if r.fail != nil {
		if err := r.fail(what, r.tries); err != nil {
			return err
		}
	}
	r.got = append(r.got, what+": "+body)
	return nil
}

func newRig(t *testing.T) *rig {
	t.Helper()
	db := store.Memory()
	log := slog.New(slog.DiscardHandler)
	q := event.NewQueue(db, log)
	m := wire.NewMux(wire.Options{Account: "000000000000"})
	r := &rig{Service: New(Options{DB: db, Tasks: q, Caller: m, Log: log, Account: "000000000000"}), t: t, trusted: func(string) bool { return true }}
	r.Register(m, q)
	wire.Handle(m.API(wire.API{Service: "sqs", Target: "AmazonSQS"}), func(_ context.Context, in *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
		err := r.note((*in.QueueUrl)[strings.LastIndexByte(*in.QueueUrl, '/')+1:], *in.MessageBody)
		if err == nil {
			r.letters = append(r.letters, in)
		}
		return &sqs.SendMessageOutput{}, err
	})
	wire.Handle(m.API(wire.API{Service: "states", Target: "AWSStepFunctions"}), func(ctx context.Context, in *sfn.StartExecutionInput) (*sfn.StartExecutionOutput, error) {
		r.names = append(r.names, *in.Name+" as "+wire.CallOf(ctx).Principal.ARN)
		return &sfn.StartExecutionOutput{}, r.note("machine", *in.Input)
	})
	wire.Handle(m.API(wire.API{Service: "codepipeline", Target: "CodePipeline_20150709", LowerFirst: true}), func(ctx context.Context, in *codepipeline.StartPipelineExecutionInput) (*codepipeline.StartPipelineExecutionOutput, error) {
		for _, o := range in.SourceRevisions {
			*in.Name += " " + *o.ActionName + "=" + *o.RevisionValue
		}
		r.names = append(r.names, *in.ClientRequestToken+" as "+wire.CallOf(ctx).Principal.ARN)
		return &codepipeline.StartPipelineExecutionOutput{}, r.note("pipeline", *in.Name)
	})
	wire.Handle(m.API(wire.API{Service: "sts", Protocol: wire.Query}), func(_ context.Context, in *sts.AssumeRoleInput) (*sts.AssumeRoleOutput, error) {
		if !r.trusted(*in.RoleArn) {
			return nil, wire.Errorf("AccessDenied", "not authorized to perform: sts:AssumeRole")
		}
		return &sts.AssumeRoleOutput{AssumedRoleUser: &ststypes.AssumedRoleUser{Arn: new("session of " + *in.RoleArn), AssumedRoleId: new("AROA:s")}}, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := q.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	r.ctx = wire.WithCall(t.Context(), &wire.Call{Service: "events", Region: "us-east-1", Account: "000000000000"})
	return r
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

const queueARN = "arn:aws:sqs:us-east-1:000000000000:"

func (r *rig) rule(pattern string, targets ...types.Target) {
	must(r.CreateEventBus(r.ctx, &sdk.CreateEventBusInput{Name: new("b")}))
	must(r.PutRule(r.ctx, &sdk.PutRuleInput{Name: new("r"), EventBusName: new("b"), EventPattern: &pattern}))
	must(r.PutTargets(r.ctx, &sdk.PutTargetsInput{Rule: new("r"), EventBusName: new("b"), Targets: targets}))
}

func (r *rig) put(source, detail string) *sdk.PutEventsOutput {
	return must(r.PutEvents(r.ctx, &sdk.PutEventsInput{Entries: []types.PutEventsRequestEntry{{EventBusName: new("b"), Source: &source, DetailType: new("d"), Detail: &detail}}}))
}

func (r *rig) expect(want ...string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	got := slices.Sorted(slices.Values(r.got))
	if !slices.Equal(got, want) {
		r.t.Errorf("delivered %q, want %q", got, want)
	}
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestMatchingEventsReachTheirTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.rule(`{"source":["shop"],"detail":{"n":[{"numeric":[">",1]}]}}`, types.Target{Id: new("q"), Arn: new(queueARN + "q"), InputPath: new("$.detail")})
		r.put("shop", `{"z":"<&>", "n":2, "a":1.0}`)
		r.put("shop", `{"n":1}`)
		r.put("other", `{"n":2}`)
		r.expect(`q: {"z":"<&>","n":2,"a":1.0}`) // in its own order and letters
	})
}

func TestEnvelope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.rule(`{"source":["shop"]}`, types.Target{Id: new("q"), Arn: new(queueARN + "q")})
		out := r.put("shop", `{"a":"<b>"}`)
		synctest.Wait()
		var e map[string]any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(r.got[0], "q: ")), &e); err != nil {
			t.Fatal(err)
		}
		if e["id"] != *out.Entries[0].EventId || e["version"] != "0" || e["detail-type"] != "d" || e["account"] != "000000000000" || e["time"] != "2000-01-01T00:00:00Z" || len(e["resources"].([]any)) != 0 {
			t.Errorf("%v", e)
		}
	})
}

func TestStateMachineIsStartedOnceAsTheRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.rule(`{"source":["shop"]}`, types.Target{Id: new("m"), Arn: new("arn:aws:states:us-east-1:000000000000:stateMachine:m"), RoleArn: new("arn:aws:iam::000000000000:role/r"), InputPath: new("$.detail")})
		r.fail = func(_ string, n int) error {
			if n == 1 {
				return &sfntypes.ExecutionAlreadyExists{Message: new("Execution Already Exists")}
			}
			return nil
		}
		out := r.put("shop", `{"a":1}`)
		r.expect() // it was there already: delivered, and no dead letter
		if len(r.names) != 1 || !strings.HasPrefix(r.names[0], *out.Entries[0].EventId+"_") || !strings.HasSuffix(r.names[0], "as session of arn:aws:iam::000000000000:role/r") {
			t.Errorf("%q", r.names)
		}
	})
}

func TestPipelineIsStartedOnceAsTheRole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.rule(`{"source":["repository"]}`, types.Target{
			Id: new("p"), Arn: new("arn:aws:codepipeline:us-east-1:000000000000:p"), RoleArn: new("arn:aws:iam::000000000000:role/r"),
			InputTransformer: &types.InputTransformer{
				InputPathsMap: map[string]string{"c": "$.detail.commit"},
				InputTemplate: new(`{"sourceRevisions":[{"actionName":"Source","revisionType":"COMMIT_ID","revisionValue":"<c>"}]}`),
			},
		})
		r.fail = func(_ string, n int) error {
			if n == 1 {
				return &wire.Error{Code: "InternalFailure", Message: "boom", Server: true}
			}
			return nil
		}
		out := r.put("repository", `{"commit":"abc"}`)
		time.Sleep(time.Minute)
		r.expect("pipeline: p Source=abc")
		if len(r.names) != 2 || r.names[0] != r.names[1] || !strings.HasPrefix(r.names[0], *out.Entries[0].EventId+"-") || !strings.HasSuffix(r.names[0], "as session of arn:aws:iam::000000000000:role/r") {
			t.Errorf("%q", r.names)
		}
	})
}

func TestRetriesThenDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.fail = func(what string, _ int) error {
			if what == "q" {
				return &wire.Error{Code: "InternalError", Message: "boom", Server: true}
			}
			return nil
		}
		r.rule(`{"source":["shop"]}`, types.Target{
			Id: new("q"), Arn: new(queueARN + "q"), Input: new(`"fixed"`), RetryPolicy: &types.RetryPolicy{MaximumRetryAttempts: new(int32(3)), MaximumEventAgeInSeconds: new(int32(3600))},
			DeadLetterConfig: &types.DeadLetterConfig{Arn: new(queueARN + "dlq")},
		})
		r.put("shop", `{}`)
		time.Sleep(time.Minute)
		synctest.Wait()
		if r.tries != 5 || len(r.letters) != 1 {
			t.Fatalf("%d tries, letters %v", r.tries, r.got)
		}
		a := r.letters[0].MessageAttributes
		for name, want := range map[string]string{
			"RULE_ARN": "arn:aws:events:us-east-1:000000000000:rule/b/r", "TARGET_ARN": queueARN + "q", "ERROR_CODE": "INTERNAL_ERROR", "ERROR_MESSAGE": "boom",
			"EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts", "RETRY_ATTEMPTS": "3",
		} {
			if got := *a[name].StringValue; got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	})
}

func TestRefusalsAreNotRetried(t *testing.T) {
	for name, tc := range map[string]struct {
		target types.Target
		fail   error
		code   string
	}{
		"no permission": {types.Target{Id: new("q"), Arn: new(queueARN + "q")}, wire.Errorf("AccessDenied", "no"), "NO_PERMISSIONS"},
		"gone":          {types.Target{Id: new("q"), Arn: new(queueARN + "q")}, wire.Errorf("QueueDoesNotExist", "no"), "NO_RESOURCE"},
		"role":          {types.Target{Id: new("m"), Arn: new("arn:aws:states:us-east-1:000000000000:stateMachine:m"), RoleArn: new("arn:aws:iam::000000000000:role/r")}, nil, "FAILED_TO_ASSUME_ROLE"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.fail = func(what string, _ int) error {
					if what == "dlq" {
						return nil
					}
					return tc.fail
				}
				tc.target.DeadLetterConfig = &types.DeadLetterConfig{Arn: new(queueARN + "dlq")}
				r.rule(`{"source":["shop"]}`, tc.target)
				r.trusted = func(string) bool { return false } // from now on
				r.put("shop", `{}`)
				synctest.Wait()
				if len(r.letters) != 1 || *r.letters[0].MessageAttributes["ERROR_CODE"].StringValue != tc.code {
					t.Errorf("%v", r.letters)
				}
			})
		})
	}
}

func TestInputTransformer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.rule(`{"source":["shop"]}`, types.Target{Id: new("q"), Arn: new(queueARN + "q"), InputTransformer: &types.InputTransformer{
			InputPathsMap: map[string]string{"who": "$.detail.who", "list": "$.detail.list", "none": "$.detail.none", "second": "$.detail.list[1]"},
			InputTemplate: new(`{"text":"hello <who>, <list>","list":<list>,"second":<second>,"rule":"<aws.events.rule-name>","gone":"<none>"}`),
		}})
		r.put("shop", `{"who":"A \"B\"","list":[1,{"b":2,"a":"<"}]}`)
		r.expect(`q: {"text":"hello A \"B\", [1,{\"b\":2,\"a\":\"<\"}]","list":[1,{"b":2,"a":"<"}],"second":{"a":"<","b":2},"rule":"r","gone":""}`)
	})
}

func TestEntryErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.rule(`{"source":["shop"]}`, types.Target{Id: new("q"), Arn: new(queueARN + "q"), InputPath: new("$.detail")})
		e := func(source, detail, bus string) types.PutEventsRequestEntry {
			return types.PutEventsRequestEntry{Source: &source, DetailType: new("d"), Detail: &detail, EventBusName: &bus}
		}
		out := must(r.PutEvents(r.ctx, &sdk.PutEventsInput{Entries: []types.PutEventsRequestEntry{
			e("shop", `{"ok":1}`, "b"), e("", "{}", "b"), e("shop", "{", "b"), e("shop", "[]", "b"), e("aws.ec2", "{}", "b"), e("shop", "{}", "none"),
		}}))
		var got []string
		for _, x := range out.Entries {
			if x.ErrorCode != nil {
				got = append(got, *x.ErrorCode)
			}
		}
		if want := []string{"InvalidArgument", "MalformedDetail", "MalformedDetail", "NotAuthorizedForSourceException", "ResourceNotFoundException"}; !slices.Equal(got, want) || out.FailedEntryCount != 5 {
			t.Errorf("%q, %d failed", got, out.FailedEntryCount)
		}
		r.expect(`q: {"ok":1}`)
	})
}

func TestScheduledRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		must(r.PutRule(r.ctx, &sdk.PutRuleInput{Name: new("r"), ScheduleExpression: new("rate(5 minutes)")}))
		must(r.PutTargets(r.ctx, &sdk.PutTargetsInput{Rule: new("r"), Targets: []types.Target{{Id: new("q"), Arn: new(queueARN + "q"), Input: new(`"tick"`)}}}))
		time.Sleep(11 * time.Minute)
		r.expect(`q: "tick"`, `q: "tick"`)
		must(r.DisableRule(r.ctx, &sdk.DisableRuleInput{Name: new("r")}))
		time.Sleep(time.Hour)
		r.expect(`q: "tick"`, `q: "tick"`)
	})
}

func TestCron(t *testing.T) {
	at := func(s string) time.Time { return must(time.Parse(time.RFC3339, s)) }
	for _, tc := range []struct{ expr, now, want string }{
		{"cron(0 10 * * ? *)", "2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z"},
		{"cron(0/15 * * * ? *)", "2026-11-23T10:14:59Z", "2026-11-23T10:15:00Z"},
		{"cron(0 8 1 * ? *)", "2026-12-01T08:00:00Z", "2027-01-01T08:00:00Z"},
		{"cron(30 6 ? * MON-FRI *)", "2026-11-20T07:00:00Z", "2026-11-23T06:30:00Z"},
		{"cron(0 0 29 2 ? *)", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"cron(0 0 L * ? *)", "2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z"},
		{"cron(0 0 LW * ? *)", "2026-02-01T00:00:00Z", "2026-02-27T00:00:00Z"},
		{"cron(0 0 1W * ? *)", "2026-07-31T00:00:00Z", "2026-08-03T00:00:00Z"},
		{"cron(0 0 31W * ? *)", "2026-02-01T00:00:00Z", "2026-03-31T00:00:00Z"},
		{"cron(0 0 ? * 3#2 *)", "2026-11-01T00:00:00Z", "2026-11-10T00:00:00Z"},
		{"cron(0 0 ? * FRIL *)", "2026-11-01T00:00:00Z", "2026-11-27T00:00:00Z"},
		{"cron(0 0 ? * L *)", "2026-11-23T00:00:00Z", "2026-11-28T00:00:00Z"},
		{"cron(0 0 ? * MON,5L *)", "2026-11-24T00:00:00Z", "2026-11-26T00:00:00Z"},
		{"cron(0 0 1 1 ? 2030)", "2031-01-01T00:00:00Z", "0001-01-01T00:00:00Z"},
	} {
		s, err := parseSchedule(tc.expr)
		if err != nil {
			t.Errorf("%s: %v", tc.expr, err)
			continue
		}
		if got := s.next(at(tc.now)); !got.Equal(at(tc.want)) {
			t.Errorf("%s after %s: %s, want %s", tc.expr, tc.now, got, tc.want)
		}
	}
	for _, bad := range []string{"rate(1 minutes)", "rate(2 minute)", "rate(0 minutes)", "cron(* * * * *)", "cron(0 0 1 1 1 *)", "cron(60 0 1 1 ? *)", "cron(0 0 ? * 3#6 *)", "cron(0 0 0W * ? *)", "cron(0 0 ? * 8L *)", "cron(0 0 ? * X#1 *)", "at(2030-01-01)", ""} {
		if _, err := parseSchedule(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestControlPlaneRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.rule(`{"source":["shop"]}`, types.Target{Id: new("q"), Arn: new(queueARN + "q")})
		b := new("b")
		r.trusted = func(string) bool { return false }
		target := func(id, arn string, role *string) error {
			return last(r.PutTargets(r.ctx, &sdk.PutTargetsInput{Rule: new("r"), EventBusName: b, Targets: []types.Target{{Id: &id, Arn: &arn, RoleArn: role}}}))
		}
		for name, tc := range map[string]struct {
			err  error
			want string
		}{
			"bus exists":      {last(r.CreateEventBus(r.ctx, &sdk.CreateEventBusInput{Name: b})), "ResourceAlreadyExistsException"},
			"bus has rules":   {last(r.DeleteEventBus(r.ctx, &sdk.DeleteEventBusInput{Name: b})), "ValidationException"},
			"default bus":     {last(r.DeleteEventBus(r.ctx, &sdk.DeleteEventBusInput{Name: new("default")})), "ValidationException"},
			"has targets":     {last(r.DeleteRule(r.ctx, &sdk.DeleteRuleInput{Name: new("r"), EventBusName: b})), "ValidationException"},
			"no bus":          {last(r.PutRule(r.ctx, &sdk.PutRuleInput{Name: new("r"), EventBusName: new("x"), EventPattern: new(`{"a":["b"]}`)})), "ResourceNotFoundException"},
			"no rule":         {last(r.PutTargets(r.ctx, &sdk.PutTargetsInput{Rule: new("x"), EventBusName: b, Targets: []types.Target{{Id: new("q"), Arn: new(queueARN + "q")}}})), "ResourceNotFoundException"},
			"bad pattern":     {last(r.PutRule(r.ctx, &sdk.PutRuleInput{Name: new("s"), EventBusName: b, EventPattern: new(`{"a":"b"}`)})), "InvalidEventPatternException"},
			"nothing":         {last(r.PutRule(r.ctx, &sdk.PutRuleInput{Name: new("s"), EventBusName: b})), "ValidationException"},
			"role missing":    {last(r.PutTargets(r.ctx, &sdk.PutTargetsInput{Rule: new("r"), EventBusName: b, Targets: []types.Target{{Id: new("m"), Arn: new("arn:aws:states:us-east-1:000000000000:stateMachine:m")}}})), "ValidationException"},
			"role untrusting": {target("m", "arn:aws:states:us-east-1:000000000000:stateMachine:m", new("arn:aws:iam::000000000000:role/r")), "ValidationException"},
			"no log group":    {target("l", "arn:aws:logs:us-east-1:000000000000:x", nil), "ValidationException"},
			"empty group":     {target("l", "arn:aws:logs:us-east-1:000000000000:log-group:", nil), "ValidationException"},
			"unknown target":  {target("l", "arn:aws:ec2:us-east-1:000000000000:instance/i", nil), "ValidationException"},
			"schedule there":  {last(r.PutRule(r.ctx, &sdk.PutRuleInput{Name: new("s"), EventBusName: b, ScheduleExpression: new("rate(1 minute)")})), "ValidationException"},
		} {
			if got := code(tc.err); got != tc.want {
				t.Errorf("%s: got %s, want %s", name, got, tc.want)
			}
		}
		if out := must(r.RemoveTargets(r.ctx, &sdk.RemoveTargetsInput{Rule: new("r"), EventBusName: b, Ids: []string{"q", "none"}})); out.FailedEntryCount != 1 || *out.FailedEntries[0].TargetId != "none" {
			t.Errorf("%+v", out)
		}
		must(r.DeleteRule(r.ctx, &sdk.DeleteRuleInput{Name: new("r"), EventBusName: b}))
		must(r.DeleteRule(r.ctx, &sdk.DeleteRuleInput{Name: new("r"), EventBusName: b}))
		must(r.DeleteEventBus(r.ctx, &sdk.DeleteEventBusInput{Name: b}))
	})
}

func last[T any](_ T, err error) error { return err }
