package delivery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	buildtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/google/go-cmp/cmp"
)

// A cloud has one execution: Source for a second, Build for ten.
type cloud struct {
	began  time.Time
	fails  bool
	hidden time.Duration // the execution is not visible at first
	log    []string
}

func (c *cloud) at() time.Duration { return time.Since(c.began) }

func (c *cloud) GetPipelineExecution(context.Context, *codepipeline.GetPipelineExecutionInput, ...func(*codepipeline.Options)) (*codepipeline.GetPipelineExecutionOutput, error) {
	if c.at() < c.hidden {
		return nil, &types.PipelineExecutionNotFoundException{}
	}
	e := &types.PipelineExecution{Status: types.PipelineExecutionStatusInProgress, ArtifactRevisions: []types.ArtifactRevision{{RevisionId: aws.String("c0ffee")}}}
	if c.at() >= 11*time.Second {
		e.Status = types.PipelineExecutionStatusSucceeded
		if c.fails {
			e.Status = types.PipelineExecutionStatusFailed
		}
	}
	return &codepipeline.GetPipelineExecutionOutput{PipelineExecution: e}, nil
}

func (c *cloud) ListActionExecutions(context.Context, *codepipeline.ListActionExecutionsInput, ...func(*codepipeline.Options)) (*codepipeline.ListActionExecutionsOutput, error) {
	action := func(stage, provider string, from, to time.Duration) types.ActionExecutionDetail {
		d := types.ActionExecutionDetail{
			StageName: &stage, ActionName: &stage, Status: types.ActionExecutionStatusInProgress,
			StartTime: aws.Time(c.began.Add(from)), LastUpdateTime: aws.Time(time.Now()),
			Input:  &types.ActionExecutionInput{ActionTypeId: &types.ActionTypeId{Provider: &provider}},
			Output: &types.ActionExecutionOutput{ExecutionResult: &types.ActionExecutionResult{ExternalExecutionId: aws.String("shop-build:1")}},
		}
		if c.at() >= to {
			d.Status, d.LastUpdateTime = types.ActionExecutionStatusSucceeded, aws.Time(c.began.Add(to))
		}
		return d
	}
	var list []types.ActionExecutionDetail // the newest first, as AWS lists them
	if c.at() >= time.Second {
		build := action("Build", "CodeBuild", time.Second, 11*time.Second)
		if c.fails && build.Status == types.ActionExecutionStatusSucceeded {
			build.Status = types.ActionExecutionStatusFailed
			build.Output.ExecutionResult.ErrorDetails = &types.ErrorDetails{Code: aws.String("JobFailed"), Message: aws.String("Build terminated with state: FAILED")}
		}
		list = append(list, build)
	}
	return &codepipeline.ListActionExecutionsOutput{ActionExecutionDetails: append(list, action("Source", "CodeCommit", 0, time.Second))}, nil
}

func (c *cloud) ListPipelineExecutions(context.Context, *codepipeline.ListPipelineExecutionsInput, ...func(*codepipeline.Options)) (*codepipeline.ListPipelineExecutionsOutput, error) {
	return nil, &types.PipelineNotFoundException{}
}

func (c *cloud) StartPipelineExecution(context.Context, *codepipeline.StartPipelineExecutionInput, ...func(*codepipeline.Options)) (*codepipeline.StartPipelineExecutionOutput, error) {
	return nil, &types.PipelineNotFoundException{}
}

func (c *cloud) BatchGetBuilds(context.Context, *codebuild.BatchGetBuildsInput, ...func(*codebuild.Options)) (*codebuild.BatchGetBuildsOutput, error) {
	phase := "BUILD"
	if c.at() < 3*time.Second {
		phase = "PROVISIONING"
	}
	return &codebuild.BatchGetBuildsOutput{Builds: []buildtypes.Build{{
		CurrentPhase: &phase,
		Phases: []buildtypes.BuildPhase{
			{PhaseType: buildtypes.BuildPhaseTypeProvisioning, PhaseStatus: buildtypes.StatusTypeSucceeded},
			{PhaseType: buildtypes.BuildPhaseTypeBuild, PhaseStatus: buildtypes.StatusTypeFailed, Contexts: []buildtypes.PhaseContext{{Message: aws.String("exit status 1")}}},
		},
		Logs: &buildtypes.LogsLocation{GroupName: aws.String("group"), StreamName: aws.String("stream")},
	}}}, nil
}

