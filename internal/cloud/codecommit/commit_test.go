package codecommit

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"miniforge/internal/cloud/wire"
)

// TestCommitsAgainstModel makes random commits and compares the whole tree,
// as folders, differences and the archive show it, with a map.
func TestCommitsAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRig(t)
		r.repository(t, "r")
		model := map[string]string{}
		paths := rapid.SampledFrom([]string{"a", "b/a", "b/c/d", "e.txt", "z"})
		tip := ""
		for i := range rapid.IntRange(1, 6).Draw(rt, "commits") {
			next := maps.Clone(model)
			in := &sdk.CreateCommitInput{RepositoryName: new("r"), BranchName: new("main"), ParentCommitId: optional(tip)}
			for _, p := range rapid.SliceOfNDistinct(paths, 1, 3, rapid.ID[string]).Draw(rt, "paths") {
				if _, there := next[p]; there && rapid.Bool().Draw(rt, "delete") {
					in.DeleteFiles = append(in.DeleteFiles, types.DeleteFileEntry{FilePath: &p})
					delete(next, p)
					continue
				}
				next[p] = rapid.SampledFrom([]string{"one", "two", ""}).Draw(rt, "content")
				in.PutFiles = append(in.PutFiles, types.PutFileEntry{FilePath: &p, FileContent: []byte(next[p])})
			}
			out, err := r.CreateCommit(r.ctx, in)
			if maps.Equal(model, next) {
				wantCode(t, err, "NoChangeException")
				if tip == "" {
					return
				}
				continue
			}
			if err != nil {
				rt.Fatal(err)
			}
			before := optional(tip)
			tip = *out.CommitId
			diff, err := r.GetDifferences(r.ctx, &sdk.GetDifferencesInput{RepositoryName: new("r"), BeforeCommitSpecifier: before, AfterCommitSpecifier: new("main")})
			if err != nil {
				rt.Fatal(err)
			}
			want := map[string]string{}
			for p := range next {
				if _, was := model[p]; !was {
					want[p] = "A"
				} else if model[p] != next[p] {
					want[p] = "M"
				}
			}
			for p := range model {
				if _, is := next[p]; !is {
					want[p] = "D"
				}
			}
			got := map[string]string{}
			for _, d := range diff.Differences {
				b := d.AfterBlob
				if b == nil {
					b = d.BeforeBlob
				}
				got[*b.Path] = string(d.ChangeType)
			}
			if d := cmp.Diff(want, got); d != "" {
				rt.Fatalf("commit %d (-want +got):\n%s", i, d)
			}
			model = next
			if d := cmp.Diff(model, r.unzip(t, tip)); d != "" {
				rt.Fatalf("archive of commit %d (-want +got):\n%s", i, d)
			}
			if d := cmp.Diff(model, r.folder(t, "/")); d != "" {
				rt.Fatalf("folders of commit %d (-want +got):\n%s", i, d)
			}
		}
	})
}

func (r *rig) unzip(t *testing.T, commit string) map[string]string {
	t.Helper()
	b, err := r.Archive(r.ctx, wire.As{Region: region}, "r", commit)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range z.File {
		c, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(c)
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name] = string(text)
	}
	return all
}

func (r *rig) folder(t *testing.T, p string) map[string]string {
	t.Helper()
	f, err := r.GetFolder(r.ctx, &sdk.GetFolderInput{RepositoryName: new("r"), FolderPath: &p})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, x := range f.Files {
		got, err := r.GetFile(r.ctx, &sdk.GetFileInput{RepositoryName: new("r"), FilePath: x.AbsolutePath})
		if err != nil {
			t.Fatal(err)
		}
		blob, err := r.GetBlob(r.ctx, &sdk.GetBlobInput{RepositoryName: new("r"), BlobId: x.BlobId})
		if err != nil || !bytes.Equal(blob.Content, got.FileContent) {
			t.Fatalf("blob of %s: %q, %v", *x.AbsolutePath, blob.Content, err)
		}
		all[*x.AbsolutePath] = string(got.FileContent)
	}
	for _, d := range f.SubFolders {
		maps.Copy(all, r.folder(t, *d.AbsolutePath))
	}
	return all
}

