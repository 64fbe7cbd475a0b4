package codecommit

import (
	"context"
	"errors"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const refsHeads = "refs/heads/"

func (s *Service) registerBranches(api *wire.API) {
	wire.Handle(api, s.CreateBranch, wire.Members("RepositoryName!"+nameRule, branchRule, "CommitId!"),
		writes(func(in *sdk.CreateBranchInput) (r, b *string) { return in.RepositoryName, in.BranchName }))
	wire.Handle(api, s.GetBranch, wire.Members("RepositoryName!"+nameRule, branchRule), on(func(in *sdk.GetBranchInput) *string { return in.RepositoryName }))
	wire.Handle(api, s.ListBranches, wire.Members("RepositoryName!"+nameRule), on(func(in *sdk.ListBranchesInput) *string { return in.RepositoryName }))
	wire.Handle(api, s.UpdateDefaultBranch, wire.Members("RepositoryName!"+nameRule, "DefaultBranchName! 1..256"), on(func(in *sdk.UpdateDefaultBranchInput) *string { return in.RepositoryName }))
	wire.Handle(api, s.DeleteBranch, wire.Members("RepositoryName!"+nameRule, branchRule),
		writes(func(in *sdk.DeleteBranchInput) (r, b *string) { return in.RepositoryName, in.BranchName }))
}

// checkBranch applies git's rules for the names of references.
func checkBranch(name string) error {
	if plumbing.NewBranchReferenceName(name).Validate() != nil || strings.HasPrefix(name, "refs/") || isHash(name) {
		return &types.InvalidBranchNameException{Message: new("The specified reference name is not valid: " + name)}
	}
	return nil
}

func noBranch(name string) error {
	return &types.BranchDoesNotExistException{Message: new("Branch does not exist: " + name)}
}

func tipOf(tx *store.Tx, id, branch string) (string, error) {
	tip, ok, err := branches.Get(tx, id+"/"+branch)
	if err == nil && !ok {
		err = noBranch(branch)
	}
	return tip, err
}

// A move is a branch that goes from one commit to another; "" is none.
type move struct{ Branch, From, To string }

// point moves a branch and tells who waits for that. The first branch of a
// repository becomes its default.
func (s *Service) point(tx *store.Tx, c *wire.Call, r *repository, m move) error {
	k := r.ID + "/" + m.Branch
	if m.To == "" {
		if err := branches.Delete(tx, k); err != nil {
			return err
		}
	} else if err := branches.Put(tx, k, m.To); err != nil {
		return err
	}
	if r.Default == "" && m.To != "" {
		r.Default = m.Branch
	}
	return s.tell(tx, c, r, m)
}

// CreateBranch makes a branch that points to a commit.
func (s *Service) CreateBranch(ctx context.Context, in *sdk.CreateBranchInput) (*sdk.CreateBranchOutput, error) {
	if err := checkBranch(*in.BranchName); err != nil {
		return nil, err
	}
	return &sdk.CreateBranchOutput{}, s.change(ctx, *in.RepositoryName, func(tx *store.Tx, r *repository) error {
		if _, err := commitOf(objectsIn(tx, r.ID), *in.CommitId); err != nil {
			return err
		}
		if _, taken, err := branches.Get(tx, r.ID+"/"+*in.BranchName); err != nil {
			return err
		} else if taken {
			return &types.BranchNameExistsException{Message: new("Branch named " + *in.BranchName + " already exists")}
		}
		return s.point(tx, wire.CallOf(ctx), r, move{*in.BranchName, "", *in.CommitId})
	})
}

// commitOf finds a commit by its full id.
func commitOf(o *objectStore, id string) (*object.Commit, error) {
	if !isHash(id) {
		return nil, &types.InvalidCommitIdException{Message: new("The specified commit ID is not valid: " + id)}
	}
	c, err := object.GetCommit(o, plumbing.NewHash(id))
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, &types.CommitIdDoesNotExistException{Message: new("Commit ID " + id + " does not exist")}
	}
	return c, err
}

// GetBranch tells which commit a branch points to.
func (s *Service) GetBranch(ctx context.Context, in *sdk.GetBranchInput) (*sdk.GetBranchOutput, error) {
	out := &sdk.GetBranchOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		r, err := find(tx, wire.CallOf(ctx).Region, *in.RepositoryName)
		if err != nil {
			return err
		}
		tip, err := tipOf(tx, r.ID, *in.BranchName)
		out.Branch = &types.BranchInfo{BranchName: in.BranchName, CommitId: &tip}
		return err
	})
}

// ListBranches lists the branches of a repository.
func (s *Service) ListBranches(ctx context.Context, in *sdk.ListBranchesInput) (*sdk.ListBranchesOutput, error) {
	out := &sdk.ListBranchesOutput{Branches: []string{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		r, err := find(tx, wire.CallOf(ctx).Region, *in.RepositoryName)
		if err != nil {
			return err
		}
		prefix := r.ID + "/"
		from := prefix
		if in.NextToken != nil {
			if checkBranch(*in.NextToken) != nil {
				return &types.InvalidContinuationTokenException{Message: new("The specified continuation token is not valid.")}
			}
			from = prefix + *in.NextToken + "\x00"
		}
		for b, err := range branches.Range(tx, from, store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			if len(out.Branches) == listPage {
				out.NextToken = &out.Branches[listPage-1]
				break
			}
			out.Branches = append(out.Branches, b.Key[len(prefix):])
		}
		return nil
	})
}

// UpdateDefaultBranch makes another branch the default.
func (s *Service) UpdateDefaultBranch(ctx context.Context, in *sdk.UpdateDefaultBranchInput) (*sdk.UpdateDefaultBranchOutput, error) {
	return &sdk.UpdateDefaultBranchOutput{}, s.change(ctx, *in.RepositoryName, func(tx *store.Tx, r *repository) error {
		_, err := tipOf(tx, r.ID, *in.DefaultBranchName)
		r.Default = *in.DefaultBranchName
		return err
	})
}

// DeleteBranch removes a branch; one that is not there is no error, the default
// one cannot be removed.
func (s *Service) DeleteBranch(ctx context.Context, in *sdk.DeleteBranchInput) (*sdk.DeleteBranchOutput, error) {
	out := &sdk.DeleteBranchOutput{}
	return out, s.change(ctx, *in.RepositoryName, func(tx *store.Tx, r *repository) error {
		if r.Default == *in.BranchName {
			return &types.DefaultBranchCannotBeDeletedException{Message: new("The default branch cannot be deleted: " + r.Default)}
		}
		tip, ok, err := branches.Get(tx, r.ID+"/"+*in.BranchName)
		if err != nil || !ok {
			return err
		}
		out.DeletedBranch = &types.BranchInfo{BranchName: in.BranchName, CommitId: &tip}
		return s.point(tx, wire.CallOf(ctx), r, move{*in.BranchName, tip, ""})
	})
}
