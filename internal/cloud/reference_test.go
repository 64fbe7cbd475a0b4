package cloud

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/cloud/authz"
)

// TestOperationsAreJudgedAsTheReferenceSays calls operations as a user and
// compares what was judged with AWS's actions and forms of ARNs.
func TestOperationsAreJudgedAsTheReferenceSays(t *testing.T) {
	var judged []string
	c, err := New(t.Context(), Options{Account: trialAccount, Audit: func(j Judgement) {
		if j.Principal.Type != authz.User || j.Principal.Via != "" {
			return // what services do for the call, or by themselves
		}
		text := strings.TrimSpace(j.Access.Action + " " + j.Access.Resource)
		for _, key := range []string{"iam:PassedToService", "lambda:FunctionArn", "states:StateMachineQualifier"} {
			if v := j.Access.Context[key]; len(v) > 0 {
				text += " for " + v[0]
			}
		}
		judged = append(judged, text)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	cfg, key := newReferenceUser(t, c)
	seen := map[string]bool{}
	for _, r := range slices.Concat(referenceOfStores(), referenceOfMessages(), referenceOfCompute(), referenceOfDelivery(), referenceOfSecurity(key)) {
		in := reflect.TypeOf(r.in).Elem()
		pkg, op := in.PkgPath()[strings.LastIndexByte(in.PkgPath(), '/')+1:], strings.TrimSuffix(in.Name(), "Input")
		seen[pkg+"."+op] = true
		t.Run(pkg+"."+op, func(t *testing.T) {
			judged = nil
			res := reflect.ValueOf(clients[pkg](cfg)).MethodByName(op).Call([]reflect.Value{reflect.ValueOf(t.Context()), reflect.ValueOf(r.in)})
			got, want := slices.Sorted(slices.Values(judged)), slices.Sorted(slices.Values(r.judged))
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-reference +judged):\n%s(answer: %v)", d, res[1])
			}
		})
	}
	if len(seen) < 60 {
		t.Errorf("%d operations are compared", len(seen))
	}
}

// newReferenceUser makes a user who may do everything, also with the key whose
// ARN is returned, and a role that trusts her.
func newReferenceUser(t *testing.T, c *Cloud) (cfg aws.Config, keyARN string) {
	people := iam.NewFromConfig(c.config(""))
	u := must[*iam.CreateUserOutput](t)(people.CreateUser(t.Context(), &iam.CreateUserInput{UserName: new("ann")})).User
	must[*iam.PutUserPolicyOutput](t)(people.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{
		UserName: u.UserName, PolicyName: new("all"), PolicyDocument: new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`),
	}))
	must[*iam.CreateRoleOutput](t)(people.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: new("r"), Path: new("/app/"), AssumeRolePolicyDocument: new(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + *u.Arn + `"},"Action":["sts:AssumeRole","sts:TagSession","sts:SetSourceIdentity"]}}`)}))
	k := must[*iam.CreateAccessKeyOutput](t)(people.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: u.UserName})).AccessKey
	key := must[*kms.CreateKeyOutput](t)(kms.NewFromConfig(c.config("")).CreateKey(t.Context(), &kms.CreateKeyInput{}))
	return c.with(*k.AccessKeyId, *k.SecretAccessKey, ""), *key.KeyMetadata.Arn
}
