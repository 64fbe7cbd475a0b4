// Package s3 is S3: buckets with their configuration, versioned objects,
// multipart uploads, encryption under KMS keys. Addressing is by path.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/Welcome.html
package s3

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Caller  wire.Caller
	Log     *slog.Logger
	Account string
}

// A Service serves all buckets; their names are global, as on AWS.
type Service struct{ Options }

// New makes the service.
func New(o Options) *Service { return &Service{o} }

func arn(bucket string) string { return "arn:aws:s3:::" + bucket }

// headers binds the members that S3 carries in headers wherever an operation
// has them. x-amz- headers follow the rule in headerName.
func headers(in, out reflect.Type) []wire.Option {
	var opts []wire.Option
	for _, t := range []reflect.Type{in, out} {
		for field := range t.Fields() {
			f := field.Name
			if inBody[t.Name()+"."+f] || t == completed && strings.HasPrefix(f, "Checksum") {
				continue
			}
			if name := headerName(f); name != "" {
				opts = append(opts, wire.Header(f, name))
			}
			if f == "Metadata" {
				opts = append(opts, wire.HeaderMap(f, "X-Amz-Meta-"))
			}
		}
	}
	return opts
}

// inBody are members that stand in the body, or the query, where others of
// their name stand in headers.
var inBody = map[string]bool{
	"CompleteMultipartUploadOutput.ETag": true, "CompleteMultipartUploadOutput.Location": true, "ListPartsOutput.StorageClass": true,
	"ListBucketsInput.BucketRegion": true,
}

// completed has its checksums in the body.
var completed = reflect.TypeFor[sdk.CompleteMultipartUploadOutput]()

