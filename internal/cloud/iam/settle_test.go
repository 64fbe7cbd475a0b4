package iam

import (
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"

	"miniforge/internal/cloud/latency"
)

// spreading is how long changes take to be in effect in these tests.
const spreading = 10 * time.Second

// inEffectIs checks what a role is judged by: whom it trusts, and its policies.
func (r *rig) inEffectIs(t *testing.T, when, role string, trust bool, policies int) {
	t.Helper()
	p := session(t, r, role)
	got, err := r.RoleTrust(t.Context(), p.RoleARN)
	docs, _, err2 := r.IdentityPolicies(t.Context(), p)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if (got != "") != trust || len(docs) != policies {
		t.Errorf("%s: trust %q and %d policies are in effect; want trust %v and %d", when, got, len(docs), trust, policies)
	}
}

// TestChangesSpread: what a role is judged by is late, and comes in the order
// of the changes; what IAM answers is not late.
func TestChangesSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.Settle = func(latency.Change) time.Duration { return spreading }
		newRole(t, r, "app")
		r.inEffectIs(t, "made", "app", false, 0)
		if ok, err := r.Exists(t.Context(), session(t, r, "app")); !ok || err != nil {
			t.Errorf("a role that is not in effect: exists %v, %v", ok, err)
		}
		do[sdk.GetRoleOutput](t, r, &sdk.GetRoleInput{RoleName: new("app")})

		time.Sleep(spreading / 2)
		do[sdk.PutRolePolicyOutput](t, r, &sdk.PutRolePolicyInput{RoleName: new("app"), PolicyName: new("p"), PolicyDocument: new(allowSQS)})
		time.Sleep(spreading / 2)
		r.inEffectIs(t, "its making spread", "app", true, 0)
		time.Sleep(spreading / 2)
		r.inEffectIs(t, "its policy spread", "app", true, 1)

		do[sdk.DeleteRolePolicyOutput](t, r, &sdk.DeleteRolePolicyInput{RoleName: new("app"), PolicyName: new("p")})
		r.inEffectIs(t, "the policy is gone", "app", true, 1)
		time.Sleep(spreading)
		r.inEffectIs(t, "which spread", "app", true, 0)
	})
}

func TestChangesOfManagedPoliciesSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		newRole(t, r, "app")
		arn := do[sdk.CreatePolicyOutput](t, r, &sdk.CreatePolicyInput{PolicyName: new("p"), PolicyDocument: new(allowSQS)}).Policy.Arn
		do[sdk.AttachRolePolicyOutput](t, r, &sdk.AttachRolePolicyInput{RoleName: new("app"), PolicyArn: arn})
		r.Settle = func(latency.Change) time.Duration { return spreading }
		do[sdk.CreatePolicyVersionOutput](t, r, &sdk.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: new(allowS3), SetAsDefault: true})
		for _, want := range []string{allowSQS, allowS3} {
			docs, _, err := r.IdentityPolicies(t.Context(), session(t, r, "app"))
			if err != nil || len(docs) != 1 || docs[0] != want {
				t.Errorf("in effect: %q, %v; want %s", docs, err, want)
			}
			time.Sleep(spreading)
		}
	})
}

func TestNewKeysSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		newUser(t, r, "ann")
		r.Settle = func(latency.Change) time.Duration { return spreading }
		id := *do[sdk.CreateAccessKeyOutput](t, r, &sdk.CreateAccessKeyInput{UserName: new("ann")}).AccessKey.AccessKeyId
		for _, want := range []bool{false, true} {
			if _, _, ok, err := r.Key(t.Context(), id); ok != want || err != nil {
				t.Errorf("the key is known: %v (%v), want %v", ok, err, want)
			}
			time.Sleep(spreading)
		}
	})
}
