package iam

import (
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/authz"
)

func TestPoliciesDecideAtOnce(t *testing.T) {
	r := newRig(t)
	ann := newUser(t, r, "ann")
	in := &sdk.ListRolesInput{}
	refuses(t, r, ann, in, "AccessDenied", "User: arn:aws:iam::111122223333:user/ann is not authorized to perform: iam:ListRoles on resource: arn:aws:iam::111122223333:role/ because no identity-based policy allows the iam:ListRoles action")
	const doc = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:ListRoles","Resource":"*"},{"Effect":"Allow","Action":"iam:*","Resource":"arn:aws:iam::*:user/${aws:username}"}]}`
	do[sdk.PutUserPolicyOutput](t, r, &sdk.PutUserPolicyInput{UserName: new("ann"), PolicyName: new("p"), PolicyDocument: new(doc)})
	if _, err := as[sdk.ListRolesOutput](t, r, ann, in); err != nil {
		t.Errorf("a new policy does not count: %v", err)
	}
	if u, err := as[sdk.GetUserOutput](t, r, ann, &sdk.GetUserInput{}); err != nil || *u.User.UserName != "ann" {
		t.Errorf("who am I: %v", err)
	}
	if _, err := as[sdk.CreateAccessKeyOutput](t, r, ann, &sdk.CreateAccessKeyInput{}); err != nil {
		t.Errorf("a key of one's own: %v", err)
	}
	refuses(t, r, ann, &sdk.CreateAccessKeyInput{UserName: new("bob")}, "AccessDenied", "user/bob")
	do[sdk.DeleteUserPolicyOutput](t, r, &sdk.DeleteUserPolicyInput{UserName: new("ann"), PolicyName: new("p")})
	refuses(t, r, ann, in, "AccessDenied", "iam:ListRoles")
}

func TestBoundaries(t *testing.T) {
	r := newRig(t)
	ann := newUser(t, r, "ann")
	p := do[sdk.CreatePolicyOutput](t, r, &sdk.CreatePolicyInput{PolicyName: new("bound"), PolicyDocument: new(allowSQS)}).Policy
	do[sdk.AttachUserPolicyOutput](t, r, &sdk.AttachUserPolicyInput{UserName: new("ann"), PolicyArn: new("arn:aws:iam::aws:policy/AdministratorAccess")})
	if _, err := as[sdk.ListRolesOutput](t, r, ann, &sdk.ListRolesInput{}); err != nil {
		t.Error(err)
	}
	do[sdk.PutUserPermissionsBoundaryOutput](t, r, &sdk.PutUserPermissionsBoundaryInput{UserName: new("ann"), PermissionsBoundary: p.Arn})
	refuses(t, r, ann, &sdk.ListRolesInput{}, "AccessDenied", "because no permissions boundary allows the iam:ListRoles action")
	refuses(t, r, root, &sdk.DeletePolicyInput{PolicyArn: p.Arn}, "DeleteConflict", "permissions boundary")
	do[sdk.DeleteUserPermissionsBoundaryOutput](t, r, &sdk.DeleteUserPermissionsBoundaryInput{UserName: new("ann")})
	if _, err := as[sdk.ListRolesOutput](t, r, ann, &sdk.ListRolesInput{}); err != nil {
		t.Error(err)
	}
}