//nolint:gosec // header names, no secrets
var headerNames = map[string]string{
	"BucketKeyEnabled": "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled", "SSEKMSKeyId": "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id",
	"SSEKMSEncryptionContext": "X-Amz-Server-Side-Encryption-Context", "ServerSideEncryption": "X-Amz-Server-Side-Encryption",
	"SSECustomerAlgorithm": "X-Amz-Server-Side-Encryption-Customer-Algorithm", "ACL": "X-Amz-Acl", "StorageClass": "X-Amz-Storage-Class",
	"ExpectedBucketOwner": "X-Amz-Expected-Bucket-Owner", "Tagging": "X-Amz-Tagging", "TagCount": "X-Amz-Tagging-Count",
	"CopySource": "X-Amz-Copy-Source", "MetadataDirective": "X-Amz-Metadata-Directive", "ChecksumMode": "X-Amz-Checksum-Mode",
	"ObjectOwnership": "X-Amz-Object-Ownership", "ObjectLockEnabledForBucket": "X-Amz-Bucket-Object-Lock-Enabled", "DeleteMarker": "X-Amz-Delete-Marker",
	"PartsCount": "X-Amz-Mp-Parts-Count", "BucketRegion": "X-Amz-Bucket-Region", "CopySourceVersionId": "X-Amz-Copy-Source-Version-Id",
	"ContentType": "Content-Type", "ContentEncoding": "Content-Encoding", "ContentLanguage": "Content-Language", "ContentDisposition": "Content-Disposition",
	"CacheControl": "Cache-Control", "ContentMD5": "Content-Md5", "ContentLength": "Content-Length", "ContentRange": "Content-Range", "AcceptRanges": "Accept-Ranges",
	"Expires": "Expires", "ExpiresString": "Expires", "IfMatch": "If-Match", "IfNoneMatch": "If-None-Match", "IfModifiedSince": "If-Modified-Since", "IfUnmodifiedSince": "If-Unmodified-Since",
	"RequestPayer": "X-Amz-Request-Payer", "RequestCharged": "X-Amz-Request-Charged", "Expiration": "X-Amz-Expiration", "Restore": "X-Amz-Restore",
	"AccessPointAlias": "X-Amz-Access-Point-Alias", "ArchiveStatus": "X-Amz-Archive-Status", "OptionalObjectAttributes": "X-Amz-Optional-Object-Attributes",
	"AbortDate": "X-Amz-Abort-Date", "AbortRuleId": "X-Amz-Abort-Rule-Id", "ConfirmRemoveSelfBucketAccess": "X-Amz-Confirm-Remove-Self-Bucket-Access", "MFA": "X-Amz-Mfa",
	"GrantFullControl": "X-Amz-Grant-Full-Control", "GrantRead": "X-Amz-Grant-Read", "GrantReadACP": "X-Amz-Grant-Read-Acp", "GrantWrite": "X-Amz-Grant-Write",
	"GrantWriteACP": "X-Amz-Grant-Write-Acp", "ObjectLockMode": "X-Amz-Object-Lock-Mode", "ObjectLockRetainUntilDate": "X-Amz-Object-Lock-Retain-Until-Date",
	"ObjectLockLegalHoldStatus": "X-Amz-Object-Lock-Legal-Hold", "BypassGovernanceRetention": "X-Amz-Bypass-Governance-Retention", "ReplicationStatus": "X-Amz-Replication-Status",
	"WebsiteRedirectLocation": "X-Amz-Website-Redirect-Location", "WriteOffsetBytes": "X-Amz-Write-Offset-Bytes", "IfMatchLastModifiedTime": "X-Amz-If-Match-Last-Modified-Time",
	"IfMatchSize": "X-Amz-If-Match-Size", "BucketArn": "X-Amz-Bucket-Arn", "ExpectedSourceBucketOwner": "X-Amz-Source-Expected-Bucket-Owner", "MpuObjectSize": "X-Amz-Mp-Object-Size",
	"CopySourceIfMatch": "X-Amz-Copy-Source-If-Match", "CopySourceIfNoneMatch": "X-Amz-Copy-Source-If-None-Match", "TaggingDirective": "X-Amz-Tagging-Directive",
	"CopySourceIfModifiedSince": "X-Amz-Copy-Source-If-Modified-Since", "CopySourceIfUnmodifiedSince": "X-Amz-Copy-Source-If-Unmodified-Since",
	"BucketLocationType": "X-Amz-Bucket-Location-Type", "BucketLocationName": "X-Amz-Bucket-Location-Name", "BucketNamespace": "X-Amz-Bucket-Namespace",
	"AnnotationDirective": "X-Amz-Object-Annotation-Directive", "IfMatchInitiatedTime": "X-Amz-If-Match-Initiated-Time", "ObjectLockEventHold": "X-Amz-Object-Lock-Event-Hold",
	"ObjectLockEventHoldDurationDays": "X-Amz-Object-Lock-Event-Hold-Duration-Days", "ObjectLockEventHoldDurationYears": "X-Amz-Object-Lock-Event-Hold-Duration-Years",
	"Range": "Range", "LastModified": "Last-Modified", "Location": "Location", "VersionId": "X-Amz-Version-Id", "ETag": "Etag",
}

func headerName(field string) string {
	if n, ok := strings.CutPrefix(field, "Checksum"); ok && (strings.HasPrefix(n, "CRC") || strings.HasPrefix(n, "SHA") || strings.HasPrefix(n, "XX") || n == "MD5") {
		return "X-Amz-Checksum-" + n
	}
	return headerNames[field]
}

