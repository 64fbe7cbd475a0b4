package codedeploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestParseAppSpec(t *testing.T) {
	good := &appSpec{Function: "f", Alias: "live", Current: "1", Target: "2"}
	const props = "    Type: AWS::Lambda::Function\n    Properties: {Name: f, Alias: live, CurrentVersion: 1, TargetVersion: 2}\n"
	for name, c := range map[string]struct {
		text, problem string
		want          *appSpec
	}{
		"yaml":              {"version: 0.0\nResources:\n- x:\n" + props, "", good},
		"lower case":        {"version: 0.0\nresources:\n- x:\n    type: AWS::Lambda::Function\n    properties: {name: f, alias: live, currentversion: '1', targetversion: \"2\"}\n", "", good},
		"json":              {`{"version":0.0,"Resources":[{"x":{"Type":"AWS::Lambda::Function","Properties":{"Name":"f","Alias":"live","CurrentVersion":"1","TargetVersion":"2"}}}]}`, "", good},
		"hooks":             {"version: 0.0\nResources:\n- x:\n" + props + "Hooks:\n- BeforeAllowTraffic: a\n- AfterAllowTraffic: b\n", "", &appSpec{Function: "f", Alias: "live", Current: "1", Target: "2", Hooks: map[string]string{"BeforeAllowTraffic": "a", "AfterAllowTraffic": "b"}}},
		"no version":        {"Resources:\n- x:\n" + props, "no version", nil},
		"another version":   {"version: 1.0\nResources:\n- x:\n" + props, "version 1", nil},
		"no resources":      {"version: 0.0\n", "no Resources", nil},
		"two resources":     {"version: 0.0\nResources:\n- x:\n" + props + "- y:\n" + props, "2 Resources", nil},
		"another type":      {"version: 0.0\nResources:\n- x:\n    Type: AWS::ECS::Service\n    Properties: {}\n", "AWS::ECS::Service", nil},
		"missing property":  {"version: 0.0\nResources:\n- x:\n    Type: AWS::Lambda::Function\n    Properties: {Name: f, CurrentVersion: 1, TargetVersion: 2}\n", "property Alias", nil},
		"unknown property":  {"version: 0.0\nResources:\n- x:\n    Type: AWS::Lambda::Function\n    Properties: {Name: f, Port: 1}\n", "Port", nil},
		"$LATEST":           {"version: 0.0\nResources:\n- x:\n    Type: AWS::Lambda::Function\n    Properties: {Name: f, Alias: live, CurrentVersion: 1, TargetVersion: $LATEST}\n", "$LATEST", nil},
		"unknown hook":      {"version: 0.0\nResources:\n- x:\n" + props + "Hooks:\n- AfterInstall: a\n", "AfterInstall", nil},
		"hook twice":        {"version: 0.0\nResources:\n- x:\n" + props + "Hooks:\n- BeforeAllowTraffic: a\n- BeforeAllowTraffic: b\n", "twice", nil},
		"unknown section":   {"version: 0.0\nfiles: []\nResources:\n- x:\n" + props, "files", nil},
		"not a mapping":     {"- a\n", "must be a mapping", nil},
		"nothing":           {"", "must be a mapping", nil},
		"not yaml":          {"a: [", "well-formed", nil},
		"far too long":      {strings.Repeat("#", maxAppSpec+1), "at most", nil},
		"properties a list": {"version: 0.0\nResources:\n- x:\n    Type: AWS::Lambda::Function\n    Properties: [a]\n", "must be a mapping", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseAppSpec(c.text)
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Errorf("error %v, want one with %q", err, c.problem)
				}
				return
			}
			if d := cmp.Diff(c.want, got); err != nil || d != "" {
				t.Errorf("%v %s", err, d)
			}
		})
	}
}

func TestParseAppSpecNeverPanics(t *testing.T) {
	words := []string{"version: 0.0\n", "Resources:\n", "- x:\n", "    Type: AWS::Lambda::Function\n", "    Properties:\n", "      Name: f\n", "Hooks:\n", "- ", "&a ", "*a\n", "{", "}", "[", "]", ": ", "\n", "? ", "!!x ", "|\n", "\"", "<<: *a\n"}
	rapid.Check(t, func(t *rapid.T) {
		_, _ = parseAppSpec(strings.Join(rapid.SliceOf(rapid.SampledFrom(words)).Draw(t, "words"), ""))
	})
}

