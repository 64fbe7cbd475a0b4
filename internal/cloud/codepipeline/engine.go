package codepipeline

import (
	"crypto/sha256"
	"encoding/base32"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
)

// maxActive is how many executions of a pipeline in QUEUED or PARALLEL mode
// can be under way.
const maxActive = 50

// A passage is one change of a pipeline's executions within a transaction: all
// that follows from it at once is done before the transaction ends.
type passage struct {
	s     *Service
	tx    *store.Tx
	p     *pipeline
	now   time.Time
	open  map[string]*execution // read or made in this passage
	decls map[int32]types.PipelineDeclaration
	freed []string // stages whose gates may let in the next
}

// change runs f on a pipeline, lets follow what follows, and saves everything.
func (s *Service) change(tx *store.Tx, p *pipeline, f func(*passage) error) error {
	g := &passage{s: s, tx: tx, p: p, now: time.Now(), open: map[string]*execution{}, decls: map[int32]types.PipelineDeclaration{}}
	if err := f(g); err != nil {
		return err
	}
	for len(g.freed) > 0 {
		stage := g.freed[0]
		g.freed = g.freed[1:]
		if err := g.admit(stage); err != nil {
			return err
		}
	}
	for _, x := range g.open {
		if err := executions.Put(tx, x.key(), *x); err != nil {
			return err
		}
	}
	return s.save(tx, p)
}

// execution returns the passage's one copy of an execution.
func (g *passage) execution(id string) (*execution, error) {
	if x := g.open[id]; x != nil {
		return x, nil
	}
	x, err := loadExecution(g.tx, g.p.Region, g.p.Name, id)
	if err != nil {
		return nil, err
	}
	g.open[id] = &x
	return &x, nil
}

func (g *passage) declaration(version int32) (types.PipelineDeclaration, error) {
	d, ok := g.decls[version]
	if ok {
		return d, nil
	}
	d, err := declaration(g.tx, g.p.Region, g.p.Name, version)
	g.decls[version] = d
	return d, err
}

// add puts a new execution at the entrance of a stage.
func (g *passage) add(x execution, d types.PipelineDeclaration) (*execution, error) {
	if d.ExecutionMode != types.ExecutionModeSuperseded && g.p.Active >= maxActive {
		return nil, &types.ConcurrentPipelineExecutionsLimitExceededException{Message: new("The pipeline has reached the limit for concurrent pipeline executions: " + g.p.Name)}
	}
	g.p.Last++
	g.p.Active++
	x.ID, x.Seq, x.Region, x.Pipeline = uuid.NewString(), g.p.Last, g.p.Region, g.p.Name
	x.Version, x.Mode = *d.Version, d.ExecutionMode
	x.Status, x.Started, x.Updated = types.PipelineExecutionStatusInProgress, g.now, g.now
	x.Stages = make([]stageRun, len(d.Stages))
	g.decls[x.Version] = d
	g.open[x.ID] = &x
	if err := ids.Put(g.tx, idKey(x.Region, x.Pipeline, x.ID), x.Seq); err != nil {
		return nil, err
	}
	if err := g.tellPipeline(&x, "STARTED"); err != nil {
		return nil, err
	}
	return &x, g.advance(&x)
}

// begin makes an execution of a pipeline's structure d and sets it off.
func (s *Service) begin(tx *store.Tx, p *pipeline, d types.PipelineDeclaration, trigger types.ExecutionTrigger, vars []types.ResolvedPipelineVariable, override []types.SourceRevisionOverride) (id string, err error) {
	if vars == nil {
		for _, v := range d.Variables {
			if v.DefaultValue != nil {
				vars = append(vars, types.ResolvedPipelineVariable{Name: v.Name, ResolvedValue: v.DefaultValue})
			}
		}
	}
	err = s.change(tx, p, func(g *passage) error {
		x, err := g.add(execution{Kind: types.ExecutionTypeStandard, Trigger: trigger, Vars: vars, Override: override}, d)
		if err == nil {
			id = x.ID
		}
		return err
	})
	return id, err
}

// advance takes an execution as far as it can go now: it waits for actions, or
// before a stage, or is over.
func (g *passage) advance(x *execution) error {
	for !x.over() {
		d, err := g.declaration(x.Version)
		if err != nil {
			return err
		}
		if !x.Entered {
			if inside, err := g.enter(x, d.Stages[x.Stage]); err != nil || !inside {
				return err
			}
		}
		if moved, err := g.work(x, d); err != nil || !moved {
			return err
		}
	}
	return nil
}

// enter takes an execution into a stage, or leaves it waiting.
func (g *passage) enter(x *execution, st types.StageDeclaration) (inside bool, err error) {
	gt := g.p.gate(*st.Name)
	if x.Mode != types.ExecutionModeParallel {
		queued := x.Mode == types.ExecutionModeQueued && len(gt.Waiting) > 0 && gt.Waiting[0] != x.ID
		if gt.Closed != nil || gt.Holder != "" || queued {
			return false, g.wait(x, gt)
		}
		gt.leave(x.ID)
		gt.Holder = x.ID
	}
	return true, g.entered(x, gt, "STARTED")
}

func (g *passage) entered(x *execution, gt *gate, state string) error {
	x.Entered, gt.Latest = true, x.ID
	x.Stages[x.Stage].Status = types.StageExecutionStatusInProgress
	x.Updated = g.now
	return g.tellStage(x, state)
}

// wait has an execution wait before a stage. In SUPERSEDED mode it takes the
// place of an older one.
func (g *passage) wait(x *execution, gt *gate) error {
	if slices.Contains(gt.Waiting, x.ID) {
		return nil
	}
	if x.Mode == types.ExecutionModeSuperseded {
		for _, id := range gt.Waiting {
			older, err := g.execution(id)
			if err != nil {
				return err
			}
			older.Summary = new("Superseded by execution " + x.ID)
			if err := g.conclude(older, types.PipelineExecutionStatusSuperseded, "SUPERSEDED"); err != nil {
				return err
			}
		}
		gt.Waiting = nil
	}
	gt.Waiting = append(gt.Waiting, x.ID)
	return nil
}

// admit lets the next waiting execution into a stage that became free.
func (g *passage) admit(stage string) error {
	gt := g.p.gate(stage)
	if len(gt.Waiting) == 0 || gt.Holder != "" || gt.Closed != nil {
		return nil
	}
	x, err := g.execution(gt.Waiting[0])
	if err != nil {
		return err
	}
	return g.advance(x)
}

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
