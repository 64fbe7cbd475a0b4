package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/spf13/cobra"

	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

func (a *app) dlqCommand() *cobra.Command {
	var limit int
	list := &cobra.Command{
		Use:   "list",
		Short: "List what failed and why; the messages stay",
		Args:  args(cobra.NoArgs),
	}
	list.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		if limit <= 0 {
			return nil, usageError(list, fmt.Errorf("limit %d is not positive", limit))
		}
		_, s, err := a.stack(ctx, target.StartKnown)
		if err != nil {
			return nil, err
		}
		return listDeadLetters(ctx, s, limit)
	})
	list.Flags().IntVar(&limit, "limit", 100, "at most so many")
	return group(&cobra.Command{Use: "dlq", Short: "Look into the dead-letter queue"}, list)
}

// peekTime is how long messages are hidden while they are listed. If this
// process dies, they appear again after it.
const peekTime = 30 * time.Second

// listDeadLetters reads without consuming: SQS has no peek, so each message is
// received, hidden for a while, and shown again at the end. The queue has no
// redrive policy of its own, so receiving it often does it no harm.
func listDeadLetters(ctx context.Context, s *stack.Stack, limit int) (_ Result, err error) {
	url, err := s.Clients.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(s.DeadLetters())})
	if _, gone := errors.AsType[*types.QueueDoesNotExist](err); gone {
		return nil, fail(exitFailed, "run: miniforge up", fmt.Errorf("list dead letters: there is no stack %s in account %s, region %s", s.Name, s.Account, s.Region))
	} else if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	var taken []types.Message
	defer func() {
		// Also after Ctrl-C: they should not stay hidden.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), peekTime)
		defer cancel()
		err = errors.Join(err, putBack(back, s.Clients.SQS, *url.QueueUrl, taken))
	}()
	for len(taken) < limit {
		got, err := s.Clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: url.QueueUrl, MaxNumberOfMessages: int32(min(10, limit-len(taken))), VisibilityTimeout: int32(peekTime.Seconds()),
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
			// A second is enough for all of SQS's servers to be asked.
			WaitTimeSeconds: 1,
		})
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		if len(got.Messages) == 0 {
			break
		}
		taken = append(taken, got.Messages...)
	}
	r := dlqResult{Messages: make([]deadLetter, len(taken))}
	for i, m := range taken {
		r.Messages[i] = deadLetterOf(m)
	}
	slices.SortFunc(r.Messages, func(a, b deadLetter) int { return b.At.Compare(a.At) })
	return r, nil
}

func putBack(ctx context.Context, client *sqs.Client, url string, messages []types.Message) error {
	for batch := range slices.Chunk(messages, 10) {
		entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(batch))
		for i, m := range batch {
			entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0}
		}
		// An entry that fails comes back by itself when its time is over.
		if _, err := client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url, Entries: entries}); err != nil {
			return fmt.Errorf("show dead letters again: %w", err)
		}
	}
	return nil
}

// A deadLetter is a message of the queue. Those of the workflow name an order;
// those of the event rule, the mapping and the subscription carry what could
// not be delivered.
type deadLetter struct {
	MessageID    string    `json:"message_id"`
	OrderID      string    `json:"order_id,omitempty"`
	Code         string    `json:"code,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	ExecutionARN string    `json:"execution_arn,omitempty"`
	At           time.Time `json:"at"`
	Receives     int       `json:"receives"`
	Body         string    `json:"body"`
}

func deadLetterOf(m types.Message) deadLetter {
	d := deadLetter{MessageID: aws.ToString(m.MessageId), Body: aws.ToString(m.Body)}
	var body struct {
		OrderID      string `json:"order_id"`
		Code, Reason string
		ExecutionARN string `json:"execution_arn"`
	}
	if json.Unmarshal([]byte(d.Body), &body) == nil { // else it is of another kind
		d.OrderID, d.Code, d.Reason, d.ExecutionARN = body.OrderID, body.Code, body.Reason, body.ExecutionARN
	}
	sent, _ := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64)
	d.At = time.UnixMilli(sent).UTC()
	d.Receives, _ = strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	return d
}

type dlqResult struct {
	Messages []deadLetter `json:"messages"`
}

// Text implements Result.
func (r dlqResult) Text(p *ui.Page) {
	if len(r.Messages) == 0 {
		p.Line("The dead-letter queue is empty.")
		return
	}
	rows := make([][]string, len(r.Messages))
	for i, m := range r.Messages {
		reason := m.Reason
		if m.OrderID == "" {
			reason = shorten(m.Body)
		}
		rows[i] = []string{m.At.Format(time.RFC3339), ui.Clean(m.OrderID), ui.Clean(m.Code), ui.Clean(reason)}
	}
	p.Table([]string{"SENT", "ORDER", "CODE", "REASON"}, rows)
}
