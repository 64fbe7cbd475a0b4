package sqs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A rig is the service on a memory store with its tasks running.
type rig struct {
	*Service
	t   *testing.T
	ctx context.Context
}

func newRig(t *testing.T) *rig {
	t.Helper()
	db := store.Memory()
	log := slog.New(slog.DiscardHandler)
	q := event.NewQueue(db, log)
	r := &rig{Service: New(Options{DB: db, Tasks: q, Signals: &event.Signals{}, Log: log, Account: "000000000000"}), t: t}
	m := wire.NewMux(wire.Options{Account: "000000000000"})
	r.Caller = m
	r.Register(m, q)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := q.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	r.ctx = wire.WithCall(t.Context(), &wire.Call{Service: "sqs", Region: "us-east-1", Account: "000000000000", Endpoint: "http://127.0.0.1"})
	return r
}

func (r *rig) make(name string, attrs map[string]string) *string {
	r.t.Helper()
	out, err := r.CreateQueue(r.ctx, &sdk.CreateQueueInput{QueueName: &name, Attributes: attrs})
	if err != nil {
		r.t.Fatal(err)
	}
	return out.QueueUrl
}

func (r *rig) put(url *string, body string) *sdk.SendMessageOutput {
	r.t.Helper()
	out, err := r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: url, MessageBody: &body})
	if err != nil {
		r.t.Fatal(err)
	}
	return out
}

func (r *rig) receive10(url *string, wait int32) []types.Message {
	r.t.Helper()
	out, err := r.ReceiveMessage(r.ctx, &sdk.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: wait, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"}, MessageAttributeNames: []string{"All"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return out.Messages
}

func bodies(list []types.Message) (out []string) {
	for _, m := range list {
		out = append(out, *m.Body)
	}
	return out
}

func (r *rig) expect(url *string, want ...string) []types.Message {
	r.t.Helper()
	got := r.receive10(url, 0)
	if !slices.Equal(bodies(got), want) {
		r.t.Errorf("received %q, want %q", bodies(got), want)
	}
	return got
}

func (r *rig) counts(url *string) string {
	r.t.Helper()
	out, err := r.GetQueueAttributes(r.ctx, &sdk.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil {
		r.t.Fatal(err)
	}
	a := out.Attributes
	return a["ApproximateNumberOfMessages"] + " " + a["ApproximateNumberOfMessagesNotVisible"] + " " + a["ApproximateNumberOfMessagesDelayed"]
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestVisibilityTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q", map[string]string{"VisibilityTimeout": "10"})
		r.put(u, "a")
		first := r.expect(u, "a")
		r.expect(u)
		if got := r.counts(u); got != "0 1 0" {
			t.Errorf("counts %s", got)
		}
		time.Sleep(10 * time.Second)
		second := r.expect(u, "a")
		if n := second[0].Attributes["ApproximateReceiveCount"]; n != "2" {
			t.Errorf("receive count %s", n)
		}
		// The handle of the first receive is stale: it deletes nothing.
		for _, m := range []types.Message{first[0], second[0]} {
			if got := r.counts(u); got != "0 1 0" {
				t.Errorf("counts %s", got)
			}
			if _, err := r.DeleteMessage(r.ctx, &sdk.DeleteMessageInput{QueueUrl: u, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Hour)
		r.expect(u)
	})
}

func TestChangeVisibilityMakesVisibleAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q", nil)
		r.put(u, "a")
		h := r.expect(u, "a")[0].ReceiptHandle
		if _, err := r.ChangeMessageVisibility(r.ctx, &sdk.ChangeMessageVisibilityInput{QueueUrl: u, ReceiptHandle: h}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.ChangeMessageVisibility(r.ctx, &sdk.ChangeMessageVisibilityInput{QueueUrl: u, ReceiptHandle: h}); code(err) != "MessageNotInflight" {
			t.Errorf("of a visible message: %v", err)
		}
		r.expect(u, "a")
	})
}

func TestLongPollEndsWhenAMessageComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q", nil)
		start := time.Now()
		if got := r.receive10(u, 20); len(got) != 0 || time.Since(start) != 20*time.Second {
			t.Errorf("empty: %v after %v", got, time.Since(start))
		}
		go func() { time.Sleep(3 * time.Second); r.put(u, "a") }()
		start = time.Now()
		if got := r.receive10(u, 20); len(got) != 1 || time.Since(start) != 3*time.Second {
			t.Errorf("sent meanwhile: %v after %v", bodies(got), time.Since(start))
		}
		start = time.Now() // the same one comes back when its timeout ends
		if got := r.receive10(u, 20); len(got) != 0 {
			t.Errorf("still hidden: %v", bodies(got))
		}
		if got := r.receive10(u, 20); len(got) != 1 || time.Since(start) != 30*time.Second {
			t.Errorf("visible again: %v after %v", bodies(got), time.Since(start))
		}
	})
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q", map[string]string{"DelaySeconds": "5"})
		r.put(u, "queue's")
		if _, err := r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: u, MessageBody: new("own"), DelaySeconds: 2}); err != nil {
			t.Fatal(err)
		}
		if got := r.counts(u); got != "0 0 2" {
			t.Errorf("counts %s", got)
		}
		time.Sleep(2 * time.Second)
		r.expect(u, "own")
		time.Sleep(3 * time.Second)
		r.expect(u, "queue's")
	})
}

func TestDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		dlq := r.make("dlq", nil)
		u := r.make("q", map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dlq","maxReceiveCount":"2"}`})
		sent := r.put(u, "poison")
		for range 2 {
			r.expect(u, "poison")
			time.Sleep(time.Second)
		}
		r.expect(u)
		got := r.expect(dlq, "poison")
		if *got[0].MessageId != *sent.MessageId || got[0].Attributes["DeadLetterQueueSourceArn"] != "arn:aws:sqs:us-east-1:000000000000:q" {
			t.Errorf("%v", got[0])
		}
		time.Sleep(time.Minute)
		if _, err := r.StartMessageMoveTask(r.ctx, &sdk.StartMessageMoveTaskInput{SourceArn: new("arn:aws:sqs:us-east-1:000000000000:dlq")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if back := r.expect(u, "poison"); back[0].Attributes["ApproximateReceiveCount"] != "1" {
			t.Errorf("moved back: %v", back[0].Attributes)
		}
		l, err := r.ListMessageMoveTasks(r.ctx, &sdk.ListMessageMoveTasksInput{SourceArn: new("arn:aws:sqs:us-east-1:000000000000:dlq")})
		if err != nil || len(l.Results) != 1 || *l.Results[0].Status != "COMPLETED" || l.Results[0].ApproximateNumberOfMessagesMoved != 1 {
			t.Errorf("%+v %v", l, err)
		}
	})
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q", map[string]string{"MessageRetentionPeriod": "60"})
		r.put(u, "a")
		time.Sleep(61 * time.Second)
		r.expect(u)
		r.put(u, "b")
		time.Sleep(2 * time.Hour) // the sweep has come by
		_ = r.DB.View(func(tx *store.Tx) error {
			for row := range messages.Range(tx, "", "") {
				t.Errorf("left: %s", row.Key)
			}
			return nil
		})
	})
}

func TestFIFO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "10"})
		send := func(group, body string) *sdk.SendMessageOutput {
			out, err := r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: u, MessageBody: &body, MessageGroupId: &group})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		first := send("g", "1")
		if again := send("g", "1"); *again.MessageId != *first.MessageId {
			t.Error("a duplicate got an id of its own")
		}
		send("g", "2")
		send("h", "3")
		one, err := r.ReceiveMessage(r.ctx, &sdk.ReceiveMessageInput{QueueUrl: u})
		if err != nil || !slices.Equal(bodies(one.Messages), []string{"1"}) {
			t.Fatalf("%v %v", one, err)
		}
		r.expect(u, "3") // group g waits for its first
		if _, err := r.DeleteMessage(r.ctx, &sdk.DeleteMessageInput{QueueUrl: u, ReceiptHandle: one.Messages[0].ReceiptHandle}); err != nil {
			t.Fatal(err)
		}
		r.expect(u, "2")
		time.Sleep(5 * time.Minute)
		if later := send("g", "1"); *later.MessageId == *first.MessageId {
			t.Error("deduplicated after the window")
		}
		if _, err := r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: u, MessageBody: new("x")}); code(err) != "MissingParameter" {
			t.Errorf("without a group: %v", err)
		}
	})
}

