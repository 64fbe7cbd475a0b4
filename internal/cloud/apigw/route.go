package apigw

import (
	"context"
	"regexp"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerRoutes(api *wire.API) {
	paging := []wire.Option{wire.QueryParam("MaxResults", "maxResults"), wire.QueryParam("NextToken", "nextToken")}
	wire.Bind(api, "POST /v2/apis/{ApiId}/integrations", s.CreateIntegration, wire.Status(201),
		wire.Members("IntegrationType! AWS|HTTP|MOCK|HTTP_PROXY|AWS_PROXY", "TimeoutInMillis 50..30000"),
		on("POST", func(in *sdk.CreateIntegrationInput) string { return "/apis/" + *in.ApiId + "/integrations" }))
	wire.Bind(api, "GET /v2/apis/{ApiId}/integrations", s.GetIntegrations, append(paging,
		on("GET", func(in *sdk.GetIntegrationsInput) string { return "/apis/" + *in.ApiId + "/integrations" }))...)
	wire.Bind(api, "GET /v2/apis/{ApiId}/integrations/{IntegrationId}", s.GetIntegration,
		on("GET", func(in *sdk.GetIntegrationInput) string {
			return "/apis/" + *in.ApiId + "/integrations/" + *in.IntegrationId
		}))
	wire.Bind(api, "PATCH /v2/apis/{ApiId}/integrations/{IntegrationId}", s.UpdateIntegration,
		wire.Members("TimeoutInMillis 50..30000"),
		on("PATCH", func(in *sdk.UpdateIntegrationInput) string {
			return "/apis/" + *in.ApiId + "/integrations/" + *in.IntegrationId
		}))
	wire.Bind(api, "DELETE /v2/apis/{ApiId}/integrations/{IntegrationId}", s.DeleteIntegration, wire.Status(204),
		on("DELETE", func(in *sdk.DeleteIntegrationInput) string {
			return "/apis/" + *in.ApiId + "/integrations/" + *in.IntegrationId
		}))
	wire.Bind(api, "POST /v2/apis/{ApiId}/routes", s.CreateRoute, wire.Status(201), wire.Members("RouteKey!"),
		on("POST", func(in *sdk.CreateRouteInput) string { return "/apis/" + *in.ApiId + "/routes" }))
	wire.Bind(api, "GET /v2/apis/{ApiId}/routes", s.GetRoutes, append(paging,
		on("GET", func(in *sdk.GetRoutesInput) string { return "/apis/" + *in.ApiId + "/routes" }))...)
	wire.Bind(api, "GET /v2/apis/{ApiId}/routes/{RouteId}", s.GetRoute,
		on("GET", func(in *sdk.GetRouteInput) string { return "/apis/" + *in.ApiId + "/routes/" + *in.RouteId }))
	wire.Bind(api, "PATCH /v2/apis/{ApiId}/routes/{RouteId}", s.UpdateRoute,
		on("PATCH", func(in *sdk.UpdateRouteInput) string { return "/apis/" + *in.ApiId + "/routes/" + *in.RouteId }))
	wire.Bind(api, "DELETE /v2/apis/{ApiId}/routes/{RouteId}", s.DeleteRoute, wire.Status(204),
		on("DELETE", func(in *sdk.DeleteRouteInput) string { return "/apis/" + *in.ApiId + "/routes/" + *in.RouteId }))
}

// checkIntegration refuses what the data plane would not carry out, so that no
// API is ever configured to do something that it then silently does not.
func checkIntegration(i types.Integration) error {
	switch {
	case i.IntegrationType != types.IntegrationTypeAwsProxy:
		return badRequest("The embedded cloud integrates HTTP APIs with Lambda functions (AWS_PROXY) only")
	case i.IntegrationSubtype != nil || len(i.RequestParameters) > 0 || len(i.ResponseParameters) > 0 || i.TlsConfig != nil:
		return badRequest("The embedded cloud has no service integrations and no parameter mapping")
	case i.ConnectionType != "" && i.ConnectionType != types.ConnectionTypeInternet:
		return badRequest("The embedded cloud has no VPC links")
	case i.PayloadFormatVersion == nil:
		return badRequest("PayloadFormatVersion is a required parameter for integration type AWS_PROXY")
	case *i.PayloadFormatVersion != "2.0":
		return badRequest("The embedded cloud serves payload format version 2.0 only")
	case i.IntegrationUri == nil || functionARN(*i.IntegrationUri) == "":
		return badRequest("Invalid function ARN or invalid uri")
	}
	return nil
}

var invocationURI = regexp.MustCompile(`^arn:aws:apigateway:[^:]+:lambda:path/2015-03-31/functions/(arn:aws:lambda:[^/]+)/invocations$`)

// functionARN is the function of an integration URI in either of its forms.
func functionARN(uri string) string {
	if m := invocationURI.FindStringSubmatch(uri); m != nil {
		return m[1]
	}
	if p := strings.Split(uri, ":"); (len(p) == 7 || len(p) == 8) && strings.HasPrefix(uri, "arn:aws:lambda:") && p[5] == "function" {
		return uri
	}
	return ""
}

// CreateIntegration adds an integration with a Lambda function.
func (s *Service) CreateIntegration(ctx context.Context, in *sdk.CreateIntegrationInput) (*sdk.CreateIntegrationOutput, error) {
	i := *convert[types.Integration](in)
	i.IntegrationId = new(newID(7))
	if i.ConnectionType == "" {
		i.ConnectionType = types.ConnectionTypeInternet
	}
	if i.TimeoutInMillis == nil {
		i.TimeoutInMillis = new(int32(30000))
	}
	if i.IntegrationMethod == nil {
		i.IntegrationMethod = new("POST")
	}
	if err := checkIntegration(i); err != nil {
		return nil, err
	}
	if err := putPart(ctx, s, integrations, in.ApiId, *i.IntegrationId, i, nil); err != nil {
		return nil, err
	}
	return convert[sdk.CreateIntegrationOutput](i), nil
}

// GetIntegration describes an integration.
func (s *Service) GetIntegration(ctx context.Context, in *sdk.GetIntegrationInput) (*sdk.GetIntegrationOutput, error) {
	i, err := getPart(ctx, s, integrations, "Integration", in.ApiId, in.IntegrationId)
	if err != nil {
		return nil, err
	}
	return convert[sdk.GetIntegrationOutput](i), nil
}

// GetIntegrations lists an API's integrations.
func (s *Service) GetIntegrations(ctx context.Context, in *sdk.GetIntegrationsInput) (*sdk.GetIntegrationsOutput, error) {
	all, err := parts(ctx, s, integrations, in.ApiId)
	if err != nil {
		return nil, err
	}
	items, next, err := page(all, func(i types.Integration) string { return *i.IntegrationId }, in.MaxResults, in.NextToken)
	return &sdk.GetIntegrationsOutput{Items: items, NextToken: next}, err
}

// UpdateIntegration changes the members that are given.
func (s *Service) UpdateIntegration(ctx context.Context, in *sdk.UpdateIntegrationInput) (*sdk.UpdateIntegrationOutput, error) {
	i, err := changePart(ctx, s, integrations, "Integration", in.ApiId, in.IntegrationId, func(_ *store.Tx, i *types.Integration) error {
		merge(i, in)
		return checkIntegration(*i)
	})
	if err != nil {
		return nil, err
	}
	return convert[sdk.UpdateIntegrationOutput](i), nil
}

// DeleteIntegration deletes an integration that no route uses.
func (s *Service) DeleteIntegration(ctx context.Context, in *sdk.DeleteIntegrationInput) (*sdk.DeleteIntegrationOutput, error) {
	region := wire.CallOf(ctx).Region
	return &sdk.DeleteIntegrationOutput{}, deletePart(ctx, s, integrations, "Integration", in.ApiId, in.IntegrationId, func(tx *store.Tx) error {
		for r, err := range routes.Prefix(tx, ofAPI(region, *in.ApiId)) {
			if err != nil {
				return err
			}
			if t := r.Value.Target; t != nil && *t == "integrations/"+*in.IntegrationId {
				return &types.ConflictException{Message: new("Cannot delete Integration '" + *in.IntegrationId + "' because it is referenced by Route '" + *r.Value.RouteKey + "'.")}
			}
		}
		return nil
	})
}

var (
	routeKeyText = regexp.MustCompile(`^(ANY|GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) (/.*)$`)
	routeSegment = regexp.MustCompile(`^([A-Za-z0-9._~!$&'()*+,;=:@%-]*|\{[A-Za-z0-9._-]+\+?\})$`)
)

const defaultName = "$default" // of the catch-all route and of the stage without a path

func validRouteKey(k string) error {
	if k == defaultName {
		return nil
	}
	bad := badRequest("The provided route key is not formatted properly for HTTP protocol. Format should be \"<HTTP METHOD> /<RESOURCE PATH>\" or \"$default\"")
	m := routeKeyText.FindStringSubmatch(k)
	if m == nil {
		return bad
	}
	segments := strings.Split(m[2][1:], "/")
	for i, seg := range segments {
		if !routeSegment.MatchString(seg) || strings.HasSuffix(seg, "+}") && i != len(segments)-1 {
			return bad
		}
	}
	return nil
}

func checkRoute(tx *store.Tx, region string, api *string, r types.Route) error {
	switch {
	case r.AuthorizationType != types.AuthorizationTypeNone:
		return badRequest("The embedded cloud serves routes without authorization only (NONE)")
	case r.ApiKeyRequired != nil && *r.ApiKeyRequired:
		return badRequest("API keys are not supported for HTTP APIs")
	}
	if err := validRouteKey(*r.RouteKey); err != nil {
		return err
	}
	if r.Target != nil {
		id, ok := strings.CutPrefix(*r.Target, "integrations/")
		if !ok {
			return badRequest("Invalid target: " + *r.Target)
		}
		if _, found, err := integrations.Get(tx, key(region, api, &id)); err != nil || !found {
			if err == nil {
				err = badRequest("Unable to find Integration by identifier " + id)
			}
			return err
		}
	}
	for other, err := range routes.Prefix(tx, ofAPI(region, *api)) {
		if err != nil {
			return err
		}
		if *other.Value.RouteKey == *r.RouteKey && *other.Value.RouteId != *r.RouteId {
			return &types.ConflictException{Message: new("Route with key " + *r.RouteKey + " already exists for this API")}
		}
	}
	return nil
}

// CreateRoute adds a route.
func (s *Service) CreateRoute(ctx context.Context, in *sdk.CreateRouteInput) (*sdk.CreateRouteOutput, error) {
	r := *convert[types.Route](in)
	r.RouteId = new(newID(7))
	if r.AuthorizationType == "" {
		r.AuthorizationType = types.AuthorizationTypeNone
	}
	if r.ApiKeyRequired == nil {
		r.ApiKeyRequired = new(false)
	}
	region := wire.CallOf(ctx).Region
	err := putPart(ctx, s, routes, in.ApiId, *r.RouteId, r, func(tx *store.Tx) error { return checkRoute(tx, region, in.ApiId, r) })
	if err != nil {
		return nil, err
	}
	return convert[sdk.CreateRouteOutput](r), nil
}

// GetRoute describes a route.
func (s *Service) GetRoute(ctx context.Context, in *sdk.GetRouteInput) (*sdk.GetRouteOutput, error) {
	r, err := getPart(ctx, s, routes, "Route", in.ApiId, in.RouteId)
	if err != nil {
		return nil, err
	}
	return convert[sdk.GetRouteOutput](r), nil
}

// GetRoutes lists an API's routes.
func (s *Service) GetRoutes(ctx context.Context, in *sdk.GetRoutesInput) (*sdk.GetRoutesOutput, error) {
	all, err := parts(ctx, s, routes, in.ApiId)
	if err != nil {
		return nil, err
	}
	items, next, err := page(all, func(r types.Route) string { return *r.RouteId }, in.MaxResults, in.NextToken)
	return &sdk.GetRoutesOutput{Items: items, NextToken: next}, err
}

// UpdateRoute changes the members that are given.
func (s *Service) UpdateRoute(ctx context.Context, in *sdk.UpdateRouteInput) (*sdk.UpdateRouteOutput, error) {
	region := wire.CallOf(ctx).Region
	r, err := changePart(ctx, s, routes, "Route", in.ApiId, in.RouteId, func(tx *store.Tx, r *types.Route) error {
		merge(r, in)
		return checkRoute(tx, region, in.ApiId, *r)
	})
	if err != nil {
		return nil, err
	}
	return convert[sdk.UpdateRouteOutput](r), nil
}

// DeleteRoute deletes a route.
func (s *Service) DeleteRoute(ctx context.Context, in *sdk.DeleteRouteInput) (*sdk.DeleteRouteOutput, error) {
	return &sdk.DeleteRouteOutput{}, deletePart(ctx, s, routes, "Route", in.ApiId, in.RouteId, nil)
}
