package resource

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/codecommit"

	"miniforge/internal/graph"
)

// repositoryAPI is what a Repository asks of CodeCommit.
type repositoryAPI interface {
	GetRepository(context.Context, *codecommit.GetRepositoryInput, ...func(*codecommit.Options)) (*codecommit.GetRepositoryOutput, error)
	ListTagsForResource(context.Context, *codecommit.ListTagsForResourceInput, ...func(*codecommit.Options)) (*codecommit.ListTagsForResourceOutput, error)
	CreateRepository(context.Context, *codecommit.CreateRepositoryInput, ...func(*codecommit.Options)) (*codecommit.CreateRepositoryOutput, error)
	UpdateRepositoryDescription(context.Context, *codecommit.UpdateRepositoryDescriptionInput, ...func(*codecommit.Options)) (*codecommit.UpdateRepositoryDescriptionOutput, error)
	DeleteRepository(context.Context, *codecommit.DeleteRepositoryInput, ...func(*codecommit.Options)) (*codecommit.DeleteRepositoryOutput, error)
}

var _ repositoryAPI = (*codecommit.Client)(nil)

// A Repository is a CodeCommit repository. What it holds is a Branch.
type Repository struct {
	CodeCommit  repositoryAPI
	Owner       Owner
	Name        string
	ARN         string
	Description string
}

func (r *Repository) ID() string              { return "codecommit/" + r.Name }
func (r *Repository) Needs() []graph.Resource { return nil }

func (r *Repository) Observe(ctx context.Context) (graph.Observation, error) {
	var description string
	var owned bool
	err := together(ctx, func(ctx context.Context) error {
		out, err := r.CodeCommit.GetRepository(ctx, &codecommit.GetRepositoryInput{RepositoryName: &r.Name})
		if err == nil {
			description = deref(out.RepositoryMetadata.RepositoryDescription)
		}
		return err
	}, func(ctx context.Context) (err error) {
		owned, err = r.owned(ctx)
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read repository", r.Name, err)
	}
	var d drift
	d.add("Description", r.Description, description)
	return graph.Observation{Exists: true, Owned: owned, Drift: d}, nil
}

func (r *Repository) owned(ctx context.Context) (bool, error) {
	out, err := r.CodeCommit.ListTagsForResource(ctx, &codecommit.ListTagsForResourceInput{ResourceArn: &r.ARN})
	if err != nil {
		return false, err
	}
	return r.Owner.owns(out.Tags), nil
}

// Create says where to look if the account may not have repositories at all,
// as AWS's own words do not.
func (r *Repository) Create(ctx context.Context) error {
	_, err := r.CodeCommit.CreateRepository(ctx, &codecommit.CreateRepositoryInput{
		RepositoryName: &r.Name, RepositoryDescription: &r.Description, Tags: r.Owner.Tags(),
	})
	if hasCode(err, "OperationNotAllowedException") {
		return failed("create repository (CodeCommit is not open to this account: leave the pipeline out by --without pipeline)", r.Name, err)
	}
	return failed("create repository", r.Name, err)
}

func (r *Repository) Update(ctx context.Context, _ []graph.Diff) error {
	_, err := r.CodeCommit.UpdateRepositoryDescription(ctx, &codecommit.UpdateRepositoryDescriptionInput{
		RepositoryName: &r.Name, RepositoryDescription: &r.Description,
	})
	return failed("describe repository", r.Name, err)
}

func (r *Repository) Delete(ctx context.Context) error {
	_, err := r.CodeCommit.DeleteRepository(ctx, &codecommit.DeleteRepositoryInput{RepositoryName: &r.Name})
	return deleted("repository "+r.Name, err)
}