func TestMessageAttributesAndDigests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q", nil)
		attrs := map[string]types.MessageAttributeValue{
			"n": {DataType: new("Number"), StringValue: new("1")}, "b": {DataType: new("Binary"), BinaryValue: []byte{1, 2}},
		}
		sent, err := r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: u, MessageBody: new("hello"), MessageAttributes: attrs})
		if err != nil || *sent.MD5OfMessageBody != "5d41402abc4b2a76b9719d911017c592" {
			t.Fatalf("%v %v", sent, err)
		}
		got := r.expect(u, "hello")[0]
		if len(got.MessageAttributes) != 2 || *got.MD5OfMessageAttributes != *sent.MD5OfMessageAttributes {
			t.Errorf("%v", got)
		}
	})
}

func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q", nil)
		big := strings.Repeat("x", 1048577)
		for name, tc := range map[string]struct {
			err  error
			want string
		}{
			"no such queue":    {last(r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: new("http://h/0/none"), MessageBody: new("x")})), "QueueDoesNotExist"},
			"too large":        {last(r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: u, MessageBody: &big})), "InvalidParameterValue"},
			"control char":     {last(r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: u, MessageBody: new("\x00")})), "InvalidMessageContents"},
			"bad name":         {last(r.CreateQueue(r.ctx, &sdk.CreateQueueInput{QueueName: new("a b")})), "InvalidParameterValue"},
			"other attributes": {last(r.CreateQueue(r.ctx, &sdk.CreateQueueInput{QueueName: new("q"), Attributes: map[string]string{"DelaySeconds": "1"}})), "QueueNameExists"},
			"unknown attr":     {last(r.CreateQueue(r.ctx, &sdk.CreateQueueInput{QueueName: new("p"), Attributes: map[string]string{"Nope": "1"}})), "InvalidAttributeName"},
			"bad attr":         {last(r.SetQueueAttributes(r.ctx, &sdk.SetQueueAttributesInput{QueueUrl: u, Attributes: map[string]string{"VisibilityTimeout": "x"}})), "InvalidAttributeValue"},
			"bad policy":       {last(r.SetQueueAttributes(r.ctx, &sdk.SetQueueAttributesInput{QueueUrl: u, Attributes: map[string]string{"Policy": "{"}})), "InvalidAttributeValue"},
			"no dead letters":  {last(r.SetQueueAttributes(r.ctx, &sdk.SetQueueAttributesInput{QueueUrl: u, Attributes: map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:0:none","maxReceiveCount":1}`}})), "InvalidParameterValue"},
			"bad handle":       {last(r.DeleteMessage(r.ctx, &sdk.DeleteMessageInput{QueueUrl: u, ReceiptHandle: new("x")})), "ReceiptHandleIsInvalid"},
			"too many wanted":  {last(r.ReceiveMessage(r.ctx, &sdk.ReceiveMessageInput{QueueUrl: u, MaxNumberOfMessages: 11})), "InvalidParameterValue"},
			"own dead letters": {last(r.SetQueueAttributes(r.ctx, &sdk.SetQueueAttributesInput{QueueUrl: u, Attributes: map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:q","maxReceiveCount":1}`}})), "InvalidParameterValue"},
			"unknown wanted":   {last(r.ReceiveMessage(r.ctx, &sdk.ReceiveMessageInput{QueueUrl: u, AttributeNames: []types.QueueAttributeName{"Nope"}})), "InvalidAttributeName"},
			"empty batch":      {last(r.SendMessageBatch(r.ctx, &sdk.SendMessageBatchInput{QueueUrl: u})), "EmptyBatchRequest"},
			"same ids":         {last(r.SendMessageBatch(r.ctx, &sdk.SendMessageBatchInput{QueueUrl: u, Entries: []types.SendMessageBatchRequestEntry{{Id: new("a"), MessageBody: new("x")}, {Id: new("a"), MessageBody: new("y")}}})), "BatchEntryIdsNotDistinct"},
			"move without dlq": {last(r.StartMessageMoveTask(r.ctx, &sdk.StartMessageMoveTaskInput{SourceArn: new("arn:aws:sqs:us-east-1:000000000000:q")})), "InvalidParameterValue"},
		} {
			if got := code(tc.err); got != tc.want {
				t.Errorf("%s: got %s, want %s", name, got, tc.want)
			}
		}
		r.expect(u)
	})
}

func last[T any](_ T, err error) error { return err }

func TestBatchNamesWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q", nil)
		out, err := r.SendMessageBatch(r.ctx, &sdk.SendMessageBatchInput{QueueUrl: u, Entries: []types.SendMessageBatchRequestEntry{
			{Id: new("good"), MessageBody: new("x")}, {Id: new("bad"), MessageBody: new("y"), DelaySeconds: 901},
		}})
		if err != nil || len(out.Successful) != 1 || len(out.Failed) != 1 || *out.Failed[0].Id != "bad" {
			t.Fatalf("%+v %v", out, err)
		}
		r.expect(u, "x")
	})
}

func TestAZeroOfTheRequestIsNotTheQueuesDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q", map[string]string{"DelaySeconds": "60", "ReceiveMessageWaitTimeSeconds": "20"})
		says := func(body string) context.Context {
			c := *wire.CallOf(r.ctx)
			c.Body = []byte(body)
			return wire.WithCall(t.Context(), &c)
		}
		if _, err := r.SendMessage(says(`{"DelaySeconds":0}`), &sdk.SendMessageInput{QueueUrl: u, MessageBody: new("now")}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.SendMessageBatch(says(`{"Entries":[{},{"DelaySeconds":0}]}`), &sdk.SendMessageBatchInput{QueueUrl: u, Entries: []types.SendMessageBatchRequestEntry{
			{Id: new("a"), MessageBody: new("later")}, {Id: new("b"), MessageBody: new("now too")},
		}}); err != nil {
			t.Fatal(err)
		}
		if got := r.counts(u); got != "2 0 1" {
			t.Errorf("counts %s", got)
		}
		if _, err := r.ReceiveMessage(says(`{"VisibilityTimeout":0}`), &sdk.ReceiveMessageInput{QueueUrl: u, MaxNumberOfMessages: 10}); err != nil {
			t.Fatal(err)
		}
		if got := r.counts(u); got != "2 0 1" {
			t.Errorf("counts %s", got)
		}
		r.receive10(u, 0)
		start := time.Now()
		if _, err := r.ReceiveMessage(says(`{"WaitTimeSeconds":0}`), &sdk.ReceiveMessageInput{QueueUrl: u}); err != nil || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		r.receive10(u, 0) // of the queue's own wait
		if time.Since(start) != 20*time.Second {
			t.Errorf("after %v", time.Since(start))
		}
	})
}

