package codedeploy

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const (
	predefined = "CodeDeployDefault."
	allAtOnce  = predefined + "LambdaAllAtOnce"
)

// standard are the configurations that every region has for Lambda.
// https://docs.aws.amazon.com/codedeploy/latest/userguide/deployment-configurations.html#deployment-configuration-lambda
var standard = func() map[string]types.DeploymentConfigInfo {
	all := map[string]types.DeploymentConfigInfo{}
	add := func(name string, routing types.TrafficRoutingConfig) {
		// The identifiers of AWS's own configurations are all alike in form.
		id := uuid.NewSHA1(uuid.NameSpaceURL, []byte(predefined+name)).String()
		all[predefined+name] = types.DeploymentConfigInfo{
			DeploymentConfigName: new(predefined + name), DeploymentConfigId: &id, ComputePlatform: types.ComputePlatformLambda,
			CreateTime: new(time.Date(2017, 11, 28, 0, 0, 0, 0, time.UTC)), TrafficRoutingConfig: &routing,
		}
	}
	add("LambdaAllAtOnce", types.TrafficRoutingConfig{Type: types.TrafficRoutingTypeAllAtOnce})
	for _, minutes := range []int32{5, 10, 15, 30} {
		add(fmt.Sprintf("LambdaCanary10Percent%dMinutes", minutes), types.TrafficRoutingConfig{
			Type: types.TrafficRoutingTypeTimeBasedCanary, TimeBasedCanary: &types.TimeBasedCanary{CanaryPercentage: 10, CanaryInterval: minutes},
		})
	}
	for _, minutes := range []int32{1, 2, 3, 10} {
		s := "s"
		if minutes == 1 {
			s = ""
		}
		add(fmt.Sprintf("LambdaLinear10PercentEvery%dMinute%s", minutes, s), types.TrafficRoutingConfig{
			Type: types.TrafficRoutingTypeTimeBasedLinear, TimeBasedLinear: &types.TimeBasedLinear{LinearPercentage: 10, LinearInterval: minutes},
		})
	}
	return all
}()

func onConfig[In any](of func(*In) *string) wire.Option {
	return wire.On(func(c *wire.Call, in *In) []string {
		return []string{c.ARN("codedeploy", "deploymentconfig:"+aws.ToString(of(in)))}
	})
}

func (s *Service) registerConfigs(api *wire.API) {
	wire.Handle(api, s.CreateDeploymentConfig, onConfig(func(in *sdk.CreateDeploymentConfigInput) *string { return in.DeploymentConfigName }))
	wire.Handle(api, s.GetDeploymentConfig, onConfig(func(in *sdk.GetDeploymentConfigInput) *string { return in.DeploymentConfigName }))
	wire.Handle(api, s.DeleteDeploymentConfig, onConfig(func(in *sdk.DeleteDeploymentConfigInput) *string { return in.DeploymentConfigName }))
	wire.Handle(api, s.ListDeploymentConfigs)
}

// loadConfig is the configuration of a name, one of AWS's or one's own.
func loadConfig(tx *store.Tx, region string, name *string) (types.DeploymentConfigInfo, error) {
	if err := checkConfig(name); err != nil {
		return types.DeploymentConfigInfo{}, err
	}
	if c, ok := standard[*name]; ok {
		return c, nil
	}
	c, ok, err := configs.Get(tx, key(region, *name))
	if err == nil && !ok {
		err = noConfig(*name)
	}
	return c.Info, err
}

// CreateDeploymentConfig makes a configuration of how traffic shifts.
func (s *Service) CreateDeploymentConfig(ctx context.Context, in *sdk.CreateDeploymentConfigInput) (*sdk.CreateDeploymentConfigOutput, error) {
	if err := checkConfig(in.DeploymentConfigName); err != nil {
		return nil, err
	}
	name := *in.DeploymentConfigName
	if in.ComputePlatform != types.ComputePlatformLambda {
		return nil, notServed(in.ComputePlatform)
	}
	if len(name) >= len(predefined) && name[:len(predefined)] == predefined {
		return nil, &types.InvalidDeploymentConfigNameException{Message: new("Deployment configuration names that begin with " + predefined + " are reserved: " + name)}
	}
	if in.MinimumHealthyHosts != nil {
		return nil, &types.InvalidMinimumHealthyHostValueException{Message: new("For Lambda deployment configuration, minimumHealthyHosts can not be specified")}
	}
	if in.ZonalConfig != nil {
		return nil, &types.InvalidZonalDeploymentConfigurationException{Message: new("For Lambda deployment configuration, zonalConfig can not be specified")}
	}
	routing, err := checkRouting(in.TrafficRoutingConfig)
	if err != nil {
		return nil, err
	}
	c := types.DeploymentConfigInfo{
		DeploymentConfigName: &name, DeploymentConfigId: new(uuid.NewString()), ComputePlatform: in.ComputePlatform, CreateTime: new(now()), TrafficRoutingConfig: routing,
	}
	k := key(wire.CallOf(ctx).Region, name)
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, taken, err := configs.Get(tx, k); err != nil || taken {
			if taken {
				err = &types.DeploymentConfigAlreadyExistsException{Message: new("Deployment configuration name already exists: " + name)}
			}
			return err
		}
		return configs.Put(tx, k, config{c})
	})
	return &sdk.CreateDeploymentConfigOutput{DeploymentConfigId: c.DeploymentConfigId}, err
}

