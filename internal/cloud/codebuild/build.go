package codebuild

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A build is a build at rest: as the API shows it, and what the API does not.
type build struct {
	types.Build
	Region  string
	Outputs []types.ProjectArtifacts // the first is the primary one
	// A Build has Logs of its own, which a field of that name would hide when
	// it is stored.
	Logs     *types.LogsConfig   `json:"LogsConfig"`
	Asked    sdk.StartBuildInput // for RetryBuild
	Stopping bool
	Attempts int // how often it was begun: more than once after a crash
}

func (b *build) key() string { return b.Region + "/" + *b.Id }

func (s *Service) registerBuilds(api *wire.API) {
	wire.Handle(api, s.StartBuild, wire.Members("ProjectName! 1..", "TimeoutInMinutesOverride 5..2160", "QueuedTimeoutInMinutesOverride 5..480"), onProjects(func(in *sdk.StartBuildInput) []string { return []string{*in.ProjectName} }))
	wire.Handle(api, s.RetryBuild, wire.Members("Id! 1.."), onProjects(func(in *sdk.RetryBuildInput) []string { return []string{*in.Id} }))
	wire.Handle(api, s.StopBuild, wire.Members("Id! 1.."), onProjects(func(in *sdk.StopBuildInput) []string { return []string{*in.Id} }))
	wire.Handle(api, s.BatchGetBuilds, wire.Members("Ids! 1..100"), onProjects(func(in *sdk.BatchGetBuildsInput) []string { return in.Ids }))
	wire.Handle(api, s.BatchDeleteBuilds, wire.Members("Ids! 1..100"), onProjects(func(in *sdk.BatchDeleteBuildsInput) []string { return in.Ids }))
	wire.Handle(api, s.ListBuilds, wire.Members("SortOrder ASCENDING|DESCENDING"))
	wire.Handle(api, s.ListBuildsForProject, wire.Members("ProjectName! 1..", "SortOrder ASCENDING|DESCENDING"), onProjects(func(in *sdk.ListBuildsForProjectInput) []string { return []string{*in.ProjectName} }))
}

// StartBuild starts a build of a project, with changes for this one. The same
// idempotency token gives the same build.
func (s *Service) StartBuild(ctx context.Context, in *sdk.StartBuildInput) (*sdk.StartBuildOutput, error) {
	b, err := s.start(ctx, in)
	if err != nil {
		return nil, err
	}
	return &sdk.StartBuildOutput{Build: &b.Build}, nil
}

func (s *Service) start(ctx context.Context, in *sdk.StartBuildInput) (*build, error) {
	c := wire.CallOf(ctx)
	name := projectOf(*in.ProjectName)
	b := &build{Region: c.Region, Asked: *in}
	return b, s.DB.Update(ctx, func(tx *store.Tx) error {
		k := c.Region + "/" + name
		row, ok, err := projects.Get(tx, k)
		if err == nil && !ok {
			err = noProject(s.arn(c.Region, "project", name))
		}
		if err != nil {
			return err
		}
		token := ""
		if in.IdempotencyToken != nil {
			token = k + "/" + *in.IdempotencyToken
			if id, known, err := tokens.Get(tx, token); err != nil {
				return err
			} else if known {
				*b, _, err = builds.Get(tx, c.Region+"/"+id)
				return err
			}
		}
		p := row.Project
		if err := override(&p, in); err != nil {
			return err
		}
		row.Builds++
		b.fill(s, c, &p, row.Builds)
		if in.SourceVersion != nil {
			b.SourceVersion = in.SourceVersion
		}
		if err := s.admit(tx, b, p.ConcurrentBuildLimit); err != nil {
			return err
		}
		if token != "" {
			if err := tokens.Put(tx, token, *b.Id); err != nil {
				return err
			}
		}
		if err := projects.Put(tx, k, row); err != nil {
			return err
		}
		if err := numbered.Put(tx, fmt.Sprintf("%s/%012d", k, row.Builds), *b.Id); err != nil {
			return err
		}
		if err := s.put(tx, b); err != nil {
			return err
		}
		return s.Tasks.Send(tx, event.Task{Kind: buildKind, ID: b.key()})
	})
}

