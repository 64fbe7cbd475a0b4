package iam

import (
	"context"
	"errors"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const account = "111122223333"

var root = authz.Principal{Type: authz.Root, ARN: "arn:aws:iam::" + account + ":root", ID: account, Account: account}

// rig is the service behind a mux that enforces policies.
type rig struct {
	*Service
	mux *wire.Mux
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{Service: New(Options{DB: store.Memory(), Account: account}), mux: wire.NewMux(wire.Options{Account: account})}
	r.Register(r.mux, nil)
	e := &authz.Engine{Account: account, Identity: r.IdentityPolicies, PrincipalTags: r.PrincipalTags}
	r.mux.Use(func(next wire.Func) wire.Func {
		return func(ctx context.Context, c *wire.Call) (any, error) {
			if err := e.Authorize(ctx, c.Principal, authz.Common{Region: c.Region}, c.Access); err != nil {
				return nil, err
			}
			return next(ctx, c)
		}
	})
	return r
}

func as[Out any](t *testing.T, r *rig, who authz.Principal, in any) (*Out, error) {
	return wire.Do[Out](t.Context(), r.mux, wire.As{Principal: who, Region: "us-east-1"}, in)
}

// do makes a call as the root user.
func do[Out any](t *testing.T, r *rig, in any) *Out {
	t.Helper()
	out, err := as[Out](t, r, root, in)
	if err != nil {
		t.Fatalf("%T: %v", in, err)
	}
	return out
}

// refuses expects a call to fail with a code and a message that contains the text.
func refuses(t *testing.T, r *rig, who authz.Principal, in any, code, message string) {
	t.Helper()
	_, err := r.mux.Call(t.Context(), wire.As{Principal: who, Region: "us-east-1"}, in)
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("%T: got %v, want %s: %s", in, err, code, message)
	}
}

const (
	lambdaTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	allowSQS    = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sqs:*","Resource":"*"}]}`
	allowS3     = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
)

func newRole(t *testing.T, r *rig, name string) {
	t.Helper()
	do[sdk.CreateRoleOutput](t, r, &sdk.CreateRoleInput{RoleName: &name, Path: new("/app/"), AssumeRolePolicyDocument: new(lambdaTrust)})
}

func newUser(t *testing.T, r *rig, name string) authz.Principal {
	t.Helper()
	u := do[sdk.CreateUserOutput](t, r, &sdk.CreateUserInput{UserName: &name}).User
	return authz.Principal{Type: authz.User, ARN: *u.Arn, ID: *u.UserId, Account: account}
}

// session is a session of a role of newRole.
func session(t *testing.T, r *rig, name string) authz.Principal {
	t.Helper()
	e, err := r.get(roleKind, name)
	if err != nil {
		t.Fatal(err)
	}
	return authz.Principal{Type: authz.AssumedRole, RoleARN: r.arn(roleKind, &e), ID: e.ID + ":s", Account: account, ARN: "arn:aws:sts::" + account + ":assumed-role/" + name + "/s"}
}
