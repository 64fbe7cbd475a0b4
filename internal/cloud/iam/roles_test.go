package iam

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

func TestLifeOfARole(t *testing.T) {
	r := newRig(t)
	made := do[sdk.CreateRoleOutput](t, r, &sdk.CreateRoleInput{
		RoleName: new("intake"), Path: new("/miniforge/x/"), AssumeRolePolicyDocument: new(lambdaTrust), Tags: []types.Tag{{Key: new("miniforge:stack"), Value: new("x")}},
	}).Role
	if *made.Arn != "arn:aws:iam::111122223333:role/miniforge/x/intake" || !strings.HasPrefix(*made.RoleId, "AROA") || len(*made.RoleId) != 21 || *made.MaxSessionDuration != 3600 {
		t.Errorf("made %s, %s, %d", *made.Arn, *made.RoleId, *made.MaxSessionDuration)
	}
	got := do[sdk.GetRoleOutput](t, r, &sdk.GetRoleInput{RoleName: new("intake")}).Role
	if doc, err := url.PathUnescape(*got.AssumeRolePolicyDocument); err != nil || doc != lambdaTrust || len(got.Tags) != 1 {
		t.Errorf("trust %s, %v, tags %v", *got.AssumeRolePolicyDocument, err, got.Tags)
	}
	do[sdk.PutRolePolicyOutput](t, r, &sdk.PutRolePolicyInput{RoleName: new("intake"), PolicyName: new("send"), PolicyDocument: new(allowSQS)})
	do[sdk.AttachRolePolicyOutput](t, r, &sdk.AttachRolePolicyInput{RoleName: new("intake"), PolicyArn: new("arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole")})
	if l := do[sdk.ListAttachedRolePoliciesOutput](t, r, &sdk.ListAttachedRolePoliciesInput{RoleName: new("intake")}); len(l.AttachedPolicies) != 1 || *l.AttachedPolicies[0].PolicyName != "AWSLambdaBasicExecutionRole" {
		t.Errorf("attached: %+v", l.AttachedPolicies)
	}
	if p := do[sdk.GetRolePolicyOutput](t, r, &sdk.GetRolePolicyInput{RoleName: new("intake"), PolicyName: new("send")}); !strings.Contains(*p.PolicyDocument, "%22sqs%3A%2A%22") {
		t.Errorf("document not URL-encoded: %s", *p.PolicyDocument)
	}
	gone := &sdk.DeleteRoleInput{RoleName: new("intake")}
	refuses(t, r, root, gone, "DeleteConflict", "Cannot delete entity, must detach all policies first.")
	do[sdk.DetachRolePolicyOutput](t, r, &sdk.DetachRolePolicyInput{RoleName: new("intake"), PolicyArn: new("arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole")})
	refuses(t, r, root, gone, "DeleteConflict", "Cannot delete entity, must delete policies first.")
	do[sdk.DeleteRolePolicyOutput](t, r, &sdk.DeleteRolePolicyInput{RoleName: new("intake"), PolicyName: new("send")})
	do[sdk.DeleteRoleOutput](t, r, gone)
	refuses(t, r, root, gone, "NoSuchEntity", "The role with name intake cannot be found.")
}

