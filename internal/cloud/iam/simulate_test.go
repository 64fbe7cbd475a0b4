package iam

import (
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
)

// TestSimulatorJudgesResourcePolicies simulates a user without, and with,
// policies of its own against the policy of a resource.
func TestSimulatorJudgesResourcePolicies(t *testing.T) {
	const (
		ann     = "arn:aws:iam::111122223333:user/ann"
		other   = "arn:aws:iam::444455556666:root"
		open    = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + ann + `"},"Action":"*","Resource":"*"}}`
		closed  = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + ann + `x"},"Action":"*","Resource":"*"}}`
		account = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"*","Resource":"*"}}`
		queue   = "arn:aws:sqs:us-east-1:111122223333:q"
		key     = "arn:aws:kms:us-east-1:111122223333:key/k"
		all     = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
		nothing = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"none:Nothing","Resource":"*"}}`
	)
	for name, c := range map[string]struct {
		own, action, resource, policy, owner string
		want                                 string
	}{
		"the resource alone":             {nothing, "sqs:SendMessage", queue, open, "", "allowed"},
		"the user alone":                 {all, "sqs:SendMessage", queue, closed, "", "allowed"},
		"neither":                        {nothing, "sqs:SendMessage", queue, closed, "", "implicitDeny"},
		"the account is named":           {nothing, "sqs:SendMessage", queue, account, "", "implicitDeny"},
		"another account, both":          {all, "s3:GetObject", "arn:aws:s3:::b/k", open, other, "allowed"},
		"another account, resource only": {nothing, "s3:GetObject", "arn:aws:s3:::b/k", open, other, "implicitDeny"},
		"another account, user only":     {all, "s3:GetObject", "arn:aws:s3:::b/k", closed, other, "implicitDeny"},
		"own account, named as owner":    {all, "s3:GetObject", "arn:aws:s3:::b/k", closed, "arn:aws:iam::111122223333:root", "allowed"},
		"a key that is not open":         {all, "kms:Decrypt", key, closed, "", "implicitDeny"},
		"a key left to the account":      {all, "kms:Decrypt", key, account, "", "allowed"},
		"a key open to the user":         {nothing, "kms:Decrypt", key, open, "", "allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			in := &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{c.own}, ActionNames: []string{c.action}, ResourceArns: []string{c.resource}, ResourcePolicy: &c.policy, CallerArn: new(ann)}
			if c.owner != "" {
				in.ResourceOwner = &c.owner
			}
			if got := do[sdk.SimulateCustomPolicyOutput](t, newRig(t), in).EvaluationResults[0].EvalDecision; string(got) != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestSimulatorRefusesWhatItCannotSimulate(t *testing.T) {
	r := newRig(t)
	newRole(t, r, "a")
	role, policy := new("arn:aws:iam::111122223333:role/app/a"), new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`)
	send := []string{"sqs:SendMessage"}
	refuses(t, r, root, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: role, ActionNames: send, ResourcePolicy: policy}, "InvalidInput", "CallerArn is required")
	refuses(t, r, root, &sdk.SimulatePrincipalPolicyInput{PolicySourceArn: role, ActionNames: send, CallerArn: role}, "InvalidInput", "Invalid CallerArn: "+*role)
	refuses(t, r, root, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{allowSQS}, ActionNames: send, ResourcePolicy: policy}, "InvalidInput", "CallerArn is required")
	refuses(t, r, root, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{allowSQS}, ActionNames: send, CallerArn: new("arn:aws:sts::111122223333:assumed-role/a/s")}, "InvalidInput", "Invalid CallerArn")
	refuses(t, r, root, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{allowSQS}, ActionNames: send, ResourceOwner: new("111122223333")}, "InvalidInput", "Invalid ResourceOwner")
	refuses(t, r, root, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{allowSQS}, ActionNames: send, PermissionsBoundaryPolicyInputList: []string{allowSQS, allowS3}}, "InvalidInput", "Only one permissions boundary")
	for _, a := range []string{"sqs:*", "sqs:Send?essage"} {
		refuses(t, r, root, &sdk.SimulateCustomPolicyInput{PolicyInputList: []string{allowSQS}, ActionNames: []string{a}}, "InvalidInput", "Invalid Input Action: "+a)
	}
}
