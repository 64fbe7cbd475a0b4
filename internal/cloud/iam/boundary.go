package iam

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerBoundaries(api *wire.API) {
	const boundary = "PermissionsBoundary! 20..2048"
	wire.Handle(api, s.PutRolePermissionsBoundary, on(s, roleKind, func(in *sdk.PutRolePermissionsBoundaryInput) *string { return in.RoleName },
		func(in *sdk.PutRolePermissionsBoundaryInput, keys map[string][]string) {
			keys["iam:PermissionsBoundary"] = []string{*in.PermissionsBoundary}
		}), wire.Members(roleRule, boundary))
	wire.Handle(api, s.DeleteRolePermissionsBoundary, on(s, roleKind, func(in *sdk.DeleteRolePermissionsBoundaryInput) *string { return in.RoleName }), wire.Members(roleRule))
	wire.Handle(api, s.PutUserPermissionsBoundary, on(s, userKind, func(in *sdk.PutUserPermissionsBoundaryInput) *string { return in.UserName },
		func(in *sdk.PutUserPermissionsBoundaryInput, keys map[string][]string) {
			keys["iam:PermissionsBoundary"] = []string{*in.PermissionsBoundary}
		}), wire.Members(userRule, boundary))
	wire.Handle(api, s.DeleteUserPermissionsBoundary, on(s, userKind, func(in *sdk.DeleteUserPermissionsBoundaryInput) *string { return in.UserName }), wire.Members(userRule))
}

// checkBoundary refuses a boundary that does not exist; "" is none.
func checkBoundary(tx *store.Tx, arn string) error {
	if arn == "" {
		return nil
	}
	_, ok, err := policyOf(tx, arn)
	if err == nil && !ok {
		err = noEntity("Scope ARN: " + arn + " does not exist or is not attachable.")
	}
	return err
}

func (s *Service) setBoundary(ctx context.Context, k *kind, name, arn string) error {
	return s.change(ctx, k, name, func(tx *store.Tx, e *entity) error {
		if arn == "" && e.Boundary == "" {
			return noEntity("The " + k.word + " " + name + " has no permissions boundary.")
		}
		e.Boundary = arn
		return cmpErr(checkBoundary(tx, arn), e.own())
	})
}

// cmpErr is the first of two errors that there is.
func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// PutRolePermissionsBoundary bounds what a role can ever do.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, in *sdk.PutRolePermissionsBoundaryInput) (*sdk.PutRolePermissionsBoundaryOutput, error) {
	return &sdk.PutRolePermissionsBoundaryOutput{}, s.setBoundary(ctx, roleKind, *in.RoleName, *in.PermissionsBoundary)
}

// DeleteRolePermissionsBoundary takes a role's boundary away.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, in *sdk.DeleteRolePermissionsBoundaryInput) (*sdk.DeleteRolePermissionsBoundaryOutput, error) {
	return &sdk.DeleteRolePermissionsBoundaryOutput{}, s.setBoundary(ctx, roleKind, *in.RoleName, "")
}

// PutUserPermissionsBoundary bounds what a user can ever do.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, in *sdk.PutUserPermissionsBoundaryInput) (*sdk.PutUserPermissionsBoundaryOutput, error) {
	return &sdk.PutUserPermissionsBoundaryOutput{}, s.setBoundary(ctx, userKind, *in.UserName, *in.PermissionsBoundary)
}

// DeleteUserPermissionsBoundary takes a user's boundary away.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, in *sdk.DeleteUserPermissionsBoundaryInput) (*sdk.DeleteUserPermissionsBoundaryOutput, error) {
	return &sdk.DeleteUserPermissionsBoundaryOutput{}, s.setBoundary(ctx, userKind, *in.UserName, "")
}