// Register adds the operations.
func (s *Service) Register(m *wire.Mux, _ *event.Queue) {
	api := m.API(wire.API{
		Service: "s3", Protocol: wire.RESTXML, Namespace: "http://s3.amazonaws.com/doc/2006-03-01/",
		Names: map[string]string{
			"MFADelete": "MfaDelete", "ListObjectVersionsOutput.DeleteMarkers": "DeleteMarker", "ListObjectVersionsOutput.Versions": "Version",
			"Delete.Objects": "Object", "DeleteObjectsOutput.Errors": "Error", "Rules": "Rule", "Parts": "Part", "Uploads": "Upload",
			"GetBucketAclOutput.Grants": "AccessControlList",
		},
		Flat: map[string]bool{
			"Contents": true, "CommonPrefixes": true, "DeleteMarkers": true, "Versions": true, "Delete.Objects": true, "Deleted": true,
			"DeleteObjectsOutput.Errors": true, "Rules": true, "Parts": true, "Uploads": true, "ChecksumAlgorithm": true, "EncryptionType": true,
		},
		Items: map[string]string{"Buckets": "Bucket", "TagSet": "Tag", "Grants": "Grant"},
		Statuses: map[string]int{
			"NoSuchBucket": 404, "NoSuchKey": 404, "NoSuchVersion": 404, "NoSuchUpload": 404, "NotFound": 404, "NoSuchTagSet": 404, "NoSuchBucketPolicy": 404,
			"ServerSideEncryptionConfigurationNotFoundError": 404, "NoSuchPublicAccessBlockConfiguration": 404, "OwnershipControlsNotFoundError": 404,
			"BucketAlreadyExists": 409, "BucketAlreadyOwnedByYou": 409, "BucketNotEmpty": 409, "AccessDenied": 403, "MethodNotAllowed": 405,
			"PreconditionFailed": 412, "InvalidRange": 416, "NotModified": 304, "EntityTooLarge": 400,
		},
		Invalid: func(_ string, p []wire.Problem) error {
			return wire.Errorf("InvalidArgument", "%s", wire.ProblemText(p))
		},
	})
	s.registerBuckets(api)
	s.registerObjects(api)
	s.registerLists(api)
	s.registerUploads(api)
}

// bind registers an operation with the header bindings that its members imply.
func bind[In, Out any](api *wire.API, route string, fn func(context.Context, *In) (*Out, error), opts ...wire.Option) {
	wire.Bind(api, route, fn, append(headers(reflect.TypeFor[In](), reflect.TypeFor[Out]()), opts...)...)
}

func fail(code, text string) error { return wire.Errorf(code, "%s", text) }

// maxKey is the length of a key in bytes of UTF-8.
const maxKey = 1024

func checkKey(key string) error {
	if len(key) > maxKey {
		return fail("KeyTooLongError", "Your key is too long")
	}
	return nil
}

func noSuchBucket() error {
	return &types.NoSuchBucket{Message: new("The specified bucket does not exist")}
}

func noSuchKey() error { return &types.NoSuchKey{Message: new("The specified key does not exist.")} }

// PolicyTable is the table that ResourcePolicy reads: while it does not change,
// neither do policies.
const PolicyTable = string(buckets)

// ResourcePolicy is the policy of the bucket that an ARN belongs to.
func (s *Service) ResourcePolicy(_ context.Context, resource string) (doc string, err error) {
	name, _, _ := strings.Cut(strings.TrimPrefix(resource, arn("")), "/")
	err = s.DB.View(func(tx *store.Tx) error {
		b, ok, err := buckets.Get(tx, name)
		if ok {
			doc = b.Policy
		}
		return err
	})
	return doc, err
}

// Tagged lists the buckets of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range buckets.Range(tx, "", "") {
			if err != nil {
				return err
			}
			if r.Value.Region == region {
				out[arn(r.Key)] = r.Value.Tags
			}
		}
		return nil
	})
}

// SetTags changes a bucket's tags.
func (s *Service) SetTags(ctx context.Context, resource string, set map[string]string, remove []string) error {
	name := strings.TrimPrefix(resource, arn(""))
	return s.change(ctx, &name, func(b *bucket) error {
		tags := map[string]string{}
		maps.Copy(tags, b.Tags)
		maps.Copy(tags, set)
		for _, k := range remove {
			delete(tags, k)
		}
		b.Tags = tags
		return nil
	})
}
