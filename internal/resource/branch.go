package resource

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codecommit/types"

	"miniforge/internal/graph"
)

// branchAPI is what a Branch asks of CodeCommit.
type branchAPI interface {
	GetBranch(context.Context, *codecommit.GetBranchInput, ...func(*codecommit.Options)) (*codecommit.GetBranchOutput, error)
	GetFolder(context.Context, *codecommit.GetFolderInput, ...func(*codecommit.Options)) (*codecommit.GetFolderOutput, error)
	CreateCommit(context.Context, *codecommit.CreateCommitInput, ...func(*codecommit.Options)) (*codecommit.CreateCommitOutput, error)
}

var _ branchAPI = (*codecommit.Client)(nil)

// A Branch is a branch of a Repository with the files that were pushed to it.
// As a resource it has to exist: a pipeline needs a first commit. What it
// holds is not compared, as changes are delivered on purpose, by Push.
type Branch struct {
	CodeCommit branchAPI
	Repository *Repository
	Name       string
	// Files are what Create and Push leave in the branch, and nothing else.
	Files []File
	// Author and Email sign the commits.
	Author, Email string

	created bool // in this run: it holds Files already
}

func (b *Branch) ID() string              { return b.Repository.ID() + "@" + b.Name }
func (b *Branch) Needs() []graph.Resource { return []graph.Resource{b.Repository} }

func (b *Branch) Observe(ctx context.Context) (graph.Observation, error) {
	var tip string
	var owned bool
	err := together(ctx, func(ctx context.Context) (err error) {
		tip, err = b.tip(ctx)
		return err
	}, func(ctx context.Context) (err error) {
		owned, err = b.Repository.owned(ctx)
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read branch", b.ID(), err)
	}
	return graph.Observation{Exists: tip != "", Owned: owned}, nil
}

// Tip returns the id of the branch's last commit, or "" if there is none yet.
func (b *Branch) Tip(ctx context.Context) (string, error) {
	tip, err := b.tip(ctx)
	return tip, failed("read branch", b.ID(), err)
}

func (b *Branch) tip(ctx context.Context) (string, error) {
	out, err := b.CodeCommit.GetBranch(ctx, &codecommit.GetBranchInput{RepositoryName: &b.Repository.Name, BranchName: &b.Name})
	if gone(err) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return deref(out.Branch.CommitId), nil
}

func (b *Branch) Create(ctx context.Context) error {
	if len(b.Files) == 0 {
		return fmt.Errorf("push to %s: there are no sources", b.ID())
	}
	_, err := b.Push(ctx, "First delivery")
	b.created = err == nil
	return err
}

// hold makes an older branch hold Files, if there are any.
func (b *Branch) hold(ctx context.Context) error {
	if b.created || len(b.Files) == 0 {
		return nil
	}
	_, err := b.Push(ctx, "Deliver what is live")
	return err
}

// Update is never asked for: a branch that exists is as declared.
func (b *Branch) Update(context.Context, []graph.Diff) error { return nil }

// Delete leaves the branch to its repository: CodeCommit deletes no default
// branch, and the repository goes next.
func (b *Branch) Delete(context.Context) error { return nil }

// A Pushed says what a push did.
type Pushed struct {
	Commit  string   `json:"commit"`            // the tip of the branch
	Changed []string `json:"changed,omitempty"` // files that were written, in order
	Deleted []string `json:"deleted,omitempty"` // files that were removed, in order
	Commits int      `json:"commits"`           // that it took; 0 if nothing had changed
}

// Push makes the branch hold exactly Files: it sends the files that differ,
// known by their blob ids, and removes those that are no longer there. It
// makes no commit if nothing changed. A change beyond the limits of one commit
// takes several, of which the last one completes it; a file beyond the limit
// of any is refused, with ErrTooLarge.
func (b *Branch) Push(ctx context.Context, message string) (Pushed, error) {
	tip, err := b.Tip(ctx)
	if err != nil {
		return Pushed{}, err
	}
	there := map[string]entry{}
	if tip != "" {
		if there, err = b.list(ctx, tip, "/"); err != nil {
			return Pushed{}, err
		}
	}
	change, err := compareFiles(b.Files, there)
	if err != nil {
		return Pushed{}, fmt.Errorf("push to %s: %w", b.ID(), err)
	}
	p := Pushed{Commit: tip, Changed: change.changed(), Deleted: change.deleted}
	for i, part := range change.commits() {
		if p.Commit, err = b.commit(ctx, p.Commit, part, numbered(message, i, len(change.commits()))); err != nil {
			return p, failed("push to", b.ID(), err)
		}
		p.Commits++
	}
	return p, nil
}

// numbered tells the parts of a change apart.
func numbered(message string, i, of int) string {
	if of == 1 {
		return message
	}
	return fmt.Sprintf("%s (%d of %d)", message, i+1, of)
}

func (b *Branch) commit(ctx context.Context, parent string, part commit, message string) (string, error) {
	in := &codecommit.CreateCommitInput{
		RepositoryName: &b.Repository.Name, BranchName: &b.Name, CommitMessage: &message, AuthorName: &b.Author, Email: &b.Email,
	}
	if parent != "" {
		in.ParentCommitId = &parent
	}
	for _, f := range part.put {
		mode := types.FileModeTypeEnumNormal
		if f.Executable {
			mode = types.FileModeTypeEnumExecutable
		}
		in.PutFiles = append(in.PutFiles, types.PutFileEntry{FilePath: &f.Path, FileContent: f.Content, FileMode: mode})
	}
	for _, path := range part.delete {
		in.DeleteFiles = append(in.DeleteFiles, types.DeleteFileEntry{FilePath: &path})
	}
	out, err := b.CodeCommit.CreateCommit(ctx, in)
	if hasCode(err, "NoChangeException") { // somebody pushed the same in the meantime
		return b.Tip(ctx)
	}
	if hasCode(err, "ParentCommitIdOutdatedException") {
		return parent, fmt.Errorf("somebody else pushed at the same time, push again: %w", err)
	}
	if err != nil {
		return parent, err
	}
	return deref(out.CommitId), nil
}

// list returns the files below a folder of a commit, by path.
func (b *Branch) list(ctx context.Context, commit, folder string) (map[string]entry, error) {
	out, err := b.CodeCommit.GetFolder(ctx, &codecommit.GetFolderInput{RepositoryName: &b.Repository.Name, CommitSpecifier: &commit, FolderPath: &folder})
	if hasCode(err, "FolderDoesNotExistException") && folder == "/" { // a tree without files
		return map[string]entry{}, nil
	} else if err != nil {
		return nil, failed("list "+folder+" of", b.ID(), err)
	}
	files := map[string]entry{}
	for _, f := range out.Files {
		files[deref(f.AbsolutePath)] = entry{blob: deref(f.BlobId), executable: f.FileMode == types.FileModeTypeEnumExecutable}
	}
	for _, l := range out.SymbolicLinks {
		files[deref(l.AbsolutePath)] = entry{}
	}
	if len(out.SubModules) > 0 {
		return nil, fmt.Errorf("list %s of %s: %w", folder, b.ID(), errors.New("it has submodules, which miniforge never pushes"))
	}
	// Folders are read one after another: there are a dozen, and CodeCommit
	// answers bursts with throttling.
	for _, sub := range out.SubFolders {
		below, err := b.list(ctx, commit, deref(sub.AbsolutePath))
		if err != nil {
			return nil, err
		}
		maps.Copy(files, below)
	}
	return files, nil
}
