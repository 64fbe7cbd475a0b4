package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// QueueAPI is what a Queue asks of SQS.
type QueueAPI interface {
	GetQueueUrl(context.Context, *sqs.GetQueueUrlInput, ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error)
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
	ReceiveMessage(context.Context, *sqs.ReceiveMessageInput, ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error)
	SendMessage(context.Context, *sqs.SendMessageInput, ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
	DeleteMessage(context.Context, *sqs.DeleteMessageInput, ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
	DeleteMessageBatch(context.Context, *sqs.DeleteMessageBatchInput, ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error)
	ChangeMessageVisibilityBatch(context.Context, *sqs.ChangeMessageVisibilityBatchInput, ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error)
}

var _ QueueAPI = (*sqs.Client)(nil)

// Queue takes letters out of the dead-letter queue for a while. SQS has no
// peek: each message is received, hidden from others, and shown again by Close
// unless it was deleted. The queue has no redrive policy of its own, so that
// receiving a message often does it no harm. If the process dies, its messages
// appear again after the time of hiding.
type Queue struct {
	sqs    QueueAPI
	url    string
	hidden time.Duration

	mu   sync.Mutex
	held map[string]Letter // by message id
}

// ErrNoQueue means that there is no such queue.
var ErrNoQueue = errors.New("no such queue")

// Open finds the queue of this name. Letters are hidden from others for so long.
func Open(ctx context.Context, api QueueAPI, name string, hidden time.Duration) (*Queue, error) {
	out, err := api.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if _, gone := errors.AsType[*types.QueueDoesNotExist](err); gone {
		return nil, fmt.Errorf("%w: %s", ErrNoQueue, name)
	} else if err != nil {
		return nil, fmt.Errorf("find queue %s: %w", name, err)
	}
	return &Queue{sqs: api, url: aws.ToString(out.QueueUrl), hidden: hidden, held: map[string]Letter{}}, nil
}

// Next receives up to most letters that have not been received before; none
// means that there are no more.
func (q *Queue) Next(ctx context.Context, most int) ([]Letter, error) {
	out, err := q.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: int32(min(10, most)), VisibilityTimeout: int32(q.hidden.Seconds()),
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		// A second is enough for all of SQS's servers to be asked.
		WaitTimeSeconds: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	var fresh []Letter
	for _, m := range out.Messages {
		l := Parse(m)
		if _, again := q.held[l.MessageID]; !again {
			fresh = append(fresh, l)
		}
		q.held[l.MessageID] = l // with the handle that is valid now
	}
	return fresh, nil
}

// All receives up to most letters, the newest first.
func (q *Queue) All(ctx context.Context, most int) ([]Letter, error) {
	letters := []Letter{}
	for len(letters) < most {
		fresh, err := q.Next(ctx, most-len(letters))
		if err != nil {
			return nil, err
		}
		if len(fresh) == 0 {
			break
		}
		letters = append(letters, fresh...)
	}
	slices.SortStableFunc(letters, func(a, b Letter) int { return b.At.Compare(a.At) })
	return letters, nil
}

// Delete deletes exactly this letter.
func (q *Queue) Delete(ctx context.Context, l Letter) error {
	handle := q.handle(l)
	if _, err := q.sqs.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &q.url, ReceiptHandle: &handle}); err != nil {
		return fmt.Errorf("delete dead letter %s: %w", l.MessageID, err)
	}
	q.forget(l)
	return nil
}

// handle is the newest receipt handle of a letter, which is the one that counts.
func (q *Queue) handle(l Letter) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held[l.MessageID].handle
}

func (q *Queue) forget(l Letter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.held, l.MessageID)
}

// Depth is how many letters there are, about: SQS counts no better.
func (q *Queue) Depth(ctx context.Context) (int, error) {
	visible, hidden := types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible
	out, err := q.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{visible, hidden}})
	if err != nil {
		return 0, fmt.Errorf("count dead letters: %w", err)
	}
	n, _ := strconv.Atoi(out.Attributes[string(visible)])
	m, _ := strconv.Atoi(out.Attributes[string(hidden)])
	return n + m, nil
}

// DeleteAll deletes exactly these letters and returns how many that were.
func (q *Queue) DeleteAll(ctx context.Context, letters []Letter) (int, error) {
	deleted := 0
	for chunk := range slices.Chunk(letters, 10) {
		entries := make([]types.DeleteMessageBatchRequestEntry, len(chunk))
		for i, l := range chunk {
			entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(q.handle(l))}
		}
		out, err := q.sqs.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: entries})
		if err != nil {
			return deleted, fmt.Errorf("delete dead letters: %w", err)
		}
		for _, done := range out.Successful {
			if i, err := strconv.Atoi(aws.ToString(done.Id)); err == nil && i >= 0 && i < len(chunk) {
				q.forget(chunk[i])
				deleted++
			}
		}
		if len(out.Failed) > 0 {
			return deleted, fmt.Errorf("delete dead letters: %d of %d: %s", len(out.Failed), len(chunk), aws.ToString(out.Failed[0].Message))
		}
	}
	return deleted, nil
}

// Close shows again what was received and not deleted. Call it also after a
// run that was cut short, with a context that is still alive.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var letters []Letter
	for _, l := range q.held {
		letters = append(letters, l)
	}
	for chunk := range slices.Chunk(letters, 10) {
		entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(chunk))
		for i, l := range chunk {
			entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: aws.String(l.handle), VisibilityTimeout: 0}
		}
		// An entry that fails comes back by itself when its time is over.
		if _, err := q.sqs.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url, Entries: entries}); err != nil {
			return fmt.Errorf("show dead letters again: %w", err)
		}
	}
	clear(q.held)
	return nil
}
