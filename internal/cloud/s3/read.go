package s3

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// find returns the version that a reader asks for.
func find(tx *store.Tx, bucket, key string, id *string) (version, error) {
	if _, err := load(tx, &bucket); err != nil {
		return version{}, err
	}
	if id == nil {
		v, ok, err := newest(tx, bucket, key)
		if err == nil && (!ok || v.Marker) {
			err = noSuchKey()
		}
		return v, err
	}
	for r, err := range versions.Prefix(tx, bucket+"\x00"+key+"\x00") {
		if err != nil {
			return version{}, err
		}
		if r.Value.ID != *id {
			continue
		}
		if r.Value.Marker {
			return version{}, &wire.Error{Code: "MethodNotAllowed", Message: "The specified method is not allowed against this resource.", Status: http.StatusMethodNotAllowed}
		}
		return r.Value, nil
	}
	return version{}, fail("NoSuchVersion", "The specified version does not exist.")
}

// HeadObject describes an object.
func (s *Service) HeadObject(_ context.Context, in *sdk.HeadObjectInput) (*sdk.HeadObjectOutput, error) {
	var v version
	err := s.DB.View(func(tx *store.Tx) (err error) {
		v, err = find(tx, *in.Bucket, *in.Key, in.VersionId)
		return err
	})
	if err == nil {
		err = readable(v, in.IfMatch, in.IfNoneMatch, in.IfModifiedSince, in.IfUnmodifiedSince)
	}
	if err != nil {
		return nil, err
	}
	out := &sdk.HeadObjectOutput{
		ContentLength: &v.Blob.Size, ETag: quoted(v.ETag), LastModified: &v.Modified, Metadata: v.Meta, ServerSideEncryption: v.SSE, AcceptRanges: new("bytes"),
		ContentType: header(v, "ContentType", nil), ContentEncoding: header(v, "ContentEncoding", nil), ContentLanguage: header(v, "ContentLanguage", nil),
		ContentDisposition: header(v, "ContentDisposition", nil), CacheControl: header(v, "CacheControl", nil),
	}
	if in.ChecksumMode == types.ChecksumModeEnabled {
		v.Blob.tell(out)
	}
	if v.SSE == types.ServerSideEncryptionAwsKms {
		out.SSEKMSKeyId, out.BucketKeyEnabled = &v.Blob.Key, &v.Bucketed
	}
	if v.ID != "null" {
		out.VersionId = &v.ID
	}
	return out, nil
}

func header(v version, name string, override *string) *string {
	if override != nil {
		return override
	}
	if h, ok := v.Headers[name]; ok {
		return &h
	}
	if name == "ContentType" {
		return new("binary/octet-stream")
	}
	return nil
}

// readable judges the conditions of a read.
func readable(v version, match, noneMatch *string, modified, unmodified *time.Time) error {
	at := v.Modified.Truncate(time.Second)
	switch {
	case match != nil && *quoted(*match) != *quoted(v.ETag), match == nil && unmodified != nil && at.After(*unmodified):
		return fail("PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
	case noneMatch != nil && *quoted(*noneMatch) == *quoted(v.ETag), noneMatch == nil && modified != nil && !at.After(*modified):
		return fail("NotModified", "Not Modified")
	}
	return nil
}

// GetObject returns an object, or a range of it.
func (s *Service) GetObject(ctx context.Context, in *sdk.GetObjectInput) (*sdk.GetObjectOutput, error) {
	head, err := s.HeadObject(ctx, &sdk.HeadObjectInput{
		Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId, IfMatch: in.IfMatch, IfNoneMatch: in.IfNoneMatch,
		IfModifiedSince: in.IfModifiedSince, IfUnmodifiedSince: in.IfUnmodifiedSince, ChecksumMode: in.ChecksumMode,
	})
	if err != nil {
		return nil, err
	}
	body, v, err := s.body(ctx, *in.Bucket, *in.Key, in.VersionId)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetObjectOutput{
		ETag: head.ETag, LastModified: head.LastModified, Metadata: head.Metadata, ServerSideEncryption: head.ServerSideEncryption, SSEKMSKeyId: head.SSEKMSKeyId,
		BucketKeyEnabled: head.BucketKeyEnabled, VersionId: head.VersionId, AcceptRanges: head.AcceptRanges, ContentEncoding: header(v, "ContentEncoding", in.ResponseContentEncoding),
		ContentLanguage: header(v, "ContentLanguage", in.ResponseContentLanguage), ContentType: header(v, "ContentType", in.ResponseContentType),
		ContentDisposition: header(v, "ContentDisposition", in.ResponseContentDisposition), CacheControl: header(v, "CacheControl", in.ResponseCacheControl),
	}
	if in.ResponseExpires != nil {
		out.ExpiresString = new(in.ResponseExpires.UTC().Format(http.TimeFormat))
	}
	if in.Range != nil {
		from, to, ok := parseRange(*in.Range, int64(len(body)))
		if !ok {
			return nil, fail("InvalidRange", "The requested range is not satisfiable")
		}
		if to > 0 {
			out.ContentRange = new(fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(body)))
			wire.CallOf(ctx).Status = http.StatusPartialContent
			body = body[from:to]
		}
	} else if in.ChecksumMode == types.ChecksumModeEnabled {
		v.Blob.tell(out) // a checksum is of the whole object
	}
	out.ContentLength, out.Body = new(int64(len(body))), stream(body)
	return out, nil
}

// body reads and decrypts a version's body.
func (s *Service) body(ctx context.Context, bucket, key string, id *string) (body []byte, v version, err error) {
	err = s.DB.View(func(tx *store.Tx) (err error) {
		v, err = find(tx, bucket, key, id)
		return err
	})
	if err != nil {
		return nil, v, err
	}
	z, err := s.unseal(ctx, v.Blob)
	if err != nil {
		return nil, v, err
	}
	err = s.DB.View(func(tx *store.Tx) (err error) {
		body, err = v.Blob.read(tx, z)
		return err
	})
	return body, v, err
}

// parseRange reads "bytes=from-to"; to is exclusive in the answer and 0 for a
// header that is to be ignored.
func parseRange(h string, size int64) (from, to int64, ok bool) {
	spec, found := strings.CutPrefix(h, "bytes=")
	a, b, dash := strings.Cut(spec, "-")
	if !found || !dash || strings.Contains(spec, ",") {
		return 0, 0, true
	}
	if a == "" {
		n, err := strconv.ParseInt(b, 10, 64)
		if err != nil || n <= 0 || size == 0 {
			return 0, 0, err != nil
		}
		return max(0, size-n), size, true
	}
	from, err := strconv.ParseInt(a, 10, 64)
	if err != nil {
		return 0, 0, true
	}
	to = size
	if b != "" {
		n, err := strconv.ParseInt(b, 10, 64)
		if err != nil || n < from {
			return 0, 0, true
		}
		to = min(size, n+1)
	}
	return from, to, from < size
}

func encodeToken(s string) *string { return new(base64.RawURLEncoding.EncodeToString([]byte(s))) }

func decodeToken(t string) (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(t)
	if err != nil {
		return "", fail("InvalidArgument", "The continuation token provided is incorrect")
	}
	return string(b), nil
}
