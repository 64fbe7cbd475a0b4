package codedeploy

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// UpdateDeploymentGroup changes what a request names of a group; a deployment
// under way goes on with what it began with.
func (s *Service) UpdateDeploymentGroup(ctx context.Context, in *sdk.UpdateDeploymentGroupInput) (*sdk.UpdateDeploymentGroupOutput, error) {
	region := wire.CallOf(ctx).Region
	if in.NewDeploymentGroupName != nil {
		if err := checkGroup(in.NewDeploymentGroupName); err != nil {
			return nil, err
		}
	}
	hosts := len(in.AutoScalingGroups)+len(in.Ec2TagFilters)+len(in.OnPremisesInstanceTagFilters)+len(in.EcsServices) > 0 ||
		in.Ec2TagSet != nil || in.OnPremisesTagSet != nil || in.LoadBalancerInfo != nil
	var g group
	change := func(tx *store.Tx) (err error) {
		if g, err = loadGroup(tx, region, in.ApplicationName, in.CurrentDeploymentGroupName); err != nil {
			return err
		}
		amend(&g.Info, in)
		if err := checkGroupInfo(&g.Info, hosts); err != nil {
			return err
		}
		_, err = loadConfig(tx, region, g.Info.DeploymentConfigName)
		return err
	}
	if err := s.DB.View(change); err != nil {
		return nil, err
	}
	if in.ServiceRoleArn != nil {
		if _, err := s.assume(ctx, region, *in.ApplicationName, *in.CurrentDeploymentGroupName, *in.ServiceRoleArn); err != nil {
			return nil, invalidRole(err, *in.ServiceRoleArn)
		}
	}
	return &sdk.UpdateDeploymentGroupOutput{HooksNotCleanedUp: []types.AutoScalingGroup{}}, s.DB.Update(ctx, func(tx *store.Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		k := key(region, *in.ApplicationName, *in.CurrentDeploymentGroupName)
		next := aws.ToString(in.NewDeploymentGroupName)
		if next == "" || next == *in.CurrentDeploymentGroupName {
			return groups.Put(tx, k, g)
		}
		return s.renameGroup(tx, region, g, *in.ApplicationName, next)
	})
}

// amend sets what a request names.
func amend(info *types.DeploymentGroupInfo, in *sdk.UpdateDeploymentGroupInput) {
	if in.ServiceRoleArn != nil {
		info.ServiceRoleArn = in.ServiceRoleArn
	}
	if in.DeploymentConfigName != nil {
		info.DeploymentConfigName = in.DeploymentConfigName
	}
	if in.DeploymentStyle != nil {
		info.DeploymentStyle = in.DeploymentStyle
	}
	if in.AlarmConfiguration != nil {
		info.AlarmConfiguration = in.AlarmConfiguration
	}
	if in.AutoRollbackConfiguration != nil {
		info.AutoRollbackConfiguration = in.AutoRollbackConfiguration
	}
	if in.BlueGreenDeploymentConfiguration != nil {
		info.BlueGreenDeploymentConfiguration = in.BlueGreenDeploymentConfiguration
	}
	if in.TriggerConfigurations != nil {
		info.TriggerConfigurations = in.TriggerConfigurations
	}
	if in.OutdatedInstancesStrategy != "" {
		info.OutdatedInstancesStrategy = in.OutdatedInstancesStrategy
	}
}

// renameGroup moves a group to another application's or its own new name,
// with its deployments.
func (s *Service) renameGroup(tx *store.Tx, region string, g group, app, name string) error {
	old, next := key(region, *g.Info.ApplicationName, *g.Info.DeploymentGroupName), key(region, app, name)
	if _, taken, err := groups.Get(tx, next); err != nil || taken {
		if taken {
			err = &types.DeploymentGroupAlreadyExistsException{Message: new("Deployment group name already exists: " + name)}
		}
		return err
	}
	all, err := deploymentsOf(tx, old)
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := history.Delete(tx, d.indexKeys()[1]); err != nil {
			return err
		}
		d.Info.ApplicationName, d.Info.DeploymentGroupName = &app, &name
		if err := errors.Join(deployments.Put(tx, d.key(), d), history.Put(tx, d.indexKeys()[1], *d.Info.DeploymentId)); err != nil {
			return err
		}
	}
	g.Info.ApplicationName, g.Info.DeploymentGroupName = &app, &name
	return errors.Join(groups.Delete(tx, old), groups.Put(tx, next, g))
}

// moveGroups moves all groups of an application to another name of it.
func (s *Service) moveGroups(tx *store.Tx, region, app, next string) error {
	var all []group
	for r, err := range groups.Prefix(tx, key(region, app)+"/") {
		if err != nil {
			return err
		}
		all = append(all, r.Value)
	}
	for _, g := range all {
		if err := s.renameGroup(tx, region, g, next, *g.Info.DeploymentGroupName); err != nil {
			return err
		}
	}
	return nil
}

// deploymentsOf reads the deployments of the group under a key, oldest first.
func deploymentsOf(tx *store.Tx, group string) (all []deployment, err error) {
	region, _, _ := strings.Cut(group, "/")
	for r, err := range history.Prefix(tx, group+"/") {
		if err != nil {
			return nil, err
		}
		d, ok, err := deployments.Get(tx, key(region, r.Value))
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, d)
		}
	}
	return all, nil
}

// DeleteDeploymentGroup removes a group and the history of its deployments; a
// missing group is no error. A deployment under way ends with its group.
func (s *Service) DeleteDeploymentGroup(ctx context.Context, in *sdk.DeleteDeploymentGroupInput) (*sdk.DeleteDeploymentGroupOutput, error) {
	if err := first(checkApp(in.ApplicationName), checkGroup(in.DeploymentGroupName)); err != nil {
		return nil, err
	}
	k := key(wire.CallOf(ctx).Region, *in.ApplicationName, *in.DeploymentGroupName)
	return &sdk.DeleteDeploymentGroupOutput{HooksNotCleanedUp: []types.AutoScalingGroup{}}, s.DB.Update(ctx, func(tx *store.Tx) error {
		return s.removeGroup(tx, k)
	})
}

// removeGroup removes the group under a key and its deployments.
func (s *Service) removeGroup(tx *store.Tx, k string) error {
	all, err := deploymentsOf(tx, k)
	if err != nil {
		return err
	}
	for _, d := range all {
		index := d.indexKeys()
		if err := errors.Join(history.Delete(tx, index[0]), history.Delete(tx, index[1]), deployments.Delete(tx, d.key()), s.Tasks.Finish(tx, stepKind, d.key())); err != nil {
			return err
		}
		tx.OnCommit(func() { s.Signals.Notify(signal(d.Region, *d.Info.DeploymentId)) })
	}
	return groups.Delete(tx, k)
}
