// Package delivery starts the pipeline that puts changed sources live, follows
// its executions stage by stage, and finds out why one failed.
package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/smithy-go"
)

// pipelineAPI is what a Pipeline asks of CodePipeline.
type pipelineAPI interface {
	GetPipelineExecution(context.Context, *codepipeline.GetPipelineExecutionInput, ...func(*codepipeline.Options)) (*codepipeline.GetPipelineExecutionOutput, error)
	ListPipelineExecutions(context.Context, *codepipeline.ListPipelineExecutionsInput, ...func(*codepipeline.Options)) (*codepipeline.ListPipelineExecutionsOutput, error)
	ListActionExecutions(context.Context, *codepipeline.ListActionExecutionsInput, ...func(*codepipeline.Options)) (*codepipeline.ListActionExecutionsOutput, error)
	StartPipelineExecution(context.Context, *codepipeline.StartPipelineExecutionInput, ...func(*codepipeline.Options)) (*codepipeline.StartPipelineExecutionOutput, error)
}

// buildAPI is what a Pipeline asks of CodeBuild.
type buildAPI interface {
	BatchGetBuilds(context.Context, *codebuild.BatchGetBuildsInput, ...func(*codebuild.Options)) (*codebuild.BatchGetBuildsOutput, error)
}

// logsAPI is what a Pipeline asks of CloudWatch Logs.
type logsAPI interface {
	GetLogEvents(context.Context, *cloudwatchlogs.GetLogEventsInput, ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error)
}

var (
	_ pipelineAPI = (*codepipeline.Client)(nil)
	_ buildAPI    = (*codebuild.Client)(nil)
	_ logsAPI     = (*cloudwatchlogs.Client)(nil)
)

// ErrNoPipeline means that there is no pipeline of that name.
var ErrNoPipeline = errors.New("there is no pipeline")

// A Pipeline is a pipeline whose actions are CodeCommit's and CodeBuild's.
type Pipeline struct {
	CodePipeline pipelineAPI
	CodeBuild    buildAPI
	Logs         logsAPI
	Name         string
}

// An Execution is one run of the pipeline.
type Execution struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"` // InProgress, Succeeded, Failed, Stopping, Stopped, Superseded, Cancelled
	Commit  string    `json:"commit,omitempty"`
	Began   time.Time `json:"began,omitzero"`
	Actions []Action  `json:"actions,omitempty"` // in the order in which they began
}

// Running reports whether the execution has not ended.
func (e Execution) Running() bool {
	return e.Status == string(types.PipelineExecutionStatusInProgress) || e.Status == string(types.PipelineExecutionStatusStopping)
}

// Succeeded reports whether all stages did.
func (e Execution) Succeeded() bool {
	return e.Status == string(types.PipelineExecutionStatusSucceeded)
}

// An Action is one action of an execution.
type Action struct {
	Stage  string        `json:"stage"`
	Name   string        `json:"name"`
	Status string        `json:"status"` // InProgress, Succeeded, Failed, Abandoned
	Reason string        `json:"reason,omitempty"`
	Build  string        `json:"build,omitempty"` // id, where the action is CodeBuild's
	Phase  string        `json:"phase,omitempty"` // of a build that is running
	Took   time.Duration `json:"took_ns"`
}

// ID is unique in an execution: "Build/Build".
func (a Action) ID() string { return a.Stage + "/" + a.Name }

// Running reports whether the action has not ended.
func (a Action) Running() bool { return a.Status == string(types.ActionExecutionStatusInProgress) }

// Last returns the execution that began last, without its actions, or nil if
// there was none. Its error is ErrNoPipeline if there is no pipeline.
func (p *Pipeline) Last(ctx context.Context) (*Execution, error) {
	out, err := p.CodePipeline.ListPipelineExecutions(ctx, &codepipeline.ListPipelineExecutionsInput{PipelineName: &p.Name, MaxResults: aws.Int32(1)})
	if hasCode(err, "PipelineNotFoundException") {
		return nil, fmt.Errorf("pipeline %s: %w", p.Name, ErrNoPipeline)
	} else if err != nil {
		return nil, fmt.Errorf("list executions of %s: %w", p.Name, err)
	}
	if len(out.PipelineExecutionSummaries) == 0 {
		return nil, nil
	}
	s := out.PipelineExecutionSummaries[0]
	e := &Execution{ID: aws.ToString(s.PipelineExecutionId), Status: string(s.Status), Began: aws.ToTime(s.StartTime)}
	for _, r := range s.SourceRevisions {
		e.Commit = cmp.Or(e.Commit, aws.ToString(r.RevisionId))
	}
	return e, nil
}

