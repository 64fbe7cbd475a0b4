package s3

import (
	"bytes"
	"context"
	"crypto/md5"  //nolint:gosec // ETag and Content-MD5 are MD5 by definition
	"crypto/sha1" //nolint:gosec // one of S3's checksums
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// chunks hold the bodies, in pieces small enough for the store: key blob/number.
const (
	chunks    = store.Table[[]byte]("s3.chunks")
	chunkSize = 256 << 10
)

// A blob is a stored body.
type blob struct {
	ID     string
	Size   int64
	Key    string            `json:",omitempty"` // ARN of the KMS key, if under one
	Wrap   []byte            `json:",omitempty"` // data key, wrapped by it
	Under  map[string]string `json:",omitempty"` // encryption context
	MD5    string
	Checks map[string]string `json:",omitempty"` // checksum by algorithm, in Base64
}

// A sealer writes and reads one blob's chunks; without a key they are left to
// the store's own seal, which is this cloud's SSE-S3.
type sealer struct{ key *envelope.Key }

func (z sealer) seal(b, at []byte) []byte {
	if z.key == nil {
		return b
	}
	return z.key.Seal(b, at)
}

func (z sealer) open(b, at []byte) ([]byte, error) {
	if z.key == nil {
		return b, nil
	}
	return z.key.Open(b, at)
}

// encryption is what applies to a new object: the request's wish before the
// bucket's default.
type encryption struct {
	algorithm types.ServerSideEncryption
	keyID     string
	bucketKey bool
}

func (b bucket) encryption(wish types.ServerSideEncryption, key *string, bucketKey *bool) (encryption, error) {
	e := encryption{algorithm: types.ServerSideEncryptionAes256}
	if b.Encryption != nil {
		r := b.Encryption.Rules[0]
		e.algorithm = r.ApplyServerSideEncryptionByDefault.SSEAlgorithm
		if k := r.ApplyServerSideEncryptionByDefault.KMSMasterKeyID; k != nil {
			e.keyID = *k
		}
		e.bucketKey = r.BucketKeyEnabled != nil && *r.BucketKeyEnabled
	}
	switch wish {
	case "":
	case types.ServerSideEncryptionAes256:
		e = encryption{algorithm: wish}
	case types.ServerSideEncryptionAwsKms:
		e.algorithm = wish
	default:
		return e, fail("InvalidArgument", "The encryption method specified is not supported")
	}
	if key != nil {
		if e.algorithm != types.ServerSideEncryptionAwsKms {
			return e, fail("InvalidArgument", "Server Side Encryption with KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
		}
		e.keyID = *key
	}
	if bucketKey != nil {
		e.bucketKey = *bucketKey
	}
	if e.algorithm == types.ServerSideEncryptionAwsKms && e.keyID == "" {
		return e, fail("InvalidArgument", "The embedded cloud has no AWS managed key for S3: name a KMS key")
	}
	return e, nil
}

// prepare makes the data key of a new blob, in the caller's name.
func (s *Service) prepare(ctx context.Context, bucket, key string, e encryption) (blob, sealer, error) {
	b := blob{ID: uuid.NewString()}
	if e.algorithm != types.ServerSideEncryptionAwsKms {
		return b, sealer{}, nil
	}
	b.Under = map[string]string{"aws:s3:arn": arn(bucket)}
	if !e.bucketKey {
		b.Under["aws:s3:arn"] += "/" + key
	}
	k, err := envelope.NewKey(ctx, s.Caller, wire.CallOf(ctx).As("s3"), e.keyID, b.Under)
	if err != nil {
		return b, sealer{}, kmsError(err)
	}
	b.Key, b.Wrap = k.KeyARN, k.Wrapped
	return b, sealer{k}, nil
}

// unseal asks KMS, in the caller's name, for a blob's data key.
func (s *Service) unseal(ctx context.Context, b blob) (sealer, error) {
	if b.Wrap == nil {
		return sealer{}, nil
	}
	k, err := envelope.Unwrap(ctx, s.Caller, wire.CallOf(ctx).As("s3"), b.Under, b.Wrap)
	if err != nil {
		return sealer{}, kmsError(err)
	}
	return sealer{k}, nil
}

// kmsError is what S3 makes of KMS's refusals: they keep their code, marked as KMS's.
func kmsError(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case !ok:
		return err
	case strings.HasPrefix(api.ErrorCode(), "AccessDenied"):
		return &wire.Error{Code: "AccessDenied", Message: api.ErrorMessage(), Status: http.StatusForbidden}
	}
	return wire.Errorf("KMS."+api.ErrorCode(), "%s", api.ErrorMessage())
}

func chunkKey(id string, n int) string {
	return id + "/" + string(binary.BigEndian.AppendUint32(nil, uint32(n))) //nolint:gosec // bounded by the body's limit
}

func (b *blob) write(tx *store.Tx, z sealer, body []byte) error {
	b.Size = int64(len(body))
	for n := 0; len(body) > 0; n++ {
		c := body[:min(chunkSize, len(body))]
		k := chunkKey(b.ID, n)
		if err := chunks.Put(tx, k, z.seal(c, []byte(k))); err != nil {
			return err
		}
		body = body[len(c):]
	}
	return nil
}

func (b *blob) read(tx *store.Tx, z sealer) ([]byte, error) {
	out := make([]byte, 0, b.Size)
	for r, err := range chunks.Prefix(tx, b.ID+"/") {
		if err != nil {
			return nil, err
		}
		c, err := z.open(r.Value, []byte(r.Key))
		if err != nil {
			return nil, err
		}
		out = append(out, c...)
	}
	return out, nil
}

func (b *blob) drop(tx *store.Tx) error {
	var keys []string
	for r, err := range chunks.Prefix(tx, b.ID+"/") {
		if err != nil {
			return err
		}
		keys = append(keys, r.Key)
	}
	for _, k := range keys {
		if err := chunks.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

func readBody(r io.Reader) ([]byte, error) {
	if r == nil {
		return nil, nil
	}
	return io.ReadAll(r)
}

// hashes are the checksums that S3 knows and this machine can compute.
var hashes = map[string]func() hash.Hash{
	"CRC32":     func() hash.Hash { return crc32.NewIEEE() },
	"CRC32C":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"CRC64NVME": func() hash.Hash { return crc64.New(crc64.MakeTable(0x9a6c9329ac4bc9b5)) },
	"SHA1":      sha1.New,
	"SHA256":    sha256.New,
	"MD5":       md5.New,
}

// verify compares a body with the checksums that its request states, and
// keeps those: in is an input whose members are called Checksum<Algorithm>.
func (b *blob) verify(in any, contentMD5 *string, body []byte) error {
	sum := md5.Sum(body) //nolint:gosec // see above
	b.MD5 = hex.EncodeToString(sum[:])
	if contentMD5 != nil && *contentMD5 != base64.StdEncoding.EncodeToString(sum[:]) {
		return fail("BadDigest", "The Content-MD5 you specified did not match what we received.")
	}
	v := reflect.Indirect(reflect.ValueOf(in))
	for name, makeHash := range hashes {
		f := v.FieldByName("Checksum" + name)
		if !f.IsValid() || f.IsNil() {
			continue
		}
		h := makeHash()
		h.Write(body)
		got := base64.StdEncoding.EncodeToString(h.Sum(nil))
		if f.Elem().String() != got {
			return fail("BadDigest", "The "+name+" you specified did not match the calculated checksum.")
		}
		b.Checks = map[string]string{name: got}
	}
	return nil
}

// tell sets the Checksum members of an output from what is kept.
func (b *blob) tell(out any) {
	v := reflect.ValueOf(out).Elem()
	for name, sum := range b.Checks {
		if f := v.FieldByName("Checksum" + name); f.IsValid() {
			f.Set(reflect.ValueOf(&sum))
		}
	}
	if f := v.FieldByName("ChecksumType"); f.IsValid() && len(b.Checks) > 0 {
		f.SetString(string(types.ChecksumTypeFullObject))
	}
}

func stream(body []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }

func quoted(etag string) *string { return new(`"` + strings.Trim(etag, `"`) + `"`) }
