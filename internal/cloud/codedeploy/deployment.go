package codedeploy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// onDeployment judges an operation on the group of the deployments it names.
func onDeployment[In any](s *Service, of func(*In) []string) wire.Option {
	return wire.On(func(c *wire.Call, in *In) (arns []string) {
		for _, id := range of(in) {
			arn := "*"
			_ = s.DB.View(func(tx *store.Tx) error { // what cannot be read is judged on "*", and fails afterwards
				if d, ok, err := deployments.Get(tx, key(c.Region, id)); err == nil && ok {
					arn = c.ARN("codedeploy", groupResource(*d.Info.ApplicationName, *d.Info.DeploymentGroupName))
				}
				return nil
			})
			if !slices.Contains(arns, arn) {
				arns = append(arns, arn)
			}
		}
		if len(arns) == 0 {
			arns = []string{"*"}
		}
		return arns
	})
}

func (s *Service) registerDeployments(api *wire.API) {
	wire.Handle(api, s.CreateDeployment, onGroup(func(in *sdk.CreateDeploymentInput) (a, g *string) { return in.ApplicationName, in.DeploymentGroupName }))
	wire.Handle(api, s.GetDeployment, onDeployment(s, func(in *sdk.GetDeploymentInput) []string { return []string{aws.ToString(in.DeploymentId)} }))
	wire.Handle(api, s.StopDeployment, onDeployment(s, func(in *sdk.StopDeploymentInput) []string { return []string{aws.ToString(in.DeploymentId)} }))
	wire.Handle(api, s.BatchGetDeployments, onDeployment(s, func(in *sdk.BatchGetDeploymentsInput) []string { return in.DeploymentIds }))
	wire.Handle(api, s.ListDeployments, wire.On(func(c *wire.Call, in *sdk.ListDeploymentsInput) []string {
		if in.ApplicationName == nil || in.DeploymentGroupName == nil {
			return []string{c.ARN("codedeploy", "deploymentgroup:*")}
		}
		return []string{c.ARN("codedeploy", groupResource(*in.ApplicationName, *in.DeploymentGroupName))}
	}))
}

// loadDeployment is the deployment that a request names.
func loadDeployment(tx *store.Tx, region string, id *string) (deployment, error) {
	if err := checkID(id); err != nil {
		return deployment{}, err
	}
	d, ok, err := deployments.Get(tx, key(region, *id))
	if err == nil && !ok {
		err = noDeployment(*id)
	}
	return d, err
}

const idAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// newID makes the identifier of a deployment: "d-" and nine letters or digits.
func newID() string {
	b := make([]byte, 9)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = idAlphabet[int(b[i])%len(idAlphabet)]
	}
	return "d-" + string(b)
}

func checkDescription(d *string) error {
	if len(aws.ToString(d)) > 256 {
		return &types.DescriptionTooLongException{Message: new("The description is too long: at most 256 characters are allowed")}
	}
	return nil
}

// checkDeployment refuses what deployments to Lambda do not have.
func checkDeployment(in *sdk.CreateDeploymentInput) error {
	switch {
	case in.FileExistsBehavior != "":
		return &types.InvalidFileExistsBehaviorException{Message: new("For Lambda and ECS deployment, fileExistsBehavior can not be specified")}
	case in.IgnoreApplicationStopFailures:
		return &types.InvalidIgnoreApplicationStopFailuresValueException{Message: new("The IgnoreApplicationStopFailures value is invalid. For Lambda deployments, false is expected.")}
	case in.UpdateOutdatedInstancesOnly:
		return &types.InvalidUpdateOutdatedInstancesOnlyValueException{Message: new("The UpdateOutdatedInstancesOnly value is invalid. For Lambda deployments, false is expected.")}
	case in.TargetInstances != nil:
		return &types.InvalidTargetInstancesException{Message: new("For Lambda deployment, targetInstances can not be specified")}
	}
	return first(checkDescription(in.Description), checkRollback(in.AutoRollbackConfiguration), checkAlarms(in.OverrideAlarmConfiguration))
}

