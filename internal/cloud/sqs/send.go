package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerMessages(api *wire.API) {
	url := wire.Members("QueueUrl!")
	wire.Handle(api, s.SendMessage, wire.Members("QueueUrl!", "MessageBody!"), onURL(func(in *sdk.SendMessageInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.SendMessageBatch, url, judgedAs("SendMessage", func(in *sdk.SendMessageBatchInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.ReceiveMessage, url, onURL(func(in *sdk.ReceiveMessageInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.DeleteMessage, wire.Members("QueueUrl!", "ReceiptHandle!"), onURL(func(in *sdk.DeleteMessageInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.DeleteMessageBatch, url, judgedAs("DeleteMessage", func(in *sdk.DeleteMessageBatchInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.ChangeMessageVisibility, wire.Members("QueueUrl!", "ReceiptHandle!"), onURL(func(in *sdk.ChangeMessageVisibilityInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.ChangeMessageVisibilityBatch, url, judgedAs("ChangeMessageVisibility", func(in *sdk.ChangeMessageVisibilityBatchInput) *string { return in.QueueUrl }))
}

const traceHeader = "AWSTraceHeader"

// A letter is one message to be sent, of a single or of a batch request.
type letter struct {
	body  *string
	attrs map[string]types.MessageAttributeValue
	sys   map[string]types.MessageSystemAttributeValue
	delay time.Duration
	group *string
	dedup *string
}

// sentAs is what became of a letter.
type sentAs struct {
	id, md5   string
	attrsMD5  *string
	systemMD5 *string
	sequence  *string
}

// prepare judges a letter and makes a message of it whose content is yet to be sealed.
func (l letter) prepare(q queue, sender string, now time.Time) (m message, c content, out sentAs, err error) {
	size, err := check(l.body, l.attrs)
	if err != nil {
		return m, c, out, err
	}
	if limit := q.number("MaximumMessageSize"); size > limit {
		return m, c, out, invalidParameter(fmt.Sprintf("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", limit))
	}
	seconds := int(l.delay / time.Second)
	switch {
	case seconds < 0 || seconds > 900:
		return m, c, out, invalidParameter(fmt.Sprintf("Value %d for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.", seconds))
	case q.fifo() && l.delay == 0: // the order of a queue allows no message to overtake
		l.delay = q.seconds("DelaySeconds")
	case q.fifo() && l.delay != q.seconds("DelaySeconds"):
		return m, c, out, invalidParameter(fmt.Sprintf("Value %d for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.", seconds))
	}
	c = content{Body: *l.body, Attributes: l.attrs}
	system := map[string]types.MessageAttributeValue{}
	for name, a := range l.sys {
		if name != traceHeader || a.StringValue == nil || a.DataType == nil || *a.DataType != "String" {
			return m, c, out, invalidParameter("Message (system) attribute '" + name + "' is not a valid system attribute.")
		}
		c.Trace = *a.StringValue
		system[name] = types.MessageAttributeValue{DataType: a.DataType, StringValue: a.StringValue}
	}
	m = message{ID: uuid.NewString(), Sender: sender, Sent: now, Visible: now.Add(l.delay)}
	out = sentAs{id: m.ID, md5: md5Hex(*l.body), attrsMD5: md5OfAttributes(l.attrs), systemMD5: md5OfAttributes(system)}
	return m, c, out, l.order(q, &m)
}

var fifoID = regexp.MustCompile("^[A-Za-z0-9!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]+$")

// order sets group and deduplication id of a message of a FIFO queue.
func (l letter) order(q queue, m *message) error {
	for name, v := range map[string]*string{"MessageGroupId": l.group, "MessageDeduplicationId": l.dedup} {
		if v != nil && (len(*v) > 128 || !fifoID.MatchString(*v)) {
			return invalidParameter("Value " + *v + " for parameter " + name + " is invalid. Reason: " + name + " can only include alphanumeric and punctuation characters. 1 to 128 in length.")
		}
	}
	if !q.fifo() {
		if l.dedup != nil {
			return invalidParameter("Value " + *l.dedup + " for parameter MessageDeduplicationId is invalid. Reason: The request includes a parameter that is not valid for this queue type.")
		}
		if l.group != nil {
			m.Group = *l.group // for fairness among tenants only: it orders nothing
		}
		return nil
	}
	if l.group == nil {
		return wire.Errorf("MissingParameter", "The request must contain the parameter MessageGroupId.")
	}
	m.Group = *l.group
	switch {
	case l.dedup != nil:
		m.Dedup = *l.dedup
	case q.Attributes["ContentBasedDeduplication"] == "true":
		m.Dedup = md5Hex("dedup" + *l.body)
	default:
		return invalidParameter("The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	}
	return nil
}

const dedupWindow = 5 * time.Minute

// enqueue adds a message; one that a FIFO queue has seen in the last five
// minutes is accepted again without effect.
func enqueue(tx *store.Tx, key string, q *queue, m message, out *sentAs) error {
	if !q.fifo() {
		return put(tx, key, false, m, nil)
	}
	scope := m.Dedup
	if q.Attributes["DeduplicationScope"] == "messageGroup" {
		scope = m.Group + "\x00" + m.Dedup
	}
	seen, ok, err := dedups.Get(tx, rowKey(key, scope))
	if err != nil {
		return err
	}
	if ok && m.Sent.Before(seen.Until) {
		out.id, out.sequence = seen.ID, new(fmt.Sprintf("%020d", seen.Sequence))
		return nil
	}
	q.Sequence++
	m.Sequence = q.Sequence
	out.sequence = new(fmt.Sprintf("%020d", m.Sequence))
	if err := dedups.Put(tx, rowKey(key, scope), dedup{m.ID, m.Sequence, out.md5, m.Sent.Add(dedupWindow)}); err != nil {
		return err
	}
	if err := queues.Put(tx, key, *q); err != nil {
		return err
	}
	return put(tx, key, true, m, nil)
}

// send stores messages in one transaction.
func (s *Service) send(ctx context.Context, key string, all []message, outs []*sentAs) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		q, err := s.known(tx, key)
		if err != nil {
			return err
		}
		for i, m := range all {
			if err := enqueue(tx, key, &q, m, outs[i]); err != nil {
				return err
			}
		}
		tx.OnCommit(func() { s.Signals.Notify(s.arn(key)) })
		return nil
	})
}

func sender(p authz.Principal) string {
	if p.Type == authz.Service {
		return p.Service
	}
	return p.ID
}

// SendMessage adds a message.
func (s *Service) SendMessage(ctx context.Context, in *sdk.SendMessageInput) (*sdk.SendMessageOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	q, err := s.queue(key)
	if err != nil {
		return nil, err
	}
	c := wire.CallOf(ctx)
	l := letter{in.MessageBody, in.MessageAttributes, in.MessageSystemAttributes, time.Duration(in.DelaySeconds) * time.Second, in.MessageGroupId, in.MessageDeduplicationId}
	if in.DelaySeconds == 0 {
		l.delay = choose(ctx, "DelaySeconds", 0, q.seconds("DelaySeconds"))
	}
	m, secret, out, err := l.prepare(q, sender(c.Principal), time.Now().UTC())
	if err != nil {
		return nil, err
	}
	z, err := s.sealer(ctx, key, q)
	if err == nil {
		err = z.seal(&m, secret)
	}
	if err != nil {
		return nil, err
	}
	if err := s.send(ctx, key, []message{m}, []*sentAs{&out}); err != nil {
		return nil, err
	}
	return &sdk.SendMessageOutput{MessageId: &out.id, MD5OfMessageBody: &out.md5, MD5OfMessageAttributes: out.attrsMD5, MD5OfMessageSystemAttributes: out.systemMD5, SequenceNumber: out.sequence}, nil
}

var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// checkBatch judges a batch as a whole.
func checkBatch(ids []*string) error {
	if len(ids) == 0 {
		return &types.EmptyBatchRequest{Message: new("There should be at least one SendMessageBatchRequestEntry in the request.")}
	}
	if len(ids) > 10 {
		return &types.TooManyEntriesInBatchRequest{Message: new(fmt.Sprintf("Maximum number of entries per request are 10. You have sent %d.", len(ids)))}
	}
	seen := map[string]bool{}
	for _, id := range ids {
		switch {
		case id == nil || len(*id) > 80 || !entryID.MatchString(*id):
			return &types.InvalidBatchEntryId{Message: new("A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")}
		case seen[*id]:
			return &types.BatchEntryIdsNotDistinct{Message: new("Id " + *id + " repeated.")}
		}
		seen[*id] = true
	}
	return nil
}

const maxBatchBytes = 1048576

// letters are the entries of a batch.
func letters(ctx context.Context, q queue, in *sdk.SendMessageBatchInput) []letter {
	all := make([]letter, len(in.Entries))
	var raw struct{ Entries []json.RawMessage }
	if q.number("DelaySeconds") > 0 {
		_ = json.Unmarshal(wire.CallOf(ctx).Body, &raw) // none between services, where 0 is absent
	}
	for i, e := range in.Entries {
		all[i] = letter{e.MessageBody, e.MessageAttributes, e.MessageSystemAttributes, time.Duration(e.DelaySeconds) * time.Second, e.MessageGroupId, e.MessageDeduplicationId}
		if e.DelaySeconds == 0 && (i >= len(raw.Entries) || !has(raw.Entries[i], "DelaySeconds")) {
			all[i].delay = q.seconds("DelaySeconds")
		}
	}
	return all
}

// SendMessageBatch adds up to ten messages; those that are refused are named.
func (s *Service) SendMessageBatch(ctx context.Context, in *sdk.SendMessageBatchInput) (*sdk.SendMessageBatchOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	q, err := s.queue(key)
	if err != nil {
		return nil, err
	}
	if err := checkLetters(in.Entries); err != nil {
		return nil, err
	}
	z, err := s.sealer(ctx, key, q)
	if err != nil {
		return nil, err
	}
	out := &sdk.SendMessageBatchOutput{Successful: []types.SendMessageBatchResultEntry{}, Failed: []types.BatchResultErrorEntry{}}
	var all []message
	var outs []*sentAs
	var taken []*string
	now := time.Now().UTC()
	for i, l := range letters(ctx, q, in) {
		m, secret, o, err := l.prepare(q, sender(wire.CallOf(ctx).Principal), now)
		if err == nil {
			err = z.seal(&m, secret)
		}
		if err != nil {
			if out.Failed, err = failed(out.Failed, in.Entries[i].Id, err); err != nil {
				return nil, err
			}
			continue
		}
		all, outs, taken = append(all, m), append(outs, &o), append(taken, in.Entries[i].Id)
	}
	if len(all) > 0 {
		if err := s.send(ctx, key, all, outs); err != nil {
			return nil, err
		}
	}
	for i, o := range outs {
		out.Successful = append(out.Successful, types.SendMessageBatchResultEntry{
			Id: taken[i], MessageId: &o.id, MD5OfMessageBody: &o.md5, MD5OfMessageAttributes: o.attrsMD5, MD5OfMessageSystemAttributes: o.systemMD5, SequenceNumber: o.sequence,
		})
	}
	return out, nil
}

// checkLetters judges a batch of letters as a whole.
func checkLetters(entries []types.SendMessageBatchRequestEntry) error {
	var ids []*string
	total := 0
	for _, e := range entries {
		ids = append(ids, e.Id)
		if e.MessageBody != nil {
			total += len(*e.MessageBody)
		}
		total += sizeOf(e.MessageAttributes)
	}
	if err := checkBatch(ids); err != nil {
		return err
	}
	if total > maxBatchBytes {
		return &types.BatchRequestTooLong{Message: new(fmt.Sprintf("Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxBatchBytes, total))}
	}
	return nil
}

// failed adds an entry's error to a batch's answer; one that is not the
// caller's fails the whole batch.
func failed(list []types.BatchResultErrorEntry, id *string, err error) ([]types.BatchResultErrorEntry, error) {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return list, err
	}
	return append(list, types.BatchResultErrorEntry{Id: id, Code: new(api.ErrorCode()), Message: new(api.ErrorMessage()), SenderFault: true}), nil
}