func TestCommitsThatAreRefused(t *testing.T) {
	r := newRig(t)
	r.repository(t, "r")
	entry := func(p, text string) types.PutFileEntry {
		return types.PutFileEntry{FilePath: &p, FileContent: []byte(text)}
	}
	base := func(puts ...types.PutFileEntry) *sdk.CreateCommitInput {
		return &sdk.CreateCommitInput{RepositoryName: new("r"), BranchName: new("main"), PutFiles: puts}
	}
	first := base(entry("x", "1"))
	first.ParentCommitId = new(strings.Repeat("a", 40))
	_, err := r.CreateCommit(r.ctx, first)
	wantCode(t, err, "ParentCommitDoesNotExistException")
	old := r.put(t, "r", map[string]string{"x": "1", "dir/y": "2"})
	tip := r.put(t, "r", map[string]string{"x": "2"})
	var many []types.PutFileEntry
	for i := range 101 {
		many = append(many, entry(fmt.Sprint("f", i), "x"))
	}
	on := func(parent string, puts ...types.PutFileEntry) *sdk.CreateCommitInput {
		in := base(puts...)
		in.ParentCommitId = &parent
		return in
	}
	other := on(tip, entry("z", "1"))
	other.BranchName = new("other")
	missing := on(tip)
	missing.DeleteFiles = []types.DeleteFileEntry{{FilePath: new("nothing")}}
	both := on(tip, entry("x", "3"))
	both.DeleteFiles = []types.DeleteFileEntry{{FilePath: new("x")}}
	nowhere := on(tip, entry("z", "1"))
	nowhere.RepositoryName = new("no")
	for name, c := range map[string]struct {
		in   *sdk.CreateCommitInput
		code string
	}{
		"no repository":      {nowhere, "RepositoryDoesNotExistException"},
		"no parent":          {base(entry("z", "1")), "ParentCommitIdRequiredException"},
		"outdated parent":    {on(old, entry("z", "1")), "ParentCommitIdOutdatedException"},
		"unknown parent":     {on(strings.Repeat("b", 40), entry("z", "1")), "ParentCommitDoesNotExistException"},
		"malformed parent":   {on("main", entry("z", "1")), "InvalidParentCommitIdException"},
		"unknown branch":     {other, "BranchDoesNotExistException"},
		"nothing":            {on(tip), "FileEntryRequiredException"},
		"too many":           {on(tip, many...), "MaximumFileEntriesExceededException"},
		"too large":          {on(tip, entry("z", strings.Repeat("x", 6<<20+1))), "FileContentSizeLimitExceededException"},
		"too large together": {on(tip, entry("z", strings.Repeat("x", 4<<20)), entry("y", strings.Repeat("x", 4<<20))), "FileContentSizeLimitExceededException"},
		"same":               {on(tip, entry("x", "2")), "NoChangeException"},
		"twice":              {on(tip, entry("z", "1"), entry("z", "2")), "PutFileEntryConflictException"},
		"put and deleted":    {both, "SamePathRequestException"},
		"delete nothing":     {missing, "FileDoesNotExistException"},
		"file over folder":   {on(tip, entry("dir", "1")), "FileNameConflictsWithDirectoryNameException"},
		"folder over file":   {on(tip, entry("x/y", "1")), "DirectoryNameConflictsWithFileNameException"},
		"no content":         {on(tip, types.PutFileEntry{FilePath: new("z")}), "SourceFileOrContentRequiredException"},
		"up":                 {on(tip, entry("../z", "1")), "InvalidPathException"},
		"absolute":           {on(tip, entry("/z", "1")), "InvalidPathException"},
		"git's own":          {on(tip, entry("a/.GIT/config", "1")), "InvalidPathException"},
		"empty part":         {on(tip, entry("a//b", "1")), "InvalidPathException"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.CreateCommit(r.ctx, c.in)
			wantCode(t, err, c.code)
		})
	}
	if got := r.folder(t, "/"); len(got) != 2 {
		t.Errorf("a refused commit left something behind: %v", got)
	}
}