// CreateDeployment begins to deploy a revision to a group that has no other
// deployment under way.
func (s *Service) CreateDeployment(ctx context.Context, in *sdk.CreateDeploymentInput) (*sdk.CreateDeploymentOutput, error) {
	if err := first(checkApp(in.ApplicationName), checkGroup(in.DeploymentGroupName), checkDeployment(in)); err != nil {
		return nil, err
	}
	loc, revisionID, err := checkLocation(in.Revision)
	if err != nil {
		return nil, err
	}
	region := wire.CallOf(ctx).Region
	var d deployment
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		g, err := loadGroup(tx, region, in.ApplicationName, in.DeploymentGroupName)
		if err != nil {
			return err
		}
		if g.Active != "" {
			return &types.DeploymentLimitExceededException{Message: new(fmt.Sprintf("The Deployment Group '%s' already has an active Deployment '%s'", *in.DeploymentGroupName, g.Active))}
		}
		if d, err = newDeployment(tx, region, &g, in); err != nil {
			return err
		}
		r, err := register(tx, region, *in.ApplicationName, loc, revisionID, in.Description)
		if err != nil {
			return err
		}
		if t := text(r.Location); t != nil {
			if d.Spec, err = parseAppSpec(*t); err != nil {
				return badRevision(err.Error())
			}
		}
		d.Info.Revision = &r.Location
		if err := s.launch(tx, &g, &d); err != nil {
			return err
		}
		r.Info.LastUsedTime = d.Info.CreateTime
		if r.Info.FirstUsedTime == nil {
			r.Info.FirstUsedTime = d.Info.CreateTime
		}
		return revisions.Put(tx, key(region, *in.ApplicationName, revisionID), r)
	})
	return &sdk.CreateDeploymentOutput{DeploymentId: d.Info.DeploymentId}, err
}

// newDeployment is a deployment to a group as a request wants it.
func newDeployment(tx *store.Tx, region string, g *group, in *sdk.CreateDeploymentInput) (deployment, error) {
	name := in.DeploymentConfigName
	if name == nil {
		name = g.Info.DeploymentConfigName
	}
	c, err := loadConfig(tx, region, name)
	if err != nil {
		return deployment{}, err
	}
	d := deployment{Region: region, Role: *g.Info.ServiceRoleArn, Alarms: g.Info.AlarmConfiguration, Routing: *c.TrafficRoutingConfig, Info: types.DeploymentInfo{
		ApplicationName: g.Info.ApplicationName, DeploymentGroupName: g.Info.DeploymentGroupName, DeploymentConfigName: name, ComputePlatform: types.ComputePlatformLambda,
		Creator: types.DeploymentCreatorUser, Description: in.Description, DeploymentStyle: g.Info.DeploymentStyle,
		AutoRollbackConfiguration: g.Info.AutoRollbackConfiguration, OverrideAlarmConfiguration: in.OverrideAlarmConfiguration,
	}}
	if in.AutoRollbackConfiguration != nil {
		d.Info.AutoRollbackConfiguration = in.AutoRollbackConfiguration
	}
	if in.OverrideAlarmConfiguration != nil {
		d.Alarms = in.OverrideAlarmConfiguration
	}
	return d, nil
}

// launch keeps a new deployment as the one under way of its group.
func (s *Service) launch(tx *store.Tx, g *group, d *deployment) error {
	for {
		id := newID()
		_, taken, err := deployments.Get(tx, key(d.Region, id))
		if err != nil {
			return err
		}
		if !taken {
			d.Info.DeploymentId = &id
			break
		}
	}
	if g.Good != "" {
		good, ok, err := deployments.Get(tx, key(d.Region, g.Good))
		if err != nil {
			return err
		}
		if ok {
			d.Info.PreviousRevision = good.Info.Revision
		}
	}
	d.Info.Status, d.Info.CreateTime = types.DeploymentStatusCreated, new(now())
	d.Info.DeploymentOverview = &types.DeploymentOverview{Pending: 1}
	g.Active, g.Info.TargetRevision = *d.Info.DeploymentId, d.Info.Revision
	g.Info.LastAttemptedDeployment = d.summary()
	for _, k := range d.indexKeys() {
		if err := history.Put(tx, k, *d.Info.DeploymentId); err != nil {
			return err
		}
	}
	return errors.Join(groups.Put(tx, key(d.Region, *g.Info.ApplicationName, *g.Info.DeploymentGroupName), *g), s.keep(tx, d))
}

func (d *deployment) summary() *types.LastDeploymentInfo {
	return &types.LastDeploymentInfo{DeploymentId: d.Info.DeploymentId, Status: d.Info.Status, CreateTime: d.Info.CreateTime, EndTime: d.Info.CompleteTime}
}

