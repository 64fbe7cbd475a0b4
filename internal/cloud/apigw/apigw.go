// Package apigw is API Gateway's HTTP APIs: the control plane
// (apigatewayv2) and the plane that serves the APIs' own requests.
//
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api.html
package apigw

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/memo"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/vended"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Caller  wire.Caller
	Log     *slog.Logger
	Account string
	// Delivery brings logs to their groups; nil: one of its own.
	Delivery *vended.Delivery
	// Overloaded, if set, tells that work which was accepted earlier waits: the
	// APIs then answer 429 until it is done, so that it cannot pile up.
	Overloaded func() bool
}

// A Service serves HTTP APIs of all regions.
type Service struct {
	Options
	logs   *accessLog
	served memo.Map[string, *served] // by API id

	mu      sync.Mutex
	buckets map[string]*bucket // throttling, by API, stage and route
}

// Tables. Keys are region/api and region/api/id: all parts of an API are
// ranges under its prefix.
const (
	apis         = store.Table[apiRow]("apigw.apis")
	integrations = store.Table[types.Integration]("apigw.integrations")
	routes       = store.Table[types.Route]("apigw.routes")
	stages       = store.Table[types.Stage]("apigw.stages")
	deployments  = store.Table[types.Deployment]("apigw.deployments")
)

type apiRow struct {
	types.Api
	Region string
}

// New makes the service.
func New(o Options) *Service {
	if o.Delivery == nil {
		o.Delivery = vended.NewDelivery()
	}
	return &Service{Options: o, logs: newAccessLog(o), buckets: map[string]*bucket{}}
}

// Run writes access logs until ctx ends.
func (s *Service) Run(ctx context.Context) error { return s.logs.run(ctx) }

// on is the access that a control-plane operation needs: API Gateway's
// actions are HTTP methods on paths.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonapigatewaymanagementv2.html
func on[In any](method string, path func(*In) string) wire.Option {
	return wire.Needs(func(c *wire.Call, in *In) []authz.Access {
		return []authz.Access{{Action: "apigateway:" + method, Resource: "arn:aws:apigateway:" + c.Region + "::" + path(in)}}
	})
}

// Register adds the control plane's operations.
func (s *Service) Register(m *wire.Mux, _ *event.Queue) {
	api := m.API(wire.API{
		Service: "apigateway", Protocol: wire.RESTJSON, LowerFirst: true, ISOTime: true,
		Statuses: map[string]int{
			"NotFoundException": http.StatusNotFound, "ConflictException": http.StatusConflict,
			"AccessDeniedException": http.StatusForbidden, "TooManyRequestsException": http.StatusTooManyRequests,
		},
		Invalid: func(_ string, p []wire.Problem) error {
			return &types.BadRequestException{Message: new(wire.ProblemText(p))}
		},
	})
	s.registerAPIs(api)
	s.registerRoutes(api)
	s.registerStages(api)
}

// convert makes an Out of the members that it has in common with in: the SDK
// gives every operation an output type of its own.
func convert[Out any](in any) *Out {
	out := new(Out)
	merge(out, in)
	return out
}

// merge copies the present members of src to those of the same name and type
// in dst, and leaves the others: what PATCH means here.
func merge(dst, src any) {
	d, s := reflect.ValueOf(dst).Elem(), reflect.Indirect(reflect.ValueOf(src))
	for i := range s.NumField() {
		f := s.Type().Field(i)
		to := d.FieldByName(f.Name)
		if f.IsExported() && to.IsValid() && to.Type() == f.Type && !s.Field(i).IsZero() {
			to.Set(s.Field(i))
		}
	}
}

func badRequest(text string) error { return &types.BadRequestException{Message: &text} }

func notFound(kind, id string) error {
	return &types.NotFoundException{Message: new("Unable to find " + kind + " by identifier " + id), ResourceType: new(kind)}
}

func key(region string, parts ...*string) string {
	var k strings.Builder
	k.WriteString(region)
	for _, p := range parts {
		k.WriteByte('/')
		if p != nil {
			k.WriteString(*p)
		}
	}
	return k.String()
}

// ofAPI is the prefix of all rows of an API's parts.
func ofAPI(region, id string) string { return region + "/" + id + "/" }

// arn of an API, or of one of its stages: without an account, as AWS has it.
func arnOf(region, path string) string { return "arn:aws:apigateway:" + region + "::" + path }

// apiOfARN splits an ARN made by arnOf into API id and stage.
func apiOfARN(arn string) (region, api, stage string, ok bool) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[2] != "apigateway" {
		return "", "", "", false
	}
	path := strings.Split(strings.TrimPrefix(p[5], "/"), "/")
	switch {
	case len(path) == 2 && path[0] == "apis":
		return p[3], path[1], "", true
	case len(path) == 4 && path[0] == "apis" && path[2] == "stages":
		return p[3], path[1], path[3], true
	}
	return "", "", "", false
}

// page cuts one page out of items. The token is the key of the last item of
// the page before, so that it holds while others come and go.
func page[T any](items []T, id func(T) string, max, token *string) ([]T, *string, error) {
	n := 500
	if max != nil {
		v := 0
		for _, c := range *max {
			if c < '0' || c > '9' || v > 1000 {
				return nil, nil, badRequest("Invalid value for maxResults: " + *max)
			}
			v = v*10 + int(c-'0')
		}
		if v > 0 {
			n = min(v, n)
		}
	}
	after, err := decodeToken(token)
	if err != nil {
		return nil, nil, err
	}
	var out []T
	for _, it := range items {
		if id(it) <= after {
			continue
		}
		if len(out) == n {
			return out, encodeToken(id(out[n-1])), nil
		}
		out = append(out, it)
	}
	if out == nil {
		out = []T{}
	}
	return out, nil, nil
}
