package lambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/lambda/sandbox"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Limits of an event in bytes.
const (
	maxSyncPayload  = 6 << 20
	maxAsyncPayload = 1 << 20
)

func (s *Service) registerInvoke(api *wire.API) {
	wire.Bind(api, "POST /2015-03-31/functions/{FunctionName}/invocations", s.Invoke,
		wire.Header("InvocationType", "X-Amz-Invocation-Type"), wire.Header("LogType", "X-Amz-Log-Type"), wire.Header("ClientContext", "X-Amz-Client-Context"),
		wire.Header("DurableExecutionName", "X-Amz-Durable-Execution-Name"), wire.Header("DurableExecutionArn", "X-Amz-Durable-Execution-Arn"), wire.Header("TenantId", "X-Amz-Tenant-Id"),
		wire.Header("FunctionError", "X-Amz-Function-Error"), wire.Header("LogResult", "X-Amz-Log-Result"), wire.Header("ExecutedVersion", "X-Amz-Executed-Version"),
		wire.QueryParam("Qualifier", "Qualifier"), wire.Payload("Payload"), wire.StatusFrom("StatusCode"),
		wire.Members(nameRule, qualifierRule, "InvocationType Event|RequestResponse|DryRun", "LogType None|Tail"),
		wire.Needs(func(c *wire.Call, in *sdk.InvokeInput) []authz.Access {
			_, fn, own := split(aws.ToString(in.FunctionName))
			if in.Qualifier != nil {
				own = *in.Qualifier
			}
			return []authz.Access{{Action: "lambda:InvokeFunction", Resource: name{region: c.Region, account: c.Account, function: fn}.qualified(own)}}
		}))
}

// A target is what an invocation of a name runs: one version, or two with
// weights. It is read once and kept until something changes.
type target struct {
	reserved *int32
	version  versionRow
	weight   float64 // of other
	other    *versionRow
}

// resolve finds what a name runs.
func (s *Service) resolve(n name) (*target, error) {
	return s.resolved.Get(n.key()+"/"+n.qualifier, func() (t *target, keep bool, err error) {
		t = &target{}
		err = s.DB.View(func(tx *store.Tx) error {
			f, err := mustExist(tx, n)
			if err != nil {
				return noFunctionAs(err, n)
			}
			t.reserved = f.Reserved
			if t.version, err = findQualified(tx, n); err != nil {
				return err
			}
			a, _, err := aliases.Get(tx, n.key()+"/"+n.qualifier)
			for version, weight := range a.Weights {
				other, ok, err := findVersion(tx, n, version)
				if err != nil {
					return err
				}
				if ok {
					t.other, t.weight = &other, weight
				}
			}
			return err
		})
		return t, err == nil, err
	})
}

// noFunctionAs names the function as it was asked for.
func noFunctionAs(err error, n name) error {
	if _, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
		return noFunction(n.full())
	}
	return err
}

// choose picks a version by weight.
func (t *target) choose() *versionRow {
	if t.other != nil && rand.Float64() < t.weight {
		return t.other
	}
	return &t.version
}

// A request is one invocation.
type request struct {
	name          name
	id            string
	payload       []byte
	clientContext string
	trace         string
	tail          bool
}

// An outcome is how an invocation ended.
type outcome struct {
	version string
	payload []byte
	failed  string // X-Amz-Function-Error; "" for success
	tail    string
}

