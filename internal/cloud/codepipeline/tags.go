package codepipeline

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerTags(api *wire.API) {
	const arnRule = `ResourceArn! 0.. arn:aws(-[\w]+)*:codepipeline:.+:[0-9]{12}:.+`
	wire.Handle(api, s.TagResource, wire.Members(arnRule, "Tags!", "Tags[].Key! 1..128", "Tags[].Value 0..256"), wire.Needs(func(c *wire.Call, in *sdk.TagResourceInput) []authz.Access {
		return []authz.Access{{Action: "codepipeline:" + c.Op, Resource: *in.ResourceArn, Context: requestTags(in.Tags)}}
	}))
	wire.Handle(api, s.UntagResource, wire.Members(arnRule, "TagKeys!", "TagKeys[] 1..128"), wire.Needs(func(c *wire.Call, in *sdk.UntagResourceInput) []authz.Access {
		return []authz.Access{{Action: "codepipeline:" + c.Op, Resource: *in.ResourceArn, Context: map[string][]string{"aws:TagKeys": in.TagKeys}}}
	}))
	wire.Handle(api, s.ListTagsForResource, wire.Members(arnRule, tokenRule, "MaxResults 1..100"), wire.On(func(_ *wire.Call, in *sdk.ListTagsForResourceInput) []string { return []string{*in.ResourceArn} }))
}

// requestTags are the condition keys of tags that a request brings.
func requestTags(tags []types.Tag) map[string][]string {
	out := map[string][]string{}
	for _, t := range tags {
		out["aws:RequestTag/"+*t.Key] = []string{aws.ToString(t.Value)}
		out["aws:TagKeys"] = append(out["aws:TagKeys"], *t.Key)
	}
	return out
}

const maxTags = 50

// newTags adds tags to those that are there.
func newTags(old map[string]string, add []types.Tag) (map[string]string, error) {
	tags := maps.Clone(old)
	if tags == nil {
		tags = map[string]string{}
	}
	seen := map[string]bool{}
	for _, t := range add {
		if seen[*t.Key] {
			return nil, &types.InvalidTagsException{Message: new("Duplicate tag keys are not allowed: " + *t.Key)}
		}
		if strings.HasPrefix(strings.ToLower(*t.Key), "aws:") {
			return nil, &types.InvalidTagsException{Message: new("Tag keys that start with 'aws:' are reserved for system use: " + *t.Key)}
		}
		seen[*t.Key] = true
		tags[*t.Key] = aws.ToString(t.Value)
	}
	if len(tags) > maxTags {
		return nil, &types.TooManyTagsException{Message: new("The resource has too many tags: at most 50 are allowed")}
	}
	return tags, nil
}

// retag changes a pipeline's tags.
func (s *Service) retag(ctx context.Context, arn string, change func(map[string]string) (map[string]string, error)) error {
	region, name, err := s.parse(arn)
	if err != nil {
		return err
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		p, err := s.tagged(tx, region, name)
		if err != nil {
			return err
		}
		if p.Tags, err = change(p.Tags); err != nil {
			return err
		}
		return pipelines.Put(tx, pipelineKey(region, name), p)
	})
}

func (s *Service) parse(arn string) (region, name string, err error) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[2] != "codepipeline" || p[4] != s.Account {
		return "", "", &types.InvalidArnException{Message: new("The specified resource ARN is invalid: " + arn)}
	}
	return p[3], p[5], nil
}

// tagged finds the pipeline of an ARN.
func (s *Service) tagged(tx *store.Tx, region, name string) (pipeline, error) {
	p, ok, err := pipelines.Get(tx, pipelineKey(region, name))
	if err == nil && !ok {
		err = &types.ResourceNotFoundException{Message: new("The resource was not found: " + s.arn(region, name))}
	}
	return p, err
}

// TagResource adds tags to a pipeline.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	return &sdk.TagResourceOutput{}, s.retag(ctx, *in.ResourceArn, func(old map[string]string) (map[string]string, error) { return newTags(old, in.Tags) })
}

// UntagResource removes tags from a pipeline.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	return &sdk.UntagResourceOutput{}, s.SetTags(ctx, *in.ResourceArn, nil, in.TagKeys)
}

// ListTagsForResource lists a pipeline's tags by key.
func (s *Service) ListTagsForResource(_ context.Context, in *sdk.ListTagsForResourceInput) (*sdk.ListTagsForResourceOutput, error) {
	region, name, err := s.parse(*in.ResourceArn)
	if err != nil {
		return nil, err
	}
	last, err := after(in.NextToken, "tags of "+name)
	if err != nil {
		return nil, err
	}
	all := []types.Tag{}
	err = s.DB.View(func(tx *store.Tx) error {
		p, err := s.tagged(tx, region, name)
		for _, k := range slices.Sorted(maps.Keys(p.Tags)) {
			if k > last {
				all = append(all, types.Tag{Key: &k, Value: new(p.Tags[k])})
			}
		}
		return err
	})
	items, next := page(all, in.MaxResults, 100, "tags of "+name, func(t types.Tag) string { return *t.Key })
	return &sdk.ListTagsForResourceOutput{Tags: items, NextToken: next}, err
}

// Tagged lists the pipelines of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range pipelines.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out[s.arn(region, r.Value.Name)] = r.Value.Tags
		}
		return nil
	})
}

// SetTags changes the tags of a pipeline.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	return s.retag(ctx, arn, func(old map[string]string) (map[string]string, error) {
		tags := map[string]string{}
		maps.Copy(tags, old)
		maps.Copy(tags, set)
		for _, k := range remove {
			delete(tags, k)
		}
		return tags, nil
	})
}
