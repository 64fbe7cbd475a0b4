package logs

import (
	"context"
	"maps"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxTags = 50

// groupFromARN is the name in a log group's ARN.
func groupFromARN(arn string) (string, error) {
	p := strings.SplitN(arn, ":", 7)
	if len(p) != 7 || p[0] != "arn" || p[2] != "logs" || p[5] != "log-group" {
		return "", invalid("1 validation error detected: Value '" + arn + "' at 'resourceArn' failed to satisfy constraint: Member must be the ARN of a log group")
	}
	return strings.TrimSuffix(p[6], ":*"), nil
}

// TagResource adds tags to a group.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	return &sdk.TagResourceOutput{}, s.tag(ctx, *in.ResourceArn, wire.CallOf(ctx).Region, in.Tags, nil)
}

// UntagResource removes tags from a group.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	return &sdk.UntagResourceOutput{}, s.tag(ctx, *in.ResourceArn, wire.CallOf(ctx).Region, nil, in.TagKeys)
}

func (s *Service) tag(ctx context.Context, arn, region string, set map[string]string, remove []string) error {
	name, err := groupFromARN(arn)
	if err != nil {
		return err
	}
	return s.change(ctx, region, name, func(_ *store.Tx, g *groupRow) error {
		if err := checkTags(g.Tags, set); err != nil {
			return err
		}
		tags := map[string]string{}
		maps.Copy(tags, g.Tags)
		maps.Copy(tags, set)
		for _, k := range remove {
			delete(tags, k)
		}
		g.Tags = tags
		return nil
	})
}

// ListTagsForResource lists a group's tags.
func (s *Service) ListTagsForResource(ctx context.Context, in *sdk.ListTagsForResourceInput) (*sdk.ListTagsForResourceOutput, error) {
	name, err := groupFromARN(*in.ResourceArn)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListTagsForResourceOutput{Tags: map[string]string{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		g, err := findGroup(tx, wire.CallOf(ctx).Region, name)
		maps.Copy(out.Tags, g.Tags)
		return err
	})
}

func checkTags(have, set map[string]string) error {
	n := len(have)
	for k, v := range set {
		switch {
		case k == "" || len([]rune(k)) > 128 || strings.HasPrefix(strings.ToLower(k), "aws:"):
			return invalid("Tag key '" + k + "' is invalid: it must have 1 to 128 characters and must not begin with aws:")
		case len([]rune(v)) > 256:
			return invalid("The value of tag '" + k + "' is invalid: it must not have more than 256 characters")
		}
		if _, ok := have[k]; !ok {
			n++
		}
	}
	if n > maxTags {
		return &types.TooManyTagsException{Message: new("The resource already has the maximum number of tags.")}
	}
	return nil
}

// Tagged lists the groups of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range groups.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out[s.groupARN(region, r.Value.Name)] = r.Value.Tags
		}
		return nil
	})
}

// SetTags changes a group's tags.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	p := strings.SplitN(arn, ":", 5)
	if len(p) < 5 {
		return noGroup()
	}
	return s.tag(ctx, arn, p[3], set, remove)
}
