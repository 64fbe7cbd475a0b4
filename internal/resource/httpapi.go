package resource

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"

	"miniforge/internal/graph"
)

// httpAPI is what an HTTPAPI asks of API Gateway V2.
type httpAPI interface {
	GetApis(context.Context, *apigatewayv2.GetApisInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.GetApisOutput, error)
	CreateApi(context.Context, *apigatewayv2.CreateApiInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.CreateApiOutput, error)
	DeleteApi(context.Context, *apigatewayv2.DeleteApiInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.DeleteApiOutput, error)
	GetIntegrations(context.Context, *apigatewayv2.GetIntegrationsInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.GetIntegrationsOutput, error)
	CreateIntegration(context.Context, *apigatewayv2.CreateIntegrationInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.CreateIntegrationOutput, error)
	UpdateIntegration(context.Context, *apigatewayv2.UpdateIntegrationInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.UpdateIntegrationOutput, error)
	GetRoutes(context.Context, *apigatewayv2.GetRoutesInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.GetRoutesOutput, error)
	CreateRoute(context.Context, *apigatewayv2.CreateRouteInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.CreateRouteOutput, error)
	UpdateRoute(context.Context, *apigatewayv2.UpdateRouteInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.UpdateRouteOutput, error)
	DeleteRoute(context.Context, *apigatewayv2.DeleteRouteInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.DeleteRouteOutput, error)
	GetStages(context.Context, *apigatewayv2.GetStagesInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.GetStagesOutput, error)
	CreateStage(context.Context, *apigatewayv2.CreateStageInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.CreateStageOutput, error)
	UpdateStage(context.Context, *apigatewayv2.UpdateStageInput, ...func(*apigatewayv2.Options)) (*apigatewayv2.UpdateStageOutput, error)
}

var _ httpAPI = (*apigatewayv2.Client)(nil)

const (
	defaultStage  = "$default"
	payloadFormat = "2.0"
)

// An HTTPAPI is an HTTP API whose routes all lead to one function, with a
// default stage that deploys by itself, logs and throttles. Its parts are one
// resource, as API Gateway refuses concurrent changes to one API.
//
// Names of APIs are not unique and ids are chosen by API Gateway: an API is
// found by name and tag together. One of this name without the tag is not
// foreign, merely somebody else's.
type HTTPAPI struct {
	Gateway   httpAPI
	Owner     Owner
	Name      string
	Region    string
	Account   string
	Partition string // "aws"
	Routes    []string
	Handler   *Alias
	LogGroup  *LogGroup
	Rate      float64 // requests a second
	Burst     int32

	id       string
	endpoint string
	parts    apiParts
}

// apiParts is what was observed below the API.
type apiParts struct {
	integration *types.Integration
	routes      []types.Route
	stage       *types.Stage
	duplicates  []string // ids of APIs that a run made which raced with another
}

func (a *HTTPAPI) ID() string              { return "apigateway/" + a.Name }
func (a *HTTPAPI) Needs() []graph.Resource { return []graph.Resource{a.Handler, a.LogGroup} }

// Endpoint is the URL of the default stage, or "" before the API exists.
func (a *HTTPAPI) Endpoint() string { return a.endpoint }

// ExecutionARN covers every stage, method and path of the API.
func (a *HTTPAPI) ExecutionARN() string {
	return fmt.Sprintf("arn:%s:execute-api:%s:%s:%s/*/*", a.Partition, a.Region, a.Account, orUnknown(a.id))
}