func TestWhatIsBehindADeadLetterIsReceivedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		dlq := r.make("dlq", nil)
		u := r.make("q", map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dlq","maxReceiveCount":1}`})
		r.put(u, "poison")
		r.expect(u, "poison")
		time.Sleep(2 * time.Second)
		r.put(u, "good")
		start := time.Now()
		out, err := r.ReceiveMessage(r.ctx, &sdk.ReceiveMessageInput{QueueUrl: u, MaxNumberOfMessages: 1, WaitTimeSeconds: 20})
		if err != nil || !slices.Equal(bodies(out.Messages), []string{"good"}) || time.Since(start) != 0 {
			t.Errorf("%v %v after %v", out, err, time.Since(start))
		}
		r.expect(dlq, "poison")
	})
}

func TestHandlesOfAFIFOQueueExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		u := r.make("q.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "1"})
		if _, err := r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: u, MessageBody: new("a"), MessageGroupId: new("g")}); err != nil {
			t.Fatal(err)
		}
		h := r.expect(u, "a")[0].ReceiptHandle
		time.Sleep(time.Second)
		if _, err := r.DeleteMessage(r.ctx, &sdk.DeleteMessageInput{QueueUrl: u, ReceiptHandle: h}); err == nil || !strings.Contains(err.Error(), "The receipt handle has expired.") {
			t.Error(err)
		}
		r.expect(u, "a")
	})
}

// TestNobodyReceivesForACallerWhoIsGone gives up a receive before it takes
// anything: the message is there for the next.
func TestNobodyReceivesForACallerWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		out, err := r.CreateQueue(r.ctx, &sdk.CreateQueueInput{QueueName: new("q")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: out.QueueUrl, MessageBody: new("m")}); err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(r.ctx)
		cancel()
		if _, err := r.ReceiveMessage(gone, &sdk.ReceiveMessageInput{QueueUrl: out.QueueUrl}); !errors.Is(err, context.Canceled) {
			t.Errorf("received for nobody: %v", err)
		}
		if got, err := r.ReceiveMessage(r.ctx, &sdk.ReceiveMessageInput{QueueUrl: out.QueueUrl}); err != nil || len(got.Messages) != 1 {
			t.Errorf("%v, %v", got, err)
		}
	})
}