// Start begins an execution and returns its id.
func (p *Pipeline) Start(ctx context.Context) (string, error) {
	out, err := p.CodePipeline.StartPipelineExecution(ctx, &codepipeline.StartPipelineExecutionInput{Name: &p.Name})
	if hasCode(err, "PipelineNotFoundException") {
		return "", fmt.Errorf("pipeline %s: %w", p.Name, ErrNoPipeline)
	} else if err != nil {
		return "", fmt.Errorf("start pipeline %s: %w", p.Name, err)
	}
	return aws.ToString(out.PipelineExecutionId), nil
}

// Follow waits until the execution has ended and tells of each action whenever
// it changed. It does not judge: see Execution.Succeeded.
func (p *Pipeline) Follow(ctx context.Context, id string, changed func(Action)) (Execution, error) {
	const first, last = 50 * time.Millisecond, 3 * time.Second
	told := map[string]Action{}
	for pause := first; ; pause = min(pause*5/4, last) {
		e, err := p.Execution(ctx, id)
		if err != nil && !hasCode(err, "PipelineExecutionNotFoundException") { // not visible yet
			return e, err
		}
		for _, a := range e.Actions {
			news := a
			news.Took = 0 // passes by itself
			if told[a.ID()] != news {
				told[a.ID()] = news
				changed(a)
			}
		}
		if err == nil && !e.Running() {
			return e, nil
		}
		select {
		case <-ctx.Done():
			return e, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// Execution reads one execution with its actions.
func (p *Pipeline) Execution(ctx context.Context, id string) (Execution, error) {
	e := Execution{ID: id}
	out, err := p.CodePipeline.GetPipelineExecution(ctx, &codepipeline.GetPipelineExecutionInput{PipelineName: &p.Name, PipelineExecutionId: &id})
	if err != nil {
		return e, fmt.Errorf("read execution %s: %w", id, err)
	}
	e.Status = string(out.PipelineExecution.Status)
	for _, r := range out.PipelineExecution.ArtifactRevisions {
		e.Commit = cmp.Or(e.Commit, aws.ToString(r.RevisionId))
	}
	pages := codepipeline.NewListActionExecutionsPaginator(p.CodePipeline, &codepipeline.ListActionExecutionsInput{
		PipelineName: &p.Name, Filter: &types.ActionExecutionFilter{PipelineExecutionId: &id},
	})
	began := map[string]time.Time{}
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return e, fmt.Errorf("list actions of execution %s: %w", id, err)
		}
		for _, d := range page.ActionExecutionDetails {
			a := actionOf(d)
			if before, seen := began[a.ID()]; seen && !aws.ToTime(d.StartTime).After(before) {
				continue // an earlier attempt of a stage that was tried again
			}
			began[a.ID()] = aws.ToTime(d.StartTime)
			e.Actions = slices.DeleteFunc(e.Actions, func(old Action) bool { return old.ID() == a.ID() })
			e.Actions = append(e.Actions, a)
		}
	}
	slices.SortStableFunc(e.Actions, func(a, b Action) int { return began[a.ID()].Compare(began[b.ID()]) })
	return e, p.phases(ctx, e.Actions)
}

func actionOf(d types.ActionExecutionDetail) Action {
	a := Action{Stage: aws.ToString(d.StageName), Name: aws.ToString(d.ActionName), Status: string(d.Status)}
	a.Took = aws.ToTime(d.LastUpdateTime).Sub(aws.ToTime(d.StartTime))
	if d.Output != nil && d.Output.ExecutionResult != nil {
		r := d.Output.ExecutionResult
		a.Reason = aws.ToString(r.ExternalExecutionSummary)
		if e := r.ErrorDetails; e != nil && aws.ToString(e.Message) != "" {
			a.Reason = aws.ToString(e.Code) + ": " + *e.Message
		}
		if d.Input != nil && d.Input.ActionTypeId != nil && aws.ToString(d.Input.ActionTypeId.Provider) == "CodeBuild" {
			a.Build = aws.ToString(r.ExternalExecutionId)
		}
	}
	if a.Status != string(types.ActionExecutionStatusFailed) {
		a.Reason = ""
	}
	return a
}

// phases asks the builds that are running how far they are.
func (p *Pipeline) phases(ctx context.Context, actions []Action) error {
	for i, a := range actions {
		if a.Build == "" || !a.Running() {
			continue
		}
		out, err := p.CodeBuild.BatchGetBuilds(ctx, &codebuild.BatchGetBuildsInput{Ids: []string{a.Build}})
		if err != nil {
			return fmt.Errorf("read build %s: %w", a.Build, err)
		}
		if len(out.Builds) > 0 {
			actions[i].Phase = aws.ToString(out.Builds[0].CurrentPhase)
		}
	}
	return nil
}

func hasCode(err error, codes ...string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains(codes, api.ErrorCode())
}
