package codedeploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// onApp judges an operation on the application it names.
func onApp[In any](of func(*In) *string) wire.Option {
	return wire.On(func(c *wire.Call, in *In) []string {
		return []string{c.ARN("codedeploy", "application:"+aws.ToString(of(in)))}
	})
}

func (s *Service) registerApplications(api *wire.API) {
	wire.Handle(api, s.CreateApplication, onApp(func(in *sdk.CreateApplicationInput) *string { return in.ApplicationName }))
	wire.Handle(api, s.GetApplication, onApp(func(in *sdk.GetApplicationInput) *string { return in.ApplicationName }))
	wire.Handle(api, s.UpdateApplication, wire.On(func(c *wire.Call, in *sdk.UpdateApplicationInput) []string {
		both := []string{c.ARN("codedeploy", "application:"+aws.ToString(in.ApplicationName))}
		if next := aws.ToString(in.NewApplicationName); next != "" {
			both = append(both, c.ARN("codedeploy", "application:"+next))
		}
		return both
	}))
	wire.Handle(api, s.DeleteApplication, onApp(func(in *sdk.DeleteApplicationInput) *string { return in.ApplicationName }))
	wire.Handle(api, s.ListApplications)
	wire.Handle(api, s.BatchGetApplications, wire.On(func(c *wire.Call, in *sdk.BatchGetApplicationsInput) (all []string) {
		for _, n := range in.ApplicationNames {
			all = append(all, c.ARN("codedeploy", "application:"+n))
		}
		return all
	}))
}

// loadApp is the application that a request names.
func loadApp(tx *store.Tx, region string, name *string) (app, error) {
	if err := checkApp(name); err != nil {
		return app{}, err
	}
	a, ok, err := apps.Get(tx, key(region, *name))
	if err == nil && !ok {
		err = noApp(*name)
	}
	return a, err
}

// CreateApplication makes an application for Lambda, the one platform served.
func (s *Service) CreateApplication(ctx context.Context, in *sdk.CreateApplicationInput) (*sdk.CreateApplicationOutput, error) {
	if err := checkApp(in.ApplicationName); err != nil {
		return nil, err
	}
	if in.ComputePlatform != types.ComputePlatformLambda {
		return nil, notServed(in.ComputePlatform)
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	a := app{Tags: tags, Info: types.ApplicationInfo{
		ApplicationId: new(uuid.NewString()), ApplicationName: in.ApplicationName, ComputePlatform: in.ComputePlatform, CreateTime: new(now()),
	}}
	k := key(wire.CallOf(ctx).Region, *in.ApplicationName)
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, taken, err := apps.Get(tx, k); err != nil || taken {
			if taken {
				err = &types.ApplicationAlreadyExistsException{Message: new("Application already exists: " + *in.ApplicationName)}
			}
			return err
		}
		return apps.Put(tx, k, a)
	})
	return &sdk.CreateApplicationOutput{ApplicationId: a.Info.ApplicationId}, err
}

// notServed refuses a platform. AWS takes Server where none is named: to make
// a Lambda application of such a request would hide a mistake until AWS.
func notServed(p types.ComputePlatform) error {
	if p == "" {
		p = types.ComputePlatformServer + " (which AWS takes when none is named)"
	}
	return &types.InvalidComputePlatformException{Message: new(fmt.Sprintf("The compute platform %s is not served here: specify Lambda", p))}
}

// GetApplication tells an application.
func (s *Service) GetApplication(ctx context.Context, in *sdk.GetApplicationInput) (*sdk.GetApplicationOutput, error) {
	out := &sdk.GetApplicationOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		a, err := loadApp(tx, wire.CallOf(ctx).Region, in.ApplicationName)
		out.Application = &a.Info
		return err
	})
}

