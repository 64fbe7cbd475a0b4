package wire

import (
	"context"

	"miniforge/internal/cloud/authz"
)

// A Call is one operation on its way through the interceptors to a service.
type Call struct {
	Service   string // endpoint name as in ARNs and actions: "sqs", "states", "events"
	Op        string // "SendMessage"
	Region    string
	Account   string
	RequestID string
	Principal authz.Principal
	Access    []authz.Access // all that must be allowed
	Input     any            // *sqs.SendMessageInput
	// Body is the request as it came, where it came from outside: it tells a
	// number that was set to 0 from one that is absent, which the SDK's types
	// do not.
	Body []byte

	// Endpoint is the base URL under which the caller reached the cloud
	// ("http://127.0.0.1:4566"), for answers that hold URLs.
	Endpoint  string
	SourceIP  string
	UserAgent string
	// AccessKeyID that signed the request; empty between services.
	AccessKeyID string
	// Status of the answer, where it depends on more than the output says: 206
	// for a part of an object. 0 leaves the operation's own.
	Status int
}

// ARN makes the ARN of a resource of the given service in the call's region
// and account.
func (c *Call) ARN(service, resource string) string {
	return "arn:aws:" + service + ":" + c.Region + ":" + c.Account + ":" + resource
}

// As is the identity and place in which one service calls another.
type As struct {
	Principal authz.Principal
	Region    string
	Endpoint  string // see [Call.Endpoint]; may be empty
}

// As returns the identity with which service passes the call's own request on
// to another service, such as DynamoDB to KMS.
func (c *Call) As(service string) As {
	return As{Principal: c.Principal.On(service), Region: c.Region, Endpoint: c.Endpoint}
}

type callKey struct{}

// WithCall returns ctx with c; tests use it to call a service's method directly.
func WithCall(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallOf returns the call in whose course ctx was made. Services may rely on
// it: outside of a call it panics, which only a programming error can cause.
func CallOf(ctx context.Context) *Call {
	return ctx.Value(callKey{}).(*Call)
}

// A Func carries out one call.
type Func func(context.Context, *Call) (any, error)

// An Interceptor wraps every call: tracing, authorisation, faults.
type Interceptor func(Func) Func

// A Caller is how one service reaches another: with the SDK's input and output
// types, through the same interceptors as a request from outside.
type Caller interface {
	// Call carries out the operation that in (say *sqs.SendMessageInput)
	// belongs to and returns its output (*sqs.SendMessageOutput).
	Call(ctx context.Context, as As, in any) (any, error)
	// CallJSON does the same for an operation known by name only, as Step
	// Functions needs it. Members go by their name with an upper-case first
	// letter, both ways; input also takes a lower-case one.
	CallJSON(ctx context.Context, as As, service, op string, in []byte) ([]byte, error)
}

// Do is Caller.Call with the output's type.
func Do[Out any](ctx context.Context, c Caller, as As, in any) (*Out, error) {
	out, err := c.Call(ctx, as, in)
	if err != nil {
		return nil, err
	}
	return out.(*Out), nil
}