func TestRefusals(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		create := func(change func(*sdk.CreateDeploymentInput)) error {
			in := &sdk.CreateDeploymentInput{ApplicationName: new("app"), DeploymentGroupName: new("g"), Revision: spec(1, 2)}
			change(in)
			_, err := r.CreateDeployment(r.ctx, in)
			return err
		}
		group := func(change func(*sdk.CreateDeploymentGroupInput)) error {
			in := newGroup("other")
			change(in)
			_, err := r.CreateDeploymentGroup(r.ctx, in)
			return err
		}
		config := func(routing *types.TrafficRoutingConfig) error {
			_, err := r.CreateDeploymentConfig(r.ctx, &sdk.CreateDeploymentConfigInput{DeploymentConfigName: new("c"), ComputePlatform: types.ComputePlatformLambda, TrafficRoutingConfig: routing})
			return err
		}
		app := func(name *string, p types.ComputePlatform) error {
			_, err := r.CreateApplication(r.ctx, &sdk.CreateApplicationInput{ApplicationName: name, ComputePlatform: p})
			return err
		}
		zip := inS3()
		zip.S3Location.BundleType = types.BundleTypeZip
		wrong := spec(1, 2)
		wrong.AppSpecContent.Sha256 = new("00")
		unknown := &types.RevisionLocation{RevisionType: types.RevisionLocationTypeAppSpecContent, AppSpecContent: &types.AppSpecContent{Sha256: new("00")}}
		for i, c := range []struct {
			err  error
			want string
		}{
			{app(nil, types.ComputePlatformLambda), "ApplicationNameRequiredException"},
			{app(new("a/b"), types.ComputePlatformLambda), "InvalidApplicationNameException"},
			{app(new("app"), types.ComputePlatformLambda), "ApplicationAlreadyExistsException"},
			{app(new("ecs"), types.ComputePlatformEcs), "InvalidComputePlatformException"},
			{app(new("none"), ""), "InvalidComputePlatformException"},
			{group(func(in *sdk.CreateDeploymentGroupInput) { in.ApplicationName = new("no") }), "ApplicationDoesNotExistException"},
			{group(func(in *sdk.CreateDeploymentGroupInput) { in.DeploymentGroupName = new("g") }), "DeploymentGroupAlreadyExistsException"},
			{group(func(in *sdk.CreateDeploymentGroupInput) { in.ServiceRoleArn = nil }), "RoleRequiredException"},
			{group(func(in *sdk.CreateDeploymentGroupInput) { in.DeploymentConfigName = new("no") }), "DeploymentConfigDoesNotExistException"},
			{group(func(in *sdk.CreateDeploymentGroupInput) { in.DeploymentStyle = nil }), "InvalidDeploymentStyleException"},
			{group(func(in *sdk.CreateDeploymentGroupInput) {
				in.DeploymentStyle.DeploymentOption = types.DeploymentOptionWithoutTrafficControl
			}), "InvalidDeploymentStyleException"},
			{group(func(in *sdk.CreateDeploymentGroupInput) { in.AutoRollbackConfiguration.Events = nil }), "InvalidAutoRollbackConfigException"},
			{group(func(in *sdk.CreateDeploymentGroupInput) {
				in.AlarmConfiguration = &types.AlarmConfiguration{Enabled: true}
			}), "InvalidAlarmConfigException"},
			{group(func(in *sdk.CreateDeploymentGroupInput) { in.AutoScalingGroups = []string{"asg"} }), "InvalidInputException"},
			{group(func(in *sdk.CreateDeploymentGroupInput) { in.Tags = []types.Tag{{Key: new("aws:x")}} }), "InvalidTagsToAddException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.ApplicationName = new("no") }), "ApplicationDoesNotExistException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.DeploymentGroupName = new("no") }), "DeploymentGroupDoesNotExistException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.DeploymentGroupName = nil }), "DeploymentGroupNameRequiredException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.Revision = nil }), "RevisionRequiredException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.Revision = zip }), "InvalidRevisionException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.Revision = wrong }), "InvalidRevisionException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.Revision = unknown }), "RevisionDoesNotExistException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.Revision = spec(1, 2, "Install: x") }), "InvalidRevisionException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.FileExistsBehavior = types.FileExistsBehaviorOverwrite }), "InvalidFileExistsBehaviorException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.IgnoreApplicationStopFailures = true }), "InvalidIgnoreApplicationStopFailuresValueException"},
			{create(func(in *sdk.CreateDeploymentInput) { in.Description = new(strings.Repeat("x", 257)) }), "DescriptionTooLongException"},
			{config(&types.TrafficRoutingConfig{Type: types.TrafficRoutingTypeTimeBasedCanary}), "InvalidTrafficRoutingConfigurationException"},
			{config(&types.TrafficRoutingConfig{Type: types.TrafficRoutingTypeTimeBasedLinear, TimeBasedLinear: &types.TimeBasedLinear{LinearPercentage: 1, LinearInterval: 60}}), "InvalidTrafficRoutingConfigurationException"},
		} {
			if code(c.err) != c.want {
				t.Errorf("case %d: %v, want %s", i, c.err, c.want)
			}
		}
		r.noRole = true
		if err := group(func(*sdk.CreateDeploymentGroupInput) {}); code(err) != "InvalidRoleException" || !strings.Contains(err.Error(), "permissions required to assume the role") {
			t.Error(err)
		}
	})
}