// BatchGetApplications tells applications; all of them must be there.
func (s *Service) BatchGetApplications(ctx context.Context, in *sdk.BatchGetApplicationsInput) (*sdk.BatchGetApplicationsOutput, error) {
	out := &sdk.BatchGetApplicationsOutput{ApplicationsInfo: []types.ApplicationInfo{}}
	if len(in.ApplicationNames) == 0 {
		return nil, checkApp(nil)
	}
	if err := checkBatch(len(in.ApplicationNames), maxBatch); err != nil {
		return nil, err
	}
	return out, s.DB.View(func(tx *store.Tx) error {
		for _, n := range in.ApplicationNames {
			a, err := loadApp(tx, wire.CallOf(ctx).Region, &n)
			if err != nil {
				return err
			}
			out.ApplicationsInfo = append(out.ApplicationsInfo, a.Info)
		}
		return nil
	})
}

// Limits of what one request may ask for.
const (
	maxBatch          = 100
	maxBatchRevisions = 25
	maxBatchTargets   = 25
)

func checkBatch(n, limit int) error {
	if n > limit {
		return &types.BatchLimitExceededException{Message: new(fmt.Sprintf("The maximum number of names or IDs allowed for this request (%d) was exceeded", limit))}
	}
	return nil
}

// ListApplications lists the names of a region's applications.
func (s *Service) ListApplications(ctx context.Context, in *sdk.ListApplicationsInput) (*sdk.ListApplicationsOutput, error) {
	out := &sdk.ListApplicationsOutput{Applications: []string{}}
	prefix := wire.CallOf(ctx).Region + "/"
	from, err := openToken(in.NextToken, prefix)
	if err != nil {
		return nil, err
	}
	return out, s.DB.View(func(tx *store.Tx) error {
		var p pager
		for r, err := range apps.Range(tx, max(prefix, from+"\x00"), store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			if p.full(r.Key) {
				break
			}
			out.Applications = append(out.Applications, *r.Value.Info.ApplicationName)
		}
		out.NextToken = p.next
		return nil
	})
}

// UpdateApplication gives an application another name, with all that it has.
func (s *Service) UpdateApplication(ctx context.Context, in *sdk.UpdateApplicationInput) (*sdk.UpdateApplicationOutput, error) {
	if err := errors.Join(checkApp(in.ApplicationName), checkApp(in.NewApplicationName)); err != nil {
		return nil, first(checkApp(in.ApplicationName), checkApp(in.NewApplicationName))
	}
	region := wire.CallOf(ctx).Region
	return &sdk.UpdateApplicationOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		a, err := loadApp(tx, region, in.ApplicationName)
		if err != nil || *in.ApplicationName == *in.NewApplicationName {
			return err
		}
		next := key(region, *in.NewApplicationName)
		if _, taken, err := apps.Get(tx, next); err != nil || taken {
			if taken {
				err = &types.ApplicationAlreadyExistsException{Message: new("Application already exists: " + *in.NewApplicationName)}
			}
			return err
		}
		if err := s.moveGroups(tx, region, *in.ApplicationName, *in.NewApplicationName); err != nil {
			return err
		}
		if err := moveRevisions(tx, key(region, *in.ApplicationName)+"/", next+"/"); err != nil {
			return err
		}
		a.Info.ApplicationName = in.NewApplicationName
		return errors.Join(apps.Delete(tx, key(region, *in.ApplicationName)), apps.Put(tx, next, a))
	})
}

// first is the first error.
func first(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

// DeleteApplication removes an application with its groups and revisions and
// the history of its deployments; one that is not there is no error.
func (s *Service) DeleteApplication(ctx context.Context, in *sdk.DeleteApplicationInput) (*sdk.DeleteApplicationOutput, error) {
	if err := checkApp(in.ApplicationName); err != nil {
		return nil, err
	}
	k := key(wire.CallOf(ctx).Region, *in.ApplicationName)
	return &sdk.DeleteApplicationOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		var gone []string
		for r, err := range groups.Prefix(tx, k+"/") {
			if err != nil {
				return err
			}
			gone = append(gone, r.Key)
		}
		for _, g := range gone {
			if err := s.removeGroup(tx, g); err != nil {
				return err
			}
		}
		return errors.Join(moveRevisions(tx, k+"/", ""), apps.Delete(tx, k))
	})
}
