package cloud

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// A conditioned is a statement that denies a user something, and what it does
// to requests: whether it refuses them.
type conditioned struct {
	action, condition string
	requests          map[string]conditionedRequest
}

type conditionedRequest struct {
	refused bool
	do      func(aws.Config) error
}

// TestConditionsOnWhatARequestSays: keys of S3 and Lambda hold what the request
// says, and what the object is that it asks for.
func TestConditionsOnWhatARequestSays(t *testing.T) {
	w := newCredentialWorld(t)
	w.conditionedThings()
	for _, x := range append(w.conditionedWrites(), append(w.conditionedReads(), w.conditionedPermissions()...)...) {
		condition := ""
		if x.condition != "" {
			condition = `,"Condition":{` + x.condition + `}`
		}
		policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"` + x.action + `","Resource":"*"` + condition + `}]}`
		must[*iam.PutUserPolicyOutput](t)(w.people.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: new("ann"), PolicyName: new("all"), PolicyDocument: &policy}))
		for name, r := range x.requests {
			err := r.do(w.user)
			api, _ := errors.AsType[smithy.APIError](err)
			refused := api != nil && strings.HasPrefix(api.ErrorCode(), "AccessDenied")
			if refused != r.refused || err != nil && !refused {
				t.Errorf("%s unless %s: %s: %v, want refused = %t", x.action, x.condition, name, err, r.refused)
			}
		}
	}
}

// conditionedThings are a bucket with a tagged object and a plain one, and a function.
func (w *credentialWorld) conditionedThings() {
	root := pathStyle(w.cloud.config(""))
	must[*s3.CreateBucketOutput](w.T)(root.CreateBucket(w.Context(), &s3.CreateBucketInput{Bucket: new("things")}))
	for key, tags := range map[string]string{"public/plain": "", "tagged": "team=forge"} {
		must[*s3.PutObjectOutput](w.T)(root.PutObject(w.Context(), &s3.PutObjectInput{Bucket: new("things"), Key: &key, Tagging: &tags, Body: strings.NewReader("x")}))
	}
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	role := must[*iam.CreateRoleOutput](w.T)(w.people.CreateRole(w.Context(), &iam.CreateRoleInput{RoleName: new("runs"), AssumeRolePolicyDocument: &trust})).Role
	must[*lambda.CreateFunctionOutput](w.T)(lambda.NewFromConfig(w.cloud.config("")).CreateFunction(w.Context(), &lambda.CreateFunctionInput{
		FunctionName: new("f"), Role: role.Arn, Runtime: lambdatypes.RuntimeProvidedal2023, Handler: new("bootstrap"), Code: failingFunction(w.T),
	}))
}

func (w *credentialWorld) conditionedWrites() []conditioned {
	put := func(refused bool, in s3.PutObjectInput) conditionedRequest {
		return conditionedRequest{refused, func(cfg aws.Config) error {
			in.Bucket, in.Key, in.Body = new("things"), new("new"), strings.NewReader("x")
			_, err := pathStyle(cfg).PutObject(w.Context(), &in)
			return err
		}}
	}
	copied := func(refused bool, from string, directive s3types.TaggingDirective) conditionedRequest {
		return conditionedRequest{refused, func(cfg aws.Config) error {
			_, err := pathStyle(cfg).CopyObject(w.Context(), &s3.CopyObjectInput{Bucket: new("things"), Key: new("copy"), CopySource: &from, TaggingDirective: directive})
			return err
		}}
	}
	return []conditioned{
		{"s3:PutObject", `"StringNotEquals":{"s3:x-amz-server-side-encryption":"AES256"}`, map[string]conditionedRequest{
			"with it": put(false, s3.PutObjectInput{ServerSideEncryption: s3types.ServerSideEncryptionAes256}), "without": put(true, s3.PutObjectInput{})}},
		{"s3:PutObject", `"StringNotEquals":{"s3:RequestObjectTag/team":"forge"}`, map[string]conditionedRequest{
			"own": put(false, s3.PutObjectInput{Tagging: new("team=forge")}), "other": put(true, s3.PutObjectInput{Tagging: new("team=other")})}},
		{"s3:PutObject", `"ForAnyValue:StringEquals":{"s3:RequestObjectTagKeys":"secret"}`, map[string]conditionedRequest{
			"free": put(false, s3.PutObjectInput{Tagging: new("team=forge&a=b")}), "kept": put(true, s3.PutObjectInput{Tagging: new("team=forge&secret=b")})}},
		{"s3:PutObject", `"Null":{"s3:if-none-match":"true"}`, map[string]conditionedRequest{"without": put(true, s3.PutObjectInput{})}},
		{"s3:PutObject", `"StringNotLike":{"s3:x-amz-copy-source":"things/public/*"}`, map[string]conditionedRequest{
			"public": copied(false, "things/public/plain", ""), "other": copied(true, "things/tagged", "")}},
		{"s3:PutObjectTagging", "", map[string]conditionedRequest{
			"no tags": copied(false, "things/public/plain", ""), "tags": copied(true, "things/tagged", ""), "tags left behind": copied(false, "things/tagged", s3types.TaggingDirectiveReplace)}},
		{"s3:GetObjectTagging", "", map[string]conditionedRequest{"no tags": copied(false, "things/public/plain", ""), "tags": copied(true, "things/tagged", "")}},
	}
}

func (w *credentialWorld) conditionedReads() []conditioned {
	get := func(refused bool, key string, version *string) conditionedRequest {
		return conditionedRequest{refused, func(cfg aws.Config) error {
			_, err := pathStyle(cfg).GetObject(w.Context(), &s3.GetObjectInput{Bucket: new("things"), Key: &key, VersionId: version})
			return err
		}}
	}
	list := func(refused bool, in s3.ListObjectsV2Input) conditionedRequest {
		return conditionedRequest{refused, func(cfg aws.Config) error {
			in.Bucket = new("things")
			_, err := pathStyle(cfg).ListObjectsV2(w.Context(), &in)
			return err
		}}
	}
	return []conditioned{
		{"s3:GetObject", `"StringNotEquals":{"s3:ExistingObjectTag/team":"forge"}`, map[string]conditionedRequest{"tagged": get(false, "tagged", nil), "plain": get(true, "public/plain", nil)}},
		{"s3:GetObjectVersion", `"StringNotEquals":{"s3:VersionId":"null"}`, map[string]conditionedRequest{
			"that version": get(false, "tagged", new("null")), "another": get(true, "tagged", new("other")), "none": get(false, "tagged", nil)}},
		{"s3:ListBucket", `"NumericGreaterThan":{"s3:max-keys":"10"}`, map[string]conditionedRequest{
			"few": list(false, s3.ListObjectsV2Input{MaxKeys: new(int32(10))}), "many": list(true, s3.ListObjectsV2Input{MaxKeys: new(int32(11))})}},
		{"s3:ListBucket", `"StringNotEquals":{"s3:delimiter":"/"}`, map[string]conditionedRequest{
			"folders": list(false, s3.ListObjectsV2Input{Delimiter: new("/")}), "all below": list(true, s3.ListObjectsV2Input{})}},
		{"s3:ListBucket", `"StringNotEquals":{"s3:prefix":["","public/"]}`, map[string]conditionedRequest{
			"none": list(false, s3.ListObjectsV2Input{}), "that": list(false, s3.ListObjectsV2Input{Prefix: new("public/")}), "another": list(true, s3.ListObjectsV2Input{Prefix: new("t")})}},
	}
}

func (w *credentialWorld) conditionedPermissions() []conditioned {
	number := 0
	given := func(refused bool, principal string, remove bool) conditionedRequest {
		return conditionedRequest{refused, func(cfg aws.Config) error {
			number++
			by, sid := cfg, new(fmt.Sprint("s", number))
			if remove {
				by = w.cloud.config("")
			}
			_, err := lambda.NewFromConfig(by).AddPermission(w.Context(), &lambda.AddPermissionInput{FunctionName: new("f"), StatementId: sid, Action: new("lambda:InvokeFunction"), Principal: &principal})
			if err == nil && remove {
				_, err = lambda.NewFromConfig(cfg).RemovePermission(w.Context(), &lambda.RemovePermissionInput{FunctionName: new("f"), StatementId: sid})
			}
			return err
		}}
	}
	only := `"StringNotEquals":{"lambda:Principal":"sns.amazonaws.com"}`
	return []conditioned{
		{"lambda:AddPermission", only, map[string]conditionedRequest{"to it": given(false, "sns.amazonaws.com", false), "to another": given(true, "events.amazonaws.com", false), "to all": given(true, "*", false)}},
		{"lambda:RemovePermission", only, map[string]conditionedRequest{"from it": given(false, "sns.amazonaws.com", true), "from another": given(true, "events.amazonaws.com", true), "from all": given(true, "*", true)}},
	}
}
