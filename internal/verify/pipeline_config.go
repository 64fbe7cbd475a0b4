package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	buildtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	deploytypes "github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	pipelinetypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"

	"miniforge/internal/check"
	"miniforge/internal/stack"
)

// pipelineConfiguration asks the four services what they were told. As in
// wiring, what is wanted is written out here, so that a mistake of the code
// that declares it is found.
func (r *Run) pipelineConfiguration() []check.Check {
	return []check.Check{
		{ID: "pipeline.repository", Title: "The repository holds the sources of every function, and how to build and deploy them", Run: r.repository},
		{ID: "pipeline.projects", Title: "Builds take part in the pipeline only, log to their group, and encrypt by the one key", Run: r.projects},
		{ID: "pipeline.deployments", Title: "Each function has a deployment group that shifts all at once and rolls back", Run: r.deploymentGroups},
		{ID: "pipeline.structure", Title: "The pipeline is Source, Build and Deploy, encrypts by the one key, and starts on demand only", Run: r.structure},
	}
}

func (r *Run) repository(ctx context.Context, t *check.T) error {
	c, name := r.stack.Clients.CodeCommit, aws.String(r.stack.Repository())
	out, err := c.GetRepository(ctx, &codecommit.GetRepositoryInput{RepositoryName: name})
	if err != nil {
		return fmt.Errorf("read repository: %w", err)
	}
	check.Equal(t, "default branch", stack.Branch, aws.ToString(out.RepositoryMetadata.DefaultBranch))
	paths := []string{"go.mod", "buildspec.yml", "appspec.yml", "cmd/miniforge-deploy/main.go"}
	for _, f := range stack.FunctionNames() {
		paths = append(paths, "handlers/"+f+"/main.go")
	}
	for _, path := range paths {
		file, err := c.GetFile(ctx, &codecommit.GetFileInput{RepositoryName: name, FilePath: &path, CommitSpecifier: aws.String(stack.Branch)})
		if t.NoError("read "+path, err) {
			t.True(path+" has a content", len(file.FileContent) > 0)
		}
	}
	return nil
}

func (r *Run) projects(ctx context.Context, t *check.T) error {
	key, err := r.describeKey(ctx)
	if err != nil {
		return err
	}
	names := []string{r.stack.BuildProject(), r.stack.DeployProject()}
	out, err := r.stack.Clients.CodeBuild.BatchGetProjects(ctx, &codebuild.BatchGetProjectsInput{Names: names})
	if err != nil {
		return fmt.Errorf("read build projects: %w", err)
	}
	check.Equal(t, "projects", len(names), len(out.Projects))
	for _, p := range out.Projects {
		name := aws.ToString(p.Name)
		check.Equal(t, name+" source", buildtypes.SourceTypeCodepipeline, p.Source.Type)
		check.Equal(t, name+" artifacts", buildtypes.ArtifactsTypeCodepipeline, p.Artifacts.Type)
		check.Equal(t, name+" key", aws.ToString(key.Arn), aws.ToString(p.EncryptionKey))
		check.Equal(t, name+" role", r.stack.RoleARN(name), aws.ToString(p.ServiceRole))
		check.Equal(t, name+" privileged", false, aws.ToBool(p.Environment.PrivilegedMode))
		group := "none"
		if l := p.LogsConfig; l != nil && l.CloudWatchLogs != nil && l.CloudWatchLogs.Status == buildtypes.LogsConfigStatusTypeEnabled {
			group = aws.ToString(l.CloudWatchLogs.GroupName)
		}
		check.Equal(t, name+" log group", "/aws/codebuild/"+name, group)
	}
	return nil
}

func (r *Run) deploymentGroups(ctx context.Context, t *check.T) error {
	c, application := r.stack.Clients.CodeDeploy, aws.String(r.stack.Application())
	app, err := c.GetApplication(ctx, &codedeploy.GetApplicationInput{ApplicationName: application})
	if err != nil {
		return fmt.Errorf("read application: %w", err)
	}
	check.Equal(t, "platform", deploytypes.ComputePlatformLambda, app.Application.ComputePlatform)
	for _, f := range stack.FunctionNames() {
		out, err := c.GetDeploymentGroup(ctx, &codedeploy.GetDeploymentGroupInput{ApplicationName: application, DeploymentGroupName: aws.String(r.stack.DeploymentGroup(f))})
		if err != nil {
			return fmt.Errorf("read deployment group of %s: %w", f, err)
		}
		g := out.DeploymentGroupInfo
		check.Equal(t, f+" configuration", "CodeDeployDefault.LambdaAllAtOnce", aws.ToString(g.DeploymentConfigName))
		check.Equal(t, f+" role", r.stack.RoleARN(r.stack.DeploymentRole()), aws.ToString(g.ServiceRoleArn))
		rollback, onFailure := g.AutoRollbackConfiguration, false
		if rollback != nil && rollback.Enabled {
			onFailure = slices.Contains(rollback.Events, deploytypes.AutoRollbackEventDeploymentFailure)
		}
		check.Equal(t, f+" rolls back on failure", true, onFailure)
		style := "none"
		if g.DeploymentStyle != nil {
			style = string(g.DeploymentStyle.DeploymentType) + " " + string(g.DeploymentStyle.DeploymentOption)
		}
		check.Equal(t, f+" style", "BLUE_GREEN WITH_TRAFFIC_CONTROL", style)
	}
	return nil
}

func (r *Run) structure(ctx context.Context, t *check.T) error {
	key, err := r.describeKey(ctx)
	if err != nil {
		return err
	}
	out, err := r.stack.Clients.CodePipeline.GetPipeline(ctx, &codepipeline.GetPipelineInput{Name: aws.String(r.stack.Pipeline())})
	if err != nil {
		return fmt.Errorf("read pipeline: %w", err)
	}
	p := out.Pipeline
	check.Equal(t, "type", pipelinetypes.PipelineTypeV2, p.PipelineType)
	check.Equal(t, "role", r.stack.RoleARN(r.stack.PipelineRole()), aws.ToString(p.RoleArn))
	store, storeKey := "none", "none"
	if p.ArtifactStore != nil {
		store = aws.ToString(p.ArtifactStore.Location)
		if p.ArtifactStore.EncryptionKey != nil {
			storeKey = aws.ToString(p.ArtifactStore.EncryptionKey.Id)
		}
	}
	check.Equal(t, "artifact store", r.stack.Bucket(), store)
	check.Equal(t, "key of the artifact store", aws.ToString(key.Arn), storeKey)
	var stages []string
	for _, s := range p.Stages {
		for _, a := range s.Actions {
			stages = append(stages, aws.ToString(s.Name)+": "+aws.ToString(a.ActionTypeId.Provider)+" "+subjectOf(a))
		}
	}
	n := r.stack.Names
	check.Equal(t, "stages", strings.Join([]string{
		"Source: CodeCommit " + n.Repository() + " main, polled: false", "Build: CodeBuild " + n.BuildProject(), "Deploy: CodeBuild " + n.DeployProject(),
	}, "; "), strings.Join(stages, "; "))
	return nil
}

// subjectOf is what an action works on.
func subjectOf(a pipelinetypes.ActionDeclaration) string {
	c := a.Configuration
	if a.ActionTypeId.Category == pipelinetypes.ActionCategorySource {
		return c["RepositoryName"] + " " + c["BranchName"] + ", polled: " + c["PollForSourceChanges"]
	}
	return c["ProjectName"]
}
