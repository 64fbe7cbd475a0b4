package wire

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
)

// A Credential is what an access key stands for.
type Credential struct {
	Secret    string
	Principal authz.Principal
}

// An Authenticator finds the credential of an access key and, for temporary
// keys, its session token. An unknown key is an error of the kind AWS gives.
type Authenticator func(ctx context.Context, accessKeyID, token string) (Credential, error)

// ServeHTTP implements [http.Handler] for all APIs.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w = bodiless{w}
	}
	id := newRequestID()
	s, unread := parseSignature(r)
	body, free, err := m.readBody(w, r, s, m.guess(r, s, nil))
	defer free()
	if err != nil {
		m.fail(w, m.guess(r, s, nil), nil, id, err)
		return
	}
	api := m.guess(r, s, body)
	signed, err := m.authenticate(r, s, unread, body, api)
	if err != nil {
		m.fail(w, api, nil, id, err)
		return
	}
	o, labels := m.find(signed.service, r, signed.body)
	if o == nil {
		m.fail(w, api, nil, id, unknownOperation(signed.service, m.wanted(r, signed.body)))
		return
	}
	c := &callOf{op: o, Call: Call{
		Service: o.api.Service, Op: o.name, Region: signed.region, Account: m.opts.Account, RequestID: id,
		Principal: signed.Principal, AccessKeyID: signed.keyID, Endpoint: endpointOf(r), SourceIP: sourceIP(r), UserAgent: r.UserAgent(),
		Body: signed.body,
	}}
	if err := m.decode(c, r, labels, signed.body); err != nil {
		m.fail(w, o.api, c, id, err)
		return
	}
	out, err := m.perform(r.Context(), c)
	if err != nil {
		m.fail(w, o.api, c, id, err)
		return
	}
	m.answer(w, c, out)
}

// bodiless answers HEAD requests: callers in the same process have no
// net/http server between them that drops the body.
type bodiless struct{ http.ResponseWriter }

// Write implements [http.ResponseWriter].
func (bodiless) Write(b []byte) (int, error) { return len(b), nil }

// find is the operation that a request asks of a service, with path labels for REST.
func (m *Mux) find(service string, r *http.Request, body []byte) (*operation, map[string]string) {
	if t := r.Header.Get("X-Amz-Target"); t != "" {
		if o := m.targets[t]; o != nil && o.api.Service == service {
			return o, nil
		}
		return nil, nil
	}
	for _, a := range m.apis[service] {
		if a.Protocol == Query {
			return m.actions[service+"."+formOf(r, body).Get("Action")], nil
		}
	}
	return m.match(service, r)
}

// wanted is what a request seems to ask for, for messages.
func (m *Mux) wanted(r *http.Request, body []byte) string {
	if t := r.Header.Get("X-Amz-Target"); t != "" {
		return t[strings.LastIndexByte(t, '.')+1:]
	}
	if a := formOf(r, body).Get("Action"); a != "" {
		return a
	}
	return r.Method + " " + r.URL.Path
}

func formOf(r *http.Request, body []byte) url.Values {
	form, _ := url.ParseQuery(string(body)) // what can be read of it; the rest is missing then
	for k, v := range r.URL.Query() {
		if !strings.HasPrefix(k, "X-Amz-") && form[k] == nil {
			form[k] = v
		}
	}
	return form
}

// guess is the API whose protocol an error is answered in before the caller is known.
func (m *Mux) guess(r *http.Request, s *signature, body []byte) *API {
	if o := m.targets[r.Header.Get("X-Amz-Target")]; o != nil {
		return o.api
	}
	if s.scoped() {
		if all := m.apis[s.service]; len(all) > 0 {
			return all[0]
		}
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") || bytes.HasPrefix(body, []byte("Action=")) {
		return &API{Service: "sts", Protocol: Query, mux: m}
	}
	if r.Header.Get("X-Amz-Target") != "" {
		return &API{Protocol: JSON11, mux: m}
	}
	// Of the rest only S3 has paths of its users' choice, which hardly look like
	// another service's.
	for service, apis := range m.apis {
		if apis[0].Protocol != RESTJSON {
			continue
		}
		if o, _ := m.match(service, r); o != nil {
			return o.api
		}
	}
	return &API{Service: "s3", Protocol: RESTXML, mux: m}
}