// TestOneOfManyWins commits to one parent from many sides at once.
func TestOneOfManyWins(t *testing.T) {
	r := newRig(t)
	r.repository(t, "r")
	tip := r.put(t, "r", map[string]string{"x": "0"})
	var mu sync.Mutex
	won := 0
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, err := r.PutFile(r.ctx, &sdk.PutFileInput{RepositoryName: new("r"), BranchName: new("main"), ParentCommitId: &tip, FilePath: new("x"), FileContent: fmt.Append(nil, "from ", i)})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else {
				wantCode(t, err, "ParentCommitIdOutdatedException")
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d commits were made on one parent", won)
	}
}

func TestSingleFiles(t *testing.T) {
	r := newRig(t)
	r.repository(t, "r")
	tip := r.put(t, "r", map[string]string{"dir/x": "1"})
	put := &sdk.PutFileInput{RepositoryName: new("r"), BranchName: new("main"), ParentCommitId: &tip, FilePath: new("dir/x"), FileContent: []byte("1")}
	_, err := r.PutFile(r.ctx, put)
	wantCode(t, err, "SameFileContentException")
	put.FileMode = types.FileModeTypeEnumExecutable
	out, err := r.PutFile(r.ctx, put)
	if err != nil {
		t.Fatal(err)
	}
	gone, err := r.DeleteFile(r.ctx, &sdk.DeleteFileInput{RepositoryName: new("r"), BranchName: new("main"), ParentCommitId: out.CommitId, FilePath: new("dir/x"), KeepEmptyFolders: true})
	if err != nil || *gone.BlobId != *out.BlobId {
		t.Fatalf("%+v, %v", gone, err)
	}
	if d := cmp.Diff(map[string]string{"dir/.gitkeep": ""}, r.folder(t, "/")); d != "" {
		t.Error(d)
	}
}

// TestEventsTellTheStory: each change of a branch is told once, in order.
func TestEventsTellTheStory(t *testing.T) {
	r := newRig(t)
	r.repository(t, "r")
	first := r.put(t, "r", map[string]string{"x": "1"})
	must(t)(r.CreateBranch(r.ctx, &sdk.CreateBranchInput{RepositoryName: new("r"), BranchName: new("side"), CommitId: &first}))
	second := r.put(t, "r", map[string]string{"x": "2"})
	must(t)(r.DeleteBranch(r.ctx, &sdk.DeleteBranchInput{RepositoryName: new("r"), BranchName: new("side")}))
	_, err := r.DeleteBranch(r.ctx, &sdk.DeleteBranchInput{RepositoryName: new("r"), BranchName: new("main")})
	wantCode(t, err, "DefaultBranchCannotBeDeletedException")
	want := []string{`"commitId":"` + first + `","event":"referenceCreated"`, `"event":"referenceCreated","referenceFullName":"refs/heads/side"`, `"commitId":"` + second + `","event":"referenceUpdated","oldCommitId":"` + first, `"event":"referenceDeleted"`}
	for range want {
		<-r.told
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, w := range want {
		if !strings.Contains(r.events[i], w) || !strings.HasPrefix(r.events[i], "codecommit.amazonaws.com ") {
			t.Errorf("event %d: %s, want %s", i, r.events[i], w)
		}
	}
}

// TestRemadeRepositoryIsEmpty: nothing of a deleted repository comes back.
func TestRemadeRepositoryIsEmpty(t *testing.T) {
	r := newRig(t)
	r.repository(t, "r")
	tip := r.put(t, "r", map[string]string{"x": "1"})
	for range 2 { // a missing one is no error
		must(t)(r.DeleteRepository(r.ctx, &sdk.DeleteRepositoryInput{RepositoryName: new("r")}))
	}
	_, err := r.GetCommit(r.ctx, &sdk.GetCommitInput{RepositoryName: new("r"), CommitId: &tip})
	wantCode(t, err, "RepositoryDoesNotExistException")
	r.repository(t, "r")
	_, err = r.GetCommit(r.ctx, &sdk.GetCommitInput{RepositoryName: new("r"), CommitId: &tip})
	wantCode(t, err, "CommitIdDoesNotExistException")
	_, err = r.GetFolder(r.ctx, &sdk.GetFolderInput{RepositoryName: new("r"), FolderPath: new("/")})
	wantCode(t, err, "CommitDoesNotExistException")
}
