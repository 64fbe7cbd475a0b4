package resource

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"miniforge/internal/graph"
)

// bucketAPI is what a Bucket asks of S3.
type bucketAPI interface {
	HeadBucket(context.Context, *s3.HeadBucketInput, ...func(*s3.Options)) (*s3.HeadBucketOutput, error)
	CreateBucket(context.Context, *s3.CreateBucketInput, ...func(*s3.Options)) (*s3.CreateBucketOutput, error)
	DeleteBucket(context.Context, *s3.DeleteBucketInput, ...func(*s3.Options)) (*s3.DeleteBucketOutput, error)
	GetBucketTagging(context.Context, *s3.GetBucketTaggingInput, ...func(*s3.Options)) (*s3.GetBucketTaggingOutput, error)
	PutBucketTagging(context.Context, *s3.PutBucketTaggingInput, ...func(*s3.Options)) (*s3.PutBucketTaggingOutput, error)
	GetBucketVersioning(context.Context, *s3.GetBucketVersioningInput, ...func(*s3.Options)) (*s3.GetBucketVersioningOutput, error)
	PutBucketVersioning(context.Context, *s3.PutBucketVersioningInput, ...func(*s3.Options)) (*s3.PutBucketVersioningOutput, error)
	GetBucketEncryption(context.Context, *s3.GetBucketEncryptionInput, ...func(*s3.Options)) (*s3.GetBucketEncryptionOutput, error)
	PutBucketEncryption(context.Context, *s3.PutBucketEncryptionInput, ...func(*s3.Options)) (*s3.PutBucketEncryptionOutput, error)
	GetPublicAccessBlock(context.Context, *s3.GetPublicAccessBlockInput, ...func(*s3.Options)) (*s3.GetPublicAccessBlockOutput, error)
	PutPublicAccessBlock(context.Context, *s3.PutPublicAccessBlockInput, ...func(*s3.Options)) (*s3.PutPublicAccessBlockOutput, error)
	GetBucketPolicy(context.Context, *s3.GetBucketPolicyInput, ...func(*s3.Options)) (*s3.GetBucketPolicyOutput, error)
	PutBucketPolicy(context.Context, *s3.PutBucketPolicyInput, ...func(*s3.Options)) (*s3.PutBucketPolicyOutput, error)
	bucketContentAPI
}

var _ bucketAPI = (*s3.Client)(nil)

// A Bucket is a versioned S3 bucket, encrypted with a customer-managed key
// under a bucket key, with all public access blocked.
type Bucket struct {
	S3     bucketAPI
	Owner  Owner
	Name   string
	ARN    string
	Region string
	Key    *Key
	Policy Policy
}

func (b *Bucket) ID() string              { return "s3/" + b.Name }
func (b *Bucket) Needs() []graph.Resource { return []graph.Resource{b.Key} }

// bucketState is what S3 keeps of a bucket in five places.
type bucketState struct {
	tags       map[string]string
	versioning string
	key        string
	bucketKey  bool
	public     *types.PublicAccessBlockConfiguration
	policy     string
}

func (b *Bucket) Observe(ctx context.Context) (graph.Observation, error) {
	_, err := b.S3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &b.Name})
	switch {
	case gone(err):
		return graph.Observation{}, nil
	case hasCode(err, "Forbidden", "AccessDenied"): // somebody else's: names are global
		return graph.Observation{Exists: true}, nil
	case err != nil:
		return graph.Observation{}, failed("find bucket", b.Name, err)
	}
	got, err := b.read(ctx)
	if err != nil {
		return graph.Observation{}, failed("read bucket", b.Name, err)
	}
	owned := b.Owner.owns(got.tags)
	if len(got.tags) == 0 {
		// A bucket is tagged after it is made. One that carries our full name
		// (with account and region), no tag and no object is ours, left by a
		// run that was killed between the two calls.
		if owned, err = b.empty(ctx); err != nil {
			return graph.Observation{}, failed("list bucket", b.Name, err)
		}
	}
	return graph.Observation{Exists: true, Owned: owned, Drift: b.compare(got)}, nil
}

