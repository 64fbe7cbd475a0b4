package apigw

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/url"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerAPIs(api *wire.API) {
	wire.Bind(api, "POST /v2/apis", s.CreateApi, wire.Status(201),
		wire.Members("Name! 1..128", "ProtocolType! HTTP|WEBSOCKET"),
		on("POST", func(*sdk.CreateApiInput) string { return "/apis" }))
	wire.Bind(api, "GET /v2/apis", s.GetApis, wire.QueryParam("MaxResults", "maxResults"), wire.QueryParam("NextToken", "nextToken"),
		on("GET", func(*sdk.GetApisInput) string { return "/apis" }))
	wire.Bind(api, "GET /v2/apis/{ApiId}", s.GetApi,
		on("GET", func(in *sdk.GetApiInput) string { return "/apis/" + *in.ApiId }))
	wire.Bind(api, "PATCH /v2/apis/{ApiId}", s.UpdateApi, wire.Members("Name 1..128"),
		on("PATCH", func(in *sdk.UpdateApiInput) string { return "/apis/" + *in.ApiId }))
	wire.Bind(api, "DELETE /v2/apis/{ApiId}", s.DeleteApi, wire.Status(204),
		on("DELETE", func(in *sdk.DeleteApiInput) string { return "/apis/" + *in.ApiId }))
	wire.Bind(api, "DELETE /v2/apis/{ApiId}/cors", s.DeleteCorsConfiguration, wire.Status(204),
		on("DELETE", func(in *sdk.DeleteCorsConfigurationInput) string { return "/apis/" + *in.ApiId + "/cors" }))
	wire.Bind(api, "POST /v2/tags/{ResourceArn}", s.TagResource, wire.Status(201),
		on("POST", func(in *sdk.TagResourceInput) string { return "/tags/" + url.QueryEscape(*in.ResourceArn) }))
	wire.Bind(api, "GET /v2/tags/{ResourceArn}", s.GetTags,
		on("GET", func(in *sdk.GetTagsInput) string { return "/tags/" + url.QueryEscape(*in.ResourceArn) }))
	wire.Bind(api, "DELETE /v2/tags/{ResourceArn}", s.UntagResource, wire.Status(204), wire.QueryParam("TagKeys", "tagKeys"),
		wire.Members("TagKeys!"),
		on("DELETE", func(in *sdk.UntagResourceInput) string { return "/tags/" + url.QueryEscape(*in.ResourceArn) }))
}

// newID makes an id as API Gateway's look: n lower-case letters and digits.
func newID(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	for i := range b {
		b[i] = letters[int(b[i])%len(letters)]
	}
	return string(b)
}

func encodeToken(s string) *string { return new(base64.RawURLEncoding.EncodeToString([]byte(s))) }

func decodeToken(t *string) (string, error) {
	if t == nil || *t == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*t)
	if err != nil {
		return "", badRequest("Invalid nextToken: " + *t)
	}
	return string(b), nil
}

// BasePath is where the cloud serves HTTP APIs: BasePath + id + path. AWS
// gives each API a host name of its own, which a loopback address cannot have.
const BasePath = "/_aws/execute-api/"

// answer completes an API's row for the caller: its URL depends on how the
// caller reached the cloud.
func answer(c *wire.Call, a apiRow) types.Api {
	a.ApiEndpoint = new(c.Endpoint + BasePath + *a.ApiId)
	return a.Api
}

// CreateApi makes an HTTP API. With a target ("quick create") it also makes
// the integration, the route and the $default stage.
func (s *Service) CreateApi(ctx context.Context, in *sdk.CreateApiInput) (*sdk.CreateApiOutput, error) { //nolint:revive // the operation is called so
	c := wire.CallOf(ctx)
	if in.ProtocolType != types.ProtocolTypeHttp {
		return nil, badRequest("The embedded cloud serves HTTP APIs only, not " + string(in.ProtocolType))
	}
	if e := in.RouteSelectionExpression; e != nil && *e != "${request.method} ${request.path}" {
		return nil, badRequest("Invalid route selection expression. Only ${request.method} ${request.path} is supported for HTTP APIs")
	}
	if in.RouteKey != nil && in.Target == nil {
		return nil, badRequest("A target is required when a route key is given")
	}
	row := apiRow{Region: c.Region, Api: *convert[types.Api](in)}
	row.ApiId, row.CreatedDate = new(newID(10)), new(time.Now().UTC().Truncate(time.Second))
	row.RouteSelectionExpression = new("${request.method} ${request.path}")
	row.ApiKeySelectionExpression = new("$request.header.x-api-key")
	row.IpAddressType = types.IpAddressTypeIpv4
	if in.DisableExecuteApiEndpoint == nil {
		row.DisableExecuteApiEndpoint = new(false)
	}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if err := apis.Put(tx, key(c.Region, row.ApiId), row); err != nil {
			return err
		}
		if in.Target == nil {
			return nil
		}
		return quickCreate(tx, c.Region, *row.ApiId, in)
	})
	return convert[sdk.CreateApiOutput](answer(c, row)), err
}

