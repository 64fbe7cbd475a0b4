package iam

import (
	"context"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxAttached = 20

func (s *Service) registerAttached(api *wire.API) {
	wire.Handle(api, s.AttachRolePolicy, on(s, roleKind, func(in *sdk.AttachRolePolicyInput) *string { return in.RoleName },
		func(in *sdk.AttachRolePolicyInput, keys map[string][]string) {
			keys["iam:PolicyARN"] = []string{*in.PolicyArn}
		}), wire.Members(roleRule, policyARNRule))
	wire.Handle(api, s.DetachRolePolicy, on(s, roleKind, func(in *sdk.DetachRolePolicyInput) *string { return in.RoleName },
		func(in *sdk.DetachRolePolicyInput, keys map[string][]string) {
			keys["iam:PolicyARN"] = []string{*in.PolicyArn}
		}), wire.Members(roleRule, policyARNRule))
	wire.Handle(api, s.ListAttachedRolePolicies, on(s, roleKind, func(in *sdk.ListAttachedRolePoliciesInput) *string { return in.RoleName }),
		wire.Members(roleRule, prefixRule, markerRule, maxRule))
	wire.Handle(api, s.AttachUserPolicy, on(s, userKind, func(in *sdk.AttachUserPolicyInput) *string { return in.UserName },
		func(in *sdk.AttachUserPolicyInput, keys map[string][]string) {
			keys["iam:PolicyARN"] = []string{*in.PolicyArn}
		}), wire.Members(userRule, policyARNRule))
	wire.Handle(api, s.DetachUserPolicy, on(s, userKind, func(in *sdk.DetachUserPolicyInput) *string { return in.UserName },
		func(in *sdk.DetachUserPolicyInput, keys map[string][]string) {
			keys["iam:PolicyARN"] = []string{*in.PolicyArn}
		}), wire.Members(userRule, policyARNRule))
	wire.Handle(api, s.ListAttachedUserPolicies, on(s, userKind, func(in *sdk.ListAttachedUserPoliciesInput) *string { return in.UserName }),
		wire.Members(userRule, prefixRule, markerRule, maxRule))
}

func (s *Service) attach(ctx context.Context, k *kind, name, arn string) error {
	return s.change(ctx, k, name, func(tx *store.Tx, e *entity) error {
		if _, ok, err := policyOf(tx, arn); err != nil || !ok {
			if err == nil {
				err = noEntity("Policy " + arn + " does not exist or is not attachable.")
			}
			return err
		}
		if slices.Contains(e.Attached, arn) {
			return nil // attaching again changes nothing
		}
		if len(e.Attached) >= maxAttached {
			return overLimit(fmt.Sprintf("Cannot exceed quota for PoliciesPer%s: %d", k.title, maxAttached))
		}
		e.Attached = append(e.Attached, arn)
		return e.own()
	})
}

func (s *Service) detach(ctx context.Context, k *kind, name, arn string) error {
	return s.change(ctx, k, name, func(_ *store.Tx, e *entity) error {
		i := slices.Index(e.Attached, arn)
		if i < 0 {
			return noPolicy(arn)
		}
		e.Attached = slices.Delete(e.Attached, i, i+1)
		return e.own()
	})
}

func (s *Service) attached(k *kind, name string, prefix, marker *string, size *int32) (page[types.AttachedPolicy], error) {
	e, err := s.get(k, name)
	if err != nil {
		return page[types.AttachedPolicy]{}, err
	}
	var all []types.AttachedPolicy
	for _, arn := range e.Attached {
		p, n := splitPolicyARN(arn)
		if prefix == nil || strings.HasPrefix(p, *prefix) {
			all = append(all, types.AttachedPolicy{PolicyArn: &arn, PolicyName: &n})
		}
	}
	byARN := func(p types.AttachedPolicy) string { return *p.PolicyArn }
	slices.SortFunc(all, func(a, b types.AttachedPolicy) int { return strings.Compare(byARN(a), byARN(b)) })
	return paginate(all, byARN, marker, size)
}

// splitPolicyARN is the path and the name in a managed policy's ARN.
func splitPolicyARN(arn string) (path, name string) {
	rest := arn[strings.LastIndexByte(arn, ':')+1:]
	i := strings.LastIndexByte(rest, '/')
	return strings.TrimPrefix(rest[:i+1], "policy"), rest[i+1:]
}

// AttachRolePolicy attaches a managed policy to a role.
func (s *Service) AttachRolePolicy(ctx context.Context, in *sdk.AttachRolePolicyInput) (*sdk.AttachRolePolicyOutput, error) {
	return &sdk.AttachRolePolicyOutput{}, s.attach(ctx, roleKind, *in.RoleName, *in.PolicyArn)
}

// DetachRolePolicy detaches a managed policy from a role.
func (s *Service) DetachRolePolicy(ctx context.Context, in *sdk.DetachRolePolicyInput) (*sdk.DetachRolePolicyOutput, error) {
	return &sdk.DetachRolePolicyOutput{}, s.detach(ctx, roleKind, *in.RoleName, *in.PolicyArn)
}

// ListAttachedRolePolicies lists the managed policies of a role.
func (s *Service) ListAttachedRolePolicies(_ context.Context, in *sdk.ListAttachedRolePoliciesInput) (*sdk.ListAttachedRolePoliciesOutput, error) {
	p, err := s.attached(roleKind, *in.RoleName, in.PathPrefix, in.Marker, in.MaxItems)
	return &sdk.ListAttachedRolePoliciesOutput{AttachedPolicies: p.items, IsTruncated: p.truncated, Marker: p.marker}, err
}

// AttachUserPolicy attaches a managed policy to a user.
func (s *Service) AttachUserPolicy(ctx context.Context, in *sdk.AttachUserPolicyInput) (*sdk.AttachUserPolicyOutput, error) {
	return &sdk.AttachUserPolicyOutput{}, s.attach(ctx, userKind, *in.UserName, *in.PolicyArn)
}

// DetachUserPolicy detaches a managed policy from a user.
func (s *Service) DetachUserPolicy(ctx context.Context, in *sdk.DetachUserPolicyInput) (*sdk.DetachUserPolicyOutput, error) {
	return &sdk.DetachUserPolicyOutput{}, s.detach(ctx, userKind, *in.UserName, *in.PolicyArn)
}

// ListAttachedUserPolicies lists the managed policies of a user.
func (s *Service) ListAttachedUserPolicies(_ context.Context, in *sdk.ListAttachedUserPoliciesInput) (*sdk.ListAttachedUserPoliciesOutput, error) {
	p, err := s.attached(userKind, *in.UserName, in.PathPrefix, in.Marker, in.MaxItems)
	return &sdk.ListAttachedUserPoliciesOutput{AttachedPolicies: p.items, IsTruncated: p.truncated, Marker: p.marker}, err
}
