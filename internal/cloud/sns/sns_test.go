package sns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	sdk "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A rig is the service with a queue service that notes, or refuses, what it gets.
type rig struct {
	*Service
	t   *testing.T
	ctx context.Context

	mu   sync.Mutex
	got  []*sqs.SendMessageInput
	as   []string
	fail func(queue string, n int) error

	denied atomic.Int32 // how often KMS is still to refuse to decrypt
}

func (r *rig) SendMessage(ctx context.Context, in *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := wire.CallOf(ctx).Principal
	r.as = append(r.as, p.Service+" for "+p.Source)
	if r.fail != nil {
		if err := r.fail((*in.QueueUrl)[strings.LastIndexByte(*in.QueueUrl, '/')+1:], len(r.as)); err != nil {
			return nil, err
		}
	}
	r.got = append(r.got, in)
	return &sqs.SendMessageOutput{MessageId: new("m")}, nil
}

func newRig(t *testing.T) *rig {
	t.Helper()
	db := store.Memory()
	log := slog.New(slog.DiscardHandler)
	q := event.NewQueue(db, log)
	m := wire.NewMux(wire.Options{Account: "000000000000"})
	r := &rig{Service: New(Options{DB: db, Tasks: q, Caller: m, Log: log, Account: "000000000000"}), t: t}
	r.Register(m, q)
	wire.Handle(m.API(wire.API{Service: "sqs", Target: "AmazonSQS"}), r.SendMessage)
	keys := m.API(wire.API{Service: "kms", Target: "TrentService"})
	wire.Handle(keys, func(context.Context, *kms.GenerateDataKeyInput) (*kms.GenerateDataKeyOutput, error) {
		return &kms.GenerateDataKeyOutput{Plaintext: make([]byte, 32), CiphertextBlob: []byte("wrapped"), KeyId: new("key")}, nil
	})
	wire.Handle(keys, func(context.Context, *kms.DecryptInput) (*kms.DecryptOutput, error) {
		if r.denied.Add(-1) >= 0 {
			return nil, wire.Errorf("AccessDeniedException", "not now")
		}
		return &kms.DecryptOutput{Plaintext: make([]byte, 32), KeyId: new("key")}, nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := q.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	r.ctx = wire.WithCall(t.Context(), &wire.Call{Service: "sns", Region: "us-east-1", Account: "000000000000"})
	return r
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (r *rig) topic(name string) *string {
	return must(r.CreateTopic(r.ctx, &sdk.CreateTopicInput{Name: &name})).TopicArn
}

func (r *rig) subscribe(topic *string, queue string, attrs map[string]string) *string {
	return must(r.Subscribe(r.ctx, &sdk.SubscribeInput{TopicArn: topic, Protocol: new("sqs"), Endpoint: new("arn:aws:sqs:us-east-1:000000000000:" + queue), Attributes: attrs})).SubscriptionArn
}

func (r *rig) expect(want ...string) {
	r.t.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var got []string
	for _, in := range r.got {
		got = append(got, (*in.QueueUrl)[strings.LastIndexByte(*in.QueueUrl, '/')+1:]+": "+*in.MessageBody)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		r.t.Errorf("delivered %q, want %q", got, want)
	}
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestRawDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		topic := r.topic("t")
		r.subscribe(topic, "q", map[string]string{"RawMessageDelivery": "true"})
		must(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new("hello"), MessageAttributes: map[string]types.MessageAttributeValue{"a": {DataType: new("String"), StringValue: new("b")}}}))
		r.expect("q: hello")
		if *r.got[0].MessageAttributes["a"].StringValue != "b" || r.as[0] != "sns.amazonaws.com for "+*topic {
			t.Errorf("%v as %v", r.got[0].MessageAttributes, r.as)
		}
	})
}

