package cloud

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

const invalidToken = "The security token included in the request is invalid"

// A credentialWorld is a cloud with a user, and with two roles that trust
// everybody of the account; all may do everything.
type credentialWorld struct {
	*testing.T
	cloud  *Cloud
	people *iam.Client
	key    *iamtypes.AccessKey
	user   aws.Config
}

func newCredentialWorld(t *testing.T) *credentialWorld {
	c := newCloud(t)
	w := &credentialWorld{T: t, cloud: c, people: iam.NewFromConfig(c.config(""))}
	all := new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	trust := new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + c.Account + `"},"Action":["sts:AssumeRole","sts:TagSession"]}}`)
	must[*iam.CreateUserOutput](t)(w.people.CreateUser(t.Context(), &iam.CreateUserInput{UserName: new("ann")}))
	must[*iam.PutUserPolicyOutput](t)(w.people.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: new("ann"), PolicyName: new("all"), PolicyDocument: all}))
	for _, name := range []string{"first", "second"} {
		must[*iam.CreateRoleOutput](t)(w.people.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &name, AssumeRolePolicyDocument: trust, MaxSessionDuration: new(int32(7200))}))
		must[*iam.PutRolePolicyOutput](t)(w.people.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &name, PolicyName: new("all"), PolicyDocument: all}))
	}
	w.key = must[*iam.CreateAccessKeyOutput](t)(w.people.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: new("ann")})).AccessKey
	w.user = c.with(*w.key.AccessKeyId, *w.key.SecretAccessKey, "")
	return w
}

// assume opens a session of a role; more completes the request.
func (w *credentialWorld) assume(as aws.Config, role string, more sts.AssumeRoleInput) (aws.Config, error) {
	more.RoleArn, more.RoleSessionName = new("arn:aws:iam::"+w.cloud.Account+":role/"+role), new("trial")
	out, err := sts.NewFromConfig(as).AssumeRole(w.Context(), &more)
	if err != nil {
		return aws.Config{}, err
	}
	return w.session(out.Credentials), nil
}

func (w *credentialWorld) session(c *ststypes.Credentials) aws.Config {
	return w.cloud.with(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken)
}

// refused checks what a call was answered with.
func (w *credentialWorld) refused(what string, err error, code, message string) {
	w.Helper()
	if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		w.Errorf("%s: %v, want %s: %s", what, err, code, message)
	}
}

func (w *credentialWorld) who(as aws.Config) error {
	_, err := sts.NewFromConfig(as).GetCallerIdentity(w.Context(), &sts.GetCallerIdentityInput{})
	return err
}

