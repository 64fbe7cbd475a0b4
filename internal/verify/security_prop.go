package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/check"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
)

// A prop is what one check makes of its own beside the stack, and takes away
// when it ends.
type prop struct {
	stack *stack.Stack
	name  string
	undos []undo
}

// An undo takes away one thing.
type undo struct {
	what string
	do   func(context.Context) error
}

// undo notes how to take away what is about to be made: also of a call that is
// cut short, which may have made it.
func (p *prop) undo(what string, do func(context.Context) error) {
	p.undos = append(p.undos, undo{what, do})
}

// tidyTime is how long taking all away may take, also after an interrupt.
const tidyTime = 30 * time.Second

// close takes all away, the last first.
func (p *prop) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	absent := []string{"NotFound", "NotFoundException", "ResourceNotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}
	var errs []error
	for _, u := range slices.Backward(p.undos) {
		if err := u.do(ctx); err != nil && !slices.Contains(absent, code(err)) {
			errs = append(errs, fmt.Errorf("take away the %s %s: %w", u.what, p.name, err))
		}
	}
	return errors.Join(errs...)
}

// A propQueue is a queue that one stranger may send to.
type propQueue struct{ url, arn string }

// queues makes one for what a stranger may deliver, and one for what it is
// refused to deliver elsewhere.
func (p *prop) queues(ctx context.Context, service, source string) (heard, refused propQueue, err error) {
	if heard, err = p.queue(ctx, p.name+"-heard", service, source); err == nil {
		refused, err = p.queue(ctx, p.name+"-refused", service, source)
	}
	return heard, refused, err
}

func (p *prop) queue(ctx context.Context, name, service, source string) (propQueue, error) {
	q := propQueue{arn: p.stack.QueueARN(name)}
	c := p.stack.Clients.SQS
	p.undo("queue", func(ctx context.Context) error {
		url, err := c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
		if err == nil {
			_, err = c.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: url.QueueUrl})
		}
		return err
	})
	policy := resource.Policy{{
		Effect: "Allow", Principal: resource.Service(service), Action: []string{"sqs:SendMessage"}, Resource: []string{q.arn},
		Condition: resource.Conditions{"ArnEquals": {"aws:SourceArn": {source}}},
	}}
	out, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName: &name, Attributes: map[string]string{"Policy": policy.String()}, Tags: map[string]string{resource.StackTag: p.stack.Name},
	})
	if err != nil {
		return q, fmt.Errorf("make a queue: %w", err)
	}
	q.url = aws.ToString(out.QueueUrl)
	return q, nil
}

// claimRefused claims that something was delivered where it may be, so that it
// was on its way at all, and refused by what belongs to the stack.
func (p *prop) claimRefused(ctx context.Context, t *check.T, what string, heard, refused propQueue) error {
	for _, c := range []struct {
		queue            propQueue
		where, otherwise string
	}{
		{heard, "delivered to a queue that lets it", "not delivered"},
		{refused, "refused by the stack, and in its own dead-letter queue", "not refused"},
	} {
		m, err := p.receive(ctx, c.queue)
		if err != nil {
			return err
		}
		if m == nil {
			t.Claim(what, c.where, c.otherwise+": "+fmt.Sprint(context.Cause(ctx)), false)
			return nil
		}
		got := []string{c.where}
		for _, name := range []string{"ERROR_CODE", "ErrorCode", "ERROR_MESSAGE", "ErrorMessage"} {
			if a, ok := m.MessageAttributes[name]; ok {
				got = append(got, aws.ToString(a.StringValue))
			}
		}
		t.Claim(what, c.where, strings.Join(got, ": "), true)
	}
	return nil
}

// receive waits for a message; nil when ctx ends without one.
func (p *prop) receive(ctx context.Context, q propQueue) (*sqstypes.Message, error) {
	for ctx.Err() == nil {
		out, err := p.stack.Clients.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &q.url, WaitTimeSeconds: 10, MaxNumberOfMessages: 1, MessageAttributeNames: []string{"All"},
		})
		switch {
		case ctx.Err() != nil:
		case err != nil:
			return nil, fmt.Errorf("receive from %s: %w", q.arn, err)
		case len(out.Messages) > 0:
			return &out.Messages[0], nil
		}
	}
	return nil, nil //nolint:nilnil // no message is no error
}
