package kms

import (
	"context"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxTags = 50

func (s *Service) registerTags(api *wire.API) {
	wire.Handle(api, s.TagResource, on(s, func(in *sdk.TagResourceInput) *string { return in.KeyId },
		func(in *sdk.TagResourceInput, keys map[string][]string) { tagKeys(keys, in.Tags) }),
		wire.Members(keyIDRule, "Tags!", "Tags[].TagKey! 1..128", "Tags[].TagValue! 0..256"))
	wire.Handle(api, s.UntagResource, on(s, func(in *sdk.UntagResourceInput) *string { return in.KeyId },
		func(in *sdk.UntagResourceInput, keys map[string][]string) { keys["aws:TagKeys"] = in.TagKeys }),
		wire.Members(keyIDRule, "TagKeys!", "TagKeys[] 1..128"))
	wire.Handle(api, s.ListResourceTags, on(s, func(in *sdk.ListResourceTagsInput) *string { return in.KeyId }),
		wire.Members(keyIDRule, "Limit 1..1000", "Marker 1..1024"))
}

// mergeTags adds tags to those there are.
func mergeTags(have map[string]string, add []types.Tag) (map[string]string, error) {
	out := map[string]string{}
	maps.Copy(out, have)
	seen := map[string]bool{}
	for _, t := range add {
		k := deref(t.TagKey)
		switch {
		case seen[k]:
			return nil, tagError("Duplicate tag keys")
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return nil, tagError("Tags beginning with aws: are reserved")
		}
		seen[k] = true
		out[k] = deref(t.TagValue)
	}
	if len(out) > maxTags {
		return nil, tagError("Too many tags")
	}
	return out, nil
}

// TagResource adds or changes tags of a key.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	return &sdk.TagResourceOutput{}, s.setTags(ctx, regionOf(ctx), in.KeyId, in.Tags, nil)
}

// UntagResource takes tags from a key.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	return &sdk.UntagResourceOutput{}, s.setTags(ctx, regionOf(ctx), in.KeyId, nil, in.TagKeys)
}

func (s *Service) setTags(ctx context.Context, region string, name *string, add []types.Tag, remove []string) error {
	k, err := s.findOnly(region, name)
	if err != nil {
		return err
	}
	return s.change(ctx, k, func(_ *store.Tx, row *keyRow) (err error) {
		if err := (&key{keyRow: *row, arn: k.arn}).alive(); err != nil {
			return err
		}
		if row.Tags, err = mergeTags(row.Tags, add); err != nil {
			return err
		}
		for _, t := range remove {
			delete(row.Tags, t)
		}
		return nil
	})
}

// ListResourceTags lists the tags of a key.
func (s *Service) ListResourceTags(ctx context.Context, in *sdk.ListResourceTagsInput) (*sdk.ListResourceTagsOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	after, err := decodeMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	size := maxTags
	if in.Limit != nil {
		size = int(*in.Limit)
	}
	out := &sdk.ListResourceTagsOutput{Tags: []types.Tag{}}
	for _, t := range slices.Sorted(maps.Keys(k.Tags)) {
		if after != "" && t <= after {
			continue
		}
		if len(out.Tags) == size {
			out.NextMarker, out.Truncated = encodeMarker(*out.Tags[size-1].TagKey), true
			break
		}
		out.Tags = append(out.Tags, types.Tag{TagKey: &t, TagValue: new(k.Tags[t])})
	}
	return out, nil
}

// Tagged lists the tagged keys of a region by ARN.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range keyRows.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			if len(r.Value.Tags) > 0 {
				out[s.arn(region, r.Value.ID)] = r.Value.Tags
			}
		}
		return nil
	})
}

// SetTags changes the tags of a key by its ARN.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	var add []types.Tag
	for _, k := range slices.Sorted(maps.Keys(set)) {
		add = append(add, types.Tag{TagKey: &k, TagValue: new(set[k])})
	}
	p := strings.SplitN(arn, ":", 6)
	return s.setTags(ctx, p[min(3, len(p)-1)], &arn, add, remove)
}
