package lambda

import (
	"context"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxTags = 50

func (s *Service) registerTags(api *wire.API) {
	const resource = "Resource! 1..256 arn:(aws[a-zA-Z-]*):lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:\\d{12}:(function:[a-zA-Z0-9-_]+(:(\\$LATEST|[a-zA-Z0-9-_]+))?|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12})"
	wire.Bind(api, "POST /2017-03-31/tags/{Resource}", s.TagResource, wire.Status(204), wire.Members(resource, "Tags!"),
		wire.On(func(_ *wire.Call, in *sdk.TagResourceInput) []string { return []string{aws.ToString(in.Resource)} }))
	wire.Bind(api, "DELETE /2017-03-31/tags/{Resource}", s.UntagResource, wire.Status(204), wire.QueryParam("TagKeys", "tagKeys"), wire.Members(resource, "TagKeys!"),
		wire.On(func(_ *wire.Call, in *sdk.UntagResourceInput) []string { return []string{aws.ToString(in.Resource)} }))
	wire.Bind(api, "GET /2017-03-31/tags/{Resource}", s.ListTags, wire.Members(resource),
		wire.On(func(_ *wire.Call, in *sdk.ListTagsInput) []string { return []string{aws.ToString(in.Resource)} }))
}

// TagResource adds tags to a function or mapping.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	return &sdk.TagResourceOutput{}, s.SetTags(ctx, *in.Resource, in.Tags, nil)
}

// UntagResource removes tags from a function or mapping.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	return &sdk.UntagResourceOutput{}, s.SetTags(ctx, *in.Resource, nil, in.TagKeys)
}

// ListTags lists the tags of a function or mapping.
func (s *Service) ListTags(_ context.Context, in *sdk.ListTagsInput) (*sdk.ListTagsOutput, error) {
	out := &sdk.ListTagsOutput{Tags: map[string]string{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		return s.tags(tx, *in.Resource, func(have map[string]string) (map[string]string, error) {
			maps.Copy(out.Tags, have)
			return nil, nil
		})
	})
}

// SetTags changes the tags of a function or mapping.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		return s.tags(tx, arn, func(have map[string]string) (map[string]string, error) {
			tags := map[string]string{}
			maps.Copy(tags, have)
			maps.Copy(tags, set)
			for _, k := range remove {
				delete(tags, k)
			}
			return tags, checkTags(tags)
		})
	})
}

func checkTags(tags map[string]string) error {
	for k, v := range tags {
		if k == "" || len([]rune(k)) > 128 || len([]rune(v)) > 256 || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return badValue("Tag " + k + " is invalid: a key has 1 to 128 characters and does not begin with aws:, a value at most 256.")
		}
	}
	if len(tags) > maxTags {
		return badValue("Number of tags exceeds resource tag limit.")
	}
	return nil
}

// tags lets f see and, unless it returns nil, replace the tags of a resource.
func (s *Service) tags(tx *store.Tx, arn string, f func(map[string]string) (map[string]string, error)) error {
	p := strings.SplitN(arn, ":", 7)
	if len(p) != 7 {
		return notFound("The resource you requested does not exist.")
	}
	if p[5] == "event-source-mapping" {
		m, ok, err := mappings.Get(tx, p[3]+"/"+p[6])
		if err != nil || !ok {
			return missingMapping(err, arn)
		}
		next, err := f(m.Tags)
		if err != nil || next == nil {
			return err
		}
		m.Tags = next
		return mappings.Put(tx, p[3]+"/"+p[6], m)
	}
	if strings.Contains(p[6], ":") {
		return badValue("Tags on function aliases and versions are not supported. Please specify a function ARN.")
	}
	n := name{region: p[3], account: s.Account, function: p[6]}
	row, err := mustExist(tx, n)
	if err != nil {
		return err
	}
	next, err := f(row.Tags)
	if err != nil || next == nil {
		return err
	}
	row.Tags = next
	return functions.Put(tx, n.key(), row)
}

func missingMapping(err error, arn string) error {
	if err != nil {
		return err
	}
	return notFound("Event source mapping not found: " + arn)
}

// Tagged lists the functions and mappings of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range functions.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out[name{region: region, account: s.Account, function: r.Value.Name}.arn()] = r.Value.Tags
		}
		for r, err := range mappings.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out[s.mappingARN(region, r.Value.UUID)] = r.Value.Tags
		}
		return nil
	})
}
