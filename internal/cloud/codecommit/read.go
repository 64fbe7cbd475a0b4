package codecommit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerReads(api *wire.API) {
	wire.Handle(api, s.GetCommit, wire.Members("RepositoryName!"+nameRule, "CommitId!"), on(func(in *sdk.GetCommitInput) *string { return in.RepositoryName }))
	wire.Handle(api, s.GetFolder, wire.Members("RepositoryName!"+nameRule, "FolderPath!"), on(func(in *sdk.GetFolderInput) *string { return in.RepositoryName }))
	wire.Handle(api, s.GetFile, wire.Members("RepositoryName!"+nameRule, "FilePath!"), on(func(in *sdk.GetFileInput) *string { return in.RepositoryName }))
	wire.Handle(api, s.GetBlob, wire.Members("RepositoryName!"+nameRule, "BlobId!"), on(func(in *sdk.GetBlobInput) *string { return in.RepositoryName }))
	wire.Handle(api, s.GetDifferences, wire.Members("RepositoryName!"+nameRule, "AfterCommitSpecifier!", "MaxResults 1.."), on(func(in *sdk.GetDifferencesInput) *string { return in.RepositoryName }))
}

// read runs fn on a repository's objects, which do not change meanwhile.
func (s *Service) read(ctx context.Context, name *string, fn func(*store.Tx, *repository, *objectStore) error) error {
	return s.DB.View(func(tx *store.Tx) error {
		r, err := find(tx, wire.CallOf(ctx).Region, *name)
		if err != nil {
			return err
		}
		return fn(tx, &r, objectsIn(tx, r.ID))
	})
}

// resolve finds the commit that a specifier names: a full id, a branch by its
// short or full name, HEAD or nothing for the default branch.
func resolve(tx *store.Tx, r *repository, o *objectStore, specifier *string) (plumbing.Hash, error) {
	name := strings.TrimPrefix(aws.ToString(specifier), refsHeads)
	if name == "" || name == "HEAD" {
		if name = r.Default; name == "" {
			return plumbing.ZeroHash, &types.CommitDoesNotExistException{Message: new("The repository is empty: " + r.Name)}
		}
	}
	tip, ok, err := branches.Get(tx, r.ID+"/"+name)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if !ok {
		tip = name
	}
	if !isHash(tip) {
		return plumbing.ZeroHash, &types.CommitDoesNotExistException{Message: new("Could not resolve the commit specifier: " + name)}
	}
	h := plumbing.NewHash(tip)
	if _, err := object.GetCommit(o, h); errors.Is(err, plumbing.ErrObjectNotFound) {
		return plumbing.ZeroHash, &types.CommitDoesNotExistException{Message: new("The specified commit does not exist: " + tip)}
	} else if err != nil {
		return plumbing.ZeroHash, err
	}
	return h, nil
}

// GetCommit describes a commit.
func (s *Service) GetCommit(ctx context.Context, in *sdk.GetCommitInput) (*sdk.GetCommitOutput, error) {
	out := &sdk.GetCommitOutput{}
	return out, s.read(ctx, in.RepositoryName, func(_ *store.Tx, _ *repository, o *objectStore) error {
		c, err := commitOf(o, *in.CommitId)
		if err != nil {
			return err
		}
		out.Commit = &types.Commit{
			CommitId: in.CommitId, TreeId: new(c.TreeHash.String()), Message: &c.Message, AdditionalData: new(""), Parents: []string{},
			Author: userInfo(c.Author), Committer: userInfo(c.Committer),
		}
		for _, p := range c.ParentHashes {
			out.Commit.Parents = append(out.Commit.Parents, p.String())
		}
		return nil
	})
}

// userInfo has the time as git keeps it: epoch seconds and the time zone.
func userInfo(who object.Signature) *types.UserInfo {
	return &types.UserInfo{Name: &who.Name, Email: &who.Email, Date: new(fmt.Sprintf("%d %s", who.When.Unix(), who.When.Format("-0700")))}
}

