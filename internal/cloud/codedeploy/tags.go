package codedeploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxTags = 50

func onARN[In any](of func(*In) *string) wire.Option {
	return wire.On(func(_ *wire.Call, in *In) []string {
		if arn := aws.ToString(of(in)); arn != "" {
			return []string{arn}
		}
		return []string{"*"}
	})
}

func (s *Service) registerTags(api *wire.API) {
	wire.Handle(api, s.TagResource, onARN(func(in *sdk.TagResourceInput) *string { return in.ResourceArn }))
	wire.Handle(api, s.UntagResource, onARN(func(in *sdk.UntagResourceInput) *string { return in.ResourceArn }))
	wire.Handle(api, s.ListTagsForResource, onARN(func(in *sdk.ListTagsForResourceInput) *string { return in.ResourceArn }))
}

// tagMap checks tags that a request brings.
func tagMap(tags []types.Tag) (map[string]string, error) {
	m := map[string]string{}
	for _, t := range tags {
		k := aws.ToString(t.Key)
		if k == "" || len(k) > 128 || len(aws.ToString(t.Value)) > 256 || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return nil, &types.InvalidTagsToAddException{Message: new("A tag needs a key of 1 to 128 characters that does not begin with aws:, and a value of up to 256: '" + k + "'")}
		}
		m[k] = aws.ToString(t.Value)
	}
	return m, checkTagCount(m)
}

func checkTagCount(m map[string]string) error {
	if len(m) > maxTags {
		return &types.InvalidTagsToAddException{Message: new(fmt.Sprintf("A resource can have at most %d tags", maxTags))}
	}
	return nil
}

// place splits the ARN of an application or a group; group is "" for an application.
func (s *Service) place(arn string) (region, app, group string, err error) {
	if arn == "" {
		return "", "", "", &types.ResourceArnRequiredException{Message: new("Resource ARN must be specified.")}
	}
	p := strings.SplitN(arn, ":", 7)
	if len(p) != 7 || p[0] != "arn" || p[2] != "codedeploy" || p[4] != s.Account || p[6] == "" {
		return "", "", "", &types.InvalidArnException{Message: new("The specified ARN is not in a valid format: " + arn)}
	}
	app, group, inner := strings.Cut(p[6], "/")
	if p[5] == "application" && !inner || p[5] == "deploymentgroup" && inner && group != "" {
		return p[3], app, group, nil
	}
	return "", "", "", &types.ArnNotSupportedException{Message: new("The specified ARN is not supported: " + arn)}
}

// tagged lets f see the tags of a resource and, if it returns some, change them.
func (s *Service) tagged(tx *store.Tx, arn string, f func(map[string]string) (map[string]string, error)) error {
	region, appName, groupName, err := s.place(arn)
	if err != nil {
		return err
	}
	a, err := loadApp(tx, region, &appName)
	if err != nil {
		return err
	}
	if groupName == "" {
		tags, err := f(a.Tags)
		if err != nil || tags == nil {
			return err
		}
		a.Tags = tags
		return apps.Put(tx, key(region, appName), a)
	}
	g, err := loadGroup(tx, region, &appName, &groupName)
	if err != nil {
		return err
	}
	tags, err := f(g.Tags)
	if err != nil || tags == nil {
		return err
	}
	g.Tags = tags
	return groups.Put(tx, key(region, appName, groupName), g)
}

// SetTags changes the tags of an application or a group.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		return s.tagged(tx, arn, func(was map[string]string) (map[string]string, error) {
			tags := map[string]string{}
			maps.Copy(tags, was)
			maps.Copy(tags, set)
			for _, k := range remove {
				delete(tags, k)
			}
			return tags, checkTagCount(tags)
		})
	})
}

// Tagged lists the applications and groups of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	arn := "arn:aws:codedeploy:" + region + ":" + s.Account + ":"
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range apps.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out[arn+"application:"+*r.Value.Info.ApplicationName] = r.Value.Tags
		}
		for r, err := range groups.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out[arn+groupResource(*r.Value.Info.ApplicationName, *r.Value.Info.DeploymentGroupName)] = r.Value.Tags
		}
		return nil
	})
}

// TagResource adds tags to an application or a group.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	if len(in.Tags) == 0 {
		return nil, &types.TagRequiredException{Message: new("A tag was not specified.")}
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &sdk.TagResourceOutput{}, s.SetTags(ctx, aws.ToString(in.ResourceArn), tags, nil)
}

// UntagResource removes tags from an application or a group.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	if len(in.TagKeys) == 0 {
		return nil, &types.TagRequiredException{Message: new("A tag was not specified.")}
	}
	return &sdk.UntagResourceOutput{}, s.SetTags(ctx, aws.ToString(in.ResourceArn), nil, in.TagKeys)
}

// ListTagsForResource lists the tags of an application or a group; there are
// never more than a page holds.
func (s *Service) ListTagsForResource(_ context.Context, in *sdk.ListTagsForResourceInput) (*sdk.ListTagsForResourceOutput, error) {
	out := &sdk.ListTagsForResourceOutput{Tags: []types.Tag{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		return s.tagged(tx, aws.ToString(in.ResourceArn), func(tags map[string]string) (map[string]string, error) {
			for _, k := range slices.Sorted(maps.Keys(tags)) {
				out.Tags = append(out.Tags, types.Tag{Key: new(k), Value: new(tags[k])})
			}
			return nil, nil
		})
	})
}
