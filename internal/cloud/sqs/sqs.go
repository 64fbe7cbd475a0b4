// Package sqs is SQS: standard and FIFO queues with visibility timeouts,
// delays, long polls, dead-letter queues and encryption under KMS keys.
//
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/Welcome.html
package sqs

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/memo"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Tasks   event.Sender
	Caller  wire.Caller
	Signals *event.Signals
	Log     *slog.Logger
	Account string
	// Reuse is how long after DeleteQueue no queue of that name can be made:
	// 60 s on AWS, to cover the time that its parts take to agree. There is no
	// such need here: 0 lets a name be used again at once.
	Reuse time.Duration
}

// A Service serves the queues of all regions.
type Service struct {
	Options
	queues memo.Rows[queue] // for what every message asks
}

// New makes the service.
func New(o Options) *Service { return &Service{Options: o, queues: memo.Rows[queue]{Table: queues}} }

// Register adds the operations and task handlers.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{
		Service: "sqs", TagAction: "TagQueue", Protocol: wire.JSON10, Target: "AmazonSQS",
		Names: map[string]string{"ListDeadLetterSourceQueuesOutput.QueueUrls": "queueUrls", "CreateQueueInput.Tags": "tags"},
		QueryCodes: map[string]string{
			"QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue", "QueueNameExists": "QueueAlreadyExists",
			"QueueDeletedRecently": "AWS.SimpleQueueService.QueueDeletedRecently", "PurgeQueueInProgress": "AWS.SimpleQueueService.PurgeQueueInProgress",
			"TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
			"BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "BatchRequestTooLong": "AWS.SimpleQueueService.BatchRequestTooLong",
			"InvalidBatchEntryId": "AWS.SimpleQueueService.InvalidBatchEntryId", "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
			"UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation", "KmsDisabled": "KMS.DisabledException", "KmsAccessDenied": "KMS.AccessDeniedException",
			"KmsNotFound": "KMS.NotFoundException", "KmsInvalidState": "KMS.InvalidStateException", "KmsInvalidKeyUsage": "KMS.InvalidKeyUsageException",
		},
		Statuses: map[string]int{"PurgeQueueInProgress": http.StatusForbidden, "ResourceNotFoundException": http.StatusNotFound},
		Invalid:  invalid,
	})
	s.registerQueues(api)
	s.registerMessages(api)
	s.registerMoves(api)
	q.Handle(sweepKind, 2, s.sweep)
	q.Handle(moveKind, 4, s.move)
}

// invalid words a broken rule as SQS does.
func invalid(_ string, p []wire.Problem) error {
	name := strings.ToUpper(p[0].Path[:1]) + p[0].Path[1:]
	if p[0].Missing {
		return wire.Errorf("MissingParameter", "The request must contain the parameter %s.", name)
	}
	return invalidParameter("Value " + p[0].Value + " for parameter " + name + " is invalid. Reason: " + p[0].Text + ".")
}

func invalidParameter(text string) error { return wire.Errorf("InvalidParameterValue", "%s", text) }

// onURL judges an operation on the queue that its URL names.
func onURL[In any](url func(*In) *string) wire.Option {
	return wire.On(func(c *wire.Call, in *In) []string {
		name, err := nameOf(url(in))
		if err != nil {
			name = "*"
		}
		return []string{c.ARN("sqs", name)}
	})
}

// judgedAs is onURL for the batch operations, which IAM knows by the name of
// the single one.
func judgedAs[In any](action string, url func(*In) *string) wire.Option {
	return wire.Needs(func(c *wire.Call, in *In) []authz.Access {
		name, err := nameOf(url(in))
		if err != nil {
			name = "*"
		}
		return []authz.Access{{Action: "sqs:" + action, Resource: c.ARN("sqs", name)}}
	})
}

// nameOf is the queue's name in a URL: its last part, whatever the host, so
// that a queue is found however the caller reached the cloud.
func nameOf(url *string) (string, error) {
	if url == nil {
		return "", wire.Errorf("MissingParameter", "The request must contain the parameter QueueUrl.")
	}
	name := (*url)[strings.LastIndexByte(*url, '/')+1:]
	if name == "" {
		return "", &types.InvalidAddress{Message: new("The address " + *url + " is not valid for this endpoint.")}
	}
	return name, nil
}

