package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// queueAPI is what a mailbox asks of SQS.
type queueAPI interface {
	GetQueueUrl(context.Context, *sqs.GetQueueUrlInput, ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error)
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	DeleteMessage(context.Context, *sqs.DeleteMessageInput, ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
	DeleteMessageBatch(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
	ChangeMessageVisibility(context.Context, *sqs.ChangeMessageVisibilityInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error)
	ChangeMessageVisibilityBatch(context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

var _ queueAPI = (*sqs.Client)(nil)

// mailbox reads a queue without taking from it what belongs to others. SQS has
// no peek: what is received is hidden for a while and counted. So each message
// is received once, kept until the mailbox is closed, and then put back; one
// that SQS would move to the dead-letter queue for being received too often is
// put back as a copy, which begins to count anew.
//
// If the process dies, all messages appear again after the time of hiding.
type mailbox struct {
	sqs  queueAPI
	name string

	mu          sync.Mutex
	url         string
	maxReceives int // 0: no limit
	seen        map[string]letter
}

// letter is a message that this mailbox holds.
type letter struct {
	Body    string
	OrderID string
	message types.Message
}

// hidden is how long messages are kept from others. Verification takes seconds
// on a local endpoint, minutes on AWS.
const hidden = 10 * time.Minute

// offered is how long a receive alone hides messages. Its answer may get lost
// with a connection or a process; then they are to come again while somebody
// still waits for them. Those that arrive are kept for longer by a second call.
const offered = 10 * time.Second

func newMailbox(api queueAPI, name string) *mailbox {
	return &mailbox{sqs: api, name: name, seen: map[string]letter{}}
}

// errNoLetter means that the queue was read, and did not have the message.
var errNoLetter = errors.New("no message")

// find waits for the messages about an order and returns those that are there.
func (m *mailbox) find(ctx context.Context, orderID string, within time.Duration) ([]letter, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not within %s", within))
	defer cancel()
	for {
		found, received, err := m.look(ctx, orderID)
		if len(found) > 0 {
			return found, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w about %s in %s: %w", errNoLetter, orderID, m.name, context.Cause(ctx))
		}
		if err != nil {
			return nil, err
		}
		if received > 0 {
			continue // there may be more at once
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond): // others want the lock, too
		}
	}
}

// look returns the messages about an order that have been received, after
// having received some more if there are none.
func (m *mailbox) look(ctx context.Context, orderID string) (found []letter, received int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if found = m.about(orderID); len(found) > 0 {
		return found, 0, nil
	}
	received, err = m.receive(ctx)
	return m.about(orderID), received, err
}

func (m *mailbox) about(orderID string) (found []letter) {
	for _, l := range m.seen {
		if l.OrderID == orderID {
			found = append(found, l)
		}
	}
	return found
}

func (m *mailbox) receive(ctx context.Context) (int, error) {
	if err := m.open(ctx); err != nil {
		return 0, err
	}
	got, err := m.ask(ctx)
	if err != nil {
		return 0, err
	}
	m.keep(got)
	return len(got), nil
}

// ask receives some messages and hides them from others. The mailbox must be open.
func (m *mailbox) ask(ctx context.Context) ([]types.Message, error) {
	out, err := m.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &m.url, MaxNumberOfMessages: 10, VisibilityTimeout: int32(offered.Seconds()),
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil {
		return nil, fmt.Errorf("receive from %s: %w", m.name, err)
	}
	if len(out.Messages) == 0 {
		return nil, nil
	}
	// Waiting may have ended; what has arrived is not given up for that.
	return m.hide(context.WithoutCancel(ctx), out.Messages)
}

// hide keeps up to ten messages that were just received from others, and
// returns those that are hidden: any other had appeared again, and will be
// received once more.
func (m *mailbox) hide(ctx context.Context, got []types.Message) (kept []types.Message, err error) {
	ctx, cancel := context.WithTimeout(ctx, offered)
	defer cancel()
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(got))
	for i, msg := range got {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: msg.ReceiptHandle, VisibilityTimeout: int32(hidden.Seconds())}
	}
	out, err := m.sqs.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &m.url, Entries: entries})
	if err != nil {
		return nil, fmt.Errorf("keep messages of %s: %w", m.name, err)
	}
	for _, e := range out.Successful {
		if i, err := strconv.Atoi(aws.ToString(e.Id)); err == nil && i >= 0 && i < len(got) {
			kept = append(kept, got[i])
		}
	}
	return kept, nil
}

