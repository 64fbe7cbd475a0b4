package s3

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const buckets = store.Table[bucket]("s3.buckets")

// A bucket is a bucket with its configuration; its name is the row's key.
type bucket struct {
	Region     string
	Created    time.Time
	Tags       map[string]string                        `json:",omitempty"`
	Versioning types.BucketVersioningStatus             `json:",omitempty"`
	Encryption *types.ServerSideEncryptionConfiguration `json:",omitempty"`
	Access     *types.PublicAccessBlockConfiguration    `json:",omitempty"`
	Ownership  *types.OwnershipControls                 `json:",omitempty"`
	Policy     string                                   `json:",omitempty"`
}

func (s *Service) registerBuckets(api *wire.API) {
	bind(api, "GET /", s.ListBuckets, wire.Root("ListAllMyBucketsResult"), wire.QueryParam("Prefix", "prefix"),
		wire.QueryParam("MaxBuckets", "max-buckets"), wire.QueryParam("BucketRegion", "bucket-region"), wire.QueryParam("ContinuationToken", "continuation-token"),
		wire.Needs(func(*wire.Call, *sdk.ListBucketsInput) []authz.Access {
			return []authz.Access{{Action: "s3:ListAllMyBuckets", Resource: "*"}}
		}))
	bind(api, "PUT /{Bucket}", s.CreateBucket, wire.Payload("CreateBucketConfiguration"), wire.Needs(func(_ *wire.Call, in *sdk.CreateBucketInput) []authz.Access {
		return access("CreateBucket", in.Bucket, nil)
	}))
	bind(api, "DELETE /{Bucket}", s.DeleteBucket, wire.Status(204), wire.Needs(func(_ *wire.Call, in *sdk.DeleteBucketInput) []authz.Access {
		return access("DeleteBucket", in.Bucket, nil)
	}))
	bind(api, "HEAD /{Bucket}", s.HeadBucket, wire.Needs(func(_ *wire.Call, in *sdk.HeadBucketInput) []authz.Access {
		return access("ListBucket", in.Bucket, nil)
	}))
	bind(api, "GET /{Bucket}?location", s.GetBucketLocation, wire.Root("LocationConstraint"), wire.RootText("LocationConstraint"), wire.Needs(func(_ *wire.Call, in *sdk.GetBucketLocationInput) []authz.Access {
		return access("GetBucketLocation", in.Bucket, nil)
	}))
	bind(api, "GET /{Bucket}?acl", s.GetBucketAcl, wire.Root("AccessControlPolicy"), wire.Needs(func(_ *wire.Call, in *sdk.GetBucketAclInput) []authz.Access {
		return access("GetBucketAcl", in.Bucket, nil)
	}))
	s.registerConfig(api)
}

var (
	bucketText = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	ipText     = regexp.MustCompile(`^\d+\.\d+\.\d+\.\d+$`)
)

// CreateBucket makes a bucket. In us-east-1, making one's own bucket again
// changes nothing and is no error, as on AWS.
func (s *Service) CreateBucket(ctx context.Context, in *sdk.CreateBucketInput) (*sdk.CreateBucketOutput, error) {
	c := wire.CallOf(ctx)
	if n := *in.Bucket; !bucketText.MatchString(n) || ipText.MatchString(n) || strings.Contains(n, "..") || strings.HasPrefix(n, "xn--") {
		return nil, fail("InvalidBucketName", "The specified bucket is not valid.")
	}
	where := ""
	if in.CreateBucketConfiguration != nil {
		where = string(in.CreateBucketConfiguration.LocationConstraint)
	}
	switch {
	case where == "us-east-1":
		return nil, fail("InvalidLocationConstraint", "The specified location-constraint is not valid")
	case c.Region != "us-east-1" && where != c.Region, c.Region == "us-east-1" && where != "":
		if where == "" {
			where = "unspecified"
		}
		return nil, fail("IllegalLocationConstraintException", "The "+where+" location constraint is incompatible for the region specific endpoint this request was sent to.")
	}
	b := bucket{
		Region: c.Region, Created: time.Now().UTC(), Encryption: defaultEncryption(),
		Access:    &types.PublicAccessBlockConfiguration{BlockPublicAcls: new(true), BlockPublicPolicy: new(true), IgnorePublicAcls: new(true), RestrictPublicBuckets: new(true)},
		Ownership: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced}}},
	}
	if in.ObjectOwnership != "" {
		b.Ownership.Rules[0].ObjectOwnership = in.ObjectOwnership
	}
	if in.CreateBucketConfiguration != nil {
		b.Tags = tagMap(in.CreateBucketConfiguration.Tags)
	}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		old, ok, err := buckets.Get(tx, *in.Bucket)
		if err != nil || !ok {
			return firstError(err, func() error { return buckets.Put(tx, *in.Bucket, b) })
		}
		if c.Region == "us-east-1" && old.Region == c.Region {
			return nil
		}
		return &types.BucketAlreadyOwnedByYou{Message: new("Your previous request to create the named bucket succeeded and you already own it.")}
	})
	return &sdk.CreateBucketOutput{Location: new("/" + *in.Bucket), BucketArn: new(arn(*in.Bucket))}, err
}

