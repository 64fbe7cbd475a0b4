package apigw

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// maxBody is API Gateway's limit of a request: 10 MB.
const maxBody = 10 << 20

// A request is one that an API has received, with what was found out about it.
type request struct {
	*http.Request
	id     string
	start  time.Time
	api    apiRow
	stage  types.Stage
	route  types.Route
	target types.Integration
	path   string // with the stage's name, unless it is $default
	vars   map[string]string
	body   []byte

	status int
	length int
	ierr   string // $context.integrationErrorMessage
	took   time.Duration
}

// ServeHTTP serves the APIs' own requests, under [BasePath]. They carry no signature.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, path, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), BasePath), "/")
	req := &request{Request: r, id: uuid.NewString(), start: time.Now(), path: "/" + path}
	w.Header().Set("Apigw-Requestid", req.id)
	if err := s.find(req, id); err != nil {
		s.Log.Error("cannot read an API's configuration", "api", id, "error", err)
		s.reply(w, req, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	if req.api.ApiId == nil || req.stage.StageName == nil {
		s.reply(w, req, http.StatusNotFound, "Not Found")
		return
	}
	if s.cors(w, req) {
		return
	}
	if req.api.CorsConfiguration == nil && foreign(r) {
		s.reply(w, req, http.StatusForbidden, "Forbidden")
		return
	}
	switch {
	case req.route.RouteKey == nil:
		s.reply(w, req, http.StatusNotFound, "Not Found")
		return
	case !s.admit(req):
		w.Header().Set("Retry-After", "1")
		s.reply(w, req, http.StatusTooManyRequests, "Too Many Requests")
		return
	}
	var err error
	if req.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			s.reply(w, req, http.StatusRequestEntityTooLarge, "Request Entity Too Large")
		}
		return // otherwise the caller is gone
	}
	if req.target.IntegrationUri == nil {
		s.reply(w, req, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	s.integrate(w, req)
}

// foreign tells that a page of another site makes the request from a browser
// on this machine. On AWS an API is open to the world anyway; this one listens
// on loopback, where any page that the user looks at could reach it: it may if
// the API's CORS configuration says so.
func foreign(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "cross-site"
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || !strings.EqualFold(u.Host, r.Host)
}

// A served is all that there is to know of an API to serve its requests.
type served struct {
	api          apiRow // without an ID: there is none
	stages       map[string]types.Stage
	routes       map[string]types.Route // by key
	integrations map[string]types.Integration
}

// find finds out which API, stage and route a request is for.
func (s *Service) find(req *request, id string) error {
	version := s.DB.Version(string(apis)) + s.DB.Version(string(stages)) + s.DB.Version(string(routes)) + s.DB.Version(string(integrations))
	a, err := s.served.GetAt(version, id, func() (*served, error) { return s.read(id) })
	if err != nil || a.api.ApiId == nil {
		return err
	}
	req.api = a.api
	first, rest, _ := strings.Cut(strings.TrimPrefix(req.path, "/"), "/")
	if st, ok := a.stages[first]; ok && first != defaultName {
		req.stage, req.path = st, "/"+rest
	} else {
		req.stage = a.stages[defaultName]
	}
	if req.stage.DeploymentId == nil {
		req.stage = types.Stage{} // nothing deployed: nothing served
		return nil
	}
	req.route, req.vars = choose(a.routes, req.Method, req.path)
	if req.route.Target != nil {
		req.target = a.integrations[strings.TrimPrefix(*req.route.Target, "integrations/")]
	}
	return nil
}

// read reads an API with its parts.
func (s *Service) read(id string) (*served, error) {
	a := &served{stages: map[string]types.Stage{}, routes: map[string]types.Route{}, integrations: map[string]types.Integration{}}
	return a, s.DB.View(func(tx *store.Tx) error {
		for r, err := range apis.Range(tx, "", "") {
			if err != nil {
				return err
			}
			if *r.Value.ApiId == id {
				a.api = r.Value
			}
		}
		if a.api.ApiId == nil {
			return nil
		}
		of := ofAPI(a.api.Region, id)
		for r, err := range stages.Prefix(tx, of) {
			if err != nil {
				return err
			}
			a.stages[*r.Value.StageName] = r.Value
		}
		for r, err := range routes.Prefix(tx, of) {
			if err != nil {
				return err
			}
			a.routes[*r.Value.RouteKey] = r.Value
		}
		for r, err := range integrations.Prefix(tx, of) {
			if err != nil {
				return err
			}
			a.integrations[*r.Value.IntegrationId] = r.Value
		}
		return nil
	})
}

// choose finds the route of a request: the exact path before one with
// variables before a greedy one, a method before ANY, $default last.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
func choose(all map[string]types.Route, method, path string) (best types.Route, vars map[string]string) {
	score := -1
	for k, r := range all {
		m, pattern, ok := strings.Cut(k, " ")
		if !ok || m != method && m != "ANY" {
			continue
		}
		n, v := fit(pattern, path)
		if n < 0 {
			continue
		}
		if n *= 2; m != "ANY" {
			n++
		}
		if n > score {
			best, vars, score = r, v, n
		}
	}
	if r, ok := all[defaultName]; ok && score < 0 {
		return r, nil
	}
	return best, vars
}

// fit tells how well a pattern fits a path: -1 not at all, more the more literal.
func fit(pattern, path string) (score int, vars map[string]string) {
	ps, rs := strings.Split(pattern[1:], "/"), strings.Split(path[1:], "/")
	for i, p := range ps {
		name, isVar := strings.CutPrefix(p, "{")
		name = strings.TrimSuffix(name, "}")
		switch greedy := strings.HasSuffix(name, "+"); {
		case i >= len(rs):
			return -1, nil
		case isVar && greedy:
			return score, set(vars, strings.TrimSuffix(name, "+"), strings.Join(rs[i:], "/"))
		case isVar && rs[i] == "":
			return -1, nil
		case isVar:
			vars = set(vars, name, rs[i])
			score += 10
		case p == rs[i]:
			score += 1000
		default:
			return -1, nil
		}
	}
	if len(rs) != len(ps) {
		return -1, nil
	}
	return score + 1, vars
}

func set(m map[string]string, k, v string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	if u, err := url.PathUnescape(v); err == nil {
		v = u
	}
	m[k] = v
	return m
}

// integrate invokes the function and passes on what it answers.
func (s *Service) integrate(w http.ResponseWriter, req *request) {
	ctx, cancel := context.WithTimeout(req.Context(), time.Duration(*req.target.TimeoutInMillis)*time.Millisecond)
	defer cancel()
	payload, err := json.Marshal(s.payload(req))
	if err != nil {
		s.Log.Error("cannot write an integration's event", "error", err)
		s.reply(w, req, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	fn := functionARN(*req.target.IntegrationUri)
	as := wire.As{Region: req.api.Region, Principal: authz.ServicePrincipal("apigateway", s.source(req), s.Account)}
	begin := time.Now()
	out, err := wire.Do[lambda.InvokeOutput](ctx, s.Caller, as, &lambda.InvokeInput{FunctionName: &fn, Payload: payload})
	req.took = time.Since(begin)
	_, throttled := errors.AsType[*lambdatypes.TooManyRequestsException](err)
	switch {
	case ctx.Err() != nil && req.Context().Err() == nil:
		req.ierr = "Endpoint request timed out"
		s.reply(w, req, http.StatusServiceUnavailable, "Service Unavailable")
	case throttled:
		req.ierr = err.Error()
		w.Header().Set("Retry-After", "1")
		s.reply(w, req, http.StatusTooManyRequests, "Too Many Requests")
	case err != nil:
		req.ierr = err.Error()
		s.reply(w, req, http.StatusInternalServerError, "Internal Server Error")
	case out.FunctionError != nil:
		req.ierr = "The Lambda function returned the following error: " + *out.FunctionError + ". Check your Lambda function code and try again."
		s.reply(w, req, http.StatusInternalServerError, "Internal Server Error")
	default:
		s.respond(w, req, out.Payload)
	}
}

// source is the ARN for which API Gateway invokes: the route of the API.
func (s *Service) source(req *request) string {
	method, path, ok := strings.Cut(*req.route.RouteKey, " ")
	if !ok {
		method, path = "", "/"+defaultName
	}
	if method == "ANY" {
		method = "*"
	}
	return "arn:aws:execute-api:" + req.api.Region + ":" + s.Account + ":" + *req.api.ApiId + "/" + *req.stage.StageName + "/" + method + path
}

// A response is what a function answers in payload format 2.0.
type response struct {
	StatusCode      *int                       `json:"statusCode"`
	Headers         map[string]json.RawMessage `json:"headers"`
	Cookies         []string                   `json:"cookies"`
	Body            json.RawMessage            `json:"body"`
	IsBase64Encoded bool                       `json:"isBase64Encoded"`
}

// respond turns a function's answer into HTTP. One without a status code is
// the body itself.
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
func (s *Service) respond(w http.ResponseWriter, req *request, payload []byte) {
	var r response
	if err := json.Unmarshal(payload, &r); err != nil || r.StatusCode == nil {
		var text string
		if json.Unmarshal(payload, &text) == nil {
			payload = []byte(text)
		}
		w.Header().Set("Content-Type", "application/json")
		s.write(w, req, http.StatusOK, payload)
		return
	}
	body, ok := r.body()
	if !ok || *r.StatusCode < 200 || *r.StatusCode > 999 { // 1xx would be no answer, but the promise of one
		req.ierr = "The response from the Lambda function doesn't match the format that API Gateway expects"
		s.reply(w, req, http.StatusInternalServerError, "Internal Server Error")
		return
	}
	for k, v := range r.Headers {
		if !framing(k) {
			w.Header().Set(k, text(v))
		}
	}
	for _, c := range r.Cookies {
		w.Header().Add("Set-Cookie", c)
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "text/plain;charset=UTF-8")
	}
	s.write(w, req, *r.StatusCode, body)
}

// framing tells the headers that are about one connection, which is not the
// function's: they would cut the answer short, or have the caller read a part
// of it as another answer. What is no header name at all is among them.
// https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
func framing(name string) bool {
	switch textproto.CanonicalMIMEHeaderKey(name) {
	case "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return strings.ContainsAny(name, ": \r\n") // net/http takes "Trailer:" as a prefix
}

func (r response) body() ([]byte, bool) {
	if len(r.Body) == 0 || string(r.Body) == "null" {
		return nil, true
	}
	b := []byte(text(r.Body))
	if !r.IsBase64Encoded {
		return b, true
	}
	d, err := base64.StdEncoding.DecodeString(string(b))
	return d, err == nil
}

// text is a JSON string's value, or any other JSON as it stands.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

func (s *Service) reply(w http.ResponseWriter, req *request, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	s.write(w, req, status, []byte(`{"message":"`+message+`"}`))
}

func (s *Service) write(w http.ResponseWriter, req *request, status int, body []byte) {
	req.status, req.length = status, len(body)
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		_, _ = w.Write(body) // the caller is gone if this fails
	}
	s.logs.add(s.entry(req))
}