// at finds what a commit has at a path; the root is a folder.
func at(o *objectStore, commit plumbing.Hash, p string) (object.TreeEntry, error) {
	root, err := o.rootOf(commit)
	if err != nil {
		return object.TreeEntry{}, err
	}
	e := object.TreeEntry{Mode: filemode.Dir, Hash: root}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" {
			continue
		}
		if e.Mode != filemode.Dir {
			return e, object.ErrEntryNotFound
		}
		t, err := object.GetTree(o, e.Hash)
		if err != nil {
			return e, err
		}
		i := slices.IndexFunc(t.Entries, func(x object.TreeEntry) bool { return x.Name == part })
		if i < 0 {
			return e, object.ErrEntryNotFound
		}
		e = t.Entries[i]
	}
	return e, nil
}

// GetFolder lists what lies in a folder of a commit.
func (s *Service) GetFolder(ctx context.Context, in *sdk.GetFolderInput) (*sdk.GetFolderOutput, error) {
	dir := strings.Trim(*in.FolderPath, "/")
	out := &sdk.GetFolderOutput{FolderPath: &dir, Files: []types.File{}, SubFolders: []types.Folder{}, SymbolicLinks: []types.SymbolicLink{}, SubModules: []types.SubModule{}}
	return out, s.read(ctx, in.RepositoryName, func(tx *store.Tx, r *repository, o *objectStore) error {
		commit, err := resolve(tx, r, o, in.CommitSpecifier)
		if err != nil {
			return err
		}
		e, err := at(o, commit, dir)
		if errors.Is(err, object.ErrEntryNotFound) || err == nil && e.Mode != filemode.Dir {
			return &types.FolderDoesNotExistException{Message: new("The specified folder does not exist: " + *in.FolderPath)}
		} else if err != nil {
			return err
		}
		t, err := object.GetTree(o, e.Hash)
		if err != nil {
			return err
		}
		out.CommitId, out.TreeId = new(commit.String()), new(e.Hash.String())
		for _, e := range t.Entries {
			whole, id := path.Join(dir, e.Name), e.Hash.String()
			switch e.Mode {
			case filemode.Dir:
				out.SubFolders = append(out.SubFolders, types.Folder{AbsolutePath: &whole, RelativePath: &e.Name, TreeId: &id})
			case filemode.Symlink:
				out.SymbolicLinks = append(out.SymbolicLinks, types.SymbolicLink{AbsolutePath: &whole, RelativePath: &e.Name, BlobId: &id, FileMode: modeName(e.Mode)})
			case filemode.Submodule:
				out.SubModules = append(out.SubModules, types.SubModule{AbsolutePath: &whole, RelativePath: &e.Name, CommitId: &id})
			default:
				out.Files = append(out.Files, types.File{AbsolutePath: &whole, RelativePath: &e.Name, BlobId: &id, FileMode: modeName(e.Mode)})
			}
		}
		return nil
	})
}

// GetFile reads a file of a commit.
func (s *Service) GetFile(ctx context.Context, in *sdk.GetFileInput) (*sdk.GetFileOutput, error) {
	name := strings.Trim(*in.FilePath, "/")
	out := &sdk.GetFileOutput{FilePath: &name}
	return out, s.read(ctx, in.RepositoryName, func(tx *store.Tx, r *repository, o *objectStore) error {
		commit, err := resolve(tx, r, o, in.CommitSpecifier)
		if err != nil {
			return err
		}
		e, err := at(o, commit, name)
		if errors.Is(err, object.ErrEntryNotFound) || err == nil && !e.Mode.IsFile() {
			return &types.FileDoesNotExistException{Message: new("Could not find path " + *in.FilePath)}
		} else if err != nil {
			return err
		}
		if out.FileContent, err = o.blobContent(e.Hash); err != nil {
			return err
		}
		out.CommitId, out.BlobId, out.FileMode, out.FileSize = new(commit.String()), new(e.Hash.String()), modeName(e.Mode), int64(len(out.FileContent))
		return nil
	})
}

