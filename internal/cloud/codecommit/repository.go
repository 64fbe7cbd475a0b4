package codecommit

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A repository is a repository at rest.
type repository struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Region      string            `json:"region"`
	Description *string           `json:"description,omitempty"`
	Default     string            `json:"default,omitempty"` // branch
	Created     time.Time         `json:"created"`
	Modified    time.Time         `json:"modified"`
	Tags        map[string]string `json:"tags,omitempty"`
}

func (s *Service) registerRepositories(api *wire.API) {
	wire.Handle(api, s.CreateRepository, wire.Members("RepositoryName!"+nameRule, "RepositoryDescription 0..1000"), wire.Needs(func(c *wire.Call, in *sdk.CreateRepositoryInput) []authz.Access {
		return []authz.Access{{Action: "codecommit:CreateRepository", Resource: c.ARN("codecommit", *in.RepositoryName), Context: requestTags(in.Tags)}}
	}))
	wire.Handle(api, s.GetRepository, wire.Members("RepositoryName!"+nameRule), on(func(in *sdk.GetRepositoryInput) *string { return in.RepositoryName }))
	wire.Handle(api, s.ListRepositories, wire.Members("SortBy repositoryName|lastModifiedDate", "Order ascending|descending"))
	wire.Handle(api, s.BatchGetRepositories, wire.Members("RepositoryNames! 1..100"), wire.On(func(c *wire.Call, in *sdk.BatchGetRepositoriesInput) (all []string) {
		for _, n := range in.RepositoryNames {
			all = append(all, c.ARN("codecommit", n))
		}
		return all
	}))
	wire.Handle(api, s.UpdateRepositoryDescription, wire.Members("RepositoryName!"+nameRule, "RepositoryDescription 0..1000"),
		on(func(in *sdk.UpdateRepositoryDescriptionInput) *string { return in.RepositoryName }))
	wire.Handle(api, s.DeleteRepository, wire.Members("RepositoryName!"+nameRule), on(func(in *sdk.DeleteRepositoryInput) *string { return in.RepositoryName }))
}

// metadata is a repository as the API gives it. Both clone URLs of AWS name its
// endpoints for git; here git goes to the cloud's own, over HTTP.
func (s *Service) metadata(c *wire.Call, r repository) *types.RepositoryMetadata {
	url := c.Endpoint + GitPath + r.Name
	return &types.RepositoryMetadata{
		AccountId: &s.Account, Arn: new(s.arn(r.Region, r.Name)), CloneUrlHttp: &url, CloneUrlSsh: &url, CreationDate: &r.Created, LastModifiedDate: &r.Modified,
		DefaultBranch: optional(r.Default), RepositoryDescription: r.Description, RepositoryId: &r.ID, RepositoryName: &r.Name,
		KmsKeyId: new("arn:aws:kms:" + r.Region + ":" + s.Account + ":alias/aws/codecommit"),
	}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// CreateRepository makes an empty repository.
func (s *Service) CreateRepository(ctx context.Context, in *sdk.CreateRepositoryInput) (*sdk.CreateRepositoryOutput, error) {
	c := wire.CallOf(ctx)
	switch {
	case strings.HasSuffix(*in.RepositoryName, ".git"):
		return nil, &types.InvalidRepositoryNameException{Message: new("Repository name cannot end with .git")}
	case in.KmsKeyId != nil && !strings.HasSuffix(*in.KmsKeyId, "alias/aws/codecommit"):
		return nil, &types.EncryptionKeyInvalidUsageException{Message: new("This cloud encrypts repositories under alias/aws/codecommit only: leave kmsKeyId out.")}
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	r := repository{ID: uuid.NewString(), Name: *in.RepositoryName, Region: c.Region, Description: in.RepositoryDescription, Created: now, Modified: now, Tags: in.Tags}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		k := repositoryKey(c.Region, r.Name)
		if _, taken, err := repositories.Get(tx, k); err != nil || taken {
			return cmp.Or(err, error(&types.RepositoryNameExistsException{Message: new("Repository named " + r.Name + " already exists")}))
		}
		return repositories.Put(tx, k, r)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.CreateRepositoryOutput{RepositoryMetadata: s.metadata(c, r)}, nil
}

// GetRepository describes a repository.
func (s *Service) GetRepository(ctx context.Context, in *sdk.GetRepositoryInput) (*sdk.GetRepositoryOutput, error) {
	c := wire.CallOf(ctx)
	out := &sdk.GetRepositoryOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		r, err := find(tx, c.Region, *in.RepositoryName)
		out.RepositoryMetadata = s.metadata(c, r)
		return err
	})
}

