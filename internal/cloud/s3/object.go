package s3

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// versions hold objects: bucket NUL key NUL order, the newest version of a key
// first. NUL sorts before every character that a key may have.
const versions = store.Table[version]("s3.versions")

// A version is one version of an object, or a delete marker.
type version struct {
	Key      string
	ID       string // "null" without versioning
	Order    uint64 // nanoseconds; unique and rising within a key
	Marker   bool   `json:",omitempty"`
	Modified time.Time
	Blob     blob
	ETag     string
	SSE      types.ServerSideEncryption
	Bucketed bool              `json:",omitempty"` // bucket key used
	Headers  map[string]string `json:",omitempty"` // Content-Type and the like
	Meta     map[string]string `json:",omitempty"`
	Tags     map[string]string `json:",omitempty"`
	Parts    int               `json:",omitempty"`
}

func rowKey(bucket, key string, order uint64) string {
	return fmt.Sprintf("%s\x00%s\x00%016x", bucket, key, math.MaxUint64-order)
}

func (s *Service) registerObjects(api *wire.API) {
	bind(api, "PUT /{Bucket}/{Key+}", s.PutObject, wire.Payload("Body"), wire.Needs(func(_ *wire.Call, in *sdk.PutObjectInput) []authz.Access {
		return making{bucket: in.Bucket, key: in.Key, tagging: in.Tagging, keyID: in.SSEKMSKeyId, acl: in.ACL, encryption: in.ServerSideEncryption, class: in.StorageClass, preconditions: preconditions{in.IfMatch, in.IfNoneMatch}}.access()
	}))
	bind(api, "PUT /{Bucket}/{Key+}", s.CopyObject, wire.IfHeader("X-Amz-Copy-Source"), wire.Payload("CopyObjectResult"), wire.Root("CopyObjectResult"), wire.Needs(s.copying), wire.Members("CopySource!"))
	bind(api, "GET /{Bucket}/{Key+}", s.GetObject, append(responseParams(), wire.Payload("Body"), wire.Needs(func(c *wire.Call, in *sdk.GetObjectInput) []authz.Access {
		return reading(in.Bucket, in.Key, in.VersionId, s.tags(c, in.Bucket, in.Key, in.VersionId))
	}))...)
	bind(api, "HEAD /{Bucket}/{Key+}", s.HeadObject, append(responseParams(), wire.Needs(func(c *wire.Call, in *sdk.HeadObjectInput) []authz.Access {
		return reading(in.Bucket, in.Key, in.VersionId, s.tags(c, in.Bucket, in.Key, in.VersionId))
	}))...)
	bind(api, "DELETE /{Bucket}/{Key+}", s.DeleteObject, wire.Status(204), wire.QueryParam("VersionId", "versionId"), wire.Needs(func(_ *wire.Call, in *sdk.DeleteObjectInput) []authz.Access {
		return onVersion("DeleteObject", in.Bucket, in.Key, in.VersionId)
	}))
	bind(api, "POST /{Bucket}?delete", s.DeleteObjects, wire.Payload("Delete"), wire.Root("DeleteResult"), wire.Members("Delete!", "Delete.Objects! 1..1000", "Delete.Objects[].Key! 1..1024"), wire.Needs(func(_ *wire.Call, in *sdk.DeleteObjectsInput) (all []authz.Access) {
		for _, o := range in.Delete.Objects {
			all = append(all, onVersion("DeleteObject", in.Bucket, o.Key, o.VersionId)...)
		}
		return all
	}))
}

// responseParams bind what a reader may override, and the version on both sides.
func responseParams() []wire.Option {
	return []wire.Option{
		wire.QueryParam("VersionId", "versionId"), wire.QueryParam("ResponseContentType", "response-content-type"),
		wire.QueryParam("ResponseContentDisposition", "response-content-disposition"), wire.QueryParam("ResponseCacheControl", "response-cache-control"),
		wire.QueryParam("ResponseContentEncoding", "response-content-encoding"), wire.QueryParam("ResponseContentLanguage", "response-content-language"),
		wire.QueryParam("ResponseExpires", "response-expires"), wire.QueryParam("PartNumber", "partNumber"),
	}
}

// newest is the current version of a key, a delete marker included.
func newest(tx *store.Tx, bucket, key string) (version, bool, error) {
	for r, err := range versions.Prefix(tx, bucket+"\x00"+key+"\x00") {
		return r.Value, err == nil, err
	}
	return version{}, false, nil
}

// add makes v the current version of its key. Without versioning it replaces
// the "null" version.
func add(tx *store.Tx, name string, b bucket, v *version) error {
	last, ok, err := newest(tx, name, v.Key)
	if err != nil {
		return err
	}
	v.Order = uint64(v.Modified.UnixNano()) //nolint:gosec // after 1970
	if ok && last.Order >= v.Order {
		v.Order = last.Order + 1
	}
	v.ID = "null"
	if b.Versioning == types.BucketVersioningStatusEnabled {
		v.ID = strings.ReplaceAll(uuid.NewString(), "-", "")
	} else if err := removeNull(tx, name, v.Key); err != nil {
		return err
	}
	return versions.Put(tx, rowKey(name, v.Key, v.Order), *v)
}

