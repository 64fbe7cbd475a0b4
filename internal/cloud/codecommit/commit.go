package codecommit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Limits of one commit through the API.
// https://docs.aws.amazon.com/codecommit/latest/userguide/limits.html
const (
	maxEntries  = 100
	maxFile     = 6 << 20
	maxContent  = 7 << 20
	maxMessage  = 256 << 10
	maxPath     = 4096
	maxDepth    = 20
	emptyFolder = ".gitkeep"
	modeRule    = " EXECUTABLE|NORMAL|SYMLINK"
	noUserName  = "unknown"
)

func (s *Service) registerCommits(api *wire.API) {
	wire.Handle(api, s.CreateCommit, wire.Members("RepositoryName!"+nameRule, branchRule, "PutFiles[].FilePath!", "PutFiles[].FileMode"+modeRule,
		"DeleteFiles[].FilePath!", "SetFileModes[].FilePath!", "SetFileModes[].FileMode!"+modeRule),
		writes(func(in *sdk.CreateCommitInput) (r, b *string) { return in.RepositoryName, in.BranchName }))
	wire.Handle(api, s.PutFile, wire.Members("RepositoryName!"+nameRule, branchRule, "FilePath!", "FileMode"+modeRule),
		writes(func(in *sdk.PutFileInput) (r, b *string) { return in.RepositoryName, in.BranchName }))
	wire.Handle(api, s.DeleteFile, wire.Members("RepositoryName!"+nameRule, branchRule, "FilePath!", "ParentCommitId!"),
		writes(func(in *sdk.DeleteFileInput) (r, b *string) { return in.RepositoryName, in.BranchName }))
}

// A change is a commit that is asked for.
type change struct {
	repository, branch, parent *string
	name, email, message       *string
	put                        []types.PutFileEntry
	remove                     []types.DeleteFileEntry
	modes                      []types.SetFileModeEntry
	keepFolders                bool
}

// A committed is what has become of a change.
type committed struct {
	commit, tree            plumbing.Hash
	added, updated, deleted []types.FileMetadata
}

// CreateCommit changes files of a branch in one commit.
func (s *Service) CreateCommit(ctx context.Context, in *sdk.CreateCommitInput) (*sdk.CreateCommitOutput, error) {
	done, err := s.commit(ctx, &change{
		repository: in.RepositoryName, branch: in.BranchName, parent: in.ParentCommitId, name: in.AuthorName, email: in.Email, message: in.CommitMessage,
		put: in.PutFiles, remove: in.DeleteFiles, modes: in.SetFileModes, keepFolders: in.KeepEmptyFolders,
	})
	if err != nil {
		return nil, err
	}
	return &sdk.CreateCommitOutput{
		CommitId: new(done.commit.String()), TreeId: new(done.tree.String()), FilesAdded: done.added, FilesUpdated: done.updated, FilesDeleted: done.deleted,
	}, nil
}

// PutFile adds or changes one file.
func (s *Service) PutFile(ctx context.Context, in *sdk.PutFileInput) (*sdk.PutFileOutput, error) {
	if in.FileContent == nil {
		return nil, &types.FileContentRequiredException{Message: new("The file content is required.")}
	}
	done, err := s.commit(ctx, &change{
		repository: in.RepositoryName, branch: in.BranchName, parent: in.ParentCommitId, name: in.Name, email: in.Email, message: in.CommitMessage,
		put: []types.PutFileEntry{{FilePath: in.FilePath, FileContent: in.FileContent, FileMode: in.FileMode}},
	})
	if _, same := errors.AsType[*types.NoChangeException](err); same {
		err = &types.SameFileContentException{Message: new("The file has the same content and mode as the one in the branch: " + *in.FilePath)}
	}
	if err != nil {
		return nil, err
	}
	of := slices.Concat(done.added, done.updated)[0]
	return &sdk.PutFileOutput{BlobId: of.BlobId, CommitId: new(done.commit.String()), TreeId: new(done.tree.String())}, nil
}

// DeleteFile removes one file.
func (s *Service) DeleteFile(ctx context.Context, in *sdk.DeleteFileInput) (*sdk.DeleteFileOutput, error) {
	done, err := s.commit(ctx, &change{
		repository: in.RepositoryName, branch: in.BranchName, parent: in.ParentCommitId, name: in.Name, email: in.Email, message: in.CommitMessage,
		remove: []types.DeleteFileEntry{{FilePath: in.FilePath}}, keepFolders: in.KeepEmptyFolders,
	})
	if err != nil {
		return nil, err
	}
	return &sdk.DeleteFileOutput{BlobId: done.deleted[0].BlobId, FilePath: in.FilePath, CommitId: new(done.commit.String()), TreeId: new(done.tree.String())}, nil
}