// place is a queue's region and name: its key.
func place(ctx context.Context, url *string) (string, error) {
	name, err := nameOf(url)
	return wire.CallOf(ctx).Region + "/" + name, err
}

func (s *Service) arn(key string) string {
	region, name, _ := strings.Cut(key, "/")
	return "arn:aws:sqs:" + region + ":" + s.Account + ":" + name
}

// keyOfARN is the key of the queue that an ARN names.
func keyOfARN(arn string) (string, bool) {
	p := strings.Split(arn, ":")
	if len(p) != 6 || p[2] != "sqs" || p[5] == "" {
		return "", false
	}
	return p[3] + "/" + p[5], true
}

func noQueue() error {
	return &types.QueueDoesNotExist{Message: new("The specified queue does not exist.")}
}

func load(tx *store.Tx, key string) (queue, error) {
	q, ok, err := queues.Get(tx, key)
	if err == nil && !ok {
		err = noQueue()
	}
	return q, err
}

// known is load for a queue of which no map is to be changed.
func (s *Service) known(tx *store.Tx, key string) (queue, error) {
	q, ok, err := s.queues.Get(tx, key)
	if err == nil && !ok {
		err = noQueue()
	}
	return q, err
}

// queue is known in a transaction of its own.
func (s *Service) queue(key string) (q queue, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		q, err = s.known(tx, key)
		return err
	})
	return q, err
}

func (s *Service) change(ctx context.Context, key string, f func(*store.Tx, *queue) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		q, err := load(tx, key)
		if err != nil {
			return err
		}
		if err := f(tx, &q); err != nil {
			return err
		}
		return queues.Put(tx, key, q)
	})
}

// kmsError is what SQS makes of KMS's refusals.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
func kmsError(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return err
	}
	text := new(api.ErrorMessage())
	switch api.ErrorCode() {
	case "DisabledException":
		return &types.KmsDisabled{Message: text}
	case "AccessDeniedException":
		return &types.KmsAccessDenied{Message: text}
	case "NotFoundException":
		return &types.KmsNotFound{Message: text}
	case "KMSInvalidStateException":
		return &types.KmsInvalidState{Message: text}
	case "InvalidKeyUsageException":
		return &types.KmsInvalidKeyUsage{Message: text}
	}
	return err
}

// PolicyTable is the table that ResourcePolicy reads: while it does not change,
// neither do policies.
const PolicyTable = string(queues)

// ResourcePolicy is the policy of a queue.
func (s *Service) ResourcePolicy(_ context.Context, arn string) (doc string, err error) {
	key, ok := keyOfARN(arn)
	if !ok {
		return "", nil
	}
	err = s.DB.View(func(tx *store.Tx) error {
		q, _, err := queues.Get(tx, key)
		doc = q.Attributes["Policy"]
		return err
	})
	return doc, err
}

// Tagged lists the queues of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range queues.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out[s.arn(r.Key)] = r.Value.Tags
		}
		return nil
	})
}

// SetTags changes a queue's tags.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	key, ok := keyOfARN(arn)
	if !ok {
		return noQueue()
	}
	return s.change(ctx, key, func(_ *store.Tx, q *queue) error {
		tags := map[string]string{}
		maps.Copy(tags, q.Tags)
		maps.Copy(tags, set)
		for _, k := range remove {
			delete(tags, k)
		}
		if len(tags) > 50 {
			return invalidParameter("Too many tags added for queue " + arn + ".")
		}
		q.Tags = tags
		return nil
	})
}

// TagQueue adds tags to a queue.
func (s *Service) TagQueue(ctx context.Context, in *sdk.TagQueueInput) (*sdk.TagQueueOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &sdk.TagQueueOutput{}, s.SetTags(ctx, s.arn(key), in.Tags, nil)
}

// UntagQueue removes tags from a queue.
func (s *Service) UntagQueue(ctx context.Context, in *sdk.UntagQueueInput) (*sdk.UntagQueueOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &sdk.UntagQueueOutput{}, s.SetTags(ctx, s.arn(key), nil, in.TagKeys)
}

// ListQueueTags lists a queue's tags.
func (s *Service) ListQueueTags(ctx context.Context, in *sdk.ListQueueTagsInput) (*sdk.ListQueueTagsOutput, error) {
	key, err := place(ctx, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	q, err := s.queue(key)
	return &sdk.ListQueueTagsOutput{Tags: q.Tags}, err
}
