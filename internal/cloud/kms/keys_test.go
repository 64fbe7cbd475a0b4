package kms

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/store"
)

func TestStatesOfAKey(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, "")
	arn := r.arn(region, id)
	blob := encrypt(t, r, id, "secret", nil)

	do[sdk.DisableKeyOutput](t, r, &sdk.DisableKeyInput{KeyId: &id})
	refuses(t, r, root, &sdk.DecryptInput{CiphertextBlob: blob}, "DisabledException", arn+" is disabled.")
	refuses(t, r, root, &sdk.EnableKeyRotationInput{KeyId: &id}, "DisabledException", arn)
	do[sdk.EnableKeyOutput](t, r, &sdk.EnableKeyInput{KeyId: &id})
	if decrypt(t, r, blob, nil) != "secret" {
		t.Error("enabling does not heal")
	}

	out := do[sdk.ScheduleKeyDeletionOutput](t, r, &sdk.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: new(int32(7))})
	if out.KeyState != types.KeyStatePendingDeletion || *out.KeyId != arn {
		t.Errorf("got %+v", out)
	}
	const gone = " is pending deletion."
	for _, in := range []any{
		&sdk.DecryptInput{CiphertextBlob: blob}, &sdk.EnableKeyInput{KeyId: &id}, &sdk.DisableKeyInput{KeyId: &id}, &sdk.EnableKeyRotationInput{KeyId: &id},
		&sdk.TagResourceInput{KeyId: &id, Tags: []types.Tag{}}, &sdk.CreateAliasInput{AliasName: new("alias/x"), TargetKeyId: &id},
		&sdk.ScheduleKeyDeletionInput{KeyId: &id}, &sdk.UpdateKeyDescriptionInput{KeyId: &id, Description: new("")},
	} {
		refuses(t, r, root, in, "KMSInvalidStateException", arn+gone)
	}
	do[sdk.GetKeyPolicyOutput](t, r, &sdk.GetKeyPolicyInput{KeyId: &id})

	do[sdk.CancelKeyDeletionOutput](t, r, &sdk.CancelKeyDeletionInput{KeyId: &id})
	m := do[sdk.DescribeKeyOutput](t, r, &sdk.DescribeKeyInput{KeyId: &id}).KeyMetadata
	if m.KeyState != types.KeyStateDisabled || m.Enabled || m.DeletionDate != nil {
		t.Errorf("a saved key must be disabled: %+v", m)
	}
}

func TestKeyIsDeletedWhenItsTimeHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, store.Memory())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.queue.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		id, kept := newKeyID(t, r, ""), newKeyID(t, r, "")
		do[sdk.CreateAliasOutput](t, r, &sdk.CreateAliasInput{AliasName: new("alias/doomed"), TargetKeyId: &id})
		do[sdk.ScheduleKeyDeletionOutput](t, r, &sdk.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: new(int32(7))})
		do[sdk.ScheduleKeyDeletionOutput](t, r, &sdk.ScheduleKeyDeletionInput{KeyId: &kept, PendingWindowInDays: new(int32(7))})
		do[sdk.CancelKeyDeletionOutput](t, r, &sdk.CancelKeyDeletionInput{KeyId: &kept})

		time.Sleep(7*24*time.Hour - time.Minute)
		do[sdk.DescribeKeyOutput](t, r, &sdk.DescribeKeyInput{KeyId: &id})
		time.Sleep(2 * time.Minute)
		refuses(t, r, root, &sdk.DescribeKeyInput{KeyId: &id}, "NotFoundException", "does not exist")
		refuses(t, r, root, &sdk.DescribeKeyInput{KeyId: new("alias/doomed")}, "NotFoundException", "is not found")
		do[sdk.DescribeKeyOutput](t, r, &sdk.DescribeKeyInput{KeyId: &kept})
	})
}

func TestRotationComesRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, store.Memory())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.queue.Run(ctx) }()
		defer func() { cancel(); <-done }()
		id := newKeyID(t, r, "")
		do[sdk.EnableKeyRotationOutput](t, r, &sdk.EnableKeyRotationInput{KeyId: &id, RotationPeriodInDays: new(int32(90))})
		old := encrypt(t, r, id, "old", nil)
		time.Sleep(181 * 24 * time.Hour)
		list := do[sdk.ListKeyRotationsOutput](t, r, &sdk.ListKeyRotationsInput{KeyId: &id})
		if len(list.Rotations) != 2 || list.Rotations[0].RotationType != types.RotationTypeAutomatic {
			t.Errorf("rotations: %+v", list.Rotations)
		}
		if decrypt(t, r, old, nil) != "old" {
			t.Error("rotation lost what was encrypted before")
		}
		do[sdk.DisableKeyRotationOutput](t, r, &sdk.DisableKeyRotationInput{KeyId: &id})
		time.Sleep(181 * 24 * time.Hour)
		if s := do[sdk.GetKeyRotationStatusOutput](t, r, &sdk.GetKeyRotationStatusInput{KeyId: &id}); s.KeyRotationEnabled || s.NextRotationDate != nil {
			t.Errorf("still rotating: %+v", s)
		}
		if n := len(do[sdk.ListKeyRotationsOutput](t, r, &sdk.ListKeyRotationsInput{KeyId: &id}).Rotations); n != 2 {
			t.Errorf("%d rotations after it was turned off", n)
		}
	})
}

