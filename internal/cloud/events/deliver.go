package events

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const deliverKind = "events.deliver"

// A delivery is the body of a task: an event on its way to one target.
type delivery struct {
	Target string // key of the target's row
	Event  string // the envelope, as a text: nothing on its way may write it anew
}

// A shipment is a delivery with all that a try needs.
type shipment struct {
	target  types.Target
	region  string
	ruleARN string
	rule    string
	event   string
	id      string // of the event
	sent    time.Time
}

// deliver makes one try to bring an event to a target.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-retry-policy.html
func (s *Service) deliver(ctx context.Context, t event.Task) event.Result {
	var d delivery
	if err := json.Unmarshal(t.Body, &d); err != nil {
		s.Log.Error("delivery cannot be read", "id", t.ID, "error", err)
		return event.Done()
	}
	sh, ok, err := s.shipment(t, d)
	if err == nil && !ok {
		return event.Done() // the target was removed meanwhile
	}
	if err == nil {
		err = s.ship(ctx, sh)
	}
	if err == nil || ctx.Err() != nil {
		return event.Done()
	}
	code, lasting := classify(err)
	condition := sh.exhausted(t.Attempts)
	if !lasting && condition == "" {
		return event.Retry(backoff(t.Attempts))
	}
	s.Log.Warn("event was not delivered", "rule", sh.ruleARN, "target", d.Target, "code", code, "error", err)
	return s.bury(ctx, sh, code, err, condition, t.Attempts)
}

func (s *Service) shipment(t event.Task, d delivery) (sh shipment, ok bool, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		sh.target, ok, err = s.targets.Get(tx, d.Target)
		return err
	})
	place, rest, _ := strings.Cut(d.Target, "\x00")
	rule, _, _ := strings.Cut(rest, "\x00")
	region, busName, _ := strings.Cut(place, "/")
	sh.region, sh.rule, sh.ruleARN = region, rule, s.ruleARN(region, busName, rule)
	sh.event, sh.sent = d.Event, t.Sent
	sh.id, _, _ = strings.Cut(t.ID, "\x00")
	return sh, ok, err
}

const (
	maxAttempts = 185
	maxAge      = 24 * time.Hour
)

// exhausted names the limit of the retry policy that is reached, if one is.
func (sh shipment) exhausted(attempts int) string {
	tries, age := maxAttempts, maxAge
	if p := sh.target.RetryPolicy; p != nil {
		if p.MaximumRetryAttempts != nil {
			tries = int(*p.MaximumRetryAttempts)
		}
		if p.MaximumEventAgeInSeconds != nil {
			age = time.Duration(*p.MaximumEventAgeInSeconds) * time.Second
		}
	}
	switch {
	case attempts >= tries:
		return "MaximumRetryAttempts"
	case time.Since(sh.sent) >= age:
		return "MaximumEventAgeInSeconds"
	}
	return ""
}

// backoff doubles from half a second to ten minutes, with jitter so that
// deliveries that failed together are not tried together.
func backoff(attempts int) time.Duration {
	d := 500 * time.Millisecond << min(attempts, 11)
	d = min(d, 10*time.Minute)
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter is no secret
}

// classify gives an error the code that dead letters carry, and tells whether
// it is one that no retry cures.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
func classify(err error) (code string, lasting bool) {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return "SDK_CLIENT_ERROR", false
	}
	c := api.ErrorCode()
	_, role := errors.AsType[*roleError](err)
	switch {
	case role:
		return "FAILED_TO_ASSUME_ROLE", api.ErrorFault() != smithy.FaultServer
	case c == "ExecutionLimitExceeded":
		return "THROTTLING", false
	case strings.Contains(c, "Throttl"), c == "TooManyRequestsException":
		return "THROTTLING", false
	case strings.Contains(c, "AccessDenied"), c == "AuthorizationError":
		return "NO_PERMISSIONS", true
	case strings.Contains(c, "DoesNotExist"), strings.Contains(c, "NotFound"):
		return "NO_RESOURCE", true
	case api.ErrorFault() == smithy.FaultServer:
		return "INTERNAL_ERROR", false
	}
	return "SDK_CLIENT_ERROR", true
}