func TestRevisions(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for range 2 { // to register one again changes nothing
			must(r.RegisterApplicationRevision(r.ctx, &sdk.RegisterApplicationRevisionInput{ApplicationName: new("app"), Revision: spec(1, 2), Description: new("first")}))
		}
		must(r.RegisterApplicationRevision(r.ctx, &sdk.RegisterApplicationRevisionInput{ApplicationName: new("app"), Revision: inS3()}))
		got := must(r.GetApplicationRevision(r.ctx, &sdk.GetApplicationRevisionInput{ApplicationName: new("app"), Revision: spec(1, 2)}))
		if *got.RevisionInfo.Description != "first" || got.RevisionInfo.FirstUsedTime != nil || got.Revision.AppSpecContent.Sha256 == nil {
			t.Errorf("%+v", got.RevisionInfo)
		}
		r.is(r.deploy("", &types.RevisionLocation{RevisionType: types.RevisionLocationTypeAppSpecContent, AppSpecContent: &types.AppSpecContent{Sha256: got.Revision.AppSpecContent.Sha256}}), types.DeploymentStatusSucceeded, "")
		used := must(r.GetApplicationRevision(r.ctx, &sdk.GetApplicationRevisionInput{ApplicationName: new("app"), Revision: spec(1, 2)})).RevisionInfo
		if used.FirstUsedTime == nil || !slices.Equal(used.DeploymentGroups, []string{"g"}) {
			t.Errorf("%+v", used)
		}
		for deployed, want := range map[types.ListStateFilterAction]int{"": 2, types.ListStateFilterActionInclude: 1, types.ListStateFilterActionExclude: 1, types.ListStateFilterActionIgnore: 2} {
			if all := must(r.ListApplicationRevisions(r.ctx, &sdk.ListApplicationRevisionsInput{ApplicationName: new("app"), Deployed: deployed})).Revisions; len(all) != want {
				t.Errorf("%q lists %d, want %d", deployed, len(all), want)
			}
		}
		if _, err := r.GetApplicationRevision(r.ctx, &sdk.GetApplicationRevisionInput{ApplicationName: new("app"), Revision: spec(8, 9)}); code(err) != "RevisionDoesNotExistException" {
			t.Error(err)
		}
	})
}

func TestDeploymentsAreListedLatestFirst(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var want []string
		for i := range 130 {
			time.Sleep(time.Second)
			id := r.deploy("", spec(i+1, i+2))
			r.is(id, types.DeploymentStatusSucceeded, "")
			want = append([]string{id}, want...)
		}
		for _, in := range []*sdk.ListDeploymentsInput{{}, {ApplicationName: new("app"), DeploymentGroupName: new("g")}} {
			var got []string
			pages := sdk.NewListDeploymentsPaginator(lister{r}, in)
			for pages.HasMorePages() {
				got = append(got, must(pages.NextPage(r.ctx)).Deployments...)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		}
		if got := must(r.ListDeployments(r.ctx, &sdk.ListDeploymentsInput{IncludeOnlyStatuses: []types.DeploymentStatus{types.DeploymentStatusFailed}})).Deployments; len(got) != 0 {
			t.Errorf("failed ones: %v", got)
		}
		if _, err := r.ListDeployments(r.ctx, &sdk.ListDeploymentsInput{NextToken: new("x")}); code(err) != "InvalidNextTokenException" {
			t.Error(err)
		}
	})
}

// A lister is the service as the SDK's paginators want it.
type lister struct{ r *rig }

func (l lister) ListDeployments(ctx context.Context, in *sdk.ListDeploymentsInput, _ ...func(*sdk.Options)) (*sdk.ListDeploymentsOutput, error) {
	return l.r.ListDeployments(ctx, in)
}