func quickCreate(tx *store.Tx, region, api string, in *sdk.CreateApiInput) error {
	i := types.Integration{
		IntegrationId: new(newID(7)), ApiGatewayManaged: new(true), IntegrationType: types.IntegrationTypeAwsProxy,
		IntegrationUri: in.Target, IntegrationMethod: new("POST"), PayloadFormatVersion: new("2.0"),
		ConnectionType: types.ConnectionTypeInternet, TimeoutInMillis: new(int32(30000)), CredentialsArn: in.CredentialsArn,
	}
	if in.RouteKey == nil {
		in.RouteKey = new(defaultName)
	}
	if err := validRouteKey(*in.RouteKey); err != nil {
		return err
	}
	r := types.Route{
		RouteId: new(newID(7)), RouteKey: in.RouteKey, Target: new("integrations/" + *i.IntegrationId), ApiGatewayManaged: new(true),
		AuthorizationType: types.AuthorizationTypeNone, ApiKeyRequired: new(false),
	}
	now := new(time.Now().UTC().Truncate(time.Second))
	st := types.Stage{
		StageName: new(defaultName), ApiGatewayManaged: new(true), AutoDeploy: new(true), CreatedDate: now, LastUpdatedDate: now,
		DefaultRouteSettings: &types.RouteSettings{DetailedMetricsEnabled: new(false)}, RouteSettings: map[string]types.RouteSettings{}, StageVariables: map[string]string{},
	}
	if err := integrations.Put(tx, key(region, &api, i.IntegrationId), i); err != nil {
		return err
	}
	if err := routes.Put(tx, key(region, &api, r.RouteId), r); err != nil {
		return err
	}
	if err := stages.Put(tx, key(region, &api, st.StageName), st); err != nil {
		return err
	}
	return deployed(tx, region, api)
}

// load reads an API or says that there is none.
func load(tx *store.Tx, region string, id *string) (apiRow, error) {
	a, ok, err := apis.Get(tx, key(region, id))
	if err == nil && !ok {
		err = &types.NotFoundException{Message: new("Invalid API identifier specified " + *id), ResourceType: new("Api")}
	}
	return a, err
}

// GetApi describes an API.
func (s *Service) GetApi(ctx context.Context, in *sdk.GetApiInput) (*sdk.GetApiOutput, error) { //nolint:revive // the operation is called so
	c := wire.CallOf(ctx)
	var row apiRow
	err := s.DB.View(func(tx *store.Tx) (err error) {
		row, err = load(tx, c.Region, in.ApiId)
		return err
	})
	if err != nil {
		return nil, err
	}
	return convert[sdk.GetApiOutput](answer(c, row)), nil
}

