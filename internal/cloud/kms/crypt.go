package kms

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

const symmetric = types.EncryptionAlgorithmSpecSymmetricDefault

const algorithms = "SYMMETRIC_DEFAULT|RSAES_OAEP_SHA_1|RSAES_OAEP_SHA_256|SM2PKE"

func (s *Service) registerCrypt(api *wire.API) {
	const tokens, blob = "GrantTokens 0..10", "CiphertextBlob 1..6144"
	wire.Handle(api, s.Encrypt, on(s, func(in *sdk.EncryptInput) *string { return in.KeyId },
		func(in *sdk.EncryptInput, keys map[string][]string) { withContext(keys, in.EncryptionContext) }),
		wire.Members(keyIDRule, tokens, "EncryptionAlgorithm "+algorithms))
	wire.Handle(api, s.Decrypt, wire.Needs(func(c *wire.Call, in *sdk.DecryptInput) []authz.Access {
		return s.blobAccess(c, "kms:Decrypt", in.CiphertextBlob, in.KeyId, in.EncryptionContext)
	}), wire.Members(blob, "KeyId 1..2048", tokens, "EncryptionAlgorithm "+algorithms))
	wire.Handle(api, s.ReEncrypt, wire.Needs(s.reEncryptAccess), wire.Members(blob, "SourceKeyId 1..2048", "DestinationKeyId! 1..2048", tokens,
		"SourceEncryptionAlgorithm "+algorithms, "DestinationEncryptionAlgorithm "+algorithms))
	wire.Handle(api, s.GenerateDataKey, on(s, func(in *sdk.GenerateDataKeyInput) *string { return in.KeyId },
		func(in *sdk.GenerateDataKeyInput, keys map[string][]string) { withContext(keys, in.EncryptionContext) }),
		wire.Members(keyIDRule, "NumberOfBytes 1..1024", "KeySpec AES_256|AES_128", tokens))
	wire.Handle(api, s.GenerateDataKeyWithoutPlaintext, on(s, func(in *sdk.GenerateDataKeyWithoutPlaintextInput) *string { return in.KeyId },
		func(in *sdk.GenerateDataKeyWithoutPlaintextInput, keys map[string][]string) {
			withContext(keys, in.EncryptionContext)
		}),
		wire.Members(keyIDRule, "NumberOfBytes 1..1024", "KeySpec AES_256|AES_128", tokens))
	wire.Handle(api, s.GenerateRandom, wire.Members("NumberOfBytes 1..1024"))
}

// blobAccess is the access to the key that made a ciphertext.
func (s *Service) blobAccess(c *wire.Call, action string, blob []byte, name *string, ec map[string]string) []authz.Access {
	b, err := parseBlob(blob)
	if err != nil {
		return nil // InvalidCiphertextException, whoever asks
	}
	if name == nil {
		name = &b.key
	}
	a, ok := s.access(c, action, name)
	if !ok {
		return nil
	}
	withContext(a.Context, ec)
	return []authz.Access{a}
}

func (s *Service) reEncryptAccess(c *wire.Call, in *sdk.ReEncryptInput) []authz.Access {
	all := s.blobAccess(c, "kms:ReEncryptFrom", in.CiphertextBlob, in.SourceKeyId, in.SourceEncryptionContext)
	if to, ok := s.access(c, "kms:ReEncryptTo", in.DestinationKeyId); ok {
		withContext(to.Context, in.DestinationEncryptionContext)
		all = append(all, to)
	}
	if len(all) == 2 {
		same := boolKey(all[0].Resource == all[1].Resource)
		all[0].Context["kms:ReEncryptOnSameKey"], all[1].Context["kms:ReEncryptOnSameKey"] = same, same
	}
	return all
}

// forUse finds a key and makes sure that it may be used with an algorithm.
func (s *Service) forUse(ctx context.Context, name *string, algorithm types.EncryptionAlgorithmSpec) (*key, error) {
	k, err := s.find(regionOf(ctx), name)
	if err != nil {
		return nil, err
	}
	return k.fit(algorithm)
}

