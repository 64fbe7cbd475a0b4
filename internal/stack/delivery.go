package stack

import (
	"context"
	"regexp"
	"time"

	buildtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/delivery"
	"miniforge/internal/graph"
	"miniforge/internal/resource"
)

const (
	// Branch is what the pipeline builds.
	Branch = "main"
	// DeploymentConfig shifts an alias in one step.
	DeploymentConfig = "CodeDeployDefault.LambdaAllAtOnce"

	// buildImage has Go 1.26, and is where both projects run. The embedded
	// cloud runs builds as processes and only remembers it.
	buildImage = "aws/codebuild/amazonlinux-x86_64-standard:5.0"
)

// deploySpec is the buildspec of the Deploy stage. Its input is what the Build
// stage made: the archives, the template of deployments, and the program that
// does everything, as CodePipeline has no action of its own that deploys a
// Lambda function through CodeDeploy.
const deploySpec = `version: 0.2
phases:
  build:
    commands:
      - chmod +x miniforge-deploy
      - ./miniforge-deploy rollout .
`

// declareDelivery says how changed sources reach the functions: repository,
// Source -> Build -> Deploy, and one deployment group for each function.
func (s *Stack) declareDelivery(bucket *resource.Bucket, functions ...*resource.Alias) []graph.Resource {
	n := s.Names
	repository := &resource.Repository{
		CodeCommit: s.Clients.CodeCommit, Owner: s.owner, Name: n.Repository(), ARN: n.RepositoryARN(),
		Description: "Sources of the functions of stack " + n.Name,
	}
	s.branch = &resource.Branch{
		CodeCommit: s.Clients.CodeCommit, Repository: repository, Name: Branch, Files: s.opts.Sources,
		Author: "Miniforge", Email: n.Name + "@miniforge.invalid",
	}
	build := s.project(n.BuildProject(), "Builds the functions of stack "+n.Name, "buildspec.yml", bucket, map[string]string{
		"FUNCTION_GOOS": s.opts.Platform, "FUNCTION_GOARCH": s.goarch(), "GOTOOLCHAIN": toolchain(s.opts.Toolchain),
	}, puts(bucket))
	deploy := s.project(n.DeployProject(), "Deploys the functions of stack "+n.Name, deploySpec, bucket, map[string]string{
		"DEPLOY_STACK": n.Name, "DEPLOY_ALIAS": LiveAlias, "DEPLOY_APPLICATION": n.Application(), "DEPLOY_CONFIG": DeploymentConfig,
	}, s.rollsOut()...)
	application := &resource.Application{CodeDeploy: s.Clients.CodeDeploy, Owner: s.owner, Name: n.Application(), ARN: n.ApplicationARN()}
	role := s.role(n.DeploymentRole(), "codedeploy.amazonaws.com", s.ourAccount(), s.shifts()...)
	pipeline := &resource.Pipeline{
		CodePipeline: s.Clients.CodePipeline, Owner: s.owner, Name: n.Pipeline(), ARN: n.PipelineARN(),
		Role:   s.role(n.PipelineRole(), "codepipeline.amazonaws.com", s.ourAccount(), s.runsPipeline(bucket, repository, build, deploy)...),
		Bucket: bucket, Key: s.key, Source: s.branch, Build: build, Deploy: deploy,
	}
	for i, f := range FunctionNames() {
		pipeline.Uses = append(pipeline.Uses, functions[i], &resource.DeploymentGroup{
			CodeDeploy: s.Clients.CodeDeploy, Owner: s.owner, Application: application, Name: n.DeploymentGroup(f), ARN: n.DeploymentGroupARN(f),
			Role: role, Config: DeploymentConfig,
		})
	}
	return []graph.Resource{pipeline}
}

// project declares a project with its log group and its role, which may read
// artifacts and write logs, and what else is granted.
func (s *Stack) project(name, description, buildspec string, bucket *resource.Bucket, env map[string]string, grants ...Grant) *resource.BuildProject {
	group := s.logGroup(s.ProjectLogGroup(name))
	grants = append(grants, writesLogs(group.ARN), takes(bucket))
	return &resource.BuildProject{
		CodeBuild: s.Clients.CodeBuild, Owner: s.owner, Name: name, ARN: s.ProjectARN(name), Description: description,
		Role:     s.role(name, "codebuild.amazonaws.com", s.ourAccount(), grants...),
		LogGroup: group, Key: s.key, Bucket: bucket, Image: buildImage, Compute: buildtypes.ComputeTypeBuildGeneral1Small,
		Buildspec: buildspec, Environment: env, Timeout: 30 * time.Minute,
	}
}

// ourAccount narrows a role's trust to requests for resources of this account.
func (s *Stack) ourAccount() resource.Conditions {
	return resource.Conditions{"StringEquals": {"aws:SourceAccount": {s.Account}}}
}

func (s *Stack) goarch() string {
	if s.opts.Architecture == string(lambdatypes.ArchitectureArm64) {
		return "arm64"
	}
	return "amd64"
}

var released = regexp.MustCompile(`^go\d+\.\d+(\.\d+)?$`)

// toolchain is what GOTOOLCHAIN has to be for a build by the same toolchain.
// One that was never released cannot be asked for.
func toolchain(version string) string {
	switch {
	case version == "":
		return resource.AsItIs
	case released.MatchString(version):
		return version
	}
	return "auto"
}

// DeliveryIDs tells which resources of the graph make up the delivery alone.
func (s *Stack) DeliveryIDs() (map[string]bool, error) {
	without := *s
	without.opts.WithoutPipeline = true
	without.declare()
	rest, err := without.Graph()
	if err != nil {
		return nil, err
	}
	with := *s
	with.opts.WithoutPipeline = false
	with.declare()
	all, err := with.Graph()
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, r := range all.Resources() {
		ids[r.ID()] = true
	}
	for _, r := range rest.Resources() {
		delete(ids, r.ID())
	}
	return ids, nil
}

// Delivery is the stack's pipeline as something that runs.
func (s *Stack) Delivery() *delivery.Pipeline {
	return &delivery.Pipeline{CodePipeline: s.Clients.CodePipeline, CodeBuild: s.Clients.CodeBuild, Logs: s.Clients.Logs, Name: s.Pipeline()}
}

// Push makes the repository hold exactly Options.Sources. See
// [resource.Branch.Push].
func (s *Stack) Push(ctx context.Context, message string) (resource.Pushed, error) {
	return s.branch.Push(ctx, message)
}
