package apigw

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerStages(api *wire.API) {
	paging := []wire.Option{wire.QueryParam("MaxResults", "maxResults"), wire.QueryParam("NextToken", "nextToken")}
	wire.Bind(api, "POST /v2/apis/{ApiId}/stages", s.CreateStage, wire.Status(201), wire.Members("StageName! 1..128"),
		on("POST", func(in *sdk.CreateStageInput) string { return "/apis/" + *in.ApiId + "/stages" }))
	wire.Bind(api, "GET /v2/apis/{ApiId}/stages", s.GetStages, append(paging,
		on("GET", func(in *sdk.GetStagesInput) string { return "/apis/" + *in.ApiId + "/stages" }))...)
	wire.Bind(api, "GET /v2/apis/{ApiId}/stages/{StageName}", s.GetStage,
		on("GET", func(in *sdk.GetStageInput) string { return "/apis/" + *in.ApiId + "/stages/" + *in.StageName }))
	wire.Bind(api, "PATCH /v2/apis/{ApiId}/stages/{StageName}", s.UpdateStage,
		on("PATCH", func(in *sdk.UpdateStageInput) string { return "/apis/" + *in.ApiId + "/stages/" + *in.StageName }))
	wire.Bind(api, "DELETE /v2/apis/{ApiId}/stages/{StageName}", s.DeleteStage, wire.Status(204),
		on("DELETE", func(in *sdk.DeleteStageInput) string { return "/apis/" + *in.ApiId + "/stages/" + *in.StageName }))
	wire.Bind(api, "DELETE /v2/apis/{ApiId}/stages/{StageName}/accesslogsettings", s.DeleteAccessLogSettings, wire.Status(204),
		on("DELETE", func(in *sdk.DeleteAccessLogSettingsInput) string {
			return "/apis/" + *in.ApiId + "/stages/" + *in.StageName + "/accesslogsettings"
		}))
	wire.Bind(api, "DELETE /v2/apis/{ApiId}/stages/{StageName}/cache/authorizers", s.ResetAuthorizersCache, wire.Status(204),
		on("DELETE", func(in *sdk.ResetAuthorizersCacheInput) string {
			return "/apis/" + *in.ApiId + "/stages/" + *in.StageName + "/cache/authorizers"
		}))
	wire.Bind(api, "GET /v2/apis/{ApiId}/deployments", s.GetDeployments, append(paging,
		on("GET", func(in *sdk.GetDeploymentsInput) string { return "/apis/" + *in.ApiId + "/deployments" }))...)
}

var stageText = regexp.MustCompile(`^(\$default|[A-Za-z0-9_-]+)$`)

func loadStage(tx *store.Tx, region string, api, name *string) (types.Stage, error) {
	st, err := loadPart(tx, stages, "Stage", region, api, name)
	if nf, ok := err.(*types.NotFoundException); ok && *nf.ResourceType == "Stage" { //nolint:errorlint // made right above, never wrapped
		nf.Message = new("Invalid stage identifier specified")
	}
	return st, err
}

func checkStage(st types.Stage) error {
	if l := st.AccessLogSettings; l != nil {
		if l.DestinationArn == nil || !strings.HasPrefix(*l.DestinationArn, "arn:aws:logs:") {
			return badRequest("Invalid access log destination: the ARN of a CloudWatch Logs log group is needed")
		}
		if l.Format == nil || !strings.Contains(*l.Format, "$context.requestId") && !strings.Contains(*l.Format, "$context.extendedRequestId") {
			return badRequest("Access Log format must include $context.requestId or $context.extendedRequestId")
		}
	}
	all := []types.RouteSettings{}
	if st.DefaultRouteSettings != nil {
		all = append(all, *st.DefaultRouteSettings)
	}
	for _, r := range st.RouteSettings {
		all = append(all, r)
	}
	for _, r := range all {
		if r.LoggingLevel != "" || r.DataTraceEnabled != nil && *r.DataTraceEnabled {
			return badRequest("Execution logs are not supported on protocolType HTTP")
		}
		if r.ThrottlingBurstLimit != nil && *r.ThrottlingBurstLimit < 0 || r.ThrottlingRateLimit != nil && *r.ThrottlingRateLimit < 0 {
			return badRequest("Throttling limits must not be negative")
		}
	}
	return nil
}

