package kms

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/google/uuid"
)

// A blob is a ciphertext as callers hold it: what made it, and what AES-GCM put out.
type blob struct {
	header  []byte
	key     string // key id
	version int    // of the key's material
	sealed  []byte
}

// blobMark begins every ciphertext: format 1 of symmetric ciphertexts.
var blobMark = []byte{1, 2, 2, 0}

const headerSize = 4 + 16 + 4 // mark, key id, version of the material

var errCiphertext = &types.InvalidCiphertextException{}

func parseBlob(b []byte) (blob, error) {
	if len(b) <= headerSize || !bytes.HasPrefix(b, blobMark) {
		return blob{}, errCiphertext
	}
	h := b[:headerSize]
	return blob{header: h, key: uuid.UUID(h[4:20]).String(), version: int(binary.BigEndian.Uint32(h[20:])), sealed: b[headerSize:]}, nil
}

// seal encrypts with the key's newest material.
func (k *key) seal(plaintext []byte, ec map[string]string) []byte {
	version := len(k.aeads) - 1
	id := uuid.MustParse(k.ID) // made by us
	out := append(slices.Clip(bytes.Clone(blobMark)), id[:]...)
	out = binary.BigEndian.AppendUint32(out, uint32(version))
	return k.aeads[version].Seal(out, nil, plaintext, additional(out, ec))
}

func (k *key) open(b blob, ec map[string]string) ([]byte, error) {
	if b.version >= len(k.aeads) {
		return nil, errCiphertext
	}
	plaintext, err := k.aeads[b.version].Open(nil, nil, b.sealed, additional(b.header, ec))
	if err != nil {
		return nil, errCiphertext
	}
	return plaintext, nil
}

// additional is what is authenticated beside the ciphertext: where it came
// from and its encryption context, in an order and with lengths that make the
// text unambiguous.
func additional(header []byte, ec map[string]string) []byte {
	size := len(header)
	for k, v := range ec {
		size += 8 + len(k) + len(v)
	}
	out := append(make([]byte, 0, size), header...)
	for _, k := range namesOf(ec) {
		out = appendText(appendText(out, k), ec[k])
	}
	return out
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}
