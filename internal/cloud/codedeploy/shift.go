package codedeploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"miniforge/internal/cloud/wire"
)

// assume is CodeDeploy in the role of a group.
func (s *Service) assume(ctx context.Context, region, app, group, role string) (wire.As, error) {
	source := "arn:aws:codedeploy:" + region + ":" + s.Account + ":" + groupResource(app, group)
	as, err := wire.AssumeRole(ctx, s.Caller, "codedeploy", source, role, "codedeploy", region)
	if err != nil {
		return as, &roleError{role, err}
	}
	return as, nil
}

func (s *Service) as(ctx context.Context, d *deployment) (wire.As, error) {
	return s.assume(ctx, d.Region, *d.Info.ApplicationName, *d.Info.DeploymentGroupName, d.Role)
}

// check reads the revision, if it is elsewhere, and makes sure that the alias
// is where the revision says.
func (s *Service) check(ctx context.Context, d *deployment) (change, error) {
	// There is no CloudWatch here: no alarm can be asked for its state. The
	// group says whether that is to stop its deployments.
	if a := d.Alarms; a != nil && a.Enabled && len(a.Alarms) > 0 && !a.IgnorePollAlarmFailure && !d.Rollback {
		return func(d *deployment) { d.alarm() }, nil
	}
	as, err := s.as(ctx, d)
	if err != nil {
		return nil, err
	}
	spec := d.Spec
	if spec == nil {
		if spec, err = s.fetch(ctx, as, d.Info.Revision.S3Location); err != nil {
			return nil, err
		}
	}
	if !d.Rollback {
		if err := s.checkAlias(ctx, as, spec); err != nil {
			return nil, err
		}
	}
	return func(d *deployment) {
		if d.Spec, d.Checked = spec, true; d.Target == nil {
			d.Target = s.target(d)
		}
	}, nil
}

// alarm ends the deployment because of an alarm.
func (d *deployment) alarm() {
	if d.End != nil {
		return
	}
	d.End = &ending{
		Status: types.DeploymentStatusStopped, Code: types.ErrorCodeAlarmActive, Return: d.rollsBack(types.AutoRollbackEventDeploymentStopOnAlarm),
		Message: "The state of the alarm " + *d.Alarms.Alarms[0].Name + " is unknown: there is no CloudWatch here. Set ignorePollAlarmFailure to deploy nevertheless",
	}
}

// fetch reads an AppSpec file from S3 in the group's role.
func (s *Service) fetch(ctx context.Context, as wire.As, loc *types.S3Location) (*appSpec, error) {
	out, err := wire.Do[s3.GetObjectOutput](ctx, s.Caller, as, &s3.GetObjectInput{Bucket: loc.Bucket, Key: loc.Key, VersionId: loc.Version, IfMatch: loc.ETag})
	if err != nil {
		return nil, fmt.Errorf("read revision s3://%s/%s: %w", *loc.Bucket, *loc.Key, err)
	}
	defer func() { _ = out.Body.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(out.Body, maxAppSpec+1))
	if err != nil {
		return nil, fmt.Errorf("read revision s3://%s/%s: %w", *loc.Bucket, *loc.Key, err)
	}
	spec, err := parseAppSpec(string(b))
	if err != nil {
		return nil, &deployError{types.ErrorCodeInvalidRevision, err.Error()}
	}
	return spec, nil
}

// checkAlias makes sure that an alias is on the current version alone: traffic
// that is divided already was left so by someone, who has to say where it belongs.
func (s *Service) checkAlias(ctx context.Context, as wire.As, spec *appSpec) error {
	alias, err := wire.Do[lambda.GetAliasOutput](ctx, s.Caller, as, &lambda.GetAliasInput{FunctionName: &spec.Function, Name: &spec.Alias})
	if err != nil {
		return err
	}
	bad := func(format string, args ...any) error {
		return &deployError{types.ErrorCodeInvalidLambdaConfiguration, fmt.Sprintf("The alias %s of function %s ", spec.Alias, spec.Function) + fmt.Sprintf(format, args...)}
	}
	switch {
	case alias.RoutingConfig != nil && len(alias.RoutingConfig.AdditionalVersionWeights) > 0:
		others := slices.Sorted(maps.Keys(alias.RoutingConfig.AdditionalVersionWeights))
		return bad("points to two versions, %s and %s: point it to one before deploying", *alias.FunctionVersion, others[0])
	case aws.ToString(alias.FunctionVersion) != spec.Current:
		return bad("points to version %s, but the revision's CurrentVersion is %s", aws.ToString(alias.FunctionVersion), spec.Current)
	case spec.Current == spec.Target:
		return bad("cannot be deployed: CurrentVersion and TargetVersion are both %s", spec.Current)
	}
	return nil
}