// admit refuses a build beyond the project's own limit.
func (s *Service) admit(tx *store.Tx, b *build, limit *int32) error {
	if limit == nil {
		return nil
	}
	running := int32(0)
	for r, err := range builds.Prefix(tx, b.Region+"/"+*b.ProjectName+":") {
		if err != nil {
			return err
		}
		if !r.Value.BuildComplete {
			running++
		}
	}
	if running >= *limit {
		return &types.AccountLimitExceededException{Message: new(fmt.Sprintf("Cannot have more than %d builds in queue for the project", *limit))}
	}
	return nil
}

// override applies what is asked for one build to a copy of its project.
func override(p *types.Project, in *sdk.StartBuildInput) error {
	src := *p.Source
	if in.SourceTypeOverride != "" {
		src.Type = in.SourceTypeOverride
	}
	set(&src.Location, in.SourceLocationOverride)
	set(&src.Buildspec, in.BuildspecOverride)
	env := *p.Environment
	env.EnvironmentVariables = slices.Clone(env.EnvironmentVariables)
	for _, v := range in.EnvironmentVariablesOverride {
		env.EnvironmentVariables = slices.DeleteFunc(env.EnvironmentVariables, func(o types.EnvironmentVariable) bool { return *o.Name == aws.ToString(v.Name) })
		env.EnvironmentVariables = append(env.EnvironmentVariables, v)
	}
	set(&env.Image, in.ImageOverride)
	if in.ComputeTypeOverride != "" {
		env.ComputeType = in.ComputeTypeOverride
	}
	p.Source, p.Environment = &src, &env
	set(&p.Artifacts, in.ArtifactsOverride)
	setList(&p.SecondaryArtifacts, in.SecondaryArtifactsOverride)
	setList(&p.SecondarySources, in.SecondarySourcesOverride)
	set(&p.ServiceRole, in.ServiceRoleOverride)
	set(&p.TimeoutInMinutes, in.TimeoutInMinutesOverride)
	set(&p.QueuedTimeoutInMinutes, in.QueuedTimeoutInMinutesOverride)
	set(&p.EncryptionKey, in.EncryptionKeyOverride)
	set(&p.LogsConfig, in.LogsConfigOverride)
	if src.Type == types.SourceTypeCodepipeline {
		return invalid("Cannot start a build of a project with source type CODEPIPELINE: start the pipeline, or override source and artifacts")
	}
	if err := checkSource(src, false); err != nil {
		return err
	}
	for _, a := range append([]types.ProjectArtifacts{*p.Artifacts}, p.SecondaryArtifacts...) {
		if a.Type == types.ArtifactsTypeCodepipeline {
			return invalid("Artifacts of type CODEPIPELINE need a pipeline: override them")
		}
	}
	return checkVariables(env.EnvironmentVariables)
}

// fill makes a new build of a project.
func (b *build) fill(s *Service, c *wire.Call, p *types.Project, number int64) {
	id := *p.Name + ":" + uuid.NewString()
	now := time.Now().UTC().Truncate(time.Millisecond)
	b.Outputs, b.Logs = append([]types.ProjectArtifacts{*p.Artifacts}, p.SecondaryArtifacts...), p.LogsConfig
	b.Build = types.Build{
		Id: &id, Arn: new(s.arn(c.Region, "build", id)), BuildNumber: &number, ProjectName: p.Name, StartTime: &now, BuildStatus: types.StatusTypeInProgress,
		Initiator: new(initiator(c, b.Asked.SourceTypeOverride)), Source: p.Source, SecondarySources: p.SecondarySources, SourceVersion: p.SourceVersion,
		SecondarySourceVersions: p.SecondarySourceVersions, Environment: p.Environment, ServiceRole: p.ServiceRole, EncryptionKey: p.EncryptionKey,
		TimeoutInMinutes: p.TimeoutInMinutes, QueuedTimeoutInMinutes: p.QueuedTimeoutInMinutes, Cache: p.Cache, Artifacts: &types.BuildArtifacts{},
		ExportedEnvironmentVariables: []types.ExportedEnvironmentVariable{},
	}
	b.Build.Logs = s.location(b)
	b.enter(types.BuildPhaseTypeSubmitted, now)
	b.enter(types.BuildPhaseTypeQueued, now)
}