func TestRenamedApplicationKeepsAll(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		done := r.deploy("", spec(1, 2))
		r.is(done, types.DeploymentStatusSucceeded, "")
		running := r.deploy("LambdaCanary10Percent5Minutes", spec(2, 3))
		must(r.UpdateApplication(r.ctx, &sdk.UpdateApplicationInput{ApplicationName: new("app"), NewApplicationName: new("new")}))
		must(r.UpdateDeploymentGroup(r.ctx, &sdk.UpdateDeploymentGroupInput{ApplicationName: new("new"), CurrentDeploymentGroupName: new("g"), NewDeploymentGroupName: new("h")}))
		time.Sleep(6 * time.Minute)
		r.is(running, types.DeploymentStatusSucceeded, "")
		got := must(r.ListDeployments(r.ctx, &sdk.ListDeploymentsInput{ApplicationName: new("new"), DeploymentGroupName: new("h")})).Deployments
		slices.Sort(got)
		want := []string{done, running}
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if all := must(r.ListApplicationRevisions(r.ctx, &sdk.ListApplicationRevisionsInput{ApplicationName: new("new")})).Revisions; len(all) != 2 {
			t.Errorf("%d revisions", len(all))
		}
		g := must(r.GetDeploymentGroup(r.ctx, &sdk.GetDeploymentGroupInput{ApplicationName: new("new"), DeploymentGroupName: new("h")})).DeploymentGroupInfo
		if aws.ToString(g.LastSuccessfulDeployment.DeploymentId) != running {
			t.Errorf("%+v", g)
		}
	})
}

func TestConfigs(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		must(r.CreateDeploymentConfig(r.ctx, &sdk.CreateDeploymentConfigInput{DeploymentConfigName: new("half"), ComputePlatform: types.ComputePlatformLambda, TrafficRoutingConfig: &types.TrafficRoutingConfig{
			Type: types.TrafficRoutingTypeTimeBasedLinear, TimeBasedLinear: &types.TimeBasedLinear{LinearPercentage: 50, LinearInterval: 1},
		}}))
		if all := must(r.ListDeploymentConfigs(r.ctx, &sdk.ListDeploymentConfigsInput{})).DeploymentConfigsList; len(all) != 10 || !slices.Contains(all, "half") || !slices.Contains(all, "CodeDeployDefault.LambdaLinear10PercentEvery1Minute") {
			t.Errorf("%v", all)
		}
		must(r.UpdateDeploymentGroup(r.ctx, &sdk.UpdateDeploymentGroupInput{ApplicationName: new("app"), CurrentDeploymentGroupName: new("g"), DeploymentConfigName: new("half")}))
		if _, err := r.DeleteDeploymentConfig(r.ctx, &sdk.DeleteDeploymentConfigInput{DeploymentConfigName: new("half")}); code(err) != "DeploymentConfigInUseException" {
			t.Error(err)
		}
		if _, err := r.DeleteDeploymentConfig(r.ctx, &sdk.DeleteDeploymentConfigInput{DeploymentConfigName: new(allAtOnce)}); code(err) != "InvalidOperationException" {
			t.Error(err)
		}
		id := r.deploy("", spec(1, 2))
		if got := r.alias(); got != "1+0.5*2" {
			t.Errorf("the alias is %s", got)
		}
		time.Sleep(time.Minute)
		r.is(id, types.DeploymentStatusSucceeded, "")
	})
}

func TestTags(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for _, resource := range []string{"application:app", "deploymentgroup:app/g"} {
			arn := "arn:aws:codedeploy:us-east-1:" + account + ":" + resource
			must(r.TagResource(r.ctx, &sdk.TagResourceInput{ResourceArn: &arn, Tags: []types.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}}))
			must(r.UntagResource(r.ctx, &sdk.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"a"}}))
			if got := must(r.ListTagsForResource(r.ctx, &sdk.ListTagsForResourceInput{ResourceArn: &arn})).Tags; len(got) != 1 || *got[0].Key != "b" {
				t.Errorf("%s has %v", resource, got)
			}
			if got := must(r.Tagged(r.ctx, "us-east-1"))[arn]; got["b"] != "2" {
				t.Errorf("%s is listed with %v", resource, got)
			}
		}
		for arn, want := range map[string]string{
			"": "ResourceArnRequiredException", "x": "InvalidArnException",
			fmt.Sprintf("arn:aws:codedeploy:us-east-1:%s:deploymentconfig:x", account): "ArnNotSupportedException",
			fmt.Sprintf("arn:aws:codedeploy:us-east-1:%s:application:no", account):     "ApplicationDoesNotExistException",
		} {
			if _, err := r.ListTagsForResource(r.ctx, &sdk.ListTagsForResourceInput{ResourceArn: &arn}); code(err) != want {
				t.Errorf("%q: %v, want %s", arn, err, want)
			}
		}
	})
}
