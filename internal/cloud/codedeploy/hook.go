package codedeploy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// runHook calls the function that checks, or ends the wait for its answer. A
// crash after the call has it called again, with the same execution id: the
// first answer counts.
func (s *Service) runHook(ctx context.Context, d *deployment) (change, error) {
	h := *d.Hook
	if h.Invoked {
		if time.Now().Before(h.Deadline) {
			return func(*deployment) {}, nil
		}
		return func(d *deployment) {
			if d.Hook != nil && d.Hook.Execution == h.Execution && d.Hook.Answer == "" {
				d.fail(types.ErrorCodeTimeout, "The function "+h.Function+" did not report the result of "+lifecycle[d.Event]+" within one hour", types.LifecycleErrorCodeScriptTimedOut)
			}
		}, nil
	}
	as, err := s.as(ctx, d)
	if err != nil {
		return nil, err
	}
	event, err := json.Marshal(struct{ DeploymentId, LifecycleEventHookExecutionId string }{*d.Info.DeploymentId, h.Execution}) //nolint:revive // AWS's names
	if err != nil {
		return nil, fmt.Errorf("make event of hook: %w", err)
	}
	_, err = s.Caller.Call(ctx, as, &lambda.InvokeInput{FunctionName: &h.Function, InvocationType: lambdatypes.InvocationTypeEvent, Payload: event})
	if err != nil {
		if f := explain(err); f.transient {
			return nil, err
		}
		return func(d *deployment) {
			if d.Hook != nil && d.Hook.Execution == h.Execution && d.Hook.Answer == "" {
				d.fail(types.ErrorCodeHookExecutionFailure, "The function "+h.Function+" could not be invoked for "+lifecycle[d.Event]+": "+message(err), types.LifecycleErrorCodeUnknownError)
			}
		}, nil
	}
	return func(d *deployment) {
		if d.Hook != nil && d.Hook.Execution == h.Execution {
			d.Hook.Invoked = true
		}
	}, nil
}

// PutLifecycleEventHookExecutionStatus takes the answer of a function that
// checks, which moves its deployment on.
func (s *Service) PutLifecycleEventHookExecutionStatus(ctx context.Context, in *sdk.PutLifecycleEventHookExecutionStatusInput) (*sdk.PutLifecycleEventHookExecutionStatusOutput, error) {
	region, execution := wire.CallOf(ctx).Region, aws.ToString(in.LifecycleEventHookExecutionId)
	if err := checkID(in.DeploymentId); err != nil {
		return nil, err
	}
	if in.Status != types.LifecycleEventStatusSucceeded && in.Status != types.LifecycleEventStatusFailed {
		return nil, &types.InvalidLifecycleEventHookExecutionStatusException{Message: new("The result of a Lambda validation function that verifies a lifecycle event is invalid. It should return Succeeded or Failed.")}
	}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		d, err := loadDeployment(tx, region, in.DeploymentId)
		if err != nil {
			return err
		}
		known, done := d.execution(execution)
		switch {
		case !known:
			return &types.InvalidLifecycleEventHookExecutionIdException{Message: new("A lifecycle event hook is invalid. Review the hooks section in your AppSpec file to ensure the lifecycle events and hooks functions are valid.")}
		case done:
			return &types.LifecycleEventAlreadyCompletedException{Message: new("An attempt to return the status of an already completed lifecycle event occurred.")}
		}
		return s.move(tx, &d, func(d *deployment) { d.Hook.Answer = in.Status })
	})
	return &sdk.PutLifecycleEventHookExecutionStatusOutput{LifecycleEventHookExecutionId: in.LifecycleEventHookExecutionId}, err
}

// execution tells whether an execution of a hook belongs to the deployment,
// and whether it is over.
func (d *deployment) execution(id string) (known, done bool) {
	if id == "" {
		return false, false
	}
	if d.Hook != nil && d.Hook.Execution == id {
		return true, !d.active() || d.End != nil || d.Hook.Answer != ""
	}
	past := slices.Contains(d.Executions, id)
	return past, past
}

// StopDeployment has a deployment end. Unless the alias is to be put back
// first, it has ended when the answer comes.
func (s *Service) StopDeployment(ctx context.Context, in *sdk.StopDeploymentInput) (*sdk.StopDeploymentOutput, error) {
	region := wire.CallOf(ctx).Region
	out := &sdk.StopDeploymentOutput{Status: types.StopStatusPending, StatusMessage: new("Deployment is stopping. The traffic of the alias is returned to the version it came from.")}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		d, err := loadDeployment(tx, region, in.DeploymentId)
		if err != nil {
			return err
		}
		if !d.active() {
			return &types.DeploymentAlreadyCompletedException{Message: new("The deployment is already completed: " + *in.DeploymentId)}
		}
		back := d.rollsBack(types.AutoRollbackEventDeploymentStopOnRequest)
		if in.AutoRollbackEnabled != nil {
			back = *in.AutoRollbackEnabled && !d.Rollback
		}
		err = s.move(tx, &d, func(d *deployment) {
			if d.End == nil { // one that ends already goes on doing so
				d.End = &ending{Status: types.DeploymentStatusStopped, Code: types.ErrorCodeManualStop, Message: "The deployment was stopped by request", Return: back}
			}
		})
		if !d.active() {
			out.Status, out.StatusMessage = types.StopStatusSucceeded, new("No more commands will be scheduled for execution in the deployment")
		}
		return err
	})
}
