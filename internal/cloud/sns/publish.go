package sns

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	sdk "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/event/pattern"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// dedups remember messages of FIFO topics for five minutes: topic NUL id.
const (
	dedups      = store.Table[dedup]("sns.dedup")
	dedupWindow = 5 * time.Minute
)

type dedup struct {
	ID       string
	Sequence uint64
	Until    time.Time
}

func (s *Service) registerPublish(api *wire.API) {
	wire.Handle(api, s.Publish, wire.Members("Message!"), onTopic(target))
	wire.Handle(api, s.PublishBatch, wire.Members("TopicArn!"), wire.Needs(func(_ *wire.Call, in *sdk.PublishBatchInput) []authz.Access { return judge("Publish", *in.TopicArn) }))
}

func target(in *sdk.PublishInput) *string {
	if in.TopicArn != nil {
		return in.TopicArn
	}
	return in.TargetArn
}

// A message is what was published, as it is kept until every subscriber has it.
type message struct {
	ID         string
	Topic      string
	Text       string            // what most subscribers get
	Texts      map[string]string `json:",omitempty"` // by protocol, for MessageStructure json
	Subject    string            `json:",omitempty"`
	Attributes map[string]types.MessageAttributeValue
	At         time.Time
	Group      string `json:",omitempty"`
	Dedup      string `json:",omitempty"`
	Sequence   uint64 `json:",omitempty"`
}

// An entry is one message of a single or of a batch request.
type entry struct {
	message, subject, structure, group, dedup *string
	attrs                                     map[string]types.MessageAttributeValue
}

// maxBytes is SNS's limit of a message with its attributes: 256 KiB.
const maxBytes = 256 << 10

func (e entry) read(topicARN string, t topic) (m message, size int, err error) {
	m = message{ID: uuid.NewString(), Topic: topicARN, Attributes: e.attrs, At: time.Now().UTC()}
	if e.message == nil || *e.message == "" {
		return m, 0, invalid("Message", "Empty message")
	}
	m.Text = *e.message
	if !utf8.ValidString(m.Text) {
		return m, 0, invalid("Message", "Invalid character")
	}
	if e.subject != nil {
		if m.Subject = *e.subject; m.Subject == "" || len(m.Subject) > 100 || strings.ContainsAny(m.Subject, "\r\n") {
			return m, 0, invalid("Subject", "")
		}
	}
	if e.structure != nil {
		if err := m.structured(*e.structure); err != nil {
			return m, 0, err
		}
	}
	if size, err = checkAttributes(e.attrs); err != nil {
		return m, 0, err
	}
	if size += len(*e.message); size > maxBytes {
		return m, 0, invalid("Message", "Message too long")
	}
	return m, size, e.order(t, &m)
}

// structured reads a message that differs by protocol.
func (m *message) structured(kind string) error {
	if kind != "json" {
		return invalid("MessageStructure", "")
	}
	var texts map[string]any
	if json.Unmarshal([]byte(m.Text), &texts) != nil {
		return invalid("Message Structure", "JSON message body failed to parse")
	}
	m.Texts = map[string]string{}
	for k, v := range texts {
		if s, ok := v.(string); ok {
			m.Texts[k] = s
		}
	}
	if _, ok := m.Texts["default"]; !ok {
		return invalid("Message Structure", "No default entry in JSON message body")
	}
	m.Text = m.Texts["default"]
	return nil
}

var attributeName = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)

func checkAttributes(attrs map[string]types.MessageAttributeValue) (size int, err error) {
	for name, a := range attrs {
		if len(name) > 256 || !attributeName.MatchString(name) {
			return 0, &types.InvalidParameterValueException{Message: new("The message attribute name '" + name + "' is invalid.")}
		}
		if a.DataType == nil || *a.DataType == "" {
			return 0, &types.InvalidParameterValueException{Message: new("The message attribute '" + name + "' must contain non-empty message attribute type.")}
		}
		kind, _, _ := strings.Cut(*a.DataType, ".")
		switch {
		case kind != "String" && kind != "Number" && kind != "Binary":
			return 0, &types.InvalidParameterValueException{Message: new("The message attribute '" + name + "' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.")}
		case kind == "Binary" && len(a.BinaryValue) == 0, kind != "Binary" && (a.StringValue == nil || *a.StringValue == ""):
			return 0, &types.InvalidParameterValueException{Message: new("The message attribute '" + name + "' must contain non-empty message attribute value for message attribute type '" + *a.DataType + "'.")}
		}
		size += len(name) + len(*a.DataType) + len(a.BinaryValue)
		if a.StringValue != nil {
			size += len(*a.StringValue)
		}
	}
	return size, nil
}

