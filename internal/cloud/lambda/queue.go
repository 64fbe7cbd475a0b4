package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/cloud/wire"
)

const (
	// pollers is how many batches of a queue are under way at a time, unless
	// the mapping says otherwise.
	pollers = 5
	// receiveMost is how many messages SQS gives at a time.
	receiveMost = 10
	// longPoll is how long a receive waits for messages, in seconds.
	longPoll = 20
)

// serveQueue receives messages and has the function do them until ctx ends or
// the queue fails.
func (x *runner) serveQueue(ctx context.Context) error {
	as, err := x.role(ctx)
	if err != nil {
		return err
	}
	p := strings.Split(*x.Config.EventSourceArn, ":")
	url, err := wire.Do[sqs.GetQueueUrlOutput](ctx, x.Caller, x.own(p[3]), &sqs.GetQueueUrlInput{QueueName: &p[5], QueueOwnerAWSAccountId: &p[4]})
	if err != nil {
		return err
	}
	n := pollers
	if c := x.Config.ScalingConfig; c != nil && c.MaximumConcurrency != nil {
		n = int(*c.MaximumConcurrency)
	}
	if strings.HasSuffix(p[5], ".fifo") {
		n = 1 // keeps the order of each group
	}
	slots := make(chan struct{}, n)
	var wg sync.WaitGroup
	defer wg.Wait()
	for ctx.Err() == nil {
		slots <- struct{}{} // who works frees it, also when ctx has ended
		if as, err = x.role(ctx); err != nil {
			return err
		}
		batch, err := x.receive(ctx, as, *url.QueueUrl)
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			<-slots
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := x.messages(ctx, as, *url.QueueUrl, batch); err != nil && ctx.Err() == nil {
				x.problem(err)
			}
		})
	}
	return ctx.Err()
}

// receive takes a batch: what is there, or more while the batching window of
// the first message lasts.
func (x *runner) receive(ctx context.Context, as wire.As, url string) (batch []sqstypes.Message, err error) {
	size := int(*x.Config.BatchSize)
	window := time.Duration(*x.Config.MaximumBatchingWindowInSeconds) * time.Second
	var until time.Time
	for wait := longPoll; len(batch) < size; {
		in := &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: int32(min(receiveMost, size-len(batch))), WaitTimeSeconds: int32(wait),
			MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"All"}, MessageAttributeNames: []string{"All"},
		}
		out, err := wire.Do[sqs.ReceiveMessageOutput](ctx, x.Caller, as, in)
		if err != nil {
			if len(batch) > 0 && ctx.Err() == nil {
				return batch, nil
			}
			return nil, err
		}
		batch = append(batch, out.Messages...)
		if len(batch) == 0 || window == 0 {
			return batch, nil
		}
		if until.IsZero() {
			until = time.Now().Add(window)
		}
		if wait = min(longPoll, int(time.Until(until)/time.Second)); wait < 1 {
			return batch, nil
		}
	}
	return batch, nil
}

// messages has the function do a batch, and deletes what it has done. The rest
// comes again when its visibility timeout is over.
func (x *runner) messages(ctx context.Context, as wire.As, url string, batch []sqstypes.Message) error {
	unwanted := func(m sqstypes.Message) bool { return x.filters != nil && !x.matches(messageDocument(x.message(&m))) }
	var drop []sqstypes.Message
	batch = slices.DeleteFunc(batch, func(m sqstypes.Message) bool {
		if unwanted(m) {
			drop = append(drop, m)
			return true
		}
		return false
	})
	if err := x.delete(ctx, as, url, drop); err != nil || len(batch) == 0 {
		return err
	}
	records := make([]messageRecord, len(batch))
	for i := range batch {
		records[i] = x.message(&batch[i])
	}
	payload, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		return err
	}
	out, err := x.call(ctx, payload)
	if err != nil || ctx.Err() != nil && out.failed != "" {
		return err // ended by the end of the cloud: the messages come again
	}
	done := batch
	if out.failed != "" {
		done = nil
	} else if x.partial() {
		items, all := itemFailures(out.payload)
		done = slices.DeleteFunc(slices.Clone(batch), func(m sqstypes.Message) bool { return all || slices.Contains(items, *m.MessageId) })
	}
	if len(done) == len(batch) {
		x.note("OK")
	} else {
		x.note("PROBLEM: Function call failed")
	}
	return x.delete(context.WithoutCancel(ctx), as, url, done)
}

func (x *runner) delete(ctx context.Context, as wire.As, url string, done []sqstypes.Message) error {
	var failed error
	for chunk := range slices.Chunk(done, receiveMost) {
		in := &sqs.DeleteMessageBatchInput{QueueUrl: &url}
		for _, m := range chunk {
			in.Entries = append(in.Entries, sqstypes.DeleteMessageBatchRequestEntry{Id: m.MessageId, ReceiptHandle: m.ReceiptHandle})
		}
		_, err := x.Caller.Call(ctx, as, in)
		failed = errors.Join(failed, err)
	}
	return failed
}

// A messageRecord is a message as a function gets it.
type messageRecord struct {
	ID         string                      `json:"messageId"`
	Handle     string                      `json:"receiptHandle"`
	Body       string                      `json:"body"`
	Attributes map[string]string           `json:"attributes"`
	Message    map[string]messageAttribute `json:"messageAttributes"`
	MD5        string                      `json:"md5OfBody"`
	MD5Attrs   string                      `json:"md5OfMessageAttributes,omitempty"`
	Source     string                      `json:"eventSource"`
	SourceARN  string                      `json:"eventSourceARN"`
	Region     string                      `json:"awsRegion"`
}

type messageAttribute struct {
	String *string  `json:"stringValue,omitempty"`
	Binary []byte   `json:"binaryValue,omitempty"`
	Texts  []string `json:"stringListValues"`
	Blobs  [][]byte `json:"binaryListValues"`
	Type   string   `json:"dataType"`
}

func (x *runner) message(m *sqstypes.Message) messageRecord {
	r := messageRecord{
		ID: *m.MessageId, Handle: *m.ReceiptHandle, Body: *m.Body, Attributes: m.Attributes, Message: map[string]messageAttribute{}, MD5: *m.MD5OfBody,
		Source: "aws:sqs", SourceARN: *x.Config.EventSourceArn, Region: x.Region,
	}
	if m.MD5OfMessageAttributes != nil {
		r.MD5Attrs = *m.MD5OfMessageAttributes
	}
	for k, v := range m.MessageAttributes {
		r.Message[k] = messageAttribute{String: v.StringValue, Binary: v.BinaryValue, Texts: []string{}, Blobs: [][]byte{}, Type: *v.DataType}
	}
	return r
}

// messageDocument is a message as filters see it: a body that is JSON is seen as such.
func messageDocument(r messageRecord) []byte {
	b, _ := json.Marshal(struct {
		messageRecord
		Body json.RawMessage `json:"body"`
	}{r, asJSON([]byte(r.Body))}) // plain data
	return b
}
