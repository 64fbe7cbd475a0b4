package codepipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	cbtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	cctypes "github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	roleARN = "arn:aws:iam::123456789012:role/pipeline"
	keyARN  = "arn:aws:kms:us-east-1:123456789012:key/k"
)

// A rig is the service with the rest of the cloud played by a few maps.
type rig struct {
	*Service
	t    *testing.T
	ctx  context.Context
	db   store.DB
	sig  *event.Signals
	stop func()

	mu      sync.Mutex
	commit  string            // of the branch main
	objects map[string][]byte // bucket/key
	puts    []*s3.PutObjectInput
	builds  map[string]*cbtypes.Build
	starts  []*codebuild.StartBuildInput
	tokens  map[string]string // idempotency token -> build id
	events  []string          // "Action Source/Checkout STARTED"
	stopped []string          // builds
	noRole  bool
	// other plays operations that are not played here.
	other func(as wire.As, in any) (any, error)
	// refuse fails calls before they are played.
	refuse func(in any) error
}

// bubble runs f in virtual time with a service on a memory store.
func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{
			t: t, db: store.Memory(), sig: &event.Signals{}, commit: "c1", objects: map[string][]byte{}, builds: map[string]*cbtypes.Build{}, tokens: map[string]string{},
			ctx: wire.WithCall(t.Context(), &wire.Call{Service: "codepipeline", Region: region, Account: account, Principal: authz.Principal{Type: authz.User, ARN: "arn:aws:iam::123456789012:user/ann"}}),
		}
		r.boot()
		defer func() { r.stop() }()
		f(t, r)
	})
}

// boot starts the service on what is stored, as a new process does.
func (r *rig) boot() {
	log := slog.New(slog.DiscardHandler)
	q := event.NewQueue(r.db, log)
	r.Service = New(Options{DB: r.db, Tasks: q, Caller: r, Signals: r.sig, Log: log, Account: account, Archive: func(_ context.Context, as wire.As, repository, commit string) ([]byte, error) {
		if as.Principal.RoleARN != roleARN {
			return nil, fmt.Errorf("archived as %+v", as)
		}
		return []byte("zip of " + repository + " at " + commit), nil
	}})
	r.Register(wire.NewMux(wire.Options{Account: account}), q)
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

// Call implements [wire.Caller].
func (r *rig) Call(ctx context.Context, as wire.As, in any) (any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		if err := r.refuse(in); err != nil {
			return nil, err
		}
	}
	switch in := in.(type) {
	case *sts.AssumeRoleInput:
		if r.noRole || as.Principal.Service != "codepipeline.amazonaws.com" {
			return nil, wire.Errorf("AccessDenied", "User is not authorized to perform: sts:AssumeRole")
		}
		return &sts.AssumeRoleOutput{
			AssumedRoleUser: &ststypes.AssumedRoleUser{Arn: new("arn:aws:sts::" + account + ":assumed-role/pipeline/" + *in.RoleSessionName), AssumedRoleId: new("AROA:s")},
			Credentials:     &ststypes.Credentials{AccessKeyId: new("AK"), SecretAccessKey: new("SK"), SessionToken: new("ST")},
		}, nil
	case *eventbridge.PutEventsInput:
		return r.event(in)
	}
	if as.Principal.RoleARN != roleARN {
		return nil, fmt.Errorf("%T called as %+v", in, as.Principal)
	}
	switch in := in.(type) {
	case *codecommit.GetBranchInput:
		if *in.BranchName != "main" {
			return nil, &cctypes.BranchDoesNotExistException{Message: new("Could not find branch " + *in.BranchName)}
		}
		return &codecommit.GetBranchOutput{Branch: &cctypes.BranchInfo{BranchName: in.BranchName, CommitId: new(r.commit)}}, nil
	case *codecommit.GetCommitInput:
		who := &cctypes.UserInfo{Name: new("Ann"), Date: new("1572319941 +0100")}
		return &codecommit.GetCommitOutput{Commit: &cctypes.Commit{CommitId: in.CommitId, Message: new("change " + *in.CommitId), Author: who, Committer: who}}, nil
	case *s3.PutObjectInput:
		b, err := io.ReadAll(in.Body)
		r.objects[*in.Bucket+"/"+*in.Key] = b
		r.puts = append(r.puts, in)
		return &s3.PutObjectOutput{}, err
	case *s3.GetObjectInput:
		return &s3.GetObjectOutput{Body: io.NopCloser(bytes.NewReader(r.objects[*in.Bucket+"/"+*in.Key]))}, nil
	case *s3.HeadObjectInput:
		if r.objects[*in.Bucket+"/"+*in.Key] == nil {
			return nil, &s3types.NotFound{Message: new("Not Found")}
		}
		return &s3.HeadObjectOutput{VersionId: new("v1"), ETag: new(`"e"`)}, nil
	case *s3.GetBucketVersioningInput:
		return &s3.GetBucketVersioningOutput{Status: s3types.BucketVersioningStatusEnabled}, nil
	case *codebuild.StartBuildInput:
		return r.startBuild(in)
	case *codebuild.BatchGetBuildsInput:
		out := &codebuild.BatchGetBuildsOutput{}
		if b := r.builds[in.Ids[0]]; b != nil {
			out.Builds = []cbtypes.Build{*b}
		}
		return out, nil
	case *codebuild.StopBuildInput:
		r.stopped = append(r.stopped, *in.Id)
		return &codebuild.StopBuildOutput{}, nil
	}
	if r.other == nil {
		return nil, fmt.Errorf("unexpected %T", in)
	}
	return r.other(as, in)
}

