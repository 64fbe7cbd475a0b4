package s3

import (
	"context"
	"crypto/md5" //nolint:gosec // ETags are MD5 by definition
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// uploads are unfinished multipart uploads: bucket NUL id. Their parts are
// bucket NUL id NUL number.
const (
	uploads = store.Table[upload]("s3.uploads")
	parts   = store.Table[part]("s3.parts")
)

type upload struct {
	ID      string
	Version version
	Enc     uploadEncryption
	Started time.Time
}

type uploadEncryption struct {
	Algorithm types.ServerSideEncryption
	KeyID     string
	BucketKey bool
}

type part struct {
	Number   int32
	Blob     blob
	Modified time.Time
}

// minPart is S3's least size of a part that is not the last.
const minPart = 5 << 20

func (s *Service) registerUploads(api *wire.API) {
	put := func(bucket, key *string) []authz.Access { return access("PutObject", bucket, key) }
	bind(api, "POST /{Bucket}/{Key+}?uploads", s.CreateMultipartUpload, wire.Root("InitiateMultipartUploadResult"), wire.Needs(func(_ *wire.Call, in *sdk.CreateMultipartUploadInput) []authz.Access {
		return making{bucket: in.Bucket, key: in.Key, tagging: in.Tagging, keyID: in.SSEKMSKeyId, acl: in.ACL, encryption: in.ServerSideEncryption, class: in.StorageClass}.access()
	}))
	bind(api, "PUT /{Bucket}/{Key+}?partNumber&uploadId", s.UploadPart, wire.Payload("Body"), wire.QueryParam("PartNumber", "partNumber"), wire.QueryParam("UploadId", "uploadId"), wire.Needs(func(_ *wire.Call, in *sdk.UploadPartInput) []authz.Access { return put(in.Bucket, in.Key) }))
	bind(api, "POST /{Bucket}/{Key+}?uploadId", s.CompleteMultipartUpload, wire.Payload("MultipartUpload"), wire.Root("CompleteMultipartUploadResult"), wire.QueryParam("UploadId", "uploadId"), wire.Needs(func(_ *wire.Call, in *sdk.CompleteMultipartUploadInput) []authz.Access { return put(in.Bucket, in.Key) }))
	bind(api, "DELETE /{Bucket}/{Key+}?uploadId", s.AbortMultipartUpload, wire.Status(204), wire.QueryParam("UploadId", "uploadId"), wire.Needs(func(_ *wire.Call, in *sdk.AbortMultipartUploadInput) []authz.Access {
		return access("AbortMultipartUpload", in.Bucket, in.Key)
	}))
	bind(api, "GET /{Bucket}?uploads", s.ListMultipartUploads, wire.Root("ListMultipartUploadsResult"), wire.QueryParam("Prefix", "prefix"), wire.QueryParam("KeyMarker", "key-marker"), wire.QueryParam("UploadIdMarker", "upload-id-marker"), wire.QueryParam("MaxUploads", "max-uploads"), wire.QueryParam("Delimiter", "delimiter"), wire.QueryParam("EncodingType", "encoding-type"), wire.Needs(func(_ *wire.Call, in *sdk.ListMultipartUploadsInput) []authz.Access {
		return access("ListBucketMultipartUploads", in.Bucket, nil)
	}))
	bind(api, "GET /{Bucket}/{Key+}?uploadId", s.ListParts, wire.Root("ListPartsResult"), wire.QueryParam("UploadId", "uploadId"), wire.QueryParam("MaxParts", "max-parts"), wire.QueryParam("PartNumberMarker", "part-number-marker"), wire.Needs(func(_ *wire.Call, in *sdk.ListPartsInput) []authz.Access {
		return access("ListMultipartUploadParts", in.Bucket, in.Key)
	}))
}

func noSuchUpload() error {
	return &types.NoSuchUpload{Message: new("The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")}
}

func loadUpload(tx *store.Tx, bucket, key, id *string) (upload, error) {
	if _, err := load(tx, bucket); err != nil {
		return upload{}, err
	}
	u, ok, err := uploads.Get(tx, *bucket+"\x00"+*id)
	if err == nil && (!ok || u.Version.Key != *key) {
		err = noSuchUpload()
	}
	return u, err
}

func partKey(bucket, id string, n int32) string {
	return fmt.Sprintf("%s\x00%s\x00%05d", bucket, id, n)
}

// CreateMultipartUpload begins an upload in parts.
func (s *Service) CreateMultipartUpload(ctx context.Context, in *sdk.CreateMultipartUploadInput) (*sdk.CreateMultipartUploadOutput, error) {
	b, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	enc, err := b.encryption(in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled)
	if err != nil {
		return nil, err
	}
	u := upload{ID: strings.ReplaceAll(uuid.NewString(), "-", ""), Started: time.Now().UTC(), Enc: uploadEncryption{enc.algorithm, enc.keyID, enc.bucketKey}}
	if err := checkKey(*in.Key); err != nil {
		return nil, err
	}
	u.Version = version{Key: *in.Key, Meta: in.Metadata, Headers: kept(map[string]*string{
		"ContentType": in.ContentType, "ContentEncoding": in.ContentEncoding, "ContentDisposition": in.ContentDisposition, "CacheControl": in.CacheControl,
	})}
	if u.Version.Tags, err = parseTags(in.Tagging); err != nil {
		return nil, err
	}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := load(tx, in.Bucket); err != nil {
			return err
		}
		return uploads.Put(tx, *in.Bucket+"\x00"+u.ID, u)
	})
	return &sdk.CreateMultipartUploadOutput{Bucket: in.Bucket, Key: in.Key, UploadId: &u.ID, ServerSideEncryption: enc.algorithm, ChecksumAlgorithm: in.ChecksumAlgorithm}, err
}

