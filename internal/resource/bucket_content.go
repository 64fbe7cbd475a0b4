package resource

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// bucketContentAPI is what emptying a Bucket asks of S3.
type bucketContentAPI interface {
	ListObjectVersions(context.Context, *s3.ListObjectVersionsInput, ...func(*s3.Options)) (*s3.ListObjectVersionsOutput, error)
	DeleteObjects(context.Context, *s3.DeleteObjectsInput, ...func(*s3.Options)) (*s3.DeleteObjectsOutput, error)
	ListMultipartUploads(context.Context, *s3.ListMultipartUploadsInput, ...func(*s3.Options)) (*s3.ListMultipartUploadsOutput, error)
	AbortMultipartUpload(context.Context, *s3.AbortMultipartUploadInput, ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error)
}

// empty reports whether the bucket has no object version and no delete marker.
func (b *Bucket) empty(ctx context.Context) (bool, error) {
	one := int32(1)
	out, err := b.S3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: &b.Name, MaxKeys: &one})
	if err != nil {
		return false, err
	}
	return len(out.Versions) == 0 && len(out.DeleteMarkers) == 0, nil
}

// clear deletes every version, delete marker and unfinished upload: a bucket
// with any of them cannot be deleted.
func (b *Bucket) clear(ctx context.Context) error {
	versions := s3.NewListObjectVersionsPaginator(b.S3, &s3.ListObjectVersionsInput{Bucket: &b.Name})
	for versions.HasMorePages() {
		page, err := versions.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list versions: %w", err)
		}
		if err := b.deletePage(ctx, page); err != nil {
			return err
		}
	}
	uploads := s3.NewListMultipartUploadsPaginator(b.S3, &s3.ListMultipartUploadsInput{Bucket: &b.Name})
	for uploads.HasMorePages() {
		page, err := uploads.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list uploads: %w", err)
		}
		for _, u := range page.Uploads {
			_, err := b.S3.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.Name, Key: u.Key, UploadId: u.UploadId})
			if err != nil && !hasCode(err, "NoSuchUpload") {
				return fmt.Errorf("abort upload of %s: %w", deref(u.Key), err)
			}
		}
	}
	return nil
}

// deletePage deletes what one page lists: at most 1000 keys, which is also the
// most that DeleteObjects takes.
func (b *Bucket) deletePage(ctx context.Context, page *s3.ListObjectVersionsOutput) error {
	var ids []types.ObjectIdentifier
	for _, v := range page.Versions {
		ids = append(ids, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
	}
	for _, m := range page.DeleteMarkers {
		ids = append(ids, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
	}
	if len(ids) == 0 {
		return nil
	}
	quiet := true
	out, err := b.S3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &b.Name, Delete: &types.Delete{Objects: ids, Quiet: &quiet}})
	if err != nil {
		return fmt.Errorf("delete objects: %w", err)
	}
	for _, e := range out.Errors {
		return fmt.Errorf("delete object %s: %s: %s", deref(e.Key), deref(e.Code), deref(e.Message))
	}
	return nil
}
