package sfn

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"miniforge/internal/cloud/sfn/asl"
	"miniforge/internal/cloud/wire"
)

// An effect is one try of a task, made beside the run's loop: it has all that
// it needs of the thread.
type effect struct {
	run       *run
	res       resource
	params    json.RawMessage
	token     string
	child     string
	scheduled int64 // id of the thread's last event before the effect
	result    result
}

// do carries the effect out.
func (e *effect) do(ctx context.Context) result {
	if only := e.run.only; only != nil && only.mocked {
		e.result.out, e.result.err = only.result, only.mock
		return e.result
	}
	as, err := e.run.session(ctx)
	if err != nil {
		e.result.err = &asl.Error{Name: asl.ErrPermissions, Cause: message(err)}
		return e.result
	}
	switch {
	case e.child != "":
		e.result.out, e.result.err = e.awaitChild(ctx, as)
	case !e.res.supported():
		e.result.err = &asl.Error{Name: asl.ErrRuntime, Cause: fmt.Sprintf("The resource %s is not supported", e.res.arn)}
	case e.res.kind == isFunction:
		e.result.out, e.result.err = e.function(ctx, as)
	default:
		e.integrate(ctx, as)
	}
	return e.result
}

// session is the role's session in which the execution acts; it is made once.
func (r *run) session(ctx context.Context) (wire.As, error) {
	r.sessionMu.Lock()
	defer r.sessionMu.Unlock()
	if r.as == nil {
		as, err := wire.AssumeRole(ctx, r.s.Caller, "states", r.x.Machine, r.x.Role, sessionName(r.x.Name), r.x.Region)
		if err != nil {
			return wire.As{}, err
		}
		as.Endpoint = r.x.Endpoint
		r.as = &as
	}
	return *r.as, nil
}

// sessionName makes a role session's name of an execution's.
func sessionName(name string) string {
	return strings.Map(func(c rune) rune {
		if c < 128 && (c == '_' || c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') {
			return c
		}
		return '-'
	}, name[:min(len(name), 64)])
}

// integrate calls a service.
func (e *effect) integrate(ctx context.Context, as wire.As) {
	out, failure := e.outcome(ctx, as)
	e.result.out, e.result.err = out, failure
	if failure != nil {
		return
	}
	switch e.res.pattern {
	case byToken:
		e.result.sent = true
	case bySync, bySync2:
		started, _ := out.(map[string]any)
		e.result.child, _ = started["ExecutionArn"].(string)
	}
}

// outcome calls the service with the parameters that were written. Where they
// are the API's own, they need not be read.
func (e *effect) outcome(ctx context.Context, as wire.As) (any, *asl.Error) {
	switch e.res.service {
	case "lambda", "sns", "sqs", "states", "events":
	default:
		if !bytes.HasPrefix(e.params, []byte("{")) {
			return nil, noObject()
		}
		return e.call(ctx, as, e.params)
	}
	params, err := asl.Decode(e.params)
	in, ok := params.(map[string]any)
	if err != nil || !ok {
		return nil, noObject()
	}
	if e.res.service == "lambda" {
		return e.invoke(ctx, as, in)
	}
	return e.call(ctx, as, asl.Encode(e.prepare(in)))
}

func noObject() *asl.Error {
	return &asl.Error{Name: asl.ErrRuntime, Cause: "The Parameters of the task must be an object"}
}

// texts are the members of optimised integrations that take JSON where the API
// takes a text.
var texts = map[string]string{"sns": "Message", "sqs": "MessageBody", "states": "Input"}

// prepare turns parameters of an optimised integration into the API's.
func (e *effect) prepare(in map[string]any) map[string]any {
	if name := texts[e.res.service]; name != "" && in[name] != nil {
		if _, isText := in[name].(string); !isText {
			in[name] = asl.EncodeToString(in[name])
		}
	}
	switch e.res.service {
	case "events":
		entries, _ := in["Entries"].([]any)
		for _, x := range entries {
			if m, ok := x.(map[string]any); ok && m["Detail"] != nil {
				if _, isText := m["Detail"].(string); !isText {
					m["Detail"] = asl.EncodeToString(m["Detail"])
				}
			}
		}
	case "states":
		// One name for all tries of this task, so that a repetition after a
		// crash finds the execution that it has started.
		if in["Name"] == nil {
			in["Name"] = uuid.NewSHA1(uuid.Nil, []byte(e.run.x.ARN+e.result.thread+fmt.Sprint(e.scheduled))).String()
		}
	}
	return in
}

// call makes the plain call of any operation.
func (e *effect) call(ctx context.Context, as wire.As, params json.RawMessage) (any, *asl.Error) {
	op := strings.ToUpper(e.res.action[:1]) + e.res.action[1:]
	raw, err := e.run.s.Caller.CallJSON(ctx, as, e.res.endpoint(), op, params)
	if err != nil {
		return nil, e.failure(err)
	}
	out := any(map[string]any{})
	if len(raw) > 0 {
		if out, err = asl.Decode(raw); err != nil {
			return nil, e.failure(err)
		}
	}
	m, ok := out.(map[string]any)
	if !ok || e.res.sdk != "" {
		return out, nil
	}
	if n, _ := m["FailedEntryCount"].(int64); e.res.service == "events" && n > 0 {
		return nil, &asl.Error{Name: "EventBridge.FailedEntry", Cause: string(raw)}
	}
	return withMetadata(m), nil
}

