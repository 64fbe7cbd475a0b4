package codebuild

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A projectRow is a project at rest, with the number of its last build.
type projectRow struct {
	types.Project
	Builds int64
}

func invalid(format string, args ...any) error {
	return &types.InvalidInputException{Message: new(fmt.Sprintf(format, args...))}
}

func noProject(name string) error {
	return &types.ResourceNotFoundException{Message: new("Project cannot be found: " + name)}
}

func (s *Service) registerProjects(api *wire.API) {
	wire.Handle(api, s.CreateProject, wire.Members("Name!"+nameRule, "Source!", "Artifacts!", "Environment!", "ServiceRole! 1..", "Description 0..255", "TimeoutInMinutes 5..2160", "QueuedTimeoutInMinutes 5..480", "Tags 0..50"),
		passes(func(in *sdk.CreateProjectInput) (n, r *string) { return in.Name, in.ServiceRole }))
	wire.Handle(api, s.UpdateProject, wire.Members("Name! 1..", "Description 0..255", "TimeoutInMinutes 5..2160", "QueuedTimeoutInMinutes 5..480", "Tags 0..50"),
		passes(func(in *sdk.UpdateProjectInput) (n, r *string) { return in.Name, in.ServiceRole }))
	wire.Handle(api, s.DeleteProject, wire.Members("Name! 1.."), onProjects(func(in *sdk.DeleteProjectInput) []string { return []string{*in.Name} }))
	wire.Handle(api, s.BatchGetProjects, wire.Members("Names! 1..100"), onProjects(func(in *sdk.BatchGetProjectsInput) []string { return in.Names }))
	wire.Handle(api, s.ListProjects, wire.Members("SortBy NAME|CREATED_TIME|LAST_MODIFIED_TIME", "SortOrder ASCENDING|DESCENDING"))
	wire.Handle(api, s.ListCuratedEnvironmentImages)
}

const (
	defaultTimeout = 60  // minutes
	defaultQueue   = 480 // minutes
)

// CreateProject makes a project.
func (s *Service) CreateProject(ctx context.Context, in *sdk.CreateProjectInput) (*sdk.CreateProjectOutput, error) {
	c := wire.CallOf(ctx)
	now := time.Now().UTC().Truncate(time.Millisecond)
	row := projectRow{Project: types.Project{
		Name: in.Name, Arn: new(s.arn(c.Region, "project", *in.Name)), Created: &now, LastModified: &now, Description: in.Description,
		Source: in.Source, SecondarySources: in.SecondarySources, SourceVersion: in.SourceVersion, SecondarySourceVersions: in.SecondarySourceVersions,
		Artifacts: in.Artifacts, SecondaryArtifacts: in.SecondaryArtifacts, Environment: in.Environment, ServiceRole: in.ServiceRole,
		TimeoutInMinutes: orDefault(in.TimeoutInMinutes, defaultTimeout), QueuedTimeoutInMinutes: orDefault(in.QueuedTimeoutInMinutes, defaultQueue),
		EncryptionKey: in.EncryptionKey, Tags: in.Tags, LogsConfig: in.LogsConfig, ConcurrentBuildLimit: in.ConcurrentBuildLimit, Cache: in.Cache,
		Badge: &types.ProjectBadge{},
	}}
	if row.EncryptionKey == nil {
		row.EncryptionKey = new("arn:aws:kms:" + c.Region + ":" + s.Account + ":alias/aws/s3")
	}
	if err := unserved(in.VpcConfig, in.BuildBatchConfig, in.FileSystemLocations, in.BadgeEnabled); err != nil {
		return nil, err
	}
	if err := check(&row.Project); err != nil {
		return nil, err
	}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		k := c.Region + "/" + *in.Name
		if _, taken, err := projects.Get(tx, k); err != nil {
			return err
		} else if taken {
			return &types.ResourceAlreadyExistsException{Message: new("Project already exists: " + *row.Arn)}
		}
		return projects.Put(tx, k, row)
	})
	return &sdk.CreateProjectOutput{Project: &row.Project}, err
}

func orDefault(p *int32, v int32) *int32 {
	if p == nil {
		p = &v
	}
	return p
}

func unserved(vpc *types.VpcConfig, batch *types.ProjectBuildBatchConfig, files []types.ProjectFileSystemLocation, badge *bool) error {
	switch {
	case vpc != nil && vpc.VpcId != nil:
		return invalid("This cloud runs builds on its own machine: vpcConfig is not served")
	case batch != nil:
		return invalid("This cloud runs no batch builds: buildBatchConfig is not served")
	case len(files) > 0:
		return invalid("This cloud mounts nothing into builds: fileSystemLocations is not served")
	case aws.ToBool(badge):
		return invalid("This cloud makes no badges: badgeEnabled is not served")
	}
	return nil
}