// A roleError says that EventBridge may not assume the target's role.
type roleError struct{ err error }

func (e *roleError) Error() string { return e.err.Error() }
func (e *roleError) Unwrap() error { return e.err }

// as is EventBridge acting for the rule: in its own name or, where the target
// has a role, as that role.
func (s *Service) as(ctx context.Context, sh shipment) (wire.As, error) {
	region := strings.Split(*sh.target.Arn, ":")[3]
	if sh.target.RoleArn == nil {
		return wire.As{Region: region, Principal: authz.ServicePrincipal("events", sh.ruleARN, s.Account)}, nil
	}
	as, err := wire.AssumeRole(ctx, s.Caller, "events", sh.ruleARN, *sh.target.RoleArn, "AWSEvents_"+sh.rule, region)
	if err != nil {
		return as, &roleError{err}
	}
	return as, nil
}

// ship hands the event over in the target's own way.
func (s *Service) ship(ctx context.Context, sh shipment) error {
	input, err := s.input(sh)
	if err != nil {
		return err
	}
	as, err := s.as(ctx, sh)
	if err != nil {
		return err
	}
	arn := *sh.target.Arn
	p := strings.SplitN(arn, ":", 7)
	switch p[2] {
	case "states":
		return s.start(ctx, as, sh, input)
	case "sqs":
		in := &sqs.SendMessageInput{QueueUrl: queueURL(arn), MessageBody: &input}
		if sp := sh.target.SqsParameters; sp != nil && sp.MessageGroupId != nil {
			in.MessageGroupId, in.MessageDeduplicationId = sp.MessageGroupId, &sh.id
		}
		_, err = s.Caller.Call(ctx, as, in)
	case "sns":
		_, err = s.Caller.Call(ctx, as, &sns.PublishInput{TopicArn: &arn, Message: &input})
	case "lambda":
		_, err = s.Caller.Call(ctx, as, &lambda.InvokeInput{FunctionName: &arn, InvocationType: lambdatypes.InvocationTypeEvent, Payload: []byte(input)})
	case "events":
		err = s.forward(ctx, as, arn, sh.event)
	case "logs":
		err = s.log(ctx, as, strings.TrimSuffix(p[6], ":*"), sh.id, input)
	case "codepipeline":
		_, err = s.Caller.CallJSON(ctx, as, "codepipeline", "StartPipelineExecution", pipelineStart(p[5], sh, input))
	case "codebuild":
		_, err = s.Caller.CallJSON(ctx, as, "codebuild", "StartBuild", quoteField("projectName", strings.TrimPrefix(p[5], "project/")))
	}
	return err
}

func quoteField(name, value string) []byte {
	b, err := json.Marshal(map[string]string{name: value})
	if err != nil {
		panic("events: strings cannot fail to marshal: " + err.Error())
	}
	return b
}

// pipelineStart is the request for an execution of a pipeline: once for an
// event and target, whose token it has, and with the source revisions that the
// target's input may name.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-trigger-source-overrides.html
func pipelineStart(name string, sh shipment, input string) []byte {
	request := map[string]any{"name": name, "clientRequestToken": sh.id + "-" + strconv.FormatUint(uint64(fnv(*sh.target.Id)), 16)}
	var made struct {
		SourceRevisions []map[string]any `json:"sourceRevisions"`
	}
	if json.Unmarshal([]byte(input), &made) == nil && len(made.SourceRevisions) > 0 {
		request["sourceRevisions"] = made.SourceRevisions
	}
	b, err := json.Marshal(request)
	if err != nil {
		panic("events: what was JSON cannot fail to marshal: " + err.Error())
	}
	return b
}