// CallJSON implements [wire.Caller].
func (r *rig) CallJSON(context.Context, wire.As, string, string, []byte) ([]byte, error) {
	return nil, errors.New("not used")
}

func (r *rig) startBuild(in *codebuild.StartBuildInput) (*codebuild.StartBuildOutput, error) {
	id, known := r.tokens[*in.IdempotencyToken]
	if !known {
		n := 1
		for r.builds[fmt.Sprintf("%s:%d", *in.ProjectName, n)] != nil {
			n++
		}
		id = fmt.Sprintf("%s:%d", *in.ProjectName, n)
		r.tokens[*in.IdempotencyToken] = id
		r.builds[id] = &cbtypes.Build{Id: &id, BuildStatus: cbtypes.StatusTypeInProgress}
		r.starts = append(r.starts, in)
	}
	return &codebuild.StartBuildOutput{Build: r.builds[id]}, nil
}

func (r *rig) event(in *eventbridge.PutEventsInput) (*eventbridge.PutEventsOutput, error) {
	for _, e := range in.Entries {
		var d struct{ Stage, Action, State string }
		if err := json.Unmarshal([]byte(*e.Detail), &d); err != nil {
			return nil, err
		}
		kind := strings.TrimSuffix(strings.TrimPrefix(*e.DetailType, "CodePipeline "), " Execution State Change")
		r.events = append(r.events, strings.Join(slices.DeleteFunc([]string{kind, strings.Trim(d.Stage+"/"+d.Action, "/"), d.State}, func(s string) bool { return s == "" }), " "))
	}
	return &eventbridge.PutEventsOutput{}, nil
}

// finish ends a build as CodeBuild does, and wakes who awaits it.
func (r *rig) finish(id string, status cbtypes.StatusType, exported ...cbtypes.ExportedEnvironmentVariable) {
	r.t.Helper()
	r.mu.Lock()
	b := r.builds[id]
	if b == nil {
		r.mu.Unlock()
		r.t.Fatalf("no build %s", id)
	}
	done := *b
	done.BuildStatus, done.ExportedEnvironmentVariables = status, exported
	if status == cbtypes.StatusTypeFailed {
		done.Phases = []cbtypes.BuildPhase{
			{PhaseType: cbtypes.BuildPhaseTypeInstall, PhaseStatus: cbtypes.StatusTypeSucceeded},
			{PhaseType: cbtypes.BuildPhaseTypeBuild, PhaseStatus: cbtypes.StatusTypeFailed, Contexts: []cbtypes.PhaseContext{{StatusCode: new("COMMAND_EXECUTION_ERROR"), Message: new("exit status 1")}}},
		}
	}
	r.builds[id] = &done
	r.mu.Unlock()
	r.sig.Notify("arn:aws:codebuild:" + region + ":" + account + ":build/" + id)
	synctest.Wait()
}

// Declarations.

