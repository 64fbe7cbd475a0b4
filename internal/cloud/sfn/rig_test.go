package sfn

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const (
	account = "123456789012"
	roleARN = "arn:aws:iam::123456789012:role/workflow"
	fn      = "arn:aws:lambda:us-east-1:123456789012:function:f"
)

// A rig is the service with the rest of the cloud played by functions.
type rig struct {
	*Service
	t    *testing.T
	ctx  context.Context
	db   store.DB
	mux  *wire.Mux
	stop func()

	mu     sync.Mutex
	calls  []string // "service.Op input"
	logs   []string
	noRole bool
	// slowLog is how long CloudWatch Logs takes.
	slowLog time.Duration
	// invoke plays a function, api any other operation.
	invoke func(ctx context.Context, payload string) (answer, functionError string, err error)
	api    func(ctx context.Context, service, op, in string) (string, error)
}

// Call implements [wire.Caller].
func (r *rig) Call(ctx context.Context, as wire.As, in any) (any, error) {
	switch in := in.(type) {
	case *sts.AssumeRoleInput:
		if r.noRole {
			return nil, wire.Errorf("AccessDenied", "not authorized")
		}
		return &sts.AssumeRoleOutput{AssumedRoleUser: &ststypes.AssumedRoleUser{
			Arn: new("arn:aws:sts::" + account + ":assumed-role/workflow/" + *in.RoleSessionName), AssumedRoleId: new("AROA:s"),
		}}, nil
	case *lambda.InvokeInput:
		r.note("lambda.Invoke " + string(in.Payload))
		answer, failure, err := r.invoke(ctx, string(in.Payload))
		if err != nil {
			return nil, err
		}
		return &lambda.InvokeOutput{StatusCode: 200, ExecutedVersion: new("1"), Payload: []byte(answer), FunctionError: optional(failure)}, nil
	case *cloudwatchlogs.DescribeResourcePoliciesInput:
		return &cloudwatchlogs.DescribeResourcePoliciesOutput{}, nil
	case *cloudwatchlogs.PutResourcePolicyInput:
		return &cloudwatchlogs.PutResourcePolicyOutput{}, nil
	case *cloudwatchlogs.PutLogEventsInput:
		time.Sleep(r.slowLog)
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range in.LogEvents {
			r.logs = append(r.logs, as.Principal.Service+" "+*e.Message)
		}
		return &cloudwatchlogs.PutLogEventsOutput{}, nil
	}
	return r.mux.Call(ctx, as, in)
}

// CallJSON implements [wire.Caller].
func (r *rig) CallJSON(ctx context.Context, as wire.As, service, op string, in []byte) ([]byte, error) {
	if service == "states" {
		return r.mux.CallJSON(ctx, as, service, op, in)
	}
	if as.Principal.RoleARN != roleARN {
		return nil, fmt.Errorf("called as %+v", as.Principal)
	}
	r.note(service + "." + op + " " + string(in))
	out, err := r.api(ctx, service, op, string(in))
	return []byte(out), err
}

func (r *rig) note(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, s)
}

func (r *rig) called() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.calls...)
}

// bubble runs f in virtual time with a service on a memory store.
func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, db: store.Memory()}
		r.invoke = func(context.Context, string) (string, string, error) { return `{}`, "", nil }
		r.api = func(context.Context, string, string, string) (string, error) { return `{}`, nil }
		r.ctx = wire.WithCall(t.Context(), &wire.Call{Service: "states", Region: "us-east-1", Account: account})
		r.boot()
		defer func() { r.stop() }()
		f(t, r)
	})
}

// boot starts the service on the store as it is, as a new process does.
func (r *rig) boot() {
	log := slog.New(slog.DiscardHandler)
	q := event.NewQueue(r.db, log)
	r.mux = wire.NewMux(wire.Options{Account: account, Log: log})
	r.Service = New(Options{DB: r.db, Tasks: q, Caller: r, Log: log, Account: account})
	r.Register(r.mux, q)
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := q.Run(ctx); err != nil {
			r.t.Error(err)
		}
	}()
	r.stop = func() { cancel(); <-done }
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// machine makes a state machine of one or more states and returns its ARN.
func (r *rig) machine(definition string) string {
	r.t.Helper()
	out, err := r.CreateStateMachine(r.ctx, &sdk.CreateStateMachineInput{
		Name: new("m" + r.uuid()[:8]), Definition: &definition, RoleArn: new(roleARN),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return *out.StateMachineArn
}

// start starts an execution of a new machine.
func (r *rig) start(definition, input string) string {
	r.t.Helper()
	return *must(r.StartExecution(r.ctx, &sdk.StartExecutionInput{StateMachineArn: new(r.machine(definition)), Input: &input})).ExecutionArn
}

// end waits for an execution's end.
func (r *rig) end(arn string) *sdk.DescribeExecutionOutput {
	r.t.Helper()
	for range 100 {
		d := must(r.DescribeExecution(r.ctx, &sdk.DescribeExecutionInput{ExecutionArn: &arn}))
		if d.Status != types.ExecutionStatusRunning {
			return d
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
	}
	r.t.Fatalf("the execution does not end; history: %s", strings.Join(r.history(arn), " "))
	return nil
}

// history is an execution's events as "Type<previous".
func (r *rig) history(arn string) (all []string) {
	r.t.Helper()
	for _, e := range r.events(arn) {
		all = append(all, fmt.Sprintf("%s<%d", e.Type, e.PreviousEventId))
	}
	return all
}

func (r *rig) events(arn string) (all []types.HistoryEvent) {
	r.t.Helper()
	p := sdk.NewGetExecutionHistoryPaginator(direct{r}, &sdk.GetExecutionHistoryInput{ExecutionArn: &arn, MaxResults: 3})
	for p.HasMorePages() {
		all = append(all, must(p.NextPage(r.ctx)).Events...)
	}
	for i, e := range all {
		if e.Id != int64(i+1) {
			r.t.Errorf("event %d has id %d", i+1, e.Id)
		}
	}
	return all
}

// direct lets the SDK's paginators call the service's methods.
type direct struct{ r *rig }

func (d direct) GetExecutionHistory(ctx context.Context, in *sdk.GetExecutionHistoryInput, _ ...func(*sdk.Options)) (*sdk.GetExecutionHistoryOutput, error) {
	return d.r.Service.GetExecutionHistory(ctx, in)
}

func (d direct) ListExecutions(ctx context.Context, in *sdk.ListExecutionsInput, _ ...func(*sdk.Options)) (*sdk.ListExecutionsOutput, error) {
	return d.r.Service.ListExecutions(ctx, in)
}

// states makes a definition that begins with state A.
func states(s string) string { return `{"StartAt":"A","States":{` + s + `}}` }

func sameJSON(t *testing.T, got *string, want string) {
	t.Helper()
	if got == nil {
		t.Fatalf("nothing, want %s", want)
	}
	var a, b any
	if err := json.Unmarshal([]byte(*got), &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("got %s want %s", *got, want)
	}
}
