// Package codecommit is CodeCommit: git repositories, written and read through
// the API and by git over HTTP.
//
// https://docs.aws.amazon.com/codecommit/latest/APIReference/Welcome.html
package codecommit

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codecommit/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Tasks   event.Sender
	Caller  wire.Caller
	Signals *event.Signals
	Log     *slog.Logger
	Account string
	// Credential finds the secret and the owner of an access key, as for
	// requests to the API: git signs its own way.
	Credential func(ctx context.Context, id, token string) (wire.Credential, error)
	// Authorize judges what no operation of the API stands for: git's own
	// requests and archives of a commit.
	Authorize func(ctx context.Context, p authz.Principal, region string, access authz.Access) error
}

// A Service serves the repositories of all regions.
type Service struct{ Options }

// New makes the service.
func New(o Options) *Service {
	if o.Signals == nil {
		o.Signals = &event.Signals{}
	}
	return &Service{o}
}

// Register adds the operations and task handlers.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{
		Service: "codecommit", Protocol: wire.JSON11, Target: "CodeCommit_20150413", LowerFirst: true,
		Names: map[string]string{"RepositoryMetadata.Arn": "Arn", "GetDifferencesInput.MaxResults": "MaxResults", "GetDifferencesInput.NextToken": "NextToken", "GetDifferencesOutput.NextToken": "NextToken"},
	})
	s.registerRepositories(api)
	s.registerTags(api)
	s.registerBranches(api)
	s.registerReads(api)
	s.registerCommits(api)
	s.notices().Register(q)
}

// Tables. A repository's objects and branches go by its ID: one that is made
// again under the same name has none of the old.
const (
	repositories = store.Table[repository]("codecommit.repositories") // region/name
	branches     = store.Table[string]("codecommit.branches")         // id/name -> commit
	objects      = store.Table[[]byte]("codecommit.objects")          // id/hash -> type and content
)

// Rules that several operations share.
const (
	nameRule   = ` 1..100 [\w\.-]+`
	branchRule = "BranchName! 1..256"
)

func repositoryKey(region, name string) string { return region + "/" + name }

func (s *Service) arn(region, name string) string {
	return "arn:aws:codecommit:" + region + ":" + s.Account + ":" + name
}

// on judges an operation on the repository that its input names.
func on[In any](name func(*In) *string) wire.Option {
	return wire.On(func(c *wire.Call, in *In) []string { return []string{c.ARN("codecommit", *name(in))} })
}

// writes judges an operation that changes a branch, which policies can narrow
// by codecommit:References.
func writes[In any](of func(*In) (repository, branch *string)) wire.Option {
	return wire.Needs(func(c *wire.Call, in *In) []authz.Access {
		repository, branch := of(in)
		return []authz.Access{{Action: "codecommit:" + c.Op, Resource: c.ARN("codecommit", *repository), Context: map[string][]string{"codecommit:References": {refsHeads + *branch}}}}
	})
}

func noRepository(name string) error {
	return &types.RepositoryDoesNotExistException{Message: new(name + " does not exist")}
}

// find returns a repository of the call's region.
func find(tx *store.Tx, region, name string) (repository, error) {
	r, ok, err := repositories.Get(tx, repositoryKey(region, name))
	if err == nil && !ok {
		err = noRepository(name)
	}
	return r, err
}

// Tagged lists the repositories of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range repositories.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out[s.arn(region, r.Value.Name)] = r.Value.Tags
		}
		return nil
	})
}

// SetTags changes a repository's tags.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	region, name, err := s.parse(arn)
	if err != nil {
		return err
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		r, err := find(tx, region, name)
		if err != nil {
			return err
		}
		tags := maps.Clone(r.Tags)
		if tags == nil {
			tags = map[string]string{}
		}
		maps.Copy(tags, set)
		for _, k := range remove {
			delete(tags, k)
		}
		if len(tags) > maxTags {
			return &types.TooManyTagsException{Message: new("The maximum number of tags for an AWS CodeCommit resource has been exceeded.")}
		}
		r.Tags = tags
		return repositories.Put(tx, repositoryKey(region, name), r)
	})
}

const maxTags = 50

func (s *Service) parse(arn string) (region, name string, err error) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[2] != "codecommit" || p[4] != s.Account || p[5] == "" {
		return "", "", &types.InvalidResourceArnException{Message: new("The value for the resource ARN is not valid: " + arn)}
	}
	return p[3], p[5], nil
}

func (s *Service) registerTags(api *wire.API) {
	wire.Handle(api, s.TagResource, wire.Members("ResourceArn!", "Tags!"), wire.Needs(func(c *wire.Call, in *sdk.TagResourceInput) []authz.Access {
		return []authz.Access{{Action: "codecommit:" + c.Op, Resource: *in.ResourceArn, Context: requestTags(in.Tags)}}
	}))
	wire.Handle(api, s.UntagResource, wire.Members("ResourceArn!", "TagKeys!"), wire.Needs(func(c *wire.Call, in *sdk.UntagResourceInput) []authz.Access {
		return []authz.Access{{Action: "codecommit:" + c.Op, Resource: *in.ResourceArn, Context: map[string][]string{"aws:TagKeys": in.TagKeys}}}
	}))
	wire.Handle(api, s.ListTagsForResource, wire.Members("ResourceArn!"), wire.On(func(_ *wire.Call, in *sdk.ListTagsForResourceInput) []string { return []string{*in.ResourceArn} }))
}

// requestTags are the condition keys of tags that a request brings.
func requestTags(tags map[string]string) map[string][]string {
	out := map[string][]string{}
	for k, v := range tags {
		out["aws:RequestTag/"+k] = []string{v}
	}
	if len(tags) > 0 {
		out["aws:TagKeys"] = slices.Sorted(maps.Keys(tags))
	}
	return out
}

func checkTags(tags map[string]string) error {
	for k := range tags {
		switch {
		case k == "" || len(k) > 128 || len(tags[k]) > 256:
			return &types.InvalidTagsMapException{Message: new("The map of tags is not valid.")}
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return &types.InvalidSystemTagUsageException{Message: new("The specified tag is not valid. Key names cannot be prefixed with aws:.")}
		}
	}
	if len(tags) > maxTags {
		return &types.TooManyTagsException{Message: new("The maximum number of tags for an AWS CodeCommit resource has been exceeded.")}
	}
	return nil
}

// TagResource adds tags to a repository.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	return &sdk.TagResourceOutput{}, s.SetTags(ctx, *in.ResourceArn, in.Tags, nil)
}

// UntagResource removes tags of a repository.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	return &sdk.UntagResourceOutput{}, s.SetTags(ctx, *in.ResourceArn, nil, in.TagKeys)
}

// ListTagsForResource lists a repository's tags.
func (s *Service) ListTagsForResource(_ context.Context, in *sdk.ListTagsForResourceInput) (*sdk.ListTagsForResourceOutput, error) {
	region, name, err := s.parse(*in.ResourceArn)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListTagsForResourceOutput{Tags: map[string]string{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		r, err := find(tx, region, name)
		maps.Copy(out.Tags, r.Tags)
		return err
	})
}
