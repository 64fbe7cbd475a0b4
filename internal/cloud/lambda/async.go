package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Defaults and limits of asynchronous invocation.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
const (
	asyncRetries  = 2
	asyncAge      = 6 * time.Hour
	asyncBackoff  = time.Minute // after the first error; then twice that
	throttleFirst = time.Second
	throttleMost  = 5 * time.Minute
)

// An asyncEvent is an event that waits for its function.
type asyncEvent struct {
	Region        string          `json:"region"`
	Function      string          `json:"function"`
	Qualifier     string          `json:"qualifier,omitempty"`
	ID            string          `json:"id"`
	Payload       json.RawMessage `json:"payload"`
	ClientContext string          `json:"client_context,omitempty"`
	// Failed counts the tries that the function ended with an error; tries
	// that Lambda could not make do not count.
	Failed int `json:"failed,omitempty"`
}

// later keeps an event for its function.
func (s *Service) later(ctx context.Context, r request) error {
	body, err := json.Marshal(asyncEvent{
		Region: r.name.region, Function: r.name.function, Qualifier: r.name.qualifier, ID: r.id, Payload: r.payload, ClientContext: r.clientContext,
	})
	if err != nil {
		return err
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		return s.Tasks.Send(tx, event.Task{Kind: asyncTask, ID: r.id, Body: body})
	})
}

// async makes one try of an event.
func (s *Service) async(ctx context.Context, t event.Task) event.Result {
	var e asyncEvent
	if err := json.Unmarshal(t.Body, &e); err != nil {
		s.Log.Error("cannot read an event of an asynchronous invocation", "error", err)
		return event.Done()
	}
	n := name{region: e.Region, account: s.Account, function: e.Function, qualifier: e.Qualifier}
	policy, err := s.asyncPolicy(n)
	if err != nil {
		s.Log.Error("cannot read the configuration of an asynchronous invocation", "function", e.Function, "error", err)
		return event.Retry(throttleFirst)
	}
	if time.Since(t.Sent) > policy.age() {
		s.conclude(ctx, n, &e, policy, outcome{failed: "Unhandled"}, "EventAgeExceeded")
		return event.Done()
	}
	out, err := s.invoke(ctx, request{name: n, id: e.ID, payload: e.Payload, clientContext: e.ClientContext})
	switch {
	case ctx.Err() != nil:
		return event.Done() // does not count: the next process does it again
	case err != nil && isGone(err):
		s.Log.Warn("event dropped: its function is gone", "function", e.Function, "request", e.ID)
		return event.Done()
	case err != nil:
		return event.Retry(backoff(t.Attempts-e.Failed, throttleFirst, throttleMost))
	case out.failed == "":
		s.conclude(ctx, n, &e, policy, out, "Success")
		return event.Done()
	case e.Failed >= policy.retries():
		e.Failed++
		s.conclude(ctx, n, &e, policy, out, "RetriesExhausted")
		return event.Done()
	}
	return s.again(ctx, t, e)
}

// again has an event tried again after an error of its function.
func (s *Service) again(ctx context.Context, t event.Task, e asyncEvent) event.Result {
	e.Failed++
	wait := time.Duration(e.Failed) * asyncBackoff
	body, err := json.Marshal(e)
	if err != nil {
		return event.Retry(wait)
	}
	t.Body, t.Due, t.Attempts = body, time.Now().Add(wait), t.Attempts+1
	if err := s.DB.Update(ctx, func(tx *store.Tx) error { return s.Tasks.Send(tx, t) }); err != nil {
		return event.Retry(wait)
	}
	return event.Done() // replaced by the one that was sent
}

// isGone tells whether a function, version or alias is not there any more.
func isGone(err error) bool {
	_, ok := errors.AsType[*types.ResourceNotFoundException](err)
	return ok
}

// backoff doubles a wait with each try, up to a bound.
func backoff(tries int, first, most time.Duration) time.Duration {
	for range tries {
		if first *= 2; first >= most {
			return most
		}
	}
	return first
}

// A record is what a destination gets.
// https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
type record struct {
	Version   string          `json:"version"`
	Timestamp string          `json:"timestamp"`
	Request   requestContext  `json:"requestContext"`
	Payload   json.RawMessage `json:"requestPayload,omitempty"`
	Response  *response       `json:"responseContext,omitempty"`
	Answer    json.RawMessage `json:"responsePayload,omitempty"`
}

type requestContext struct {
	ID        string `json:"requestId"`
	Function  string `json:"functionArn"`
	Condition string `json:"condition"`
	Invokes   int    `json:"approximateInvokeCount"`
}

