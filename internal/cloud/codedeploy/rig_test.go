package codedeploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const (
	account = "123456789012"
	roleARN = "arn:aws:iam::123456789012:role/deploy"
	topic   = "arn:aws:sns:us-east-1:123456789012:told"
)

// A rig is the service with one function's alias, and the rest of the cloud
// played by functions.
type rig struct {
	*Service
	t    *testing.T
	ctx  context.Context
	db   store.DB
	stop func()

	mu      sync.Mutex
	version string
	weights map[string]float64
	moves   []string // of the alias
	states  []string // told to the bus
	told    []string // told to the topic
	hooks   []map[string]string
	noRole  bool
	// fault answers a call instead of the cloud, unless it returns nil.
	fault func(in any) error
	// lost has a call take effect, and its answer not arrive.
	lost func(in any) bool
}

// Call implements [wire.Caller].
func (r *rig) Call(_ context.Context, as wire.As, in any) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fault != nil {
		if err := r.fault(in); err != nil {
			return nil, err
		}
	}
	switch in := in.(type) {
	case *sts.AssumeRoleInput:
		if r.noRole || as.Principal.Service != "codedeploy.amazonaws.com" {
			return nil, wire.Errorf("AccessDenied", "not authorized")
		}
		return &sts.AssumeRoleOutput{AssumedRoleUser: &ststypes.AssumedRoleUser{Arn: new("arn:aws:sts::" + account + ":assumed-role/deploy/x"), AssumedRoleId: new("AROA:s")}}, nil
	case *eventbridge.PutEventsInput:
		var detail struct{ State, DeploymentGroup, DeploymentID string }
		if err := json.Unmarshal([]byte(*in.Entries[0].Detail), &detail); err != nil {
			return nil, err
		}
		r.states = append(r.states, detail.State)
		return &eventbridge.PutEventsOutput{}, nil
	}
	if as.Principal.RoleARN != roleARN {
		return nil, fmt.Errorf("%T called as %+v", in, as.Principal)
	}
	switch in := in.(type) {
	case *lambda.GetAliasInput:
		return &lambda.GetAliasOutput{FunctionVersion: &r.version, RoutingConfig: &lambdatypes.AliasRoutingConfiguration{AdditionalVersionWeights: r.weights}}, nil
	case *lambda.UpdateAliasInput:
		r.version, r.weights = *in.FunctionVersion, in.RoutingConfig.AdditionalVersionWeights
		r.moves = append(r.moves, r.seen())
		if r.lost != nil && r.lost(in) {
			return nil, &wire.Error{Code: "ServiceException", Message: "down", Server: true}
		}
		return &lambda.UpdateAliasOutput{}, nil
	case *lambda.InvokeInput:
		if in.InvocationType != lambdatypes.InvocationTypeEvent {
			return nil, errors.New("hooks are invoked asynchronously")
		}
		h := map[string]string{}
		if err := json.Unmarshal(in.Payload, &h); err != nil {
			return nil, err
		}
		r.hooks = append(r.hooks, h)
		return &lambda.InvokeOutput{StatusCode: 202}, nil
	case *sns.PublishInput:
		r.told = append(r.told, *in.Subject)
		return &sns.PublishOutput{}, nil
	}
	return nil, fmt.Errorf("nobody plays %T", in)
}

// CallJSON implements [wire.Caller].
func (r *rig) CallJSON(context.Context, wire.As, string, string, []byte) ([]byte, error) {
	return nil, errors.New("not played")
}

// seen is where the alias points: "1", or "1+0.1*2".
func (r *rig) seen() string {
	s := r.version
	for _, v := range slices.Sorted(maps.Keys(r.weights)) {
		s += fmt.Sprintf("+%v*%s", r.weights[v], v)
	}
	return s
}

func (r *rig) alias() string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen()
}

// bubble runs f in virtual time with a service on a memory store, an
// application "app" and a group "g" in it that rolls back on everything.
func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, db: store.Memory(), version: "1"}
		r.ctx = wire.WithCall(t.Context(), &wire.Call{Service: "codedeploy", Region: "us-east-1", Account: account})
		r.boot()
		defer func() { r.stop() }()
		must(r.CreateApplication(r.ctx, &sdk.CreateApplicationInput{ApplicationName: new("app"), ComputePlatform: types.ComputePlatformLambda}))
		must(r.CreateDeploymentGroup(r.ctx, newGroup("g")))
		f(t, r)
	})
}

