// Package tagging is the Resource Groups Tagging API: it asks every service
// for its tagged resources and keeps nothing of its own.
//
// https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/Welcome.html
package tagging

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/wire"
)

// A Source is a service whose resources have tags. IAM is none, as on AWS.
type Source interface {
	// Tagged lists the resources of a region: ARN -> tags.
	Tagged(ctx context.Context, region string) (map[string]map[string]string, error)
	// SetTags changes the tags of one resource.
	SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error
}

// A Service answers for all sources.
type Service struct{ sources map[string]Source }

// New makes the service; sources go by the service's name in ARNs.
func New(sources map[string]Source) *Service { return &Service{sources} }

// Register adds the operations.
func (s *Service) Register(m *wire.Mux, _ *event.Queue) {
	api := m.API(wire.API{
		Service: "tagging", Protocol: wire.JSON11, Target: "ResourceGroupsTaggingAPI_20170126",
		Invalid: func(_ string, p []wire.Problem) error {
			return &types.InvalidParameterException{Message: new(wire.ProblemText(p))}
		},
	})
	// The actions carry the prefix "tag", the service is called "tagging".
	wire.Handle(api, s.GetResources, judged[sdk.GetResourcesInput]("GetResources"),
		wire.Members("ResourcesPerPage 1..100", "TagsPerPage 100..500", "TagFilters 0..50", "TagFilters[].Key 1..128", "TagFilters[].Values 0..20", "ResourceARNList 1..100"))
	wire.Handle(api, s.GetTagKeys, judged[sdk.GetTagKeysInput]("GetTagKeys"))
	wire.Handle(api, s.GetTagValues, judged[sdk.GetTagValuesInput]("GetTagValues"), wire.Members("Key! 1..128"))
	wire.Handle(api, s.TagResources, judged[sdk.TagResourcesInput]("TagResources"),
		wire.Members("ResourceARNList! 1..20", "Tags! 1..50"))
	wire.Handle(api, s.UntagResources, judged[sdk.UntagResourcesInput]("UntagResources"),
		wire.Members("ResourceARNList! 1..20", "TagKeys! 1..50"))
}

func judged[In any](op string) wire.Option {
	return wire.Needs(func(*wire.Call, *In) []authz.Access {
		return []authz.Access{{Action: "tag:" + op, Resource: "*"}}
	})
}

// all lists every tagged resource of the region by ARN.
func (s *Service) all(ctx context.Context) ([]types.ResourceTagMapping, error) {
	region := wire.CallOf(ctx).Region
	var out []types.ResourceTagMapping
	for _, name := range slices.Sorted(maps.Keys(s.sources)) {
		tagged, err := s.sources[name].Tagged(ctx, region)
		if err != nil {
			return nil, err
		}
		for arn, tags := range tagged {
			if len(tags) == 0 {
				continue
			}
			m := types.ResourceTagMapping{ResourceARN: &arn, Tags: []types.Tag{}}
			for _, k := range slices.Sorted(maps.Keys(tags)) {
				m.Tags = append(m.Tags, types.Tag{Key: new(k), Value: new(tags[k])})
			}
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b types.ResourceTagMapping) int { return strings.Compare(*a.ResourceARN, *b.ResourceARN) })
	return out, nil
}

// GetResources lists tagged resources, filtered by tags and types.
func (s *Service) GetResources(ctx context.Context, in *sdk.GetResourcesInput) (*sdk.GetResourcesOutput, error) {
	if len(in.ResourceARNList) > 0 && (len(in.TagFilters) > 0 || len(in.ResourceTypeFilters) > 0 || in.ResourcesPerPage != nil) {
		return nil, &types.InvalidParameterException{Message: new("ResourceARNList cannot be combined with TagFilters, ResourceTypeFilters or ResourcesPerPage")}
	}
	all, err := s.all(ctx)
	if err != nil {
		return nil, err
	}
	after, err := decodeToken(in.PaginationToken)
	if err != nil {
		return nil, err
	}
	size := 100
	if in.ResourcesPerPage != nil {
		size = int(*in.ResourcesPerPage)
	}
	out := &sdk.GetResourcesOutput{ResourceTagMappingList: []types.ResourceTagMapping{}, PaginationToken: new("")}
	for _, m := range all {
		if *m.ResourceARN <= after || !matches(m, in) {
			continue
		}
		if len(out.ResourceTagMappingList) == size {
			out.PaginationToken = encodeToken(*out.ResourceTagMappingList[size-1].ResourceARN)
			break
		}
		out.ResourceTagMappingList = append(out.ResourceTagMappingList, m)
	}
	return out, nil
}