func TestBadRequests(t *testing.T) {
	r := newRig(t)
	newRole(t, r, "Taken")
	newUser(t, r, "ann")
	for name, c := range map[string]struct {
		in            any
		code, message string
	}{
		"name taken in another case": {&sdk.CreateRoleInput{RoleName: new("TAKEN"), AssumeRolePolicyDocument: new(lambdaTrust)}, "EntityAlreadyExists", "Role with name TAKEN already exists."},
		"user taken":                 {&sdk.CreateUserInput{UserName: new("ann")}, "EntityAlreadyExists", "User with name ann already exists."},
		"bad name":                   {&sdk.CreateRoleInput{RoleName: new("a b"), AssumeRolePolicyDocument: new(lambdaTrust)}, "ValidationError", "The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-"},
		"long name":                  {&sdk.CreateRoleInput{RoleName: new(strings.Repeat("x", 65)), AssumeRolePolicyDocument: new(lambdaTrust)}, "ValidationError", "length less than or equal to 64"},
		"no trust":                   {&sdk.CreateRoleInput{RoleName: new("r")}, "ValidationError", "Value null at 'assumeRolePolicyDocument'"},
		"trust is no JSON":           {&sdk.CreateRoleInput{RoleName: new("r"), AssumeRolePolicyDocument: new("{")}, "MalformedPolicyDocument", "This policy contains invalid Json"},
		"trust in a ghost": {&sdk.CreateRoleInput{RoleName: new("r"), AssumeRolePolicyDocument: new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/ghost"},"Action":"sts:AssumeRole"}}`)},
			"MalformedPolicyDocument", `Invalid principal in policy: "AWS":"arn:aws:iam::111122223333:role/ghost"`},
		"trust of an odd length": {&sdk.CreateRoleInput{RoleName: new("r"), AssumeRolePolicyDocument: new(strings.Replace(lambdaTrust, "lambda.", strings.Repeat("x", 2048)+".", 1))}, "LimitExceeded", "ACLSizePerRole: 2048"},
		"boundary that is none":  {&sdk.CreateRoleInput{RoleName: new("r"), AssumeRolePolicyDocument: new(lambdaTrust), PermissionsBoundary: new("arn:aws:iam::111122223333:policy/none")}, "NoSuchEntity", "Scope ARN: arn:aws:iam::111122223333:policy/none does not exist or is not attachable."},
		"short session":          {&sdk.UpdateRoleInput{RoleName: new("Taken"), MaxSessionDuration: new(int32(10))}, "ValidationError", "greater than or equal to 3600"},
		"bad policy":             {&sdk.PutRolePolicyInput{RoleName: new("Taken"), PolicyName: new("p"), PolicyDocument: new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sqs:*"}}`)}, "MalformedPolicyDocument", "Policy statement must contain resources."},
		"policy of no role":      {&sdk.GetRolePolicyInput{RoleName: new("none"), PolicyName: new("p")}, "NoSuchEntity", "The role with name none cannot be found."},
		"no such policy":         {&sdk.GetRolePolicyInput{RoleName: new("Taken"), PolicyName: new("p")}, "NoSuchEntity", "The role policy with name p cannot be found."},
		"no such user policy":    {&sdk.DeleteUserPolicyInput{UserName: new("ann"), PolicyName: new("p")}, "NoSuchEntity", "The user policy with name p cannot be found."},
		"attach a ghost":         {&sdk.AttachRolePolicyInput{RoleName: new("Taken"), PolicyArn: new("arn:aws:iam::111122223333:policy/none")}, "NoSuchEntity", "Policy arn:aws:iam::111122223333:policy/none does not exist or is not attachable."},
		"detach what is not":     {&sdk.DetachRolePolicyInput{RoleName: new("Taken"), PolicyArn: new("arn:aws:iam::111122223333:policy/none")}, "NoSuchEntity", "Policy arn:aws:iam::111122223333:policy/none was not found."},
		"tags twice":             {&sdk.TagRoleInput{RoleName: new("Taken"), Tags: []types.Tag{{Key: new("a"), Value: new("")}, {Key: new("A"), Value: new("")}}}, "InvalidInput", "Duplicate tag keys found."},
		"bad marker":             {&sdk.ListRolesInput{Marker: new("%%")}, "ValidationError", "Invalid Marker."},
		"unknown service role":   {&sdk.CreateServiceLinkedRoleInput{AWSServiceName: new("nobody.amazonaws.com")}, "InvalidInput", "nobody.amazonaws.com"},
		"suffix":                 {&sdk.CreateServiceLinkedRoleInput{AWSServiceName: new("ops.apigateway.amazonaws.com"), CustomSuffix: new("x")}, "InvalidInput", "Custom suffix is not allowed for ops.apigateway.amazonaws.com"},
		"big policy":             {&sdk.PutUserPolicyInput{UserName: new("ann"), PolicyName: new("p"), PolicyDocument: new(strings.Replace(allowSQS, `"*"`, `"arn:aws:sqs:::`+strings.Repeat("x", 2048)+`"`, 1))}, "LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user ann"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, r, root, c.in, c.code, c.message) })
	}
}

func TestPagesOfRoles(t *testing.T) {
	r := newRig(t)
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("r%d", i)
		newRole(t, r, name)
		want = append(want, name)
	}
	do[sdk.CreateRoleOutput](t, r, &sdk.CreateRoleInput{RoleName: new("elsewhere"), AssumeRolePolicyDocument: new(lambdaTrust)})
	var got []string
	in := &sdk.ListRolesInput{PathPrefix: new("/app/"), MaxItems: new(int32(3))}
	for {
		out := do[sdk.ListRolesOutput](t, r, in)
		for _, x := range out.Roles {
			got = append(got, *x.RoleName)
		}
		if in.Marker = out.Marker; !out.IsTruncated {
			break
		}
		// A role that goes between two pages shifts nothing.
		do[sdk.DeleteRoleOutput](t, r, &sdk.DeleteRoleInput{RoleName: &got[len(got)-1]})
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestServiceLinkedRolesArePrivate(t *testing.T) {
	r := newRig(t)
	made := do[sdk.CreateServiceLinkedRoleOutput](t, r, &sdk.CreateServiceLinkedRoleInput{AWSServiceName: new("ops.apigateway.amazonaws.com")}).Role
	if *made.Arn != "arn:aws:iam::111122223333:role/aws-service-role/ops.apigateway.amazonaws.com/AWSServiceRoleForAPIGateway" {
		t.Errorf("made %s", *made.Arn)
	}
	refuses(t, r, root, &sdk.CreateServiceLinkedRoleInput{AWSServiceName: new("ops.apigateway.amazonaws.com")}, "InvalidInput", "Service role name AWSServiceRoleForAPIGateway has been taken in this account")
	refuses(t, r, root, &sdk.DeleteRoleInput{RoleName: made.RoleName}, "UnmodifiableEntity", "")
	refuses(t, r, root, &sdk.PutRolePolicyInput{RoleName: made.RoleName, PolicyName: new("p"), PolicyDocument: new(allowSQS)}, "UnmodifiableEntity", "")
}

func TestManagedPolicies(t *testing.T) {
	r := newRig(t)
	newRole(t, r, "a")
	p := do[sdk.CreatePolicyOutput](t, r, &sdk.CreatePolicyInput{PolicyName: new("p"), PolicyDocument: new(allowSQS)}).Policy
	refuses(t, r, root, &sdk.CreatePolicyInput{PolicyName: new("P"), PolicyDocument: new(allowSQS)}, "EntityAlreadyExists", "A policy called P already exists.")
	do[sdk.AttachRolePolicyOutput](t, r, &sdk.AttachRolePolicyInput{RoleName: new("a"), PolicyArn: p.Arn})
	docs := func() string {
		docs, _, err := r.IdentityPolicies(t.Context(), session(t, r, "a"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(docs, "\n")
	}
	if docs() != allowSQS {
		t.Errorf("in force: %s", docs())
	}
	v := do[sdk.CreatePolicyVersionOutput](t, r, &sdk.CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: new(allowS3), SetAsDefault: true}).PolicyVersion
	if *v.VersionId != "v2" || docs() != allowS3 {
		t.Errorf("version %s, in force: %s", *v.VersionId, docs())
	}
	refuses(t, r, root, &sdk.DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: new("v2")}, "DeleteConflict", "default version")
	refuses(t, r, root, &sdk.DeletePolicyInput{PolicyArn: p.Arn}, "DeleteConflict", "Cannot delete a policy attached to entities.")
	if l := do[sdk.ListEntitiesForPolicyOutput](t, r, &sdk.ListEntitiesForPolicyInput{PolicyArn: p.Arn}); len(l.PolicyRoles) != 1 || *l.PolicyRoles[0].RoleName != "a" {
		t.Errorf("holders: %+v", l)
	}
	do[sdk.DetachRolePolicyOutput](t, r, &sdk.DetachRolePolicyInput{RoleName: new("a"), PolicyArn: p.Arn})
	refuses(t, r, root, &sdk.DeletePolicyInput{PolicyArn: p.Arn}, "DeleteConflict", "more than one version")
	do[sdk.DeletePolicyVersionOutput](t, r, &sdk.DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: new("v1")})
	if l := do[sdk.ListPoliciesOutput](t, r, &sdk.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal}); len(l.Policies) != 1 || *l.Policies[0].DefaultVersionId != "v2" {
		t.Errorf("policies: %+v", l.Policies)
	}
	do[sdk.DeletePolicyOutput](t, r, &sdk.DeletePolicyInput{PolicyArn: p.Arn})
	refuses(t, r, root, &sdk.GetPolicyInput{PolicyArn: p.Arn}, "NoSuchEntity", "Policy "+*p.Arn+" was not found.")
	refuses(t, r, root, &sdk.DeletePolicyInput{PolicyArn: new("arn:aws:iam::aws:policy/AdministratorAccess")}, "InvalidInput", "")
}

func TestPoliciesManagedByAWSParse(t *testing.T) {
	for arn, p := range awsPolicies {
		if _, err := checkDocument(p.document(), 0); err != nil {
			t.Errorf("%s: %v", arn, err)
		}
	}
}
