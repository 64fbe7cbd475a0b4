package resource

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/graph"
)

// queueAPI is what a Queue asks of SQS.
type queueAPI interface {
	GetQueueUrl(context.Context, *sqs.GetQueueUrlInput, ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error)
	GetQueueAttributes(context.Context, *sqs.GetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error)
	SetQueueAttributes(context.Context, *sqs.SetQueueAttributesInput, ...func(*sqs.Options)) (*sqs.SetQueueAttributesOutput, error)
	ListQueueTags(context.Context, *sqs.ListQueueTagsInput, ...func(*sqs.Options)) (*sqs.ListQueueTagsOutput, error)
	CreateQueue(context.Context, *sqs.CreateQueueInput, ...func(*sqs.Options)) (*sqs.CreateQueueOutput, error)
	DeleteQueue(context.Context, *sqs.DeleteQueueInput, ...func(*sqs.Options)) (*sqs.DeleteQueueOutput, error)
}

var _ queueAPI = (*sqs.Client)(nil)

// maxReceives is how often a consumer may fail on a message before SQS moves
// it to the dead-letter queue.
const maxReceives = 5

// A Queue is a standard SQS queue, encrypted with a customer-managed key.
type Queue struct {
	SQS        queueAPI
	Owner      Owner
	Name       string
	ARN        string
	Key        *Key
	Policy     Policy
	Visibility time.Duration
	Retention  time.Duration
	DeadLetter *Queue // where messages go that cannot be consumed; may be nil

	url string
}

func (q *Queue) ID() string { return "sqs/" + q.Name }

func (q *Queue) Needs() []graph.Resource {
	needs := []graph.Resource{q.Key}
	if q.DeadLetter != nil {
		needs = append(needs, q.DeadLetter)
	}
	return needs
}

// URL is the queue's address, or "" before the queue exists.
func (q *Queue) URL() string { return q.url }

func (q *Queue) attributes() map[string]string {
	attrs := map[string]string{
		"KmsMasterKeyId":         orUnknown(q.Key.ARN()),
		"VisibilityTimeout":      seconds(q.Visibility),
		"MessageRetentionPeriod": seconds(q.Retention),
		"Policy":                 q.Policy.String(),
	}
	if q.DeadLetter != nil {
		attrs["RedrivePolicy"] = redrivePolicy(q.DeadLetter.ARN, maxReceives)
	}
	return attrs
}

func redrivePolicy(target string, receives int) string {
	p := struct {
		Target   string `json:"deadLetterTargetArn"`
		Receives string `json:"maxReceiveCount,omitempty"`
	}{Target: target}
	if receives > 0 {
		p.Receives = strconv.Itoa(receives)
	}
	raw, _ := json.Marshal(p) // two strings always marshal
	return string(raw)
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

func (q *Queue) Observe(ctx context.Context) (graph.Observation, error) {
	q.url = ""
	found, err := q.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &q.Name})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("find queue", q.Name, err)
	}
	q.url = deref(found.QueueUrl)
	var tags, got map[string]string
	err = together(ctx, func(ctx context.Context) error {
		out, err := q.SQS.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &q.url})
		if err == nil {
			tags = out.Tags
		}
		return err
	}, func(ctx context.Context) error {
		out, err := q.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
			QueueUrl: &q.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll},
		})
		if err == nil {
			got = out.Attributes
		}
		return err
	})
	if gone(err) { // deleted a moment ago: its URL outlives it
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read queue", q.Name, err)
	}
	return graph.Observation{Exists: true, Owned: q.Owner.owns(tags), Drift: compareAttributes(q.attributes(), got)}, nil
}

// compareAttributes compares the attributes of a queue, topic or subscription,
// some of which are JSON documents.
func compareAttributes(want, got map[string]string) (d drift) {
	plain := map[string]string{}
	for name, w := range want {
		switch name {
		case "Policy", "RedrivePolicy", "FilterPolicy":
		default:
			plain[name] = w
		}
	}
	d.maps("", plain, got)
	for _, name := range []string{"Policy", "RedrivePolicy", "FilterPolicy"} {
		if w, ok := want[name]; ok {
			d.json(name, w, got[name])
		}
	}
	return d
}

func (q *Queue) Create(ctx context.Context) error {
	out, err := q.SQS.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &q.Name, Attributes: q.attributes(), Tags: q.Owner.Tags()})
	if hasCode(err, "QueueNameExists", "QueueAlreadyExists") {
		return notYet("create queue", q.Name, err) // it was just not visible: look again
	} else if err != nil {
		return failed("create queue", q.Name, err)
	}
	q.url = deref(out.QueueUrl)
	return nil
}

func (q *Queue) Update(ctx context.Context, diffs []graph.Diff) error {
	attrs := map[string]string{}
	for _, d := range diffs {
		attrs[d.Field] = d.Want
	}
	_, err := q.SQS.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &q.url, Attributes: attrs})
	return failed("set attributes of queue", q.Name, err)
}

func (q *Queue) Delete(ctx context.Context) error {
	_, err := q.SQS.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &q.url})
	return deleted("queue "+q.Name, err)
}
