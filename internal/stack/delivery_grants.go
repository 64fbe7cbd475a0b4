package stack

import "miniforge/internal/resource"

// handsOver is what taking part in a pipeline needs of its bucket: reading the
// artifacts of earlier stages and writing one's own.
//
// https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
func handsOver(b *resource.Bucket) Grant {
	return Grant{Actions: prefixed("s3", []string{"GetObject", "GetObjectVersion", "PutObject"}), Resources: []string{b.ARN + "/*"}, Via: "s3"}
}

func looksAtBucket(b *resource.Bucket) Grant {
	return Grant{Actions: prefixed("s3", []string{"GetBucketAcl", "GetBucketLocation", "GetBucketVersioning"}), Resources: []string{b.ARN}}
}

// runsPipeline is what the actions of the pipeline do in its name.
//
// https://docs.aws.amazon.com/codepipeline/latest/userguide/how-to-custom-role.html
func (s *Stack) runsPipeline(b *resource.Bucket, r *resource.Repository, projects ...*resource.BuildProject) []Grant {
	var arns []string
	for _, p := range projects {
		arns = append(arns, p.ARN)
	}
	return []Grant{
		handsOver(b), looksAtBucket(b),
		{Actions: prefixed("codecommit", []string{
			"GetBranch", "GetCommit", "GetRepository", "UploadArchive", "GetUploadArchiveStatus", "CancelUploadArchive",
		}), Resources: []string{r.ARN}},
		{Actions: prefixed("codebuild", []string{"StartBuild", "BatchGetBuilds", "StopBuild"}), Resources: arns},
	}
}

// rollsOut is what the program of the Deploy stage does: it publishes versions,
// straightens an alias that an interrupted deployment left bent, and has
// CodeDeploy shift it.
func (s *Stack) rollsOut() []Grant {
	var functions, aliases, groups []string
	for _, f := range FunctionNames() {
		functions = append(functions, s.FunctionARN(f), s.FunctionARN(f)+":*")
		aliases = append(aliases, s.FunctionARN(f), s.AliasARN(f))
		groups = append(groups, s.DeploymentGroupARN(f))
	}
	return []Grant{
		{Actions: prefixed("lambda", []string{"GetFunctionConfiguration", "UpdateFunctionCode"}), Resources: functions},
		{Actions: prefixed("lambda", []string{"GetAlias", "UpdateAlias"}), Resources: aliases},
		{Actions: prefixed("codedeploy", []string{"CreateDeployment", "GetDeployment", "ListDeployments", "ListDeploymentTargets", "BatchGetDeploymentTargets", "StopDeployment"}), Resources: groups},
		{Actions: []string{"codedeploy:GetDeploymentConfig"}, Resources: []string{s.DeploymentConfigARN(DeploymentConfig)}},
		{Actions: prefixed("codedeploy", []string{"RegisterApplicationRevision", "GetApplicationRevision"}), Resources: []string{s.ApplicationARN()}},
	}
}

// shifts is what CodeDeploy does in the name of its role.
//
// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCodeDeployRoleForLambdaLimited.html
func (s *Stack) shifts() []Grant {
	var aliases []string
	for _, f := range FunctionNames() {
		aliases = append(aliases, s.FunctionARN(f), s.AliasARN(f))
	}
	return []Grant{
		{Actions: prefixed("lambda", []string{"GetAlias", "UpdateAlias", "GetProvisionedConcurrencyConfig"}), Resources: aliases},
		invokes(s.HookARN()),
	}
}
