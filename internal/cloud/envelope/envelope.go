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

	"miniforge/internal/cloud/memo"
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
	aead, err := ciphers.GetAt(0, string(plaintext), func() (cipher.AEAD, error) { return newCipher(plaintext) })
	if err != nil {
		return nil, fmt.Errorf("use data key: %w", err)
	}
	return &Key{Wrapped: wrapped, KeyARN: *arn, aead: aead}, nil
}

// ciphers are those of plaintext data keys, as KMS gave them out: setting one
// up costs more than sealing a row. KMS is asked for the key itself each time.
var ciphers = memo.Map[string, cipher.AEAD]{Most: 500}

func newCipher(plaintext []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(plaintext)
	if err != nil {
		return nil, err
	}
	// Random nonces of 96 bits: safe for 2^32 messages under one data key.
	return cipher.NewGCMWithRandomNonce(block)
}

// Overhead is how many bytes longer sealed data is.
const Overhead = 12 + 16 // nonce, tag

// Seal encrypts plaintext and binds it to aad, which [Key.Open] must be given
// again: name the row there, so that sealed rows cannot be swapped.
func (k *Key) Seal(plaintext, aad []byte) []byte {
	return k.aead.Seal(make([]byte, 0, len(plaintext)+Overhead), nil, plaintext, aad)
}

// SealTail is Seal for what follows the first n bytes of a row, which stay as
// they are. It happens in place where row has capacity for [Overhead] more bytes.
func (k *Key) SealTail(row []byte, n int, aad []byte) []byte {
	return k.aead.Seal(row[:n], nil, row[n:], aad)
}

// Open decrypts what Seal made with the same aad, or returns [ErrSealed].
func (k *Key) Open(sealed, aad []byte) ([]byte, error) {
	plaintext, err := k.aead.Open(nil, nil, sealed, aad)
	if err != nil {
		return nil, ErrSealed
	}
	return plaintext, nil
}

// OpenInPlace is [Key.Open] at the cost of sealed, which is overwritten.
func (k *Key) OpenInPlace(sealed, aad []byte) ([]byte, error) {
	plaintext, err := k.aead.Open(sealed[:0], nil, sealed, aad)
	if err != nil {
		return nil, ErrSealed
	}
	return plaintext, nil
}
