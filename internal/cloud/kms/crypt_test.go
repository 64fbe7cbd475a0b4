package kms

import (
	"bytes"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"pgregory.net/rapid"

	"miniforge/internal/cloud/store"
)

func TestEncryptionContextIsBound(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, "")
	ec := map[string]string{"aws:sqs:arn": "q", "b": "c"}
	blob := encrypt(t, r, id, "secret", ec)
	if bytes.Contains(blob, []byte("secret")) {
		t.Error("the ciphertext shows the plaintext")
	}
	if got := decrypt(t, r, blob, ec); got != "secret" {
		t.Errorf("got %q", got)
	}
	for name, other := range map[string]map[string]string{
		"none": nil, "less": {"b": "c"}, "another value": {"aws:sqs:arn": "q", "b": "d"}, "shifted": {"aws:sqs:arn": "qb", "": "c"},
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, r, root, &sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: other}, "InvalidCiphertextException", "")
		})
	}
}

func TestChangedCiphertextsAreRefused(t *testing.T) {
	r := newRig(t, store.Memory())
	blob := encrypt(t, r, newKeyID(t, r, ""), "secret", nil)
	for i := range blob {
		bad := bytes.Clone(blob)
		bad[i] ^= 1
		refuses(t, r, root, &sdk.DecryptInput{CiphertextBlob: bad}, "InvalidCiphertextException", "")
	}
	for n := 1; n < len(blob); n++ {
		refuses(t, r, root, &sdk.DecryptInput{CiphertextBlob: blob[:n]}, "InvalidCiphertextException", "")
	}
}

func TestAnyPlaintextComesBack(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, "")
	rapid.Check(t, func(rt *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(rt, "plaintext")
		ec := rapid.MapOfN(rapid.String(), rapid.String(), 0, 4).Draw(rt, "context")
		blob := encrypt(t, r, id, string(plain), ec)
		if got := decrypt(t, r, blob, ec); got != string(plain) {
			rt.Fatalf("got %q, want %q", got, plain)
		}
	})
}

func TestDataKeys(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, "")
	for _, c := range []struct {
		in   sdk.GenerateDataKeyInput
		want int
	}{
		{sdk.GenerateDataKeyInput{KeySpec: types.DataKeySpecAes256}, 32},
		{sdk.GenerateDataKeyInput{KeySpec: types.DataKeySpecAes128}, 16},
		{sdk.GenerateDataKeyInput{NumberOfBytes: new(int32(64))}, 64},
	} {
		c.in.KeyId = &id
		out := do[sdk.GenerateDataKeyOutput](t, r, &c.in)
		if len(out.Plaintext) != c.want || decrypt(t, r, out.CiphertextBlob, nil) != string(out.Plaintext) {
			t.Errorf("%+v: %d bytes, or not what Decrypt gives", c.in, len(out.Plaintext))
		}
		if !strings.HasSuffix(*out.KeyId, ":key/"+id) {
			t.Errorf("KeyId %s is no ARN of the key", *out.KeyId)
		}
	}
	hidden := do[sdk.GenerateDataKeyWithoutPlaintextOutput](t, r, &sdk.GenerateDataKeyWithoutPlaintextInput{KeyId: &id, KeySpec: types.DataKeySpecAes256})
	if n := len(decrypt(t, r, hidden.CiphertextBlob, nil)); n != 32 {
		t.Errorf("hidden key of %d bytes", n)
	}
}

func TestReEncryptChangesKeyAndContext(t *testing.T) {
	r := newRig(t, store.Memory())
	a, b := newKeyID(t, r, ""), newKeyID(t, r, "")
	from, to := map[string]string{"x": "1"}, map[string]string{"x": "2"}
	out := do[sdk.ReEncryptOutput](t, r, &sdk.ReEncryptInput{
		CiphertextBlob: encrypt(t, r, a, "secret", from), SourceEncryptionContext: from, DestinationKeyId: &b, DestinationEncryptionContext: to,
	})
	if got := decrypt(t, r, out.CiphertextBlob, to); got != "secret" || !strings.HasSuffix(*out.KeyId, b) || !strings.HasSuffix(*out.SourceKeyId, a) {
		t.Errorf("got %q under %s", got, *out.KeyId)
	}
}

func TestRotationKeepsOldCiphertextsReadable(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, "")
	old := encrypt(t, r, id, "old", nil)
	before := *do[sdk.DescribeKeyOutput](t, r, &sdk.DescribeKeyInput{KeyId: &id}).KeyMetadata.CurrentKeyMaterialId
	do[sdk.RotateKeyOnDemandOutput](t, r, &sdk.RotateKeyOnDemandInput{KeyId: &id})
	renewed := encrypt(t, r, id, "new", nil)
	if decrypt(t, r, old, nil) != "old" || decrypt(t, r, renewed, nil) != "new" {
		t.Error("a ciphertext cannot be read after rotation")
	}
	out := do[sdk.DecryptOutput](t, r, &sdk.DecryptInput{CiphertextBlob: old})
	if *out.KeyMaterialId != before {
		t.Errorf("the old ciphertext is of material %s, want %s", *out.KeyMaterialId, before)
	}
	list := do[sdk.ListKeyRotationsOutput](t, r, &sdk.ListKeyRotationsInput{KeyId: &id})
	if len(list.Rotations) != 1 || list.Rotations[0].RotationType != types.RotationTypeOnDemand {
		t.Errorf("rotations: %+v", list.Rotations)
	}
}

