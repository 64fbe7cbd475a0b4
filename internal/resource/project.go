package resource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"

	"miniforge/internal/graph"
)

// projectAPI is what a BuildProject asks of CodeBuild.
type projectAPI interface {
	BatchGetProjects(context.Context, *codebuild.BatchGetProjectsInput, ...func(*codebuild.Options)) (*codebuild.BatchGetProjectsOutput, error)
	CreateProject(context.Context, *codebuild.CreateProjectInput, ...func(*codebuild.Options)) (*codebuild.CreateProjectOutput, error)
	UpdateProject(context.Context, *codebuild.UpdateProjectInput, ...func(*codebuild.Options)) (*codebuild.UpdateProjectOutput, error)
	DeleteProject(context.Context, *codebuild.DeleteProjectInput, ...func(*codebuild.Options)) (*codebuild.DeleteProjectOutput, error)
	ListBuildsForProject(context.Context, *codebuild.ListBuildsForProjectInput, ...func(*codebuild.Options)) (*codebuild.ListBuildsForProjectOutput, error)
	BatchGetBuilds(context.Context, *codebuild.BatchGetBuildsInput, ...func(*codebuild.Options)) (*codebuild.BatchGetBuildsOutput, error)
	StopBuild(context.Context, *codebuild.StopBuildInput, ...func(*codebuild.Options)) (*codebuild.StopBuildOutput, error)
	BatchDeleteBuilds(context.Context, *codebuild.BatchDeleteBuildsInput, ...func(*codebuild.Options)) (*codebuild.BatchDeleteBuildsOutput, error)
}

var _ projectAPI = (*codebuild.Client)(nil)

// A BuildProject is a CodeBuild project whose builds a pipeline starts: it
// gives them their sources and takes their artifacts.
type BuildProject struct {
	CodeBuild   projectAPI
	Owner       Owner
	Name        string
	ARN         string
	Description string
	Role        *Role
	LogGroup    *LogGroup
	Key         *Key
	Bucket      *Bucket // of the artifacts: it must outlive the builds that write there
	Image       string
	Compute     types.ComputeType
	// Buildspec is the text itself, or the path of a file in the sources.
	Buildspec   string
	Environment map[string]string // AsItIs: not compared
	Timeout     time.Duration
}

// AsItIs stands for a value of BuildProject.Environment that only a run which
// writes knows: a run that merely looks takes what is there.
const AsItIs = "(as it is)"

func (p *BuildProject) ID() string { return "codebuild/" + p.Name }
func (p *BuildProject) Needs() []graph.Resource {
	return []graph.Resource{p.Role, p.LogGroup, p.Key, p.Bucket}
}