func (c *cloud) GetLogEvents(context.Context, *cloudwatchlogs.GetLogEventsInput, ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error) {
	out := &cloudwatchlogs.GetLogEventsOutput{}
	for _, l := range c.log {
		out.Events = append(out.Events, logtypes.OutputLogEvent{Message: &l})
	}
	return out, nil
}

func (c *cloud) pipeline() *Pipeline {
	return &Pipeline{CodePipeline: c, CodeBuild: c, Logs: c, Name: "shop-delivery"}
}

func TestFollowTellsEachChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{began: time.Now(), hidden: 100 * time.Millisecond}
		var told []string
		e, err := c.pipeline().Follow(t.Context(), "e-1", func(a Action) {
			told = append(told, strings.TrimSpace(a.ID()+" "+a.Status+" "+a.Phase))
		})
		if err != nil || !e.Succeeded() || e.Commit != "c0ffee" {
			t.Fatalf("%+v, %v", e, err)
		}
		want := []string{
			"Source/Source InProgress", "Source/Source Succeeded",
			"Build/Build InProgress PROVISIONING", "Build/Build InProgress BUILD", "Build/Build Succeeded",
		}
		if d := cmp.Diff(want, told); d != "" {
			t.Error(d)
		}
		if took := e.Actions[1].Took; took != 10*time.Second {
			t.Errorf("Build took %v", took)
		}
	})
}

func TestFollowEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{began: time.Now()}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		e, err := c.pipeline().Follow(ctx, "e-1", func(Action) {})
		if !errors.Is(err, context.DeadlineExceeded) || !e.Running() {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

func TestFailuresShowTheLog(t *testing.T) {
	c := &cloud{fails: true, log: []string{
		"[Container] 2026/01/01 Running command go version\n", "go version go1.26\n",
		"[Container] 2026/01/01 Running command miniforge-deploy package dist\n",
		"miniforge-deploy: compile functions:\nhandlers/order-intake/main.go:7:1: syntax error\n", "\n",
		"[Container] 2026/01/01 Command did not exit successfully miniforge-deploy package dist exit status 1\n",
		"[Container] 2026/01/01 Phase complete: BUILD State: FAILED\n",
	}}
	e, err := c.pipeline().Execution(t.Context(), "e-1")
	if err != nil {
		t.Fatal(err)
	}
	want := []Failure{{
		Action: Action{Stage: "Build", Name: "Build", Status: "Failed", Reason: "phase BUILD FAILED: exit status 1", Build: "shop-build:1", Took: e.Actions[1].Took},
		Group:  "group", Stream: "stream",
		Lines: []string{"miniforge-deploy: compile functions:", "handlers/order-intake/main.go:7:1: syntax error"},
	}}
	if d := cmp.Diff(want, c.pipeline().Failures(t.Context(), e)); d != "" {
		t.Error(d)
	}
}

func TestRelevantLines(t *testing.T) {
	var long []string
	for i := range 100 {
		long = append(long, fmt.Sprint(i))
	}
	if got := relevant(long); len(got) != 40 || got[39] != "99" {
		t.Errorf("of a log without a failed command: %v", got)
	}
	if got := relevant(nil); len(got) != 0 {
		t.Errorf("of an empty log: %v", got)
	}
}

func TestNoPipeline(t *testing.T) {
	p := (&cloud{}).pipeline()
	if _, err := p.Last(t.Context()); !errors.Is(err, ErrNoPipeline) {
		t.Errorf("last: %v", err)
	}
	if _, err := p.Start(t.Context()); !errors.Is(err, ErrNoPipeline) {
		t.Errorf("start: %v", err)
	}
}