// commit makes a commit on top of a branch, in one transaction: of two at the
// same time, the second finds its parent outdated.
func (s *Service) commit(ctx context.Context, ch *change) (*committed, error) {
	if err := ch.check(); err != nil {
		return nil, err
	}
	done := &committed{}
	c := wire.CallOf(ctx)
	return done, s.change(ctx, *ch.repository, func(tx *store.Tx, r *repository) error {
		o := objectsIn(tx, r.ID)
		parent, err := ch.parentIn(tx, r, o)
		if err != nil {
			return err
		}
		before, err := o.commitFiles(parent)
		if err != nil {
			return err
		}
		after := maps.Clone(before)
		if err := ch.apply(o, after); err != nil {
			return err
		}
		if maps.Equal(before, after) {
			return &types.NoChangeException{Message: new("The commit cannot be created because no changes will be made to the repository as a result of this commit.")}
		}
		if done.tree, err = o.tree(after); err != nil {
			return err
		}
		if done.commit, err = o.encode(ch.object(c, parent, done.tree)); err != nil {
			return err
		}
		done.compare(before, after)
		if err := o.save(tx); err != nil {
			return err
		}
		from := ""
		if !parent.IsZero() {
			from = parent.String()
		}
		return s.point(tx, c, r, move{*ch.branch, from, done.commit.String()})
	})
}

func (ch *change) object(c *wire.Call, parent, tree plumbing.Hash) *object.Commit {
	who := object.Signature{Name: aws.ToString(ch.name), Email: aws.ToString(ch.email), When: time.Now().UTC()}
	if who.Name == "" {
		if who.Name = path.Base(c.Principal.ARN); c.Principal.ARN == "" {
			who.Name = noUserName
		}
	}
	o := &object.Commit{Author: who, Committer: who, Message: aws.ToString(ch.message), TreeHash: tree}
	if !parent.IsZero() {
		o.ParentHashes = []plumbing.Hash{parent}
	}
	return o
}

// parentIn is the commit to build on: the tip of the branch, which the caller
// has to know. An empty repository has none.
func (ch *change) parentIn(tx *store.Tx, r *repository, o *objectStore) (plumbing.Hash, error) {
	tip, exists, err := branches.Get(tx, r.ID+"/"+*ch.branch)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	parent := aws.ToString(ch.parent)
	if parent != "" && !isHash(parent) {
		return plumbing.ZeroHash, &types.InvalidParentCommitIdException{Message: new("The parent commit ID is not valid: " + parent)}
	}
	switch {
	case !exists && r.Default != "":
		return plumbing.ZeroHash, noBranch(*ch.branch)
	case !exists && parent == "":
		return plumbing.ZeroHash, checkBranch(*ch.branch)
	case !exists:
		return plumbing.ZeroHash, &types.ParentCommitDoesNotExistException{Message: new("The parent commit does not exist: the repository is empty.")}
	case parent == "":
		return plumbing.ZeroHash, &types.ParentCommitIdRequiredException{Message: new("A parent commit ID is required. To view the full commit ID of a branch in a repository, use GetBranch.")}
	case parent != tip:
		if _, err := object.GetCommit(o, plumbing.NewHash(parent)); err != nil {
			return plumbing.ZeroHash, &types.ParentCommitDoesNotExistException{Message: new("The parent commit ID does not exist: " + parent)}
		}
		return plumbing.ZeroHash, &types.ParentCommitIdOutdatedException{Message: new("The parent commit ID is outdated. To view the full commit ID of the branch, use GetBranch.")}
	}
	return plumbing.NewHash(tip), nil
}