func TestBadInput(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, "")
	other := newKeyID(t, r, "")
	blob := encrypt(t, r, id, "x", nil)
	for name, c := range map[string]struct {
		in            any
		code, message string
	}{
		"no plaintext":         {&sdk.EncryptInput{KeyId: &id}, "ValidationException", "Value null at 'plaintext'"},
		"empty plaintext":      {&sdk.EncryptInput{KeyId: &id, Plaintext: []byte{}}, "ValidationException", "length greater than or equal to 1"},
		"long plaintext":       {&sdk.EncryptInput{KeyId: &id, Plaintext: make([]byte, 4097)}, "ValidationException", "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096"},
		"unknown key":          {&sdk.EncryptInput{KeyId: new("00000000-0000-0000-0000-000000000000"), Plaintext: []byte("x")}, "NotFoundException", "Key 'arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000' does not exist"},
		"no key id":            {&sdk.EncryptInput{KeyId: new("fake-key-id"), Plaintext: []byte("x")}, "NotFoundException", "Invalid keyId 'fake-key-id'"},
		"unknown alias":        {&sdk.EncryptInput{KeyId: new("alias/none"), Plaintext: []byte("x")}, "NotFoundException", "Alias arn:aws:kms:us-east-1:111122223333:alias/none is not found."},
		"key of a region":      {&sdk.EncryptInput{KeyId: new("arn:aws:kms:eu-west-1:111122223333:key/" + id), Plaintext: []byte("x")}, "NotFoundException", "Invalid arn eu-west-1"},
		"wrong algorithm":      {&sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x"), EncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha1}, "InvalidKeyUsageException", ""},
		"foreign ciphertext":   {&sdk.DecryptInput{CiphertextBlob: []byte("not made by KMS, but long enough to be parsed")}, "InvalidCiphertextException", ""},
		"another key named":    {&sdk.DecryptInput{CiphertextBlob: blob, KeyId: &other}, "IncorrectKeyException", "The key ID in the request does not identify a CMK"},
		"no size":              {&sdk.GenerateDataKeyInput{KeyId: &id}, "ValidationException", "Please specify either number of bytes or key spec."},
		"two sizes":            {&sdk.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes128, NumberOfBytes: new(int32(5))}, "ValidationException", "Please specify either"},
		"zero bytes":           {&sdk.GenerateDataKeyInput{KeyId: &id, NumberOfBytes: new(int32(0))}, "ValidationException", "Value '0' at 'numberOfBytes' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		"random without size":  {&sdk.GenerateRandomInput{}, "ValidationException", "NumberOfBytes is required."},
		"dry run":              {&sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x"), DryRun: new(true)}, "DryRunOperationException", "The request would have succeeded, but the DryRun option is set."},
		"asymmetric key":       {&sdk.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeSignVerify}, "UnsupportedOperationException", "RSA_2048"},
		"asymmetric, no usage": {&sdk.CreateKeyInput{KeySpec: types.KeySpecRsa2048}, "ValidationException", "You must specify a KeyUsage value"},
		"unknown spec":         {&sdk.CreateKeyInput{KeySpec: "HMAC_random"}, "ValidationException", "Value 'HMAC_random' at 'keySpec'"},
		"unknown usage":        {&sdk.CreateKeyInput{KeyUsage: "RANDOM"}, "ValidationException", "Value 'RANDOM' at 'keyUsage'"},
		"reserved tag":         {&sdk.CreateKeyInput{Tags: []types.Tag{{TagKey: new("aws:x"), TagValue: new("")}}}, "TagException", "Tags beginning with aws: are reserved"},
		"tag twice":            {&sdk.TagResourceInput{KeyId: &id, Tags: []types.Tag{{TagKey: new("a"), TagValue: new("")}, {TagKey: new("a"), TagValue: new("")}}}, "TagException", "Duplicate tag keys"},
		"short window":         {&sdk.ScheduleKeyDeletionInput{KeyId: &id, PendingWindowInDays: new(int32(1))}, "ValidationException", "7"},
		"not to be deleted":    {&sdk.CancelKeyDeletionInput{KeyId: &id}, "KMSInvalidStateException", "is not pending deletion"},
		"bad marker":           {&sdk.ListKeysInput{Marker: new("%%%")}, "InvalidMarkerException", ""},
		"policy of a name":     {&sdk.GetKeyPolicyInput{KeyId: &id, PolicyName: new("other")}, "NotFoundException", "No such policy exists"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, r, root, c.in, c.code, c.message) })
	}
}
