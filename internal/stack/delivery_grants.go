package stack

import "miniforge/internal/resource"

// takes is reading the artifacts of earlier stages, and puts writing one's own.
// With CodePipeline's and CodeBuild's own clients that may be in several parts,
// for which S3 also decrypts the data key that it made for the first.
//
// https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html#mpuAndPermissions
func takes(b *resource.Bucket) Grant {
	return Grant{
		Actions: prefixed("s3", []string{"GetObject", "GetObjectVersion"}), Resources: []string{b.ARN + "/*"},
		Key: KeyUse{Service: "s3", Actions: []string{"Decrypt"}},
	}
}

func puts(b *resource.Bucket) Grant {
	return Grant{
		Actions: []string{"s3:PutObject"}, Resources: []string{b.ARN + "/*"},
		Key: KeyUse{Service: "s3", Actions: []string{"Decrypt", "GenerateDataKey"}},
	}
}

// looksAtBucket is in the least that CodePipeline is documented to need.
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
		takes(b), puts(b), looksAtBucket(b),
		{Actions: prefixed("codecommit", []string{"GetBranch", "GetCommit"}), Resources: []string{r.ARN}},
		{Actions: prefixed("codecommit", []string{"UploadArchive", "GetUploadArchiveStatus", "CancelUploadArchive"}), Resources: []string{r.ARN}},
		{Actions: prefixed("codebuild", []string{"StartBuild", "BatchGetBuilds", "StopBuild"}), Resources: arns},
	}
}

// rollsOut is what the program of the Deploy stage does: it publishes versions,
// straightens an alias that an interrupted deployment left bent, and has
// CodeDeploy shift it.
func (s *Stack) rollsOut() []Grant {
	var functions, qualified, groups []string
	for _, f := range FunctionNames() {
		functions = append(functions, s.FunctionARN(f))
		qualified = append(qualified, s.FunctionARN(f), s.FunctionARN(f)+":*")
		groups = append(groups, s.DeploymentGroupARN(f))
	}
	return []Grant{
		{Actions: []string{"lambda:GetFunctionConfiguration"}, Resources: qualified},
		{Actions: []string{"lambda:UpdateFunctionCode"}, Resources: functions},
		{Actions: prefixed("lambda", []string{"GetAlias", "UpdateAlias"}), Resources: functions},
		{Actions: prefixed("codedeploy", []string{"CreateDeployment", "GetDeployment", "ListDeployments", "StopDeployment"}), Resources: groups},
		{Actions: prefixed("codedeploy", []string{"ListDeploymentTargets", "BatchGetDeploymentTargets"}), Resources: groups},
		// These three AWS asks of who creates a deployment with a revision of its own.
		{Actions: []string{"codedeploy:GetDeploymentConfig"}, Resources: []string{s.DeploymentConfigARN(DeploymentConfig)}},
		{Actions: prefixed("codedeploy", []string{"RegisterApplicationRevision", "GetApplicationRevision"}), Resources: []string{s.ApplicationARN()}},
	}
}

// shifts is what CodeDeploy does in the name of its role.
//
// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCodeDeployRoleForLambdaLimited.html
func (s *Stack) shifts() []Grant {
	var functions, aliases []string
	for _, f := range FunctionNames() {
		functions = append(functions, s.FunctionARN(f))
		aliases = append(aliases, s.AliasARN(f))
	}
	return []Grant{
		{Actions: prefixed("lambda", []string{"GetAlias", "UpdateAlias"}), Resources: functions},
		// CodeDeploy looks whether there is concurrency to shift with the alias.
		{Actions: []string{"lambda:GetProvisionedConcurrencyConfig"}, Resources: aliases},
		invokes(s.HookARN()),
	}
}