// fit is the key itself, if it may be used with an algorithm.
func (k *key) fit(algorithm types.EncryptionAlgorithmSpec) (*key, error) {
	if err := k.usable(); err != nil {
		return nil, err
	}
	if algorithm != "" && algorithm != symmetric {
		return nil, &types.InvalidKeyUsageException{Message: new("Algorithm " + string(algorithm) + " is incompatible with key spec SYMMETRIC_DEFAULT.")}
	}
	return k, nil
}

func dry(b *bool) bool { return b != nil && *b }

// Encrypt encrypts up to 4096 bytes.
func (s *Service) Encrypt(ctx context.Context, in *sdk.EncryptInput) (*sdk.EncryptOutput, error) {
	if err := checkPlaintext(in.Plaintext); err != nil {
		return nil, err
	}
	k, err := s.forUse(ctx, in.KeyId, in.EncryptionAlgorithm)
	if err != nil {
		return nil, err
	}
	if dry(in.DryRun) {
		return nil, errDryRun
	}
	return &sdk.EncryptOutput{CiphertextBlob: k.seal(in.Plaintext, in.EncryptionContext), KeyId: &k.arn, EncryptionAlgorithm: symmetric}, nil
}

// checkPlaintext is not left to the rules of the operation, whose messages
// repeat the value.
func checkPlaintext(b []byte) error {
	const at = "1 validation error detected: Value%s at 'plaintext' failed to satisfy constraint: Member must %s"
	switch {
	case b == nil:
		return invalid(fmt.Sprintf(at, " null", "not be null"))
	case len(b) == 0:
		return invalid(fmt.Sprintf(at, "", "have length greater than or equal to 1"))
	case len(b) > 4096:
		return invalid(fmt.Sprintf(at, "", "have length less than or equal to 4096"))
	}
	return nil
}