// UploadPart stores one part; a part of the same number is replaced.
func (s *Service) UploadPart(ctx context.Context, in *sdk.UploadPartInput) (*sdk.UploadPartOutput, error) {
	if *in.PartNumber < 1 || *in.PartNumber > 10000 {
		return nil, fail("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
	}
	body, err := readBody(in.Body)
	if err != nil {
		return nil, fail("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	}
	var u upload
	if err := s.DB.View(func(tx *store.Tx) (err error) {
		u, err = loadUpload(tx, in.Bucket, in.Key, in.UploadId)
		return err
	}); err != nil {
		return nil, err
	}
	bl, z, err := s.prepare(ctx, *in.Bucket, *in.Key, encryption{u.Enc.Algorithm, u.Enc.KeyID, u.Enc.BucketKey})
	if err != nil {
		return nil, err
	}
	if err := bl.verify(in, in.ContentMD5, body); err != nil {
		return nil, err
	}
	p := part{Number: *in.PartNumber, Modified: time.Now().UTC()}
	k := partKey(*in.Bucket, u.ID, p.Number)
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := loadUpload(tx, in.Bucket, in.Key, in.UploadId); err != nil {
			return err
		}
		if old, ok, err := parts.Get(tx, k); err != nil || ok {
			if err := firstError(err, func() error { return old.Blob.drop(tx) }); err != nil {
				return err
			}
		}
		if err := bl.write(tx, z, body); err != nil {
			return err
		}
		p.Blob = bl
		return parts.Put(tx, k, p)
	})
	out := &sdk.UploadPartOutput{ETag: quoted(bl.MD5), ServerSideEncryption: u.Enc.Algorithm}
	bl.tell(out)
	return out, err
}

// CompleteMultipartUpload makes an object of the named parts.
func (s *Service) CompleteMultipartUpload(ctx context.Context, in *sdk.CompleteMultipartUploadInput) (*sdk.CompleteMultipartUploadOutput, error) {
	if in.MultipartUpload == nil || len(in.MultipartUpload.Parts) == 0 {
		return nil, fail("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	var u upload
	stored := map[int32]part{}
	err := s.DB.View(func(tx *store.Tx) (err error) {
		if u, err = loadUpload(tx, in.Bucket, in.Key, in.UploadId); err != nil {
			return err
		}
		for r, err := range parts.Prefix(tx, *in.Bucket+"\x00"+u.ID+"\x00") {
			if err != nil {
				return err
			}
			stored[r.Value.Number] = r.Value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	body, etag, err := s.assemble(ctx, in.MultipartUpload.Parts, stored)
	if err != nil {
		return nil, err
	}
	v := u.Version
	v.ETag, v.Parts = etag, len(in.MultipartUpload.Parts)
	enc := encryption{u.Enc.Algorithm, u.Enc.KeyID, u.Enc.BucketKey}
	if err := s.put(ctx, *in.Bucket, &v, enc, blob{}, body, preconditions{in.IfMatch, in.IfNoneMatch}); err != nil {
		return nil, err
	}
	// A crash in between leaves the finished object and the upload: completing it again makes the same object.
	if err := s.DB.Update(ctx, func(tx *store.Tx) error { return dropUpload(tx, *in.Bucket, u.ID) }); err != nil {
		return nil, err
	}
	c := wire.CallOf(ctx)
	out := &sdk.CompleteMultipartUploadOutput{Bucket: in.Bucket, Key: in.Key, ETag: quoted(etag), Location: new(c.Endpoint + "/" + *in.Bucket + "/" + *in.Key), ServerSideEncryption: v.SSE}
	if v.ID != "null" {
		out.VersionId = &v.ID
	}
	return out, nil
}

// choose finds the wanted parts, whose numbers must rise.
func choose(wanted []types.CompletedPart, stored map[int32]part) ([]part, error) {
	var out []part
	last := int32(0)
	for _, w := range wanted {
		if w.PartNumber == nil || *w.PartNumber <= last {
			return nil, fail("InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
		last = *w.PartNumber
		p, ok := stored[last]
		if !ok || w.ETag != nil && *quoted(*w.ETag) != *quoted(p.Blob.MD5) {
			return nil, fail("InvalidPart", "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")
		}
		out = append(out, p)
	}
	for _, p := range out[:len(out)-1] {
		if p.Blob.Size < minPart {
			return nil, fail("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		}
	}
	return out, nil
}

// assemble joins the wanted parts; the ETag is the digest of their digests.
func (s *Service) assemble(ctx context.Context, wanted []types.CompletedPart, stored map[int32]part) (body []byte, etag string, err error) {
	chosen, err := choose(wanted, stored)
	if err != nil {
		return nil, "", err
	}
	sums := md5.New() //nolint:gosec // see above
	for _, p := range chosen {
		z, err := s.unseal(ctx, p.Blob)
		if err != nil {
			return nil, "", err
		}
		if err := s.DB.View(func(tx *store.Tx) error {
			b, err := p.Blob.read(tx, z)
			body = append(body, b...)
			return err
		}); err != nil {
			return nil, "", err
		}
		raw, err := hex.DecodeString(p.Blob.MD5)
		if err != nil {
			return nil, "", fmt.Errorf("read part's digest: %w", err)
		}
		sums.Write(raw)
	}
	return body, fmt.Sprintf("%x-%d", sums.Sum(nil), len(chosen)), nil
}

// AbortMultipartUpload gives an upload up.
func (s *Service) AbortMultipartUpload(ctx context.Context, in *sdk.AbortMultipartUploadInput) (*sdk.AbortMultipartUploadOutput, error) {
	return &sdk.AbortMultipartUploadOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := loadUpload(tx, in.Bucket, in.Key, in.UploadId); err != nil {
			return err
		}
		return dropUpload(tx, *in.Bucket, *in.UploadId)
	})
}

func dropUpload(tx *store.Tx, bucket, id string) error {
	var gone []store.Row[part]
	for r, err := range parts.Prefix(tx, bucket+"\x00"+id+"\x00") {
		if err != nil {
			return err
		}
		gone = append(gone, r)
	}
	for _, r := range gone {
		if err := r.Value.Blob.drop(tx); err != nil {
			return err
		}
		if err := parts.Delete(tx, r.Key); err != nil {
			return err
		}
	}
	return uploads.Delete(tx, bucket+"\x00"+id)
}

func dropUploads(tx *store.Tx, bucket string) error {
	var ids []string
	for r, err := range uploads.Prefix(tx, bucket+"\x00") {
		if err != nil {
			return err
		}
		ids = append(ids, r.Value.ID)
	}
	for _, id := range ids {
		if err := dropUpload(tx, bucket, id); err != nil {
			return err
		}
	}
	return nil
}

// ListMultipartUploads lists unfinished uploads.
func (s *Service) ListMultipartUploads(_ context.Context, in *sdk.ListMultipartUploadsInput) (*sdk.ListMultipartUploadsOutput, error) {
	out := &sdk.ListMultipartUploadsOutput{Bucket: in.Bucket, IsTruncated: new(false), MaxUploads: new(int32(1000)), Prefix: in.Prefix}
	limit := 1000
	if in.MaxUploads != nil && *in.MaxUploads > 0 {
		limit = min(limit, int(*in.MaxUploads))
	}
	from := *in.Bucket + "\x00"
	if in.UploadIdMarker != nil && *in.UploadIdMarker != "" {
		from += *in.UploadIdMarker + "\x01"
	}
	return out, s.DB.View(func(tx *store.Tx) error {
		if _, err := load(tx, in.Bucket); err != nil {
			return err
		}
		for r, err := range uploads.Range(tx, from, store.PrefixEnd(*in.Bucket+"\x00")) {
			if err != nil {
				return err
			}
			u := r.Value
			if in.Prefix != nil && !strings.HasPrefix(u.Version.Key, *in.Prefix) {
				continue
			}
			if len(out.Uploads) == limit {
				last := out.Uploads[limit-1]
				out.IsTruncated, out.NextKeyMarker, out.NextUploadIdMarker = new(true), last.Key, last.UploadId
				return nil
			}
			out.Uploads = append(out.Uploads, types.MultipartUpload{Key: &u.Version.Key, UploadId: &u.ID, Initiated: &u.Started, Owner: s.owner(), StorageClass: types.StorageClassStandard})
		}
		return nil
	})
}

// ListParts lists the parts of an unfinished upload.
func (s *Service) ListParts(_ context.Context, in *sdk.ListPartsInput) (*sdk.ListPartsOutput, error) {
	out := &sdk.ListPartsOutput{Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId, IsTruncated: new(false), MaxParts: new(int32(1000)), StorageClass: types.StorageClassStandard}
	return out, s.DB.View(func(tx *store.Tx) error {
		if _, err := loadUpload(tx, in.Bucket, in.Key, in.UploadId); err != nil {
			return err
		}
		for r, err := range parts.Prefix(tx, *in.Bucket+"\x00"+*in.UploadId+"\x00") {
			if err != nil {
				return err
			}
			p := r.Value
			out.Parts = append(out.Parts, types.Part{PartNumber: &p.Number, ETag: quoted(p.Blob.MD5), Size: &p.Blob.Size, LastModified: &p.Modified})
		}
		return nil
	})
}