func TestAccessKeys(t *testing.T) {
	r := newRig(t)
	newUser(t, r, "ann")
	key := do[sdk.CreateAccessKeyOutput](t, r, &sdk.CreateAccessKeyInput{UserName: new("ann")}).AccessKey
	works := func() bool {
		secret, p, ok, err := r.Key(t.Context(), *key.AccessKeyId)
		if err != nil {
			t.Fatal(err)
		}
		if ok && (secret != *key.SecretAccessKey || p.ARN != "arn:aws:iam::111122223333:user/ann" || p.Type != authz.User) {
			t.Errorf("identifies %+v", p)
		}
		return ok
	}
	if len(*key.AccessKeyId) != 20 || !works() {
		t.Errorf("key %s does not work", *key.AccessKeyId)
	}
	do[sdk.UpdateAccessKeyOutput](t, r, &sdk.UpdateAccessKeyInput{UserName: new("ann"), AccessKeyId: key.AccessKeyId, Status: types.StatusTypeInactive})
	if works() {
		t.Error("an inactive key works")
	}
	do[sdk.CreateAccessKeyOutput](t, r, &sdk.CreateAccessKeyInput{UserName: new("ann")})
	refuses(t, r, root, &sdk.CreateAccessKeyInput{UserName: new("ann")}, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	if l := do[sdk.ListAccessKeysOutput](t, r, &sdk.ListAccessKeysInput{UserName: new("ann")}); len(l.AccessKeyMetadata) != 2 {
		t.Errorf("keys: %+v", l.AccessKeyMetadata)
	}
	refuses(t, r, root, &sdk.DeleteUserInput{UserName: new("ann")}, "DeleteConflict", "must delete access keys first")
	refuses(t, r, root, &sdk.CreateAccessKeyInput{}, "ValidationError", "Must specify userName when calling with non-User credentials")
	refuses(t, r, root, &sdk.DeleteAccessKeyInput{UserName: new("ann"), AccessKeyId: new("AKIAIOSFODNN7EXAMPLE")}, "NoSuchEntity", "The Access Key with id AKIAIOSFODNN7EXAMPLE cannot be found.")
	do[sdk.DeleteAccessKeyOutput](t, r, &sdk.DeleteAccessKeyInput{UserName: new("ann"), AccessKeyId: key.AccessKeyId})
	if works() {
		t.Error("a deleted key works")
	}
}

func TestARoleMadeAnewIsAnotherRole(t *testing.T) {
	r := newRig(t)
	newRole(t, r, "a")
	do[sdk.PutRolePolicyOutput](t, r, &sdk.PutRolePolicyInput{RoleName: new("a"), PolicyName: new("p"), PolicyDocument: new(allowSQS)})
	old := session(t, r, "a")
	do[sdk.DeleteRolePolicyOutput](t, r, &sdk.DeleteRolePolicyInput{RoleName: new("a"), PolicyName: new("p")})
	do[sdk.DeleteRoleOutput](t, r, &sdk.DeleteRoleInput{RoleName: new("a")})
	newRole(t, r, "a")
	do[sdk.PutRolePolicyOutput](t, r, &sdk.PutRolePolicyInput{RoleName: new("a"), PolicyName: new("p"), PolicyDocument: new(allowSQS)})
	if docs, _, err := r.IdentityPolicies(t.Context(), old); err != nil || len(docs) != 0 {
		t.Errorf("a session of the old role has %v, %v", docs, err)
	}
	if docs, _, err := r.IdentityPolicies(t.Context(), session(t, r, "a")); err != nil || len(docs) != 1 {
		t.Errorf("a session of the new role has %v, %v", docs, err)
	}
}

func TestWhoExists(t *testing.T) {
	r := newRig(t)
	newRole(t, r, "a")
	for name, want := range map[string]bool{
		"arn:aws:iam::111122223333:role/app/a": true, "arn:aws:iam::111122223333:role/a": false, "arn:aws:iam::111122223333:user/a": false,
		"arn:aws:sts::111122223333:assumed-role/a/s": true, "arn:aws:iam::111122223333:root": true, "444455556666": true, "arn:aws:iam::444455556666:role/x": true,
		session(t, r, "a").ID[:21]: true, "AROAAAAAAAAAAAAAAAAAA": false, "nonsense": false,
	} {
		if got, err := r.PrincipalExists(t.Context(), name); err != nil || got != want {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
	if trust, err := r.RoleTrust(t.Context(), "arn:aws:iam::111122223333:role/app/a"); err != nil || trust != lambdaTrust {
		t.Errorf("trust %q, %v", trust, err)
	}
	if trust, err := r.RoleTrust(t.Context(), "arn:aws:iam::111122223333:role/a"); err != nil || trust != "" {
		t.Errorf("trust of another path: %q, %v", trust, err)
	}
}

func TestSimulator(t *testing.T) {
	r := newRig(t)
	newRole(t, r, "a")
	const doc = `{"Version":"2012-10-17","Statement":[
  {"Effect":"Allow","Action":"sqs:*","Resource":"arn:aws:sqs:us-east-1:111122223333:q"},
  {"Effect":"Deny","Action":"sqs:DeleteQueue","Resource":"*"},
  {"Effect":"Allow","Action":"s3:GetObject","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"vpc-1"}}}]}`
	do[sdk.PutRolePolicyOutput](t, r, &sdk.PutRolePolicyInput{RoleName: new("a"), PolicyName: new("p"), PolicyDocument: new(doc)})
	const q = "arn:aws:sqs:us-east-1:111122223333:q"
	in := &sdk.SimulatePrincipalPolicyInput{
		PolicySourceArn: new("arn:aws:iam::111122223333:role/app/a"), ActionNames: []string{"sqs:SendMessage", "sqs:DeleteQueue", "s3:GetObject"}, ResourceArns: []string{q},
	}
	out := do[sdk.SimulatePrincipalPolicyOutput](t, r, in)
	want := []types.PolicyEvaluationDecisionType{"allowed", "explicitDeny", "implicitDeny"}
	for i, e := range out.EvaluationResults {
		if e.EvalDecision != want[i] || *e.EvalResourceName != q {
			t.Errorf("%s: %s, want %s", *e.EvalActionName, e.EvalDecision, want[i])
		}
	}
	first := out.EvaluationResults[0].MatchedStatements
	if len(first) != 1 || *first[0].SourcePolicyId != "role_a_p" || first[0].StartPosition.Line != 2 || first[0].StartPosition.Column != 3 {
		t.Errorf("matched: %+v", first)
	}
	if m := out.EvaluationResults[2].MissingContextValues; len(m) != 1 || m[0] != "aws:SourceVpc" {
		t.Errorf("missing: %v", m)
	}
	in.ContextEntries = []types.ContextEntry{{ContextKeyName: new("aws:SourceVpc"), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{"vpc-1"}}}
	in.ActionNames = []string{"s3:GetObject"}
	if d := do[sdk.SimulatePrincipalPolicyOutput](t, r, in).EvaluationResults[0].EvalDecision; d != "allowed" {
		t.Errorf("with its context: %s", d)
	}
	without := func(x types.PolicyIdentifier) types.PolicyEvaluationDecisionType {
		again := *in
		again.PolicyExclusionList = []types.PolicyIdentifier{x}
		return do[sdk.SimulatePrincipalPolicyOutput](t, r, &again).EvaluationResults[0].EvalDecision
	}
	inline := func(role, policy string) types.PolicyIdentifier {
		return &types.PolicyIdentifierMemberInlinePolicyIdentifier{Value: types.InlinePolicyIdentifierType{AttachmentName: &role, AttachmentType: types.AttachmentTypeRole, PolicyName: &policy}}
	}
	for _, x := range []types.PolicyIdentifier{inline("a", "p"), inline("*", "p"), inline("?", "p"), &types.PolicyIdentifierMemberPolicyType{Value: types.PolicyIdentifierPolicyTypeInline}} {
		if d := without(x); d != "implicitDeny" {
			t.Errorf("without its policy (%T): %s", x, d)
		}
	}
	for _, x := range []types.PolicyIdentifier{inline("b", "p"), inline("a", "q"), &types.PolicyIdentifierMemberPolicyArn{Value: "arn:aws:iam::aws:policy/*"}} {
		if d := without(x); d != "allowed" {
			t.Errorf("without another policy (%T): %s", x, d)
		}
	}
	bad := *in
	bad.PolicyExclusionList = []types.PolicyIdentifier{&types.PolicyIdentifierMemberPolicyArn{Value: "nonsense"}}
	refuses(t, r, root, &bad, "InvalidInput", "nonsense")
	custom := do[sdk.SimulateCustomPolicyOutput](t, r, &sdk.SimulateCustomPolicyInput{
		PolicyInputList: []string{allowSQS}, PermissionsBoundaryPolicyInputList: []string{allowS3}, ActionNames: []string{"sqs:SendMessage"},
	}).EvaluationResults[0]
	if custom.EvalDecision != "implicitDeny" || custom.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary {
		t.Errorf("a boundary is passed over: %+v", custom)
	}
	refuses(t, r, root, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: new("arn:aws:iam::111122223333:role/none"), ActionNames: []string{"s3:GetObject"}}, "NoSuchEntity", "The role with name none cannot be found.")
	refuses(t, r, root, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{"{"}, ActionNames: []string{"s3:GetObject"}}, "InvalidInput", "PolicyInputList.1")
	refuses(t, r, root, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{allowSQS}, ActionNames: []string{"nonsense"}}, "InvalidInput", "nonsense")
}