// initiator is who started a build: a pipeline by its name, a role by its
// session, a user by name.
func initiator(c *wire.Call, source types.SourceType) string {
	_, rest, _ := strings.Cut(c.Principal.ARN, ":assumed-role/")
	if role, session, ok := strings.Cut(rest, "/"); ok {
		if source == types.SourceTypeS3 && c.AccessKeyID == "" {
			return "codepipeline/" + session
		}
		return role + "/" + session
	}
	return c.Principal.ARN[strings.LastIndexAny(c.Principal.ARN, ":/")+1:]
}

// enter ends the phase under way, as succeeded, and begins another.
func (b *build) enter(phase types.BuildPhaseType, now time.Time) {
	b.leave(types.StatusTypeSucceeded, nil, now)
	b.CurrentPhase = new(string(phase))
	b.Phases = append(b.Phases, types.BuildPhase{PhaseType: phase, StartTime: &now, Contexts: []types.PhaseContext{}})
}

// leave ends the phase under way, if it has not ended.
func (b *build) leave(status types.StatusType, why *types.PhaseContext, now time.Time) {
	if len(b.Phases) == 0 {
		return
	}
	p := &b.Phases[len(b.Phases)-1]
	if p.EndTime != nil || p.PhaseType == types.BuildPhaseTypeCompleted {
		return
	}
	p.EndTime, p.PhaseStatus, p.DurationInSeconds = &now, status, new(int64(now.Sub(*p.StartTime)/time.Second))
	if why != nil {
		p.Contexts = append(p.Contexts, *why)
	}
}

// put writes a build and wakes who waits for it.
func (s *Service) put(tx *store.Tx, b *build) error {
	arn := *b.Arn
	tx.OnCommit(func() { s.Signals.Notify(arn) })
	return builds.Put(tx, b.key(), *b)
}

// idOf is a build's id, given by id or ARN.
func idOf(id string) string {
	if i := strings.LastIndexByte(id, '/'); strings.HasPrefix(id, "arn:") && i > 0 {
		return id[i+1:]
	}
	return id
}

func (s *Service) find(tx *store.Tx, region, id string) (build, error) {
	b, ok, err := builds.Get(tx, region+"/"+idOf(id))
	if err == nil && !ok {
		err = &types.ResourceNotFoundException{Message: new("Build cannot be found: " + id)}
	}
	return b, err
}

// StopBuild asks a build to stop; one that is over stays as it is.
func (s *Service) StopBuild(ctx context.Context, in *sdk.StopBuildInput) (*sdk.StopBuildOutput, error) {
	c := wire.CallOf(ctx)
	out := &sdk.StopBuildOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		b, err := s.find(tx, c.Region, *in.Id)
		out.Build = &b.Build
		if err != nil || b.BuildComplete {
			return err
		}
		b.Stopping = true
		if *b.CurrentPhase == string(types.BuildPhaseTypeQueued) {
			// It may wait for long yet: it is stopped here, and its run finds that.
			return s.complete(tx, &b, types.StatusTypeStopped, nil)
		}
		return s.put(tx, &b)
	})
}

// RetryBuild starts a build again, as it was asked for.
func (s *Service) RetryBuild(ctx context.Context, in *sdk.RetryBuildInput) (*sdk.RetryBuildOutput, error) {
	if in.Id == nil {
		return nil, invalid("id is required")
	}
	var again sdk.StartBuildInput
	err := s.DB.View(func(tx *store.Tx) error {
		b, err := s.find(tx, wire.CallOf(ctx).Region, *in.Id)
		again = b.Asked
		return err
	})
	if err != nil {
		return nil, err
	}
	again.IdempotencyToken = in.IdempotencyToken
	b, err := s.start(ctx, &again)
	if err != nil {
		return nil, err
	}
	return &sdk.RetryBuildOutput{Build: &b.Build}, nil
}

