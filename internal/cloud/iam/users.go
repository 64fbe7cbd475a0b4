package iam

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerUsers(api *wire.API) {
	wire.Handle(api, s.CreateUser, making(s, func(in *sdk.CreateUserInput) string { return "user" + path(in.Path) + *in.UserName },
		func(in *sdk.CreateUserInput) *string { return in.PermissionsBoundary },
		func(in *sdk.CreateUserInput) []types.Tag { return in.Tags }),
		wire.Members(userRule, pathRule, "PermissionsBoundary 20..2048", "Tags 0..50", "Tags[].Key! 1..128", "Tags[].Value! 0..256"))
	wire.Handle(api, s.GetUser, on(s, userKind, func(in *sdk.GetUserInput) *string { return in.UserName }), wire.Members(someUserRule))
	wire.Handle(api, s.ListUsers, under(s, userKind, func(in *sdk.ListUsersInput) *string { return in.PathPrefix }), wire.Members(prefixRule, markerRule, maxRule))
	wire.Handle(api, s.DeleteUser, on(s, userKind, func(in *sdk.DeleteUserInput) *string { return in.UserName }), wire.Members(userRule))
}

// CreateUser makes a user, without any way to sign in yet.
func (s *Service) CreateUser(ctx context.Context, in *sdk.CreateUserInput) (*sdk.CreateUserOutput, error) {
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	e := entity{Name: *in.UserName, Path: path(in.Path), ID: newID(userKind.idPrefix), Created: now(), Boundary: deref(in.PermissionsBoundary), Tags: tags}
	if err := s.create(ctx, userKind, e, func(tx *store.Tx) error { return checkBoundary(tx, e.Boundary) }); err != nil {
		return nil, err
	}
	u := s.user(&e)
	return &sdk.CreateUserOutput{User: &u}, nil
}

func (s *Service) user(e *entity) types.User {
	return types.User{
		Arn: new(s.arn(userKind, e)), UserName: &e.Name, UserId: &e.ID, Path: &e.Path, CreateDate: &e.Created,
		PermissionsBoundary: boundaryOf(e), Tags: tagList(e.Tags),
	}
}

// GetUser describes a user: the caller if none is named.
func (s *Service) GetUser(ctx context.Context, in *sdk.GetUserInput) (*sdk.GetUserOutput, error) {
	who := wire.CallOf(ctx).Principal
	if in.UserName == nil && who.Type == authz.Root {
		created := now()
		return &sdk.GetUserOutput{User: &types.User{Arn: &who.ARN, UserId: &who.Account, CreateDate: &created, Path: new("/"), UserName: new("root")}}, nil
	}
	name, err := named(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	e, err := s.get(userKind, name)
	if err != nil {
		return nil, err
	}
	u := s.user(&e)
	return &sdk.GetUserOutput{User: &u}, nil
}

// named is the user that a request is about: the caller if it names none.
func named(ctx context.Context, name *string) (string, error) {
	if name != nil {
		return *name, nil
	}
	if n := userName(&wire.CallOf(ctx).Principal); n != "" {
		return n, nil
	}
	return "", validation("Must specify userName when calling with non-User credentials")
}

// ListUsers lists users under a path, without their tags and boundaries.
func (s *Service) ListUsers(_ context.Context, in *sdk.ListUsersInput) (*sdk.ListUsersOutput, error) {
	all, err := s.list(userKind, in.PathPrefix)
	if err != nil {
		return nil, err
	}
	p, err := paginate(all, func(e entity) string { return e.Name }, in.Marker, in.MaxItems)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListUsersOutput{Users: []types.User{}, IsTruncated: p.truncated, Marker: p.marker}
	for i := range p.items {
		u := s.user(&p.items[i])
		u.Tags, u.PermissionsBoundary = nil, nil
		out.Users = append(out.Users, u)
	}
	return out, nil
}

// DeleteUser deletes a user without policies and access keys.
func (s *Service) DeleteUser(ctx context.Context, in *sdk.DeleteUserInput) (*sdk.DeleteUserOutput, error) {
	return &sdk.DeleteUserOutput{}, s.remove(ctx, userKind, *in.UserName, func(tx *store.Tx) error {
		mine, err := keysOf(tx, *in.UserName)
		if err == nil && len(mine) > 0 {
			err = conflict("Cannot delete entity, must delete access keys first.")
		}
		return err
	})
}