func newGroup(name string) *sdk.CreateDeploymentGroupInput {
	return &sdk.CreateDeploymentGroupInput{
		ApplicationName: new("app"), DeploymentGroupName: &name, ServiceRoleArn: new(roleARN),
		DeploymentStyle: &types.DeploymentStyle{DeploymentType: types.DeploymentTypeBlueGreen, DeploymentOption: types.DeploymentOptionWithTrafficControl},
		AutoRollbackConfiguration: &types.AutoRollbackConfiguration{Enabled: true, Events: []types.AutoRollbackEvent{
			types.AutoRollbackEventDeploymentFailure, types.AutoRollbackEventDeploymentStopOnAlarm, types.AutoRollbackEventDeploymentStopOnRequest,
		}},
		TriggerConfigurations: []types.TriggerConfig{{TriggerName: new("t"), TriggerTargetArn: new(topic), TriggerEvents: []types.TriggerEventType{types.TriggerEventTypeDeploymentSuccess, types.TriggerEventTypeDeploymentRollback}}},
	}
}

// boot starts the service on the store as it is, as a new process does.
func (r *rig) boot() {
	log := slog.New(slog.DiscardHandler)
	q := event.NewQueue(r.db, log)
	r.Service = New(Options{DB: r.db, Tasks: q, Caller: r, Log: log, Account: account})
	r.Register(wire.NewMux(wire.Options{Account: account, Log: log}), q)
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

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

// spec is an AppSpec file for the function f, from one version to another.
func spec(from, to int, hooks ...string) *types.RevisionLocation {
	s := fmt.Sprintf("version: 0.0\nResources:\n  - f:\n      Type: AWS::Lambda::Function\n      Properties: {Name: f, Alias: live, CurrentVersion: '%d', TargetVersion: '%d'}\n", from, to)
	if len(hooks) > 0 {
		s += "Hooks:\n  - " + strings.Join(hooks, "\n  - ") + "\n"
	}
	return &types.RevisionLocation{RevisionType: types.RevisionLocationTypeAppSpecContent, AppSpecContent: &types.AppSpecContent{Content: &s}}
}

// deploy begins a deployment and returns its id.
func (r *rig) deploy(config string, rev *types.RevisionLocation) string {
	r.t.Helper()
	in := &sdk.CreateDeploymentInput{ApplicationName: new("app"), DeploymentGroupName: new("g"), Revision: rev}
	if config != "" {
		in.DeploymentConfigName = new(predefined + config)
	}
	out, err := r.CreateDeployment(r.ctx, in)
	if err != nil {
		r.t.Fatal(err)
	}
	return *out.DeploymentId
}

// info is a deployment once nothing moves any more.
func (r *rig) info(id string) *types.DeploymentInfo {
	r.t.Helper()
	synctest.Wait()
	return must(r.GetDeployment(r.ctx, &sdk.GetDeploymentInput{DeploymentId: &id})).DeploymentInfo
}

// is checks the status of a deployment, and the error it ended with.
func (r *rig) is(id string, want types.DeploymentStatus, because types.ErrorCode) {
	r.t.Helper()
	d := r.info(id)
	var got types.ErrorCode
	text := ""
	if d.ErrorInformation != nil {
		got, text = d.ErrorInformation.Code, *d.ErrorInformation.Message
	}
	if d.Status != want || got != because {
		r.t.Errorf("%s is %s %s %q, want %s %s", id, d.Status, got, text, want, because)
	}
}

// events are the lifecycle events of a deployment: "BeforeAllowTraffic Succeeded".
func (r *rig) events(id string) (all []string) {
	r.t.Helper()
	synctest.Wait()
	out := must(r.BatchGetDeploymentTargets(r.ctx, &sdk.BatchGetDeploymentTargetsInput{DeploymentId: &id}))
	for _, e := range out.DeploymentTargets[0].LambdaTarget.LifecycleEvents {
		all = append(all, *e.LifecycleEventName+" "+string(e.Status))
	}
	return all
}

// answer is what a hook function reports.
func (r *rig) answer(n int, status types.LifecycleEventStatus) error {
	synctest.Wait()
	r.mu.Lock()
	h := r.hooks[n]
	r.mu.Unlock()
	_, err := r.PutLifecycleEventHookExecutionStatus(r.ctx, &sdk.PutLifecycleEventHookExecutionStatusInput{
		DeploymentId: new(h["DeploymentId"]), LifecycleEventHookExecutionId: new(h["LifecycleEventHookExecutionId"]), Status: status,
	})
	return err
}
