package iam

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxKeys = 2 // of a user

// A keyRow is an access key. Its secret is needed to verify signatures, so it
// is kept as it is, in the store that is sealed as a whole.
type keyRow struct {
	ID      string    `json:"id"`
	User    string    `json:"user"`
	Secret  string    `json:"secret"`
	Active  bool      `json:"active"`
	Created time.Time `json:"created"`
}

func (s *Service) registerKeys(api *wire.API) {
	const keyRule = `AccessKeyId! 16..128 [\w]+`
	wire.Handle(api, s.CreateAccessKey, on(s, userKind, func(in *sdk.CreateAccessKeyInput) *string { return in.UserName }), wire.Members(someUserRule))
	wire.Handle(api, s.ListAccessKeys, on(s, userKind, func(in *sdk.ListAccessKeysInput) *string { return in.UserName }), wire.Members(someUserRule, markerRule, maxRule))
	wire.Handle(api, s.UpdateAccessKey, on(s, userKind, func(in *sdk.UpdateAccessKeyInput) *string { return in.UserName }),
		wire.Members(someUserRule, keyRule, "Status! Active|Inactive"))
	wire.Handle(api, s.DeleteAccessKey, on(s, userKind, func(in *sdk.DeleteAccessKeyInput) *string { return in.UserName }), wire.Members(someUserRule, keyRule))
}

func keysOf(tx *store.Tx, user string) (mine []keyRow, err error) {
	for r, err := range keyRows.Range(tx, "", "") {
		if err != nil {
			return nil, err
		}
		if r.Value.User == user {
			mine = append(mine, r.Value)
		}
	}
	return mine, nil
}

func status(active bool) types.StatusType {
	if active {
		return types.StatusTypeActive
	}
	return types.StatusTypeInactive
}

// CreateAccessKey makes an access key; its secret is told only now.
func (s *Service) CreateAccessKey(ctx context.Context, in *sdk.CreateAccessKeyInput) (*sdk.CreateAccessKeyOutput, error) {
	user, err := named(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 30)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	k := keyRow{ID: newID("AKIA")[:20], User: user, Secret: base64.StdEncoding.EncodeToString(b), Active: true, Created: now()}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := userKind.get(tx, user); err != nil {
			return err
		}
		mine, err := keysOf(tx, user)
		if err != nil {
			return err
		}
		if len(mine) >= maxKeys {
			return overLimit("Cannot exceed quota for AccessKeysPerUser: 2")
		}
		tx.OnCommit(s.forget)
		if d := s.Settle.Of(latency.AccessKey); d > 0 {
			tx.OnCommit(func() { s.pastKeys.Changed(k.ID, nil, d) })
		}
		return keyRows.Put(tx, k.ID, k)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.CreateAccessKeyOutput{AccessKey: &types.AccessKey{
		UserName: &user, AccessKeyId: &k.ID, SecretAccessKey: &k.Secret, Status: status(true), CreateDate: &k.Created,
	}}, nil
}

// ListAccessKeys lists a user's access keys.
func (s *Service) ListAccessKeys(ctx context.Context, in *sdk.ListAccessKeysInput) (*sdk.ListAccessKeysOutput, error) {
	user, err := named(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	var mine []keyRow
	err = s.DB.View(func(tx *store.Tx) error {
		if _, err := userKind.get(tx, user); err != nil {
			return err
		}
		mine, err = keysOf(tx, user)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(mine, func(a, b keyRow) int { return strings.Compare(a.ID, b.ID) })
	p, err := paginate(mine, func(k keyRow) string { return k.ID }, in.Marker, in.MaxItems)
	out := &sdk.ListAccessKeysOutput{AccessKeyMetadata: []types.AccessKeyMetadata{}, IsTruncated: p.truncated, Marker: p.marker}
	for _, k := range p.items {
		out.AccessKeyMetadata = append(out.AccessKeyMetadata, types.AccessKeyMetadata{UserName: &user, AccessKeyId: &k.ID, Status: status(k.Active), CreateDate: &k.Created})
	}
	return out, err
}

func (s *Service) changeKey(ctx context.Context, name, id *string, edit func(*store.Tx, keyRow) error) error {
	user, err := named(ctx, name)
	if err != nil {
		return err
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := userKind.get(tx, user); err != nil {
			return err
		}
		k, ok, err := keyRows.Get(tx, *id)
		if err == nil && (!ok || k.User != user) {
			err = noEntity("The Access Key with id " + *id + " cannot be found.")
		}
		if err != nil {
			return err
		}
		tx.OnCommit(s.forget)
		return edit(tx, k)
	})
}

// UpdateAccessKey makes an access key valid or invalid.
func (s *Service) UpdateAccessKey(ctx context.Context, in *sdk.UpdateAccessKeyInput) (*sdk.UpdateAccessKeyOutput, error) {
	return &sdk.UpdateAccessKeyOutput{}, s.changeKey(ctx, in.UserName, in.AccessKeyId, func(tx *store.Tx, k keyRow) error {
		k.Active = in.Status == types.StatusTypeActive
		return keyRows.Put(tx, k.ID, k)
	})
}

// DeleteAccessKey deletes an access key.
func (s *Service) DeleteAccessKey(ctx context.Context, in *sdk.DeleteAccessKeyInput) (*sdk.DeleteAccessKeyOutput, error) {
	return &sdk.DeleteAccessKeyOutput{}, s.changeKey(ctx, in.UserName, in.AccessKeyId, func(tx *store.Tx, k keyRow) error {
		return keyRows.Delete(tx, k.ID)
	})
}
