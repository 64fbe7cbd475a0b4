package wire

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// A binding says where the members of a REST operation stand in a request and
// its answer. What is bound nowhere is in the body.
type binding struct {
	method  string
	path    []segment
	query   [][2]string // parameters that must be there, with their value if not ""
	header  string      // that must be there
	headers map[string]string
	params  map[string]string
	prefix  map[string]string // map members: header prefix
	payload map[string]bool
	status  int
	code    string // output member that is the status
	root    string
	text    string // output member that is the root element's text
}

type segment struct {
	literal string
	field   string
	rest    bool
}

func parseRoute(route string) *binding {
	method, target, ok := strings.Cut(route, " ")
	path, query, _ := strings.Cut(target, "?")
	if !ok || !strings.HasPrefix(path, "/") {
		panic("wire: bad route " + route)
	}
	b := &binding{
		method: method, status: http.StatusOK, headers: map[string]string{}, params: map[string]string{},
		prefix: map[string]string{}, payload: map[string]bool{},
	}
	for s := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if name, ok := strings.CutPrefix(s, "{"); ok {
			name = strings.TrimSuffix(name, "}")
			field, rest := strings.CutSuffix(name, "+")
			b.path = append(b.path, segment{field: field, rest: rest})
		} else if s != "" {
			b.path = append(b.path, segment{literal: s})
		}
	}
	for q := range strings.SplitSeq(query, "&") {
		if k, v, _ := strings.Cut(q, "="); k != "" {
			b.query = append(b.query, [2]string{k, v})
		}
	}
	return b
}

// IfHeader has the route serve only requests that carry the header.
func IfHeader(name string) Option { return func(o *operation) { o.rest.header = name } }

// Header binds a member of input or output to an HTTP header.
func Header(field, name string) Option {
	return func(o *operation) { o.rest.headers[mustHave(o, field)] = name }
}

// HeaderMap binds a map member to all headers with a prefix.
func HeaderMap(field, prefix string) Option {
	return func(o *operation) { o.rest.prefix[mustHave(o, field)] = prefix }
}

// QueryParam binds an input member to a query parameter. A list takes all its
// values; a map all parameters that are bound to no other member.
func QueryParam(field, name string) Option {
	return func(o *operation) { o.rest.params[mustHave(o, field)] = name }
}

// Payload makes one member of input or output the whole body.
func Payload(field string) Option {
	return func(o *operation) { o.rest.payload[mustHave(o, field)] = true }
}

// Status is the HTTP status of success where it is not 200.
func Status(code int) Option { return func(o *operation) { o.rest.status = code } }

// StatusFrom takes the HTTP status of success from an output member.
func StatusFrom(field string) Option {
	return func(o *operation) { o.rest.code = mustHave(o, field) }
}

// Root names the root element of a restXml answer.
func Root(name string) Option { return func(o *operation) { o.rest.root = name } }

// RootText makes one output member the text of the root element.
func RootText(field string) Option {
	return func(o *operation) { o.rest.text = mustHave(o, field) }
}

func mustHave(o *operation, field string) string {
	_, in := o.in.FieldByName(field)
	_, out := o.out.FieldByName(field)
	if !in && !out {
		panic(fmt.Sprintf("wire: %s has no member %s", o.name, field))
	}
	return field
}

// match finds the operation of a REST request: the one that asks for most.
func (m *Mux) match(service string, r *http.Request) (*operation, map[string]string) {
	// Slashes inside and at the end of the path may belong to an S3 key.
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	query := r.URL.Query()
	var best *operation
	var labels map[string]string
	score := -1
	for _, o := range m.routes[service] {
		if o.rest.method != r.Method || o.rest.header != "" && r.Header.Get(o.rest.header) == "" {
			continue
		}
		if l, n, ok := o.rest.matches(parts, query); ok && n > score {
			best, labels, score = o, l, n
		}
	}
	return best, labels
}

func (b *binding) matches(parts []string, query url.Values) (labels map[string]string, score int, ok bool) {
	for _, q := range b.query {
		if !query.Has(q[0]) || q[1] != "" && query.Get(q[0]) != q[1] {
			return nil, 0, false
		}
	}
	labels = map[string]string{}
	score = 100 * len(b.query)
	if b.header != "" {
		score += 100
	}
	for i, s := range b.path {
		switch {
		case i >= len(parts):
			return nil, 0, false
		case s.rest:
			raw := strings.Join(parts[i:], "/")
			v, err := url.PathUnescape(raw)
			labels[s.field] = v
			return labels, score, err == nil && v != ""
		case s.literal == "":
			v, err := url.PathUnescape(parts[i])
			if err != nil || v == "" {
				return nil, 0, false
			}
			labels[s.field] = v
		case s.literal == parts[i]:
			score++
		default:
			return nil, 0, false
		}
	}
	n := len(b.path)
	return labels, score, len(parts) == n || len(parts) == n+1 && parts[n] == ""
}

// decodeREST fills in from path, query, headers and body.
func (o *operation) decodeREST(c *codec, in reflect.Value, r *http.Request, labels map[string]string, body []byte) ([]string, error) {
	b := o.rest
	for field, s := range labels {
		if err := setText(in.FieldByName(field), s, field); err != nil {
			return nil, err
		}
	}
	if err := b.decodeParams(in, r.URL.Query()); err != nil {
		return nil, err
	}
	for field, name := range b.headers {
		if f := in.FieldByName(field); f.IsValid() && r.Header.Values(name) != nil {
			if err := setHeader(f, strings.Join(r.Header.Values(name), ","), field); err != nil {
				return nil, err
			}
		}
	}
	for field, prefix := range b.prefix {
		if f := in.FieldByName(field); f.IsValid() {
			f.Set(reflect.ValueOf(prefixed(r.Header, prefix)))
		}
	}
	for field := range b.payload {
		if f := in.FieldByName(field); f.IsValid() {
			return decodePayload(c, f, body)
		}
	}
	if c.api.Protocol == RESTXML {
		return c.decodeXML(in, body)
	}
	return c.decodeJSON(in, body)
}

