package codepipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// revisions are those that an execution's source actions found.
func (x *execution) revisions(yield func(*run) bool) {
	for r := range x.succeeded {
		if r.Revision != nil && r.Type.Category == types.ActionCategorySource && !r.Retired && !yield(r) {
			return
		}
	}
}

// GetPipelineExecution returns one execution.
func (s *Service) GetPipelineExecution(ctx context.Context, in *sdk.GetPipelineExecutionInput) (out *sdk.GetPipelineExecutionOutput, err error) {
	region := wire.CallOf(ctx).Region
	err = s.DB.View(func(tx *store.Tx) error {
		if _, err := s.load(tx, region, *in.PipelineName); err != nil {
			return err
		}
		x, err := loadExecution(tx, region, *in.PipelineName, *in.PipelineExecutionId)
		if err != nil {
			return err
		}
		e := &types.PipelineExecution{
			PipelineExecutionId: &x.ID, PipelineName: &x.Pipeline, PipelineVersion: &x.Version, Status: x.Status, StatusSummary: x.Summary,
			ExecutionMode: x.Mode, ExecutionType: x.Kind, Trigger: &x.Trigger, ArtifactRevisions: []types.ArtifactRevision{}, Variables: x.Vars, RollbackMetadata: x.rollback(),
		}
		for r := range x.revisions {
			e.ArtifactRevisions = append(e.ArtifactRevisions, *r.Revision)
		}
		out = &sdk.GetPipelineExecutionOutput{PipelineExecution: e}
		return nil
	})
	return out, err
}

func (x *execution) rollback() *types.PipelineRollbackMetadata {
	if x.Target == "" {
		return nil
	}
	return &types.PipelineRollbackMetadata{RollbackTargetPipelineExecutionId: &x.Target}
}

// ListPipelineExecutions lists the executions of a pipeline, newest first.
func (s *Service) ListPipelineExecutions(ctx context.Context, in *sdk.ListPipelineExecutionsInput) (*sdk.ListPipelineExecutionsOutput, error) {
	region, name := wire.CallOf(ctx).Region, *in.PipelineName
	list := "executions of " + region + "/" + name
	last, err := after(in.NextToken, list)
	if err != nil {
		return nil, err
	}
	all, seqs := []types.PipelineExecutionSummary{}, map[string]string{}
	err = s.DB.View(func(tx *store.Tx) error {
		if _, err := s.load(tx, region, name); err != nil {
			return err
		}
		return s.down(tx, region, name, last, func(x *execution) (bool, error) {
			ok, err := succeededIn(tx, x, in.Filter)
			if err != nil || !ok {
				return true, err
			}
			sum := types.PipelineExecutionSummary{
				PipelineExecutionId: &x.ID, Status: x.Status, StatusSummary: x.Summary, StartTime: &x.Started, LastUpdateTime: &x.Updated,
				Trigger: &x.Trigger, ExecutionMode: x.Mode, ExecutionType: x.Kind, SourceRevisions: []types.SourceRevision{}, RollbackMetadata: x.rollback(),
			}
			if x.Stopping != "" {
				sum.StopTrigger = &types.StopExecutionTrigger{Reason: x.Reason}
			}
			for r := range x.revisions {
				sum.SourceRevisions = append(sum.SourceRevisions, types.SourceRevision{ActionName: &r.Action, RevisionId: r.Revision.RevisionId, RevisionSummary: r.Revision.RevisionSummary, RevisionUrl: r.Revision.RevisionUrl})
			}
			all, seqs[x.ID] = append(all, sum), fmt.Sprintf("%016d", x.Seq)
			return len(all) <= 100, nil
		})
	})
	items, next := page(all, in.MaxResults, 100, list, func(e types.PipelineExecutionSummary) string { return seqs[*e.PipelineExecutionId] })
	return &sdk.ListPipelineExecutionsOutput{PipelineExecutionSummaries: items, NextToken: next}, err
}

// down yields executions from the newest to the oldest, beginning before the
// sequence number last, if there is one.
func (s *Service) down(tx *store.Tx, region, name, last string, f func(*execution) (more bool, err error)) error {
	prefix := pipelineKey(region, name) + "\x00"
	to := store.PrefixEnd(prefix)
	if last != "" {
		to = prefix + last
	}
	for row, err := range executions.RangeDown(tx, prefix, to) {
		if err != nil {
			return err
		}
		if more, err := f(&row.Value); err != nil || !more {
			return err
		}
	}
	return nil
}