func (m *Mux) decode(c *callOf, r *http.Request, labels map[string]string, body []byte) (err error) {
	o := c.op
	cod := codecFor(o.api, false)
	in := reflect.New(o.in)
	var unknown []string
	switch o.api.Protocol {
	case JSON10, JSON11:
		unknown, err = cod.decodeJSON(in.Elem(), body)
	case Query:
		unknown, err = cod.decodeQuery(in.Elem(), formOf(r, body))
	default:
		unknown, err = o.decodeREST(cod, in.Elem(), r, labels, body)
	}
	if err != nil {
		return o.api.malformed(err)
	}
	if len(unknown) > 0 {
		m.opts.Log.Warn("request has members that are not understood", "service", o.api.Service, "operation", o.name, "members", unknown)
	}
	c.Input = in.Interface()
	return nil
}

// malformed is the error for a body that is not of the operation's shape.
func (a *API) malformed(err error) error {
	switch a.Protocol {
	case Query:
		return Errorf("MalformedInput", "%s", err.Error())
	case RESTXML:
		return Errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	case RESTJSON:
		return Errorf("SerializationException", "Could not parse request body into json: %s", err.Error())
	}
	return Errorf("SerializationException", "%s", err.Error())
}

func unknownOperation(service, op string) error {
	return &Error{Code: "UnknownOperationException", Message: fmt.Sprintf("operation %s of service %q is not built", op, service), Status: http.StatusNotImplemented}
}