// GetApis lists the APIs of the region.
func (s *Service) GetApis(ctx context.Context, in *sdk.GetApisInput) (*sdk.GetApisOutput, error) {
	c := wire.CallOf(ctx)
	var all []types.Api
	err := s.DB.View(func(tx *store.Tx) error {
		for r, err := range apis.Prefix(tx, c.Region+"/") {
			if err != nil {
				return err
			}
			all = append(all, answer(c, r.Value))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	items, next, err := page(all, func(a types.Api) string { return *a.ApiId }, in.MaxResults, in.NextToken)
	return &sdk.GetApisOutput{Items: items, NextToken: next}, err
}

// UpdateApi changes the members that are given.
func (s *Service) UpdateApi(ctx context.Context, in *sdk.UpdateApiInput) (*sdk.UpdateApiOutput, error) { //nolint:revive // the operation is called so
	c := wire.CallOf(ctx)
	var row apiRow
	err := s.DB.Update(ctx, func(tx *store.Tx) (err error) {
		if row, err = load(tx, c.Region, in.ApiId); err != nil {
			return err
		}
		merge(&row.Api, in)
		if err := apis.Put(tx, key(c.Region, in.ApiId), row); err != nil {
			return err
		}
		return deployed(tx, c.Region, *in.ApiId)
	})
	if err != nil {
		return nil, err
	}
	return convert[sdk.UpdateApiOutput](answer(c, row)), nil
}

// DeleteApi deletes an API with all its parts.
func (s *Service) DeleteApi(ctx context.Context, in *sdk.DeleteApiInput) (*sdk.DeleteApiOutput, error) { //nolint:revive // the operation is called so
	c := wire.CallOf(ctx)
	return &sdk.DeleteApiOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := load(tx, c.Region, in.ApiId); err != nil {
			return err
		}
		prefix := ofAPI(c.Region, *in.ApiId)
		for _, drop := range []func() error{
			func() error { return dropAll(tx, integrations, prefix) }, func() error { return dropAll(tx, routes, prefix) },
			func() error { return dropAll(tx, stages, prefix) }, func() error { return dropAll(tx, deployments, prefix) },
		} {
			if err := drop(); err != nil {
				return err
			}
		}
		return apis.Delete(tx, key(c.Region, in.ApiId))
	})
}

func dropAll[V any](tx *store.Tx, t store.Table[V], prefix string) error {
	var keys []string
	for r, err := range t.Prefix(tx, prefix) {
		if err != nil {
			return err
		}
		keys = append(keys, r.Key)
	}
	for _, k := range keys {
		if err := t.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// DeleteCorsConfiguration takes an API's CORS configuration away.
func (s *Service) DeleteCorsConfiguration(ctx context.Context, in *sdk.DeleteCorsConfigurationInput) (*sdk.DeleteCorsConfigurationOutput, error) {
	c := wire.CallOf(ctx)
	return &sdk.DeleteCorsConfigurationOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		row, err := load(tx, c.Region, in.ApiId)
		if err != nil {
			return err
		}
		row.CorsConfiguration = nil
		return apis.Put(tx, key(c.Region, in.ApiId), row)
	})
}

// TagResource adds tags to an API or a stage.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	return &sdk.TagResourceOutput{}, s.SetTags(ctx, *in.ResourceArn, in.Tags, nil)
}

// UntagResource removes tags from an API or a stage.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	return &sdk.UntagResourceOutput{}, s.SetTags(ctx, *in.ResourceArn, nil, in.TagKeys)
}

// SetTags sets and removes tags of an API or a stage.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	region, id, stage, ok := apiOfARN(arn)
	if !ok {
		return badRequest("Invalid ARN specified in the request: " + arn)
	}
	change := func(tags map[string]string) (map[string]string, error) {
		tags = maps.Clone(tags)
		if tags == nil {
			tags = map[string]string{}
		}
		maps.Copy(tags, set)
		for _, k := range remove {
			delete(tags, k)
		}
		if len(tags) > 50 {
			return nil, badRequest("The number of tags exceeds the limit of 50")
		}
		return tags, nil
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		row, err := load(tx, region, &id)
		if err != nil {
			return err
		}
		if stage == "" {
			if row.Tags, err = change(row.Tags); err != nil {
				return err
			}
			return apis.Put(tx, key(region, &id), row)
		}
		st, err := loadStage(tx, region, &id, &stage)
		if err != nil {
			return err
		}
		if st.Tags, err = change(st.Tags); err != nil {
			return err
		}
		return stages.Put(tx, key(region, &id, &stage), st)
	})
}

// GetTags lists the tags of an API or a stage.
func (s *Service) GetTags(_ context.Context, in *sdk.GetTagsInput) (*sdk.GetTagsOutput, error) {
	region, id, stage, ok := apiOfARN(*in.ResourceArn)
	if !ok {
		return nil, badRequest("Invalid ARN specified in the request: " + *in.ResourceArn)
	}
	out := &sdk.GetTagsOutput{Tags: map[string]string{}}
	err := s.DB.View(func(tx *store.Tx) error {
		row, err := load(tx, region, &id)
		if err != nil {
			return err
		}
		maps.Copy(out.Tags, row.Tags)
		if stage != "" {
			st, err := loadStage(tx, region, &id, &stage)
			if err != nil {
				return err
			}
			out.Tags = map[string]string{}
			maps.Copy(out.Tags, st.Tags)
		}
		return nil
	})
	return out, err
}

// Tagged lists APIs and stages of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range apis.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out[arnOf(region, "/apis/"+*r.Value.ApiId)] = r.Value.Tags
		}
		for r, err := range stages.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			id := strings.Split(r.Key, "/")[1]
			out[arnOf(region, "/apis/"+id+"/stages/"+*r.Value.StageName)] = r.Value.Tags
		}
		return nil
	})
}