func matches(m types.ResourceTagMapping, in *sdk.GetResourcesInput) bool {
	if len(in.ResourceARNList) > 0 && !slices.Contains(in.ResourceARNList, *m.ResourceARN) {
		return false
	}
	if len(in.ResourceTypeFilters) > 0 && !slices.ContainsFunc(in.ResourceTypeFilters, func(f string) bool { return ofType(*m.ResourceARN, f) }) {
		return false
	}
	for _, f := range in.TagFilters {
		if f.Key == nil {
			continue
		}
		i := slices.IndexFunc(m.Tags, func(t types.Tag) bool { return *t.Key == *f.Key })
		if i < 0 || len(f.Values) > 0 && !slices.Contains(f.Values, *m.Tags[i].Value) {
			return false
		}
	}
	return true
}

// ofType tells whether an ARN is of a type such as "lambda:function", or of a
// service such as "sqs".
func ofType(arn, filter string) bool {
	p := strings.SplitN(arn, ":", 6)
	service, kind, typed := strings.Cut(filter, ":")
	if len(p) < 6 || p[2] != service {
		return false
	}
	rest := strings.TrimPrefix(p[5], "/")
	return !typed || rest == kind || strings.HasPrefix(rest, kind+":") || strings.HasPrefix(rest, kind+"/")
}

// GetTagKeys lists all tag keys in use in the region.
func (s *Service) GetTagKeys(ctx context.Context, in *sdk.GetTagKeysInput) (*sdk.GetTagKeysOutput, error) {
	keys, next, err := s.values(ctx, in.PaginationToken, func(t types.Tag) *string { return t.Key })
	return &sdk.GetTagKeysOutput{TagKeys: keys, PaginationToken: next}, err
}

// GetTagValues lists all values of a tag key in the region.
func (s *Service) GetTagValues(ctx context.Context, in *sdk.GetTagValuesInput) (*sdk.GetTagValuesOutput, error) {
	values, next, err := s.values(ctx, in.PaginationToken, func(t types.Tag) *string {
		if *t.Key == *in.Key {
			return t.Value
		}
		return nil
	})
	return &sdk.GetTagValuesOutput{TagValues: values, PaginationToken: next}, err
}

const valuesPerPage = 1000

func (s *Service) values(ctx context.Context, token *string, of func(types.Tag) *string) ([]string, *string, error) {
	all, err := s.all(ctx)
	if err != nil {
		return nil, nil, err
	}
	after, err := decodeToken(token)
	if err != nil {
		return nil, nil, err
	}
	set := map[string]bool{}
	for _, m := range all {
		for _, t := range m.Tags {
			if v := of(t); v != nil && (after == "" || *v > after) {
				set[*v] = true
			}
		}
	}
	out := slices.AppendSeq([]string{}, maps.Keys(set))
	slices.Sort(out)
	if len(out) > valuesPerPage {
		return out[:valuesPerPage], encodeToken(out[valuesPerPage-1]), nil
	}
	return out, new(""), nil
}

// TagResources tags resources of any service; what could not be tagged is in the answer.
func (s *Service) TagResources(ctx context.Context, in *sdk.TagResourcesInput) (*sdk.TagResourcesOutput, error) {
	return &sdk.TagResourcesOutput{FailedResourcesMap: s.each(ctx, in.ResourceARNList, in.Tags, nil)}, nil
}

// UntagResources takes tags from resources of any service.
func (s *Service) UntagResources(ctx context.Context, in *sdk.UntagResourcesInput) (*sdk.UntagResourcesOutput, error) {
	return &sdk.UntagResourcesOutput{FailedResourcesMap: s.each(ctx, in.ResourceARNList, nil, in.TagKeys)}, nil
}

func (s *Service) each(ctx context.Context, arns []string, set map[string]string, remove []string) map[string]types.FailureInfo {
	failed := map[string]types.FailureInfo{}
	for _, arn := range arns {
		p := strings.SplitN(arn, ":", 6)
		var err error
		if src := s.sources[p[min(2, len(p)-1)]]; src == nil || len(p) < 6 {
			err = &types.InvalidParameterException{Message: new("ARN '" + arn + "' is not valid or its service has no tags here")}
		} else {
			err = src.SetTags(ctx, arn, set, remove)
		}
		if err != nil {
			failed[arn] = failure(err)
		}
	}
	return failed
}

func failure(err error) types.FailureInfo {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return types.FailureInfo{ErrorCode: types.ErrorCodeInvalidParameterException, ErrorMessage: new(api.ErrorCode() + ": " + api.ErrorMessage()), StatusCode: 400}
	}
	return types.FailureInfo{ErrorCode: types.ErrorCodeInternalServiceException, ErrorMessage: new("the tags could not be changed"), StatusCode: 500}
}

func encodeToken(s string) *string { return new(base64.RawURLEncoding.EncodeToString([]byte(s))) }

func decodeToken(t *string) (string, error) {
	if t == nil || *t == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*t)
	if err != nil {
		return "", &types.PaginationTokenExpiredException{Message: new("The pagination token is not valid")}
	}
	return string(b), nil
}
