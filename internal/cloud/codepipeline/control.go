package codepipeline

import (
	"context"
	"reflect"
	"slices"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerControl(api *wire.API) {
	wire.Handle(api, s.StopPipelineExecution, wire.Members("PipelineName!"+nameRule, "PipelineExecutionId!"+idRule, "Reason 0..200"),
		on(func(in *sdk.StopPipelineExecutionInput) []*string { return []*string{in.PipelineName} }))
	wire.Handle(api, s.RetryStageExecution, wire.Members("PipelineName!"+nameRule, "StageName!"+nameRule, "PipelineExecutionId!"+idRule, "RetryMode! FAILED_ACTIONS|ALL_ACTIONS"),
		on(func(in *sdk.RetryStageExecutionInput) []*string { return []*string{in.PipelineName, in.StageName} }))
	wire.Handle(api, s.RollbackStage, wire.Members("PipelineName!"+nameRule, "StageName!"+nameRule, "TargetPipelineExecutionId!"+idRule),
		on(func(in *sdk.RollbackStageInput) []*string { return []*string{in.PipelineName, in.StageName} }))
	wire.Handle(api, s.EnableStageTransition, wire.Members("PipelineName!"+nameRule, "StageName!"+nameRule, "TransitionType! Inbound|Outbound"),
		on(func(in *sdk.EnableStageTransitionInput) []*string { return []*string{in.PipelineName, in.StageName} }))
	wire.Handle(api, s.DisableStageTransition, wire.Members("PipelineName!"+nameRule, "StageName!"+nameRule, "TransitionType! Inbound|Outbound", `Reason! 1..300 [a-zA-Z0-9!@ \(\)\.\*\?\-]+`),
		on(func(in *sdk.DisableStageTransitionInput) []*string { return []*string{in.PipelineName, in.StageName} }))
}

// update changes a pipeline's executions in a transaction of its own.
func (s *Service) update(ctx context.Context, name string, f func(*passage) error) error {
	region := wire.CallOf(ctx).Region
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		p, err := s.load(tx, region, name)
		if err != nil {
			return err
		}
		return s.change(tx, &p, f)
	})
}