// CreateStage adds a stage. One without AutoDeploy serves nothing until it has a deployment.
func (s *Service) CreateStage(ctx context.Context, in *sdk.CreateStageInput) (*sdk.CreateStageOutput, error) {
	if !stageText.MatchString(*in.StageName) {
		return nil, badRequest("Stage name only allows alphanumeric characters, hyphens, and underscores, or $default")
	}
	st := *convert[types.Stage](in)
	now := time.Now().UTC().Truncate(time.Second)
	st.CreatedDate, st.LastUpdatedDate = &now, &now
	if st.RouteSettings == nil {
		st.RouteSettings = map[string]types.RouteSettings{}
	}
	if st.StageVariables == nil {
		st.StageVariables = map[string]string{}
	}
	if st.DefaultRouteSettings == nil {
		st.DefaultRouteSettings = &types.RouteSettings{}
	}
	if st.DefaultRouteSettings.DetailedMetricsEnabled == nil {
		st.DefaultRouteSettings.DetailedMetricsEnabled = new(false)
	}
	if err := checkStage(st); err != nil {
		return nil, err
	}
	if err := s.allowLog(ctx, st); err != nil {
		return nil, err
	}
	region := wire.CallOf(ctx).Region
	err := putPart(ctx, s, stages, in.ApiId, *st.StageName, st, func(tx *store.Tx) error {
		if _, ok, err := stages.Get(tx, key(region, in.ApiId, in.StageName)); ok || err != nil {
			if err == nil {
				err = &types.ConflictException{Message: new("Stage already exists")}
			}
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return convert[sdk.CreateStageOutput](st), nil
}

// GetStage describes a stage.
func (s *Service) GetStage(ctx context.Context, in *sdk.GetStageInput) (*sdk.GetStageOutput, error) {
	var st types.Stage
	err := s.DB.View(func(tx *store.Tx) (err error) {
		st, err = loadStage(tx, wire.CallOf(ctx).Region, in.ApiId, in.StageName)
		return err
	})
	if err != nil {
		return nil, err
	}
	return convert[sdk.GetStageOutput](st), nil
}

// GetStages lists an API's stages.
func (s *Service) GetStages(ctx context.Context, in *sdk.GetStagesInput) (*sdk.GetStagesOutput, error) {
	all, err := parts(ctx, s, stages, in.ApiId)
	if err != nil {
		return nil, err
	}
	items, next, err := page(all, func(st types.Stage) string { return *st.StageName }, in.MaxResults, in.NextToken)
	return &sdk.GetStagesOutput{Items: items, NextToken: next}, err
}

// allowLog arranges that log delivery may write to the stage's log group, with
// the caller's permissions.
func (s *Service) allowLog(ctx context.Context, st types.Stage) error {
	if st.AccessLogSettings == nil {
		return nil
	}
	err := s.Delivery.Allow(ctx, s.Caller, wire.CallOf(ctx).As("apigateway"), *st.AccessLogSettings.DestinationArn)
	if _, denied := errors.AsType[*authz.DeniedError](err); denied {
		return badRequest("Insufficient permissions to enable logging: " + err.Error())
	}
	return err
}

// UpdateStage changes the members that are given.
func (s *Service) UpdateStage(ctx context.Context, in *sdk.UpdateStageInput) (*sdk.UpdateStageOutput, error) {
	if in.AccessLogSettings != nil {
		changed := types.Stage{AccessLogSettings: in.AccessLogSettings}
		if err := checkStage(changed); err != nil {
			return nil, err
		}
		if err := s.allowLog(ctx, changed); err != nil {
			return nil, err
		}
	}
	st, err := changePart(ctx, s, stages, "Stage", in.ApiId, in.StageName, func(_ *store.Tx, st *types.Stage) error {
		merge(st, in)
		st.LastUpdatedDate = new(time.Now().UTC().Truncate(time.Second))
		return checkStage(*st)
	})
	if err != nil {
		return nil, err
	}
	return convert[sdk.UpdateStageOutput](st), nil
}

// DeleteStage deletes a stage.
func (s *Service) DeleteStage(ctx context.Context, in *sdk.DeleteStageInput) (*sdk.DeleteStageOutput, error) {
	return &sdk.DeleteStageOutput{}, deletePart(ctx, s, stages, "Stage", in.ApiId, in.StageName, nil)
}

// DeleteAccessLogSettings ends a stage's access log.
func (s *Service) DeleteAccessLogSettings(ctx context.Context, in *sdk.DeleteAccessLogSettingsInput) (*sdk.DeleteAccessLogSettingsOutput, error) {
	_, err := changePart(ctx, s, stages, "Stage", in.ApiId, in.StageName, func(_ *store.Tx, st *types.Stage) error {
		st.AccessLogSettings = nil
		return nil
	})
	return &sdk.DeleteAccessLogSettingsOutput{}, err
}

// ResetAuthorizersCache has nothing to empty: no route has an authorizer. The
// stage must exist all the same.
func (s *Service) ResetAuthorizersCache(ctx context.Context, in *sdk.ResetAuthorizersCacheInput) (*sdk.ResetAuthorizersCacheOutput, error) {
	_, err := s.GetStage(ctx, &sdk.GetStageInput{ApiId: in.ApiId, StageName: in.StageName})
	return &sdk.ResetAuthorizersCacheOutput{}, err
}

// GetDeployments lists an API's deployments, the oldest first.
func (s *Service) GetDeployments(ctx context.Context, in *sdk.GetDeploymentsInput) (*sdk.GetDeploymentsOutput, error) {
	all, err := parts(ctx, s, deployments, in.ApiId)
	if err != nil {
		return nil, err
	}
	order := func(d types.Deployment) string { return d.CreatedDate.Format(time.RFC3339) + *d.DeploymentId }
	items, next, err := page(all, order, in.MaxResults, in.NextToken)
	return &sdk.GetDeploymentsOutput{Items: items, NextToken: next}, err
}
