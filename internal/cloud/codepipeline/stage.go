package codepipeline

import (
	"crypto/sha256"
	"encoding/base32"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/event"
)

// work looks at the actions of the stage that an execution is in: it starts
// those whose turn it is, and ends the stage when nothing runs any more.
func (g *passage) work(x *execution, d types.PipelineDeclaration) (moved bool, err error) {
	st := d.Stages[x.Stage]
	for _, group := range groups(st) {
		missing, busy, broken := tally(x, st, group)
		if len(missing) > 0 && !broken && x.Stopping == "" {
			for _, a := range missing {
				if err := g.start(x, d, st, a); err != nil {
					return false, err
				}
			}
			missing, busy, broken = tally(x, st, group)
		}
		switch {
		case busy:
			return false, nil
		case broken:
			return g.fail(x, d)
		case len(missing) > 0:
			return true, g.leave(x, d, types.StageExecutionStatusStopped, "STOPPED")
		}
	}
	return true, g.leave(x, d, types.StageExecutionStatusSucceeded, "SUCCEEDED")
}

// tally sorts the actions of a group: not begun, under way, ended badly.
func tally(x *execution, st types.StageDeclaration, group []types.ActionDeclaration) (missing []types.ActionDeclaration, busy, broken bool) {
	for _, a := range group {
		switch r := x.current(*st.Name, *a.Name); {
		case r == nil:
			missing = append(missing, a)
		case r.Status == types.ActionExecutionStatusInProgress:
			busy = true
		case r.Status != types.ActionExecutionStatusSucceeded:
			broken = true
		}
	}
	return missing, busy, broken
}

// fail ends a stage in which an action has failed, unless the stage is
// declared to try once more by itself.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/stage-retry.html
func (g *passage) fail(x *execution, d types.PipelineDeclaration) (moved bool, err error) {
	st, sr := d.Stages[x.Stage], &x.Stages[x.Stage]
	if f := st.OnFailure; f != nil && f.Result == types.ResultRetry && sr.Auto == 0 && x.Stopping == "" {
		mode := types.StageRetryModeFailedActions
		if f.RetryConfiguration != nil && f.RetryConfiguration.RetryMode != "" {
			mode = f.RetryConfiguration.RetryMode
		}
		sr.Auto++
		sr.Retry = types.RetryTriggerAutomatedStageRetry
		x.retire(*st.Name, mode)
		return true, g.tellStage(x, "RESUMED")
	}
	if err := g.leave(x, d, types.StageExecutionStatusFailed, "FAILED"); err != nil {
		return false, err
	}
	if f := st.OnFailure; f != nil && f.Result == types.ResultRollback && x.Kind == types.ExecutionTypeStandard {
		return true, g.rollBackFrom(x, d)
	}
	return true, nil
}

// retire gives actions of a stage another try.
func (x *execution) retire(stage string, mode types.StageRetryMode) {
	for i := range x.Runs {
		r := &x.Runs[i]
		if r.Stage == stage && (mode == types.StageRetryModeAllActions || r.Status != types.ActionExecutionStatusSucceeded) {
			r.Retired = true
		}
	}
}

// leave ends the stage that an execution is in, and with it the execution or
// the wait of the next.
func (g *passage) leave(x *execution, d types.PipelineDeclaration, status types.StageExecutionStatus, state string) error {
	name := *d.Stages[x.Stage].Name
	x.Stages[x.Stage].Status, x.Updated = status, g.now
	if err := g.tellStage(x, state); err != nil {
		return err
	}
	g.p.gate(name).leave(x.ID)
	g.freed = append(g.freed, name)
	last := x.Stage == len(d.Stages)-1 || x.Kind == types.ExecutionTypeRollback
	switch {
	case status == types.StageExecutionStatusSucceeded && last:
		return g.conclude(x, types.PipelineExecutionStatusSucceeded, "SUCCEEDED")
	case x.Stopping != "":
		return g.conclude(x, types.PipelineExecutionStatusStopped, "STOPPED")
	case status == types.StageExecutionStatusFailed:
		return g.conclude(x, types.PipelineExecutionStatusFailed, "FAILED")
	}
	x.Stage++
	x.Entered = false
	return nil
}

func (g *passage) conclude(x *execution, status types.PipelineExecutionStatus, state string) error {
	x.Status, x.Updated = status, g.now
	g.p.Active--
	return g.tellPipeline(x, state)
}

// start sets off an action.
func (g *passage) start(x *execution, d types.PipelineDeclaration, st types.StageDeclaration, a types.ActionDeclaration) error {
	r := run{
		ID: uuid.NewString(), Stage: *st.Name, Action: *a.Name, Type: *a.ActionTypeId, Status: types.ActionExecutionStatusInProgress, Started: g.now, Updated: g.now,
		Role: *d.RoleArn, Config: a.Configuration, Namespace: aws.ToString(a.Namespace),
	}
	if a.RoleArn != nil {
		r.Role = *a.RoleArn
	}
	for _, in := range a.InputArtifacts {
		if found, ok := x.artifact(*in.Name); ok {
			r.Inputs = append(r.Inputs, found)
		}
	}
	for _, out := range a.OutputArtifacts {
		r.Outputs = append(r.Outputs, types.ArtifactDetail{Name: out.Name, S3location: &types.S3Location{
			Bucket: storeOf(d, x.Region).Location, Key: new(cut(x.Pipeline, 20) + "/" + cut(*out.Name, 10) + "/" + random(r.ID, *out.Name)),
		}})
	}
	var unresolved error
	if r.Resolved, unresolved = x.resolve(a.Configuration); unresolved != nil {
		r.fail("ConfigurationError", unresolved.Error())
	}
	ref := runRef{x.Region, x.Pipeline, x.ID, r.ID}
	gt := g.p.gate(r.Stage)
	if gt.Runs == nil {
		gt.Runs = map[string]runRef{}
	}
	gt.Runs[r.Action] = ref
	x.Updated = g.now
	if err := g.tellAction(x, &r, "STARTED"); err != nil {
		return err
	}
	x.Runs = append(x.Runs, r)
	if unresolved != nil {
		return g.tellAction(x, &r, "FAILED")
	}
	return g.send(ref, a)
}

// send makes the tasks of a run: its work and its deadline.
func (g *passage) send(ref runRef, a types.ActionDeclaration) error {
	timeout := g.s.provider(*a.ActionTypeId).timeout
	if a.TimeoutInMinutes != nil {
		timeout = time.Duration(*a.TimeoutInMinutes) * time.Minute
	}
	body := encode(ref)
	if err := g.s.Tasks.Send(g.tx, event.Task{Kind: deadlineKind, ID: ref.Run, Due: g.now.Add(timeout), Body: body}); err != nil {
		return err
	}
	return g.s.Tasks.Send(g.tx, event.Task{Kind: actionKind, ID: ref.Run, Body: body})
}

// fail ends a run badly.
func (r *run) fail(code, message string) {
	r.Status = types.ActionExecutionStatusFailed
	r.Error = &types.ErrorDetails{Code: &code, Message: &message}
	r.Summary = message
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

// random is the last part of an artifact's key: it looks like AWS's, and is
// the same whenever the run is tried again.
func random(run, artifact string) string {
	sum := sha256.Sum256([]byte(run + "/" + artifact))
	return base32.StdEncoding.EncodeToString(sum[:])[:7]
}
