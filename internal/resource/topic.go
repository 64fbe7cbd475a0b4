package resource

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"miniforge/internal/graph"
)

// topicAPI is what a Topic asks of SNS.
type topicAPI interface {
	CreateTopic(context.Context, *sns.CreateTopicInput, ...func(*sns.Options)) (*sns.CreateTopicOutput, error)
	GetTopicAttributes(context.Context, *sns.GetTopicAttributesInput, ...func(*sns.Options)) (*sns.GetTopicAttributesOutput, error)
	SetTopicAttributes(context.Context, *sns.SetTopicAttributesInput, ...func(*sns.Options)) (*sns.SetTopicAttributesOutput, error)
	ListTagsForResource(context.Context, *sns.ListTagsForResourceInput, ...func(*sns.Options)) (*sns.ListTagsForResourceOutput, error)
	DeleteTopic(context.Context, *sns.DeleteTopicInput, ...func(*sns.Options)) (*sns.DeleteTopicOutput, error)
}

var _ topicAPI = (*sns.Client)(nil)

// A Topic is a standard SNS topic, encrypted with a customer-managed key.
type Topic struct {
	SNS    topicAPI
	Owner  Owner
	Name   string
	ARN    string
	Key    *Key
	Policy Policy
}

func (t *Topic) ID() string              { return "sns/" + t.Name }
func (t *Topic) Needs() []graph.Resource { return []graph.Resource{t.Key} }

func (t *Topic) attributes() map[string]string {
	return map[string]string{"KmsMasterKeyId": orUnknown(t.Key.ARN()), "Policy": t.Policy.String()}
}

func (t *Topic) Observe(ctx context.Context) (graph.Observation, error) {
	var got map[string]string
	var owned bool
	err := together(ctx, func(ctx context.Context) error {
		out, err := t.SNS.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &t.ARN})
		if err == nil {
			got = out.Attributes
		}
		return err
	}, func(ctx context.Context) (err error) {
		owned, err = topicOwned(ctx, t.SNS, t.ARN, t.Owner)
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read topic", t.Name, err)
	}
	return graph.Observation{Exists: true, Owned: owned, Drift: compareAttributes(t.attributes(), got)}, nil
}

// topicOwned reports whether a topic carries the owner's tag.
func topicOwned(ctx context.Context, api interface {
	ListTagsForResource(context.Context, *sns.ListTagsForResourceInput, ...func(*sns.Options)) (*sns.ListTagsForResourceOutput, error)
}, arn string, owner Owner) (bool, error) {
	out, err := api.ListTagsForResource(ctx, &sns.ListTagsForResourceInput{ResourceArn: &arn})
	if err != nil {
		return false, err
	}
	return owner.owns(tagMap(out.Tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value })), nil
}

func (t *Topic) Create(ctx context.Context) error {
	_, err := t.SNS.CreateTopic(ctx, &sns.CreateTopicInput{
		Name: &t.Name, Attributes: t.attributes(),
		Tags: tagList(t.Owner.Tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} }),
	})
	return failed("create topic", t.Name, err)
}

func (t *Topic) Update(ctx context.Context, diffs []graph.Diff) error {
	for _, d := range diffs {
		_, err := t.SNS.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{
			TopicArn: &t.ARN, AttributeName: &d.Field, AttributeValue: &d.Want,
		})
		if err != nil {
			return failed("set "+d.Field+" of topic", t.Name, err)
		}
	}
	return nil
}

func (t *Topic) Delete(ctx context.Context) error {
	_, err := t.SNS.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: &t.ARN})
	return deleted("topic "+t.Name, err)
}