func TestKeysOutliveTheService(t *testing.T) {
	db := store.Memory() // stands for a durable one
	r := newRig(t, db)
	id := newKeyID(t, r, "")
	blob := encrypt(t, r, id, "secret", nil)
	if got := decrypt(t, newRig(t, db), blob, nil); got != "secret" {
		t.Errorf("got %q", got)
	}
}

func TestMaterialIsUselessWithoutTheMasterKey(t *testing.T) {
	db := store.Memory()
	r := newRig(t, db)
	id := newKeyID(t, r, "")
	other := New(Options{DB: db, Account: account, Master: make([]byte, 32)})
	if _, err := other.key(region, id); err == nil {
		t.Error("another master key unwraps the material")
	}
}

func TestAliases(t *testing.T) {
	r := newRig(t, store.Memory())
	a, b := newKeyID(t, r, ""), newKeyID(t, r, "")
	do[sdk.CreateAliasOutput](t, r, &sdk.CreateAliasInput{AliasName: new("alias/data"), TargetKeyId: &a})
	target := func() string {
		return *do[sdk.DescribeKeyOutput](t, r, &sdk.DescribeKeyInput{KeyId: new("alias/data")}).KeyMetadata.KeyId
	}
	if target() != a {
		t.Error("the alias leads elsewhere")
	}
	refuses(t, r, root, &sdk.CreateAliasInput{AliasName: new("alias/data"), TargetKeyId: &b}, "AlreadyExistsException", "An alias with the name arn:aws:kms:us-east-1:111122223333:alias/data already exists")
	do[sdk.UpdateAliasOutput](t, r, &sdk.UpdateAliasInput{AliasName: new("alias/data"), TargetKeyId: &b})
	if target() != b {
		t.Error("the alias was not moved")
	}
	if l := do[sdk.ListAliasesOutput](t, r, &sdk.ListAliasesInput{KeyId: &b}); len(l.Aliases) != 1 || *l.Aliases[0].AliasName != "alias/data" {
		t.Errorf("aliases of the key: %+v", l.Aliases)
	}
	do[sdk.DeleteAliasOutput](t, r, &sdk.DeleteAliasInput{AliasName: new("alias/data")})
	refuses(t, r, root, &sdk.DescribeKeyInput{KeyId: new("alias/data")}, "NotFoundException", "is not found")
	refuses(t, r, root, &sdk.DeleteAliasInput{AliasName: new("alias/data")}, "NotFoundException", "is not found")
	refuses(t, r, root, &sdk.CreateAliasInput{AliasName: new("data"), TargetKeyId: &a}, "ValidationException", `Alias must start with the prefix "alias/"`)
	refuses(t, r, root, &sdk.CreateAliasInput{AliasName: new("alias/aws/x"), TargetKeyId: &a}, "InvalidAliasNameException", "")
	refuses(t, r, root, &sdk.DisableKeyInput{KeyId: new("alias/data")}, "NotFoundException", "Invalid keyId 'alias/data'")
}

func TestPagesLoseNothing(t *testing.T) {
	r := newRig(t, store.Memory())
	want := map[string]bool{}
	for range 7 {
		want[newKeyID(t, r, "")] = true
	}
	var marker *string
	for pages := 0; ; pages++ {
		out := do[sdk.ListKeysOutput](t, r, &sdk.ListKeysInput{Limit: new(int32(3)), Marker: marker})
		for _, k := range out.Keys {
			delete(want, *k.KeyId)
		}
		if marker = out.NextMarker; !out.Truncated {
			if pages != 2 {
				t.Errorf("%d further pages", pages)
			}
			break
		}
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}

func TestKeysManagedByAWS(t *testing.T) {
	r := newRig(t, store.Memory())
	r.identity = []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sqs:*","Resource":"*"}}`}
	name := new("alias/aws/sqs")
	in := &sdk.GenerateDataKeyInput{KeyId: name, KeySpec: types.DataKeySpecAes256}
	if _, err := as[sdk.GenerateDataKeyOutput](t, r, role.On("sqs"), in); err != nil {
		t.Errorf("by way of its service: %v", err)
	}
	refuses(t, r, role.On("sns"), in, "AccessDeniedException", "no resource-based policy allows the kms:GenerateDataKey action")
	refuses(t, r, root, in, "AccessDeniedException", "kms:GenerateDataKey")
	m := do[sdk.DescribeKeyOutput](t, r, &sdk.DescribeKeyInput{KeyId: name}).KeyMetadata
	if m.KeyManager != types.KeyManagerTypeAws {
		t.Errorf("manager %s", m.KeyManager)
	}
	refuses(t, r, root, &sdk.ScheduleKeyDeletionInput{KeyId: m.KeyId}, "AccessDeniedException", "kms:ScheduleKeyDeletion")
}

func TestTagsOfKeys(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, "")
	arn := r.arn(region, id)
	if err := r.SetTags(t.Context(), arn, map[string]string{"a": "1", "b": "2"}, nil); err != nil {
		t.Fatal(err)
	}
	do[sdk.UntagResourceOutput](t, r, &sdk.UntagResourceInput{KeyId: &id, TagKeys: []string{"a"}})
	all, err := r.Tagged(t.Context(), region)
	if want := fmt.Sprint(map[string]map[string]string{arn: {"b": "2"}}); err != nil || fmt.Sprint(all) != want {
		t.Errorf("got %v, %v; want %s", all, err, want)
	}
	var many []types.Tag
	for i := range 50 {
		many = append(many, types.Tag{TagKey: new(fmt.Sprint(i)), TagValue: new("")})
	}
	refuses(t, r, root, &sdk.TagResourceInput{KeyId: &id, Tags: many}, "TagException", "Too many tags")
}