func (m *Mux) answer(w http.ResponseWriter, c *callOf, out any) {
	h := w.Header()
	requestID(h, c.op.api, c.RequestID)
	cod := codecFor(c.op.api, false)
	v := reflect.ValueOf(out).Elem()
	status := http.StatusOK
	var body []byte
	var stream io.Reader
	switch c.op.api.Protocol {
	case JSON10, JSON11:
		h.Set("Content-Type", jsonType(c.op.api.Protocol))
		body = cod.appendStruct(make([]byte, 0, 512), v, nil)
		if c.op.api.Service == "dynamodb" {
			h.Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(body)), 10))
		}
	case Query:
		body = cod.queryDocument(c.op, v, c.RequestID)
		h.Set("Content-Type", "text/xml")
	default:
		status, body, stream = c.op.encodeREST(cod, v, h)
	}
	if c.Status != 0 {
		status = c.Status
	}
	if stream != nil {
		if closer, ok := stream.(io.Closer); ok {
			defer func() { _ = closer.Close() }()
		}
		w.WriteHeader(status)
		_, _ = io.Copy(w, stream) // the caller is gone if this fails
		return
	}
	if status != http.StatusNoContent && status != http.StatusNotModified && h.Get("Content-Length") == "" {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (c *codec) queryDocument(o *operation, out reflect.Value, id string) []byte {
	var b bytes.Buffer
	b.WriteString("<" + o.name + `Response xmlns="` + c.api.Namespace + `">`)
	// Some operations answer with an empty result element (iam:UpdateRole,
	// sns:TagResource), others with none. SDKs want the former where it belongs
	// and pass over it elsewhere.
	b.WriteString("<" + o.name + "Result>")
	c.appendMembers(&b, out, nil)
	b.WriteString("</" + o.name + "Result>")
	b.WriteString("<ResponseMetadata><RequestId>" + id + "</RequestId></ResponseMetadata></" + o.name + "Response>")
	return b.Bytes()
}

func jsonType(p Protocol) string {
	if p == JSON10 {
		return "application/x-amz-json-1.0"
	}
	return "application/x-amz-json-1.1"
}

func requestID(h http.Header, a *API, id string) {
	if a != nil && a.Protocol == RESTXML {
		h.Set("X-Amz-Request-Id", id)
		h.Set("X-Amz-Id-2", id)
		return
	}
	h.Set("X-Amzn-Requestid", id)
}

// panicked turns a defect into an error that names the operation and keeps the
// stack in the log: one bad request must not end the cloud.
func (m *Mux) panicked(c *Call, p any) error {
	m.opts.Log.Error("operation panicked", "service", c.Service, "operation", c.Op, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	return errInternal
}

var errInternal = &Error{Code: "InternalFailure", Message: "The request processing has failed because of an unknown error, exception or failure.", Status: http.StatusInternalServerError, Server: true}

// fail answers with an error in the API's protocol.
func (m *Mux) fail(w http.ResponseWriter, a *API, c *callOf, id string, err error) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		op := ""
		if c != nil {
			op = c.Op
		}
		if errors.Is(err, context.Canceled) {
			m.opts.Log.Debug("caller is gone", "service", a.Service, "operation", op)
		} else {
			m.opts.Log.Error("operation failed", slog.String("service", a.Service), slog.String("operation", op), slog.Any("error", err))
		}
		api = errInternal
	}
	code, status := api.ErrorCode(), a.status(api)
	h := w.Header()
	requestID(h, a, id)
	var body []byte
	switch a.Protocol {
	case Query:
		h.Set("Content-Type", "text/xml")
		body = queryError(a, api, id)
	case RESTXML:
		h.Set("Content-Type", "application/xml")
		body = s3Error(api, id)
	default:
		h.Set("Content-Type", jsonType(a.Protocol))
		if a.Protocol == RESTJSON {
			h.Set("Content-Type", "application/json")
		}
		h.Set("X-Amzn-Errortype", code)
		if a.QueryCodes != nil {
			q := a.QueryCodes[code]
			if q == "" {
				q = code
			}
			h.Set("X-Amzn-Query-Error", q+";"+fault(api))
		}
		body = jsonError(a, api)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (a *API) status(e smithy.APIError) int {
	if own, ok := errors.AsType[*Error](e); ok && own.Status != 0 {
		return own.Status
	}
	if _, denied := errors.AsType[*authz.DeniedError](e); denied && a.Protocol != JSON10 && a.Protocol != JSON11 {
		return http.StatusForbidden
	}
	if s, ok := a.Statuses[e.ErrorCode()]; ok {
		return s
	}
	switch {
	case e.ErrorCode() == "ServiceUnavailable":
		return http.StatusServiceUnavailable
	case e.ErrorFault() == smithy.FaultServer:
		return http.StatusInternalServerError
	}
	return http.StatusBadRequest
}

func fault(e smithy.APIError) string {
	if e.ErrorFault() == smithy.FaultServer {
		return "Receiver"
	}
	return "Sender"
}

const sdkPath = "github.com/aws/aws-sdk-go-v2/service/"

// jsonError carries the members of a modelled error (such as CancellationReasons).
func jsonError(a *API, e smithy.APIError) []byte {
	b := []byte(`{"__type":`)
	b = appendString(b, e.ErrorCode())
	name := "message"
	if a.Protocol == RESTJSON && a.Service == "lambda" {
		name = "Message"
	}
	b = append(b, `,"`+name+`":`...)
	b = appendString(b, e.ErrorMessage())
	// Only errors that AWS models have members for the caller.
	if v := reflect.Indirect(reflect.ValueOf(e)); v.Kind() == reflect.Struct && strings.HasPrefix(v.Type().PkgPath(), sdkPath) {
		members := codecFor(a, false).appendStruct(nil, v, func(f fieldPlan) bool { return f.name == "Message" || f.name == "ErrorCodeOverride" })
		if len(members) > 2 {
			b = append(append(b, ','), members[1:len(members)-1]...)
		}
	}
	return append(b, '}')
}

func queryError(a *API, e smithy.APIError, id string) []byte {
	var b bytes.Buffer
	b.WriteString(`<ErrorResponse xmlns="` + a.Namespace + `"><Error>`)
	element(&b, "Type", fault(e))
	element(&b, "Code", e.ErrorCode())
	element(&b, "Message", e.ErrorMessage())
	b.WriteString("</Error>")
	element(&b, "RequestId", id)
	b.WriteString("</ErrorResponse>")
	return b.Bytes()
}

func s3Error(e smithy.APIError, id string) []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + "<Error>")
	element(&b, "Code", e.ErrorCode())
	element(&b, "Message", e.ErrorMessage())
	element(&b, "RequestId", id)
	element(&b, "HostId", id)
	b.WriteString("</Error>")
	return b.Bytes()
}

func endpointOf(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func sourceIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "127.0.0.1"
	}
	return host
}
