package sqs

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const queues = store.Table[queue]("sqs.queues")

func (s *Service) registerQueues(api *wire.API) {
	wire.Handle(api, s.CreateQueue, wire.Members("QueueName!"),
		wire.On(func(c *wire.Call, in *sdk.CreateQueueInput) []string { return []string{c.ARN("sqs", *in.QueueName)} }))
	wire.Handle(api, s.GetQueueUrl, wire.Members("QueueName!"),
		wire.On(func(c *wire.Call, in *sdk.GetQueueUrlInput) []string { return []string{c.ARN("sqs", *in.QueueName)} }))
	wire.Handle(api, s.ListQueues, wire.Members("MaxResults 1..1000"))
	url := wire.Members("QueueUrl!")
	wire.Handle(api, s.GetQueueAttributes, url, onURL(func(in *sdk.GetQueueAttributesInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.SetQueueAttributes, wire.Members("QueueUrl!", "Attributes!"), onURL(func(in *sdk.SetQueueAttributesInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.DeleteQueue, url, onURL(func(in *sdk.DeleteQueueInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.PurgeQueue, url, onURL(func(in *sdk.PurgeQueueInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.TagQueue, wire.Members("QueueUrl!", "Tags!"), onURL(func(in *sdk.TagQueueInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.UntagQueue, wire.Members("QueueUrl!", "TagKeys!"), onURL(func(in *sdk.UntagQueueInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.ListQueueTags, url, onURL(func(in *sdk.ListQueueTagsInput) *string { return in.QueueUrl }))
	wire.Handle(api, s.ListDeadLetterSourceQueues, url, onURL(func(in *sdk.ListDeadLetterSourceQueuesInput) *string { return in.QueueUrl }))
}

func (s *Service) url(c *wire.Call, name string) *string {
	return new(c.Endpoint + "/" + s.Account + "/" + name)
}

// CreateQueue makes a queue. One that exists with the same attributes is
// returned; SQS compares only those that the request names. See Options.Reuse
// for the name of a queue that was deleted.
func (s *Service) CreateQueue(ctx context.Context, in *sdk.CreateQueueInput) (*sdk.CreateQueueOutput, error) {
	c := wire.CallOf(ctx)
	if err := checkName(*in.QueueName, in.Attributes["FifoQueue"] == "true"); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	fresh := queue{Created: now, Modified: now, Tags: in.Tags}
	if err := fresh.set(in.Attributes, true); err != nil {
		return nil, err
	}
	key := c.Region + "/" + *in.QueueName
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		old, ok, err := queues.Get(tx, key)
		if err != nil {
			return err
		}
		if ok {
			for _, name := range slices.Sorted(maps.Keys(in.Attributes)) {
				if old.shown(name) != in.Attributes[name] {
					return &types.QueueNameExists{Message: new("A queue already exists with the same name and a different value for attribute " + name)}
				}
			}
			return nil
		}
		if err := s.checkName(tx, key, now); err != nil {
			return err
		}
		if err := s.checkTarget(tx, key, fresh); err != nil {
			return err
		}
		if err := s.Tasks.Send(tx, event.Task{Kind: sweepKind, ID: key, Due: now.Add(sweepEvery)}); err != nil {
			return err
		}
		return queues.Put(tx, key, fresh)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.CreateQueueOutput{QueueUrl: s.url(c, *in.QueueName)}, nil
}

// deleted are the times at which queues were deleted whose names must rest.
const deleted = store.Table[time.Time]("sqs.deleted")

// checkName refuses the name of a queue that was just deleted.
func (s *Service) checkName(tx *store.Tx, key string, now time.Time) error {
	at, ok, err := deleted.Get(tx, key)
	switch {
	case err != nil || !ok:
		return err
	case now.Sub(at) < s.Reuse:
		return &types.QueueDeletedRecently{Message: new("You must wait 60 seconds after deleting a queue before you can create another with the same name.")}
	}
	return deleted.Delete(tx, key)
}

// checkTarget refuses a dead-letter queue that is not there or does not want
// letters of this queue.
func (s *Service) checkTarget(tx *store.Tx, key string, q queue) error {
	r, ok := q.redrive()
	if !ok {
		return nil
	}
	text := "Value " + q.Attributes["RedrivePolicy"] + " for parameter RedrivePolicy is invalid. Reason: "
	target, _ := keyOfARN(r.Target)
	dlq, found, err := queues.Get(tx, target)
	switch {
	case err != nil:
		return err
	case target == key:
		return invalidParameter(text + "Dead letter target cannot be the queue itself.")
	case !found:
		return invalidParameter(text + "Dead letter target does not exist.")
	case dlq.fifo() != q.fifo():
		return invalidParameter(text + "Dead-letter queue must be same type of queue as the source.")
	case !dlq.allows(s.arn(key)):
		return invalidParameter(text + "Queue is not allowed to use the dead letter queue by its RedriveAllowPolicy.")
	}
	return nil
}

// GetQueueUrl finds a queue by name.
func (s *Service) GetQueueUrl(ctx context.Context, in *sdk.GetQueueUrlInput) (*sdk.GetQueueUrlOutput, error) { //nolint:revive // the operation is called so
	c := wire.CallOf(ctx)
	if in.QueueOwnerAWSAccountId != nil && *in.QueueOwnerAWSAccountId != s.Account {
		return nil, noQueue()
	}
	if _, err := s.queue(c.Region + "/" + *in.QueueName); err != nil {
		return nil, err
	}
	return &sdk.GetQueueUrlOutput{QueueUrl: s.url(c, *in.QueueName)}, nil
}

// ListQueues lists the queues of the region by prefix.
func (s *Service) ListQueues(ctx context.Context, in *sdk.ListQueuesInput) (*sdk.ListQueuesOutput, error) {
	prefix := ""
	if in.QueueNamePrefix != nil {
		prefix = *in.QueueNamePrefix
	}
	urls, next, err := s.list(ctx, in.MaxResults, in.NextToken, func(key string, _ queue) bool {
		return strings.HasPrefix(key[strings.IndexByte(key, '/')+1:], prefix)
	})
	return &sdk.ListQueuesOutput{QueueUrls: urls, NextToken: next}, err
}

// ListDeadLetterSourceQueues lists the queues whose dead letters come here.
func (s *Service) ListDeadLetterSourceQueues(ctx context.Context, in *sdk.ListDeadLetterSourceQueuesInput) (*sdk.ListDeadLetterSourceQueuesOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err == nil {
		_, err = s.queue(key)
	}
	if err != nil {
		return nil, err
	}
	urls, next, err := s.list(ctx, in.MaxResults, in.NextToken, func(_ string, q queue) bool {
		r, ok := q.redrive()
		return ok && r.Target == s.arn(key)
	})
	if urls == nil {
		urls = []string{}
	}
	return &sdk.ListDeadLetterSourceQueuesOutput{QueueUrls: urls, NextToken: next}, err
}

// list pages over the region's queues; the token is the last name of the page
// before. Without a page size everything up to 1000 is returned without a token.
func (s *Service) list(ctx context.Context, max *int32, token *string, want func(string, queue) bool) (urls []string, next *string, err error) {
	c := wire.CallOf(ctx)
	from, limit := c.Region+"/", 1000
	if max != nil {
		limit = int(*max)
	}
	if token != nil {
		b, err := base64.RawURLEncoding.DecodeString(*token)
		if err != nil {
			return nil, nil, invalidParameter("Invalid NextToken value.")
		}
		from = c.Region + "/" + string(b) + "\x00"
	}
	last := ""
	err = s.DB.View(func(tx *store.Tx) error {
		for r, err := range queues.Range(tx, from, store.PrefixEnd(c.Region+"/")) {
			if err != nil {
				return err
			}
			if !want(r.Key, r.Value) {
				continue
			}
			if len(urls) == limit {
				if max != nil {
					next = new(base64.RawURLEncoding.EncodeToString([]byte(last)))
				}
				return nil
			}
			last = r.Key[len(c.Region)+1:]
			urls = append(urls, *s.url(c, last))
		}
		return nil
	})
	return urls, next, err
}

// shown is an attribute's value as GetQueueAttributes gives it.
func (q queue) shown(name string) string {
	if v := q.get(name); v != "" {
		return v
	}
	switch {
	case name == "SqsManagedSseEnabled":
		return "true"
	case name == "KmsDataKeyReusePeriodSeconds" && q.Attributes["KmsMasterKeyId"] != "":
		return "300"
	case q.fifo() && name == "ContentBasedDeduplication":
		return "false"
	case q.fifo() && name == "DeduplicationScope":
		return "queue"
	case q.fifo() && name == "FifoThroughputLimit":
		return "perQueue"
	}
	return ""
}

// plain are the attributes that GetQueueAttributes shows where they have a value.
var plain = []string{
	"DelaySeconds", "MaximumMessageSize", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "VisibilityTimeout", "Policy", "RedrivePolicy",
	"RedriveAllowPolicy", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled", "FifoQueue", "ContentBasedDeduplication",
	"DeduplicationScope", "FifoThroughputLimit",
}

// GetQueueAttributes describes a queue. The counts are exact here.
func (s *Service) GetQueueAttributes(ctx context.Context, in *sdk.GetQueueAttributesInput) (*sdk.GetQueueAttributesOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	err = s.DB.View(func(tx *store.Tx) error {
		q, err := load(tx, key)
		if err != nil {
			return err
		}
		for _, name := range plain {
			if v := q.shown(name); v != "" {
				all[name] = v
			}
		}
		all["QueueArn"] = s.arn(key)
		all["CreatedTimestamp"] = strconv.FormatInt(q.Created.Unix(), 10)
		all["LastModifiedTimestamp"] = strconv.FormatInt(q.Modified.Unix(), 10)
		n, err := tally(tx, key, q, time.Now())
		all["ApproximateNumberOfMessages"] = strconv.Itoa(n.visible)
		all["ApproximateNumberOfMessagesNotVisible"] = strconv.Itoa(n.inFlight)
		all["ApproximateNumberOfMessagesDelayed"] = strconv.Itoa(n.delayed)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, name := range in.AttributeNames {
		if name == types.QueueAttributeNameAll {
			return &sdk.GetQueueAttributesOutput{Attributes: all}, nil
		}
		if v, ok := all[string(name)]; ok {
			out[string(name)] = v
		} else if !slices.Contains(plain, string(name)) {
			return nil, &types.InvalidAttributeName{Message: new("Unknown Attribute " + string(name) + ".")}
		}
	}
	return &sdk.GetQueueAttributesOutput{Attributes: out}, nil
}

// SetQueueAttributes changes attributes, at once.
func (s *Service) SetQueueAttributes(ctx context.Context, in *sdk.SetQueueAttributesInput) (*sdk.SetQueueAttributesOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &sdk.SetQueueAttributesOutput{}, s.change(ctx, key, func(tx *store.Tx, q *queue) error {
		if err := q.set(in.Attributes, false); err != nil {
			return err
		}
		q.Modified = time.Now().UTC()
		if in.Attributes["RedrivePolicy"] == "" {
			return nil
		}
		return s.checkTarget(tx, key, *q)
	})
}

// DeleteQueue deletes a queue with its messages.
func (s *Service) DeleteQueue(ctx context.Context, in *sdk.DeleteQueueInput) (*sdk.DeleteQueueOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &sdk.DeleteQueueOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := load(tx, key); err != nil {
			return err
		}
		if err := dropAll(tx, key); err != nil {
			return err
		}
		if err := s.Tasks.Finish(tx, sweepKind, key); err != nil {
			return err
		}
		if s.Reuse > 0 {
			if err := deleted.Put(tx, key, time.Now().UTC()); err != nil {
				return err
			}
		}
		tx.OnCommit(func() { s.Signals.Notify(s.arn(key)) })
		return queues.Delete(tx, key)
	})
}

// PurgeQueue deletes all messages, at most once a minute.
func (s *Service) PurgeQueue(ctx context.Context, in *sdk.PurgeQueueInput) (*sdk.PurgeQueueOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &sdk.PurgeQueueOutput{}, s.change(ctx, key, func(tx *store.Tx, q *queue) error {
		if now := time.Now().UTC(); now.Sub(q.Purged) < time.Minute {
			name := key[strings.IndexByte(key, '/')+1:]
			return &types.PurgeQueueInProgress{Message: new("Only one PurgeQueue operation on " + name + " is allowed every 60 seconds.")}
		}
		q.Purged = time.Now().UTC()
		return dropAll(tx, key)
	})
}

const (
	sweepKind  = "sqs.sweep"
	sweepEvery = time.Hour
)

// sweep removes messages that are past their queue's retention period. Until
// then they are hidden, so that once an hour is often enough.
func (s *Service) sweep(ctx context.Context, t event.Task) event.Result {
	gone := false
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		q, ok, err := queues.Get(tx, t.ID)
		if gone = !ok; gone || err != nil {
			return err
		}
		return dropExpired(tx, t.ID, q, time.Now())
	})
	if err != nil {
		s.Log.Error("cannot remove expired messages", "queue", t.ID, "error", err)
	}
	if gone {
		return event.Done()
	}
	return event.Retry(sweepEvery)
}
