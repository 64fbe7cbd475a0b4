package s3

import (
	"context"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerLists(api *wire.API) {
	params := func(more ...wire.Option) []wire.Option {
		return append(more, wire.QueryParam("Prefix", "prefix"), wire.QueryParam("Delimiter", "delimiter"), wire.QueryParam("MaxKeys", "max-keys"), wire.QueryParam("EncodingType", "encoding-type"))
	}
	bind(api, "GET /{Bucket}?list-type=2", s.ListObjectsV2, params(wire.Root("ListBucketResult"), wire.QueryParam("ContinuationToken", "continuation-token"), wire.QueryParam("StartAfter", "start-after"), wire.QueryParam("FetchOwner", "fetch-owner"),
		wire.Needs(func(_ *wire.Call, in *sdk.ListObjectsV2Input) []authz.Access {
			return listed("ListBucket", in.Bucket, in.Prefix, in.Delimiter, in.MaxKeys)
		}))...)
	bind(api, "GET /{Bucket}", s.ListObjects, params(wire.Root("ListBucketResult"), wire.QueryParam("Marker", "marker"),
		wire.Needs(func(_ *wire.Call, in *sdk.ListObjectsInput) []authz.Access {
			return listed("ListBucket", in.Bucket, in.Prefix, in.Delimiter, in.MaxKeys)
		}))...)
	bind(api, "GET /{Bucket}?versions", s.ListObjectVersions, params(wire.Root("ListVersionsResult"), wire.QueryParam("KeyMarker", "key-marker"), wire.QueryParam("VersionIdMarker", "version-id-marker"),
		wire.Needs(func(_ *wire.Call, in *sdk.ListObjectVersionsInput) []authz.Access {
			return listed("ListBucketVersions", in.Bucket, in.Prefix, in.Delimiter, in.MaxKeys)
		}))...)
}

// A listing walks over the keys of a bucket, rolling those with a common
// prefix up to the delimiter into one.
type listing struct {
	bucket, prefix, delimiter string
	after                     string // last key, or common prefix, of the page before
	max                       int
}

func newListing(bucket, prefix, delimiter *string, max *int32) (listing, error) {
	l := listing{bucket: *bucket, max: 1000}
	if prefix != nil {
		l.prefix = *prefix
	}
	if delimiter != nil {
		l.delimiter = *delimiter
	}
	if max != nil {
		if *max < 0 {
			return l, fail("InvalidArgument", "Argument maxKeys must be an integer between 0 and 2147483647")
		}
		l.max = min(int(*max), 1000)
	}
	return l, nil
}

// walk calls key for each current object and common for each common prefix, up
// to max of both, and returns the last if there is more.
func (l listing) walk(tx *store.Tx, key func(version), common func(string)) (last string, more bool, err error) {
	from := l.bucket + "\x00" + l.prefix
	if l.after >= l.prefix && l.after != "" {
		from = l.next(l.after)
	}
	for n := 0; ; {
		v, at, ok, err := first(tx, from, store.PrefixEnd(l.bucket+"\x00"+l.prefix))
		if err != nil || !ok {
			return "", false, err
		}
		from = store.PrefixEnd(at)
		if v.Marker {
			continue
		}
		if n == l.max {
			return last, l.max > 0, nil
		}
		n++
		if i := strings.Index(v.Key[len(l.prefix):], l.delimiter); l.delimiter != "" && i >= 0 {
			last = v.Key[:len(l.prefix)+i+len(l.delimiter)]
			common(last)
			from = l.next(last)
			continue
		}
		last = v.Key
		key(v)
	}
}

// next is where to go on after a key or, if it is a common prefix, after all
// keys under it: what has its only delimiter behind the prefix at its end.
func (l listing) next(after string) string {
	if rest, ok := strings.CutPrefix(after, l.prefix); ok && l.delimiter != "" {
		if i := strings.Index(rest, l.delimiter); i >= 0 && i == len(rest)-len(l.delimiter) {
			return store.PrefixEnd(l.bucket + "\x00" + after)
		}
	}
	return l.bucket + "\x00" + after + "\x01" // after every version: those follow a NUL
}

// first is the newest version of the first key from a row on; at is the prefix
// of all versions of that key.
func first(tx *store.Tx, from, to string) (v version, at string, ok bool, err error) {
	for r, err := range versions.Range(tx, from, to) {
		if err != nil {
			return v, "", false, err
		}
		return r.Value, r.Key[:strings.LastIndexByte(r.Key, 0)+1], true, nil
	}
	return v, "", false, nil
}

func object(v version) types.Object {
	o := types.Object{Key: &v.Key, ETag: quoted(v.ETag), Size: &v.Blob.Size, LastModified: &v.Modified, StorageClass: types.ObjectStorageClassStandard}
	for name := range v.Blob.Checks {
		o.ChecksumAlgorithm, o.ChecksumType = []types.ChecksumAlgorithm{types.ChecksumAlgorithm(name)}, types.ChecksumTypeFullObject
	}
	return o
}

// ListObjectsV2 lists current objects.
func (s *Service) ListObjectsV2(_ context.Context, in *sdk.ListObjectsV2Input) (*sdk.ListObjectsV2Output, error) {
	l, err := newListing(in.Bucket, in.Prefix, in.Delimiter, in.MaxKeys)
	if err != nil {
		return nil, err
	}
	if in.StartAfter != nil {
		l.after = *in.StartAfter
	}
	if in.ContinuationToken != nil {
		if l.after, err = decodeToken(*in.ContinuationToken); err != nil {
			return nil, err
		}
	}
	out := &sdk.ListObjectsV2Output{
		Name: in.Bucket, Prefix: new(l.prefix), Delimiter: in.Delimiter, MaxKeys: new(int32(l.max)), ContinuationToken: in.ContinuationToken, StartAfter: in.StartAfter, //nolint:gosec // at most 1000
		EncodingType: in.EncodingType,
	}
	err = s.DB.View(func(tx *store.Tx) error {
		if _, err := load(tx, in.Bucket); err != nil {
			return err
		}
		last, more, err := l.walk(tx, func(v version) {
			o := object(v)
			if in.FetchOwner != nil && *in.FetchOwner {
				o.Owner = s.owner()
			}
			out.Contents = append(out.Contents, o)
		}, func(p string) { out.CommonPrefixes = append(out.CommonPrefixes, types.CommonPrefix{Prefix: &p}) })
		if out.IsTruncated = &more; more {
			out.NextContinuationToken = encodeToken(last)
		}
		return err
	})
	out.KeyCount = new(int32(len(out.Contents) + len(out.CommonPrefixes))) //nolint:gosec // at most 1000
	return out, err
}

// ListObjects lists current objects by the older operation.
func (s *Service) ListObjects(_ context.Context, in *sdk.ListObjectsInput) (*sdk.ListObjectsOutput, error) {
	l, err := newListing(in.Bucket, in.Prefix, in.Delimiter, in.MaxKeys)
	if err != nil {
		return nil, err
	}
	if in.Marker != nil {
		l.after = *in.Marker
	}
	out := &sdk.ListObjectsOutput{Name: in.Bucket, Prefix: new(l.prefix), Marker: new(l.after), Delimiter: in.Delimiter, MaxKeys: new(int32(l.max)), EncodingType: in.EncodingType} //nolint:gosec // at most 1000
	return out, s.DB.View(func(tx *store.Tx) error {
		if _, err := load(tx, in.Bucket); err != nil {
			return err
		}
		last, more, err := l.walk(tx, func(v version) {
			o := object(v)
			o.Owner = s.owner()
			out.Contents = append(out.Contents, o)
		}, func(p string) { out.CommonPrefixes = append(out.CommonPrefixes, types.CommonPrefix{Prefix: &p}) })
		if out.IsTruncated = &more; more && in.Delimiter != nil {
			out.NextMarker = &last
		}
		return err
	})
}

// ListObjectVersions lists all versions and delete markers, the newest of a key first.
func (s *Service) ListObjectVersions(_ context.Context, in *sdk.ListObjectVersionsInput) (*sdk.ListObjectVersionsOutput, error) {
	l, err := newListing(in.Bucket, in.Prefix, in.Delimiter, in.MaxKeys)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListObjectVersionsOutput{
		Name: in.Bucket, Prefix: new(l.prefix), Delimiter: in.Delimiter, MaxKeys: new(int32(l.max)), KeyMarker: in.KeyMarker, VersionIdMarker: in.VersionIdMarker, //nolint:gosec // at most 1000
		IsTruncated: new(false), EncodingType: in.EncodingType,
	}
	return out, s.DB.View(func(tx *store.Tx) error {
		if _, err := load(tx, in.Bucket); err != nil {
			return err
		}
		return s.listVersions(tx, l, in, out)
	})
}

func (s *Service) listVersions(tx *store.Tx, l listing, in *sdk.ListObjectVersionsInput, out *sdk.ListObjectVersionsOutput) error {
	from, previous, seen := l.bucket+"\x00"+l.prefix, "", map[string]bool{}
	skipping := false
	if m := in.KeyMarker; m != nil && *m != "" {
		from = l.next(*m)
		if in.VersionIdMarker != nil && *in.VersionIdMarker != "" {
			from, skipping, previous = l.bucket+"\x00"+*m+"\x00", true, ""
		}
	}
	n := 0
	lastKey, lastID := "", ""
	for r, err := range versions.Range(tx, from, store.PrefixEnd(l.bucket+"\x00"+l.prefix)) {
		if err != nil {
			return err
		}
		v := r.Value
		latest := v.Key != previous
		previous = v.Key
		if skipping && v.Key == *in.KeyMarker {
			skipping = v.ID != *in.VersionIdMarker
			continue
		}
		common := ""
		if i := strings.Index(v.Key[len(l.prefix):], l.delimiter); l.delimiter != "" && i >= 0 {
			if common = v.Key[:len(l.prefix)+i+len(l.delimiter)]; seen[common] {
				continue
			}
		}
		if n == l.max {
			out.IsTruncated, out.NextKeyMarker, out.NextVersionIdMarker = new(true), &lastKey, &lastID
			return nil
		}
		n++
		switch lastKey, lastID = v.Key, v.ID; {
		case common != "":
			seen[common], lastKey, lastID = true, common, ""
			out.CommonPrefixes = append(out.CommonPrefixes, types.CommonPrefix{Prefix: &common})
		case v.Marker:
			out.DeleteMarkers = append(out.DeleteMarkers, types.DeleteMarkerEntry{Key: &v.Key, VersionId: &v.ID, IsLatest: &latest, LastModified: &v.Modified, Owner: s.owner()})
		default:
			out.Versions = append(out.Versions, types.ObjectVersion{Key: &v.Key, VersionId: &v.ID, IsLatest: &latest, LastModified: &v.Modified, ETag: quoted(v.ETag), Size: &v.Blob.Size, Owner: s.owner(), StorageClass: types.ObjectVersionStorageClassStandard})
		}
	}
	return nil
}
