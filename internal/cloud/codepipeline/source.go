package codepipeline

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/wire"
)

// hour is AWS's time-out of actions that have none of their own.
const hour = time.Hour

// codeCommit hands the tree of a branch's last commit on as a zip archive.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-CodeCommit.html
func codeCommit() *provider {
	return &provider{
		types: []types.ActionTypeId{awsType(types.ActionCategorySource, "CodeCommit")}, outputs: limits{1, 1}, timeout: hour,
		keys: []key{required("RepositoryName"), required("BranchName"), optional("PollForSourceChanges"), optional("OutputArtifactFormat")},
		check: func(a types.ActionDeclaration) string {
			if f := a.Configuration["OutputArtifactFormat"]; f != "" && f != "CODE_ZIP" {
				return "the embedded cloud hands CodeCommit sources on in the OutputArtifactFormat CODE_ZIP only, not " + f
			}
			return checkBool(a, "PollForSourceChanges")
		},
		run: runCodeCommit,
	}
}

func checkBool(a types.ActionDeclaration, name string) string {
	if v := a.Configuration[name]; v != "" && v != "true" && v != "false" {
		return name + " must be true or false"
	}
	return ""
}

func runCodeCommit(ctx context.Context, j *job) (*outcome, error) {
	repository, branch := j.run.Resolved["RepositoryName"], j.run.Resolved["BranchName"]
	commit := j.revision(types.SourceRevisionTypeCommitId)
	if commit == "" {
		var err error
		if commit, err = j.tip(ctx, repository, branch); err != nil {
			return nil, err
		}
	}
	got, err := wire.Do[codecommit.GetCommitOutput](ctx, j.Caller, j.as, &codecommit.GetCommitInput{RepositoryName: &repository, CommitId: &commit})
	if err != nil {
		return nil, codeCommitFailure(repository, err)
	}
	archive, err := j.Archive(ctx, j.as, repository, commit)
	if err != nil {
		return nil, codeCommitFailure(repository, err)
	}
	if err := j.putOutput(ctx, archive); err != nil {
		return nil, err
	}
	c := got.Commit
	message := aws.ToString(c.Message)
	out := &outcome{
		summary: message, external: commit,
		url:  "https://console.aws.amazon.com/codecommit/home?region=" + j.x.Region + "#/repository/" + repository + "/commit/" + commit,
		vars: map[string]string{"RepositoryName": repository, "BranchName": branch, "CommitId": commit, "CommitMessage": message},
	}
	if c.Author != nil {
		out.vars["AuthorDate"] = gitDate(c.Author.Date)
	}
	if c.Committer != nil {
		out.vars["CommitterDate"] = gitDate(c.Committer.Date)
	}
	out.revision = &types.ArtifactRevision{Name: j.run.Outputs[0].Name, RevisionId: &commit, RevisionChangeIdentifier: &commit, RevisionSummary: &message, RevisionUrl: &out.url, Created: new(time.Now())}
	return out, nil
}

// revision is the one that an execution was told to have; "" is the newest.
func (j *job) revision(kind types.SourceRevisionType) string {
	for _, o := range j.x.Override {
		if *o.ActionName == j.run.Action && o.RevisionType == kind {
			return *o.RevisionValue
		}
	}
	return ""
}

// tip is the last commit of a branch.
func (j *job) tip(ctx context.Context, repository, branch string) (string, error) {
	out, err := wire.Do[codecommit.GetBranchOutput](ctx, j.Caller, j.as, &codecommit.GetBranchInput{RepositoryName: &repository, BranchName: &branch})
	if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorCode() == "BranchDoesNotExistException" {
		return "", failed(configuration, "The action failed because no branch named %s was found in the selected AWS CodeCommit repository %s. Make sure you are using the correct branch name, and then try again. Error: %s", branch, repository, api.ErrorMessage())
	}
	if err != nil {
		return "", codeCommitFailure(repository, err)
	}
	return *out.Branch.CommitId, nil
}

