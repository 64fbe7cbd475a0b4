package kms

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const keyIDRule = "KeyId! 1..2048"

func (s *Service) registerKeys(api *wire.API) {
	wire.Handle(api, s.CreateKey, wire.Needs(s.createAccess), wire.Members(
		"Description 0..8192", "Policy 1..131072", "Tags 0..200", "Tags[].TagKey! 1..128", "Tags[].TagValue! 0..256",
		"KeyUsage SIGN_VERIFY|ENCRYPT_DECRYPT|GENERATE_VERIFY_MAC|KEY_AGREEMENT", "Origin AWS_KMS|EXTERNAL|AWS_CLOUDHSM|EXTERNAL_KEY_STORE"))
	wire.Handle(api, s.DescribeKey, on(s, func(in *sdk.DescribeKeyInput) *string { return in.KeyId }), wire.Members(keyIDRule))
	wire.Handle(api, s.ListKeys, wire.Members("Limit 1..1000", "Marker 1..1024"))
	wire.Handle(api, s.EnableKey, on(s, func(in *sdk.EnableKeyInput) *string { return in.KeyId }), wire.Members(keyIDRule))
	wire.Handle(api, s.DisableKey, on(s, func(in *sdk.DisableKeyInput) *string { return in.KeyId }), wire.Members(keyIDRule))
	wire.Handle(api, s.UpdateKeyDescription, on(s, func(in *sdk.UpdateKeyDescriptionInput) *string { return in.KeyId }),
		wire.Members(keyIDRule, "Description! 0..8192"))
	wire.Handle(api, s.ScheduleKeyDeletion, on(s, func(in *sdk.ScheduleKeyDeletionInput) *string { return in.KeyId },
		func(in *sdk.ScheduleKeyDeletionInput, keys map[string][]string) {
			keys["kms:ScheduleKeyDeletionPendingWindowInDays"] = []string{strconv.Itoa(int(window(in)))}
		}), wire.Members(keyIDRule, "PendingWindowInDays 1..365"))
	wire.Handle(api, s.CancelKeyDeletion, on(s, func(in *sdk.CancelKeyDeletionInput) *string { return in.KeyId }), wire.Members(keyIDRule))
}

func (s *Service) createAccess(c *wire.Call, in *sdk.CreateKeyInput) []authz.Access {
	keys := s.caller(c)
	keys["kms:KeySpec"] = []string{string(cmp.Or(in.KeySpec, types.KeySpecSymmetricDefault))}
	keys["kms:KeyUsage"] = []string{string(cmp.Or(in.KeyUsage, types.KeyUsageTypeEncryptDecrypt))}
	keys["kms:KeyOrigin"] = []string{string(cmp.Or(in.Origin, types.OriginTypeAwsKms))}
	keys["kms:MultiRegion"] = boolKey(in.MultiRegion != nil && *in.MultiRegion)
	keys["kms:BypassPolicyLockoutSafetyCheck"] = boolKey(in.BypassPolicyLockoutSafetyCheck)
	tagKeys(keys, in.Tags)
	all := []authz.Access{{Action: "kms:CreateKey", Resource: "*", Context: keys}}
	if len(in.Tags) > 0 {
		// The key has no ARN yet: denials of this name no resource.
		all = append(all, authz.Access{Action: "kms:TagResource", Context: keys})
	}
	return all
}