// GetDeployment tells a deployment.
func (s *Service) GetDeployment(ctx context.Context, in *sdk.GetDeploymentInput) (*sdk.GetDeploymentOutput, error) {
	out := &sdk.GetDeploymentOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		d, err := loadDeployment(tx, wire.CallOf(ctx).Region, in.DeploymentId)
		out.DeploymentInfo = &d.Info
		return err
	})
}

const maxBatchDeployments = 25

// BatchGetDeployments tells deployments; those that are not there are left out.
func (s *Service) BatchGetDeployments(ctx context.Context, in *sdk.BatchGetDeploymentsInput) (*sdk.BatchGetDeploymentsOutput, error) {
	if len(in.DeploymentIds) == 0 {
		return nil, checkID(nil)
	}
	if err := checkBatch(len(in.DeploymentIds), maxBatchDeployments); err != nil {
		return nil, err
	}
	out := &sdk.BatchGetDeploymentsOutput{DeploymentsInfo: []types.DeploymentInfo{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for _, id := range in.DeploymentIds {
			d, err := loadDeployment(tx, wire.CallOf(ctx).Region, &id)
			if _, missing := errors.AsType[*types.DeploymentDoesNotExistException](err); missing {
				continue
			}
			if err != nil {
				return err
			}
			out.DeploymentsInfo = append(out.DeploymentsInfo, d.Info)
		}
		return nil
	})
}

// ListDeployments lists the identifiers of a group's or all deployments, the
// latest first.
func (s *Service) ListDeployments(ctx context.Context, in *sdk.ListDeploymentsInput) (*sdk.ListDeploymentsOutput, error) {
	if err := checkListed(in); err != nil {
		return nil, err
	}
	region := wire.CallOf(ctx).Region
	prefix := region + "//"
	if in.ApplicationName != nil {
		prefix = key(region, *in.ApplicationName, *in.DeploymentGroupName) + "/"
	}
	from, err := openToken(in.NextToken, prefix)
	if err != nil {
		return nil, err
	}
	if from == "" {
		from = store.PrefixEnd(prefix)
	}
	out := &sdk.ListDeploymentsOutput{Deployments: []string{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		if in.ApplicationName != nil {
			if _, err := loadGroup(tx, region, in.ApplicationName, in.DeploymentGroupName); err != nil {
				return err
			}
		}
		var p pager
		for r, err := range history.RangeDown(tx, prefix, from) {
			if err != nil {
				return err
			}
			d, ok, err := deployments.Get(tx, key(region, r.Value))
			if err != nil {
				return err
			}
			if !ok || !wanted(&d, in) {
				continue
			}
			if p.full(r.Key) {
				break
			}
			out.Deployments = append(out.Deployments, r.Value)
		}
		out.NextToken = p.next
		return nil
	})
}

func checkListed(in *sdk.ListDeploymentsInput) error {
	switch {
	case in.ApplicationName == nil && in.DeploymentGroupName != nil:
		return checkApp(nil)
	case in.ApplicationName != nil:
		if err := first(checkApp(in.ApplicationName), checkGroup(in.DeploymentGroupName)); err != nil {
			return err
		}
	}
	if r := in.CreateTimeRange; r != nil && r.Start != nil && r.End != nil && r.End.Before(*r.Start) {
		return &types.InvalidTimeRangeException{Message: new("The specified time range was specified in an invalid format: it ends before it starts")}
	}
	for _, st := range in.IncludeOnlyStatuses {
		if !slices.Contains(st.Values(), st) {
			return &types.InvalidDeploymentStatusException{Message: new(fmt.Sprintf("The specified deployment status doesn't exist or cannot be determined: %s", st))}
		}
	}
	return nil
}

// wanted tells whether a list asks for a deployment.
func wanted(d *deployment, in *sdk.ListDeploymentsInput) bool {
	if len(in.IncludeOnlyStatuses) > 0 && !slices.Contains(in.IncludeOnlyStatuses, d.Info.Status) {
		return false
	}
	if in.ExternalId != nil && aws.ToString(d.Info.ExternalId) != *in.ExternalId {
		return false
	}
	r := in.CreateTimeRange
	return r == nil || (r.Start == nil || !d.Info.CreateTime.Before(*r.Start)) && (r.End == nil || !d.Info.CreateTime.After(*r.End))
}
