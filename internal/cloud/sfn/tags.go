package sfn

import (
	"context"
	"maps"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxTags = 50

func (s *Service) registerTags(api *wire.API) {
	wire.Handle(api, s.TagResource, on(func(in *sdk.TagResourceInput) *string { return in.ResourceArn }), wire.Members("ResourceArn! 1..256", "Tags!"))
	wire.Handle(api, s.UntagResource, on(func(in *sdk.UntagResourceInput) *string { return in.ResourceArn }), wire.Members("ResourceArn! 1..256", "TagKeys!"))
	wire.Handle(api, s.ListTagsForResource, on(func(in *sdk.ListTagsForResourceInput) *string { return in.ResourceArn }), wire.Members("ResourceArn! 1..256"))
}

func tagMap(tags []types.Tag) (map[string]string, error) {
	m := map[string]string{}
	for _, t := range tags {
		if t.Key == nil || *t.Key == "" || len(*t.Key) > 128 || t.Value != nil && len(*t.Value) > 256 {
			return nil, validation("a tag needs a key of 1 to 128 characters and a value of up to 256")
		}
		m[*t.Key] = ""
		if t.Value != nil {
			m[*t.Key] = *t.Value
		}
	}
	if len(m) > maxTags {
		return nil, &types.TooManyTags{Message: new("Too Many Tags")}
	}
	return m, nil
}

// SetTags changes the tags of a state machine or an activity.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		return s.tagged(tx, arn, func(was map[string]string) (map[string]string, error) {
			tags := map[string]string{}
			maps.Copy(tags, was)
			maps.Copy(tags, set)
			for _, k := range remove {
				delete(tags, k)
			}
			if len(tags) > maxTags {
				return nil, &types.TooManyTags{Message: new("Too Many Tags"), ResourceName: &arn}
			}
			return tags, nil
		})
	})
}

// tagged lets f see the tags of a resource and, if it returns some, change them.
func (s *Service) tagged(tx *store.Tx, text string, f func(map[string]string) (map[string]string, error)) error {
	a, err := s.parseARN(&text, "stateMachine", "activity")
	if err != nil {
		return err
	}
	if a.kind == "activity" {
		v, ok, err := activities.Get(tx, a.full)
		if err != nil || !ok {
			return first(err, noResource(text))
		}
		tags, err := f(v.Tags)
		if err != nil || tags == nil {
			return err
		}
		v.Tags = tags
		return activities.Put(tx, a.full, v)
	}
	v, ok, err := machines.Get(tx, a.full)
	if err != nil || !ok {
		return first(err, noResource(text))
	}
	tags, err := f(v.Tags)
	if err != nil || tags == nil {
		return err
	}
	v.Tags = tags
	return machines.Put(tx, a.full, v)
}

// TagResource adds tags.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &sdk.TagResourceOutput{}, s.SetTags(ctx, *in.ResourceArn, tags, nil)
}

// UntagResource removes tags.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	return &sdk.UntagResourceOutput{}, s.SetTags(ctx, *in.ResourceArn, nil, in.TagKeys)
}

// ListTagsForResource lists a resource's tags.
func (s *Service) ListTagsForResource(_ context.Context, in *sdk.ListTagsForResourceInput) (*sdk.ListTagsForResourceOutput, error) {
	out := &sdk.ListTagsForResourceOutput{Tags: []types.Tag{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		return s.tagged(tx, *in.ResourceArn, func(tags map[string]string) (map[string]string, error) {
			for _, k := range slices.Sorted(maps.Keys(tags)) {
				out.Tags = append(out.Tags, types.Tag{Key: new(k), Value: new(tags[k])})
			}
			return nil, nil
		})
	})
}