func source(name string) types.ActionDeclaration {
	return types.ActionDeclaration{
		Name: &name, ActionTypeId: new(awsType(types.ActionCategorySource, "CodeCommit")), Namespace: new("Src"), OutputArtifacts: []types.OutputArtifact{{Name: new("Source")}},
		Configuration: map[string]string{"RepositoryName": "shop", "BranchName": "main", "PollForSourceChanges": "false"},
	}
}

func build(name string, outputs ...string) types.ActionDeclaration {
	a := types.ActionDeclaration{
		Name: &name, ActionTypeId: new(awsType(types.ActionCategoryBuild, "CodeBuild")), InputArtifacts: []types.InputArtifact{{Name: new("Source")}},
		Configuration: map[string]string{"ProjectName": name},
	}
	for _, o := range outputs {
		a.OutputArtifacts = append(a.OutputArtifacts, types.OutputArtifact{Name: &o})
	}
	return a
}

func stage(name string, actions ...types.ActionDeclaration) types.StageDeclaration {
	return types.StageDeclaration{Name: &name, Actions: actions}
}

// shop is a pipeline of three stages.
func shop() *types.PipelineDeclaration {
	return &types.PipelineDeclaration{
		Name: new("shop"), RoleArn: new(roleARN), PipelineType: types.PipelineTypeV2, ExecutionMode: types.ExecutionModeQueued,
		ArtifactStore: &types.ArtifactStore{Type: types.ArtifactStoreTypeS3, Location: new("artifacts"), EncryptionKey: &types.EncryptionKey{Id: new(keyARN), Type: types.EncryptionKeyTypeKms}},
		Stages:        []types.StageDeclaration{stage("Source", source("Checkout")), stage("Build", build("compile", "Built")), stage("Deploy", build("deploy"))},
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (r *rig) create(d *types.PipelineDeclaration) {
	r.t.Helper()
	if _, err := r.CreatePipeline(r.ctx, &sdk.CreatePipelineInput{Pipeline: d}); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

func (r *rig) begin(vars ...types.PipelineVariable) string {
	r.t.Helper()
	out, err := r.StartPipelineExecution(r.ctx, &sdk.StartPipelineExecutionInput{Name: new("shop"), Variables: vars})
	if err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	return *out.PipelineExecutionId
}

// executions are the ids of all, oldest first.
func (r *rig) executions() (all []string) {
	for _, e := range must(r.ListPipelineExecutions(r.ctx, &sdk.ListPipelineExecutionsInput{PipelineName: new("shop")})).PipelineExecutionSummaries {
		all = append(all, *e.PipelineExecutionId)
	}
	slices.Reverse(all)
	return all
}

// statuses tells how all executions are, oldest first.
func (r *rig) statuses() string {
	var all []string
	for _, e := range must(r.ListPipelineExecutions(r.ctx, &sdk.ListPipelineExecutionsInput{PipelineName: new("shop")})).PipelineExecutionSummaries {
		all = append(all, string(e.Status))
	}
	slices.Reverse(all)
	return strings.Join(all, " ")
}

// runs tells how the actions of an execution went, oldest first.
func (r *rig) runs(id string) string {
	var all []string
	for _, a := range must(r.ListActionExecutions(r.ctx, &sdk.ListActionExecutionsInput{PipelineName: new("shop"), Filter: &types.ActionExecutionFilter{PipelineExecutionId: &id}})).ActionExecutionDetails {
		all = append(all, *a.ActionName+" "+string(a.Status))
	}
	slices.Reverse(all)
	return strings.Join(all, ", ")
}

func (r *rig) last(action string) types.ActionExecutionDetail {
	r.t.Helper()
	for _, a := range must(r.ListActionExecutions(r.ctx, &sdk.ListActionExecutionsInput{PipelineName: new("shop")})).ActionExecutionDetails {
		if *a.ActionName == action {
			return a
		}
	}
	r.t.Fatalf("no run of %s", action)
	return types.ActionExecutionDetail{}
}

func (r *rig) expect(what, got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func said(a types.ActionExecutionDetail) string {
	if a.Output == nil || a.Output.ExecutionResult.ErrorDetails == nil {
		return ""
	}
	e := a.Output.ExecutionResult.ErrorDetails
	return aws.ToString(e.Code) + ": " + aws.ToString(e.Message)
}
