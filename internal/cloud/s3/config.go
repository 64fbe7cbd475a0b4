package s3

import (
	"context"
	"encoding/json"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

// onBucket judges an operation by an action on the bucket that it names.
func onBucket[In any](action string, bucket func(*In) *string) wire.Option {
	return wire.Needs(func(_ *wire.Call, in *In) []authz.Access { return access(action, bucket(in), nil) })
}

// registerConfig adds the operations on a bucket's configuration: a GET, PUT
// and DELETE of each subresource.
func (s *Service) registerConfig(api *wire.API) {
	bind(api, "GET /{Bucket}?tagging", s.GetBucketTagging, wire.Root("Tagging"), onBucket("GetBucketTagging", func(in *sdk.GetBucketTaggingInput) *string { return in.Bucket }))
	bind(api, "PUT /{Bucket}?tagging", s.PutBucketTagging, wire.Payload("Tagging"), wire.Status(204), wire.Members("Tagging!"), onBucket("PutBucketTagging", func(in *sdk.PutBucketTaggingInput) *string { return in.Bucket }))
	bind(api, "DELETE /{Bucket}?tagging", s.DeleteBucketTagging, wire.Status(204), onBucket("PutBucketTagging", func(in *sdk.DeleteBucketTaggingInput) *string { return in.Bucket }))
	bind(api, "GET /{Bucket}?versioning", s.GetBucketVersioning, wire.Root("VersioningConfiguration"), onBucket("GetBucketVersioning", func(in *sdk.GetBucketVersioningInput) *string { return in.Bucket }))
	bind(api, "PUT /{Bucket}?versioning", s.PutBucketVersioning, wire.Payload("VersioningConfiguration"), wire.Members("VersioningConfiguration!"), onBucket("PutBucketVersioning", func(in *sdk.PutBucketVersioningInput) *string { return in.Bucket }))
	bind(api, "GET /{Bucket}?encryption", s.GetBucketEncryption, wire.Payload("ServerSideEncryptionConfiguration"), wire.Root("ServerSideEncryptionConfiguration"), onBucket("GetEncryptionConfiguration", func(in *sdk.GetBucketEncryptionInput) *string { return in.Bucket }))
	bind(api, "PUT /{Bucket}?encryption", s.PutBucketEncryption, wire.Payload("ServerSideEncryptionConfiguration"), wire.Members("ServerSideEncryptionConfiguration!"), onBucket("PutEncryptionConfiguration", func(in *sdk.PutBucketEncryptionInput) *string { return in.Bucket }))
	bind(api, "DELETE /{Bucket}?encryption", s.DeleteBucketEncryption, wire.Status(204), onBucket("PutEncryptionConfiguration", func(in *sdk.DeleteBucketEncryptionInput) *string { return in.Bucket }))
	bind(api, "GET /{Bucket}?publicAccessBlock", s.GetPublicAccessBlock, wire.Payload("PublicAccessBlockConfiguration"), wire.Root("PublicAccessBlockConfiguration"), onBucket("GetBucketPublicAccessBlock", func(in *sdk.GetPublicAccessBlockInput) *string { return in.Bucket }))
	bind(api, "PUT /{Bucket}?publicAccessBlock", s.PutPublicAccessBlock, wire.Payload("PublicAccessBlockConfiguration"), wire.Members("PublicAccessBlockConfiguration!"), onBucket("PutBucketPublicAccessBlock", func(in *sdk.PutPublicAccessBlockInput) *string { return in.Bucket }))
	bind(api, "DELETE /{Bucket}?publicAccessBlock", s.DeletePublicAccessBlock, wire.Status(204), onBucket("PutBucketPublicAccessBlock", func(in *sdk.DeletePublicAccessBlockInput) *string { return in.Bucket }))
	bind(api, "GET /{Bucket}?ownershipControls", s.GetBucketOwnershipControls, wire.Payload("OwnershipControls"), wire.Root("OwnershipControls"), onBucket("GetBucketOwnershipControls", func(in *sdk.GetBucketOwnershipControlsInput) *string { return in.Bucket }))
	bind(api, "PUT /{Bucket}?ownershipControls", s.PutBucketOwnershipControls, wire.Payload("OwnershipControls"), wire.Members("OwnershipControls!"), onBucket("PutBucketOwnershipControls", func(in *sdk.PutBucketOwnershipControlsInput) *string { return in.Bucket }))
	bind(api, "GET /{Bucket}?policy", s.GetBucketPolicy, wire.Payload("Policy"), onBucket("GetBucketPolicy", func(in *sdk.GetBucketPolicyInput) *string { return in.Bucket }))
	bind(api, "PUT /{Bucket}?policy", s.PutBucketPolicy, wire.Payload("Policy"), wire.Status(204), wire.Members("Policy!"), onBucket("PutBucketPolicy", func(in *sdk.PutBucketPolicyInput) *string { return in.Bucket }))
	bind(api, "DELETE /{Bucket}?policy", s.DeleteBucketPolicy, wire.Status(204), onBucket("DeleteBucketPolicy", func(in *sdk.DeleteBucketPolicyInput) *string { return in.Bucket }))
}

// GetBucketTagging lists a bucket's tags.
func (s *Service) GetBucketTagging(_ context.Context, in *sdk.GetBucketTaggingInput) (*sdk.GetBucketTaggingOutput, error) {
	b, err := s.bucket(in.Bucket)
	if err == nil && len(b.Tags) == 0 {
		err = fail("NoSuchTagSet", "The TagSet does not exist")
	}
	return &sdk.GetBucketTaggingOutput{TagSet: tagList(b.Tags)}, err
}

// PutBucketTagging replaces a bucket's tags.
func (s *Service) PutBucketTagging(ctx context.Context, in *sdk.PutBucketTaggingInput) (*sdk.PutBucketTaggingOutput, error) {
	tags := tagMap(in.Tagging.TagSet)
	if len(tags) != len(in.Tagging.TagSet) {
		return nil, fail("InvalidTag", "Cannot provide multiple Tags with the same key")
	}
	if len(tags) > 50 {
		return nil, fail("BadRequest", "Bucket tag count cannot be greater than 50")
	}
	return &sdk.PutBucketTaggingOutput{}, s.change(ctx, in.Bucket, func(b *bucket) error { b.Tags = tags; return nil })
}

// DeleteBucketTagging removes a bucket's tags.
func (s *Service) DeleteBucketTagging(ctx context.Context, in *sdk.DeleteBucketTaggingInput) (*sdk.DeleteBucketTaggingOutput, error) {
	return &sdk.DeleteBucketTaggingOutput{}, s.change(ctx, in.Bucket, func(b *bucket) error { b.Tags = nil; return nil })
}

// GetBucketVersioning tells whether versions are kept; empty if they never were.
func (s *Service) GetBucketVersioning(_ context.Context, in *sdk.GetBucketVersioningInput) (*sdk.GetBucketVersioningOutput, error) {
	b, err := s.bucket(in.Bucket)
	return &sdk.GetBucketVersioningOutput{Status: b.Versioning}, err
}

// PutBucketVersioning enables or suspends versioning.
func (s *Service) PutBucketVersioning(ctx context.Context, in *sdk.PutBucketVersioningInput) (*sdk.PutBucketVersioningOutput, error) {
	v := in.VersioningConfiguration.Status
	if v != types.BucketVersioningStatusEnabled && v != types.BucketVersioningStatusSuspended {
		return nil, fail("IllegalVersioningConfigurationException", "The Versioning element must be specified")
	}
	if in.VersioningConfiguration.MFADelete == types.MFADeleteEnabled {
		return nil, fail("AccessDenied", "Mfa Authentication must be used for this request")
	}
	return &sdk.PutBucketVersioningOutput{}, s.change(ctx, in.Bucket, func(b *bucket) error { b.Versioning = v; return nil })
}

// GetBucketEncryption tells how objects are encrypted by default.
func (s *Service) GetBucketEncryption(_ context.Context, in *sdk.GetBucketEncryptionInput) (*sdk.GetBucketEncryptionOutput, error) {
	b, err := s.bucket(in.Bucket)
	return &sdk.GetBucketEncryptionOutput{ServerSideEncryptionConfiguration: b.Encryption}, err
}

// PutBucketEncryption sets how objects are encrypted by default.
func (s *Service) PutBucketEncryption(ctx context.Context, in *sdk.PutBucketEncryptionInput) (*sdk.PutBucketEncryptionOutput, error) {
	cfg := in.ServerSideEncryptionConfiguration
	if len(cfg.Rules) != 1 || cfg.Rules[0].ApplyServerSideEncryptionByDefault == nil {
		return nil, fail("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	d := cfg.Rules[0].ApplyServerSideEncryptionByDefault
	switch {
	case d.SSEAlgorithm != types.ServerSideEncryptionAes256 && d.SSEAlgorithm != types.ServerSideEncryptionAwsKms:
		return nil, fail("InvalidArgument", "The embedded cloud encrypts with AES256 or aws:kms, not "+string(d.SSEAlgorithm))
	case d.SSEAlgorithm == types.ServerSideEncryptionAes256 && d.KMSMasterKeyID != nil:
		return nil, fail("InvalidArgument", "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms")
	case d.SSEAlgorithm == types.ServerSideEncryptionAwsKms && d.KMSMasterKeyID == nil:
		return nil, fail("InvalidArgument", "The embedded cloud has no AWS managed key for S3: name a KMS key")
	}
	if cfg.Rules[0].BucketKeyEnabled == nil {
		cfg.Rules[0].BucketKeyEnabled = new(false)
	}
	return &sdk.PutBucketEncryptionOutput{}, s.change(ctx, in.Bucket, func(b *bucket) error { b.Encryption = cfg; return nil })
}

// DeleteBucketEncryption goes back to the default: SSE-S3.
func (s *Service) DeleteBucketEncryption(ctx context.Context, in *sdk.DeleteBucketEncryptionInput) (*sdk.DeleteBucketEncryptionOutput, error) {
	return &sdk.DeleteBucketEncryptionOutput{}, s.change(ctx, in.Bucket, func(b *bucket) error { b.Encryption = defaultEncryption(); return nil })
}

// GetPublicAccessBlock tells what public access is blocked.
func (s *Service) GetPublicAccessBlock(_ context.Context, in *sdk.GetPublicAccessBlockInput) (*sdk.GetPublicAccessBlockOutput, error) {
	b, err := s.bucket(in.Bucket)
	if err == nil && b.Access == nil {
		err = fail("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
	}
	return &sdk.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: b.Access}, err
}

// PutPublicAccessBlock sets what public access is blocked; what is not named is not.
func (s *Service) PutPublicAccessBlock(ctx context.Context, in *sdk.PutPublicAccessBlockInput) (*sdk.PutPublicAccessBlockOutput, error) {
	p := in.PublicAccessBlockConfiguration
	for _, f := range []**bool{&p.BlockPublicAcls, &p.BlockPublicPolicy, &p.IgnorePublicAcls, &p.RestrictPublicBuckets} {
		if *f == nil {
			*f = new(false)
		}
	}
	return &sdk.PutPublicAccessBlockOutput{}, s.change(ctx, in.Bucket, func(b *bucket) error { b.Access = p; return nil })
}

// DeletePublicAccessBlock blocks nothing any more.
func (s *Service) DeletePublicAccessBlock(ctx context.Context, in *sdk.DeletePublicAccessBlockInput) (*sdk.DeletePublicAccessBlockOutput, error) {
	return &sdk.DeletePublicAccessBlockOutput{}, s.change(ctx, in.Bucket, func(b *bucket) error { b.Access = nil; return nil })
}

// GetBucketOwnershipControls tells who owns objects.
func (s *Service) GetBucketOwnershipControls(_ context.Context, in *sdk.GetBucketOwnershipControlsInput) (*sdk.GetBucketOwnershipControlsOutput, error) {
	b, err := s.bucket(in.Bucket)
	if err == nil && b.Ownership == nil {
		err = fail("OwnershipControlsNotFoundError", "The bucket ownership controls were not found")
	}
	return &sdk.GetBucketOwnershipControlsOutput{OwnershipControls: b.Ownership}, err
}

// PutBucketOwnershipControls sets who owns objects.
func (s *Service) PutBucketOwnershipControls(ctx context.Context, in *sdk.PutBucketOwnershipControlsInput) (*sdk.PutBucketOwnershipControlsOutput, error) {
	if len(in.OwnershipControls.Rules) != 1 {
		return nil, fail("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
	}
	return &sdk.PutBucketOwnershipControlsOutput{}, s.change(ctx, in.Bucket, func(b *bucket) error { b.Ownership = in.OwnershipControls; return nil })
}

// GetBucketPolicy returns the policy document as it was put.
func (s *Service) GetBucketPolicy(_ context.Context, in *sdk.GetBucketPolicyInput) (*sdk.GetBucketPolicyOutput, error) {
	b, err := s.bucket(in.Bucket)
	if err == nil && b.Policy == "" {
		err = fail("NoSuchBucketPolicy", "The bucket policy does not exist")
	}
	return &sdk.GetBucketPolicyOutput{Policy: &b.Policy}, err
}

// PutBucketPolicy sets the bucket's resource policy.
func (s *Service) PutBucketPolicy(ctx context.Context, in *sdk.PutBucketPolicyInput) (*sdk.PutBucketPolicyOutput, error) {
	if !json.Valid([]byte(*in.Policy)) {
		return nil, fail("MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
	}
	if _, err := authz.Parse(*in.Policy); err != nil {
		return nil, fail("MalformedPolicy", err.Error())
	}
	return &sdk.PutBucketPolicyOutput{}, s.change(ctx, in.Bucket, func(b *bucket) error { b.Policy = *in.Policy; return nil })
}

// DeleteBucketPolicy removes the bucket's resource policy.
func (s *Service) DeleteBucketPolicy(ctx context.Context, in *sdk.DeleteBucketPolicyInput) (*sdk.DeleteBucketPolicyOutput, error) {
	return &sdk.DeleteBucketPolicyOutput{}, s.change(ctx, in.Bucket, func(b *bucket) error { b.Policy = ""; return nil })
}
