package resource

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"miniforge/internal/graph"
)

// deployTagsAPI reads the tags of anything of CodeDeploy.
type deployTagsAPI interface {
	ListTagsForResource(context.Context, *codedeploy.ListTagsForResourceInput, ...func(*codedeploy.Options)) (*codedeploy.ListTagsForResourceOutput, error)
}

func deployTags(ctx context.Context, api deployTagsAPI, arn string) (map[string]string, error) {
	out, err := api.ListTagsForResource(ctx, &codedeploy.ListTagsForResourceInput{ResourceArn: &arn})
	if err != nil {
		return nil, err
	}
	return tagMap(out.Tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value }), nil
}

func deployTagList(o Owner) []types.Tag {
	return tagList(o.Tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

// applicationAPI is what an Application asks of CodeDeploy.
type applicationAPI interface {
	GetApplication(context.Context, *codedeploy.GetApplicationInput, ...func(*codedeploy.Options)) (*codedeploy.GetApplicationOutput, error)
	CreateApplication(context.Context, *codedeploy.CreateApplicationInput, ...func(*codedeploy.Options)) (*codedeploy.CreateApplicationOutput, error)
	DeleteApplication(context.Context, *codedeploy.DeleteApplicationInput, ...func(*codedeploy.Options)) (*codedeploy.DeleteApplicationOutput, error)
	deployTagsAPI
}

var _ applicationAPI = (*codedeploy.Client)(nil)

// An Application is a CodeDeploy application for Lambda.
type Application struct {
	CodeDeploy applicationAPI
	Owner      Owner
	Name       string
	ARN        string
}

func (a *Application) ID() string              { return "codedeploy/" + a.Name }
func (a *Application) Needs() []graph.Resource { return nil }

func (a *Application) Observe(ctx context.Context) (graph.Observation, error) {
	var platform types.ComputePlatform
	var tags map[string]string
	err := together(ctx, func(ctx context.Context) error {
		out, err := a.CodeDeploy.GetApplication(ctx, &codedeploy.GetApplicationInput{ApplicationName: &a.Name})
		if err == nil {
			platform = out.Application.ComputePlatform
		}
		return err
	}, func(ctx context.Context) (err error) {
		tags, err = deployTags(ctx, a.CodeDeploy, a.ARN)
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read application", a.Name, err)
	}
	var d drift
	d.replace("ComputePlatform", string(types.ComputePlatformLambda), string(platform))
	return graph.Observation{Exists: true, Owned: a.Owner.owns(tags), Drift: d}, nil
}

func (a *Application) Create(ctx context.Context) error {
	_, err := a.CodeDeploy.CreateApplication(ctx, &codedeploy.CreateApplicationInput{
		ApplicationName: &a.Name, ComputePlatform: types.ComputePlatformLambda, Tags: deployTagList(a.Owner),
	})
	return failed("create application", a.Name, err)
}

// Update is never asked for: all that could differ is the platform.
func (a *Application) Update(context.Context, []graph.Diff) error { return nil }

func (a *Application) Delete(ctx context.Context) error {
	_, err := a.CodeDeploy.DeleteApplication(ctx, &codedeploy.DeleteApplicationInput{ApplicationName: &a.Name})
	return deleted("application "+a.Name, err)
}

// deploymentGroupAPI is what a DeploymentGroup asks of CodeDeploy.
type deploymentGroupAPI interface {
	GetDeploymentGroup(context.Context, *codedeploy.GetDeploymentGroupInput, ...func(*codedeploy.Options)) (*codedeploy.GetDeploymentGroupOutput, error)
	CreateDeploymentGroup(context.Context, *codedeploy.CreateDeploymentGroupInput, ...func(*codedeploy.Options)) (*codedeploy.CreateDeploymentGroupOutput, error)
	UpdateDeploymentGroup(context.Context, *codedeploy.UpdateDeploymentGroupInput, ...func(*codedeploy.Options)) (*codedeploy.UpdateDeploymentGroupOutput, error)
	DeleteDeploymentGroup(context.Context, *codedeploy.DeleteDeploymentGroupInput, ...func(*codedeploy.Options)) (*codedeploy.DeleteDeploymentGroupOutput, error)
	ListDeployments(context.Context, *codedeploy.ListDeploymentsInput, ...func(*codedeploy.Options)) (*codedeploy.ListDeploymentsOutput, error)
	StopDeployment(context.Context, *codedeploy.StopDeploymentInput, ...func(*codedeploy.Options)) (*codedeploy.StopDeploymentOutput, error)
	deployTagsAPI
}

var _ deploymentGroupAPI = (*codedeploy.Client)(nil)

// A DeploymentGroup shifts the alias of one Lambda function, as a group runs
// one deployment at a time. What fails or is stopped is rolled back.
type DeploymentGroup struct {
	CodeDeploy  deploymentGroupAPI
	Owner       Owner
	Application *Application
	Name        string
	ARN         string
	Role        *Role
	Config      string // "CodeDeployDefault.LambdaAllAtOnce"
}

func (g *DeploymentGroup) ID() string { return g.Application.ID() + "/" + g.Name }
func (g *DeploymentGroup) Needs() []graph.Resource {
	return []graph.Resource{g.Application, g.Role}
}

func (g *DeploymentGroup) Observe(ctx context.Context) (graph.Observation, error) {
	var got types.DeploymentGroupInfo
	var tags map[string]string
	err := together(ctx, func(ctx context.Context) error {
		out, err := g.CodeDeploy.GetDeploymentGroup(ctx, &codedeploy.GetDeploymentGroupInput{ApplicationName: &g.Application.Name, DeploymentGroupName: &g.Name})
		if err == nil {
			got = deref(out.DeploymentGroupInfo)
		}
		return err
	}, func(ctx context.Context) (err error) {
		tags, err = deployTags(ctx, g.CodeDeploy, g.ARN)
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read deployment group", g.ID(), err)
	}
	var d drift
	d.add("ServiceRoleArn", g.Role.ARN, deref(got.ServiceRoleArn))
	d.add("DeploymentConfigName", g.Config, deref(got.DeploymentConfigName))
	style, wanted := deref(got.DeploymentStyle), deploymentStyle()
	d.add("DeploymentType", string(wanted.DeploymentType), string(style.DeploymentType))
	d.add("DeploymentOption", string(wanted.DeploymentOption), string(style.DeploymentOption))
	rollback := deref(got.AutoRollbackConfiguration)
	d.bool("AutoRollback", true, rollback.Enabled)
	d.add("AutoRollback.Events", eventNames(rollbackConfiguration()), eventNames(&rollback))
	return graph.Observation{Exists: true, Owned: g.Owner.owns(tags), Drift: d}, nil
}

// deploymentStyle is the only one that Lambda knows.
func deploymentStyle() *types.DeploymentStyle {
	return &types.DeploymentStyle{DeploymentType: types.DeploymentTypeBlueGreen, DeploymentOption: types.DeploymentOptionWithTrafficControl}
}

func rollbackConfiguration() *types.AutoRollbackConfiguration {
	return &types.AutoRollbackConfiguration{Enabled: true, Events: []types.AutoRollbackEvent{
		types.AutoRollbackEventDeploymentFailure, types.AutoRollbackEventDeploymentStopOnAlarm, types.AutoRollbackEventDeploymentStopOnRequest,
	}}
}

func eventNames(c *types.AutoRollbackConfiguration) string {
	var names []string
	for _, e := range c.Events {
		names = append(names, string(e))
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

func (g *DeploymentGroup) Create(ctx context.Context) error {
	_, err := g.CodeDeploy.CreateDeploymentGroup(ctx, &codedeploy.CreateDeploymentGroupInput{
		ApplicationName: &g.Application.Name, DeploymentGroupName: &g.Name, ServiceRoleArn: &g.Role.ARN, DeploymentConfigName: &g.Config,
		DeploymentStyle: deploymentStyle(), AutoRollbackConfiguration: rollbackConfiguration(), Tags: deployTagList(g.Owner),
	})
	return failed("create deployment group", g.ID(), err)
}

func (g *DeploymentGroup) Update(ctx context.Context, _ []graph.Diff) error {
	_, err := g.CodeDeploy.UpdateDeploymentGroup(ctx, &codedeploy.UpdateDeploymentGroupInput{
		ApplicationName: &g.Application.Name, CurrentDeploymentGroupName: &g.Name, ServiceRoleArn: &g.Role.ARN, DeploymentConfigName: &g.Config,
		DeploymentStyle: deploymentStyle(), AutoRollbackConfiguration: rollbackConfiguration(),
	})
	return failed("update deployment group", g.ID(), err)
}

// Delete stops what runs: a deployment would go on without its group, on a
// function that is deleted under it.
func (g *DeploymentGroup) Delete(ctx context.Context) error {
	running, err := g.CodeDeploy.ListDeployments(ctx, &codedeploy.ListDeploymentsInput{
		ApplicationName: &g.Application.Name, DeploymentGroupName: &g.Name,
		IncludeOnlyStatuses: []types.DeploymentStatus{types.DeploymentStatusCreated, types.DeploymentStatusQueued, types.DeploymentStatusInProgress},
	})
	if err != nil && !gone(err) {
		return failed("list deployments of", g.ID(), err)
	}
	if err == nil {
		back := false
		for _, id := range running.Deployments {
			_, err := g.CodeDeploy.StopDeployment(ctx, &codedeploy.StopDeploymentInput{DeploymentId: &id, AutoRollbackEnabled: &back})
			if err != nil && !gone(err) && !hasCode(err, "DeploymentAlreadyCompletedException") {
				return failed("stop deployment", id, err)
			}
		}
	}
	_, err = g.CodeDeploy.DeleteDeploymentGroup(ctx, &codedeploy.DeleteDeploymentGroupInput{ApplicationName: &g.Application.Name, DeploymentGroupName: &g.Name})
	return deleted("deployment group "+g.ID(), err)
}
