package sns

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const deliverKind = "sns.deliver"

// pause is how long to wait before the next try of a delivery to another
// service of AWS; over 23 days, then the message is given up.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html
func pause(attempts int) (d time.Duration, more bool) {
	switch {
	case attempts < 3:
		return 0, true
	case attempts < 5:
		return time.Second, true
	case attempts < 15:
		return time.Duration(1+2*(attempts-5)) * time.Second, true
	case attempts < 100_015:
		return 20 * time.Second, true
	}
	return 0, false
}

// deliver makes one try to bring a message to a subscriber. What the
// subscriber refuses for good, or too often, goes to the dead-letter queue.
func (s *Service) deliver(ctx context.Context, t event.Task) event.Result {
	var d delivery
	if err := json.Unmarshal(t.Body, &d); err != nil {
		s.Log.Error("delivery cannot be read", "id", t.ID, "error", err)
		return event.Done()
	}
	var sub subscription
	var found bool
	err := s.DB.View(func(tx *store.Tx) (err error) {
		sub, found, err = s.subscriptions.Get(tx, d.Subscription)
		return err
	})
	if err == nil && !found {
		return event.Done() // unsubscribed meanwhile
	}
	var m message
	if err == nil {
		m, err = s.open(ctx, t, d)
	}
	// A key that cannot be used now is not the subscriber's refusal, and
	// without it nothing could be sent to the dead-letter queue either.
	lasting := false
	if err == nil {
		err = s.send(ctx, sub, d.Subscription, m)
		lasting = permanent(err)
	}
	if err == nil || ctx.Err() != nil {
		return event.Done()
	}
	if wait, more := pause(t.Attempts); more && !lasting {
		return event.Retry(wait)
	}
	s.Log.Warn("message was not delivered", "subscription", d.Subscription, "error", err)
	return s.bury(ctx, sub, d, m, err, t.Attempts)
}

// permanent tells errors that no retry cures: the subscriber is gone or does
// not let SNS in.
func permanent(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorFault() == smithy.FaultClient && !strings.Contains(api.ErrorCode(), "Throttl") && api.ErrorCode() != "TooManyRequestsException"
}

func (s *Service) open(ctx context.Context, t event.Task, d delivery) (m message, err error) {
	b := d.Message
	if d.Wrap != nil {
		region, _ := s.regionOf(d.Topic)
		k, err := envelope.Unwrap(ctx, s.Caller, wire.As{Principal: *d.As, Region: region}, sealContext(d.Topic), d.Wrap)
		if err != nil {
			return m, err
		}
		if b, err = k.Open(b, []byte(t.ID)); err != nil {
			return m, fmt.Errorf("open message: %w", err)
		}
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("read message: %w", err)
	}
	return m, nil
}

// as is SNS itself, acting for the topic, in the region of an endpoint.
func (s *Service) as(topic, endpoint string) wire.As {
	return wire.As{Principal: authz.ServicePrincipal("sns", topic, s.Account), Region: strings.Split(endpoint, ":")[3]}
}

func (s *Service) send(ctx context.Context, sub subscription, arn string, m message) error {
	if sub.Protocol == "lambda" {
		body, err := json.Marshal(map[string]any{"Records": []any{map[string]any{
			"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": arn, "Sns": s.notification(m, arn, "lambda"),
		}}})
		if err != nil {
			return fmt.Errorf("write event: %w", err)
		}
		_, err = s.Caller.Call(ctx, s.as(m.Topic, sub.Endpoint), &lambda.InvokeInput{FunctionName: &sub.Endpoint, InvocationType: lambdatypes.InvocationTypeEvent, Payload: body})
		return err
	}
	in, err := s.letter(sub, arn, m)
	if err != nil {
		return err
	}
	_, err = s.Caller.Call(ctx, s.as(m.Topic, sub.Endpoint), in)
	return err
}

func queueURL(arn string) *string {
	p := strings.Split(arn, ":")
	return new("https://sqs." + p[3] + ".amazonaws.com/" + p[4] + "/" + p[5])
}