func (o *objectStore) blobContent(h plumbing.Hash) ([]byte, error) {
	obj, err := o.EncodedObject(plumbing.BlobObject, h)
	if err != nil {
		return nil, err
	}
	if obj.Size() > maxFile {
		return nil, &types.FileTooLargeException{Message: new("The specified file exceeds the file size limit of 6 MB for AWS CodeCommit.")}
	}
	return contentOf(obj)
}

// GetBlob reads a file by its object id.
func (s *Service) GetBlob(ctx context.Context, in *sdk.GetBlobInput) (*sdk.GetBlobOutput, error) {
	if !isHash(*in.BlobId) {
		return nil, &types.InvalidBlobIdException{Message: new("The specified blob ID is not valid: " + *in.BlobId)}
	}
	out := &sdk.GetBlobOutput{}
	return out, s.read(ctx, in.RepositoryName, func(_ *store.Tx, _ *repository, o *objectStore) (err error) {
		out.Content, err = o.blobContent(plumbing.NewHash(*in.BlobId))
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			err = &types.BlobIdDoesNotExistException{Message: new("The specified blob does not exist: " + *in.BlobId)}
		}
		return err
	})
}

// diffPage is how many differences one answer holds unless less is asked for.
const diffPage = 1000

// GetDifferences compares two commits, or shows all that one holds.
func (s *Service) GetDifferences(ctx context.Context, in *sdk.GetDifferencesInput) (*sdk.GetDifferencesOutput, error) {
	out := &sdk.GetDifferencesOutput{Differences: []types.Difference{}}
	after := aws.ToString(in.NextToken)
	if !utf8.ValidString(after) || in.NextToken != nil && checkPath(after) != nil {
		return nil, &types.InvalidContinuationTokenException{Message: new("The specified continuation token is not valid.")}
	}
	limit := diffPage
	if in.MaxResults != nil {
		limit = min(limit, int(*in.MaxResults))
	}
	return out, s.read(ctx, in.RepositoryName, func(tx *store.Tx, r *repository, o *objectStore) error {
		was := map[string]file{}
		if in.BeforeCommitSpecifier != nil {
			var err error
			if was, err = filesBelow(tx, r, o, in.BeforeCommitSpecifier, in.BeforePath); err != nil {
				return err
			}
		}
		is, err := filesBelow(tx, r, o, in.AfterCommitSpecifier, in.AfterPath)
		if err != nil {
			return err
		}
		both := maps.Clone(was)
		maps.Copy(both, is)
		last := ""
		for _, p := range slices.Sorted(maps.Keys(both)) {
			d := types.Difference{BeforeBlob: metadataOf(p, was), AfterBlob: metadataOf(p, is), ChangeType: types.ChangeTypeEnumModified}
			switch {
			case p <= after && after != "", was[p] == is[p]:
				continue
			case d.BeforeBlob == nil:
				d.ChangeType = types.ChangeTypeEnumAdded
			case d.AfterBlob == nil:
				d.ChangeType = types.ChangeTypeEnumDeleted
			}
			if len(out.Differences) == limit {
				out.NextToken = &last
				break
			}
			out.Differences, last = append(out.Differences, d), p
		}
		return nil
	})
}

// filesBelow are the files of a commit at or below a path.
func filesBelow(tx *store.Tx, r *repository, o *objectStore, specifier, below *string) (map[string]file, error) {
	h, err := resolve(tx, r, o, specifier)
	if err != nil {
		return nil, err
	}
	all, err := o.commitFiles(h)
	if err != nil || below == nil || strings.Trim(*below, "/") == "" {
		return all, err
	}
	p := strings.Trim(*below, "/")
	maps.DeleteFunc(all, func(name string, _ file) bool { return name != p && !strings.HasPrefix(name, p+"/") })
	if len(all) == 0 {
		return nil, &types.PathDoesNotExistException{Message: new("The specified path does not exist: " + *below)}
	}
	return all, nil
}

func metadataOf(p string, all map[string]file) *types.BlobMetadata {
	f, ok := all[p]
	if !ok {
		return nil
	}
	return &types.BlobMetadata{BlobId: new(f.Hash.String()), Path: &p, Mode: new(strings.TrimPrefix(f.Mode.String(), "0"))}
}
