package codedeploy

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerTargets(api *wire.API) {
	wire.Handle(api, s.ListDeploymentTargets, onDeployment(s, func(in *sdk.ListDeploymentTargetsInput) []string { return []string{aws.ToString(in.DeploymentId)} }))
	wire.Handle(api, s.GetDeploymentTarget, onDeployment(s, func(in *sdk.GetDeploymentTargetInput) []string { return []string{aws.ToString(in.DeploymentId)} }))
	wire.Handle(api, s.BatchGetDeploymentTargets, onDeployment(s, func(in *sdk.BatchGetDeploymentTargetsInput) []string { return []string{aws.ToString(in.DeploymentId)} }))
	wire.Handle(api, s.PutLifecycleEventHookExecutionStatus, onDeployment(s, func(in *sdk.PutLifecycleEventHookExecutionStatusInput) []string {
		return []string{aws.ToString(in.DeploymentId)}
	}))
}

// loadTarget is the one target of a deployment, nil before it is known.
func (s *Service) loadTarget(ctx context.Context, id *string) (t *types.LambdaTarget, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		d, err := loadDeployment(tx, wire.CallOf(ctx).Region, id)
		if err == nil && d.Info.Status == types.DeploymentStatusCreated {
			err = &types.DeploymentNotStartedException{Message: new("The specified deployment has not started: " + *id)}
		}
		t = d.Target
		return err
	})
	return t, err
}

// ListDeploymentTargets lists a deployment's target, if its status is asked for.
func (s *Service) ListDeploymentTargets(ctx context.Context, in *sdk.ListDeploymentTargetsInput) (*sdk.ListDeploymentTargetsOutput, error) {
	for name, values := range in.TargetFilters {
		if name != string(types.TargetFilterNameTargetStatus) {
			return nil, &types.InvalidTargetFilterNameException{Message: new("The target filter name is invalid: " + name)}
		}
		for _, v := range values {
			if st := types.TargetStatus(v); !slices.Contains(st.Values(), st) {
				return nil, &types.InvalidInstanceStatusException{Message: new(fmt.Sprintf("The specified target status does not exist: %s", v))}
			}
		}
	}
	if aws.ToString(in.NextToken) != "" { // there is never a second page
		return nil, &types.InvalidNextTokenException{Message: new("The next token is invalid: " + *in.NextToken)}
	}
	t, err := s.loadTarget(ctx, in.DeploymentId)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListDeploymentTargetsOutput{TargetIds: []string{}}
	if f, ok := in.TargetFilters[string(types.TargetFilterNameTargetStatus)]; t != nil && (!ok || slices.Contains(f, string(t.Status))) {
		out.TargetIds = append(out.TargetIds, *t.TargetId)
	}
	return out, nil
}

// GetDeploymentTarget tells how far the target of a deployment is.
func (s *Service) GetDeploymentTarget(ctx context.Context, in *sdk.GetDeploymentTargetInput) (*sdk.GetDeploymentTargetOutput, error) {
	if err := first(checkID(in.DeploymentId), checkTarget(in.TargetId)); err != nil {
		return nil, err
	}
	t, err := s.loadTarget(ctx, in.DeploymentId)
	if err != nil {
		return nil, err
	}
	if t == nil || *t.TargetId != *in.TargetId {
		return nil, noTarget(*in.TargetId)
	}
	return &sdk.GetDeploymentTargetOutput{DeploymentTarget: &types.DeploymentTarget{DeploymentTargetType: types.DeploymentTargetTypeLambdaTarget, LambdaTarget: t}}, nil
}

func checkTarget(id *string) error {
	if aws.ToString(id) == "" {
		return &types.DeploymentTargetIdRequiredException{Message: new("A deployment target ID was not provided.")}
	}
	return nil
}

func noTarget(id string) error {
	return &types.DeploymentTargetDoesNotExistException{Message: new("The provided target ID does not belong to the attempted deployment: " + id)}
}

// BatchGetDeploymentTargets tells the targets of a deployment; no ids are all.
func (s *Service) BatchGetDeploymentTargets(ctx context.Context, in *sdk.BatchGetDeploymentTargetsInput) (*sdk.BatchGetDeploymentTargetsOutput, error) {
	if err := checkID(in.DeploymentId); err != nil {
		return nil, err
	}
	if len(in.TargetIds) > maxBatchTargets {
		return nil, &types.DeploymentTargetListSizeExceededException{Message: new(fmt.Sprintf("The maximum number of targets that can be associated with a request (%d) was exceeded", maxBatchTargets))}
	}
	t, err := s.loadTarget(ctx, in.DeploymentId)
	if err != nil {
		return nil, err
	}
	out := &sdk.BatchGetDeploymentTargetsOutput{DeploymentTargets: []types.DeploymentTarget{}}
	for _, id := range in.TargetIds {
		if t == nil || *t.TargetId != id {
			return nil, noTarget(id)
		}
	}
	if t != nil {
		out.DeploymentTargets = append(out.DeploymentTargets, types.DeploymentTarget{DeploymentTargetType: types.DeploymentTargetTypeLambdaTarget, LambdaTarget: t})
	}
	return out, nil
}