// BatchGetRepositories describes several repositories.
func (s *Service) BatchGetRepositories(ctx context.Context, in *sdk.BatchGetRepositoriesInput) (*sdk.BatchGetRepositoriesOutput, error) {
	c := wire.CallOf(ctx)
	out := &sdk.BatchGetRepositoriesOutput{Repositories: []types.RepositoryMetadata{}, RepositoriesNotFound: []string{}, Errors: []types.BatchGetRepositoriesError{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for _, name := range in.RepositoryNames {
			r, ok, err := repositories.Get(tx, repositoryKey(c.Region, name))
			switch {
			case err != nil:
				return err
			case !ok:
				out.RepositoriesNotFound = append(out.RepositoriesNotFound, name)
			default:
				out.Repositories = append(out.Repositories, *s.metadata(c, r))
			}
		}
		return nil
	})
}

// listPage is how many names one answer lists.
const listPage = 1000

// ListRepositories lists the repositories of a region.
func (s *Service) ListRepositories(ctx context.Context, in *sdk.ListRepositoriesInput) (*sdk.ListRepositoriesOutput, error) {
	c := wire.CallOf(ctx)
	var all []repository
	err := s.DB.View(func(tx *store.Tx) error {
		for r, err := range repositories.Prefix(tx, c.Region+"/") {
			if err != nil {
				return err
			}
			all = append(all, r.Value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b repository) int {
		if in.Order == types.OrderEnumDescending {
			a, b = b, a
		}
		if in.SortBy == types.SortByEnumModifiedDate {
			return a.Modified.Compare(b.Modified)
		}
		return strings.Compare(a.Name, b.Name)
	})
	if in.NextToken != nil {
		after := slices.IndexFunc(all, func(r repository) bool { return r.ID == *in.NextToken })
		if after < 0 {
			return nil, &types.InvalidContinuationTokenException{Message: new("The specified continuation token is not valid.")}
		}
		all = all[after+1:]
	}
	out := &sdk.ListRepositoriesOutput{Repositories: []types.RepositoryNameIdPair{}}
	for i, r := range all {
		if i == listPage {
			out.NextToken = out.Repositories[i-1].RepositoryId
			break
		}
		out.Repositories = append(out.Repositories, types.RepositoryNameIdPair{RepositoryId: &r.ID, RepositoryName: &r.Name})
	}
	return out, nil
}

// UpdateRepositoryDescription sets or, without one, removes the description.
func (s *Service) UpdateRepositoryDescription(ctx context.Context, in *sdk.UpdateRepositoryDescriptionInput) (*sdk.UpdateRepositoryDescriptionOutput, error) {
	return &sdk.UpdateRepositoryDescriptionOutput{}, s.change(ctx, *in.RepositoryName, func(_ *store.Tx, r *repository) error {
		r.Description = in.RepositoryDescription
		return nil
	})
}

// change changes a repository of the call's region.
func (s *Service) change(ctx context.Context, name string, fn func(*store.Tx, *repository) error) error {
	c := wire.CallOf(ctx)
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		r, err := find(tx, c.Region, name)
		if err != nil {
			return err
		}
		if err := fn(tx, &r); err != nil {
			return err
		}
		r.Modified = time.Now().UTC().Truncate(time.Millisecond)
		return repositories.Put(tx, repositoryKey(c.Region, name), r)
	})
}

// DeleteRepository removes a repository with all that it holds. One that is
// not there is no error.
func (s *Service) DeleteRepository(ctx context.Context, in *sdk.DeleteRepositoryInput) (*sdk.DeleteRepositoryOutput, error) {
	c := wire.CallOf(ctx)
	out := &sdk.DeleteRepositoryOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		k := repositoryKey(c.Region, aws.ToString(in.RepositoryName))
		r, ok, err := repositories.Get(tx, k)
		if err != nil || !ok {
			return err
		}
		out.RepositoryId = &r.ID
		if err := drop(tx, branches, r.ID+"/"); err != nil {
			return err
		}
		if err := drop(tx, objects, r.ID+"/"); err != nil {
			return err
		}
		return repositories.Delete(tx, k)
	})
}

// drop removes all rows under a prefix.
func drop[V any](tx *store.Tx, t store.Table[V], prefix string) error {
	var keys []string
	for r, err := range t.Prefix(tx, prefix) {
		if err != nil {
			return err
		}
		keys = append(keys, r.Key)
	}
	for _, k := range keys {
		if err := t.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}
