package codepipeline

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerState(api *wire.API) {
	wire.Handle(api, s.GetPipelineState, wire.Members("Name!"+nameRule), on(func(in *sdk.GetPipelineStateInput) []*string { return []*string{in.Name} }))
}

// A viewer reads executions, each once.
type viewer struct {
	tx   *store.Tx
	p    pipeline
	open map[string]*execution
}

// execution returns nil for one that is no more.
func (v *viewer) execution(id string) (*execution, error) {
	if x, ok := v.open[id]; ok || id == "" {
		return x, nil
	}
	x, err := loadExecution(v.tx, v.p.Region, v.p.Name, id)
	if _, gone := errors.AsType[*types.PipelineExecutionNotFoundException](err); gone {
		return nil, nil
	}
	v.open[id] = &x
	return &x, err
}

// GetPipelineState tells where executions are in a pipeline, stage by stage.
func (s *Service) GetPipelineState(ctx context.Context, in *sdk.GetPipelineStateInput) (out *sdk.GetPipelineStateOutput, err error) {
	region := wire.CallOf(ctx).Region
	err = s.DB.View(func(tx *store.Tx) error {
		p, err := s.load(tx, region, *in.Name)
		if err != nil {
			return err
		}
		d, err := declaration(tx, region, p.Name, p.Version)
		if err != nil {
			return err
		}
		out = &sdk.GetPipelineStateOutput{PipelineName: &p.Name, PipelineVersion: &p.Version, Created: &p.Created, Updated: &p.Updated}
		v := &viewer{tx: tx, p: p, open: map[string]*execution{}}
		for i, st := range d.Stages {
			state, err := v.stage(i, st)
			if err != nil {
				return err
			}
			out.StageStates = append(out.StageStates, state)
		}
		return nil
	})
	return out, err
}

func (v *viewer) stage(i int, st types.StageDeclaration) (types.StageState, error) {
	gt := v.p.gate(*st.Name)
	out := types.StageState{StageName: st.Name, InboundExecutions: []types.StageExecution{}, ActionStates: []types.ActionState{}, InboundTransitionState: &types.TransitionState{Enabled: gt.Closed == nil}}
	if c := gt.Changed; c != nil {
		t := out.InboundTransitionState
		t.LastChangedAt, t.LastChangedBy = &c.At, &c.By
		if c.Reason != "" {
			t.DisabledReason = &c.Reason
		}
	}
	for _, id := range gt.Waiting {
		x, err := v.execution(id)
		if err != nil || x == nil {
			return out, err
		}
		out.InboundExecutions = append(out.InboundExecutions, types.StageExecution{PipelineExecutionId: &x.ID, Status: types.StageExecutionStatusInProgress, Type: x.Kind})
	}
	if n := len(out.InboundExecutions); n > 0 {
		out.InboundExecution = &out.InboundExecutions[n-1]
	}
	x, err := v.execution(gt.Latest)
	if err != nil {
		return out, err
	}
	if x != nil && i < len(x.Stages) && x.Stages[i].Status != "" {
		sr := x.Stages[i]
		out.LatestExecution = &types.StageExecution{PipelineExecutionId: &x.ID, Status: sr.Status, Type: x.Kind}
		if sr.Retry != "" {
			out.RetryStageMetadata = &types.RetryStageMetadata{LatestRetryTrigger: sr.Retry, ManualStageRetryAttempt: &sr.Manual, AutoStageRetryAttempt: &sr.Auto}
		}
	}
	for _, a := range st.Actions {
		state, err := v.action(gt, a)
		if err != nil {
			return out, err
		}
		out.ActionStates = append(out.ActionStates, state)
	}
	return out, nil
}

func (v *viewer) action(gt *gate, a types.ActionDeclaration) (types.ActionState, error) {
	out := types.ActionState{ActionName: a.Name, EntityUrl: entityURL(v.p.Region, a)}
	ref, ok := gt.Runs[*a.Name]
	if !ok {
		return out, nil
	}
	x, err := v.execution(ref.Execution)
	if err != nil || x == nil {
		return out, err
	}
	r := x.run(ref.Run)
	if r == nil {
		return out, nil
	}
	out.LatestExecution = &types.ActionExecution{
		ActionExecutionId: &r.ID, Status: r.Status, LastStatusChange: &r.Updated, ErrorDetails: r.Error, PercentComplete: r.Percent,
		Summary: some(r.Summary), ExternalExecutionId: some(r.External), ExternalExecutionUrl: some(r.URL), LogStreamARN: some(r.Logs), LastUpdatedBy: some(r.By),
	}
	if r.Status == types.ActionExecutionStatusInProgress {
		out.LatestExecution.Token = some(r.Token)
	}
	if rev := r.Revision; rev != nil {
		out.CurrentRevision = &types.ActionRevision{RevisionId: rev.RevisionId, RevisionChangeId: rev.RevisionChangeIdentifier, Created: rev.Created}
		out.RevisionUrl = rev.RevisionUrl
	}
	return out, nil
}

// some is a text, if there is one.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// entityURL leads to what an action works with, in AWS's console.
func entityURL(region string, a types.ActionDeclaration) *string {
	const console = "https://console.aws.amazon.com/"
	c := a.Configuration
	switch aws.ToString(a.ActionTypeId.Provider) {
	case "CodeCommit":
		return new(console + "codecommit/home?region=" + region + "#/repository/" + c["RepositoryName"] + "/browse/" + c["BranchName"] + "/--/")
	case "CodeBuild":
		return new(console + "codebuild/home?region=" + region + "#/projects/" + c["ProjectName"] + "/view")
	case "CodeDeploy":
		return new(console + "codedeploy/home?region=" + region + "#/applications/" + c["ApplicationName"] + "/deployment-groups/" + c["DeploymentGroupName"])
	case "Lambda":
		return new(console + "lambda/home?region=" + region + "#/functions/" + c["FunctionName"])
	case "S3":
		return new(console + "s3/home?region=" + region + "#")
	}
	return nil
}