func (p *BuildProject) Observe(ctx context.Context) (graph.Observation, error) {
	out, err := p.CodeBuild.BatchGetProjects(ctx, &codebuild.BatchGetProjectsInput{Names: []string{p.Name}})
	if err != nil {
		return graph.Observation{}, failed("read build project", p.Name, err)
	}
	if len(out.Projects) == 0 {
		return graph.Observation{}, nil
	}
	got := out.Projects[0]
	tags := tagMap(got.Tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
	return graph.Observation{Exists: true, Owned: p.Owner.owns(tags), Drift: p.compare(got)}, nil
}

func (p *BuildProject) compare(got types.Project) (d drift) {
	d.add("Description", p.Description, deref(got.Description))
	d.add("ServiceRole", p.Role.ARN, deref(got.ServiceRole))
	d.add("EncryptionKey", orUnknown(p.Key.ARN()), deref(got.EncryptionKey))
	d.int("TimeoutInMinutes", int64(p.Timeout/time.Minute), int64(deref(got.TimeoutInMinutes)))
	source, artifacts := deref(got.Source), deref(got.Artifacts)
	d.add("Source.Type", string(types.SourceTypeCodepipeline), string(source.Type))
	d.add("Source.Buildspec", p.Buildspec, deref(source.Buildspec))
	d.add("Artifacts.Type", string(types.ArtifactsTypeCodepipeline), string(artifacts.Type))
	e := deref(got.Environment)
	d.add("Environment.Type", string(types.EnvironmentTypeLinuxContainer), string(e.Type))
	d.add("Environment.Image", p.Image, deref(e.Image))
	d.add("Environment.ComputeType", string(p.Compute), string(e.ComputeType))
	d.bool("Environment.PrivilegedMode", false, deref(e.PrivilegedMode))
	variables := map[string]string{}
	for _, v := range e.EnvironmentVariables {
		variables[deref(v.Name)] = deref(v.Value)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		if want := p.Environment[name]; want != AsItIs {
			d.add("EnvironmentVariables."+name, want, variables[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if _, declared := p.Environment[name]; !declared {
			d.add("EnvironmentVariables."+name, "(none)", variables[name])
		}
	}
	var logs types.CloudWatchLogsConfig
	if got.LogsConfig != nil {
		logs = deref(got.LogsConfig.CloudWatchLogs)
	}
	d.add("Logs.Status", string(types.LogsConfigStatusTypeEnabled), string(logs.Status))
	d.add("Logs.GroupName", p.LogGroup.Name, deref(logs.GroupName))
	return d
}

// input is the project as declared. CreateProject and UpdateProject have the
// same members.
func (p *BuildProject) input() *codebuild.CreateProjectInput {
	key, minutes, privileged := p.Key.ARN(), int32(p.Timeout/time.Minute), false
	var variables []types.EnvironmentVariable
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		value := p.Environment[name]
		if value == AsItIs {
			continue
		}
		variables = append(variables, types.EnvironmentVariable{Name: &name, Value: &value, Type: types.EnvironmentVariableTypePlaintext})
	}
	return &codebuild.CreateProjectInput{
		Name: &p.Name, Description: &p.Description, ServiceRole: &p.Role.ARN, EncryptionKey: &key, TimeoutInMinutes: &minutes,
		Source:    &types.ProjectSource{Type: types.SourceTypeCodepipeline, Buildspec: &p.Buildspec},
		Artifacts: &types.ProjectArtifacts{Type: types.ArtifactsTypeCodepipeline},
		Environment: &types.ProjectEnvironment{
			Type: types.EnvironmentTypeLinuxContainer, Image: &p.Image, ComputeType: p.Compute,
			PrivilegedMode: &privileged, EnvironmentVariables: variables,
		},
		LogsConfig: &types.LogsConfig{CloudWatchLogs: &types.CloudWatchLogsConfig{
			Status: types.LogsConfigStatusTypeEnabled, GroupName: &p.LogGroup.Name,
		}},
		Tags: tagList(p.Owner.Tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} }),
	}
}

func (p *BuildProject) Create(ctx context.Context) error {
	_, err := p.CodeBuild.CreateProject(ctx, p.input())
	return failed("create build project", p.Name, err)
}

// Update sends everything, tags included: UpdateProject forgets what it is not
// given.
func (p *BuildProject) Update(ctx context.Context, _ []graph.Diff) error {
	in := p.input()
	_, err := p.CodeBuild.UpdateProject(ctx, &codebuild.UpdateProjectInput{
		Name: in.Name, Description: in.Description, ServiceRole: in.ServiceRole, EncryptionKey: in.EncryptionKey,
		TimeoutInMinutes: in.TimeoutInMinutes, Source: in.Source, Artifacts: in.Artifacts, Environment: in.Environment,
		LogsConfig: in.LogsConfig, Tags: in.Tags,
	})
	return failed("update build project", p.Name, err)
}

// Delete ends and deletes the builds first, which outlive their project
// otherwise, and can then no longer be found.
func (p *BuildProject) Delete(ctx context.Context) error {
	if err := p.deleteBuilds(ctx); err != nil && !gone(err) {
		return err
	}
	_, err := p.CodeBuild.DeleteProject(ctx, &codebuild.DeleteProjectInput{Name: &p.Name})
	return deleted("build project "+p.Name, err)
}

func (p *BuildProject) deleteBuilds(ctx context.Context) error {
	var ids []string
	pages := codebuild.NewListBuildsForProjectPaginator(p.CodeBuild, &codebuild.ListBuildsForProjectInput{ProjectName: &p.Name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return failed("list builds of", p.Name, err)
		}
		ids = append(ids, page.Ids...)
	}
	for some := range slices.Chunk(ids, 100) { // the most that both operations take
		if err := p.stop(ctx, some); err != nil {
			return err
		}
		out, err := p.CodeBuild.BatchDeleteBuilds(ctx, &codebuild.BatchDeleteBuildsInput{Ids: some})
		if err != nil {
			return failed("delete builds of", p.Name, err)
		}
		for _, kept := range out.BuildsNotDeleted {
			return notYet("delete build", deref(kept.Id), errors.New(deref(kept.StatusCode)))
		}
	}
	return nil
}

// stop ends those builds that are running, and waits until they have ended.
func (p *BuildProject) stop(ctx context.Context, ids []string) error {
	asked := map[string]bool{}
	return until(ctx, "end of the builds of "+p.Name, func(ctx context.Context) (bool, error) {
		out, err := p.CodeBuild.BatchGetBuilds(ctx, &codebuild.BatchGetBuildsInput{Ids: ids})
		if err != nil {
			return false, err
		}
		ended := true
		for _, b := range out.Builds {
			if b.BuildComplete || b.BuildStatus != types.StatusTypeInProgress {
				continue
			}
			ended = false
			if id := deref(b.Id); !asked[id] {
				asked[id] = true
				if _, err := p.CodeBuild.StopBuild(ctx, &codebuild.StopBuildInput{Id: &id}); err != nil && !gone(err) {
					return false, fmt.Errorf("stop build %s: %w", id, err)
				}
			}
		}
		return ended, nil
	})
}
