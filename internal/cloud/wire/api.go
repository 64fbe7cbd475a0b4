// Package wire speaks the protocols of AWS: awsJson 1.0 and 1.1, query,
// restJson and restXml, with the SDK's own input and output types as the
// shapes. Services register typed functions; everything else (routing, SigV4,
// decoding, validation, authorisation, errors) happens here.
//
// Protocols: https://smithy.io/2.0/aws/protocols/index.html
package wire

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"miniforge/internal/cloud/authz"
)

// A Protocol is one of AWS's ways to put operations on HTTP.
type Protocol int

// The protocols in use by the services that the cloud offers.
const (
	JSON10 Protocol = iota // awsJson1_0
	JSON11                 // awsJson1_1
	Query                  // awsQuery
	RESTJSON
	RESTXML
)

// An API is one service as the protocol layer knows it. All fields are set
// before the first operation is registered and never after.
type API struct {
	// Service is the name in ARNs, actions and SigV4's scope: "sqs",
	// "states", "events", "dynamodb", "apigateway".
	Service  string
	Protocol Protocol
	// Target is the prefix of X-Amz-Target: "AmazonSQS" (JSON protocols).
	Target string
	// Namespace is the XML namespace of answers (query, restXml).
	Namespace string
	// Version is the API version: "2012-11-05" (query).
	Version string
	// LowerFirst says that wire names have a lower-case first letter where Go
	// names have an upper-case one: sfn, apigatewayv2, the Code* services.
	LowerFirst bool
	// Names maps Go field names to wire names where the rule fails, either
	// for all types ("QueueUrls": "queueUrls") or for one
	// ("ListQueuesOutput.QueueUrls": "queueUrls").
	Names map[string]string
	// Unions are the variants of the SDK's union interfaces; see [Union].
	Unions map[reflect.Type]Variants
	// Flat names list members (as "Type.Field" or "Field") that have no
	// wrapper element in XML. Items names the elements of a wrapped list
	// where it is not "member".
	Flat  map[string]bool
	Items map[string]string
	// ISOTime says that JSON timestamps are ISO 8601 strings; otherwise they
	// are epoch seconds.
	ISOTime bool
	// Statuses are the HTTP statuses of error codes; others are 400, or 500 for server faults.
	Statuses map[string]int
	// QueryCodes map error codes to those of the older query protocol
	// (awsQueryCompatible): "QueueDoesNotExist" -> "AWS.SimpleQueueService.NonExistentQueue".
	QueryCodes map[string]string
	// TagAction is the further action that making something with tags needs:
	// "TagResource". "": the service declares it itself, or has none.
	TagAction string
	// Invalid makes the service's error for a member that breaks a [Members] rule.
	// nil: ValidationException with AWS's "1 validation error detected: ..." text.
	Invalid func(op string, problems []Problem) error

	mux         *Mux
	own, pascal *codec // with the API's names, and with those of CallJSON
}

// A Problem is one member that breaks its constraint.
type Problem struct {
	Path    string // wire name path: "keySchema.1.member.attributeName"
	Value   string // as it came; "null" if missing
	Missing bool
	Text    string // "Member must not be null"
}

// Variants are the members of a union by their wire name.
type Variants map[string]reflect.Type

// Union lists the variants of the union interface U, each as a pointer to its
// SDK type: Union[types.AttributeValue](&types.AttributeValueMemberS{}, ...).
// The wire name is what follows "Member" in the type's name.
func Union[U any](variants ...U) (reflect.Type, Variants) {
	v := Variants{}
	for _, x := range variants {
		t := reflect.TypeOf(x).Elem()
		_, name, ok := strings.Cut(t.Name(), "Member")
		if !ok {
			panic("wire: not a union member: " + t.String())
		}
		v[name] = t
	}
	return reflect.TypeFor[U](), v
}

// An operation is a registered function with all that its protocol needs.
type operation struct {
	api     *API
	name    string
	action  string       // "sqs:SendMessage"
	in, out reflect.Type // of the structs, not pointers
	call    func(context.Context, any) (any, error)
	access  func(*Call, any) []authz.Access
	texts   []string      // of its rules
	rules   func() []rule // read when the operation is first called
	rest    *binding      // REST protocols
	// tags are those that an input brings; nil if its type has none
	tags func(in reflect.Value) (tags map[string]string, keys []string)
}