func firstError(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

// defaultEncryption is what every bucket has unless told otherwise: SSE-S3.
func defaultEncryption() *types.ServerSideEncryptionConfiguration {
	return &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
		ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}, BucketKeyEnabled: new(false),
	}}}
}

func load(tx *store.Tx, name *string) (bucket, error) {
	b, ok, err := buckets.Get(tx, *name)
	if err == nil && !ok {
		err = noSuchBucket()
	}
	return b, err
}

func (s *Service) bucket(name *string) (b bucket, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		b, err = load(tx, name)
		return err
	})
	return b, err
}

func (s *Service) change(ctx context.Context, name *string, f func(*bucket) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		b, err := load(tx, name)
		if err != nil {
			return err
		}
		if err := f(&b); err != nil {
			return err
		}
		return buckets.Put(tx, *name, b)
	})
}

// ListBuckets lists all buckets.
func (s *Service) ListBuckets(_ context.Context, in *sdk.ListBucketsInput) (*sdk.ListBucketsOutput, error) {
	out := &sdk.ListBucketsOutput{Owner: s.owner(), Buckets: []types.Bucket{}, Prefix: in.Prefix}
	from := ""
	if in.ContinuationToken != nil {
		var err error
		if from, err = decodeToken(*in.ContinuationToken); err != nil {
			return nil, err
		}
		from += "\x00"
	}
	limit := 10000
	if in.MaxBuckets != nil && *in.MaxBuckets > 0 {
		limit = int(*in.MaxBuckets)
	}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range buckets.Range(tx, from, "") {
			if err != nil {
				return err
			}
			if in.Prefix != nil && !strings.HasPrefix(r.Key, *in.Prefix) || in.BucketRegion != nil && *in.BucketRegion != r.Value.Region {
				continue
			}
			if len(out.Buckets) == limit {
				out.ContinuationToken = encodeToken(*out.Buckets[limit-1].Name)
				return nil
			}
			out.Buckets = append(out.Buckets, types.Bucket{Name: new(r.Key), CreationDate: new(r.Value.Created), BucketRegion: new(r.Value.Region), BucketArn: new(arn(r.Key))})
		}
		return nil
	})
}

func (s *Service) owner() *types.Owner { return &types.Owner{ID: new(s.Account)} }

// HeadBucket tells whether a bucket exists, and where.
func (s *Service) HeadBucket(_ context.Context, in *sdk.HeadBucketInput) (*sdk.HeadBucketOutput, error) {
	b, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	return &sdk.HeadBucketOutput{BucketRegion: &b.Region, BucketArn: new(arn(*in.Bucket))}, nil
}

// GetBucketLocation tells a bucket's region; that of us-east-1 is empty.
func (s *Service) GetBucketLocation(_ context.Context, in *sdk.GetBucketLocationInput) (*sdk.GetBucketLocationOutput, error) {
	b, err := s.bucket(in.Bucket)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetBucketLocationOutput{}
	if b.Region != "us-east-1" {
		out.LocationConstraint = types.BucketLocationConstraint(b.Region)
	}
	return out, nil
}

// GetBucketAcl answers what every bucket with ACLs disabled has: the owner's full control.
func (s *Service) GetBucketAcl(_ context.Context, in *sdk.GetBucketAclInput) (*sdk.GetBucketAclOutput, error) { //nolint:revive // the operation is called so
	if _, err := s.bucket(in.Bucket); err != nil {
		return nil, err
	}
	return &sdk.GetBucketAclOutput{Owner: s.owner(), Grants: []types.Grant{{Grantee: &types.Grantee{ID: new(s.Account), Type: types.TypeCanonicalUser}, Permission: types.PermissionFullControl}}}, nil
}

// DeleteBucket deletes an empty bucket.
func (s *Service) DeleteBucket(ctx context.Context, in *sdk.DeleteBucketInput) (*sdk.DeleteBucketOutput, error) {
	return &sdk.DeleteBucketOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := load(tx, in.Bucket); err != nil {
			return err
		}
		for _, err := range versions.Prefix(tx, *in.Bucket+"\x00") {
			if err != nil {
				return err
			}
			return fail("BucketNotEmpty", "The bucket you tried to delete is not empty. You must delete all versions in the bucket.")
		}
		// Unfinished uploads do not keep a bucket alive.
		if err := dropUploads(tx, *in.Bucket); err != nil {
			return err
		}
		return buckets.Delete(tx, *in.Bucket)
	})
}

func tagMap(tags []types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		if t.Key != nil && t.Value != nil {
			m[*t.Key] = *t.Value
		}
	}
	return m
}

func tagList(m map[string]string) []types.Tag {
	out := []types.Tag{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, types.Tag{Key: new(k), Value: new(m[k])})
	}
	return out
}