// CreateKey makes a symmetric key.
func (s *Service) CreateKey(ctx context.Context, in *sdk.CreateKeyInput) (*sdk.CreateKeyOutput, error) {
	c := wire.CallOf(ctx)
	if err := supported(in); err != nil {
		return nil, err
	}
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	policy := deref(in.Policy)
	if in.Policy == nil {
		policy = defaultPolicy(s.Account)
	} else if err := s.checkPolicy(ctx, policy, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	row, err := s.newKey(c.Region, time.Now())
	if err != nil {
		return nil, err
	}
	row.Description, row.Policy, row.Tags = deref(in.Description), policy, tags
	if err := s.DB.Update(ctx, func(tx *store.Tx) error { return s.put(tx, row) }); err != nil {
		return nil, err
	}
	return &sdk.CreateKeyOutput{KeyMetadata: s.metadata(row)}, nil
}

// supported refuses what the service does not offer: everything but
// symmetric keys of its own making, in one region.
func supported(in *sdk.CreateKeyInput) error {
	spec := cmp.Or(in.KeySpec, types.KeySpec(in.CustomerMasterKeySpec), types.KeySpecSymmetricDefault)
	known := false
	for _, k := range spec.Values() {
		known = known || k == spec
	}
	switch {
	case in.KeySpec != "" && in.CustomerMasterKeySpec != "":
		return invalid("You cannot specify KeySpec and CustomerMasterKeySpec in the same request. CustomerMasterKeySpec is deprecated.")
	case !known:
		return invalid("1 validation error detected: Value '" + string(spec) + "' at 'keySpec' failed to satisfy constraint: Member must satisfy enum value set: [RSA_2048, ECC_NIST_P384, ECC_NIST_P256, ECC_NIST_P521, HMAC_384, RSA_3072, ECC_SECG_P256K1, RSA_4096, SYMMETRIC_DEFAULT, HMAC_256, HMAC_224, HMAC_512]")
	case spec != types.KeySpecSymmetricDefault && in.KeyUsage == "":
		return invalid("You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.")
	case spec == types.KeySpecSymmetricDefault && in.KeyUsage != "" && in.KeyUsage != types.KeyUsageTypeEncryptDecrypt:
		return invalid("KeyUsage " + string(in.KeyUsage) + " is not compatible with KeySpec " + string(spec))
	case spec != types.KeySpecSymmetricDefault:
		return unsupported("KeySpec " + string(spec) + " is not supported: this cloud makes symmetric encryption keys only")
	case in.Origin != "" && in.Origin != types.OriginTypeAwsKms, in.CustomKeyStoreId != nil, in.XksKeyId != nil:
		return unsupported("Origin " + string(in.Origin) + " is not supported: this cloud makes all key material itself")
	case in.MultiRegion != nil && *in.MultiRegion:
		return unsupported("Multi-Region keys are not supported")
	}
	return nil
}

// newKey makes an enabled key with fresh material.
func (s *Service) newKey(region string, now time.Time) (keyRow, error) {
	row := keyRow{ID: uuid.NewString(), Region: region, Created: now, State: string(types.KeyStateEnabled)}
	return row, s.addMaterial(&row, now, false)
}

// addMaterial gives a key new material, which encrypts from now on; what the
// older encrypted stays readable.
func (s *Service) addMaterial(row *keyRow, now time.Time, onDemand bool) error {
	secret := make([]byte, 32)
	id := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails: crypto/rand ends the process instead
	_, _ = rand.Read(id)
	m := material{ID: hex.EncodeToString(id), Created: now, OnDemand: onDemand}
	m.Wrapped = s.wrap.Seal(nil, nil, secret, []byte(s.arn(row.Region, row.ID)+"/"+m.ID))
	row.Materials = append(slices.Clip(row.Materials), m)
	return nil
}

func (s *Service) metadata(row keyRow) *types.KeyMetadata {
	k := key{keyRow: row}
	m := &types.KeyMetadata{
		AWSAccountId: &s.Account, KeyId: &row.ID, Arn: new(s.arn(row.Region, row.ID)), CreationDate: &row.Created,
		Description: &row.Description, Enabled: row.State == string(types.KeyStateEnabled), KeyState: types.KeyState(row.State),
		KeyManager: k.manager(), KeySpec: types.KeySpecSymmetricDefault, CustomerMasterKeySpec: types.CustomerMasterKeySpecSymmetricDefault,
		KeyUsage: types.KeyUsageTypeEncryptDecrypt, Origin: types.OriginTypeAwsKms, MultiRegion: new(false),
		EncryptionAlgorithms: []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecSymmetricDefault},
		CurrentKeyMaterialId: &row.Materials[len(row.Materials)-1].ID,
	}
	if !row.Deletion.IsZero() {
		m.DeletionDate = &row.Deletion
	}
	return m
}