func TestEnvelope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		topic := r.topic("t")
		r.subscribe(topic, "q", nil)
		out := must(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new(`{"default":"d","sqs":"for queues"}`), MessageStructure: new("json"), Subject: new("s")}))
		synctest.Wait()
		var n notification
		if err := json.Unmarshal([]byte(*r.got[0].MessageBody), &n); err != nil {
			t.Fatal(err)
		}
		if n.Type != "Notification" || n.MessageID != *out.MessageId || n.Message != "for queues" || n.Subject != "s" || n.TopicArn != *topic {
			t.Errorf("%+v", n)
		}
	})
}

func TestFilterPolicies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		topic := r.topic("t")
		raw := func(policy, scope string) map[string]string {
			m := map[string]string{"RawMessageDelivery": "true", "FilterPolicy": policy}
			if scope != "" {
				m["FilterPolicyScope"] = scope
			}
			return m
		}
		r.subscribe(topic, "attr", raw(`{"kind":["a"],"n":[{"numeric":[">",1]}]}`, ""))
		r.subscribe(topic, "body", raw(`{"kind":["b"]}`, "MessageBody"))
		r.subscribe(topic, "list", raw(`{"tags":["y"]}`, ""))
		attrs := func(kind, n string) map[string]types.MessageAttributeValue {
			return map[string]types.MessageAttributeValue{
				"kind": {DataType: new("String"), StringValue: &kind}, "n": {DataType: new("Number"), StringValue: &n}, "tags": {DataType: new("String.Array"), StringValue: new(`["x","y"]`)},
			}
		}
		must(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new("1"), MessageAttributes: attrs("a", "2")}))
		must(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new("2"), MessageAttributes: attrs("a", "1")}))
		must(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new(`{"kind":"b"}`)}))
		r.expect("attr: 1", `body: {"kind":"b"}`, "list: 1", "list: 2")
	})
}

func TestTransientErrorsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.fail = func(_ string, n int) error {
			if n < 7 {
				return &wire.Error{Code: "InternalError", Server: true}
			}
			return nil
		}
		topic := r.topic("t")
		r.subscribe(topic, "q", map[string]string{"RawMessageDelivery": "true"})
		start := time.Now()
		must(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new("hello")}))
		time.Sleep(time.Minute)
		r.expect("q: hello")
		if len(r.as) != 7 || time.Since(start) != time.Minute {
			t.Errorf("%d tries", len(r.as))
		}
	})
}

// TestKeyOutageLosesNothing: what the topic has taken outlives a time in which
// its key cannot be used.
func TestKeyOutageLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		topic := must(r.CreateTopic(r.ctx, &sdk.CreateTopicInput{Name: new("t"), Attributes: map[string]string{"KmsMasterKeyId": "key"}})).TopicArn
		r.subscribe(topic, "q", map[string]string{"RawMessageDelivery": "true", "RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead"}`})
		r.denied.Store(2)
		must(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new("hello")}))
		time.Sleep(time.Minute)
		r.expect("q: hello")
	})
}

func TestRefusedDeliveriesGoToTheDeadLetterQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.fail = func(queue string, _ int) error {
			if queue == "gone" {
				return &sqstypes.QueueDoesNotExist{Message: new("The specified queue does not exist.")}
			}
			return nil
		}
		topic := r.topic("t")
		r.subscribe(topic, "gone", map[string]string{"RawMessageDelivery": "true", "RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dlq"}`})
		must(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new("hello")}))
		r.expect("dlq: hello")
		if got := *r.got[0].MessageAttributes["ErrorMessage"].StringValue; got != "The specified queue does not exist." || len(r.as) != 2 {
			t.Errorf("%q after %d tries", got, len(r.as))
		}
	})
}

func TestDeliveryOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.fail = func(_ string, n int) error {
			if n <= 4 {
				return &wire.Error{Code: "InternalError", Server: true}
			}
			return nil
		}
		topic := r.topic("t")
		r.subscribe(topic, "q", map[string]string{"RawMessageDelivery": "true"})
		must(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new("hello")}))
		synctest.Wait() // four tries, the next is due in a second
		r.expect()
		if err := r.DB.View(func(tx *store.Tx) error {
			n := 0
			for range store.Table[json.RawMessage]("event.tasks").Range(tx, "", "") {
				n++
			}
			if n != 1 {
				t.Errorf("%d tasks in the store", n)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		r.expect("q: hello")
	})
}

func TestFIFOKeepsOrderAndDropsDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		topic := must(r.CreateTopic(r.ctx, &sdk.CreateTopicInput{Name: new("t.fifo"), Attributes: map[string]string{"FifoTopic": "true", "ContentBasedDeduplication": "true"}})).TopicArn
		r.subscribe(topic, "q.fifo", map[string]string{"RawMessageDelivery": "true"})
		for _, body := range []string{"1", "2", "1", "3"} {
			must(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: &body, MessageGroupId: new("g")}))
		}
		r.expect("q.fifo: 1", "q.fifo: 2", "q.fifo: 3")
		for i, in := range r.got {
			if *in.MessageBody != fmt.Sprint(i+1) || *in.MessageGroupId != "g" {
				t.Errorf("%d: %s in %s", i, *in.MessageBody, *in.MessageGroupId)
			}
		}
	})
}

func TestSameAgainAndRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		topic := r.topic("t")
		if again := r.topic("t"); *again != *topic {
			t.Errorf("%s and %s", *topic, *again)
		}
		sub := r.subscribe(topic, "q", map[string]string{"RawMessageDelivery": "true"})
		if again := r.subscribe(topic, "q", map[string]string{"RawMessageDelivery": "true"}); *again != *sub {
			t.Errorf("%s and %s", *sub, *again)
		}
		endpoint := new("arn:aws:sqs:us-east-1:000000000000:q")
		for name, tc := range map[string]struct {
			err  error
			want string
		}{
			"other attributes":     {last(r.CreateTopic(r.ctx, &sdk.CreateTopicInput{Name: new("t"), Attributes: map[string]string{"DisplayName": "x"}})), "InvalidParameter"},
			"bad name":             {last(r.CreateTopic(r.ctx, &sdk.CreateTopicInput{Name: new("a b")})), "InvalidParameter"},
			"other subscription":   {last(r.Subscribe(r.ctx, &sdk.SubscribeInput{TopicArn: topic, Protocol: new("sqs"), Endpoint: endpoint, Attributes: map[string]string{"RawMessageDelivery": "false"}})), "InvalidParameter"},
			"protocol":             {last(r.Subscribe(r.ctx, &sdk.SubscribeInput{TopicArn: topic, Protocol: new("pigeon"), Endpoint: endpoint})), "InvalidParameter"},
			"filter":               {last(r.Subscribe(r.ctx, &sdk.SubscribeInput{TopicArn: topic, Protocol: new("sqs"), Endpoint: endpoint, Attributes: map[string]string{"FilterPolicy": `{"a":"b"}`}})), "InvalidParameter"},
			"no topic":             {last(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: new("arn:aws:sns:us-east-1:000000000000:none"), Message: new("x")})), "NotFound"},
			"too long":             {last(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new(strings.Repeat("x", maxBytes+1))})), "InvalidParameter"},
			"structure":            {last(r.Publish(r.ctx, &sdk.PublishInput{TopicArn: topic, Message: new("x"), MessageStructure: new("json")})), "InvalidParameter"},
			"empty batch":          {last(r.PublishBatch(r.ctx, &sdk.PublishBatchInput{TopicArn: topic})), "EmptyBatchRequest"},
			"attribute of a topic": {last(r.SetTopicAttributes(r.ctx, &sdk.SetTopicAttributesInput{TopicArn: topic, AttributeName: new("Nope")})), "InvalidParameter"},
		} {
			if got := code(tc.err); got != tc.want {
				t.Errorf("%s: got %s, want %s", name, got, tc.want)
			}
		}
		r.expect()
	})
}

func last[T any](_ T, err error) error { return err }
