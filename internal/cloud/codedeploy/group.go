package codedeploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// groupResource is what follows the account in a group's ARN.
func groupResource(app, group string) string { return "deploymentgroup:" + app + "/" + group }

// onGroup judges an operation on the group it names.
func onGroup[In any](of func(*In) (app, group *string)) wire.Option {
	return wire.On(func(c *wire.Call, in *In) []string {
		app, group := of(in)
		return []string{c.ARN("codedeploy", groupResource(aws.ToString(app), aws.ToString(group)))}
	})
}

// passing is what a caller needs to hand a role to CodeDeploy.
func passing(role *string) []authz.Access {
	if aws.ToString(role) == "" {
		return nil
	}
	return []authz.Access{{Action: "iam:PassRole", Resource: *role, Context: map[string][]string{"iam:PassedToService": {"codedeploy.amazonaws.com"}}}}
}

func (s *Service) registerGroups(api *wire.API) {
	wire.Handle(api, s.CreateDeploymentGroup, wire.Needs(func(c *wire.Call, in *sdk.CreateDeploymentGroupInput) []authz.Access {
		arn := c.ARN("codedeploy", groupResource(aws.ToString(in.ApplicationName), aws.ToString(in.DeploymentGroupName)))
		return append([]authz.Access{{Action: "codedeploy:CreateDeploymentGroup", Resource: arn}}, passing(in.ServiceRoleArn)...)
	}))
	wire.Handle(api, s.UpdateDeploymentGroup, wire.Needs(func(c *wire.Call, in *sdk.UpdateDeploymentGroupInput) []authz.Access {
		arn := c.ARN("codedeploy", groupResource(aws.ToString(in.ApplicationName), aws.ToString(in.CurrentDeploymentGroupName)))
		return append([]authz.Access{{Action: "codedeploy:UpdateDeploymentGroup", Resource: arn}}, passing(in.ServiceRoleArn)...)
	}))
	wire.Handle(api, s.GetDeploymentGroup, onGroup(func(in *sdk.GetDeploymentGroupInput) (a, g *string) {
		return in.ApplicationName, in.DeploymentGroupName
	}))
	wire.Handle(api, s.DeleteDeploymentGroup, onGroup(func(in *sdk.DeleteDeploymentGroupInput) (a, g *string) {
		return in.ApplicationName, in.DeploymentGroupName
	}))
	wire.Handle(api, s.ListDeploymentGroups, onApp(func(in *sdk.ListDeploymentGroupsInput) *string { return in.ApplicationName }))
	wire.Handle(api, s.BatchGetDeploymentGroups, wire.On(func(c *wire.Call, in *sdk.BatchGetDeploymentGroupsInput) (all []string) {
		for _, n := range in.DeploymentGroupNames {
			all = append(all, c.ARN("codedeploy", groupResource(aws.ToString(in.ApplicationName), n)))
		}
		return all
	}))
}

// loadGroup is the group that a request names.
func loadGroup(tx *store.Tx, region string, app, name *string) (group, error) {
	if err := first(checkApp(app), checkGroup(name)); err != nil {
		return group{}, err
	}
	if _, err := loadApp(tx, region, app); err != nil {
		return group{}, err
	}
	g, ok, err := groups.Get(tx, key(region, *app, *name))
	if err == nil && !ok {
		err = noGroup(*name)
	}
	return g, err
}