// An Option refines a registration.
type Option func(*operation)

// On names the resource ARNs that an operation acts on, for authorisation.
// Without it the action is judged on "*".
func On[In any](resources func(c *Call, in *In) []string) Option {
	return func(o *operation) {
		check[In](o)
		o.access = func(c *Call, in any) (all []authz.Access) {
			for _, r := range resources(c, in.(*In)) {
				all = append(all, authz.Access{Action: o.action, Resource: r})
			}
			return all
		}
	}
}

// Needs names all accesses of an operation, where it is judged by other
// actions than its own name, by several, or with condition keys.
// An empty answer means that nobody is refused (sts:GetCallerIdentity).
func Needs[In any](access func(c *Call, in *In) []authz.Access) Option {
	return func(o *operation) {
		check[In](o)
		o.access = func(c *Call, in any) []authz.Access { return access(c, in.(*In)) }
	}
}

// Members declares constraints of the input, one string a member:
//
//	"TableName! 1..1024"             required, length (or number, or count) from 1 to 1024
//	"StreamName 1..128 [a-zA-Z0-9_.-]+"  pattern (anchored), after the range
//	"BillingMode PROVISIONED|PAY_PER_REQUEST"  one of
//	"KeySchema[].AttributeName!"     of each element
//	"SSESpecification.SSEType AES256|KMS"
//
// Go field names are used; messages show wire names. A rule about a member
// inside an absent parent does not apply. A wrong rule panics at the first
// call: the cloud's tests call every operation.
func Members(rules ...string) Option {
	return func(o *operation) {
		o.texts = append(o.texts, rules...)
	}
}

func check[In any](o *operation) {
	if o.in != reflect.TypeFor[In]() {
		panic(fmt.Sprintf("wire: option for %v on %s", reflect.TypeFor[In](), o.name))
	}
}

// Handle registers an operation of a JSON or query API. Its name is that of
// its input type. A pair of types that is not one operation, or a name that is
// taken, panics: a wrong registration shows at start-up, never later.
func Handle[In, Out any](api *API, fn func(context.Context, *In) (*Out, error), opts ...Option) {
	if api.Protocol >= RESTJSON {
		panic("wire: REST operations are registered by Bind")
	}
	register(api, nil, fn, opts)
}

// Bind registers an operation of a REST API under "METHOD /path/{Member}"
// ("{Member+}" takes the rest of the path; "?name" or "?name=value" at the end
// asks for that query parameter). Names in braces are the input's Go fields.
func Bind[In, Out any](api *API, route string, fn func(context.Context, *In) (*Out, error), opts ...Option) {
	if api.Protocol < RESTJSON {
		panic("wire: JSON and query operations are registered by Handle")
	}
	register(api, parseRoute(route), fn, opts)
}

func register[In, Out any](api *API, b *binding, fn func(context.Context, *In) (*Out, error), opts []Option) {
	in, out := reflect.TypeFor[In](), reflect.TypeFor[Out]()
	name := strings.TrimSuffix(in.Name(), "Input")
	if name == in.Name() || out.Name() != name+"Output" || in.PkgPath() != out.PkgPath() {
		panic(fmt.Sprintf("wire: %v and %v are not one operation", in, out))
	}
	o := &operation{api: api, name: name, action: api.Service + ":" + name, in: in, out: out, rest: b, tags: requestTags(in), call: func(ctx context.Context, v any) (any, error) {
		r, err := fn(ctx, v.(*In))
		if err != nil {
			return nil, err
		}
		return r, nil
	}}
	for _, opt := range opts {
		opt(o)
	}
	// Few of all operations are called in a cloud's life, and their patterns
	// are most of what it takes to start one.
	o.rules = sync.OnceValue(func() (rules []rule) {
		for _, text := range o.texts {
			rules = append(rules, parseRule(o, text))
		}
		return rules
	})
	api.mux.add(o)
}