// check applies the rules that need no repository.
func (ch *change) check() error {
	n := len(ch.put) + len(ch.remove) + len(ch.modes)
	switch {
	case n == 0:
		return &types.FileEntryRequiredException{Message: new("No files were specified: specify at least one file to add, change or delete.")}
	case n > maxEntries:
		return &types.MaximumFileEntriesExceededException{Message: new(fmt.Sprintf("The number of specified files to change as part of this commit exceeds the maximum number of files that can be changed in a single commit: %d, at most %d.", n, maxEntries))}
	case len(aws.ToString(ch.message)) > maxMessage:
		return &types.CommitMessageLengthExceededException{Message: new("The commit message is too long. Provide a shorter string.")}
	case len(aws.ToString(ch.name)) > 256:
		return &types.NameLengthExceededException{Message: new("The user name is not valid because it has exceeded the character limit for author names.")}
	}
	total := 0
	seen := map[string]bool{}
	puts := map[string]bool{}
	for _, p := range ch.put {
		if err := checkPut(p); err != nil {
			return err
		}
		if puts[*p.FilePath] {
			return &types.PutFileEntryConflictException{Message: new("The commit cannot be created because one or more files to be put have the same path: " + *p.FilePath)}
		}
		puts[*p.FilePath], seen[*p.FilePath] = true, true
		total += len(p.FileContent)
	}
	if total > maxContent {
		return &types.FileContentSizeLimitExceededException{Message: new(fmt.Sprintf("The commit cannot be created because the combined size of the files is %d bytes: at most %d.", total, maxContent))}
	}
	for _, p := range ch.otherPaths() {
		if err := checkPath(p); err != nil {
			return err
		}
		if seen[p] {
			return &types.SamePathRequestException{Message: new("The commit cannot be created because two actions name the same path: " + p)}
		}
		seen[p] = true
	}
	return nil
}

func (ch *change) otherPaths() (all []string) {
	for _, d := range ch.remove {
		all = append(all, *d.FilePath)
	}
	for _, m := range ch.modes {
		all = append(all, *m.FilePath)
	}
	return all
}

func checkPut(p types.PutFileEntry) error {
	if err := checkPath(*p.FilePath); err != nil {
		return err
	}
	switch {
	case p.FileContent != nil && p.SourceFile != nil:
		return &types.FileContentAndSourceFileSpecifiedException{Message: new("The commit cannot be created because both a source file and file content have been specified for the same file: " + *p.FilePath)}
	case p.FileContent == nil && p.SourceFile == nil:
		return &types.SourceFileOrContentRequiredException{Message: new("The commit cannot be created because no source files or file content have been specified for the commit: " + *p.FilePath)}
	case len(p.FileContent) > maxFile:
		return &types.FileContentSizeLimitExceededException{Message: new(fmt.Sprintf("The file cannot be added because it is too large: %s has %d bytes, at most %d.", *p.FilePath, len(p.FileContent), maxFile))}
	case p.SourceFile != nil && p.SourceFile.FilePath == nil:
		return &types.PathRequiredException{Message: new("The path of the source file is required.")}
	}
	return nil
}

// checkPath takes what git takes as a path, and no way out of a checkout.
func checkPath(p string) error {
	bad := func(why string) error {
		return &types.InvalidPathException{Message: new("The specified path is not valid: " + p + ": " + why)}
	}
	switch {
	case p == "":
		return &types.PathRequiredException{Message: new("The path of the file is required.")}
	case len(p) > maxPath:
		return &types.InvalidPathException{Message: new("The specified path is not valid: it is longer than 4096 characters.")}
	case strings.Contains(p, "\x00") || strings.Contains(p, "\\"):
		return bad("it has a character that is not allowed")
	case strings.Count(p, "/") > maxDepth:
		return bad("it is too deep")
	}
	for part := range strings.SplitSeq(p, "/") {
		switch lower := strings.ToLower(part); {
		case part == "":
			return bad("it has an empty part")
		case part == "." || part == "..":
			return bad("it must not go up or stay")
		case lower == ".git" || lower == "git~1":
			return bad("the name .git is reserved")
		}
	}
	return nil
}

var modes = map[types.FileModeTypeEnum]filemode.FileMode{
	types.FileModeTypeEnumExecutable: filemode.Executable, types.FileModeTypeEnumNormal: filemode.Regular, types.FileModeTypeEnumSymlink: filemode.Symlink,
}

