package wire

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"miniforge/internal/cloud/authz"
)

// Options configure a [Mux].
type Options struct {
	Account string // 12 digits
	Log     *slog.Logger
	// Authenticate tells who a signed request comes from; see [Authenticator].
	Authenticate Authenticator
	// MaxBody bounds a request's body in bytes; 0 means what the service takes.
	MaxBody int64
}

// A Mux routes requests of all protocols to the registered operations.
type Mux struct {
	opts     Options
	apis     map[string][]*API     // by service
	targets  map[string]*operation // by X-Amz-Target
	actions  map[string]*operation // "sns.Publish": query protocol
	routes   map[string][]*operation
	inputs   map[reflect.Type]*operation
	byName   map[string]*operation // "sqs.SendMessage"
	wrappers []Interceptor
	run      Func
	stub     Func
	large    *semaphore.Weighted // what is left of largeBodies
	keys     signingKeys
}

var _ Caller = (*Mux)(nil)

// NewMux makes a Mux without operations.
func NewMux(o Options) *Mux {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m := &Mux{
		opts: o, apis: map[string][]*API{}, targets: map[string]*operation{}, actions: map[string]*operation{},
		routes: map[string][]*operation{}, inputs: map[reflect.Type]*operation{}, byName: map[string]*operation{},
		large: semaphore.NewWeighted(largeBodies),
	}
	m.run = m.invoke
	return m
}

// API adds a service, or a second set of operations of one.
func (m *Mux) API(a API) *API {
	a.mux = m
	a.own, a.pascal = &codec{api: &a}, &codec{api: &a, pascal: true}
	m.apis[a.Service] = append(m.apis[a.Service], &a)
	return &a
}

// Use puts an interceptor around every call, inside those put before it. All
// interceptors are in place before the first request.
func (m *Mux) Use(i Interceptor) {
	m.wrappers = append(m.wrappers, i)
	m.run = m.invoke
	for _, w := range slices.Backward(m.wrappers) {
		m.run = w(m.run)
	}
}

func (m *Mux) add(o *operation) {
	name := o.api.Service + "." + o.name
	if m.byName[name] != nil {
		panic("wire: " + name + " is registered twice")
	}
	m.byName[name] = o
	m.inputs[o.in] = o
	switch o.api.Protocol {
	case JSON10, JSON11:
		m.targets[o.api.Target+"."+o.name] = o
	case Query:
		m.actions[name] = o
	default:
		m.routes[o.api.Service] = append(m.routes[o.api.Service], o)
	}
}

// An Operation is one that the Mux serves.
type Operation struct {
	Service, Name string
	In, Out       reflect.Type // the SDK's input and output structs
	// Everywhere says that no resource was declared: the action is judged on "*".
	Everywhere bool
}

// Operations lists all registered operations by service and name.
func (m *Mux) Operations() []Operation {
	var all []Operation
	for _, o := range m.byName {
		all = append(all, Operation{o.api.Service, o.name, o.in, o.out, o.access == nil})
	}
	slices.SortFunc(all, func(a, b Operation) int { return strings.Compare(a.Service+a.Name, b.Service+b.Name) })
	return all
}

// Call implements [Caller].
func (m *Mux) Call(ctx context.Context, as As, in any) (any, error) {
	t := reflect.TypeOf(in)
	if t == nil || t.Kind() != reflect.Pointer || m.inputs[t.Elem()] == nil {
		return nil, &Error{Code: "UnknownOperationException", Message: fmt.Sprintf("no service takes %T", in), Status: http.StatusNotImplemented}
	}
	return m.perform(ctx, m.internal(as, m.inputs[t.Elem()], in))
}

// CallJSON implements [Caller].
func (m *Mux) CallJSON(ctx context.Context, as As, service, op string, raw []byte) ([]byte, error) {
	o := m.byName[service+"."+op]
	if o == nil {
		return nil, unknownOperation(service, op)
	}
	in := reflect.New(o.in)
	c := codecFor(o.api, true)
	if _, err := c.decodeJSON(in.Elem(), raw); err != nil {
		return nil, Errorf("SerializationException", "%s", err.Error())
	}
	out, err := m.perform(ctx, m.internal(as, o, in.Interface()))
	if err != nil {
		return nil, err
	}
	return c.appendJSON(make([]byte, 0, 512), reflect.ValueOf(out)), nil
}

func (m *Mux) internal(as As, o *operation, in any) *callOf {
	return &callOf{op: o, Call: Call{
		Service: o.api.Service, Op: o.name, Region: as.Region, Account: m.opts.Account, RequestID: newRequestID(),
		Principal: as.Principal, Input: in, Endpoint: as.Endpoint, SourceIP: "127.0.0.1",
		UserAgent: as.Principal.Service,
	}}
}

// newRequestID makes a random UUID. It names a call and opens nothing, so that
// it need not come from the system.
func newRequestID() string {
	var id uuid.UUID
	binary.NativeEndian.PutUint64(id[:], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40 // version 4
	id[8] = id[8]&0x3f | 0x80 // of RFC 9562
	return id.String()
}

// A callOf is a Call with its operation, which interceptors need not see.
type callOf struct {
	Call
	op *operation
}

// A callContext is the context of a call. Every call has one, of half the size
// of what context.WithValue would make for the call and its operation.
type callContext struct {
	context.Context
	c *callOf
}

// Value implements [context.Context].
func (c callContext) Value(key any) any {
	switch key {
	case callKey{}:
		return &c.c.Call
	case opKey{}:
		return c.c.op
	}
	return c.Context.Value(key)
}

type opKey struct{}

// Stub has every operation answered by f instead of its service, without
// validation and authorisation: for tests of the codecs.
func (m *Mux) Stub(f Func) { m.stub = f }

// perform validates and runs a decoded call through the interceptors.
func (m *Mux) perform(ctx context.Context, c *callOf) (out any, err error) {
	if m.stub != nil {
		return m.stub(ctx, &c.Call)
	}
	if err := c.op.validate(c.Input); err != nil {
		return nil, err
	}
	c.Access = c.op.accesses(&c.Call)
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, m.panicked(&c.Call, p)
		}
	}()
	return m.run(callContext{ctx, c}, &c.Call)
}

func (m *Mux) invoke(ctx context.Context, c *Call) (any, error) {
	return ctx.Value(opKey{}).(*operation).call(ctx, c.Input)
}

func (o *operation) accesses(c *Call) []authz.Access {
	if o.access != nil {
		return o.withTags(o.access(c, c.Input), c.Input)
	}
	return o.withTags([]authz.Access{{Action: o.action, Resource: "*"}}, c.Input)
}