// start starts an execution that is named after the event, so that an event
// delivered twice starts one: the second time there is nothing left to do.
func (s *Service) start(ctx context.Context, as wire.As, sh shipment, input string) error {
	name := sh.id + "_" + strconv.FormatUint(uint64(fnv(*sh.target.Id)), 16)
	_, err := s.Caller.Call(ctx, as, &sfn.StartExecutionInput{StateMachineArn: sh.target.Arn, Name: &name, Input: &input})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "ExecutionAlreadyExists" {
		return nil
	}
	return err
}

// fnv tells apart the targets of one rule in execution names.
func fnv(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// forward puts the event on another bus as it is.
func (s *Service) forward(ctx context.Context, as wire.As, arn, text string) error {
	var e envelope
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return err
	}
	at, err := time.Parse(second, e.Time)
	if err != nil {
		return err
	}
	out, err := wire.Do[sdk.PutEventsOutput](ctx, s.Caller, as, &sdk.PutEventsInput{Entries: []types.PutEventsRequestEntry{{
		EventBusName: &arn, Source: &e.Source, DetailType: &e.DetailType, Detail: new(string(e.Detail)), Resources: e.Resources, Time: &at,
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		return wire.Errorf(*out.Entries[0].ErrorCode, "%s", *out.Entries[0].ErrorMessage)
	}
	return err
}

// log writes the event to a log group, in a stream of the event's own.
func (s *Service) log(ctx context.Context, as wire.As, group, stream, text string) error {
	if _, err := s.Caller.Call(ctx, as, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &group, LogStreamName: &stream}); err != nil {
		if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != "ResourceAlreadyExistsException" {
			return err
		}
	}
	_, err := s.Caller.Call(ctx, as, &cloudwatchlogs.PutLogEventsInput{LogGroupName: &group, LogStreamName: &stream, LogEvents: []logstypes.InputLogEvent{{Message: &text, Timestamp: new(time.Now().UnixMilli())}}})
	return err
}

func queueURL(arn string) *string {
	p := strings.Split(arn, ":")
	return new("https://sqs." + p[3] + ".amazonaws.com/" + p[4] + "/" + p[5])
}

// bury sends an event that could not be delivered to the target's dead-letter
// queue; without one it is lost, as on AWS.
func (s *Service) bury(ctx context.Context, sh shipment, code string, cause error, condition string, attempts int) event.Result {
	if sh.target.DeadLetterConfig == nil || sh.target.DeadLetterConfig.Arn == nil {
		return event.Done()
	}
	dlq := *sh.target.DeadLetterConfig.Arn
	text := cause.Error()
	if api, ok := errors.AsType[smithy.APIError](cause); ok {
		text = api.ErrorMessage()
	}
	attrs := map[string]string{"RULE_ARN": sh.ruleARN, "TARGET_ARN": *sh.target.Arn, "ERROR_CODE": code, "ERROR_MESSAGE": text}
	if condition != "" {
		attrs["EXHAUSTED_RETRY_CONDITION"], attrs["RETRY_ATTEMPTS"] = condition, strconv.Itoa(attempts)
	}
	in := &sqs.SendMessageInput{QueueUrl: queueURL(dlq), MessageBody: &sh.event, MessageAttributes: map[string]sqstypes.MessageAttributeValue{}}
	for name, v := range attrs {
		in.MessageAttributes[name] = sqstypes.MessageAttributeValue{DataType: new("String"), StringValue: &v}
	}
	as := wire.As{Region: strings.Split(dlq, ":")[3], Principal: authz.ServicePrincipal("events", sh.ruleARN, s.Account)}
	if _, err := s.Caller.Call(ctx, as, in); err != nil && ctx.Err() == nil {
		if _, lasting := classify(err); !lasting {
			return event.Retry(backoff(attempts))
		}
		s.Log.Error("dead letter was refused", "rule", sh.ruleARN, "queue", dlq, "error", err)
	}
	return event.Done()
}
