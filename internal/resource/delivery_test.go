package resource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	build "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	pipeline "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"miniforge/internal/graph"
)

// A tree is a repository with one branch, as CodeCommit serves it.
type tree struct {
	files   map[string]File
	commits int
	calls   []int // files of each commit
}

func (r *tree) tip() string { return fmt.Sprintf("commit-%d", r.commits) }

func (r *tree) GetBranch(context.Context, *codecommit.GetBranchInput, ...func(*codecommit.Options)) (*codecommit.GetBranchOutput, error) {
	if r.commits == 0 {
		return nil, &types.BranchDoesNotExistException{}
	}
	return &codecommit.GetBranchOutput{Branch: &types.BranchInfo{CommitId: new(r.tip())}}, nil
}

func (r *tree) GetFolder(_ context.Context, in *codecommit.GetFolderInput, _ ...func(*codecommit.Options)) (*codecommit.GetFolderOutput, error) {
	folder := strings.Trim(*in.FolderPath, "/")
	out, subs := &codecommit.GetFolderOutput{}, map[string]bool{}
	for p, f := range r.files {
		below, is := strings.CutPrefix(p, folder+"/")
		if folder == "" {
			below, is = p, true
		}
		if !is {
			continue
		}
		if sub, _, deeper := strings.Cut(below, "/"); deeper {
			subs[path.Join(folder, sub)] = true
			continue
		}
		mode := types.FileModeTypeEnumNormal
		if f.Executable {
			mode = types.FileModeTypeEnumExecutable
		}
		out.Files = append(out.Files, types.File{AbsolutePath: new(p), BlobId: new(f.blob()), FileMode: mode})
	}
	for sub := range subs {
		out.SubFolders = append(out.SubFolders, types.Folder{AbsolutePath: &sub})
	}
	return out, nil
}

func (r *tree) CreateCommit(_ context.Context, in *codecommit.CreateCommitInput, _ ...func(*codecommit.Options)) (*codecommit.CreateCommitOutput, error) {
	if parent := deref(in.ParentCommitId); r.commits > 0 && parent != r.tip() {
		return nil, &types.ParentCommitIdOutdatedException{}
	}
	size, before := 0, maps.Clone(r.files)
	for _, d := range in.DeleteFiles {
		if _, there := r.files[*d.FilePath]; !there {
			return nil, &types.FileDoesNotExistException{}
		}
		delete(r.files, *d.FilePath)
	}
	for _, f := range in.PutFiles {
		size += len(f.FileContent)
		r.files[*f.FilePath] = File{*f.FilePath, f.FileContent, f.FileMode == types.FileModeTypeEnumExecutable}
	}
	n := len(in.PutFiles) + len(in.DeleteFiles)
	switch {
	case n > maxCommitFiles:
		return nil, &types.MaximumFileEntriesExceededException{}
	case size > maxCommitBytes:
		return nil, &types.FileContentSizeLimitExceededException{}
	case maps.EqualFunc(before, r.files, equalFiles):
		return nil, &types.NoChangeException{}
	}
	r.commits++
	r.calls = append(r.calls, n)
	return &codecommit.CreateCommitOutput{CommitId: new(r.tip())}, nil
}

func equalFiles(a, b File) bool {
	return a.Path == b.Path && a.Executable == b.Executable && bytes.Equal(a.Content, b.Content)
}

func (r *tree) branch(files ...File) *Branch {
	return &Branch{CodeCommit: r, Repository: &Repository{Name: "functions"}, Name: "main", Files: files}
}

// However a tree looks, a push leaves exactly the files, and a second one
// makes no commit.
func TestPushLeavesExactlyTheFiles(t *testing.T) {
	file := rapid.Custom(func(t *rapid.T) File {
		return File{
			Path:    rapid.StringMatching(`([ab]/){0,3}[c-f]\.go`).Draw(t, "path"),
			Content: []byte(rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "content")), Executable: rapid.Bool().Draw(t, "executable"),
		}
	})
	files := rapid.SliceOfDistinct(file, func(f File) string { return f.Path })
	rapid.Check(t, func(t *rapid.T) {
		r := &tree{files: map[string]File{}}
		for range 3 {
			want := files.Draw(t, "files")
			if len(want) == 0 && r.commits == 0 {
				continue
			}
			pushed, err := r.branch(want...).Push(context.Background(), "change")
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(r.files)); len(got) != len(want) {
				t.Fatalf("%v left, pushed %v", got, want)
			}
			for _, f := range want {
				if !equalFiles(r.files[f.Path], f) {
					t.Fatalf("%s is %v, want %v", f.Path, r.files[f.Path], f)
				}
			}
			again, err := r.branch(want...).Push(context.Background(), "again")
			if err != nil || again.Commits != 0 || again.Commit != pushed.Commit {
				t.Fatalf("second push: %v, %v", again, err)
			}
		}
	})
}