// order sets group and deduplication id for FIFO topics.
func (e entry) order(t topic, m *message) error {
	if !t.fifo() {
		if e.dedup != nil {
			return invalid("MessageDeduplicationId", "The request includes MessageDeduplicationId parameter that is not valid for this topic type")
		}
		if e.group != nil {
			m.Group = *e.group
		}
		return nil
	}
	if e.group == nil || *e.group == "" {
		return invalid("MessageGroupId", "The MessageGroupId parameter is required for FIFO topics")
	}
	m.Group = *e.group
	switch {
	case e.dedup != nil:
		m.Dedup = *e.dedup
	case t.Attributes["ContentBasedDeduplication"] == "true":
		sum := sha256.Sum256([]byte(m.Text))
		m.Dedup = hex.EncodeToString(sum[:])
	default:
		return invalid("MessageDeduplicationId", "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	return nil
}

// A delivery is the body of a delivery task: a message on its way to one
// subscription. Under a topic with a KMS key, the message is sealed, and as
// names the publisher, in whose name it may be opened again.
type delivery struct {
	Subscription string
	Message      []byte
	Wrap         []byte           `json:",omitempty"`
	As           *authz.Principal `json:",omitempty"`
	Topic        string
}

func sealContext(topic string) map[string]string { return map[string]string{"aws:sns:topicArn": topic} }

// publish accepts a message: in one transaction it sets off its delivery to
// every subscription whose filter lets it pass.
func (s *Service) publish(ctx context.Context, topicARN string, e entry) (id string, sequence *string, err error) {
	var t topic
	if err := s.DB.View(func(tx *store.Tx) error { t, err = s.topic(tx, topicARN); return err }); err != nil {
		return "", nil, err
	}
	m, _, err := e.read(topicARN, t)
	if err != nil {
		return "", nil, err
	}
	var key *envelope.Key
	as := wire.CallOf(ctx).As("sns")
	if k := t.Attributes["KmsMasterKeyId"]; k != "" && k != "alias/aws/sns" {
		if key, err = envelope.NewKey(ctx, s.Caller, as, k, sealContext(topicARN)); err != nil {
			return "", nil, kmsError(err)
		}
	}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		t, err := s.topic(tx, topicARN)
		if err != nil {
			return err
		}
		if done, err := s.sequence(tx, topicARN, &t, &m); done || err != nil {
			return err
		}
		return s.fanOut(tx, m, key, as.Principal)
	})
	if m.Sequence > 0 {
		sequence = new(fmt.Sprintf("%020d", m.Sequence))
	}
	return m.ID, sequence, err
}

// sequence numbers a message of a FIFO topic, unless it is a duplicate.
func (s *Service) sequence(tx *store.Tx, arn string, t *topic, m *message) (duplicate bool, err error) {
	if !t.fifo() {
		return false, nil
	}
	k := arn + "\x00" + m.Dedup
	seen, ok, err := dedups.Get(tx, k)
	if err != nil {
		return false, err
	}
	if ok && m.At.Before(seen.Until) {
		m.ID, m.Sequence = seen.ID, seen.Sequence
		return true, nil
	}
	t.Sequence++
	m.Sequence = t.Sequence
	if err := dedups.Put(tx, k, dedup{m.ID, m.Sequence, m.At.Add(dedupWindow)}); err != nil {
		return false, err
	}
	return false, topics.Put(tx, arn, *t)
}

func (s *Service) fanOut(tx *store.Tx, m message, key *envelope.Key, publisher authz.Principal) error {
	plain, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	for r, err := range s.subscriptions.Prefix(tx, m.Topic+":") {
		if err != nil {
			return err
		}
		pass, err := r.Value.passes(m)
		if err != nil {
			return err
		}
		if !pass {
			continue
		}
		d := delivery{Subscription: r.Key, Message: plain, Topic: m.Topic}
		if key != nil {
			d.Message, d.Wrap, d.As = key.Seal(plain, []byte(m.ID+r.Key)), key.Wrapped, &publisher
		}
		body, err := json.Marshal(d)
		if err != nil {
			return fmt.Errorf("write delivery: %w", err)
		}
		task := event.Task{Kind: deliverKind, ID: m.ID + r.Key, Body: body}
		if m.Sequence > 0 {
			task.Lane = r.Key + m.Group
		}
		if err := s.Tasks.Send(tx, task); err != nil {
			return err
		}
	}
	return nil
}