// letter is the message for a queue: as it is with raw delivery, in SNS's
// envelope otherwise.
func (s *Service) letter(sub subscription, arn string, m message) (*sqs.SendMessageInput, error) {
	in := &sqs.SendMessageInput{QueueUrl: queueURL(sub.Endpoint)}
	if strings.HasSuffix(sub.Endpoint, ".fifo") {
		in.MessageGroupId, in.MessageDeduplicationId = &m.Group, &m.Dedup
	}
	if sub.Attributes["RawMessageDelivery"] == "true" {
		in.MessageBody = new(m.text("sqs"))
		in.MessageAttributes = map[string]sqstypes.MessageAttributeValue{}
		for name, a := range m.Attributes {
			in.MessageAttributes[name] = sqstypes.MessageAttributeValue{DataType: a.DataType, StringValue: a.StringValue, BinaryValue: a.BinaryValue}
		}
		return in, nil
	}
	b, err := json.Marshal(s.notification(m, arn, "sqs"))
	if err != nil {
		return nil, fmt.Errorf("write notification: %w", err)
	}
	in.MessageBody = new(string(b))
	return in, nil
}

func (m message) text(protocol string) string {
	if t, ok := m.Texts[protocol]; ok {
		return t
	}
	return m.Text
}

// A notification is SNS's envelope, in the order of its members on AWS. The
// embedded cloud does not sign: it has no certificate that a receiver could trust.
// https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
type notification struct {
	Type              string
	MessageID         string `json:"MessageId"`
	SequenceNumber    string `json:",omitempty"`
	TopicArn          string
	Subject           string `json:",omitempty"`
	Message           string
	Timestamp         string
	UnsubscribeURL    string
	MessageAttributes map[string]attribute `json:",omitempty"`
}

type attribute struct{ Type, Value string }

func (s *Service) notification(m message, arn, protocol string) notification {
	region, _ := s.regionOf(m.Topic)
	n := notification{
		Type: "Notification", MessageID: m.ID, TopicArn: m.Topic, Subject: m.Subject, Message: m.text(protocol),
		Timestamp:      m.At.Format("2006-01-02T15:04:05.000Z"),
		UnsubscribeURL: "https://sns." + region + ".amazonaws.com/?Action=Unsubscribe&SubscriptionArn=" + arn,
	}
	if m.Sequence > 0 {
		n.SequenceNumber = fmt.Sprintf("%020d", m.Sequence)
	}
	for name, a := range m.Attributes {
		if n.MessageAttributes == nil {
			n.MessageAttributes = map[string]attribute{}
		}
		v := attribute{Type: *a.DataType}
		if a.StringValue != nil {
			v.Value = *a.StringValue
		} else {
			v.Value = base64.StdEncoding.EncodeToString(a.BinaryValue)
		}
		n.MessageAttributes[name] = v
	}
	return n
}

// bury sends what could not be delivered to the subscription's dead-letter
// queue; without one it is lost, as on AWS.
// https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html
func (s *Service) bury(ctx context.Context, sub subscription, d delivery, m message, cause error, attempts int) event.Result {
	dlq := sub.deadLetters()
	if dlq == "" || m.ID == "" {
		return event.Done()
	}
	in, err := s.letter(sub, d.Subscription, m)
	if err != nil {
		s.Log.Error("dead letter cannot be written", "subscription", d.Subscription, "error", err)
		return event.Done()
	}
	in.QueueUrl = queueURL(dlq)
	if in.MessageAttributes == nil {
		in.MessageAttributes = map[string]sqstypes.MessageAttributeValue{}
	}
	code, text := "InternalError", cause.Error()
	if api, ok := errors.AsType[smithy.APIError](cause); ok {
		code, text = api.ErrorCode(), api.ErrorMessage()
	}
	for name, v := range map[string]string{"RequestID": m.ID, "ErrorCode": code, "ErrorMessage": text} {
		in.MessageAttributes[name] = sqstypes.MessageAttributeValue{DataType: new("String"), StringValue: &v}
	}
	if _, err := s.Caller.Call(ctx, s.as(m.Topic, dlq), in); err != nil && ctx.Err() == nil {
		if permanent(err) {
			s.Log.Error("dead letter was refused", "subscription", d.Subscription, "queue", dlq, "error", err)
			return event.Done()
		}
		wait, _ := pause(attempts)
		return event.Retry(wait)
	}
	return event.Done()
}
