package codedeploy

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
)

// How a deployment runs. Its row says all: what comes next follows from it
// (see step), and when (see due). A step makes at most one call that changes
// something, one that may be repeated; then one transaction notes its outcome,
// goes on as far as that is possible without a call (see settle), and sets the
// timer of the next step. Whatever happens from outside meanwhile (a stop, a
// hook's answer) is noted in the row as well, and found by that transaction.

// stepKind are the tasks that move deployments on: one a deployment, under its
// key, which is also its lane, so that its steps never overlap.
const stepKind = "codedeploy.step"

// A change is applied to a deployment as it is when a step's outcome is noted.
type change func(d *deployment)

// hookTime is how long a function that checks may take to answer.
// https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html
const hookTime = time.Hour

// step moves a deployment on.
func (s *Service) step(ctx context.Context, t event.Task) event.Result {
	var d deployment
	var ok bool
	err := s.DB.View(func(tx *store.Tx) (err error) {
		d, ok, err = deployments.Get(tx, t.ID)
		return err
	})
	if err == nil && (!ok || !d.active()) {
		return event.Done()
	}
	if err != nil {
		s.Log.Error("cannot read a deployment", "key", t.ID, "error", err)
		return event.Retry(time.Second << min(t.Attempts, 6))
	}
	c, err := s.next(ctx, &d)
	if err != nil {
		f := explain(err)
		if f.transient && t.Attempts < maxAttempts {
			return event.Retry(backoff(t.Attempts))
		}
		c = func(d *deployment) { d.fail(f.code, f.text, types.LifecycleErrorCodeUnknownError) }
	}
	if err := s.apply(ctx, t.ID, c); err != nil && ctx.Err() == nil {
		s.Log.Error("cannot move a deployment on", "key", t.ID, "error", err)
		return event.Retry(time.Second << min(t.Attempts, 6))
	}
	return event.Done()
}

// next does what comes next outside, and returns what to note of it.
func (s *Service) next(ctx context.Context, d *deployment) (change, error) {
	switch {
	case d.End != nil:
		return s.putBack(ctx, d)
	case d.Info.Status == types.DeploymentStatusCreated:
		return s.start, nil
	case !d.Checked:
		return s.check(ctx, d)
	case d.Hook != nil:
		return s.runHook(ctx, d)
	}
	return s.shift(ctx, d)
}

// apply notes a change of a deployment that has not ended.
func (s *Service) apply(ctx context.Context, k string, c change) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		d, ok, err := deployments.Get(tx, k)
		if err != nil || !ok || !d.active() {
			return err
		}
		return s.move(tx, &d, c)
	})
}

// move changes a deployment, goes on as far as that needs no call, and keeps it.
func (s *Service) move(tx *store.Tx, d *deployment, c change) error {
	was := d.Info.Status
	c(d)
	d.settle(now())
	if was == types.DeploymentStatusCreated && d.Info.StartTime != nil {
		if err := s.tell(tx, d, "START"); err != nil {
			return err
		}
	}
	if e := d.End; e != nil && !(e.Return && d.touched() && !e.Returned) {
		return s.finish(tx, d)
	}
	return s.keep(tx, d)
}

// keep writes a deployment and sets its timer.
func (s *Service) keep(tx *store.Tx, d *deployment) error {
	tx.OnCommit(func() { s.Signals.Notify(signal(d.Region, *d.Info.DeploymentId)) })
	if !d.active() {
		return errors.Join(deployments.Put(tx, d.key(), *d), s.Tasks.Finish(tx, stepKind, d.key()))
	}
	return errors.Join(deployments.Put(tx, d.key(), *d), s.Tasks.Send(tx, event.Task{Kind: stepKind, ID: d.key(), Lane: d.key(), Due: d.due()}))
}

// due is when the next step is; zero means at once.
func (d *deployment) due() time.Time {
	switch {
	case d.End != nil:
		return time.Time{}
	case d.Hook != nil && d.Hook.Invoked:
		return d.Hook.Deadline
	}
	return d.Wake
}

// start begins the deployment.
func (s *Service) start(d *deployment) {
	d.Info.Status, d.Info.StartTime = types.DeploymentStatusInProgress, new(now())
	d.Info.DeploymentOverview = &types.DeploymentOverview{InProgress: 1}
	if d.Spec != nil {
		d.Target = s.target(d)
	}
}

// settle goes on as far as that needs no call: through lifecycle events that
// have no function, and over the answers of those that have.
func (d *deployment) settle(at time.Time) {
	for d.End == nil && d.Checked {
		if d.Event == len(lifecycle) {
			d.End = &ending{Status: types.DeploymentStatusSucceeded}
			return
		}
		e := &d.Target.LifecycleEvents[d.Event]
		switch {
		case e.Status == types.LifecycleEventStatusPending:
			e.Status, e.StartTime = types.LifecycleEventStatusInProgress, &at
			if fn := d.Spec.Hooks[lifecycle[d.Event]]; fn != "" && !d.Rollback {
				d.Hook = &hook{Execution: uuid.NewString(), Function: fn, Deadline: at.Add(hookTime)}
			}
		case lifecycle[d.Event] == allowTraffic:
			return
		case d.Hook == nil:
			d.complete(at)
		case d.Hook.Answer == types.LifecycleEventStatusSucceeded:
			d.complete(at)
		case d.Hook.Answer == types.LifecycleEventStatusFailed:
			d.fail(types.ErrorCodeHookExecutionFailure, "The function "+d.Hook.Function+" reported that "+lifecycle[d.Event]+" failed", types.LifecycleErrorCodeScriptFailed)
		default:
			return
		}
	}
}

// complete ends the lifecycle event under way well.
func (d *deployment) complete(at time.Time) {
	e := &d.Target.LifecycleEvents[d.Event]
	e.Status, e.EndTime = types.LifecycleEventStatusSucceeded, &at
	d.Target.LastUpdatedAt = &at
	if d.Hook != nil {
		d.Executions = append(d.Executions, d.Hook.Execution)
	}
	d.Event, d.Hook, d.Wake = d.Event+1, nil, time.Time{}
}

// fail ends the deployment, and the lifecycle event under way with it. A
// deployment that is ending already keeps its reason.
func (d *deployment) fail(code types.ErrorCode, text string, why types.LifecycleErrorCode) {
	if d.End != nil {
		d.End.Returned, d.End.Trouble = true, text
		return
	}
	if d.Target != nil && d.Event < len(d.Target.LifecycleEvents) {
		if e := &d.Target.LifecycleEvents[d.Event]; e.Status == types.LifecycleEventStatusInProgress {
			e.Status, e.EndTime = types.LifecycleEventStatusFailed, new(now())
			e.Diagnostics = &types.Diagnostics{ErrorCode: why, Message: &text}
			if d.Hook != nil {
				e.Diagnostics.ScriptName = &d.Hook.Function
			}
		}
	}
	d.End = &ending{Status: types.DeploymentStatusFailed, Code: code, Message: text, Return: d.rollsBack(types.AutoRollbackEventDeploymentFailure)}
}

// rollsBack tells whether an event has the deployment rolled back. A rollback
// is not rolled back.
func (d *deployment) rollsBack(e types.AutoRollbackEvent) bool {
	c := d.Info.AutoRollbackConfiguration
	return c != nil && c.Enabled && !d.Rollback && slices.Contains(c.Events, e)
}

// touched tells whether the alias may have been changed.
func (d *deployment) touched() bool {
	return d.Checked && d.Target != nil && d.Target.LifecycleEvents[1].Status != types.LifecycleEventStatusPending
}
