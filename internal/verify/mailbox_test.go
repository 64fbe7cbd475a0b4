package verify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// queue is a queue that moves away what is received too often.
type queue struct {
	mu       sync.Mutex
	max      int // receives
	next     int
	messages map[string]*queued // by receipt handle, which stays the same here
	lost     int
	received int         // how often somebody received
	mute     func() bool // whether the answer to a receive gets lost; nil: never
}

type queued struct {
	body     string
	receives int
	visible  time.Time
}

var _ queueAPI = (*queue)(nil)

func (q *queue) add(body string) {
	q.next++
	q.messages[fmt.Sprint("m", q.next)] = &queued{body: body}
}

func (q *queue) visible() (bodies []string) {
	for _, m := range q.messages {
		if !m.visible.After(time.Now()) {
			bodies = append(bodies, m.body)
		}
	}
	return bodies
}

func (q *queue) GetQueueUrl(context.Context, *sqs.GetQueueUrlInput, ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error) {
	return &sqs.GetQueueUrlOutput{QueueUrl: aws.String("http://queue")}, nil
}

func (q *queue) GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error) {
	policy := fmt.Sprintf(`{"deadLetterTargetArn":"arn","maxReceiveCount":"%d"}`, q.max)
	return &sqs.GetQueueAttributesOutput{Attributes: map[string]string{"RedrivePolicy": policy}}, nil
}

func (q *queue) ReceiveMessage(_ context.Context, in *sqs.ReceiveMessageInput, _ ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := &sqs.ReceiveMessageOutput{}
	defer func() { q.received++ }()
	for id, m := range q.messages {
		if m.visible.After(time.Now()) || len(out.Messages) == int(in.MaxNumberOfMessages) {
			continue
		}
		if m.receives++; m.receives > q.max {
			delete(q.messages, id)
			q.lost++
			continue
		}
		m.visible = time.Now().Add(time.Duration(in.VisibilityTimeout) * time.Second)
		out.Messages = append(out.Messages, types.Message{
			MessageId: &id, ReceiptHandle: &id, Body: &m.body,
			Attributes: map[string]string{"ApproximateReceiveCount": strconv.Itoa(m.receives)},
		})
	}
	if q.mute != nil && q.mute() {
		return nil, errLost
	}
	return out, nil
}

var errLost = errors.New("connection reset by peer")

func (q *queue) SendMessage(_ context.Context, in *sqs.SendMessageInput, _ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	q.add(*in.MessageBody)
	return &sqs.SendMessageOutput{}, nil
}

func (q *queue) DeleteMessage(_ context.Context, in *sqs.DeleteMessageInput, _ ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error) {
	delete(q.messages, *in.ReceiptHandle)
	return &sqs.DeleteMessageOutput{}, nil
}

func (q *queue) DeleteMessageBatch(_ context.Context, in *sqs.DeleteMessageBatchInput, _ ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range in.Entries {
		delete(q.messages, *e.ReceiptHandle)
	}
	return &sqs.DeleteMessageBatchOutput{}, nil
}

func (q *queue) ChangeMessageVisibility(_ context.Context, in *sqs.ChangeMessageVisibilityInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityOutput, error) {
	q.messages[*in.ReceiptHandle].visible = time.Now().Add(time.Duration(in.VisibilityTimeout) * time.Second)
	return &sqs.ChangeMessageVisibilityOutput{}, nil
}

func (q *queue) ChangeMessageVisibilityBatch(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := &sqs.ChangeMessageVisibilityBatchOutput{}
	for _, e := range in.Entries {
		m := q.messages[*e.ReceiptHandle]
		if m == nil || !m.visible.After(time.Now()) {
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("MessageNotInflight")})
			continue
		}
		m.visible = time.Now().Add(time.Duration(e.VisibilityTimeout) * time.Second)
		out.Successful = append(out.Successful, types.ChangeMessageVisibilityBatchResultEntry{Id: e.Id})
	}
	return out, nil
}

func about(id string) string { return `{"order_id":"` + id + `"}` }

// TestOthersKeepTheirMessages verifies again and again on one queue, which
// counts how often each message was received.
func TestOthersKeepTheirMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{max: 3, messages: map[string]*queued{}}
		for i := range 25 {
			q.add(about(fmt.Sprint("ord_other", i)))
		}
		q.add("not even JSON")
		for run := range 10 {
			mine := fmt.Sprint("ord_mine", run)
			q.add(about(mine))
			m := newMailbox(q, "notifications")
			if err := m.discard(t.Context(), mine); err != nil {
				t.Fatal(err)
			}
			if err := m.close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := len(q.visible()); got != 26 || q.lost > 0 {
				t.Fatalf("after run %d: %d messages to be seen, %d lost", run, got, q.lost)
			}
		}
	})
}

func TestMessagesReappearIfNobodyClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{max: 3, messages: map[string]*queued{}}
		q.add(about("ord_other"))
		m := newMailbox(q, "notifications")
		if _, err := m.find(t.Context(), "ord_mine", time.Second); err == nil {
			t.Error("found a message that is not there")
		}
		if len(q.visible()) != 0 {
			t.Error("a message was received and is still to be seen")
		}
		time.Sleep(hidden)
		if len(q.visible()) != 1 {
			t.Error("the message did not reappear")
		}
	})
}

func TestMessageThatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{max: 3, messages: map[string]*queued{}}
		m := newMailbox(q, "notifications")
		go func() {
			time.Sleep(10 * time.Second)
			m.mu.Lock() // the fake is not made for two users
			defer m.mu.Unlock()
			q.add(about("ord_mine"))
		}()
		letters, err := m.find(t.Context(), "ord_mine", time.Minute)
		if err != nil || len(letters) != 1 || letters[0].Body != about("ord_mine") {
			t.Errorf("%v, %v", letters, err)
		}
	})
}

func TestMaxReceives(t *testing.T) {
	for policy, want := range map[string]int{
		"": 0, "{": 0, `{"maxReceiveCount":5}`: 5, `{"maxReceiveCount":"7"}`: 7, `{"maxReceiveCount":"many"}`: 0, `{}`: 0,
	} {
		if got := maxReceives(policy); got != want {
			t.Errorf("%s: %d, want %d", policy, got, want)
		}
	}
}

func TestDiscardingWhatAnotherConsumerTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMailbox(&queue{max: 3, messages: map[string]*queued{}}, "notifications")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.discard(ctx, "ord_mine"); err != nil {
			t.Error(err)
		}
	})
}

// TestGatherAndDiscardMany takes many messages of some orders out of a queue
// and leaves those of others.
func TestGatherAndDiscardMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{max: 3, messages: map[string]*queued{}}
		mine := map[string]bool{}
		for i := range 95 {
			id := fmt.Sprint("ord_", i)
			q.add(about(id))
			if i%3 > 0 {
				mine[id] = true
			}
		}
		m := newMailbox(q, "q")
		if missing, err := m.gather(t.Context(), mine); err != nil || len(missing) > 0 {
			t.Fatalf("missing %v, %v", missing, err)
		}
		mine["ord_never"] = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if missing, err := m.gather(ctx, mine); err != nil || len(missing) != 1 || missing[0] != "ord_never" {
			t.Errorf("missing %v, %v", missing, err)
		}
		if err := m.discardAll(ctx, mine); err != nil {
			t.Error(err)
		}
		if err := m.close(t.Context()); err != nil {
			t.Error(err)
		}
		left := q.visible()
		if len(left) != 32 || q.lost > 0 || len(q.messages) != 32 {
			t.Errorf("%d of others are visible, %d are there, %d were moved away", len(left), len(q.messages), q.lost)
		}
	})
}

// TestALostAnswerHidesNothing loses the answer to a receive, with the cloud
// that is killed or with the patience of who waits: its messages are hidden,
// and must come again while somebody still waits for them.
func TestALostAnswerHidesNothing(t *testing.T) {
	ids := map[string]bool{}
	for i := range 8 {
		ids[fmt.Sprint("ord_", i)] = true
	}
	fill := func() *queue {
		q := &queue{max: 5, messages: map[string]*queued{}}
		for id := range ids {
			q.add(about(id))
		}
		return q
	}
	t.Run("with the connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := fill()
			q.mute = func() bool { return q.received == 0 }
			m := newMailbox(q, "notifications")
			if _, err := m.gather(t.Context(), ids); !errors.Is(err, errLost) {
				t.Fatalf("the first answer did not get lost: %v", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if missing, err := m.gather(ctx, ids); err != nil || len(missing) > 0 {
				t.Errorf("no message about %v: %v", missing, err)
			}
		})
	})
	t.Run("with the patience", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			q := fill()
			ctx, cancel := context.WithCancel(t.Context())
			q.mute = func() bool { cancel(); return false } // it arrives, and nobody waits any more
			m := newMailbox(q, "notifications")
			if missing, err := m.gather(ctx, ids); err != nil || len(missing) > 0 {
				t.Errorf("received, and not kept: %v, %v", missing, err)
			}
		})
	})
}