func succeededIn(tx *store.Tx, x *execution, f *types.PipelineExecutionFilter) (bool, error) {
	if f == nil || f.SucceededInStage == nil || f.SucceededInStage.StageName == nil {
		return true, nil
	}
	d, err := declaration(tx, x.Region, x.Pipeline, x.Version)
	at := stageIndex(d, *f.SucceededInStage.StageName)
	return err == nil && at >= 0 && x.Stages[at].Status == types.StageExecutionStatusSucceeded, err
}

// ListActionExecutions lists the runs of actions, newest first.
func (s *Service) ListActionExecutions(ctx context.Context, in *sdk.ListActionExecutionsInput) (*sdk.ListActionExecutionsOutput, error) {
	region, name := wire.CallOf(ctx).Region, *in.PipelineName
	list := "actions of " + region + "/" + name
	last, err := after(in.NextToken, list)
	if err != nil {
		return nil, err
	}
	only, newest := "", false
	if f := in.Filter; f != nil {
		if f.PipelineExecutionId != nil {
			only = *f.PipelineExecutionId
		}
		if l := f.LatestInPipelineExecution; l != nil {
			only, newest = *l.PipelineExecutionId, l.StartTimeRange == types.StartTimeRangeLatest
		}
	}
	var all []listedRun
	add := func(x *execution) (more bool, err error) {
		for _, l := range listed(x, newest) {
			if last == "" || l.key < last {
				all = append(all, l)
			}
		}
		return len(all) <= 100, nil
	}
	err = s.DB.View(func(tx *store.Tx) error {
		if _, err := s.load(tx, region, name); err != nil {
			return err
		}
		if only == "" { // the last one's execution may have more runs to list
			seq, _, _ := strings.Cut(last, ".")
			return s.down(tx, region, name, cmp.Or(seq, "~")+"~", add)
		}
		x, err := loadExecution(tx, region, name, only)
		if err == nil {
			_, err = add(&x)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	items, next := page(all, in.MaxResults, 100, list, func(l listedRun) string { return l.key })
	out := &sdk.ListActionExecutionsOutput{ActionExecutionDetails: []types.ActionExecutionDetail{}, NextToken: next}
	for _, l := range items {
		out.ActionExecutionDetails = append(out.ActionExecutionDetails, l.detail)
	}
	return out, nil
}

// A listedRun has the key by which a list goes on: the execution's place, and the run's in it.
type listedRun struct {
	key    string
	detail types.ActionExecutionDetail
}

func listed(x *execution, newest bool) (all []listedRun) {
	for i := range slices.Backward(x.Runs) {
		r := &x.Runs[i]
		if newest && r.Retired {
			continue
		}
		all = append(all, listedRun{fmt.Sprintf("%016d.%06d", x.Seq, i), detail(x, r)})
	}
	return all
}

func detail(x *execution, r *run) types.ActionExecutionDetail {
	d := types.ActionExecutionDetail{
		PipelineExecutionId: &x.ID, PipelineVersion: &x.Version, StageName: &r.Stage, ActionName: &r.Action, ActionExecutionId: &r.ID,
		StartTime: &r.Started, LastUpdateTime: &r.Updated, Status: r.Status, UpdatedBy: some(r.By),
		Input: &types.ActionExecutionInput{
			ActionTypeId: &r.Type, Configuration: r.Config, ResolvedConfiguration: r.Resolved, RoleArn: &r.Role, Region: &x.Region, Namespace: some(r.Namespace),
			InputArtifacts: list(r.Inputs),
		},
	}
	if r.Status == types.ActionExecutionStatusInProgress {
		if r.External != "" {
			d.Output = &types.ActionExecutionOutput{OutputArtifacts: []types.ArtifactDetail{}, ExecutionResult: r.result()}
		}
		return d
	}
	d.Output = &types.ActionExecutionOutput{OutputArtifacts: []types.ArtifactDetail{}, OutputVariables: r.Vars, ExecutionResult: r.result()}
	if r.Status == types.ActionExecutionStatusSucceeded {
		d.Output.OutputArtifacts = list(r.Outputs)
	}
	return d
}

func (r *run) result() *types.ActionExecutionResult {
	return &types.ActionExecutionResult{ExternalExecutionId: some(r.External), ExternalExecutionSummary: some(r.Summary), ExternalExecutionUrl: some(r.URL), ErrorDetails: r.Error, LogStreamARN: some(r.Logs)}
}

// list is never null on the wire.
func list(all []types.ArtifactDetail) []types.ArtifactDetail {
	if all == nil {
		return []types.ArtifactDetail{}
	}
	return all
}
