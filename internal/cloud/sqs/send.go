package sqs

import (
	"context"
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
	delay int32
	group *string
	dedup *string
}

// sentAs is what became of a letter.
type sentAs struct {
	id, md5  string
	attrsMD5 *string
	sequence *string
}

// prepare judges a letter and seals it as a message.
func (l letter) prepare(q queue, z sealer, sender string, now time.Time) (m message, out sentAs, err error) {
	size, err := check(l.body, l.attrs)
	if err != nil {
		return m, out, err
	}
	if limit := q.number("MaximumMessageSize"); size > limit {
		return m, out, invalidParameter(fmt.Sprintf("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", limit))
	}
	if l.delay < 0 || l.delay > 900 {
		return m, out, invalidParameter(fmt.Sprintf("Value %d for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.", l.delay))
	}
	c := content{Body: *l.body, Attributes: l.attrs}
	for name, a := range l.sys {
		if name != traceHeader || a.StringValue == nil {
			return m, out, invalidParameter("Message (system) attribute '" + name + "' is not a valid system attribute.")
		}
		c.Trace = *a.StringValue
	}
	m = message{ID: uuid.NewString(), Sender: sender, Sent: now, Visible: now.Add(q.seconds("DelaySeconds"))}
	if l.delay > 0 {
		if q.fifo() {
			return m, out, invalidParameter(fmt.Sprintf("Value %d for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.", l.delay))
		}
		m.Visible = now.Add(time.Duration(l.delay) * time.Second)
	}
	if err := l.order(q, &m); err != nil {
		return m, out, err
	}
	out = sentAs{id: m.ID, md5: md5Hex(*l.body), attrsMD5: md5OfAttributes(l.attrs)}
	return m, out, z.seal(&m, c)
}

var fifoID = regexp.MustCompile("^[A-Za-z0-9!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]{1,128}$")

// order sets group and deduplication id of a message of a FIFO queue.
func (l letter) order(q queue, m *message) error {
	for name, v := range map[string]*string{"MessageGroupId": l.group, "MessageDeduplicationId": l.dedup} {
		if v != nil && !fifoID.MatchString(*v) {
			return invalidParameter("Value " + *v + " for parameter " + name + " is invalid. Reason: " + name + " can only include alphanumeric and punctuation characters. 1 to 128 in length.")
		}
	}
	if !q.fifo() {
		if l.dedup != nil {
			return invalidParameter("Value " + *l.dedup + " for parameter MessageDeduplicationId is invalid. Reason: The request includes a parameter that is not valid for this queue type.")
		}
		return nil // a group of a standard queue is for fairness among tenants, of which there is one
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
		q, err := load(tx, key)
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
	z, err := s.sealer(ctx, key, q)
	if err != nil {
		return nil, err
	}
	l := letter{in.MessageBody, in.MessageAttributes, in.MessageSystemAttributes, in.DelaySeconds, in.MessageGroupId, in.MessageDeduplicationId}
	m, out, err := l.prepare(q, z, sender(wire.CallOf(ctx).Principal), time.Now().UTC())
	if err != nil {
		return nil, err
	}
	if err := s.send(ctx, key, []message{m}, []*sentAs{&out}); err != nil {
		return nil, err
	}
	return &sdk.SendMessageOutput{MessageId: &out.id, MD5OfMessageBody: &out.md5, MD5OfMessageAttributes: out.attrsMD5, SequenceNumber: out.sequence}, nil
}

var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

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
		case id == nil || !entryID.MatchString(*id):
			return &types.InvalidBatchEntryId{Message: new("A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")}
		case seen[*id]:
			return &types.BatchEntryIdsNotDistinct{Message: new("Id " + *id + " repeated.")}
		}
		seen[*id] = true
	}
	return nil
}

const maxBatchBytes = 1048576

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
	var ids []*string
	total := 0
	for _, e := range in.Entries {
		ids = append(ids, e.Id)
		if e.MessageBody != nil {
			total += len(*e.MessageBody)
		}
	}
	if err := checkBatch(ids); err != nil {
		return nil, err
	}
	if total > maxBatchBytes {
		return nil, &types.BatchRequestTooLong{Message: new(fmt.Sprintf("Batch requests cannot be longer than %d bytes. You have sent %d bytes.", maxBatchBytes, total))}
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
	for _, e := range in.Entries {
		l := letter{e.MessageBody, e.MessageAttributes, e.MessageSystemAttributes, e.DelaySeconds, e.MessageGroupId, e.MessageDeduplicationId}
		m, o, err := l.prepare(q, z, sender(wire.CallOf(ctx).Principal), now)
		if err != nil {
			if out.Failed, err = failed(out.Failed, e.Id, err); err != nil {
				return nil, err
			}
			continue
		}
		all, outs, taken = append(all, m), append(outs, &o), append(taken, e.Id)
	}
	if len(all) > 0 {
		if err := s.send(ctx, key, all, outs); err != nil {
			return nil, err
		}
	}
	for i, o := range outs {
		out.Successful = append(out.Successful, types.SendMessageBatchResultEntry{Id: taken[i], MessageId: &o.id, MD5OfMessageBody: &o.md5, MD5OfMessageAttributes: o.attrsMD5, SequenceNumber: o.sequence})
	}
	return out, nil
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