// maxShift is how long traffic may take to shift: two days.
// https://docs.aws.amazon.com/codedeploy/latest/userguide/limits.html
const maxShift = 2880

// checkRouting checks how traffic is to shift; nothing said is all at once.
func checkRouting(c *types.TrafficRoutingConfig) (*types.TrafficRoutingConfig, error) {
	bad := func(text string) (*types.TrafficRoutingConfig, error) {
		return nil, &types.InvalidTrafficRoutingConfigurationException{Message: &text}
	}
	if c == nil {
		return &types.TrafficRoutingConfig{Type: types.TrafficRoutingTypeAllAtOnce}, nil
	}
	var percent, steps, minutes int32
	switch {
	case c.Type == types.TrafficRoutingTypeAllAtOnce && c.TimeBasedCanary == nil && c.TimeBasedLinear == nil:
		return c, nil
	case c.Type == types.TrafficRoutingTypeTimeBasedCanary && c.TimeBasedCanary != nil && c.TimeBasedLinear == nil:
		percent, steps, minutes = c.TimeBasedCanary.CanaryPercentage, 1, c.TimeBasedCanary.CanaryInterval
	case c.Type == types.TrafficRoutingTypeTimeBasedLinear && c.TimeBasedLinear != nil && c.TimeBasedCanary == nil:
		percent, minutes = c.TimeBasedLinear.LinearPercentage, c.TimeBasedLinear.LinearInterval
		if percent > 0 {
			steps = 99 / percent
		}
	default:
		return bad("A traffic routing configuration has a type of TimeBasedCanary, TimeBasedLinear or AllAtOnce, and the settings of that type only")
	}
	switch {
	case percent < 1 || percent > 99:
		return bad(fmt.Sprintf("The percentage of traffic to shift must be from 1 to 99: %d", percent))
	case minutes < 1 || int64(minutes)*int64(steps) > maxShift:
		return bad(fmt.Sprintf("The interval must be at least one minute, and the whole shift take at most %d minutes: %d", maxShift, minutes))
	}
	return c, nil
}

// GetDeploymentConfig tells a configuration.
func (s *Service) GetDeploymentConfig(ctx context.Context, in *sdk.GetDeploymentConfigInput) (*sdk.GetDeploymentConfigOutput, error) {
	out := &sdk.GetDeploymentConfigOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		c, err := loadConfig(tx, wire.CallOf(ctx).Region, in.DeploymentConfigName)
		out.DeploymentConfigInfo = &c
		return err
	})
}

// ListDeploymentConfigs lists the names of AWS's and one's own configurations.
func (s *Service) ListDeploymentConfigs(ctx context.Context, in *sdk.ListDeploymentConfigsInput) (*sdk.ListDeploymentConfigsOutput, error) {
	prefix := wire.CallOf(ctx).Region + "/"
	from, err := openToken(in.NextToken, prefix)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListDeploymentConfigsOutput{DeploymentConfigsList: []string{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		var all []string
		for name := range standard {
			all = append(all, prefix+name)
		}
		for r, err := range configs.Prefix(tx, prefix) {
			if err != nil {
				return err
			}
			all = append(all, r.Key)
		}
		slices.Sort(all)
		var p pager
		for _, k := range all {
			if k <= from {
				continue
			}
			if p.full(k) {
				break
			}
			out.DeploymentConfigsList = append(out.DeploymentConfigsList, k[len(prefix):])
		}
		out.NextToken = p.next
		return nil
	})
}

// DeleteDeploymentConfig removes a configuration that no group uses; a missing
// one is no error.
func (s *Service) DeleteDeploymentConfig(ctx context.Context, in *sdk.DeleteDeploymentConfigInput) (*sdk.DeleteDeploymentConfigOutput, error) {
	if err := checkConfig(in.DeploymentConfigName); err != nil {
		return nil, err
	}
	region, name := wire.CallOf(ctx).Region, *in.DeploymentConfigName
	if _, ok := standard[name]; ok {
		return nil, &types.InvalidOperationException{Message: new("Default deployment configurations cannot be deleted: " + name)}
	}
	return &sdk.DeleteDeploymentConfigOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		for r, err := range groups.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			if *r.Value.Info.DeploymentConfigName == name {
				return &types.DeploymentConfigInUseException{Message: new("The deployment configuration is in use by the deployment group " + *r.Value.Info.DeploymentGroupName + ": " + name)}
			}
		}
		return configs.Delete(tx, key(region, name))
	})
}