func TestSessionsOfUsersAreLimited(t *testing.T) {
	w := newCredentialWorld(t)
	for name, cfg := range map[string]aws.Config{"user": w.user, "root": w.cloud.config("")} {
		s := w.session(must[*sts.GetSessionTokenOutput](t)(sts.NewFromConfig(cfg).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})).Credentials)
		_, err := iam.NewFromConfig(s).GetUser(t.Context(), &iam.GetUserInput{UserName: new("ann")})
		w.refused(name+": IAM", err, "InvalidClientTokenId", invalidToken)
		_, err = sts.NewFromConfig(s).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
		w.refused(name+": another session", err, "AccessDenied", "Cannot call GetSessionToken with session credentials")
		_, err = sts.NewFromConfig(s).GetAccessKeyInfo(t.Context(), &sts.GetAccessKeyInfoInput{AccessKeyId: w.key.AccessKeyId})
		w.refused(name+": STS", err, "AccessDenied", "Cannot call GetAccessKeyInfo with session credentials")
		if err := w.who(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := sqs.NewFromConfig(s).ListQueues(t.Context(), &sqs.ListQueuesInput{}); err != nil {
			t.Errorf("%s: another service: %v", name, err)
		}
		if name == "user" {
			if _, err := w.assume(s, "first", sts.AssumeRoleInput{DurationSeconds: new(int32(7200))}); err != nil {
				t.Errorf("a role: %v", err)
			}
		}
	}
	role, err := w.assume(w.user, "first", sts.AssumeRoleInput{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := iam.NewFromConfig(role).GetUser(t.Context(), &iam.GetUserInput{UserName: new("ann")}); err != nil {
		t.Errorf("a role's session at IAM: %v", err)
	}
	_, err = sts.NewFromConfig(w.user).GetFederationToken(t.Context(), &sts.GetFederationTokenInput{Name: new("fed")})
	w.refused("GetFederationToken", err, "UnknownOperationException", "is not built")
}

func TestSessionsEndWithWhatTheyStandFor(t *testing.T) {
	w := newCredentialWorld(t)
	session := w.session(must[*sts.GetSessionTokenOutput](t)(sts.NewFromConfig(w.user).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})).Credentials)
	role, err := w.assume(w.user, "first", sts.AssumeRoleInput{})
	if err != nil {
		t.Fatal(err)
	}
	gone := func(what string, cfg aws.Config, s3Code string) {
		t.Helper()
		w.refused(what+" at STS", w.who(cfg), "InvalidClientTokenId", invalidToken)
		_, err := dynamodb.NewFromConfig(cfg).ListTables(t.Context(), &dynamodb.ListTablesInput{})
		w.refused(what+" at DynamoDB", err, "UnrecognizedClientException", invalidToken)
		_, err = pathStyle(cfg).ListBuckets(t.Context(), &s3.ListBucketsInput{})
		w.refused(what+" at S3", err, s3Code, "")
	}
	delRole := func(name string) {
		must[*iam.DeleteRolePolicyOutput](t)(w.people.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: new("all")}))
		must[*iam.DeleteRoleOutput](t)(w.people.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: &name}))
	}
	status := func(s iamtypes.StatusType) {
		must[*iam.UpdateAccessKeyOutput](t)(w.people.UpdateAccessKey(t.Context(), &iam.UpdateAccessKeyInput{UserName: new("ann"), AccessKeyId: w.key.AccessKeyId, Status: s}))
	}
	if err := errors.Join(w.who(session), w.who(role), w.who(w.user)); err != nil {
		t.Fatal(err)
	}
	delRole("first")
	gone("a role's session", role, "InvalidToken")
	must[*iam.CreateRoleOutput](t)(w.people.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: new("first"), AssumeRolePolicyDocument: new(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + w.cloud.Account + `"},"Action":"sts:AssumeRole"}}`)}))
	gone("the session of a role before its namesake", role, "InvalidToken")
	status(iamtypes.StatusTypeInactive)
	gone("an inactive key", w.user, "InvalidAccessKeyId")
	status(iamtypes.StatusTypeActive)
	if err := w.who(w.user); err != nil {
		t.Errorf("an active key: %v", err)
	}
	must[*iam.DeleteAccessKeyOutput](t)(w.people.DeleteAccessKey(t.Context(), &iam.DeleteAccessKeyInput{UserName: new("ann"), AccessKeyId: w.key.AccessKeyId}))
	gone("a deleted key", w.user, "InvalidAccessKeyId")
	must[*iam.DeleteUserPolicyOutput](t)(w.people.DeleteUserPolicy(t.Context(), &iam.DeleteUserPolicyInput{UserName: new("ann"), PolicyName: new("all")}))
	must[*iam.DeleteUserOutput](t)(w.people.DeleteUser(t.Context(), &iam.DeleteUserInput{UserName: new("ann")}))
	gone("a user's session", session, "InvalidToken")
}

func TestChainedRoles(t *testing.T) {
	w := newCredentialWorld(t)
	_, err := w.assume(w.user, "first", sts.AssumeRoleInput{DurationSeconds: new(int32(7201))})
	w.refused("longer than the role's longest", err, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	team := []ststypes.Tag{{Key: new("team"), Value: new("forge")}, {Key: new("shift"), Value: new("night")}}
	first, err := w.assume(w.user, "first", sts.AssumeRoleInput{DurationSeconds: new(int32(7200)), Tags: team, TransitiveTagKeys: []string{"team"}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.assume(first, "second", sts.AssumeRoleInput{DurationSeconds: new(int32(3601))})
	w.refused("longer than an hour in a chain", err, "ValidationError", "exceeds the 1 hour session limit for roles assumed by role chaining")
	_, err = w.assume(first, "second", sts.AssumeRoleInput{Tags: team[:1]})
	w.refused("another value of a transitive tag", err, "ValidationError", "conflicts with a transitive tag key from the calling session")
	second, err := w.assume(first, "second", sts.AssumeRoleInput{DurationSeconds: new(int32(3600))})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tag, value string
		want       bool
	}{{"team", "forge", true}, {"shift", "night", false}} {
		must[*iam.PutRolePolicyOutput](t)(w.people.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: new("second"), PolicyName: new("all"), PolicyDocument: new(
			`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/` + c.tag + `":"` + c.value + `"}}}}`)}))
		if _, err := sqs.NewFromConfig(second).ListQueues(t.Context(), &sqs.ListQueuesInput{}); (err == nil) != c.want {
			t.Errorf("the tag %s is handed on: %v", c.tag, err)
		}
	}
}