// Find returns the API of this name and stack, or nil. Should there be several
// (two runs that raced), it is the oldest, in every run.
func (a *HTTPAPI) Find(ctx context.Context) (*types.Api, error) {
	all, err := a.findAll(ctx)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

// findAll returns every API of this name and stack, the oldest first.
func (a *HTTPAPI) findAll(ctx context.Context) (found []types.Api, err error) {
	var token *string
	for {
		page, err := a.Gateway.GetApis(ctx, &apigatewayv2.GetApisInput{NextToken: token})
		if err != nil {
			return nil, failed("list APIs for", a.Name, err)
		}
		for _, api := range page.Items {
			if deref(api.Name) == a.Name && a.Owner.owns(api.Tags) {
				found = append(found, api)
			}
		}
		if token = page.NextToken; deref(token) == "" {
			break
		}
	}
	slices.SortFunc(found, func(x, y types.Api) int {
		return cmp.Or(deref(x.CreatedDate).Compare(deref(y.CreatedDate)), cmp.Compare(deref(x.ApiId), deref(y.ApiId)))
	})
	return found, nil
}

func (a *HTTPAPI) Observe(ctx context.Context) (graph.Observation, error) {
	a.id, a.endpoint, a.parts = "", "", apiParts{}
	all, err := a.findAll(ctx)
	if err != nil || len(all) == 0 {
		return graph.Observation{}, err
	}
	a.id, a.endpoint = deref(all[0].ApiId), deref(all[0].ApiEndpoint)
	for _, api := range all[1:] {
		a.parts.duplicates = append(a.parts.duplicates, deref(api.ApiId))
	}
	err = together(ctx, func(ctx context.Context) error {
		out, err := a.Gateway.GetIntegrations(ctx, &apigatewayv2.GetIntegrationsInput{ApiId: &a.id})
		if err == nil && len(out.Items) > 0 {
			a.parts.integration = &out.Items[0]
		}
		return err
	}, func(ctx context.Context) error {
		out, err := a.Gateway.GetRoutes(ctx, &apigatewayv2.GetRoutesInput{ApiId: &a.id})
		if err == nil {
			a.parts.routes = out.Items
		}
		return err
	}, func(ctx context.Context) error {
		out, err := a.Gateway.GetStages(ctx, &apigatewayv2.GetStagesInput{ApiId: &a.id})
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(out.Items, func(s types.Stage) bool { return deref(s.StageName) == defaultStage }); i >= 0 {
			a.parts.stage = &out.Items[i]
		}
		return nil
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read API", a.Name, err)
	}
	return graph.Observation{Exists: true, Owned: true, Drift: a.compare()}, nil
}

func (a *HTTPAPI) compare() (d drift) {
	i := deref(a.parts.integration)
	d.add("Integration.Uri", a.Handler.ARN(), deref(i.IntegrationUri))
	d.add("Integration.PayloadFormatVersion", payloadFormat, deref(i.PayloadFormatVersion))
	target := "integrations/" + deref(i.IntegrationId)
	routes := map[string]string{}
	for _, r := range a.parts.routes {
		routes[deref(r.RouteKey)] = deref(r.Target)
	}
	for _, key := range a.Routes {
		d.add("Route."+key, target, routes[key])
		delete(routes, key)
	}
	for _, key := range slices.Sorted(maps.Keys(routes)) {
		d.add("Route."+key, "", cmp.Or(routes[key], "(no target)")) // not declared: a way in
	}
	s := deref(a.parts.stage)
	d.bool("Stage.AutoDeploy", true, deref(s.AutoDeploy))
	log := deref(s.AccessLogSettings)
	d.add("Stage.AccessLog.Destination", a.LogGroup.ARN, strings.TrimSuffix(deref(log.DestinationArn), ":*"))
	d.json("Stage.AccessLog.Format", accessLogFormat(), deref(log.Format))
	throttle := deref(s.DefaultRouteSettings)
	d.add("Stage.ThrottlingRateLimit", fmt.Sprint(a.Rate), fmt.Sprint(deref(throttle.ThrottlingRateLimit)))
	d.int("Stage.ThrottlingBurstLimit", int64(a.Burst), int64(deref(throttle.ThrottlingBurstLimit)))
	for _, id := range a.parts.duplicates {
		d.add("Duplicate."+id, "", id)
	}
	return d
}

// accessLogFormat is one JSON object a line. integrationErrorMessage is the
// only place where AWS says why a function could not be invoked.
func accessLogFormat() string {
	fields := map[string]string{}
	for _, f := range []string{
		"requestId", "requestTime", "httpMethod", "routeKey", "path", "status", "protocol", "responseLength",
		"responseLatency", "integrationLatency", "integrationStatus", "integrationErrorMessage",
	} {
		fields[f] = "$context." + f
	}
	fields["ip"] = "$context.identity.sourceIp"
	fields["userAgent"] = "$context.identity.userAgent"
	raw, _ := json.Marshal(fields) // strings always marshal
	return string(raw)
}

func (a *HTTPAPI) Create(ctx context.Context) error {
	out, err := a.Gateway.CreateApi(ctx, &apigatewayv2.CreateApiInput{Name: &a.Name, ProtocolType: types.ProtocolTypeHttp, Tags: a.Owner.Tags()}, unrepeated)
	if err != nil {
		return failedOnce("create API", a.Name, err)
	}
	a.id, a.endpoint, a.parts = deref(out.ApiId), deref(out.ApiEndpoint), apiParts{}
	return a.Update(ctx, a.compare())
}

func (a *HTTPAPI) Update(ctx context.Context, diffs []graph.Diff) error {
	if drifted(diffs, "Integration") {
		if err := a.putIntegration(ctx); err != nil {
			return failedOnce("set integration of API", a.Name, err)
		}
	}
	if drifted(diffs, "Route", "Integration") {
		if err := a.putRoutes(ctx); err != nil {
			return failed("set routes of API", a.Name, err)
		}
	}
	if drifted(diffs, "Stage") {
		if err := a.putStage(ctx); err != nil {
			return failed("set stage of API", a.Name, err)
		}
	}
	return a.deleteAPIs(ctx, a.parts.duplicates)
}

func (a *HTTPAPI) putIntegration(ctx context.Context) error {
	uri, version, method := a.Handler.ARN(), payloadFormat, "POST"
	if i := a.parts.integration; i != nil {
		_, err := a.Gateway.UpdateIntegration(ctx, &apigatewayv2.UpdateIntegrationInput{
			ApiId: &a.id, IntegrationId: i.IntegrationId, IntegrationUri: &uri, PayloadFormatVersion: &version,
		})
		return err
	}
	out, err := a.Gateway.CreateIntegration(ctx, &apigatewayv2.CreateIntegrationInput{
		ApiId: &a.id, IntegrationType: types.IntegrationTypeAwsProxy, IntegrationMethod: &method,
		IntegrationUri: &uri, PayloadFormatVersion: &version,
	}, unrepeated)
	if err != nil {
		return err
	}
	a.parts.integration = &types.Integration{IntegrationId: out.IntegrationId}
	return nil
}

// unrepeated is for calls that make a thing without a name of its own: see
// failedOnce.
func unrepeated(o *apigatewayv2.Options) { o.Retryer = aws.NopRetryer{} }

// putRoutes makes the routes those declared, and no other.
func (a *HTTPAPI) putRoutes(ctx context.Context) error {
	target := "integrations/" + deref(a.parts.integration.IntegrationId)
	have := map[string]bool{}
	for _, r := range a.parts.routes {
		key := deref(r.RouteKey)
		have[key] = true
		var err error
		switch {
		case !slices.Contains(a.Routes, key):
			_, err = a.Gateway.DeleteRoute(ctx, &apigatewayv2.DeleteRouteInput{ApiId: &a.id, RouteId: r.RouteId})
			if gone(err) {
				err = nil
			}
		case deref(r.Target) != target:
			_, err = a.Gateway.UpdateRoute(ctx, &apigatewayv2.UpdateRouteInput{ApiId: &a.id, RouteId: r.RouteId, Target: &target})
		}
		if err != nil {
			return fmt.Errorf("route %s: %w", key, err)
		}
	}
	for _, key := range a.Routes {
		if have[key] {
			continue
		}
		_, err := a.Gateway.CreateRoute(ctx, &apigatewayv2.CreateRouteInput{ApiId: &a.id, RouteKey: &key, Target: &target})
		if err != nil {
			return fmt.Errorf("route %s: %w", key, err)
		}
	}
	return nil
}

func (a *HTTPAPI) putStage(ctx context.Context) error {
	name, format, on := defaultStage, accessLogFormat(), true
	log := &types.AccessLogSettings{DestinationArn: &a.LogGroup.ARN, Format: &format}
	throttle := &types.RouteSettings{ThrottlingRateLimit: &a.Rate, ThrottlingBurstLimit: &a.Burst}
	if a.parts.stage == nil {
		_, err := a.Gateway.CreateStage(ctx, &apigatewayv2.CreateStageInput{
			ApiId: &a.id, StageName: &name, AutoDeploy: &on, AccessLogSettings: log, DefaultRouteSettings: throttle, Tags: a.Owner.Tags(),
		})
		return err
	}
	_, err := a.Gateway.UpdateStage(ctx, &apigatewayv2.UpdateStageInput{
		ApiId: &a.id, StageName: &name, AutoDeploy: &on, AccessLogSettings: log, DefaultRouteSettings: throttle,
	})
	return err
}

// Delete removes the API, with its integration, routes and stage, and its
// duplicates.
func (a *HTTPAPI) Delete(ctx context.Context) error {
	return a.deleteAPIs(ctx, append(a.parts.duplicates, a.id))
}

func (a *HTTPAPI) deleteAPIs(ctx context.Context, ids []string) error {
	for _, id := range ids {
		_, err := a.Gateway.DeleteApi(ctx, &apigatewayv2.DeleteApiInput{ApiId: &id})
		if err := deleted("API "+a.Name, err); err != nil {
			return err
		}
	}
	return nil
}