type response struct {
	Status  int    `json:"statusCode"`
	Version string `json:"executedVersion"`
	Error   string `json:"functionError,omitempty"`
}

func isoNow() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000Z") }

// conclude tells the destination, or the dead-letter queue, how an event ended.
// What they do not take is logged and dropped, as on AWS.
func (s *Service) conclude(ctx context.Context, n name, e *asyncEvent, policy *asyncRow, out outcome, condition string) {
	t, err := s.resolve(n)
	if err != nil {
		return // nobody is left to say in whose name
	}
	role := *t.version.Config.Role
	if d := policy.destination(condition == "Success"); d != "" {
		r := record{
			Version: "1.0", Timestamp: isoNow(), Payload: e.Payload,
			Request: requestContext{ID: e.ID, Function: n.qualified(orLatest(n.qualifier)), Condition: condition, Invokes: e.Failed},
		}
		if condition != "EventAgeExceeded" {
			r.Response = &response{Status: 200, Version: out.version, Error: out.failed}
			r.Answer = asJSON(out.payload)
		}
		if condition == "Success" {
			r.Request.Invokes = e.Failed + 1
		}
		body, err := json.Marshal(r)
		if err == nil {
			err = s.deliver(ctx, n, role, d, string(body), nil)
		}
		s.undelivered(n, d, err)
	}
	if c := t.version.Config.DeadLetterConfig; condition != "Success" && c != nil && c.TargetArn != nil {
		err := s.deliver(ctx, n, role, *c.TargetArn, string(e.Payload), map[string]string{"RequestID": e.ID, "ErrorCode": "200", "ErrorMessage": errorMessage(out.payload)})
		s.undelivered(n, *c.TargetArn, err)
	}
}

func (s *Service) undelivered(n name, to string, err error) {
	if err != nil {
		s.Log.Warn("destination did not take the record of an invocation", "function", n.function, "destination", to, "error", err)
	}
}

func orLatest(qualifier string) string {
	if qualifier == "" {
		return latest
	}
	return qualifier
}

// asJSON is a function's answer inside of a document.
func asJSON(b []byte) json.RawMessage {
	if json.Valid(b) {
		return b
	}
	text, _ := json.Marshal(string(b)) // a string always has a form
	return text
}

// errorMessage is the first KB of what a function said of its error.
func errorMessage(payload []byte) string {
	var doc struct{ ErrorMessage string }
	_ = json.Unmarshal(payload, &doc) // no document: no message
	return doc.ErrorMessage[:min(len(doc.ErrorMessage), 1024)]
}

// deliver hands a text to a queue, topic, bus or function in the name of a
// function's role.
func (s *Service) deliver(ctx context.Context, n name, role, to, body string, attributes map[string]string) error {
	session, err := s.assume(ctx, n, role)
	if err != nil {
		return err
	}
	as := sessionOf(n, role, session)
	as.Endpoint, _ = s.Endpoint() // only answers that name URLs need it
	p := strings.SplitN(to, ":", 6)
	if len(p) != 6 {
		return errors.New("not an ARN")
	}
	as.Region = p[3]
	switch p[2] {
	case "sqs":
		return s.toQueue(ctx, as, p, body, attributes)
	case "sns":
		in := &sns.PublishInput{TopicArn: &to, Message: &body, MessageAttributes: map[string]snstypes.MessageAttributeValue{}}
		for k, v := range attributes {
			in.MessageAttributes[k] = snstypes.MessageAttributeValue{DataType: new("String"), StringValue: new(v)}
		}
		_, err = s.Caller.Call(ctx, as, in)
	case "events":
		err = s.toBus(ctx, as, n, to, body)
	case "lambda":
		err = s.toFunction(ctx, as, to, body)
	default:
		err = errors.New("destinations of service " + p[2] + " are not supported")
	}
	return err
}

func (s *Service) toQueue(ctx context.Context, as wire.As, arn []string, body string, attributes map[string]string) error {
	url, err := wire.Do[sqs.GetQueueUrlOutput](ctx, s.Caller, s.own(arn[3]), &sqs.GetQueueUrlInput{QueueName: &arn[5], QueueOwnerAWSAccountId: &arn[4]})
	if err != nil {
		return err
	}
	in := &sqs.SendMessageInput{QueueUrl: url.QueueUrl, MessageBody: &body, MessageAttributes: map[string]sqstypes.MessageAttributeValue{}}
	for k, v := range attributes {
		if v != "" { // SQS takes no empty attributes
			in.MessageAttributes[k] = sqstypes.MessageAttributeValue{DataType: new("String"), StringValue: new(v)}
		}
	}
	_, err = s.Caller.Call(ctx, as, in)
	return err
}
