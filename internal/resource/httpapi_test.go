package resource

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	events "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/graph"
)

func testAPI() *HTTPAPI {
	return &HTTPAPI{
		Owner: Owner{"s"}, Name: "orders", Routes: []string{"POST /orders"}, Rate: 10, Burst: 5,
		Handler: &Alias{Name: "live", Function: &Function{ARN: "arn:f"}}, LogGroup: &LogGroup{ARN: "arn:log"},
	}
}

func TestHTTPAPIDrift(t *testing.T) {
	a := testAPI()
	conforming := func() apiParts {
		return apiParts{
			integration: &types.Integration{IntegrationId: new("i"), IntegrationUri: new("arn:f:live"), PayloadFormatVersion: new("2.0")},
			routes:      []types.Route{{RouteKey: new("POST /orders"), Target: new("integrations/i")}},
			stage: &types.Stage{
				AutoDeploy: new(true), AccessLogSettings: &types.AccessLogSettings{DestinationArn: new("arn:log:*"), Format: new(accessLogFormat())},
				DefaultRouteSettings: &types.RouteSettings{ThrottlingRateLimit: new(10.0), ThrottlingBurstLimit: new(int32(5))},
			},
		}
	}
	compare := func(p apiParts) []graph.Diff { a.parts = p; return a.compare() }
	checkDrift(t, conforming, compare, map[string]change[apiParts]{
		"past the alias":     {func(p *apiParts) { p.integration.IntegrationUri = new("arn:f") }, []string{"Integration.Uri"}},
		"route leads astray": {func(p *apiParts) { p.routes[0].Target = new("integrations/x") }, []string{"Route.POST /orders"}},
		"route missing":      {func(p *apiParts) { p.routes = nil }, []string{"Route.POST /orders"}},
		"back door":          {func(p *apiParts) { p.routes = append(p.routes, types.Route{RouteKey: new("$default")}) }, []string{"Route.$default"}},
		"no access log":      {func(p *apiParts) { p.stage.AccessLogSettings = nil }, []string{"Stage.AccessLog.Destination", "Stage.AccessLog.Format"}},
		"no throttling":      {func(p *apiParts) { p.stage.DefaultRouteSettings = nil }, []string{"Stage.ThrottlingRateLimit", "Stage.ThrottlingBurstLimit"}},
		"made twice":         {func(p *apiParts) { p.duplicates = []string{"b"} }, []string{"Duplicate.b"}},
	})
}

// pagedAPIs answers GetApis with one API a page.
type pagedAPIs struct {
	httpAPI
	items []types.Api
}

func (p pagedAPIs) GetApis(_ context.Context, in *apigatewayv2.GetApisInput, _ ...func(*apigatewayv2.Options)) (*apigatewayv2.GetApisOutput, error) {
	i := len(deref(in.NextToken))
	out := &apigatewayv2.GetApisOutput{Items: p.items[i : i+1]}
	if i+1 < len(p.items) {
		out.NextToken = new(deref(in.NextToken) + "x")
	}
	return out, nil
}

func TestHTTPAPIIsFoundByNameAndTag(t *testing.T) {
	ours := map[string]string{StackTag: "s"}
	made := time.Unix(1000, 0)
	a := testAPI()
	a.Gateway = pagedAPIs{items: []types.Api{
		{ApiId: new("untagged"), Name: new("orders"), CreatedDate: new(made.Add(-2 * time.Hour))},
		{ApiId: new("younger"), Name: new("orders"), Tags: ours, CreatedDate: new(made.Add(time.Hour))},
		{ApiId: new("other name"), Name: new("orders-2"), Tags: ours, CreatedDate: new(made.Add(-time.Hour))},
		{ApiId: new("ours"), Name: new("orders"), Tags: ours, CreatedDate: new(made)},
	}}
	all, err := a.findAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, api := range all {
		ids = append(ids, *api.ApiId)
	}
	if d := cmp.Diff([]string{"ours", "younger"}, ids); d != "" {
		t.Error(d)
	}
}

// refusingEvents answers PutTargets with status 200 and a failed entry.
type refusingEvents struct{ ruleAPI }

func (refusingEvents) PutTargets(context.Context, *eventbridge.PutTargetsInput, ...func(*eventbridge.Options)) (*eventbridge.PutTargetsOutput, error) {
	return &eventbridge.PutTargetsOutput{FailedEntryCount: 1, FailedEntries: []events.PutTargetsResultEntry{
		{ErrorCode: new("InternalException"), ErrorMessage: new("try again")},
	}}, nil
}

func TestFailedEntriesAreErrors(t *testing.T) {
	r := &Rule{Events: refusingEvents{}, Bus: &Bus{}, Machine: &StateMachine{}, Role: &Role{}, DeadLetter: &Queue{}}
	err := r.putTarget(t.Context())
	if _, again := errors.AsType[*graph.NotYet](err); !again {
		t.Errorf("a target that was not put gave %v", err)
	}
}