// check applies the rules between the members of a project.
func check(p *types.Project) error {
	if p.Source == nil || p.Artifacts == nil || p.Environment == nil || p.Environment.Image == nil || p.Environment.Type == "" || p.Environment.ComputeType == "" {
		return invalid("Project source, artifacts and environment (type, image, computeType) are required")
	}
	if !strings.HasPrefix(*p.ServiceRole, "arn:aws:iam::") {
		return invalid("Invalid service role: Service role account ID does not match caller's account: %s", *p.ServiceRole)
	}
	if (p.Source.Type == types.SourceTypeCodepipeline) != (p.Artifacts.Type == types.ArtifactsTypeCodepipeline) {
		return invalid("Invalid artifacts: source and artifacts must both be CODEPIPELINE, or neither")
	}
	for i, src := range append([]types.ProjectSource{*p.Source}, p.SecondarySources...) {
		if err := checkSource(src, i > 0); err != nil {
			return err
		}
	}
	for i, a := range append([]types.ProjectArtifacts{*p.Artifacts}, p.SecondaryArtifacts...) {
		if err := checkArtifacts(a, i > 0); err != nil {
			return err
		}
	}
	return checkVariables(p.Environment.EnvironmentVariables)
}

func checkSource(src types.ProjectSource, secondary bool) error {
	switch src.Type {
	case types.SourceTypeCodepipeline, types.SourceTypeNoSource:
		if secondary {
			return invalid("Invalid secondary source: type %s", src.Type)
		}
	case types.SourceTypeS3:
		if _, _, ok := strings.Cut(aws.ToString(src.Location), "/"); !ok {
			return invalid("Invalid source: location must be a valid S3 source: bucket/key")
		}
	case types.SourceTypeCodecommit:
		if aws.ToString(src.Location) == "" {
			return invalid("Invalid source: location must be the clone URL of a repository")
		}
	default:
		return invalid("This cloud builds from CODEPIPELINE, S3, CODECOMMIT and NO_SOURCE: source type %s is not served", src.Type)
	}
	if secondary && aws.ToString(src.SourceIdentifier) == "" {
		return invalid("Source identifier is required for secondary sources")
	}
	if src.Type == types.SourceTypeNoSource && aws.ToString(src.Buildspec) == "" {
		return invalid("Project source type NO_SOURCE requires a buildspec")
	}
	return nil
}

func checkArtifacts(a types.ProjectArtifacts, secondary bool) error {
	switch a.Type {
	case types.ArtifactsTypeCodepipeline, types.ArtifactsTypeNoArtifacts:
		if secondary {
			return invalid("Invalid secondary artifacts: type %s", a.Type)
		}
	case types.ArtifactsTypeS3:
		if aws.ToString(a.Location) == "" {
			return invalid("Invalid artifacts: location must be the name of a bucket")
		}
	default:
		return invalid("Invalid artifacts: type %q", a.Type)
	}
	if secondary && aws.ToString(a.ArtifactIdentifier) == "" {
		return invalid("Artifact identifier is required for secondary artifacts")
	}
	if a.EncryptionDisabled != nil && *a.EncryptionDisabled && a.Type != types.ArtifactsTypeS3 {
		return invalid("Invalid artifacts: encryptionDisabled can only be set for artifacts of type S3")
	}
	return nil
}

func checkVariables(all []types.EnvironmentVariable) error {
	for _, v := range all {
		switch {
		case aws.ToString(v.Name) == "" || v.Value == nil:
			return invalid("Environment variables need a name and a value")
		case v.Type != "" && v.Type != types.EnvironmentVariableTypePlaintext:
			return invalid("This cloud has no %s: environment variable %s must be PLAINTEXT", v.Type, *v.Name)
		}
	}
	return nil
}

