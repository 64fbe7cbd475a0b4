package apigw

import (
	"encoding/base64"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// A payload is a function's input in payload format 2.0, its members in the
// order of their names.
//
// https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
type payload struct {
	Body            string            `json:"body,omitempty"`
	Cookies         []string          `json:"cookies,omitempty"`
	Headers         map[string]string `json:"headers"`
	IsBase64Encoded bool              `json:"isBase64Encoded"`
	PathParameters  map[string]string `json:"pathParameters,omitempty"`
	Query           map[string]string `json:"queryStringParameters,omitempty"`
	RawPath         string            `json:"rawPath"`
	RawQuery        string            `json:"rawQueryString"`
	Context         payloadContext    `json:"requestContext"`
	RouteKey        string            `json:"routeKey"`
	StageVariables  map[string]string `json:"stageVariables,omitempty"`
	Version         string            `json:"version"`
}

type payloadContext struct {
	AccountID    string      `json:"accountId"`
	APIID        string      `json:"apiId"`
	DomainName   string      `json:"domainName"`
	DomainPrefix string      `json:"domainPrefix"`
	HTTP         payloadHTTP `json:"http"`
	RequestID    string      `json:"requestId"`
	RouteKey     string      `json:"routeKey"`
	Stage        string      `json:"stage"`
	Time         string      `json:"time"`
	TimeEpoch    int64       `json:"timeEpoch"`
}

type payloadHTTP struct {
	Method    string `json:"method"`
	Path      string `json:"path"`
	Protocol  string `json:"protocol"`
	SourceIP  string `json:"sourceIp"`
	UserAgent string `json:"userAgent"`
}

// payload is the request as the function gets it.
func (s *Service) payload(req *request) *payload {
	body, encoded := req.text()
	raw := req.path
	if *req.stage.StageName != defaultName {
		raw = "/" + *req.stage.StageName + req.path
	}
	if u, err := url.PathUnescape(raw); err == nil {
		raw = u
	}
	e := &payload{
		Version: "2.0", RouteKey: *req.route.RouteKey, RawPath: raw, RawQuery: req.URL.RawQuery,
		Headers: headers(req.Request), Body: body, IsBase64Encoded: encoded,
		Context: payloadContext{
			AccountID: s.Account, APIID: *req.api.ApiId, DomainName: *req.api.ApiId + ".execute-api." + req.api.Region + ".amazonaws.com", DomainPrefix: *req.api.ApiId,
			HTTP:      payloadHTTP{Method: req.Method, Path: raw, Protocol: req.Proto, SourceIP: sourceIP(req.Request), UserAgent: req.UserAgent()},
			RequestID: req.id, RouteKey: *req.route.RouteKey, Stage: *req.stage.StageName, Time: req.time(), TimeEpoch: req.start.UnixMilli(),
		},
		PathParameters: req.vars, StageVariables: req.stage.StageVariables,
	}
	if req.URL.RawQuery != "" {
		e.Query = map[string]string{}
		for k, v := range req.URL.Query() {
			e.Query[k] = strings.Join(v, ",")
		}
	}
	if c := req.Header.Values("Cookie"); len(c) > 0 {
		e.Cookies = strings.Split(strings.Join(c, "; "), "; ")
	}
	return e
}

// time is when the request came, as events and access logs tell it.
func (req *request) time() string { return req.start.UTC().Format("02/Jan/2006:15:04:05 +0000") }

// text is the body as the event carries it: as it is for text types, in Base64 otherwise.
func (req *request) text() (string, bool) {
	t, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	plain := strings.HasPrefix(t, "text/") || t == "" || strings.HasSuffix(t, "+json") || strings.HasSuffix(t, "+xml") ||
		t == "application/json" || t == "application/xml" || t == "application/javascript"
	if plain && utf8.Valid(req.body) {
		return string(req.body), false
	}
	return base64.StdEncoding.EncodeToString(req.body), true
}

func headers(r *http.Request) map[string]string {
	h := map[string]string{"host": r.Host}
	for k, v := range r.Header {
		if k != "Cookie" {
			h[strings.ToLower(k)] = strings.Join(v, ",")
		}
	}
	if r.ContentLength >= 0 {
		h["content-length"] = itoa(r.ContentLength)
	}
	h["x-forwarded-for"], h["x-forwarded-proto"] = sourceIP(r), "https"
	return h
}

func sourceIP(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return host
	}
	return "127.0.0.1"
}
