package kms

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const (
	account = "111122223333"
	region  = "us-east-1"
)

var (
	root = authz.Principal{Type: authz.Root, ARN: "arn:aws:iam::" + account + ":root", ID: account, Account: account}
	role = authz.Principal{
		Type: authz.AssumedRole, Account: account, RoleARN: "arn:aws:iam::" + account + ":role/reader",
		ARN: "arn:aws:sts::" + account + ":assumed-role/reader/s", ID: "AROAX:s",
	}
)

// rig is the service behind a mux that enforces policies.
type rig struct {
	*Service
	mux      *wire.Mux
	queue    *event.Queue
	identity []string // policies of everybody but root
}

func newRig(t testing.TB, db store.DB) *rig {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	r := &rig{queue: event.NewQueue(db, log), mux: wire.NewMux(wire.Options{Account: account})}
	r.Service = New(Options{DB: db, Tasks: r.queue, Log: log, Account: account, Master: []byte(strings.Repeat("m", 32))})
	r.Register(r.mux, r.queue)
	e := &authz.Engine{
		Account: account, Resource: r.ResourcePolicy, Grants: r.Granted,
		Identity: func(context.Context, authz.Principal) ([]string, string, error) { return r.identity, "", nil },
	}
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

// do makes a call as the root user.
func do[Out any](t *testing.T, r *rig, in any) *Out {
	t.Helper()
	out, err := as[Out](t, r, root, in)
	if err != nil {
		t.Fatalf("%T: %v", in, err)
	}
	return out
}

func as[Out any](t *testing.T, r *rig, who authz.Principal, in any) (*Out, error) {
	return wire.Do[Out](t.Context(), r.mux, wire.As{Principal: who, Region: region}, in)
}

// refuses expects a call to fail with an error whose code and message contain the texts.
func refuses(t *testing.T, r *rig, who authz.Principal, in any, code, message string) {
	t.Helper()
	_, err := r.mux.Call(t.Context(), wire.As{Principal: who, Region: region}, in)
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("%T: got %v, want %s: %s", in, err, code, message)
	}
}

// newKeyID makes a key, with a policy or the default.
func newKeyID(t *testing.T, r *rig, policy string) string {
	t.Helper()
	in := &sdk.CreateKeyInput{}
	if policy != "" {
		in.Policy = &policy
	}
	return *do[sdk.CreateKeyOutput](t, r, in).KeyMetadata.KeyId
}

func encrypt(t *testing.T, r *rig, key, text string, ec map[string]string) []byte {
	t.Helper()
	return do[sdk.EncryptOutput](t, r, &sdk.EncryptInput{KeyId: &key, Plaintext: []byte(text), EncryptionContext: ec}).CiphertextBlob
}

func decrypt(t *testing.T, r *rig, blob []byte, ec map[string]string) string {
	t.Helper()
	return string(do[sdk.DecryptOutput](t, r, &sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec}).Plaintext)
}

func asRoot() wire.As { return wire.As{Principal: root, Region: region} }
