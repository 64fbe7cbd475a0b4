package codedeploy

import (
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"miniforge/internal/cloud/store"
)

// finish ends a deployment as it is to end, frees its group for the next, and
// makes the rollback if there is to be one.
func (s *Service) finish(tx *store.Tx, d *deployment) error {
	at := now()
	d.conclude()
	d.Info.Status, d.Info.CompleteTime = d.End.Status, &at
	if d.End.Code != "" {
		text := d.End.Message
		if d.End.Trouble != "" {
			text += ". The alias could not be put back: " + d.End.Trouble
		}
		d.Info.ErrorInformation = &types.ErrorInformation{Code: d.End.Code, Message: &text}
	}
	state := map[types.DeploymentStatus]string{types.DeploymentStatusSucceeded: "SUCCESS", types.DeploymentStatusFailed: "FAILURE", types.DeploymentStatusStopped: "STOP"}[d.End.Status]
	k := key(d.Region, *d.Info.ApplicationName, *d.Info.DeploymentGroupName)
	g, ok, err := groups.Get(tx, k)
	if err != nil {
		return err
	}
	if !ok { // its group went while it ended
		return errors.Join(s.keep(tx, d), s.tell(tx, d, state))
	}
	if g.Active == *d.Info.DeploymentId {
		g.Active = ""
	}
	g.Info.LastAttemptedDeployment = d.summary()
	if d.End.Status == types.DeploymentStatusSucceeded {
		g.Good, g.Info.LastSuccessfulDeployment = *d.Info.DeploymentId, d.summary()
	}
	if d.End.Return {
		if err := s.rollBack(tx, &g, d); err != nil {
			return err
		}
	}
	return errors.Join(groups.Put(tx, k, g), s.keep(tx, d), s.tell(tx, d, state))
}

// conclude sets what is seen of the target and the overview at the end.
func (d *deployment) conclude() {
	good := d.End.Status == types.DeploymentStatusSucceeded
	d.Info.DeploymentOverview = &types.DeploymentOverview{}
	switch {
	case good:
		d.Info.DeploymentOverview.Succeeded = 1
	case d.Target == nil || d.End.Status == types.DeploymentStatusStopped:
		d.Info.DeploymentOverview.Skipped = 1
	default:
		d.Info.DeploymentOverview.Failed = 1
	}
	if d.Target == nil {
		return
	}
	d.Target.LastUpdatedAt = new(now())
	switch d.Target.Status = types.TargetStatusSucceeded; {
	case good:
	case d.End.Status == types.DeploymentStatusStopped:
		d.Target.Status = types.TargetStatusSkipped
	default:
		d.Target.Status = types.TargetStatusFailed
	}
	for i := range d.Target.LifecycleEvents {
		if e := &d.Target.LifecycleEvents[i]; e.Status == types.LifecycleEventStatusPending || e.Status == types.LifecycleEventStatusInProgress {
			e.Status = types.LifecycleEventStatusSkipped
		}
	}
}

// rollBack makes the deployment that returns to the last good revision. The
// traffic is back already when it starts (see putBack): a caller who sees the
// deployment failed sees nothing of it in the alias.
func (s *Service) rollBack(tx *store.Tx, g *group, d *deployment) error {
	if !d.Checked {
		// The revision may be wrong about where the alias belongs.
		d.Info.RollbackInfo = &types.RollbackInfo{RollbackMessage: new("The deployment changed nothing: there is nothing to roll back")}
		return nil
	}
	if g.Good == "" {
		d.Info.RollbackInfo = &types.RollbackInfo{RollbackMessage: new("No revision was deployed successfully to the deployment group before: there is none to roll back to")}
		return nil
	}
	good, ok, err := deployments.Get(tx, key(d.Region, g.Good))
	if err != nil {
		return err
	}
	if !ok {
		d.Info.RollbackInfo = &types.RollbackInfo{RollbackMessage: new("The last good deployment is not known any more: there is no revision to roll back to")}
		return nil
	}
	back := deployment{
		Region: d.Region, Role: *g.Info.ServiceRoleArn, Rollback: true, Routing: *standard[allAtOnce].TrafficRoutingConfig,
		// Wherever the last good revision is said to lead: the alias belongs
		// to the version that it was on when the failed deployment began.
		Spec: &appSpec{Function: d.Spec.Function, Alias: d.Spec.Alias, Current: d.Spec.Target, Target: d.Spec.Current},
		Info: types.DeploymentInfo{
			ApplicationName: d.Info.ApplicationName, DeploymentGroupName: d.Info.DeploymentGroupName, DeploymentConfigName: new(allAtOnce),
			ComputePlatform: types.ComputePlatformLambda, Creator: types.DeploymentCreatorCodeDeployRollback, DeploymentStyle: d.Info.DeploymentStyle,
			Revision: good.Info.Revision, Description: new("Rollback of deployment " + *d.Info.DeploymentId),
			RollbackInfo: &types.RollbackInfo{RollbackTriggeringDeploymentId: d.Info.DeploymentId, RollbackMessage: new("Deployment " + *d.Info.DeploymentId + " rolled back to the revision of deployment " + g.Good)},
		},
	}
	if err := s.launch(tx, g, &back); err != nil {
		return err
	}
	d.Info.RollbackInfo = &types.RollbackInfo{RollbackDeploymentId: back.Info.DeploymentId, RollbackMessage: back.Info.RollbackInfo.RollbackMessage}
	return s.tell(tx, d, "ROLLBACK")
}