// DescribeKey tells everything about a key but its policy and grants.
func (s *Service) DescribeKey(ctx context.Context, in *sdk.DescribeKeyInput) (*sdk.DescribeKeyOutput, error) {
	k, err := s.find(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	return &sdk.DescribeKeyOutput{KeyMetadata: s.metadata(k.keyRow)}, nil
}

// ListKeys lists the keys of the region.
func (s *Service) ListKeys(ctx context.Context, in *sdk.ListKeysInput) (*sdk.ListKeysOutput, error) {
	out := &sdk.ListKeysOutput{Keys: []types.KeyListEntry{}}
	region := regionOf(ctx)
	next, err := list(s.DB, keyRows, region+"/", in.Marker, in.Limit, 100, func(r store.Row[keyRow]) bool {
		out.Keys = append(out.Keys, types.KeyListEntry{KeyId: &r.Value.ID, KeyArn: new(s.arn(region, r.Value.ID))})
		return true
	})
	out.NextMarker, out.Truncated = next, next != nil
	return out, err
}

// EnableKey makes a disabled key usable.
func (s *Service) EnableKey(ctx context.Context, in *sdk.EnableKeyInput) (*sdk.EnableKeyOutput, error) {
	return &sdk.EnableKeyOutput{}, s.setState(ctx, in.KeyId, types.KeyStateEnabled)
}

// DisableKey keeps a key from being used; what it encrypted cannot be read until it is enabled.
func (s *Service) DisableKey(ctx context.Context, in *sdk.DisableKeyInput) (*sdk.DisableKeyOutput, error) {
	return &sdk.DisableKeyOutput{}, s.setState(ctx, in.KeyId, types.KeyStateDisabled)
}

func (s *Service) setState(ctx context.Context, name *string, state types.KeyState) error {
	k, err := s.findOnly(regionOf(ctx), name)
	if err != nil {
		return err
	}
	return s.change(ctx, k, func(_ *store.Tx, row *keyRow) error {
		if err := (&key{keyRow: *row, arn: k.arn}).alive(); err != nil {
			return err
		}
		row.State = string(state)
		return nil
	})
}

// UpdateKeyDescription changes the text that describes a key.
func (s *Service) UpdateKeyDescription(ctx context.Context, in *sdk.UpdateKeyDescriptionInput) (*sdk.UpdateKeyDescriptionOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	return &sdk.UpdateKeyDescriptionOutput{}, s.change(ctx, k, func(_ *store.Tx, row *keyRow) error {
		row.Description = *in.Description
		return (&key{keyRow: *row, arn: k.arn}).alive()
	})
}

func window(in *sdk.ScheduleKeyDeletionInput) int32 {
	if in.PendingWindowInDays == nil {
		return 30
	}
	return *in.PendingWindowInDays
}

// ScheduleKeyDeletion makes a key unusable at once and deletes it, and all
// hope of reading what it encrypted, after 7 to 30 days.
func (s *Service) ScheduleKeyDeletion(ctx context.Context, in *sdk.ScheduleKeyDeletionInput) (*sdk.ScheduleKeyDeletionOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	days := window(in)
	if days < 7 || days > 30 {
		return nil, invalid("PendingWindowInDays must be between 7 and 30 inclusive") // the model's own bounds are wider
	}
	due := time.Now().AddDate(0, 0, int(days))
	err = s.change(ctx, k, func(tx *store.Tx, row *keyRow) error {
		if err := (&key{keyRow: *row, arn: k.arn}).alive(); err != nil {
			return err
		}
		row.State, row.Deletion, row.Window = string(types.KeyStatePendingDeletion), due, days
		return s.Tasks.Send(tx, event.Task{Kind: deleteTask, ID: row.Region + "/" + row.ID, Due: due})
	})
	if err != nil {
		return nil, err
	}
	return &sdk.ScheduleKeyDeletionOutput{
		KeyId: &k.arn, DeletionDate: &due, KeyState: types.KeyStatePendingDeletion, PendingWindowInDays: &days,
	}, nil
}

// CancelKeyDeletion keeps a key that was to be deleted. It is disabled then.
func (s *Service) CancelKeyDeletion(ctx context.Context, in *sdk.CancelKeyDeletionInput) (*sdk.CancelKeyDeletionOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, k, func(tx *store.Tx, row *keyRow) error {
		if row.State != string(types.KeyStatePendingDeletion) {
			return badState(k.arn + " is not pending deletion.")
		}
		row.State, row.Deletion, row.Window = string(types.KeyStateDisabled), time.Time{}, 0
		return s.Tasks.Finish(tx, deleteTask, row.Region+"/"+row.ID)
	})
	return &sdk.CancelKeyDeletionOutput{KeyId: &k.arn}, err
}

// deleteDue deletes a key whose waiting period is over, with its aliases and grants.
func (s *Service) deleteDue(ctx context.Context, t event.Task) event.Result {
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		row, ok, err := keyRows.Get(tx, t.ID)
		if err != nil || !ok || row.State != string(types.KeyStatePendingDeletion) {
			return err
		}
		if err := s.dropDependents(tx, row); err != nil {
			return err
		}
		tx.OnCommit(s.keys.Forget)
		return keyRows.Delete(tx, t.ID)
	})
	if err != nil {
		s.Log.Error("cannot delete key", "key", t.ID, "error", err)
		return event.Retry(time.Minute)
	}
	return event.Done()
}

func (s *Service) dropDependents(tx *store.Tx, row keyRow) error {
	var aliases, grants []string
	for a, err := range aliasRows.Prefix(tx, row.Region+"/") {
		if err != nil {
			return err
		}
		if a.Value.Key == row.ID {
			aliases = append(aliases, a.Key)
		}
	}
	for g, err := range grantRows.Prefix(tx, row.Region+"/"+row.ID+"/") {
		if err != nil {
			return err
		}
		grants = append(grants, g.Key)
	}
	for _, k := range aliases {
		if err := aliasRows.Delete(tx, k); err != nil {
			return err
		}
	}
	for _, k := range grants {
		if err := grantRows.Delete(tx, k); err != nil {
			return err
		}
	}
	tx.OnCommit(s.alias.Forget)
	tx.OnCommit(s.grants.Forget)
	return s.Tasks.Finish(tx, rotateTask, row.Region+"/"+row.ID)
}