func removeNull(tx *store.Tx, bucket, key string) error {
	_, err := remove(tx, bucket, key, "null")
	return err
}

// remove deletes one version for good.
func remove(tx *store.Tx, bucket, key, id string) (gone *version, err error) {
	at := ""
	for r, err := range versions.Prefix(tx, bucket+"\x00"+key+"\x00") {
		if err != nil {
			return nil, err
		}
		if r.Value.ID == id {
			at, gone = r.Key, &r.Value
			break
		}
	}
	if gone == nil {
		return nil, nil
	}
	if err := gone.Blob.drop(tx); err != nil {
		return nil, err
	}
	return gone, versions.Delete(tx, at)
}

// PutObject stores an object as the current version of its key.
func (s *Service) PutObject(ctx context.Context, in *sdk.PutObjectInput) (*sdk.PutObjectOutput, error) {
	if in.SSECustomerAlgorithm != nil {
		return nil, fail("NotImplemented", "The embedded cloud has no encryption with customer-provided keys")
	}
	body, err := readBody(in.Body)
	if err != nil {
		return nil, fail("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
	}
	if err := checkKey(*in.Key); err != nil {
		return nil, err
	}
	v := &version{Key: *in.Key, Meta: in.Metadata, Headers: kept(map[string]*string{
		"ContentType": in.ContentType, "ContentEncoding": in.ContentEncoding, "ContentLanguage": in.ContentLanguage,
		"ContentDisposition": in.ContentDisposition, "CacheControl": in.CacheControl,
	})}
	if v.Tags, err = parseTags(in.Tagging); err != nil {
		return nil, err
	}
	var check blob
	if err := check.verify(in, in.ContentMD5, body); err != nil {
		return nil, err
	}
	b, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	enc, err := b.encryption(in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled)
	if err != nil {
		return nil, err
	}
	if err := s.put(ctx, *in.Bucket, v, enc, check, body, preconditions{in.IfMatch, in.IfNoneMatch}); err != nil {
		return nil, err
	}
	out := &sdk.PutObjectOutput{ETag: quoted(v.ETag), ServerSideEncryption: v.SSE}
	v.Blob.tell(out)
	if v.SSE == types.ServerSideEncryptionAwsKms {
		out.SSEKMSKeyId, out.BucketKeyEnabled = &v.Blob.Key, &v.Bucketed
	}
	if v.ID != "null" {
		out.VersionId = &v.ID
	}
	return out, nil
}

type preconditions struct{ match, noneMatch *string }

// hold judges If-Match and If-None-Match of a write against the current version.
func (p preconditions) hold(tx *store.Tx, bucket, key string) error {
	if p.match == nil && p.noneMatch == nil {
		return nil
	}
	cur, ok, err := newest(tx, bucket, key)
	if err != nil {
		return err
	}
	ok = ok && !cur.Marker
	if p.match != nil && !ok {
		return noSuchKey()
	}
	if p.noneMatch != nil && ok || p.match != nil && *quoted(*p.match) != *quoted(cur.ETag) {
		return fail("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	}
	return nil
}

// put encrypts and stores a body as v, whose ETag, blob and id it sets.
func (s *Service) put(ctx context.Context, name string, v *version, enc encryption, check blob, body []byte, p preconditions) error {
	bl, z, err := s.prepare(ctx, name, v.Key, enc)
	if err != nil {
		return err
	}
	bl.MD5, bl.Checks = check.MD5, check.Checks
	v.SSE, v.Bucketed, v.Modified = enc.algorithm, enc.bucketKey && enc.algorithm == types.ServerSideEncryptionAwsKms, time.Now().UTC()
	if v.ETag == "" {
		v.ETag = bl.MD5
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		b, err := load(tx, &name)
		if err != nil {
			return err
		}
		if err := p.hold(tx, name, v.Key); err != nil {
			return err
		}
		if err := bl.write(tx, z, body); err != nil {
			return err
		}
		v.Blob = bl
		return add(tx, name, b, v)
	})
}

func kept(m map[string]*string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		if v != nil && *v != "" {
			out[k] = *v
		}
	}
	return out
}

func parseTags(s *string) (map[string]string, error) {
	if s == nil || *s == "" {
		return nil, nil
	}
	q, err := url.ParseQuery(*s)
	if err != nil || len(q) > 10 {
		return nil, fail("InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
	}
	m := map[string]string{}
	for k, v := range q {
		m[k] = v[0]
	}
	return m, nil
}

// DeleteObject deletes a version, or adds a delete marker where versions are kept.
func (s *Service) DeleteObject(ctx context.Context, in *sdk.DeleteObjectInput) (*sdk.DeleteObjectOutput, error) {
	out := &sdk.DeleteObjectOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		d, err := deleteOne(tx, *in.Bucket, *in.Key, in.VersionId)
		if d.DeleteMarker != nil {
			out.DeleteMarker, out.VersionId = d.DeleteMarker, d.DeleteMarkerVersionId
		} else {
			out.VersionId = d.VersionId
		}
		return err
	})
}