// StopPipelineExecution stops an execution, after the actions in progress or
// at once, abandoning them.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/concepts.html#concepts-executions-stopped
func (s *Service) StopPipelineExecution(ctx context.Context, in *sdk.StopPipelineExecutionInput) (*sdk.StopPipelineExecutionOutput, error) {
	how := stopAfter
	if in.Abandon {
		how = stopNow
	}
	err := s.update(ctx, *in.PipelineName, func(g *passage) error {
		x, err := g.execution(*in.PipelineExecutionId)
		switch {
		case err != nil:
			return err
		case x.over():
			return &types.PipelineExecutionNotStoppableException{Message: new("Pipeline execution '" + x.ID + "' is in status " + string(x.Status) + " and cannot be stopped")}
		case x.Stopping == how:
			return &types.DuplicatedStopRequestException{Message: new("The pipeline execution '" + x.ID + "' is already stopping")}
		}
		return g.stop(x, how, in.Reason)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.StopPipelineExecutionOutput{PipelineExecutionId: in.PipelineExecutionId}, nil
}

func (g *passage) stop(x *execution, how stopping, reason *string) error {
	x.Stopping, x.Reason, x.Status, x.Updated = how, reason, types.PipelineExecutionStatusStopping, g.now
	if err := g.tellPipeline(x, "STOPPING"); err != nil {
		return err
	}
	d, err := g.declaration(x.Version)
	if err != nil {
		return err
	}
	stage := *d.Stages[x.Stage].Name
	if !x.Entered { // it waits: nothing of it is under way
		g.p.gate(stage).leave(x.ID)
		return g.conclude(x, types.PipelineExecutionStatusStopped, "STOPPED")
	}
	if how == stopAfter {
		x.Stages[x.Stage].Status = types.StageExecutionStatusStopping
		if err := g.tellStage(x, "STOPPING"); err != nil {
			return err
		}
		return g.advance(x)
	}
	for i := range x.Runs {
		r := &x.Runs[i]
		if r.Status != types.ActionExecutionStatusInProgress {
			continue
		}
		r.Status, r.Updated = types.ActionExecutionStatusAbandoned, g.now
		if err := g.s.Tasks.Finish(g.tx, deadlineKind, r.ID); err != nil {
			return err
		}
		if err := jobs.Delete(g.tx, r.ID); err != nil {
			return err
		}
		if err := g.tellAction(x, r, "ABANDONED"); err != nil {
			return err
		}
	}
	return g.leave(x, d, types.StageExecutionStatusStopped, "STOPPED")
}

// stageIndex finds a stage by name.
func stageIndex(d types.PipelineDeclaration, name string) int {
	return slices.IndexFunc(d.Stages, func(st types.StageDeclaration) bool { return *st.Name == name })
}

// RetryStageExecution has an execution go on in the stage in which it failed
// or was stopped: with the actions that failed, or all of the stage.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/stage-retry.html
func (s *Service) RetryStageExecution(ctx context.Context, in *sdk.RetryStageExecutionInput) (*sdk.RetryStageExecutionOutput, error) {
	err := s.update(ctx, *in.PipelineName, func(g *passage) error {
		x, err := g.retryable(*in.PipelineExecutionId, *in.StageName)
		if err != nil {
			return err
		}
		if x.Mode != types.ExecutionModeSuperseded && g.p.Active >= maxActive {
			return &types.ConcurrentPipelineExecutionsLimitExceededException{Message: new("The pipeline has reached the limit for concurrent pipeline executions: " + g.p.Name)}
		}
		gt := g.p.gate(*in.StageName)
		if x.Mode != types.ExecutionModeParallel {
			gt.Holder = x.ID
		}
		g.p.Active++
		x.Version = g.p.Version // the same structure, but perhaps another role
		x.Status, x.Stopping, x.Reason, x.Summary = types.PipelineExecutionStatusInProgress, "", nil, nil
		x.Stages[x.Stage].Manual++
		x.Stages[x.Stage].Retry = types.RetryTriggerManualStageRetry
		x.retire(*in.StageName, in.RetryMode)
		if err := g.tellPipeline(x, "RESUMED"); err != nil {
			return err
		}
		if err := g.entered(x, gt, "RESUMED"); err != nil {
			return err
		}
		return g.advance(x)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.RetryStageExecutionOutput{PipelineExecutionId: in.PipelineExecutionId}, nil
}

// retryable finds an execution that can be retried in a stage.
func (g *passage) retryable(id, stage string) (*execution, error) {
	now, err := g.declaration(g.p.Version)
	if err != nil {
		return nil, err
	}
	if stageIndex(now, stage) < 0 {
		return nil, noStage(g.p.Name, stage)
	}
	x, err := g.execution(id)
	if err != nil {
		// RetryStageExecution knows no error for an execution that is not there.
		return nil, &types.NotLatestPipelineExecutionException{Message: new("The specified pipeline execution is not the latest one in stage '" + stage + "': " + id)}
	}
	then, err := g.declaration(x.Version)
	if err != nil {
		return nil, err
	}
	gt := g.p.gate(stage)
	unable := func(why string) error {
		return &types.StageNotRetryableException{Message: new("Unable to retry. " + why)}
	}
	switch at := stageIndex(then, stage); {
	case x.Mode != types.ExecutionModeParallel && gt.Latest != id:
		return nil, &types.NotLatestPipelineExecutionException{Message: new("The specified pipeline execution is not the latest one in stage '" + stage + "': " + id)}
	case !reflect.DeepEqual(then.Stages, now.Stages):
		return nil, unable("The pipeline structure has changed since the execution failed")
	case !x.over():
		return nil, &types.ConflictException{Message: new("Your request cannot be handled because the pipeline execution is still in progress: " + id)}
	case at != x.Stage || !x.Entered || x.Stages[at].Status != types.StageExecutionStatusFailed && x.Stages[at].Status != types.StageExecutionStatusStopped:
		return nil, unable("The stage '" + stage + "' contains no failed actions in this execution")
	case gt.Holder != "":
		return nil, &types.ConflictException{Message: new("Your request cannot be handled because another execution is in the stage '" + stage + "'")}
	}
	return x, nil
}

// RollbackStage runs a stage again with what it had in an earlier execution
// that went well.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/stage-rollback.html
func (s *Service) RollbackStage(ctx context.Context, in *sdk.RollbackStageInput) (*sdk.RollbackStageOutput, error) {
	c := wire.CallOf(ctx)
	var id string
	err := s.update(ctx, *in.PipelineName, func(g *passage) error {
		d, err := g.declaration(g.p.Version)
		if err != nil {
			return err
		}
		at := stageIndex(d, *in.StageName)
		unable := func(why string) error { return &types.UnableToRollbackStageException{Message: &why} }
		if at < 0 {
			return noStage(g.p.Name, *in.StageName)
		}
		target, err := g.execution(*in.TargetPipelineExecutionId)
		switch {
		case err != nil:
			return err
		case at == 0:
			return unable("The source stage cannot be rolled back")
		case d.PipelineType != types.PipelineTypeV2:
			return unable("Pipeline type V1 does not support rolling back a stage")
		case target.Kind == types.ExecutionTypeRollback:
			return unable("The target is itself a rollback")
		}
		then, err := g.declaration(target.Version)
		switch {
		case err != nil:
			return err
		case !reflect.DeepEqual(then.Stages, d.Stages):
			return &types.PipelineExecutionOutdatedException{Message: new("The pipeline structure has changed since the target execution: " + target.ID)}
		case target.Stages[at].Status != types.StageExecutionStatusSucceeded:
			return unable("The stage '" + *in.StageName + "' did not succeed in the target execution")
		}
		x, err := g.rollBack(target, d, at, types.ExecutionTrigger{TriggerType: types.TriggerTypeManualRollback, TriggerDetail: &c.Principal.ARN})
		if err == nil {
			id = x.ID
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &sdk.RollbackStageOutput{PipelineExecutionId: &id}, nil
}

// rollBack makes the execution that repeats a stage of target.
func (g *passage) rollBack(target *execution, d types.PipelineDeclaration, stage int, trigger types.ExecutionTrigger) (*execution, error) {
	return g.add(execution{Kind: types.ExecutionTypeRollback, Target: target.ID, Trigger: trigger, Vars: target.Vars, Stage: stage, Inherited: slices.Clone(target.Runs)}, d)
}

// rollBackFrom rolls the stage in which x failed back to the last execution
// that succeeded in it, if there is one of the same structure.
func (g *passage) rollBackFrom(x *execution, d types.PipelineDeclaration) error {
	prefix := pipelineKey(g.p.Region, g.p.Name) + "\x00"
	for row, err := range executions.RangeDown(g.tx, prefix, x.key()) {
		if err != nil {
			return err
		}
		t := row.Value
		if t.Kind == types.ExecutionTypeStandard && t.Version == x.Version && t.Stages[x.Stage].Status == types.StageExecutionStatusSucceeded {
			_, err := g.rollBack(&t, d, x.Stage, types.ExecutionTrigger{TriggerType: types.TriggerTypeAutomatedRollback, TriggerDetail: &x.ID})
			return err
		}
	}
	return nil
}

// EnableStageTransition lets executions into a stage, or out of it, again.
func (s *Service) EnableStageTransition(ctx context.Context, in *sdk.EnableStageTransitionInput) (*sdk.EnableStageTransitionOutput, error) {
	return &sdk.EnableStageTransitionOutput{}, s.transition(ctx, *in.PipelineName, *in.StageName, in.TransitionType, "")
}

// DisableStageTransition keeps executions from a stage, or in it.
func (s *Service) DisableStageTransition(ctx context.Context, in *sdk.DisableStageTransitionInput) (*sdk.DisableStageTransitionOutput, error) {
	return &sdk.DisableStageTransitionOutput{}, s.transition(ctx, *in.PipelineName, *in.StageName, in.TransitionType, *in.Reason)
}

// transition opens or, with a reason, closes the way into a stage. The way out
// of a stage is the way into the next.
func (s *Service) transition(ctx context.Context, name, stage string, kind types.StageTransitionType, reason string) error {
	by := wire.CallOf(ctx).Principal.ARN
	return s.update(ctx, name, func(g *passage) error {
		d, err := g.declaration(g.p.Version)
		if err != nil {
			return err
		}
		at := stageIndex(d, stage)
		if at < 0 {
			return noStage(name, stage)
		}
		if kind == types.StageTransitionTypeOutbound {
			if at++; at == len(d.Stages) {
				return invalid("Stage '" + stage + "' is the last one of pipeline '" + name + "': there is no transition out of it")
			}
		}
		if d.ExecutionMode == types.ExecutionModeParallel && reason != "" {
			return invalid("Transitions of a pipeline in PARALLEL mode cannot be disabled")
		}
		to := *d.Stages[at].Name
		gt := g.p.gate(to)
		gt.Changed = &closing{Reason: reason, By: by, At: time.Now()}
		if gt.Closed = nil; reason != "" {
			gt.Closed = gt.Changed
		}
		g.freed = append(g.freed, to)
		return nil
	})
}