// UpdateProject changes what is given; the rest stays.
func (s *Service) UpdateProject(ctx context.Context, in *sdk.UpdateProjectInput) (*sdk.UpdateProjectOutput, error) {
	c := wire.CallOf(ctx)
	if err := unserved(in.VpcConfig, in.BuildBatchConfig, in.FileSystemLocations, in.BadgeEnabled); err != nil {
		return nil, err
	}
	out := &sdk.UpdateProjectOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		k := c.Region + "/" + *in.Name
		row, ok, err := projects.Get(tx, k)
		if err == nil && !ok {
			err = noProject(s.arn(c.Region, "project", *in.Name))
		}
		if err != nil {
			return err
		}
		p := &row.Project
		set(&p.Description, in.Description)
		set(&p.Source, in.Source)
		set(&p.SourceVersion, in.SourceVersion)
		set(&p.Artifacts, in.Artifacts)
		set(&p.Environment, in.Environment)
		set(&p.ServiceRole, in.ServiceRole)
		set(&p.TimeoutInMinutes, in.TimeoutInMinutes)
		set(&p.QueuedTimeoutInMinutes, in.QueuedTimeoutInMinutes)
		set(&p.EncryptionKey, in.EncryptionKey)
		set(&p.LogsConfig, in.LogsConfig)
		set(&p.ConcurrentBuildLimit, in.ConcurrentBuildLimit)
		set(&p.Cache, in.Cache)
		setList(&p.SecondarySources, in.SecondarySources)
		setList(&p.SecondarySourceVersions, in.SecondarySourceVersions)
		setList(&p.SecondaryArtifacts, in.SecondaryArtifacts)
		setList(&p.Tags, in.Tags)
		if err := check(p); err != nil {
			return err
		}
		p.LastModified = new(time.Now().UTC().Truncate(time.Millisecond))
		out.Project = p
		return projects.Put(tx, k, row)
	})
}

func set[T any](to **T, v *T) {
	if v != nil {
		*to = v
	}
}

func setList[T any](to *[]T, v []T) {
	if v != nil {
		*to = v
	}
}

// DeleteProject removes a project; its builds stay. One that is not there is no
// error.
func (s *Service) DeleteProject(ctx context.Context, in *sdk.DeleteProjectInput) (*sdk.DeleteProjectOutput, error) {
	c := wire.CallOf(ctx)
	return &sdk.DeleteProjectOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		return projects.Delete(tx, c.Region+"/"+projectOf(*in.Name))
	})
}

// BatchGetProjects describes projects, by name or ARN.
func (s *Service) BatchGetProjects(ctx context.Context, in *sdk.BatchGetProjectsInput) (*sdk.BatchGetProjectsOutput, error) {
	c := wire.CallOf(ctx)
	out := &sdk.BatchGetProjectsOutput{Projects: []types.Project{}, ProjectsNotFound: []string{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for _, name := range in.Names {
			r, ok, err := projects.Get(tx, c.Region+"/"+projectOf(name))
			switch {
			case err != nil:
				return err
			case !ok:
				out.ProjectsNotFound = append(out.ProjectsNotFound, name)
			default:
				out.Projects = append(out.Projects, r.Project)
			}
		}
		return nil
	})
}

// listPage is how many names or ids one answer lists.
const listPage = 100

// ListProjects lists the names of projects.
func (s *Service) ListProjects(ctx context.Context, in *sdk.ListProjectsInput) (*sdk.ListProjectsOutput, error) {
	c := wire.CallOf(ctx)
	var all []types.Project
	err := s.DB.View(func(tx *store.Tx) error {
		for r, err := range projects.Prefix(tx, c.Region+"/") {
			if err != nil {
				return err
			}
			all = append(all, r.Value.Project)
		}
		return nil
	})
	slices.SortStableFunc(all, func(a, b types.Project) int {
		if in.SortOrder == types.SortOrderTypeDescending {
			a, b = b, a
		}
		switch in.SortBy {
		case types.ProjectSortByTypeCreatedTime:
			return a.Created.Compare(*b.Created)
		case types.ProjectSortByTypeLastModifiedTime:
			return a.LastModified.Compare(*b.LastModified)
		}
		return strings.Compare(*a.Name, *b.Name)
	})
	var names []string
	for _, p := range all {
		names = append(names, *p.Name)
	}
	out := &sdk.ListProjectsOutput{}
	if err == nil {
		out.Projects, out.NextToken, err = page(names, in.NextToken)
	}
	return out, err
}

// page cuts a list after the item that a token names.
func page(all []string, token *string) (items []string, next *string, err error) {
	if token != nil {
		i := slices.Index(all, *token)
		if i < 0 {
			return nil, nil, invalid("Invalid nextToken: %s", *token)
		}
		all = all[i+1:]
	}
	if len(all) > listPage {
		all, next = all[:listPage], &all[listPage-1]
	}
	return append([]string{}, all...), next, nil
}

func tagList(tags map[string]string) (all []types.Tag) {
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, types.Tag{Key: &k, Value: new(tags[k])})
	}
	return all
}