func TestPushKeepsToTheLimits(t *testing.T) {
	many := func(n, size int) (files []File) {
		for i := range n {
			files = append(files, File{Path: fmt.Sprintf("f%03d", i), Content: bytes.Repeat([]byte{byte(i)}, size)})
		}
		return files
	}
	for name, tc := range map[string]struct {
		there, files []File
		want         []int // files of each commit
		err          error
	}{
		"a hundred files":             {nil, many(100, 1), []int{100}, nil},
		"more":                        {nil, many(201, 1), []int{100, 100, 1}, nil},
		"seven megabytes":             {nil, many(7, 1<<20), []int{7}, nil},
		"more megabytes":              {nil, many(9, 1<<20), []int{7, 2}, nil},
		"a file of six":               {nil, many(1, 6<<20), []int{1}, nil},
		"a larger file":               {nil, many(1, 6<<20+1), nil, ErrTooLarge},
		"removing and adding many":    {many(150, 1), []File{{Path: "new"}}, []int{100, 51}, nil},
		"a file in place of a folder": {[]File{{Path: "a/b"}}, []File{{Path: "a"}}, []int{2}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := &tree{files: map[string]File{}}
			if len(tc.there) > 0 {
				r.commits = 1
				for _, f := range tc.there {
					r.files[f.Path] = f
				}
			}
			_, err := r.branch(tc.files...).Push(t.Context(), "change")
			if !errors.Is(err, tc.err) {
				t.Fatalf("got %v, want %v", err, tc.err)
			}
			if d := cmp.Diff(tc.want, r.calls); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBlobIsGits(t *testing.T) {
	// git hash-object of "hello\n"
	if got := (File{Content: []byte("hello\n")}).blob(); got != "ce013625030ba8dba906f756967f9e9ca394464a" {
		t.Errorf("blob is %s", got)
	}
}

func projectForTest() *BuildProject {
	return &BuildProject{
		Name: "shop-build", Description: "Builds", Role: &Role{ARN: "arn:role"}, LogGroup: &LogGroup{Name: "/aws/codebuild/shop-build"},
		Key: &Key{arn: "arn:key"}, Image: "standard:5.0", Compute: build.ComputeTypeBuildGeneral1Small, Buildspec: "buildspec.yml",
		Environment: map[string]string{"FUNCTION_GOOS": "linux", "GOTOOLCHAIN": AsItIs}, Timeout: 30 * time.Minute,
	}
}

func TestProjectDrift(t *testing.T) {
	p := projectForTest()
	conforming := func() build.Project {
		in := projectForTest().input()
		in.Environment.EnvironmentVariables = append(in.Environment.EnvironmentVariables, build.EnvironmentVariable{Name: new("GOTOOLCHAIN"), Value: new("go1.26.8")})
		return build.Project{
			Name: in.Name, Description: in.Description, ServiceRole: in.ServiceRole, EncryptionKey: in.EncryptionKey, TimeoutInMinutes: in.TimeoutInMinutes,
			Source: in.Source, Artifacts: in.Artifacts, Environment: in.Environment, LogsConfig: in.LogsConfig, Tags: in.Tags,
		}
	}
	checkDrift(t, conforming, func(got build.Project) []graph.Diff { return p.compare(got) }, map[string]change[build.Project]{
		"another role":      {func(p *build.Project) { p.ServiceRole = new("arn:other") }, []string{"ServiceRole"}},
		"another buildspec": {func(p *build.Project) { p.Source.Buildspec = new("other.yml") }, []string{"Source.Buildspec"}},
		"AWS's own key":     {func(p *build.Project) { p.EncryptionKey = new("alias/aws/s3") }, []string{"EncryptionKey"}},
		"a variable added": {func(p *build.Project) {
			p.Environment.EnvironmentVariables = append(p.Environment.EnvironmentVariables, build.EnvironmentVariable{Name: new("GOFLAGS"), Value: new("-race")})
		}, []string{"EnvironmentVariables.GOFLAGS"}},
		"a variable removed": {func(p *build.Project) { p.Environment.EnvironmentVariables = nil }, []string{"EnvironmentVariables.FUNCTION_GOOS"}},
		"no logs":            {func(p *build.Project) { p.LogsConfig = nil }, []string{"Logs.Status", "Logs.GroupName"}},
		"privileged":         {func(p *build.Project) { p.Environment.PrivilegedMode = new(true) }, []string{"Environment.PrivilegedMode"}},
	})
}

func TestPipelineDrift(t *testing.T) {
	p := &Pipeline{
		Name: "shop-delivery", Role: &Role{ARN: "arn:role"}, Bucket: &Bucket{Name: "bucket"}, Key: &Key{arn: "arn:key"},
		Source: &Branch{Name: "main", Repository: &Repository{Name: "shop-functions"}},
		Build:  &BuildProject{Name: "shop-build"}, Deploy: &BuildProject{Name: "shop-deploy"},
	}
	conforming := func() pipeline.PipelineDeclaration {
		d := *p.declaration()
		for i := range d.Stages { // what CodePipeline fills in
			a := &d.Stages[i].Actions[0]
			a.RunOrder, a.Region = new(int32(1)), new("eu-west-1")
			if a.InputArtifacts == nil {
				a.InputArtifacts = []pipeline.InputArtifact{}
			}
		}
		d.Version = new(int32(3))
		return d
	}
	checkDrift(t, conforming, func(got pipeline.PipelineDeclaration) []graph.Diff { return p.compare(got) }, map[string]change[pipeline.PipelineDeclaration]{
		"another branch": {func(d *pipeline.PipelineDeclaration) { d.Stages[0].Actions[0].Configuration["BranchName"] = "dev" }, []string{"Stages"}},
		"a stage less":   {func(d *pipeline.PipelineDeclaration) { d.Stages = d.Stages[:2] }, []string{"Stages"}},
		"AWS's own key":  {func(d *pipeline.PipelineDeclaration) { d.ArtifactStore.EncryptionKey = nil }, []string{"ArtifactStore.EncryptionKey"}},
		"queued":         {func(d *pipeline.PipelineDeclaration) { d.ExecutionMode = pipeline.ExecutionModeQueued }, []string{"ExecutionMode"}},
	})
}
