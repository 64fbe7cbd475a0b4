// Package envelope is how services encrypt what they keep under a KMS key:
// with a data key that KMS makes and wraps, in the caller's name and with the
// service's encryption context, as AWS services do.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/kms-cryptography.html#enveloping
package envelope

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/wire"
)

// ErrSealed is returned by [Key.Open] for bytes that were not sealed by this
// key with this additional data, or were changed since.
var ErrSealed = errors.New("sealed data cannot be opened")

// A Key is a data key in use. It is safe for concurrent use. Only Wrapped may
// be stored.
//
// A Key may be kept in memory for speed, but using it says nothing about
// whether KMS would still allow that: call [Unwrap] for each use that AWS asks
// KMS for, so that a disabled key or a missing permission shows at once.
type Key struct {
	Wrapped []byte // the key, encrypted by KMS
	KeyARN  string // of the KMS key that wraps it
	aead    cipher.AEAD
}

// NewKey has KMS make a data key under keyID (id, ARN or alias of a KMS key):
// kms:GenerateDataKey in the name of as. Errors are those of KMS.
func NewKey(ctx context.Context, caller wire.Caller, as wire.As, keyID string, encryptionContext map[string]string) (*Key, error) {
	out, err := wire.Do[kms.GenerateDataKeyOutput](ctx, caller, as, &kms.GenerateDataKeyInput{
		KeyId: &keyID, KeySpec: types.DataKeySpecAes256, EncryptionContext: encryptionContext,
	})
	if err != nil {
		return nil, err
	}
	return newKey(out.Plaintext, out.CiphertextBlob, out.KeyId)
}

// Unwrap has KMS decrypt a data key: kms:Decrypt in the name of as. Errors are
// those of KMS.
func Unwrap(ctx context.Context, caller wire.Caller, as wire.As, encryptionContext map[string]string, wrapped []byte) (*Key, error) {
	out, err := wire.Do[kms.DecryptOutput](ctx, caller, as, &kms.DecryptInput{CiphertextBlob: wrapped, EncryptionContext: encryptionContext})
	if err != nil {
		return nil, err
	}
	return newKey(out.Plaintext, wrapped, out.KeyId)
}

func newKey(plaintext, wrapped []byte, arn *string) (*Key, error) {
	block, err := aes.NewCipher(plaintext)
	if err != nil {
		return nil, fmt.Errorf("use data key: %w", err)
	}
	// Random nonces of 96 bits: safe for 2^32 messages under one data key.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("use data key: %w", err)
	}
	return &Key{Wrapped: wrapped, KeyARN: *arn, aead: aead}, nil
}

// Seal encrypts plaintext and binds it to aad, which [Key.Open] must be given
// again: name the row there, so that sealed rows cannot be swapped.
func (k *Key) Seal(plaintext, aad []byte) []byte {
	return k.aead.Seal(make([]byte, 0, len(plaintext)+k.aead.Overhead()), nil, plaintext, aad)
}

// Open decrypts what Seal made with the same aad, or returns [ErrSealed].
func (k *Key) Open(sealed, aad []byte) ([]byte, error) {
	plaintext, err := k.aead.Open(nil, nil, sealed, aad)
	if err != nil {
		return nil, ErrSealed
	}
	return plaintext, nil
}