func deleteOne(tx *store.Tx, name, key string, id *string) (d types.DeletedObject, err error) {
	b, err := load(tx, &name)
	if err != nil {
		return d, err
	}
	d.Key, d.VersionId = &key, id
	if id != nil {
		gone, err := remove(tx, name, key, *id)
		if gone != nil && gone.Marker {
			d.DeleteMarker, d.DeleteMarkerVersionId = new(true), id
		}
		return d, err
	}
	if b.Versioning == "" {
		return d, removeNull(tx, name, key)
	}
	m := &version{Key: key, Marker: true, Modified: time.Now().UTC()}
	if err := add(tx, name, b, m); err != nil {
		return d, err
	}
	d.DeleteMarker, d.DeleteMarkerVersionId = new(true), &m.ID
	return d, nil
}

// DeleteObjects deletes up to 1000 objects or versions.
func (s *Service) DeleteObjects(ctx context.Context, in *sdk.DeleteObjectsInput) (*sdk.DeleteObjectsOutput, error) {
	out := &sdk.DeleteObjectsOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		for _, o := range in.Delete.Objects {
			d, err := deleteOne(tx, *in.Bucket, *o.Key, o.VersionId)
			if err != nil {
				return err
			}
			if in.Delete.Quiet == nil || !*in.Delete.Quiet {
				out.Deleted = append(out.Deleted, d)
			}
		}
		return nil
	})
}

// source splits the x-amz-copy-source header.
func source(h *string) (bucket, key string, id *string) {
	if h == nil {
		return "", "", nil
	}
	s, query, _ := strings.Cut(*h, "?")
	if v, ok := strings.CutPrefix(query, "versionId="); ok {
		id = &v
	}
	if u, err := url.PathUnescape(s); err == nil {
		s = u
	}
	bucket, key, _ = strings.Cut(strings.TrimPrefix(s, "/"), "/")
	return bucket, key, id
}

// copying is what CopyObject needs. Tags that come along are read from one object
// and put on the other.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
func (s *Service) copying(c *wire.Call, in *sdk.CopyObjectInput) []authz.Access {
	bucket, key, id := source(in.CopySource)
	m := making{
		bucket: in.Bucket, key: in.Key, keyID: in.SSEKMSKeyId, source: in.CopySource, acl: in.ACL, encryption: in.ServerSideEncryption,
		class: in.StorageClass, directive: in.MetadataDirective, preconditions: preconditions{in.IfMatch, in.IfNoneMatch},
	}
	if in.TaggingDirective == types.TaggingDirectiveReplace {
		m.tagging = in.Tagging
	}
	tags := s.tags(c, &bucket, &key, id)
	all := append(m.access(), reading(&bucket, &key, id, tags)...)
	if in.TaggingDirective != types.TaggingDirectiveReplace && len(tags) > 0 {
		all = append(append(all, onVersion("GetObjectTagging", &bucket, &key, id)...), access("PutObjectTagging", in.Bucket, in.Key)...)
	}
	return all
}

// CopyObject copies an object, decrypting and encrypting it in the caller's name.
func (s *Service) CopyObject(ctx context.Context, in *sdk.CopyObjectInput) (*sdk.CopyObjectOutput, error) {
	fromBucket, fromKey, id := source(in.CopySource)
	if fromBucket == "" || fromKey == "" {
		return nil, fail("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
	}
	body, old, err := s.body(ctx, fromBucket, fromKey, id)
	if err != nil {
		return nil, err
	}
	b, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	enc, err := b.encryption(in.ServerSideEncryption, in.SSEKMSKeyId, in.BucketKeyEnabled)
	if err != nil {
		return nil, err
	}
	if err := checkKey(*in.Key); err != nil {
		return nil, err
	}
	v := &version{Key: *in.Key, Meta: old.Meta, Headers: old.Headers, Tags: old.Tags}
	if in.MetadataDirective == types.MetadataDirectiveReplace {
		v.Meta, v.Headers = in.Metadata, kept(map[string]*string{"ContentType": in.ContentType, "ContentEncoding": in.ContentEncoding, "CacheControl": in.CacheControl})
	}
	if in.TaggingDirective == types.TaggingDirectiveReplace {
		if v.Tags, err = parseTags(in.Tagging); err != nil {
			return nil, err
		}
	}
	var check blob
	if err := check.verify(struct{}{}, nil, body); err != nil {
		return nil, err
	}
	if err := s.put(ctx, *in.Bucket, v, enc, check, body, preconditions{in.IfMatch, in.IfNoneMatch}); err != nil {
		return nil, err
	}
	out := &sdk.CopyObjectOutput{CopyObjectResult: &types.CopyObjectResult{ETag: quoted(v.ETag), LastModified: &v.Modified}, ServerSideEncryption: v.SSE, CopySourceVersionId: id}
	if v.SSE == types.ServerSideEncryptionAwsKms {
		out.SSEKMSKeyId, out.BucketKeyEnabled = &v.Blob.Key, &v.Bucketed
	}
	if v.ID != "null" {
		out.VersionId = &v.ID
	}
	return out, nil
}