func (b *binding) decodeParams(in reflect.Value, query url.Values) error {
	for field, name := range b.params {
		f := in.FieldByName(field)
		if !f.IsValid() {
			continue
		}
		switch {
		case f.Kind() == reflect.Slice && query.Has(name):
			f.Set(reflect.MakeSlice(f.Type(), len(query[name]), len(query[name])))
			for i, s := range query[name] {
				if err := setText(f.Index(i), s, field); err != nil {
					return err
				}
			}
		case f.Kind() != reflect.Slice && query.Has(name):
			if err := setText(f, query.Get(name), field); err != nil {
				return err
			}
		}
	}
	return nil
}

func decodePayload(c *codec, f reflect.Value, body []byte) ([]string, error) {
	switch {
	case f.Type() == readerType || f.Type() == closerType:
		f.Set(reflect.ValueOf(io.NopCloser(strings.NewReader(string(body)))))
		return nil, nil
	case isBytes(f.Type()):
		f.SetBytes(body)
		return nil, nil
	case f.Kind() == reflect.String || f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.String:
		return nil, setText(f, string(body), "body")
	case c.api.Protocol == RESTXML:
		if len(body) == 0 {
			return nil, nil
		}
		return c.decodeXML(alloc(f), body)
	}
	return c.decodeJSON(alloc(f), body)
}

func prefixed(h http.Header, prefix string) map[string]string {
	m := map[string]string{}
	for k, v := range h {
		if name, ok := cutPrefixFold(k, prefix); ok {
			m[strings.ToLower(name)] = strings.Join(v, ",")
		}
	}
	return m
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

// encodeREST makes the answer of out, a struct: headers are set on h.
func (o *operation) encodeREST(c *codec, out reflect.Value, h http.Header) (status int, body []byte, stream io.Reader) {
	b := o.rest
	for field, name := range b.headers {
		if f := out.FieldByName(field); f.IsValid() && !absent(f) {
			h.Set(name, headerText(name, f))
		}
	}
	for field, prefix := range b.prefix {
		if f := out.FieldByName(field); f.IsValid() {
			for _, k := range f.MapKeys() {
				h.Set(prefix+k.String(), f.MapIndex(k).String())
			}
		}
	}
	status = b.status
	if b.code != "" {
		if f := reflect.Indirect(out.FieldByName(b.code)); f.IsValid() && f.Int() != 0 {
			status = int(f.Int())
		}
	}
	for field := range b.payload {
		if f := out.FieldByName(field); f.IsValid() {
			body, stream = encodePayload(c, b, f, h)
			return status, body, stream
		}
	}
	return status, o.encodeBody(c, out, h), nil
}

func (o *operation) encodeBody(c *codec, out reflect.Value, h http.Header) []byte {
	b := o.rest
	bound := func(f fieldPlan) bool {
		return b.headers[f.name] != "" || b.prefix[f.name] != "" || b.code == f.name
	}
	if c.api.Protocol == RESTJSON {
		if b.status == http.StatusNoContent {
			return nil
		}
		h.Set("Content-Type", "application/json")
		return c.appendStruct(nil, out, bound)
	}
	if b.text != "" {
		return c.document(b.root, func(w *xmlBuffer) { w.text(plainText(out.FieldByName(b.text))) }, h)
	}
	if !slices.ContainsFunc(c.plan(out.Type()).fields, func(f fieldPlan) bool { return !bound(f) }) || b.root == "" {
		return nil
	}
	return c.document(b.root, func(w *xmlBuffer) { c.appendMembers(&w.Buffer, out, bound) }, h)
}

func encodePayload(c *codec, b *binding, f reflect.Value, h http.Header) ([]byte, io.Reader) {
	if absent(f) {
		return nil, nil
	}
	switch {
	case f.Type() == closerType || f.Type() == readerType:
		return nil, f.Interface().(io.Reader)
	case isBytes(f.Type()):
		return f.Bytes(), nil
	case reflect.Indirect(f).Kind() == reflect.String:
		return []byte(plainText(f)), nil
	case c.api.Protocol == RESTXML:
		v := reflect.Indirect(f)
		return c.document(b.root, func(w *xmlBuffer) { c.appendMembers(&w.Buffer, v, nil) }, h), nil
	}
	h.Set("Content-Type", "application/json")
	return c.appendJSON(nil, f), nil
}

// setHeader sets a member from a header; a list is separated by commas.
func setHeader(f reflect.Value, text, field string) error {
	if f.Kind() != reflect.Slice {
		return setText(f, text, field)
	}
	items := strings.Split(text, ",")
	f.Set(reflect.MakeSlice(f.Type(), len(items), len(items)))
	for i, item := range items {
		if err := setText(f.Index(i), strings.TrimSpace(item), field); err != nil {
			return err
		}
	}
	return nil
}

// isoHeader is the one header whose time is not in HTTP's format.
const isoHeader = "X-Amz-Object-Lock-Retain-Until-Date"

func headerText(name string, f reflect.Value) string {
	if t, ok := reflect.TypeAssert[time.Time](reflect.Indirect(f)); ok {
		if name == isoHeader {
			return isoTime(t)
		}
		return t.UTC().Format(http.TimeFormat)
	}
	return plainText(f)
}
