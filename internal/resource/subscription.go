package resource

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/sns"

	"miniforge/internal/graph"
)

// subscriptionAPI is what a Subscription asks of SNS.
type subscriptionAPI interface {
	Subscribe(context.Context, *sns.SubscribeInput, ...func(*sns.Options)) (*sns.SubscribeOutput, error)
	Unsubscribe(context.Context, *sns.UnsubscribeInput, ...func(*sns.Options)) (*sns.UnsubscribeOutput, error)
	ListSubscriptionsByTopic(context.Context, *sns.ListSubscriptionsByTopicInput, ...func(*sns.Options)) (*sns.ListSubscriptionsByTopicOutput, error)
	GetSubscriptionAttributes(context.Context, *sns.GetSubscriptionAttributesInput, ...func(*sns.Options)) (*sns.GetSubscriptionAttributesOutput, error)
	SetSubscriptionAttributes(context.Context, *sns.SetSubscriptionAttributesInput, ...func(*sns.Options)) (*sns.SetSubscriptionAttributesOutput, error)
	ListTagsForResource(context.Context, *sns.ListTagsForResourceInput, ...func(*sns.Options)) (*sns.ListTagsForResourceOutput, error)
}

var _ subscriptionAPI = (*sns.Client)(nil)

// A Subscription carries the messages of a topic to a queue as they were
// published (raw). What cannot be delivered goes to the dead-letter queue.
// Subscriptions have no tags: one belongs to the owner of its topic.
type Subscription struct {
	SNS        subscriptionAPI
	Owner      Owner
	Topic      *Topic
	Queue      *Queue
	DeadLetter *Queue

	arn string
}

func (s *Subscription) ID() string { return "sns/" + s.Topic.Name + "/" + s.Queue.Name }

func (s *Subscription) Needs() []graph.Resource {
	return []graph.Resource{s.Topic, s.Queue, s.DeadLetter}
}

func (s *Subscription) attributes() map[string]string {
	return map[string]string{
		"RawMessageDelivery": "true",
		"RedrivePolicy":      redrivePolicy(s.DeadLetter.ARN, 0),
	}
}

func (s *Subscription) Observe(ctx context.Context) (graph.Observation, error) {
	arn, err := s.find(ctx)
	if gone(err) || err == nil && arn == "" {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("find subscription", s.ID(), err)
	}
	s.arn = arn
	var got map[string]string
	var owned bool
	err = together(ctx, func(ctx context.Context) error {
		out, err := s.SNS.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &arn})
		if err == nil {
			got = out.Attributes
		}
		return err
	}, func(ctx context.Context) (err error) {
		owned, err = topicOwned(ctx, s.SNS, s.Topic.ARN, s.Owner)
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read subscription", s.ID(), err)
	}
	return graph.Observation{Exists: true, Owned: owned, Drift: compareAttributes(s.attributes(), got)}, nil
}

func (s *Subscription) find(ctx context.Context) (string, error) {
	pages := sns.NewListSubscriptionsByTopicPaginator(s.SNS, &sns.ListSubscriptionsByTopicInput{TopicArn: &s.Topic.ARN})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", err
		}
		for _, found := range page.Subscriptions {
			if deref(found.Protocol) == "sqs" && deref(found.Endpoint) == s.Queue.ARN {
				return deref(found.SubscriptionArn), nil
			}
		}
	}
	return "", nil
}

func (s *Subscription) Create(ctx context.Context) error {
	protocol := "sqs"
	out, err := s.SNS.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: &s.Topic.ARN, Protocol: &protocol, Endpoint: &s.Queue.ARN,
		Attributes: s.attributes(), ReturnSubscriptionArn: true,
	})
	if err != nil {
		return failed("subscribe", s.ID(), err)
	}
	s.arn = deref(out.SubscriptionArn)
	return nil
}

func (s *Subscription) Update(ctx context.Context, diffs []graph.Diff) error {
	for _, d := range diffs {
		_, err := s.SNS.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{
			SubscriptionArn: &s.arn, AttributeName: &d.Field, AttributeValue: &d.Want,
		})
		if err != nil {
			return failed("set "+d.Field+" of subscription", s.ID(), err)
		}
	}
	return nil
}

func (s *Subscription) Delete(ctx context.Context) error {
	_, err := s.SNS.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: &s.arn})
	return deleted("subscription "+s.ID(), err)
}