// CreateDeploymentGroup makes a group, once its role is seen to be one that
// CodeDeploy may assume.
func (s *Service) CreateDeploymentGroup(ctx context.Context, in *sdk.CreateDeploymentGroupInput) (*sdk.CreateDeploymentGroupOutput, error) {
	call := wire.CallOf(ctx)
	info := types.DeploymentGroupInfo{
		ApplicationName: in.ApplicationName, DeploymentGroupName: in.DeploymentGroupName, DeploymentGroupId: new(uuid.NewString()),
		ComputePlatform: types.ComputePlatformLambda, ServiceRoleArn: in.ServiceRoleArn, DeploymentConfigName: in.DeploymentConfigName,
		DeploymentStyle: in.DeploymentStyle, AlarmConfiguration: in.AlarmConfiguration, AutoRollbackConfiguration: in.AutoRollbackConfiguration,
		BlueGreenDeploymentConfiguration: in.BlueGreenDeploymentConfiguration, TriggerConfigurations: in.TriggerConfigurations,
		OutdatedInstancesStrategy: in.OutdatedInstancesStrategy,
	}
	if info.DeploymentConfigName == nil {
		info.DeploymentConfigName = new(allAtOnce)
	}
	hosts := len(in.AutoScalingGroups)+len(in.Ec2TagFilters)+len(in.OnPremisesInstanceTagFilters)+len(in.EcsServices) > 0 ||
		in.Ec2TagSet != nil || in.OnPremisesTagSet != nil || in.LoadBalancerInfo != nil
	if err := checkGroupInfo(&info, hosts); err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	if err := s.DB.View(func(tx *store.Tx) error { return checkNewGroup(tx, call.Region, &info) }); err != nil {
		return nil, err
	}
	if _, err := s.assume(ctx, call.Region, *in.ApplicationName, *in.DeploymentGroupName, *in.ServiceRoleArn); err != nil {
		return nil, invalidRole(err, *in.ServiceRoleArn)
	}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if err := checkNewGroup(tx, call.Region, &info); err != nil {
			return err
		}
		return groups.Put(tx, key(call.Region, *in.ApplicationName, *in.DeploymentGroupName), group{Info: info, Tags: tags})
	})
	return &sdk.CreateDeploymentGroupOutput{DeploymentGroupId: info.DeploymentGroupId}, err
}

// checkNewGroup tells whether a group may be made.
func checkNewGroup(tx *store.Tx, region string, info *types.DeploymentGroupInfo) error {
	if _, err := loadApp(tx, region, info.ApplicationName); err != nil {
		return err
	}
	if _, err := loadConfig(tx, region, info.DeploymentConfigName); err != nil {
		return err
	}
	_, taken, err := groups.Get(tx, key(region, *info.ApplicationName, *info.DeploymentGroupName))
	if err == nil && taken {
		err = &types.DeploymentGroupAlreadyExistsException{Message: new("Deployment group name already exists: " + *info.DeploymentGroupName)}
	}
	return err
}

// checkGroupInfo checks what a group holds; hosts says that it names
// instances or services, which a Lambda group has none of.
func checkGroupInfo(info *types.DeploymentGroupInfo, hosts bool) error {
	if err := first(checkApp(info.ApplicationName), checkGroup(info.DeploymentGroupName), checkConfig(info.DeploymentConfigName)); err != nil {
		return err
	}
	if aws.ToString(info.ServiceRoleArn) == "" {
		return &types.RoleRequiredException{Message: new("A service role ARN must be specified.")}
	}
	if hosts {
		return &types.InvalidInputException{Message: new("For Lambda deployment group, instances, ECS services and load balancers can not be specified")}
	}
	if err := checkStyle(info.DeploymentStyle); err != nil {
		return err
	}
	if info.BlueGreenDeploymentConfiguration != nil {
		return &types.InvalidBlueGreenDeploymentConfigurationException{Message: new("For Lambda deployment group, blueGreenDeploymentConfiguration can not be specified")}
	}
	return first(checkRollback(info.AutoRollbackConfiguration), checkAlarms(info.AlarmConfiguration), checkTriggers(info.TriggerConfigurations))
}

func checkStyle(style *types.DeploymentStyle) error {
	switch {
	case style == nil || style.DeploymentType != types.DeploymentTypeBlueGreen:
		return &types.InvalidDeploymentStyleException{Message: new("For Lambda deployment group, deployment type can be set to BLUE_GREEN only.")}
	case style.DeploymentOption != types.DeploymentOptionWithTrafficControl:
		return &types.InvalidDeploymentStyleException{Message: new("For Lambda deployment group, deployment option can be set to WITH_TRAFFIC_CONTROL only.")}
	}
	return nil
}

func checkRollback(c *types.AutoRollbackConfiguration) error {
	if c == nil {
		return nil
	}
	for _, e := range c.Events {
		switch e {
		case types.AutoRollbackEventDeploymentFailure, types.AutoRollbackEventDeploymentStopOnAlarm, types.AutoRollbackEventDeploymentStopOnRequest:
		default:
			return &types.InvalidAutoRollbackConfigException{Message: new(fmt.Sprintf("Invalid auto rollback event: %s", e))}
		}
	}
	if c.Enabled && len(c.Events) == 0 {
		return &types.InvalidAutoRollbackConfigException{Message: new("At least one auto rollback event must be specified when automatic rollback is enabled")}
	}
	return nil
}

const maxAlarms = 10