// Invoke runs a function: at once, later, or not at all, as a test.
func (s *Service) Invoke(ctx context.Context, in *sdk.InvokeInput) (*sdk.InvokeOutput, error) {
	c := wire.CallOf(ctx)
	n, err := lookup(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	r := request{name: n, id: c.RequestID, payload: in.Payload, tail: in.LogType == types.LogTypeTail}
	if err := r.check(in); err != nil {
		return nil, err
	}
	t, err := s.resolve(n)
	if err != nil {
		return nil, err
	}
	if now := time.Now(); now.Before(t.version.Ready) && !t.version.Updating {
		return nil, t.version.settled(n)
	}
	switch in.InvocationType {
	case types.InvocationTypeDryRun:
		return &sdk.InvokeOutput{StatusCode: http.StatusNoContent}, nil
	case types.InvocationTypeEvent:
		return &sdk.InvokeOutput{StatusCode: http.StatusAccepted}, s.later(ctx, r)
	}
	// An invocation goes on when its caller has gone.
	out, err := s.invoke(context.WithoutCancel(ctx), r)
	if err != nil {
		return nil, err
	}
	answer := &sdk.InvokeOutput{StatusCode: http.StatusOK, ExecutedVersion: &out.version, Payload: out.payload}
	if out.failed != "" {
		answer.FunctionError = &out.failed
	}
	if r.tail {
		answer.LogResult = new(base64.StdEncoding.EncodeToString([]byte(out.tail)))
	}
	return answer, nil
}

// check reads and judges what comes with an invocation.
func (r *request) check(in *sdk.InvokeInput) error {
	limit := maxSyncPayload
	if in.InvocationType == types.InvocationTypeEvent {
		limit = maxAsyncPayload
	}
	if len(in.Payload) > limit {
		return &types.RequestTooLargeException{Message: new(fmt.Sprintf("%d byte payload is too large for the %s invocation type (limit %d bytes)", len(in.Payload), in.InvocationType, limit)), Type: new("User")}
	}
	if len(r.payload) == 0 {
		r.payload = []byte("{}")
	}
	if !json.Valid(r.payload) {
		var v any
		err := json.Unmarshal(r.payload, &v)
		return &types.InvalidRequestContentException{Message: new(fmt.Sprintf("Could not parse request body into json: Could not parse payload into json: %v", err)), Type: new("User")}
	}
	if in.ClientContext != nil {
		b, err := base64.StdEncoding.DecodeString(*in.ClientContext)
		if err != nil || !json.Valid(b) {
			return &types.InvalidRequestContentException{Message: new("Client context must be a valid Base64-encoded JSON object."), Type: new("User")}
		}
		r.clientContext = string(b)
	}
	return nil
}

// An inFlight counts invocations under way, by function and for each region.
type inFlight struct {
	mu sync.Mutex
	n  map[string]int
}

// enter counts an invocation, or refuses it when there are too many.
func (f *inFlight) enter(n name, reserved *int32) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == nil {
		f.n = map[string]int{}
	}
	switch {
	case reserved != nil && f.n[n.key()] >= int(*reserved):
		return throttled(types.ThrottleReasonReservedFunctionConcurrentInvocationLimitExceeded)
	case f.n[n.region] >= accountConcurrency:
		return throttled(types.ThrottleReasonConcurrentInvocationLimitExceeded)
	}
	f.n[n.key()]++
	f.n[n.region]++
	return nil
}

func (f *inFlight) leave(n name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range []string{n.key(), n.region} {
		if f.n[k]--; f.n[k] == 0 {
			delete(f.n, k)
		}
	}
}

func throttled(reason types.ThrottleReason) error {
	return &types.TooManyRequestsException{Message: new("Rate Exceeded."), Reason: reason, Type: new("User")}
}

// invoke runs a function and waits for its end. An error is that of Lambda; a
// function's own is an outcome.
func (s *Service) invoke(ctx context.Context, r request) (outcome, error) {
	t, err := s.resolve(r.name)
	if err != nil {
		return outcome{}, err
	}
	if err := s.inFlight.enter(r.name, t.reserved); err != nil {
		return outcome{}, err
	}
	defer s.inFlight.leave(r.name)
	if r.trace == "" {
		r.trace = newTrace()
	}
	v := t.choose()
	out := outcome{version: *v.Config.Version}
	i, err := s.pool.acquire(ctx, instanceKey(r.name, v), func(ctx context.Context) (*instance, error) { return s.start(ctx, r.name, v) })
	if err != nil {
		return s.failedStart(r, out, err)
	}
	rep := &report{log: i.log, request: r.id, version: out.version, memory: *v.Config.MemorySize}
	if r.tail {
		i.log.startTail()
	}
	rep.start()
	res := i.Invoke(sandbox.Invocation{
		RequestID: r.id, FunctionARN: r.name.full(), Payload: r.payload, ClientContext: r.clientContext, TraceID: r.trace,
		Timeout: time.Duration(*v.Config.Timeout) * time.Second,
	})
	init := i.initTook
	if i.used {
		init = 0
	}
	i.used = true
	rep.end(res, init)
	if r.tail {
		out.tail = i.log.endTail()
	}
	s.pool.release(i)
	if out.payload = res.Payload; res.Failed || res.Failure != nil {
		out.failed = "Unhandled"
	}
	if res.Failure != nil {
		out.payload = res.Failure.Payload
		if out.payload == nil {
			out.payload = failureDocument(r.id, res.Failure)
		}
	}
	return out, nil
}

// failedStart is the outcome of a function that could not be started, or the
// error of why Lambda could not start it.
func (s *Service) failedStart(r request, out outcome, err error) (outcome, error) {
	f, ok := errors.AsType[*sandbox.Failure](err)
	if !ok {
		return out, err
	}
	out.failed, out.payload = "Unhandled", f.Payload
	if out.payload == nil {
		out.payload = failureDocument(r.id, f)
	}
	if r.tail {
		out.tail = "RequestId: " + r.id + " Error: " + f.Message + "\n"
	}
	return out, nil
}

// failureDocument is what the caller gets where the function wrote nothing.
func failureDocument(id string, f *sandbox.Failure) []byte {
	b, _ := json.Marshal(struct {
		ErrorType    string `json:"errorType"`
		ErrorMessage string `json:"errorMessage"`
	}{f.Type, "RequestId: " + id + " Error: " + f.Message}) // plain data
	return b
}

// newTrace makes a trace header for an invocation that came without one.
func newTrace() string {
	id := uuid.New()
	return fmt.Sprintf("Root=1-%08x-%x;Parent=%016x;Sampled=0", time.Now().Unix(), id[:12], rand.Uint64())
}