// apply makes the changes to the files of the branch.
func (ch *change) apply(o *objectStore, all map[string]file) error {
	dirsBefore := folders(all)
	for _, d := range ch.remove {
		if _, ok := all[*d.FilePath]; !ok {
			return noFile(*d.FilePath)
		}
		delete(all, *d.FilePath)
	}
	for _, m := range ch.modes {
		f, ok := all[*m.FilePath]
		if !ok {
			return noFile(*m.FilePath)
		}
		f.Mode = modes[m.FileMode]
		all[*m.FilePath] = f
	}
	for _, p := range ch.put {
		if err := putFile(o, all, p); err != nil {
			return err
		}
	}
	if ch.keepFolders {
		return keepFolders(o, all, dirsBefore)
	}
	return nil
}

func noFile(p string) error {
	return &types.FileDoesNotExistException{Message: new("The specified file does not exist: " + p)}
}

func putFile(o *objectStore, all map[string]file, p types.PutFileEntry) error {
	if err := conflicts(all, *p.FilePath); err != nil {
		return err
	}
	old, existed := all[*p.FilePath]
	f := file{Mode: filemode.Regular}
	if existed {
		f.Mode = old.Mode
	}
	if p.SourceFile != nil {
		src, err := sourceFile(all, p.SourceFile)
		if err != nil {
			return err
		}
		f = src
	} else {
		var err error
		if f.Hash, err = o.blob(p.FileContent); err != nil {
			return err
		}
	}
	if p.FileMode != "" {
		f.Mode = modes[p.FileMode]
	}
	all[*p.FilePath] = f
	return nil
}

// sourceFile is a file of the branch that is to be copied, or moved: then its
// old path goes.
func sourceFile(all map[string]file, src *types.SourceFileSpecifier) (file, error) {
	f, ok := all[*src.FilePath]
	if !ok {
		return file{}, noFile(*src.FilePath)
	}
	if src.IsMove {
		delete(all, *src.FilePath)
	}
	return f, nil
}

// conflicts refuses a file where there is a folder, or below a file.
func conflicts(all map[string]file, p string) error {
	if f, ok := all[p]; ok && f.Mode == filemode.Submodule {
		return &types.FilePathConflictsWithSubmodulePathException{Message: new("The path of the file is that of a submodule: " + p)}
	}
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if f, ok := all[dir]; ok {
			if f.Mode == filemode.Submodule {
				return &types.FilePathConflictsWithSubmodulePathException{Message: new("The path of the file lies in a submodule: " + p)}
			}
			return &types.DirectoryNameConflictsWithFileNameException{Message: new("A file cannot be added to the repository because the specified path name has the same name as a file that already exists in this repository: " + dir)}
		}
	}
	for other := range all {
		if strings.HasPrefix(other, p+"/") {
			return &types.FileNameConflictsWithDirectoryNameException{Message: new("A file cannot be added to the repository because the specified file name has the same name as a directory in this repository: " + p)}
		}
	}
	return nil
}

// keepFolders puts a file into each folder that has become empty.
func keepFolders(o *objectStore, all map[string]file, before map[string]bool) error {
	now := folders(all)
	for dir := range before {
		if now[dir] || slices.ContainsFunc(slices.Collect(maps.Keys(before)), func(d string) bool { return strings.HasPrefix(d, dir+"/") }) {
			continue
		}
		h, err := o.blob(nil)
		if err != nil {
			return err
		}
		all[dir+"/"+emptyFolder] = file{filemode.Regular, h}
	}
	return nil
}

// compare lists what differs.
func (d *committed) compare(before, after map[string]file) {
	d.added, d.updated, d.deleted = []types.FileMetadata{}, []types.FileMetadata{}, []types.FileMetadata{}
	meta := func(p string, f file) types.FileMetadata {
		return types.FileMetadata{AbsolutePath: &p, BlobId: new(f.Hash.String()), FileMode: modeName(f.Mode)}
	}
	for _, p := range slices.Sorted(maps.Keys(after)) {
		old, existed := before[p]
		switch {
		case !existed:
			d.added = append(d.added, meta(p, after[p]))
		case old != after[p]:
			d.updated = append(d.updated, meta(p, after[p]))
		}
	}
	for _, p := range slices.Sorted(maps.Keys(before)) {
		if _, left := after[p]; !left {
			d.deleted = append(d.deleted, meta(p, before[p]))
		}
	}
}

func modeName(m filemode.FileMode) types.FileModeTypeEnum {
	switch m {
	case filemode.Executable:
		return types.FileModeTypeEnumExecutable
	case filemode.Symlink:
		return types.FileModeTypeEnumSymlink
	default:
		return types.FileModeTypeEnumNormal
	}
}
