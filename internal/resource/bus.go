package resource

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"miniforge/internal/graph"
)

// busAPI is what a Bus asks of EventBridge.
type busAPI interface {
	DescribeEventBus(context.Context, *eventbridge.DescribeEventBusInput, ...func(*eventbridge.Options)) (*eventbridge.DescribeEventBusOutput, error)
	CreateEventBus(context.Context, *eventbridge.CreateEventBusInput, ...func(*eventbridge.Options)) (*eventbridge.CreateEventBusOutput, error)
	DeleteEventBus(context.Context, *eventbridge.DeleteEventBusInput, ...func(*eventbridge.Options)) (*eventbridge.DeleteEventBusOutput, error)
	eventTagsAPI
}

type eventTagsAPI interface {
	ListTagsForResource(context.Context, *eventbridge.ListTagsForResourceInput, ...func(*eventbridge.Options)) (*eventbridge.ListTagsForResourceOutput, error)
}

var _ busAPI = (*eventbridge.Client)(nil)

// A Bus is a custom EventBridge bus without a resource policy.
type Bus struct {
	Events busAPI
	Owner  Owner
	Name   string
	ARN    string
}

func (b *Bus) ID() string              { return "events/" + b.Name }
func (b *Bus) Needs() []graph.Resource { return nil }

func (b *Bus) Observe(ctx context.Context) (graph.Observation, error) {
	var tags map[string]string
	var policy string
	err := together(ctx, func(ctx context.Context) error {
		out, err := b.Events.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: &b.Name})
		if err == nil {
			policy = deref(out.Policy)
		}
		return err
	}, func(ctx context.Context) (err error) {
		tags, err = eventTags(ctx, b.Events, b.ARN)
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read bus", b.Name, err)
	}
	var d drift
	d.replace("Policy", "", policy) // somebody opened the bus to others
	return graph.Observation{Exists: true, Owned: b.Owner.owns(tags), Drift: d}, nil
}

func eventTags(ctx context.Context, api eventTagsAPI, arn string) (map[string]string, error) {
	out, err := api.ListTagsForResource(ctx, &eventbridge.ListTagsForResourceInput{ResourceARN: &arn})
	if err != nil {
		return nil, err
	}
	return tagMap(out.Tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value }), nil
}

func eventTagList(o Owner) []types.Tag {
	return tagList(o.Tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
}

func (b *Bus) Create(ctx context.Context) error {
	_, err := b.Events.CreateEventBus(ctx, &eventbridge.CreateEventBusInput{Name: &b.Name, Tags: eventTagList(b.Owner)})
	return failed("create bus", b.Name, err)
}

// Update has nothing to change: a bus has no declared setting but its name.
func (b *Bus) Update(context.Context, []graph.Diff) error { return nil }

func (b *Bus) Delete(ctx context.Context) error {
	_, err := b.Events.DeleteEventBus(ctx, &eventbridge.DeleteEventBusInput{Name: &b.Name})
	return deleted("bus "+b.Name, err)
}