// BatchGetBuilds describes builds, by id or ARN.
func (s *Service) BatchGetBuilds(ctx context.Context, in *sdk.BatchGetBuildsInput) (*sdk.BatchGetBuildsOutput, error) {
	c := wire.CallOf(ctx)
	out := &sdk.BatchGetBuildsOutput{Builds: []types.Build{}, BuildsNotFound: []string{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for _, id := range in.Ids {
			b, ok, err := builds.Get(tx, c.Region+"/"+idOf(id))
			switch {
			case err != nil:
				return err
			case !ok:
				out.BuildsNotFound = append(out.BuildsNotFound, id)
			default:
				out.Builds = append(out.Builds, b.Build)
			}
		}
		return nil
	})
}

// BatchDeleteBuilds removes builds that are over.
func (s *Service) BatchDeleteBuilds(ctx context.Context, in *sdk.BatchDeleteBuildsInput) (*sdk.BatchDeleteBuildsOutput, error) {
	c := wire.CallOf(ctx)
	out := &sdk.BatchDeleteBuildsOutput{BuildsDeleted: []string{}, BuildsNotDeleted: []types.BuildNotDeleted{}}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		for _, id := range in.Ids {
			b, ok, err := builds.Get(tx, c.Region+"/"+idOf(id))
			switch {
			case err != nil:
				return err
			case !ok:
				out.BuildsNotDeleted = append(out.BuildsNotDeleted, types.BuildNotDeleted{Id: &id, StatusCode: new("BUILD_NOT_FOUND")})
				continue
			case !b.BuildComplete:
				out.BuildsNotDeleted = append(out.BuildsNotDeleted, types.BuildNotDeleted{Id: &id, StatusCode: new("BUILD_IN_PROGRESS")})
				continue
			}
			if err := numbered.Delete(tx, fmt.Sprintf("%s/%s/%012d", c.Region, *b.ProjectName, *b.BuildNumber)); err != nil {
				return err
			}
			if err := builds.Delete(tx, b.key()); err != nil {
				return err
			}
			out.BuildsDeleted = append(out.BuildsDeleted, *b.Arn)
		}
		return nil
	})
}

// ListBuilds lists the ids of all builds, the latest first.
func (s *Service) ListBuilds(ctx context.Context, in *sdk.ListBuildsInput) (*sdk.ListBuildsOutput, error) {
	var all []build
	err := s.DB.View(func(tx *store.Tx) error {
		for r, err := range builds.Prefix(tx, wire.CallOf(ctx).Region+"/") {
			if err != nil {
				return err
			}
			all = append(all, r.Value)
		}
		return nil
	})
	slices.SortStableFunc(all, func(a, b build) int { return a.StartTime.Compare(*b.StartTime) })
	var ids []string
	for _, b := range all {
		ids = append(ids, *b.Id)
	}
	out := &sdk.ListBuildsOutput{}
	if err == nil {
		out.Ids, out.NextToken, err = page(ordered(ids, in.SortOrder), in.NextToken)
	}
	return out, err
}

// ordered turns a list around that is to be descending, which is the default.
func ordered(ids []string, order types.SortOrderType) []string {
	if order != types.SortOrderTypeAscending {
		slices.Reverse(ids)
	}
	return ids
}

// ListBuildsForProject lists the ids of a project's builds, the latest first.
// They outlive the project.
func (s *Service) ListBuildsForProject(ctx context.Context, in *sdk.ListBuildsForProjectInput) (*sdk.ListBuildsForProjectOutput, error) {
	region, name := wire.CallOf(ctx).Region, projectOf(*in.ProjectName)
	var ids []string
	err := s.DB.View(func(tx *store.Tx) error {
		for r, err := range numbered.Prefix(tx, region+"/"+name+"/") {
			if err != nil {
				return err
			}
			ids = append(ids, r.Value)
		}
		if _, known, err := projects.Get(tx, region+"/"+name); err != nil || !known && len(ids) == 0 {
			if err == nil {
				err = noProject(s.arn(region, "project", name))
			}
			return err
		}
		return nil
	})
	out := &sdk.ListBuildsForProjectOutput{}
	if err == nil {
		out.Ids, out.NextToken, err = page(ordered(ids, in.SortOrder), in.NextToken)
	}
	return out, err
}