func codeCommitFailure(repository string, err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case !ok:
		return err
	case api.ErrorCode() == "RepositoryDoesNotExistException":
		return failed(configuration, "The action failed because the AWS CodeCommit repository %s was not found. Make sure you are using the correct repository name, and then try again. Error: %s (Error Code: %s)", repository, api.ErrorMessage(), api.ErrorCode())
	case strings.HasPrefix(api.ErrorCode(), "CommitId"), strings.HasPrefix(api.ErrorCode(), "CommitDoesNotExist"), strings.HasPrefix(api.ErrorCode(), "InvalidCommitId"):
		return failed(unavailable, "The revision was not found in the AWS CodeCommit repository %s: %s (Error Code: %s)", repository, api.ErrorMessage(), api.ErrorCode())
	case strings.HasPrefix(api.ErrorCode(), "AccessDenied"):
		return failed(permission, "The service role or action role doesn't have the permissions required to access the AWS CodeCommit repository named %s. Update the IAM role permissions, and then try again. Error: %s (Error Code: %s)", repository, api.ErrorMessage(), api.ErrorCode())
	}
	return refused("The action could not read the AWS CodeCommit repository "+repository, err)
}

// gitDate turns git's "seconds zone" into the form of CodePipeline's variables.
func gitDate(date *string) string {
	sec, _, _ := strings.Cut(aws.ToString(date), " ")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err != nil {
		return aws.ToString(date)
	}
	return time.Unix(n, 0).UTC().Format(time.RFC3339)
}

// s3Source hands a version of an object of S3 on.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-S3.html
func s3Source() *provider {
	return &provider{
		types: []types.ActionTypeId{awsType(types.ActionCategorySource, "S3")}, outputs: limits{1, 1}, timeout: hour,
		keys: []key{required("S3Bucket"), required("S3ObjectKey"), optional("PollForSourceChanges"), optional("AllowOverrideForS3ObjectKey")},
		check: func(a types.ActionDeclaration) string {
			return checkBool(a, "PollForSourceChanges") + checkBool(a, "AllowOverrideForS3ObjectKey")
		},
		run: runS3Source,
	}
}

func runS3Source(ctx context.Context, j *job) (*outcome, error) {
	bucket, object := j.run.Resolved["S3Bucket"], j.run.Resolved["S3ObjectKey"]
	if k := j.revision(types.SourceRevisionTypeS3ObjectKey); k != "" {
		object = k
	}
	ver, err := wire.Do[s3.GetBucketVersioningOutput](ctx, j.Caller, j.as, &s3.GetBucketVersioningInput{Bucket: &bucket})
	if err != nil {
		return nil, refused("The action could not read the S3 bucket "+bucket, err)
	}
	if ver.Status != s3types.BucketVersioningStatusEnabled {
		return nil, failed(configuration, "The object with key '%s' belongs to a bucket that is not versioned: versioning must be enabled on the source bucket '%s'", object, bucket)
	}
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &object}
	if v := j.revision(types.SourceRevisionTypeS3ObjectVersionId); v != "" {
		in.VersionId = &v
	}
	head, err := wire.Do[s3.HeadObjectOutput](ctx, j.Caller, j.as, &s3.HeadObjectInput{Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId})
	if err != nil {
		return nil, refused("The object with key '"+object+"' in bucket '"+bucket+"' could not be read", err)
	}
	in.VersionId = head.VersionId
	content, err := j.getObject(ctx, in)
	if err != nil {
		return nil, refused("The object with key '"+object+"' in bucket '"+bucket+"' could not be read", err)
	}
	if err := j.putOutput(ctx, content); err != nil {
		return nil, err
	}
	version, summary := aws.ToString(head.VersionId), "Amazon S3 version id: "+aws.ToString(head.VersionId)
	out := &outcome{
		summary: summary, external: version, url: "https://console.aws.amazon.com/s3/object/" + bucket + "?prefix=" + url.QueryEscape(object),
		vars: map[string]string{"BucketName": bucket, "ObjectKey": object, "ETag": strings.Trim(aws.ToString(head.ETag), `"`), "VersionId": version},
	}
	out.revision = &types.ArtifactRevision{Name: j.run.Outputs[0].Name, RevisionId: &version, RevisionChangeIdentifier: head.ETag, RevisionSummary: &summary, RevisionUrl: &out.url, Created: new(time.Now())}
	return out, nil
}