func checkAlarms(c *types.AlarmConfiguration) error {
	if c == nil {
		return nil
	}
	if len(c.Alarms) > maxAlarms {
		return &types.AlarmsLimitExceededException{Message: new("The maximum number of alarms for a deployment group (10) was exceeded")}
	}
	seen := map[string]bool{}
	for _, a := range c.Alarms {
		n := aws.ToString(a.Name)
		if n == "" || len(n) > 255 || seen[n] {
			return &types.InvalidAlarmConfigException{Message: new("Alarm names must be unique, and have 1 to 255 characters: '" + n + "'")}
		}
		seen[n] = true
	}
	if c.Enabled && len(c.Alarms) == 0 {
		return &types.InvalidAlarmConfigException{Message: new("The alarm configuration is enabled, but its list of alarms is empty")}
	}
	return nil
}

const maxTriggers = 10

func checkTriggers(all []types.TriggerConfig) error {
	if len(all) > maxTriggers {
		return &types.TriggerTargetsLimitExceededException{Message: new("The maximum allowed number of triggers was exceeded")}
	}
	for _, t := range all {
		if aws.ToString(t.TriggerName) == "" || aws.ToString(t.TriggerTargetArn) == "" || len(t.TriggerEvents) == 0 {
			return &types.InvalidTriggerConfigException{Message: new("A trigger needs a name, a target ARN and at least one event")}
		}
		for _, e := range t.TriggerEvents {
			if !knownTrigger[e] {
				return &types.InvalidTriggerConfigException{Message: new(fmt.Sprintf("Invalid trigger event: %s", e))}
			}
		}
	}
	return nil
}

var knownTrigger = func() map[types.TriggerEventType]bool {
	m := map[types.TriggerEventType]bool{}
	for _, e := range types.TriggerEventType("").Values() {
		m[e] = true
	}
	return m
}()

// GetDeploymentGroup tells a group.
func (s *Service) GetDeploymentGroup(ctx context.Context, in *sdk.GetDeploymentGroupInput) (*sdk.GetDeploymentGroupOutput, error) {
	out := &sdk.GetDeploymentGroupOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		g, err := loadGroup(tx, wire.CallOf(ctx).Region, in.ApplicationName, in.DeploymentGroupName)
		out.DeploymentGroupInfo = &g.Info
		return err
	})
}

// BatchGetDeploymentGroups tells groups of an application; those that are not
// there are named in an error message, as AWS does.
func (s *Service) BatchGetDeploymentGroups(ctx context.Context, in *sdk.BatchGetDeploymentGroupsInput) (*sdk.BatchGetDeploymentGroupsOutput, error) {
	if len(in.DeploymentGroupNames) == 0 {
		return nil, first(checkApp(in.ApplicationName), checkGroup(nil))
	}
	if err := checkBatch(len(in.DeploymentGroupNames), maxBatch); err != nil {
		return nil, err
	}
	out := &sdk.BatchGetDeploymentGroupsOutput{DeploymentGroupsInfo: []types.DeploymentGroupInfo{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for _, n := range in.DeploymentGroupNames {
			g, err := loadGroup(tx, wire.CallOf(ctx).Region, in.ApplicationName, &n)
			if missing, ok := errors.AsType[*types.DeploymentGroupDoesNotExistException](err); ok {
				out.ErrorMessage = missing.Message
				continue
			}
			if err != nil {
				return err
			}
			out.DeploymentGroupsInfo = append(out.DeploymentGroupsInfo, g.Info)
		}
		return nil
	})
}

// ListDeploymentGroups lists the names of an application's groups.
func (s *Service) ListDeploymentGroups(ctx context.Context, in *sdk.ListDeploymentGroupsInput) (*sdk.ListDeploymentGroupsOutput, error) {
	if err := checkApp(in.ApplicationName); err != nil {
		return nil, err
	}
	region := wire.CallOf(ctx).Region
	out := &sdk.ListDeploymentGroupsOutput{ApplicationName: in.ApplicationName, DeploymentGroups: []string{}}
	prefix := key(region, *in.ApplicationName) + "/"
	from, err := openToken(in.NextToken, prefix)
	if err != nil {
		return nil, err
	}
	return out, s.DB.View(func(tx *store.Tx) error {
		if _, err := loadApp(tx, region, in.ApplicationName); err != nil {
			return err
		}
		var p pager
		for r, err := range groups.Range(tx, max(prefix, from+"\x00"), store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			if p.full(r.Key) {
				break
			}
			out.DeploymentGroups = append(out.DeploymentGroups, *r.Value.Info.DeploymentGroupName)
		}
		out.NextToken = p.next
		return nil
	})
}