func (b *Bucket) read(ctx context.Context) (got bucketState, err error) {
	err = together(ctx, func(ctx context.Context) error {
		out, err := b.S3.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: &b.Name})
		if err == nil {
			got.tags = tagMap(out.TagSet, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
		}
		return absentIsNil(err)
	}, func(ctx context.Context) error {
		out, err := b.S3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &b.Name})
		if err == nil {
			got.versioning = string(out.Status)
		}
		return err
	}, func(ctx context.Context) error {
		out, err := b.S3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &b.Name})
		if err == nil && out.ServerSideEncryptionConfiguration != nil {
			for _, r := range out.ServerSideEncryptionConfiguration.Rules {
				got.bucketKey = deref(r.BucketKeyEnabled)
				if by := r.ApplyServerSideEncryptionByDefault; by != nil && by.SSEAlgorithm == types.ServerSideEncryptionAwsKms {
					got.key = deref(by.KMSMasterKeyID)
				}
			}
		}
		return absentIsNil(err)
	}, func(ctx context.Context) error {
		out, err := b.S3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &b.Name})
		if err == nil {
			got.public = out.PublicAccessBlockConfiguration
		}
		return absentIsNil(err)
	}, func(ctx context.Context) error {
		out, err := b.S3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &b.Name})
		if err == nil {
			got.policy = deref(out.Policy)
		}
		return absentIsNil(err)
	})
	return got, err
}

func absentIsNil(err error) error {
	if gone(err) {
		return nil
	}
	return err
}

func (b *Bucket) compare(got bucketState) (d drift) {
	d.maps("Tags.", b.Owner.Tags(), got.tags)
	d.add("Versioning", "Enabled", got.versioning)
	d.add("Encryption.KMSMasterKeyID", orUnknown(b.Key.ARN()), got.key)
	d.bool("Encryption.BucketKeyEnabled", true, got.bucketKey)
	p := got.public
	blocked := p != nil && deref(p.BlockPublicAcls) && deref(p.BlockPublicPolicy) && deref(p.IgnorePublicAcls) && deref(p.RestrictPublicBuckets)
	d.bool("PublicAccessBlock", true, blocked)
	d.json("Policy", b.Policy.String(), got.policy)
	return d
}

func (b *Bucket) Create(ctx context.Context) error {
	in := &s3.CreateBucketInput{Bucket: &b.Name}
	if b.Region != "us-east-1" { // which refuses to be named
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(b.Region)}
	}
	_, err := b.S3.CreateBucket(ctx, in)
	if err != nil && !hasCode(err, "BucketAlreadyOwnedByYou") {
		return failed("create bucket", b.Name, err)
	}
	return b.Update(ctx, b.compare(bucketState{}))
}

// Update makes one call for each setting. The tag is the first, so that a run
// that is killed here has already marked what it made.
func (b *Bucket) Update(ctx context.Context, diffs []graph.Diff) error {
	for _, s := range []struct {
		field string
		set   func(context.Context) error
	}{
		{"Tags", b.setTags},
		{"PublicAccessBlock", b.setPublicAccessBlock},
		{"Versioning", b.setVersioning},
		{"Encryption", b.setEncryption},
		{"Policy", b.setPolicy},
	} {
		if !drifted(diffs, s.field) {
			continue
		}
		if err := s.set(ctx); gone(err) {
			return notYet("set "+s.field+" of bucket", b.Name, err) // made, and not yet visible
		} else if err != nil {
			return failed("set "+s.field+" of bucket", b.Name, err)
		}
	}
	return nil
}

func (b *Bucket) setTags(ctx context.Context) error {
	set := tagList(b.Owner.Tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} })
	_, err := b.S3.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &b.Name, Tagging: &types.Tagging{TagSet: set}})
	return err
}

func (b *Bucket) setPublicAccessBlock(ctx context.Context) error {
	on := true
	_, err := b.S3.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: &b.Name, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
		BlockPublicAcls: &on, BlockPublicPolicy: &on, IgnorePublicAcls: &on, RestrictPublicBuckets: &on,
	}})
	return err
}

func (b *Bucket) setVersioning(ctx context.Context) error {
	_, err := b.S3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &b.Name, VersioningConfiguration: &types.VersioningConfiguration{
		Status: types.BucketVersioningStatusEnabled,
	}})
	return err
}

func (b *Bucket) setEncryption(ctx context.Context) error {
	on, key := true, b.Key.ARN()
	_, err := b.S3.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: &b.Name, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
		Rules: []types.ServerSideEncryptionRule{{
			BucketKeyEnabled: &on,
			ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{
				SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &key,
			},
		}},
	}})
	return err
}

func (b *Bucket) setPolicy(ctx context.Context) error {
	policy := b.Policy.String()
	_, err := b.S3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &b.Name, Policy: &policy})
	return err
}

// Delete empties the bucket and removes it. Something may still be writing, so
// a bucket that is not empty after all is tried again.
func (b *Bucket) Delete(ctx context.Context) error {
	if err := b.clear(ctx); err != nil && !gone(err) {
		return fmt.Errorf("empty bucket %s: %w", b.Name, err)
	}
	_, err := b.S3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &b.Name})
	return deleted("bucket "+b.Name, err)
}
