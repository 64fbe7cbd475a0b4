package apigw

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const functionText = "arn:aws:lambda:us-east-1:000000000000:function:f:live"

// A rig is the service with a function that a test provides and a log that
// notes its lines.
type rig struct {
	*Service
	t      *testing.T
	ctx    context.Context
	invoke func(context.Context, *lambda.InvokeInput) (*lambda.InvokeOutput, error)

	mu    sync.Mutex
	lines []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	m := wire.NewMux(wire.Options{Account: "000000000000"})
	r := &rig{Service: New(Options{DB: store.Memory(), Caller: m, Log: slog.New(slog.DiscardHandler), Account: "000000000000"}), t: t}
	r.Register(m, nil)
	wire.Bind(m.API(wire.API{Service: "lambda", Protocol: wire.RESTJSON}), "POST /f/{FunctionName}", func(ctx context.Context, in *lambda.InvokeInput) (*lambda.InvokeOutput, error) {
		return r.invoke(ctx, in)
	})
	logs := m.API(wire.API{Service: "logs", Protocol: wire.JSON11, Target: "Logs"})
	wire.Handle(logs, func(_ context.Context, in *cloudwatchlogs.PutLogEventsInput) (*cloudwatchlogs.PutLogEventsOutput, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range in.LogEvents {
			r.lines = append(r.lines, *e.Message)
		}
		return &cloudwatchlogs.PutLogEventsOutput{}, nil
	})
	policies := []logstypes.ResourcePolicy{}
	wire.Handle(logs, func(context.Context, *cloudwatchlogs.DescribeResourcePoliciesInput) (*cloudwatchlogs.DescribeResourcePoliciesOutput, error) {
		return &cloudwatchlogs.DescribeResourcePoliciesOutput{ResourcePolicies: policies}, nil
	})
	wire.Handle(logs, func(_ context.Context, in *cloudwatchlogs.PutResourcePolicyInput) (*cloudwatchlogs.PutResourcePolicyOutput, error) {
		policies = []logstypes.ResourcePolicy{{PolicyName: in.PolicyName, PolicyDocument: in.PolicyDocument}}
		return &cloudwatchlogs.PutResourcePolicyOutput{}, nil
	})
	r.ctx = wire.WithCall(t.Context(), &wire.Call{Service: "apigateway", Region: "us-east-1", Account: "000000000000", Endpoint: "http://127.0.0.1:1"})
	r.invoke = func(context.Context, *lambda.InvokeInput) (*lambda.InvokeOutput, error) {
		return &lambda.InvokeOutput{Payload: []byte(`{"statusCode":200,"body":"ok"}`)}, nil
	}
	return r
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// api makes an API with the given routes on one integration and a $default stage.
func (r *rig) api(stage *sdk.CreateStageInput, keys ...string) string {
	api := must(r.CreateApi(r.ctx, &sdk.CreateApiInput{Name: new("a"), ProtocolType: types.ProtocolTypeHttp})).ApiId
	integration := must(r.CreateIntegration(r.ctx, &sdk.CreateIntegrationInput{
		ApiId: api, IntegrationType: types.IntegrationTypeAwsProxy, IntegrationUri: new(functionText), PayloadFormatVersion: new("2.0"), TimeoutInMillis: new(int32(1000)),
	}))
	for _, k := range keys {
		must(r.CreateRoute(r.ctx, &sdk.CreateRouteInput{ApiId: api, RouteKey: &k, Target: new("integrations/" + *integration.IntegrationId)}))
	}
	if stage == nil {
		stage = &sdk.CreateStageInput{}
	}
	stage.ApiId, stage.AutoDeploy = api, new(true)
	if stage.StageName == nil {
		stage.StageName = new(defaultName)
	}
	must(r.CreateStage(r.ctx, stage))
	return *api
}

func (r *rig) request(method, api, path, body string, header ...string) *httptest.ResponseRecorder {
	q := httptest.NewRequestWithContext(r.t.Context(), method, "http://127.0.0.1:1"+BasePath+api+path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, q)
	return w
}

func TestRouteSelection(t *testing.T) {
	all := map[string]types.Route{}
	for _, k := range []string{"POST /orders", "GET /orders/{id}", "GET /orders/latest", "ANY /orders/{id}", "GET /files/{path+}", "ANY /", "$default"} {
		all[k] = types.Route{RouteKey: &k}
	}
	for request, want := range map[string]string{
		"POST /orders": "POST /orders map[]", "GET /orders/7": "GET /orders/{id} map[id:7]", "GET /orders/latest": "GET /orders/latest map[]",
		"PUT /orders/7": "ANY /orders/{id} map[id:7]", "GET /files/a/b%20c": "GET /files/{path+} map[path:a/b c]", "GET /": "ANY / map[]",
		"GET /orders": "$default map[]", "GET /orders/": "$default map[]", "DELETE /nothing/here": "$default map[]",
	} {
		method, path, _ := strings.Cut(request, " ")
		r, vars := choose(all, method, path)
		if got := fmt.Sprint(*r.RouteKey, " ", vars); got != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
}

func TestFunctionGetsPayload2(t *testing.T) {
	r := newRig(t)
	api := r.api(nil, "POST /orders/{id}")
	var e map[string]any
	var source string
	r.invoke = func(ctx context.Context, in *lambda.InvokeInput) (*lambda.InvokeOutput, error) {
		p := wire.CallOf(ctx).Principal
		source = p.Service + " " + p.Source + " " + *in.FunctionName
		var sorted map[string]any
		if err := json.Unmarshal(in.Payload, &sorted); err != nil {
			t.Error(err)
		}
		if want, err := json.Marshal(sorted); err != nil || !bytes.Equal(in.Payload, want) {
			t.Errorf("members are not in the order of their names: %s, %v", in.Payload, err)
		}
		return &lambda.InvokeOutput{Payload: []byte(`{"statusCode":201,"headers":{"X-A":"b","X-N":1},"cookies":["c=d"],"body":"aGk=","isBase64Encoded":true}`)}, json.Unmarshal(in.Payload, &e)
	}
	w := r.request(http.MethodPost, api, "/orders/7?a=1&a=2", `{"x":1}`, "Content-Type", "application/json", "X-Up", "v", "Cookie", "k=v; l=w")
	if w.Code != 201 || w.Body.String() != "hi" || w.Header().Get("X-A") != "b" || w.Header().Get("X-N") != "1" || w.Header().Get("Set-Cookie") != "c=d" || w.Header().Get("Apigw-Requestid") == "" {
		t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
	}
	if want := "apigateway.amazonaws.com arn:aws:execute-api:us-east-1:000000000000:" + api + "/$default/POST/orders/{id} " + functionText; source != want {
		t.Errorf("invoked as %s, want %s", source, want)
	}
	h := e["requestContext"].(map[string]any)["http"].(map[string]any)
	if e["version"] != "2.0" || e["routeKey"] != "POST /orders/{id}" || e["rawPath"] != "/orders/7" || e["rawQueryString"] != "a=1&a=2" || e["body"] != `{"x":1}` || e["isBase64Encoded"] != false ||
		e["queryStringParameters"].(map[string]any)["a"] != "1,2" || e["pathParameters"].(map[string]any)["id"] != "7" || e["headers"].(map[string]any)["x-up"] != "v" || h["method"] != "POST" || h["path"] != "/orders/7" {
		t.Errorf("%v", e)
	}
	if c := e["cookies"].([]any); len(c) != 2 || c[1] != "l=w" {
		t.Errorf("cookies %v", c)
	}
	r.request(http.MethodPost, api, "/orders/7", "\x00\xff", "Content-Type", "application/octet-stream")
	if e["body"] != "AP8=" || e["isBase64Encoded"] != true {
		t.Errorf("binary body: %v", e["body"])
	}
}

func TestAnswersToTheCaller(t *testing.T) {
	for name, tc := range map[string]struct {
		out    *lambda.InvokeOutput
		err    error
		status int
		body   string
	}{
		"inferred":       {&lambda.InvokeOutput{Payload: []byte(`{"a":1}`)}, nil, 200, `{"a":1}`},
		"text":           {&lambda.InvokeOutput{Payload: []byte(`"hello"`)}, nil, 200, `hello`},
		"function error": {&lambda.InvokeOutput{Payload: []byte(`{}`), FunctionError: new("Unhandled")}, nil, 500, `{"message":"Internal Server Error"}`},
		"not permitted":  {nil, wire.Errorf("AccessDeniedException", "no"), 500, `{"message":"Internal Server Error"}`},
		"throttled":      {nil, &lambdatypes.TooManyRequestsException{Message: new("no")}, 429, `{"message":"Too Many Requests"}`},
		"bad body":       {&lambda.InvokeOutput{Payload: []byte(`{"statusCode":200,"body":"%","isBase64Encoded":true}`)}, nil, 500, `{"message":"Internal Server Error"}`},
		"bad status":     {&lambda.InvokeOutput{Payload: []byte(`{"statusCode":7}`)}, nil, 500, `{"message":"Internal Server Error"}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			api := r.api(nil, "GET /x")
			r.invoke = func(context.Context, *lambda.InvokeInput) (*lambda.InvokeOutput, error) { return tc.out, tc.err }
			if w := r.request(http.MethodGet, api, "/x", ""); w.Code != tc.status || w.Body.String() != tc.body {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, tc.status, tc.body)
			}
		})
	}
}

func TestUnknownPlacesAndLargeBodies(t *testing.T) {
	r := newRig(t)
	api := r.api(nil, "POST /x")
	for name, w := range map[string]*httptest.ResponseRecorder{"api": r.request("POST", "none", "/x", ""), "route": r.request("POST", api, "/y", ""), "method": r.request("GET", api, "/x", "")} {
		if w.Code != 404 || w.Body.String() != `{"message":"Not Found"}` {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	q := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:1"+BasePath+api+"/x", io.LimitReader(zeros{}, maxBody+1))
	w := httptest.NewRecorder()
	if r.ServeHTTP(w, q); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit: %d", w.Code)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte("0"), len(b))), nil }

func TestIntegrationTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		api := r.api(nil, "GET /x")
		r.invoke = func(ctx context.Context, _ *lambda.InvokeInput) (*lambda.InvokeOutput, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		start := time.Now()
		if w := r.request(http.MethodGet, api, "/x", ""); w.Code != 503 || time.Since(start) != time.Second {
			t.Errorf("%d after %v", w.Code, time.Since(start))
		}
	})
}

// TestOverload has the cloud behind with its work: what would start more is
// refused and told when to come again, what only reads is not.
func TestOverload(t *testing.T) {
	r := newRig(t)
	behind := true
	r.Overloaded = func() bool { return behind }
	api := r.api(nil, "ANY /x")
	status := func(method string) (int, string) {
		w := r.request(method, api, "/x", "")
		return w.Code, w.Header().Get("Retry-After")
	}
	if code, after := status(http.MethodPost); code != http.StatusTooManyRequests || after == "" {
		t.Errorf("POST while behind: %d, Retry-After %q", code, after)
	}
	if code, _ := status(http.MethodGet); code != http.StatusOK {
		t.Errorf("GET while behind: %d", code)
	}
	behind = false
	if code, _ := status(http.MethodPost); code != http.StatusOK {
		t.Errorf("POST afterwards: %d", code)
	}
}

func TestThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		api := r.api(&sdk.CreateStageInput{DefaultRouteSettings: &types.RouteSettings{ThrottlingBurstLimit: new(int32(2)), ThrottlingRateLimit: new(1.0)}}, "GET /x")
		codes := func(n int) (out []int) {
			for range n {
				out = append(out, r.request(http.MethodGet, api, "/x", "").Code)
			}
			return out
		}
		if got := codes(3); !slices.Equal(got, []int{200, 200, 429}) {
			t.Errorf("%v", got)
		}
		time.Sleep(time.Second)
		if got := codes(2); !slices.Equal(got, []int{200, 429}) {
			t.Errorf("a second later: %v", got)
		}
	})
}

func TestAccessLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		api := r.api(&sdk.CreateStageInput{AccessLogSettings: &types.AccessLogSettings{
			DestinationArn: new("arn:aws:logs:us-east-1:000000000000:log-group:/g"), Format: new(`{"id":"$context.requestId","s":"$context.status","k":"$context.routeKey","u":"$context.identity.userAgent","none":"$context.nothing"}`),
		}}, "GET /x")
		w := r.request(http.MethodGet, api, "/x", "", "User-Agent", `a"b`)
		synctest.Wait()
		if want := `{"id":"` + w.Header().Get("Apigw-Requestid") + `","s":"200","k":"GET /x","u":"a\"b","none":"-"}`; !slices.Equal(r.lines, []string{want}) {
			t.Errorf("%q, want %q", r.lines, want)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestCORS(t *testing.T) {
	r := newRig(t)
	api := r.api(nil, "POST /x")
	must(r.UpdateApi(r.ctx, &sdk.UpdateApiInput{ApiId: &api, CorsConfiguration: &types.Cors{AllowOrigins: []string{"https://a"}, AllowMethods: []string{"POST"}}}))
	w := r.request(http.MethodOptions, api, "/x", "", "Origin", "https://a", "Access-Control-Request-Method", "POST")
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "https://a" || w.Header().Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("preflight: %d %v", w.Code, w.Header())
	}
	if w := r.request(http.MethodPost, api, "/x", "", "Origin", "https://b"); w.Code != 200 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("foreign origin: %d %v", w.Code, w.Header())
	}
}

func TestStagesAndDeployments(t *testing.T) {
	r := newRig(t)
	api := r.api(&sdk.CreateStageInput{StageName: new("dev")}, "GET /x")
	if w := r.request(http.MethodGet, api, "/dev/x", ""); w.Code != 200 {
		t.Errorf("by the stage's path: %d", w.Code)
	}
	if w := r.request(http.MethodGet, api, "/x", ""); w.Code != 404 {
		t.Errorf("without a $default stage: %d", w.Code)
	}
	before := must(r.GetStage(r.ctx, &sdk.GetStageInput{ApiId: &api, StageName: new("dev")}))
	must(r.CreateRoute(r.ctx, &sdk.CreateRouteInput{ApiId: &api, RouteKey: new("GET /y")}))
	after := must(r.GetStage(r.ctx, &sdk.GetStageInput{ApiId: &api, StageName: new("dev")}))
	if *before.DeploymentId == *after.DeploymentId {
		t.Error("a change was not deployed by itself")
	}
	must(r.CreateStage(r.ctx, &sdk.CreateStageInput{ApiId: &api, StageName: new("manual")}))
	if w := r.request(http.MethodGet, api, "/manual/x", ""); w.Code != 404 {
		t.Errorf("a stage without deployment serves: %d", w.Code)
	}
}

func TestControlPlane(t *testing.T) {
	r := newRig(t)
	api := r.api(nil, "GET /x")
	integration := must(r.GetIntegrations(r.ctx, &sdk.GetIntegrationsInput{ApiId: &api})).Items[0].IntegrationId
	code := func(err error) string {
		if e, ok := errors.AsType[smithy.APIError](err); ok {
			return e.ErrorCode()
		}
		return fmt.Sprint(err)
	}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"no api":           {last(r.GetApi(r.ctx, &sdk.GetApiInput{ApiId: new("none")})), "NotFoundException"},
		"websocket":        {last(r.CreateApi(r.ctx, &sdk.CreateApiInput{Name: new("w"), ProtocolType: types.ProtocolTypeWebsocket})), "BadRequestException"},
		"route twice":      {last(r.CreateRoute(r.ctx, &sdk.CreateRouteInput{ApiId: &api, RouteKey: new("GET /x")})), "ConflictException"},
		"route key":        {last(r.CreateRoute(r.ctx, &sdk.CreateRouteInput{ApiId: &api, RouteKey: new("get x")})), "BadRequestException"},
		"greedy inside":    {last(r.CreateRoute(r.ctx, &sdk.CreateRouteInput{ApiId: &api, RouteKey: new("GET /{a+}/b")})), "BadRequestException"},
		"no integration":   {last(r.CreateRoute(r.ctx, &sdk.CreateRouteInput{ApiId: &api, RouteKey: new("GET /z"), Target: new("integrations/none")})), "BadRequestException"},
		"used integration": {last(r.DeleteIntegration(r.ctx, &sdk.DeleteIntegrationInput{ApiId: &api, IntegrationId: integration})), "ConflictException"},
		"payload format":   {last(r.CreateIntegration(r.ctx, &sdk.CreateIntegrationInput{ApiId: &api, IntegrationType: types.IntegrationTypeAwsProxy, IntegrationUri: new(functionText)})), "BadRequestException"},
		"function":         {last(r.CreateIntegration(r.ctx, &sdk.CreateIntegrationInput{ApiId: &api, IntegrationType: types.IntegrationTypeAwsProxy, IntegrationUri: new("x"), PayloadFormatVersion: new("2.0")})), "BadRequestException"},
		"stage twice":      {last(r.CreateStage(r.ctx, &sdk.CreateStageInput{ApiId: &api, StageName: new(defaultName)})), "ConflictException"},
		"log format":       {last(r.UpdateStage(r.ctx, &sdk.UpdateStageInput{ApiId: &api, StageName: new(defaultName), AccessLogSettings: &types.AccessLogSettings{DestinationArn: new("arn:aws:logs:x"), Format: new("x")}})), "BadRequestException"},
		"token":            {last(r.GetApis(r.ctx, &sdk.GetApisInput{NextToken: new("%")})), "BadRequestException"},
	} {
		if got := code(tc.err); got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
	arn := "arn:aws:apigateway:us-east-1::/apis/" + api
	must(r.TagResource(r.ctx, &sdk.TagResourceInput{ResourceArn: &arn, Tags: map[string]string{"a": "1", "b": "2"}}))
	must(r.UntagResource(r.ctx, &sdk.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"a"}}))
	if got := must(r.GetTags(r.ctx, &sdk.GetTagsInput{ResourceArn: &arn})).Tags; !maps.Equal(got, map[string]string{"b": "2"}) {
		t.Errorf("tags %v", got)
	}
	must(r.DeleteApi(r.ctx, &sdk.DeleteApiInput{ApiId: &api}))
	_ = r.DB.View(func(tx *store.Tx) error {
		for row := range routes.Range(tx, "", "") {
			t.Errorf("left: %s", row.Key)
		}
		return nil
	})
}

func TestPages(t *testing.T) {
	r := newRig(t)
	for range 5 {
		must(r.CreateApi(r.ctx, &sdk.CreateApiInput{Name: new("same"), ProtocolType: types.ProtocolTypeHttp}))
	}
	seen := map[string]bool{}
	in := &sdk.GetApisInput{MaxResults: new("2")}
	for {
		out := must(r.GetApis(r.ctx, in))
		for _, a := range out.Items {
			seen[*a.ApiId] = true
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d of 5 APIs", len(seen))
	}
}

func last[T any](_ T, err error) error { return err }