func (m *mailbox) keep(got []types.Message) {
	for _, msg := range got {
		var body struct {
			OrderID string `json:"order_id"`
		}
		// A message of another kind is somebody's, and is put back.
		_ = json.Unmarshal([]byte(aws.ToString(msg.Body)), &body)
		m.seen[aws.ToString(msg.MessageId)] = letter{Body: aws.ToString(msg.Body), OrderID: body.OrderID, message: msg}
	}
}

func (m *mailbox) open(ctx context.Context) error {
	if m.url != "" {
		return nil
	}
	url, err := m.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &m.name})
	if err != nil {
		return fmt.Errorf("find queue %s: %w", m.name, err)
	}
	attrs, err := m.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: url.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameRedrivePolicy},
	})
	if err != nil {
		return fmt.Errorf("read redrive policy of %s: %w", m.name, err)
	}
	m.maxReceives = maxReceives(attrs.Attributes[string(types.QueueAttributeNameRedrivePolicy)])
	m.url = aws.ToString(url.QueueUrl)
	return nil
}

// maxReceives reads a redrive policy; the number may be written as a text.
func maxReceives(policy string) int {
	var p struct {
		Max any `json:"maxReceiveCount"`
	}
	if policy == "" || json.Unmarshal([]byte(policy), &p) != nil {
		return 0
	}
	n, err := strconv.Atoi(fmt.Sprint(p.Max))
	if err != nil {
		return 0
	}
	return n
}

// discard deletes all messages about an order, waiting for the first until ctx
// ends. That there is none is no error: another consumer may have taken it.
func (m *mailbox) discard(ctx context.Context, orderID string) error {
	found, err := m.find(ctx, orderID, hidden)
	if err != nil && ctx.Err() == nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // waiting has ended, deleting has not
	var errs []error
	for _, l := range found {
		errs = append(errs, m.delete(ctx, l))
	}
	return errors.Join(errs...)
}

func (m *mailbox) delete(ctx context.Context, l letter) error {
	m.mu.Lock()
	delete(m.seen, aws.ToString(l.message.MessageId))
	m.mu.Unlock()
	_, err := m.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &m.url, ReceiptHandle: l.message.ReceiptHandle})
	if err != nil {
		return fmt.Errorf("delete message from %s: %w", m.name, err)
	}
	return nil
}

// deleteBatch deletes up to ten messages that are not seen as kept any more.
func (m *mailbox) deleteBatch(ctx context.Context, letters []letter) error {
	entries := make([]types.DeleteMessageBatchRequestEntry, len(letters))
	for i, l := range letters {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: l.message.ReceiptHandle}
	}
	out, err := m.sqs.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &m.url, Entries: entries})
	if err == nil && len(out.Failed) > 0 {
		err = fmt.Errorf("%d of %d: %s", len(out.Failed), len(letters), aws.ToString(out.Failed[0].Message))
	}
	if err != nil {
		return fmt.Errorf("delete messages from %s: %w", m.name, err)
	}
	return nil
}

// close gives everything that is left back.
func (m *mailbox) close(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for id, l := range m.seen {
		if err := m.putBack(ctx, l); err != nil {
			errs = append(errs, fmt.Errorf("put message %s back into %s: %w", id, m.name, err))
			continue
		}
		delete(m.seen, id)
	}
	return errors.Join(errs...)
}

func (m *mailbox) putBack(ctx context.Context, l letter) error {
	received, _ := strconv.Atoi(l.message.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	if m.maxReceives == 0 || received < m.maxReceives {
		_, err := m.sqs.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
			QueueUrl: &m.url, ReceiptHandle: l.message.ReceiptHandle, VisibilityTimeout: 0,
		})
		return err
	}
	// The copy first: if the process dies in between there are two, not none.
	_, err := m.sqs.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: &m.url, MessageBody: l.message.Body, MessageAttributes: l.message.MessageAttributes,
	})
	if err != nil {
		return err
	}
	_, err = m.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &m.url, ReceiptHandle: l.message.ReceiptHandle})
	return err
}