// passes judges a message by the subscription's filter policy.
func (sub subscription) passes(m message) (bool, error) {
	p, err := compile(sub.Attributes["FilterPolicy"])
	if err != nil || p == nil {
		return err == nil, err
	}
	if sub.Attributes["FilterPolicyScope"] == "MessageBody" {
		v, err := pattern.Decode([]byte(m.Text))
		_, isObject := v.(map[string]any)
		return err == nil && isObject && p.MatchValue(v), nil // what is no JSON object passes no filter on it
	}
	return p.MatchValue(filterable(m.Attributes)), nil
}

// filterable is message attributes as a filter policy sees them.
func filterable(attrs map[string]types.MessageAttributeValue) map[string]any {
	out := map[string]any{}
	for name, a := range attrs {
		if a.StringValue == nil {
			continue
		}
		out[name] = *a.StringValue
		if *a.DataType == "Number" {
			out[name] = json.Number(*a.StringValue)
		}
		if *a.DataType == "String.Array" {
			if v, err := pattern.Decode([]byte(*a.StringValue)); err == nil {
				out[name] = v
			}
		}
	}
	return out
}

// Publish sends a message to a topic.
func (s *Service) Publish(ctx context.Context, in *sdk.PublishInput) (*sdk.PublishOutput, error) {
	arn := target(in)
	if arn == nil || in.PhoneNumber != nil {
		return nil, invalid("TopicArn", "the embedded cloud publishes to topics only")
	}
	if _, ok := s.regionOf(*arn); !ok {
		return nil, invalid("TopicArn", "")
	}
	id, seq, err := s.publish(ctx, *arn, entry{in.Message, in.Subject, in.MessageStructure, in.MessageGroupId, in.MessageDeduplicationId, in.MessageAttributes})
	if err != nil {
		return nil, err
	}
	return &sdk.PublishOutput{MessageId: &id, SequenceNumber: seq}, nil
}

var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// PublishBatch sends up to ten messages; those that are refused are named.
func (s *Service) PublishBatch(ctx context.Context, in *sdk.PublishBatchInput) (*sdk.PublishBatchOutput, error) {
	if err := checkBatch(in.PublishBatchRequestEntries); err != nil {
		return nil, err
	}
	if err := s.DB.View(func(tx *store.Tx) error { _, err := loadTopic(tx, *in.TopicArn); return err }); err != nil {
		return nil, err
	}
	out := &sdk.PublishBatchOutput{Successful: []types.PublishBatchResultEntry{}, Failed: []types.BatchResultErrorEntry{}}
	for _, e := range in.PublishBatchRequestEntries {
		id, seq, err := s.publish(ctx, *in.TopicArn, entry{e.Message, e.Subject, e.MessageStructure, e.MessageGroupId, e.MessageDeduplicationId, e.MessageAttributes})
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: new(api.ErrorCode()), Message: new(api.ErrorMessage()), SenderFault: true})
			continue
		} else if err != nil {
			return nil, err
		}
		out.Successful = append(out.Successful, types.PublishBatchResultEntry{Id: e.Id, MessageId: &id, SequenceNumber: seq})
	}
	return out, nil
}

func checkBatch(entries []types.PublishBatchRequestEntry) error {
	switch {
	case len(entries) == 0:
		return &types.EmptyBatchRequestException{Message: new("The batch request doesn't contain any entries.")}
	case len(entries) > 10:
		return &types.TooManyEntriesInBatchRequestException{Message: new("The batch request contains more entries than permissible.")}
	}
	seen, size := map[string]bool{}, 0
	for _, e := range entries {
		switch {
		case e.Id == nil || !entryID.MatchString(*e.Id):
			return &types.InvalidBatchEntryIdException{Message: new("The Id of a batch entry in the batch request contains an impermissible character: " + deref(e.Id))}
		case len(*e.Id) > 80:
			return &types.InvalidBatchEntryIdException{Message: new("The Id of a batch entry in the batch request is too long: " + *e.Id)}
		case seen[*e.Id]:
			return &types.BatchEntryIdsNotDistinctException{Message: new("Two or more batch entries in the request have the same Id.")}
		}
		seen[*e.Id] = true
		size += len(deref(e.Message))
	}
	if size > maxBytes {
		return &types.BatchRequestTooLongException{Message: new("The length of all the messages put together is more than the limit.")}
	}
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
