package kms

import (
	"cmp"
	"context"
	"errors"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// policyName is the only name that a key policy can have.
const policyName = "default"

func (s *Service) registerPolicies(api *wire.API) {
	const name = `PolicyName 1..128 [\w]+`
	wire.Handle(api, s.GetKeyPolicy, on(s, func(in *sdk.GetKeyPolicyInput) *string { return in.KeyId }), wire.Members(keyIDRule, name))
	wire.Handle(api, s.PutKeyPolicy, on(s, func(in *sdk.PutKeyPolicyInput) *string { return in.KeyId },
		func(in *sdk.PutKeyPolicyInput, keys map[string][]string) {
			keys["kms:BypassPolicyLockoutSafetyCheck"] = boolKey(in.BypassPolicyLockoutSafetyCheck)
		}), wire.Members(keyIDRule, name, "Policy! 1..131072"))
	wire.Handle(api, s.ListKeyPolicies, on(s, func(in *sdk.ListKeyPoliciesInput) *string { return in.KeyId }),
		wire.Members(keyIDRule, "Limit 1..1000", "Marker 1..1024"))
}

// defaultPolicy leaves everything to the account's identity policies.
func defaultPolicy(account string) string {
	return `{
  "Version" : "2012-10-17",
  "Id" : "key-default-1",
  "Statement" : [ {
    "Sid" : "Enable IAM User Permissions",
    "Effect" : "Allow",
    "Principal" : {
      "AWS" : "arn:aws:iam::` + account + `:root"
    },
    "Action" : "kms:*",
    "Resource" : "*"
  } ]
}`
}

// checkPolicy refuses what is no key policy, and one that would leave nobody
// of the caller's who can change it again.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html#prevent-unmanageable-key
func (s *Service) checkPolicy(ctx context.Context, document string, bypass bool) error {
	if len(document) > 32768 {
		return wire.Errorf("LimitExceededException", "The key policy exceeds the limit of 32768 bytes")
	}
	p, err := authz.Parse(document)
	if err == nil {
		err = p.Check(authz.ResourcePolicy)
	}
	if e, ok := errors.AsType[*authz.ParseError](err); ok {
		return malformed(e.Reason)
	}
	if err != nil {
		return err
	}
	if s.PrincipalExists != nil {
		for _, arn := range p.Principals() {
			ok, err := s.PrincipalExists(ctx, arn)
			if err != nil {
				return err
			}
			if !ok {
				return malformed("Policy contains a statement with one or more invalid principals.")
			}
		}
	}
	if bypass {
		return nil
	}
	who := wire.CallOf(ctx).Principal
	d := authz.Evaluate(&authz.Request{
		Principal: &who, Action: "kms:PutKeyPolicy", Resource: "*", Policy: p, Guarded: true, Identity: everything,
		Context: authz.Keys{
			"kms:calleraccount": {who.Account}, "aws:principalaccount": {who.Account}, "aws:principaltype": {string(who.Type)},
			"aws:principalarn": {cmp.Or(who.RoleARN, who.ARN)}, "aws:securetransport": {"true"},
		},
	})
	if !d.Allowed {
		return malformed("The new key policy will not allow you to update the key policy in the future.")
	}
	return nil
}

// everything stands for identity policies where only a key policy is judged.
var everything = func() []*authz.Policy {
	p, err := authz.Parse(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	if err != nil {
		panic(err)
	}
	return []*authz.Policy{p}
}()

// GetKeyPolicy returns a key's policy as it was put.
func (s *Service) GetKeyPolicy(ctx context.Context, in *sdk.GetKeyPolicyInput) (*sdk.GetKeyPolicyOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := onlyDefault(in.PolicyName); err != nil {
		return nil, err
	}
	return &sdk.GetKeyPolicyOutput{Policy: &k.Policy, PolicyName: new(policyName)}, nil
}

func onlyDefault(name *string) error {
	if name != nil && *name != policyName {
		return notFound("No such policy exists")
	}
	return nil
}

// PutKeyPolicy replaces a key's policy.
func (s *Service) PutKeyPolicy(ctx context.Context, in *sdk.PutKeyPolicyInput) (*sdk.PutKeyPolicyOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := onlyDefault(in.PolicyName); err != nil {
		return nil, err
	}
	if err := s.checkPolicy(ctx, *in.Policy, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	return &sdk.PutKeyPolicyOutput{}, s.change(ctx, k, func(_ *store.Tx, row *keyRow) error {
		row.Policy = *in.Policy
		return nil
	})
}

// ListKeyPolicies lists the one policy that a key has.
func (s *Service) ListKeyPolicies(ctx context.Context, in *sdk.ListKeyPoliciesInput) (*sdk.ListKeyPoliciesOutput, error) {
	if _, err := s.findOnly(regionOf(ctx), in.KeyId); err != nil {
		return nil, err
	}
	if _, err := decodeMarker(in.Marker); err != nil {
		return nil, err
	}
	return &sdk.ListKeyPoliciesOutput{PolicyNames: []string{policyName}}, nil
}

// ResourcePolicy returns the policy of a key. A key that is not there is
// judged as if it had the default policy: whoever might use such a key is told
// that it does not exist.
func (s *Service) ResourcePolicy(_ context.Context, arn string) (string, error) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[4] != s.Account {
		return "", nil
	}
	id, ok := strings.CutPrefix(p[5], "key/")
	if !ok {
		return "", nil
	}
	k, err := s.key(p[3], id)
	if err != nil {
		return "", err
	}
	if k == nil {
		return defaultPolicy(s.Account), nil
	}
	return k.Policy, nil
}
