package codepipeline

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	cbtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/cloud/wire"
)

// codeBuild runs a build on input artifacts; what it makes are the output
// artifacts, and its exported variables those of the action.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeBuild.html
func codeBuild() *provider {
	return &provider{
		types:  []types.ActionTypeId{awsType(types.ActionCategoryBuild, "CodeBuild"), awsType(types.ActionCategoryTest, "CodeBuild")},
		inputs: limits{1, 5}, outputs: limits{0, 5}, timeout: 8 * time.Hour,
		keys: []key{required("ProjectName"), optional("PrimarySource"), optional(environmentKey), optional("BuildspecOverride"), optional("BatchEnabled"), optional("CombineArtifacts")},
		check: func(a types.ActionDeclaration) string {
			if text := checkBool(a, "BatchEnabled"); text != "" || a.Configuration["BatchEnabled"] == "true" {
				return strings.TrimPrefix(text+", the embedded cloud runs no batch builds", ", ")
			}
			primary := a.Configuration["PrimarySource"]
			named := slices.ContainsFunc(a.InputArtifacts, func(in types.InputArtifact) bool { return *in.Name == primary })
			switch {
			case len(a.InputArtifacts) > 1 && primary == "":
				return "PrimarySource is required when there is more than one input artifact"
			case primary != "" && !named:
				return "PrimarySource " + primary + " is not an input artifact of the action"
			}
			if _, err := parseEnvironment(a.Configuration[environmentKey]); err != nil {
				return err.Error()
			}
			return ""
		},
		run: runBuild, abandon: stopBuild,
	}
}

func runBuild(ctx context.Context, j *job) (*outcome, error) {
	if j.run.External == "" {
		if err := j.startBuild(ctx); err != nil {
			return nil, err
		}
	}
	region, id := j.x.Region, j.run.External
	arn := "arn:aws:codebuild:" + region + ":" + j.Account + ":build/" + id
	var b cbtypes.Build
	err := j.await(ctx, arn, func() (bool, error) {
		out, err := wire.Do[codebuild.BatchGetBuildsOutput](ctx, j.Caller, j.as, &codebuild.BatchGetBuildsInput{Ids: []string{id}})
		if err != nil {
			return false, refused("Error calling batchGetBuilds", err)
		}
		if len(out.Builds) == 0 {
			return false, failed(jobFailed, "Build %s was deleted before it was complete", id)
		}
		b = out.Builds[0]
		return b.BuildStatus != cbtypes.StatusTypeInProgress, j.noteLogs(ctx, b)
	})
	if err != nil {
		return nil, err
	}
	if b.BuildStatus != cbtypes.StatusTypeSucceeded {
		return nil, buildFailure(b)
	}
	vars := map[string]string{}
	for _, v := range b.ExportedEnvironmentVariables {
		vars[*v.Name] = aws.ToString(v.Value)
	}
	return &outcome{vars: vars}, nil
}

// noteLogs keeps where the build's log is, as soon as that is known.
func (j *job) noteLogs(ctx context.Context, b cbtypes.Build) error {
	if b.Logs == nil || b.Logs.CloudWatchLogsArn == nil || j.run.Logs == *b.Logs.CloudWatchLogsArn {
		return nil
	}
	return j.note(ctx, func(r *run) { r.Logs = *b.Logs.CloudWatchLogsArn })
}

// startBuild starts the build; its token makes a second start after a crash
// find the first.
func (j *job) startBuild(ctx context.Context) error {
	in, err := j.buildInput()
	if err != nil {
		return err
	}
	out, err := wire.Do[codebuild.StartBuildOutput](ctx, j.Caller, j.as, in)
	if err != nil {
		return refused("Error calling startBuild", err)
	}
	id := *out.Build.Id
	j.run.External = id // also if it is too late to keep: the build is to be stopped then
	return j.note(ctx, func(r *run) {
		r.External = id
		r.URL = "https://console.aws.amazon.com/codebuild/home?region=" + j.x.Region + "#/builds/" + id + "/view/new"
	})
}

