package iam

import (
	"context"
	"fmt"
	"maps"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerInline(api *wire.API) {
	wire.Handle(api, s.PutRolePolicy, on(s, roleKind, func(in *sdk.PutRolePolicyInput) *string { return in.RoleName }), wire.Members(roleRule, policyRule, documentRule))
	wire.Handle(api, s.GetRolePolicy, on(s, roleKind, func(in *sdk.GetRolePolicyInput) *string { return in.RoleName }), wire.Members(roleRule, policyRule))
	wire.Handle(api, s.DeleteRolePolicy, on(s, roleKind, func(in *sdk.DeleteRolePolicyInput) *string { return in.RoleName }), wire.Members(roleRule, policyRule))
	wire.Handle(api, s.ListRolePolicies, on(s, roleKind, func(in *sdk.ListRolePoliciesInput) *string { return in.RoleName }), wire.Members(roleRule, markerRule, maxRule))
	wire.Handle(api, s.PutUserPolicy, on(s, userKind, func(in *sdk.PutUserPolicyInput) *string { return in.UserName }), wire.Members(userRule, policyRule, documentRule))
	wire.Handle(api, s.GetUserPolicy, on(s, userKind, func(in *sdk.GetUserPolicyInput) *string { return in.UserName }), wire.Members(userRule, policyRule))
	wire.Handle(api, s.DeleteUserPolicy, on(s, userKind, func(in *sdk.DeleteUserPolicyInput) *string { return in.UserName }), wire.Members(userRule, policyRule))
	wire.Handle(api, s.ListUserPolicies, on(s, userKind, func(in *sdk.ListUserPoliciesInput) *string { return in.UserName }), wire.Members(userRule, markerRule, maxRule))
}

func (s *Service) putInline(ctx context.Context, k *kind, name, policy, document string) error {
	if _, err := checkDocument(document, authz.IdentityPolicy); err != nil {
		return err
	}
	return s.change(ctx, k, name, func(_ *store.Tx, e *entity) error {
		if e.Inline == nil {
			e.Inline = map[string]string{}
		}
		e.Inline[policy] = document
		n := 0
		for _, d := range e.Inline {
			n += size(d)
		}
		if n > k.inline {
			return overLimit(fmt.Sprintf("Maximum policy size of %d bytes exceeded for %s %s", k.inline, k.word, name))
		}
		return e.own()
	})
}

func (s *Service) inline(k *kind, name, policy string) (string, error) {
	e, err := s.get(k, name)
	if err != nil {
		return "", err
	}
	d, ok := e.Inline[policy]
	if !ok {
		return "", k.noInline(policy)
	}
	return d, nil
}

func (k *kind) noInline(policy string) error {
	return noEntity("The " + k.word + " policy with name " + policy + " cannot be found.")
}

func (s *Service) deleteInline(ctx context.Context, k *kind, name, policy string) error {
	return s.change(ctx, k, name, func(_ *store.Tx, e *entity) error {
		if _, ok := e.Inline[policy]; !ok {
			return k.noInline(policy)
		}
		delete(e.Inline, policy)
		return e.own()
	})
}

func (s *Service) listInline(k *kind, name string, marker *string, size *int32) (page[string], error) {
	e, err := s.get(k, name)
	if err != nil {
		return page[string]{}, err
	}
	return paginate(slices.Sorted(maps.Keys(e.Inline)), self, marker, size)
}

// PutRolePolicy adds an inline policy to a role, or replaces it.
func (s *Service) PutRolePolicy(ctx context.Context, in *sdk.PutRolePolicyInput) (*sdk.PutRolePolicyOutput, error) {
	return &sdk.PutRolePolicyOutput{}, s.putInline(ctx, roleKind, *in.RoleName, *in.PolicyName, *in.PolicyDocument)
}

// GetRolePolicy returns an inline policy of a role.
func (s *Service) GetRolePolicy(_ context.Context, in *sdk.GetRolePolicyInput) (*sdk.GetRolePolicyOutput, error) {
	d, err := s.inline(roleKind, *in.RoleName, *in.PolicyName)
	return &sdk.GetRolePolicyOutput{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: encoded(d)}, err
}

// DeleteRolePolicy deletes an inline policy of a role.
func (s *Service) DeleteRolePolicy(ctx context.Context, in *sdk.DeleteRolePolicyInput) (*sdk.DeleteRolePolicyOutput, error) {
	return &sdk.DeleteRolePolicyOutput{}, s.deleteInline(ctx, roleKind, *in.RoleName, *in.PolicyName)
}

// ListRolePolicies lists the names of a role's inline policies.
func (s *Service) ListRolePolicies(_ context.Context, in *sdk.ListRolePoliciesInput) (*sdk.ListRolePoliciesOutput, error) {
	p, err := s.listInline(roleKind, *in.RoleName, in.Marker, in.MaxItems)
	return &sdk.ListRolePoliciesOutput{PolicyNames: p.items, IsTruncated: p.truncated, Marker: p.marker}, err
}

// PutUserPolicy adds an inline policy to a user, or replaces it.
func (s *Service) PutUserPolicy(ctx context.Context, in *sdk.PutUserPolicyInput) (*sdk.PutUserPolicyOutput, error) {
	return &sdk.PutUserPolicyOutput{}, s.putInline(ctx, userKind, *in.UserName, *in.PolicyName, *in.PolicyDocument)
}

// GetUserPolicy returns an inline policy of a user.
func (s *Service) GetUserPolicy(_ context.Context, in *sdk.GetUserPolicyInput) (*sdk.GetUserPolicyOutput, error) {
	d, err := s.inline(userKind, *in.UserName, *in.PolicyName)
	return &sdk.GetUserPolicyOutput{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: encoded(d)}, err
}

// DeleteUserPolicy deletes an inline policy of a user.
func (s *Service) DeleteUserPolicy(ctx context.Context, in *sdk.DeleteUserPolicyInput) (*sdk.DeleteUserPolicyOutput, error) {
	return &sdk.DeleteUserPolicyOutput{}, s.deleteInline(ctx, userKind, *in.UserName, *in.PolicyName)
}

// ListUserPolicies lists the names of a user's inline policies.
func (s *Service) ListUserPolicies(_ context.Context, in *sdk.ListUserPoliciesInput) (*sdk.ListUserPoliciesOutput, error) {
	p, err := s.listInline(userKind, *in.UserName, in.Marker, in.MaxItems)
	return &sdk.ListUserPoliciesOutput{PolicyNames: p.items, IsTruncated: p.truncated, Marker: p.marker}, err
}
