package iam

import (
	"context"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxTags = 50

func (s *Service) registerTags(api *wire.API) {
	tags := wire.Members("Tags! 0..50", "Tags[].Key! 1..128", "Tags[].Value! 0..256")
	keys := wire.Members("TagKeys! 0..50", "TagKeys[] 1..128")
	wire.Handle(api, s.TagRole, on(s, roleKind, func(in *sdk.TagRoleInput) *string { return in.RoleName },
		func(in *sdk.TagRoleInput, keys map[string][]string) { tagKeys(keys, in.Tags) }), wire.Members(roleRule), tags)
	wire.Handle(api, s.UntagRole, on(s, roleKind, func(in *sdk.UntagRoleInput) *string { return in.RoleName },
		func(in *sdk.UntagRoleInput, keys map[string][]string) { keys["aws:TagKeys"] = in.TagKeys }), wire.Members(roleRule), keys)
	wire.Handle(api, s.ListRoleTags, on(s, roleKind, func(in *sdk.ListRoleTagsInput) *string { return in.RoleName }), wire.Members(roleRule, markerRule, maxRule))
	wire.Handle(api, s.TagUser, on(s, userKind, func(in *sdk.TagUserInput) *string { return in.UserName },
		func(in *sdk.TagUserInput, keys map[string][]string) { tagKeys(keys, in.Tags) }), wire.Members(userRule), tags)
	wire.Handle(api, s.UntagUser, on(s, userKind, func(in *sdk.UntagUserInput) *string { return in.UserName },
		func(in *sdk.UntagUserInput, keys map[string][]string) { keys["aws:TagKeys"] = in.TagKeys }), wire.Members(userRule), keys)
	wire.Handle(api, s.ListUserTags, on(s, userKind, func(in *sdk.ListUserTagsInput) *string { return in.UserName }), wire.Members(userRule, markerRule, maxRule))
}

// mergeTags adds tags to those there are. Keys differ only by more than case.
func mergeTags(have map[string]string, add []types.Tag) (map[string]string, error) {
	out := map[string]string{}
	maps.Copy(out, have)
	seen := map[string]bool{}
	for _, t := range add {
		k := deref(t.Key)
		low := strings.ToLower(k)
		switch {
		case seen[low]:
			return nil, badInput("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		case strings.HasPrefix(low, "aws:"):
			return nil, badInput("Tag keys that start with aws: are reserved for system use.")
		}
		seen[low] = true
		maps.DeleteFunc(out, func(old, _ string) bool { return strings.EqualFold(old, k) })
		out[k] = deref(t.Value)
	}
	if len(out) > maxTags {
		return nil, overLimit("The number of tags has reached the maximum limit.")
	}
	return out, nil
}

func tagList(tags map[string]string) []types.Tag {
	var out []types.Tag
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, types.Tag{Key: &k, Value: new(tags[k])})
	}
	return out
}

func (s *Service) tag(ctx context.Context, k *kind, name string, add []types.Tag, remove []string) error {
	return s.change(ctx, k, name, func(_ *store.Tx, e *entity) (err error) {
		if e.Tags, err = mergeTags(e.Tags, add); err != nil {
			return err
		}
		for _, r := range remove {
			maps.DeleteFunc(e.Tags, func(have, _ string) bool { return strings.EqualFold(have, r) })
		}
		return nil
	})
}

func (s *Service) tags(k *kind, name string, marker *string, size *int32) (page[types.Tag], error) {
	e, err := s.get(k, name)
	if err != nil {
		return page[types.Tag]{}, err
	}
	return paginate(tagList(e.Tags), func(t types.Tag) string { return *t.Key }, marker, size)
}

// TagRole adds or changes tags of a role.
func (s *Service) TagRole(ctx context.Context, in *sdk.TagRoleInput) (*sdk.TagRoleOutput, error) {
	return &sdk.TagRoleOutput{}, s.tag(ctx, roleKind, *in.RoleName, in.Tags, nil)
}

// UntagRole takes tags from a role.
func (s *Service) UntagRole(ctx context.Context, in *sdk.UntagRoleInput) (*sdk.UntagRoleOutput, error) {
	return &sdk.UntagRoleOutput{}, s.tag(ctx, roleKind, *in.RoleName, nil, in.TagKeys)
}

// ListRoleTags lists the tags of a role.
func (s *Service) ListRoleTags(_ context.Context, in *sdk.ListRoleTagsInput) (*sdk.ListRoleTagsOutput, error) {
	p, err := s.tags(roleKind, *in.RoleName, in.Marker, in.MaxItems)
	return &sdk.ListRoleTagsOutput{Tags: p.items, IsTruncated: p.truncated, Marker: p.marker}, err
}

// TagUser adds or changes tags of a user.
func (s *Service) TagUser(ctx context.Context, in *sdk.TagUserInput) (*sdk.TagUserOutput, error) {
	return &sdk.TagUserOutput{}, s.tag(ctx, userKind, *in.UserName, in.Tags, nil)
}

// UntagUser takes tags from a user.
func (s *Service) UntagUser(ctx context.Context, in *sdk.UntagUserInput) (*sdk.UntagUserOutput, error) {
	return &sdk.UntagUserOutput{}, s.tag(ctx, userKind, *in.UserName, nil, in.TagKeys)
}

// ListUserTags lists the tags of a user.
func (s *Service) ListUserTags(_ context.Context, in *sdk.ListUserTagsInput) (*sdk.ListUserTagsOutput, error) {
	p, err := s.tags(userKind, *in.UserName, in.Marker, in.MaxItems)
	return &sdk.ListUserTagsOutput{Tags: p.items, IsTruncated: p.truncated, Marker: p.marker}, err
}