// withMetadata adds what optimised integrations tell of the answer.
func withMetadata(m map[string]any) map[string]any {
	id := uuid.NewString()
	headers := map[string]any{"x-amzn-RequestId": id}
	m["SdkHttpMetadata"] = map[string]any{
		"AllHttpHeaders": map[string]any{"x-amzn-RequestId": []any{id}}, "HttpHeaders": headers, "HttpStatusCode": int64(200),
	}
	m["SdkResponseMetadata"] = map[string]any{"RequestId": id}
	return m
}

// invoke is lambda:invoke.
func (e *effect) invoke(ctx context.Context, as wire.As, in map[string]any) (any, *asl.Error) {
	payload, given := in["Payload"]
	delete(in, "Payload")
	input := lambda.InvokeInput{}
	if name, ok := in["FunctionName"].(string); ok && len(in) == 1 {
		input.FunctionName = &name // mostly all there is
	} else if err := json.Unmarshal(asl.Encode(in), &input); err != nil || input.FunctionName == nil {
		return nil, &asl.Error{Name: asl.ErrRuntime, Cause: "The Parameters of the task need a FunctionName"}
	}
	if given {
		input.Payload = asl.Encode(payload)
	}
	out, err := wire.Do[lambda.InvokeOutput](ctx, e.run.s.Caller, as, &input)
	if err != nil {
		return nil, e.failure(err)
	}
	if out.FunctionError != nil {
		return nil, functionError(out.Payload)
	}
	m := withMetadata(map[string]any{"StatusCode": int64(out.StatusCode)})
	if out.ExecutedVersion != nil {
		m["ExecutedVersion"] = *out.ExecutedVersion
	}
	m["Payload"] = ""
	if len(out.Payload) > 0 {
		if m["Payload"], err = asl.Decode(out.Payload); err != nil {
			m["Payload"] = string(out.Payload)
		}
	}
	return m, nil
}

// function is the plain ARN of a function as a task's resource.
func (e *effect) function(ctx context.Context, as wire.As) (any, *asl.Error) {
	out, err := wire.Do[lambda.InvokeOutput](ctx, e.run.s.Caller, as, &lambda.InvokeInput{FunctionName: &e.res.arn, Payload: e.params})
	if err != nil {
		return nil, e.failure(err)
	}
	if out.FunctionError != nil {
		return nil, functionError(out.Payload)
	}
	v, err := asl.Decode(out.Payload)
	if err != nil {
		return nil, &asl.Error{Name: asl.ErrRuntime, Cause: "The function's answer is no JSON: " + err.Error()}
	}
	return v, nil
}

// functionError is the error that a function has ended with.
func functionError(payload []byte) *asl.Error {
	var p struct {
		Type string `json:"errorType"`
	}
	if err := json.Unmarshal(payload, &p); err != nil || p.Type == "" {
		return &asl.Error{
			Name:  "Lambda.Unknown",
			Cause: "The cause could not be determined because Lambda did not return an error type. Returned payload: " + string(payload),
		}
	}
	return &asl.Error{Name: p.Type, Cause: string(payload)}
}

// failure names a service's error as Step Functions does.
func (e *effect) failure(err error) *asl.Error {
	id := uuid.NewString()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		api = &smithy.GenericAPIError{Code: "SdkClientException", Message: err.Error(), Fault: smithy.FaultServer}
	}
	code, status := api.ErrorCode(), 400
	if api.ErrorFault() == smithy.FaultServer {
		status = 500
	}
	name := code
	if !strings.HasSuffix(name, "Exception") {
		name += "Exception"
	}
	t := reflect.TypeOf(api)
	modelled := t.Kind() == reflect.Pointer && strings.HasSuffix(t.Elem().PkgPath(), "/types")
	if e.res.sdk != "" {
		client := clients[e.res.sdk]
		if client == "" {
			client = strings.ToUpper(e.res.sdk[:1]) + e.res.sdk[1:]
		}
		if !modelled && ok {
			name = client + "Exception"
		}
		return &asl.Error{
			Name:  client + "." + name,
			Cause: fmt.Sprintf("%s (Service: %s, Status Code: %d, Request ID: %s)", api.ErrorMessage(), client, status, id),
		}
	}
	f := families[e.res.service]
	if !modelled && ok {
		name = f.catchAll
	}
	return &asl.Error{
		Name: f.prefix + "." + name,
		Cause: fmt.Sprintf("%s (Service: %s; Status Code: %d; Error Code: %s; Request ID: %s; Proxy: null)",
			api.ErrorMessage(), f.service, status, code, id),
	}
}

// message is what an error says to people.
func message(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorMessage()
	}
	return err.Error()
}