// Decrypt opens what Encrypt, ReEncrypt or GenerateDataKey made, given the
// same encryption context.
func (s *Service) Decrypt(ctx context.Context, in *sdk.DecryptInput) (*sdk.DecryptOutput, error) {
	if in.Recipient != nil {
		return nil, unsupported("Recipient is not supported: there are no Nitro enclaves here")
	}
	k, b, err := s.opener(ctx, in.CiphertextBlob, in.KeyId, in.EncryptionAlgorithm)
	if err != nil {
		return nil, err
	}
	if dry(in.DryRun) {
		return nil, errDryRun
	}
	plaintext, err := k.open(b, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return &sdk.DecryptOutput{Plaintext: plaintext, KeyId: &k.arn, EncryptionAlgorithm: symmetric, KeyMaterialId: &k.Materials[b.version].ID}, nil
}

// opener finds the key of a ciphertext. A key that is named must be that one.
func (s *Service) opener(ctx context.Context, raw []byte, name *string, algorithm types.EncryptionAlgorithmSpec) (*key, blob, error) {
	if len(raw) == 0 {
		return nil, blob{}, invalid("1 validation error detected: Value null at 'ciphertextBlob' failed to satisfy constraint: Member must not be null")
	}
	b, err := parseBlob(raw)
	if err != nil {
		return nil, blob{}, err
	}
	if name != nil {
		k, err := s.forUse(ctx, name, algorithm)
		if err == nil && k.ID != b.key {
			err = &types.IncorrectKeyException{Message: new("The key ID in the request does not identify a CMK that can perform this operation.")}
		}
		return k, b, err
	}
	k, err := s.key(regionOf(ctx), b.key)
	if err != nil || k == nil {
		return nil, blob{}, cmpErr(err, errCiphertext) // of another cloud or region, or its key is gone
	}
	k, err = k.fit(algorithm)
	return k, b, err
}

// ReEncrypt changes the key or the encryption context of a ciphertext without
// letting the plaintext out.
func (s *Service) ReEncrypt(ctx context.Context, in *sdk.ReEncryptInput) (*sdk.ReEncryptOutput, error) {
	from, b, err := s.opener(ctx, in.CiphertextBlob, in.SourceKeyId, in.SourceEncryptionAlgorithm)
	if err != nil {
		return nil, err
	}
	to, err := s.forUse(ctx, in.DestinationKeyId, in.DestinationEncryptionAlgorithm)
	if err != nil {
		return nil, err
	}
	if dry(in.DryRun) {
		return nil, errDryRun
	}
	plaintext, err := from.open(b, in.SourceEncryptionContext)
	if err != nil {
		return nil, err
	}
	return &sdk.ReEncryptOutput{
		CiphertextBlob: to.seal(plaintext, in.DestinationEncryptionContext), KeyId: &to.arn, SourceKeyId: &from.arn,
		SourceEncryptionAlgorithm: symmetric, DestinationEncryptionAlgorithm: symmetric,
		SourceKeyMaterialId: &from.Materials[b.version].ID, DestinationKeyMaterialId: &to.Materials[len(to.Materials)-1].ID,
	}, nil
}

// GenerateDataKey makes a key for use outside, in plain and encrypted.
func (s *Service) GenerateDataKey(ctx context.Context, in *sdk.GenerateDataKeyInput) (*sdk.GenerateDataKeyOutput, error) {
	if in.Recipient != nil {
		return nil, unsupported("Recipient is not supported: there are no Nitro enclaves here")
	}
	k, secret, err := s.dataKey(ctx, in.KeyId, in.KeySpec, in.NumberOfBytes, dry(in.DryRun))
	if err != nil {
		return nil, err
	}
	return &sdk.GenerateDataKeyOutput{
		Plaintext: secret, CiphertextBlob: k.seal(secret, in.EncryptionContext), KeyId: &k.arn, KeyMaterialId: &k.Materials[len(k.Materials)-1].ID,
	}, nil
}

// GenerateDataKeyWithoutPlaintext makes a key for later use.
func (s *Service) GenerateDataKeyWithoutPlaintext(ctx context.Context, in *sdk.GenerateDataKeyWithoutPlaintextInput) (*sdk.GenerateDataKeyWithoutPlaintextOutput, error) {
	k, secret, err := s.dataKey(ctx, in.KeyId, in.KeySpec, in.NumberOfBytes, dry(in.DryRun))
	if err != nil {
		return nil, err
	}
	return &sdk.GenerateDataKeyWithoutPlaintextOutput{
		CiphertextBlob: k.seal(secret, in.EncryptionContext), KeyId: &k.arn, KeyMaterialId: &k.Materials[len(k.Materials)-1].ID,
	}, nil
}

func (s *Service) dataKey(ctx context.Context, name *string, spec types.DataKeySpec, size *int32, dryRun bool) (*key, []byte, error) {
	if (spec == "") == (size == nil) {
		return nil, nil, invalid("Please specify either number of bytes or key spec.")
	}
	k, err := s.forUse(ctx, name, "")
	if err != nil {
		return nil, nil, err
	}
	if dryRun {
		return nil, nil, errDryRun
	}
	n := map[types.DataKeySpec]int32{types.DataKeySpecAes256: 32, types.DataKeySpecAes128: 16}[spec]
	if size != nil {
		n = *size
	}
	return k, random(cmp.Or(n, 32)), nil
}

func random(n int32) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return b
}

// GenerateRandom returns random bytes.
func (s *Service) GenerateRandom(_ context.Context, in *sdk.GenerateRandomInput) (*sdk.GenerateRandomOutput, error) {
	switch {
	case in.CustomKeyStoreId != nil, in.Recipient != nil:
		return nil, unsupported("CustomKeyStoreId and Recipient are not supported: there is no custom key store here")
	case in.NumberOfBytes == nil:
		return nil, invalid("NumberOfBytes is required.")
	}
	return &sdk.GenerateRandomOutput{Plaintext: random(*in.NumberOfBytes)}, nil
}