// target is what the deployment is about, with nothing done yet.
func (s *Service) target(d *deployment) *types.LambdaTarget {
	t := &types.LambdaTarget{
		DeploymentId: d.Info.DeploymentId, TargetId: new(d.Spec.Function + ":" + d.Spec.Alias), Status: types.TargetStatusInProgress, LastUpdatedAt: new(now()),
		TargetArn: new("arn:aws:lambda:" + d.Region + ":" + s.Account + ":function:" + d.Spec.Function + ":" + d.Spec.Alias),
		LambdaFunctionInfo: &types.LambdaFunctionInfo{
			FunctionName: &d.Spec.Function, FunctionAlias: &d.Spec.Alias, CurrentVersion: &d.Spec.Current, TargetVersion: &d.Spec.Target,
		},
	}
	for _, name := range lifecycle {
		t.LifecycleEvents = append(t.LifecycleEvents, types.LifecycleEvent{LifecycleEventName: &name, Status: types.LifecycleEventStatusPending})
	}
	return t
}

// plan is what part of the traffic a configuration gives to the new version
// with its n-th step, in percent, and how long it stays so.
func plan(c types.TrafficRoutingConfig, n int) (percent int, stay time.Duration) {
	switch {
	case c.TimeBasedCanary != nil && n == 0:
		return int(c.TimeBasedCanary.CanaryPercentage), time.Duration(c.TimeBasedCanary.CanaryInterval) * time.Minute
	case c.TimeBasedLinear != nil:
		if p := int(c.TimeBasedLinear.LinearPercentage) * (n + 1); p < 100 {
			return p, time.Duration(c.TimeBasedLinear.LinearInterval) * time.Minute
		}
	}
	return 100, 0
}

// shift gives the new version the traffic of the next step. To do it again
// after a crash sets the alias as it is already.
func (s *Service) shift(ctx context.Context, d *deployment) (change, error) {
	if time.Now().Before(d.Wake) {
		return func(*deployment) {}, nil
	}
	percent, stay := plan(d.Routing, d.Shifts)
	if err := s.setAlias(ctx, d, percent); err != nil {
		return nil, err
	}
	step := d.Shifts
	return func(d *deployment) {
		if d.Shifts != step || lifecycle[min(d.Event, 2)] != allowTraffic {
			return
		}
		at := now()
		d.Shifts++
		d.Target.LambdaFunctionInfo.TargetVersionWeight, d.Target.LastUpdatedAt = float64(percent)/100, &at
		if d.Wake = at.Add(stay); percent == 100 {
			d.complete(at)
		}
	}, nil
}

// setAlias gives the target version so many percent of the alias's traffic.
func (s *Service) setAlias(ctx context.Context, d *deployment, percent int) error {
	as, err := s.as(ctx, d)
	if err != nil {
		return err
	}
	in := &lambda.UpdateAliasInput{FunctionName: &d.Spec.Function, Name: &d.Spec.Alias, FunctionVersion: &d.Spec.Current, RoutingConfig: &lambdatypes.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{}}}
	switch percent {
	case 0:
	case 100:
		in.FunctionVersion = &d.Spec.Target
	default:
		in.RoutingConfig.AdditionalVersionWeights[d.Spec.Target] = float64(percent) / 100
	}
	_, err = s.Caller.Call(ctx, as, in)
	return err
}

// putBack points the alias to the version it came from. When that cannot be
// done, the deployment ends nevertheless, and says so.
func (s *Service) putBack(ctx context.Context, d *deployment) (change, error) {
	if d.End.Return && d.touched() {
		if err := s.setAlias(ctx, d, 0); err != nil {
			if _, gone := errors.AsType[*lambdatypes.ResourceNotFoundException](err); !gone {
				return nil, err
			}
		}
	}
	return func(d *deployment) {
		d.End.Returned = true
		if d.Target != nil {
			d.Target.LambdaFunctionInfo.TargetVersionWeight = 0
		}
	}, nil
}