func (j *job) buildInput() (*codebuild.StartBuildInput, error) {
	conf := j.run.Resolved
	primary := conf["PrimarySource"]
	if primary == "" {
		primary = *j.decl.InputArtifacts[0].Name
	}
	in := &codebuild.StartBuildInput{ProjectName: new(conf["ProjectName"]), IdempotencyToken: &j.run.ID, SourceTypeOverride: cbtypes.SourceTypeS3}
	for _, a := range j.decl.InputArtifacts {
		loc := j.input(*a.Name)
		if loc == nil {
			return nil, failed(configuration, "The input artifact %s is not there: no action that ran before has made it", *a.Name)
		}
		where := *loc.Bucket + "/" + *loc.Key
		if *a.Name == primary {
			in.SourceLocationOverride = &where
			continue
		}
		in.SecondarySourcesOverride = append(in.SecondarySourcesOverride, cbtypes.ProjectSource{Type: cbtypes.SourceTypeS3, Location: &where, SourceIdentifier: a.Name})
	}
	j.buildOutputs(in)
	if spec := conf["BuildspecOverride"]; spec != "" {
		in.BuildspecOverride = &spec
	}
	if k := j.store.EncryptionKey; k != nil {
		in.EncryptionKeyOverride = k.Id
	}
	vars, err := parseEnvironment(conf[environmentKey])
	if err != nil {
		return nil, failed(configuration, "%s", err.Error())
	}
	for _, v := range vars {
		in.EnvironmentVariablesOverride = append(in.EnvironmentVariablesOverride, cbtypes.EnvironmentVariable{Name: &v.Name, Value: &v.Value, Type: v.Type})
	}
	return in, nil
}

// buildOutputs has one output artifact made of the buildspec's artifacts, and
// several of its secondary artifacts of the same names.
func (j *job) buildOutputs(in *codebuild.StartBuildInput) {
	in.ArtifactsOverride = &cbtypes.ProjectArtifacts{Type: cbtypes.ArtifactsTypeNoArtifacts}
	for _, o := range j.run.Outputs {
		dir, name := path.Split(*o.S3location.Key)
		a := cbtypes.ProjectArtifacts{
			Type: cbtypes.ArtifactsTypeS3, Location: o.S3location.Bucket, Path: new(strings.TrimSuffix(dir, "/")), Name: &name,
			Packaging: cbtypes.ArtifactPackagingZip, NamespaceType: cbtypes.ArtifactNamespaceNone, OverrideArtifactName: new(false),
		}
		if len(j.run.Outputs) == 1 {
			in.ArtifactsOverride = &a
			return
		}
		a.ArtifactIdentifier = o.Name
		in.SecondaryArtifactsOverride = append(in.SecondaryArtifactsOverride, a)
	}
}

// buildFailure tells in which phase a build ended, and why.
func buildFailure(b cbtypes.Build) error {
	failedIn := slices.IndexFunc(b.Phases, func(p cbtypes.BuildPhase) bool {
		return p.PhaseStatus != "" && p.PhaseStatus != cbtypes.StatusTypeSucceeded && p.PhaseStatus != cbtypes.StatusTypeInProgress
	})
	text := "Build terminated with state: " + string(b.BuildStatus)
	if failedIn >= 0 {
		p := b.Phases[failedIn]
		text += ". Phase: " + string(p.PhaseType)
		if len(p.Contexts) > 0 {
			text += ", Code: " + aws.ToString(p.Contexts[0].StatusCode) + ", Message: " + aws.ToString(p.Contexts[0].Message)
		}
	}
	return failed(jobFailed, "%s", text)
}

// stopBuild stops the build of an action that was abandoned or timed out. It
// tries no more than once: a role that may not stop builds leaves them running,
// as they do on AWS.
func stopBuild(ctx context.Context, j *job) {
	if j.run.External == "" {
		return
	}
	if _, err := j.Caller.Call(ctx, j.as, &codebuild.StopBuildInput{Id: &j.run.External}); err != nil {
		j.Log.Info("abandoned build goes on", "pipeline", j.x.Pipeline, "build", j.run.External, "error", err)
	}
}
