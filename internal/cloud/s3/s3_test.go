package s3_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"pgregory.net/rapid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/s3"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// fakeKMS keeps data keys by their "ciphertext" and can be switched off.
type fakeKMS struct {
	keys     map[string][]byte
	contexts []map[string]string
	disabled bool
}

const keyARN = "arn:aws:kms:us-east-1:000000000000:key/k"

func (k *fakeKMS) GenerateDataKey(_ context.Context, in *kms.GenerateDataKeyInput) (*kms.GenerateDataKeyOutput, error) {
	if k.disabled {
		return nil, &kmstypes.DisabledException{Message: new(keyARN + " is disabled.")}
	}
	plain := make([]byte, 32)
	_, _ = rand.Read(plain)
	id := fmt.Sprint("wrapped", len(k.keys))
	k.keys[id] = plain
	k.contexts = append(k.contexts, in.EncryptionContext)
	return &kms.GenerateDataKeyOutput{Plaintext: plain, CiphertextBlob: []byte(id), KeyId: new(keyARN)}, nil
}

func (k *fakeKMS) Decrypt(_ context.Context, in *kms.DecryptInput) (*kms.DecryptOutput, error) {
	if k.disabled {
		return nil, &kmstypes.DisabledException{Message: new(keyARN + " is disabled.")}
	}
	return &kms.DecryptOutput{Plaintext: k.keys[string(in.CiphertextBlob)], KeyId: new(keyARN)}, nil
}

type transport struct{ h http.Handler }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	t.h.ServeHTTP(w, r)
	return w.Result(), nil
}

type rig struct {
	*sdk.Client
	kms *fakeKMS
	db  store.DB
}

func newRig(t *testing.T) *rig {
	t.Helper()
	m := wire.NewMux(wire.Options{Account: "000000000000", Authenticate: func(context.Context, string, string) (wire.Credential, error) {
		return wire.Credential{Secret: "s", Principal: authz.Principal{Type: authz.Root}}, nil
	}})
	r := &rig{kms: &fakeKMS{keys: map[string][]byte{}}, db: store.Memory()}
	api := m.API(wire.API{Service: "kms", Protocol: wire.JSON11, Target: "TrentService"})
	wire.Handle(api, r.kms.GenerateDataKey)
	wire.Handle(api, r.kms.Decrypt)
	s3.New(s3.Options{DB: r.db, Caller: m, Log: slog.New(slog.DiscardHandler), Account: "000000000000"}).Register(m, nil)
	r.Client = sdk.NewFromConfig(aws.Config{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("a", "s", ""), BaseEndpoint: new("http://127.0.0.1"),
		HTTPClient: &http.Client{Transport: transport{m}}, RetryMaxAttempts: 1,
	}, func(o *sdk.Options) { o.UsePathStyle = true })
	return r
}

func (r *rig) make(t *testing.T, name string) {
	t.Helper()
	if _, err := r.CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) put(t *testing.T, bucket, key, body string) *sdk.PutObjectOutput {
	t.Helper()
	out, err := r.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body), Metadata: map[string]string{"who": "me"}, ContentType: new("text/plain")})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *rig) get(t *testing.T, in *sdk.GetObjectInput) (string, *sdk.GetObjectOutput) {
	t.Helper()
	out, err := r.GetObject(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), out
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestObjectRoundTrip(t *testing.T) {
	r := newRig(t)
	r.make(t, "bucket")
	for _, key := range []string{"a", "dir/sub/x y+ü%20.txt", "tail/"} {
		r.put(t, "bucket", key, "body of "+key)
		body, out := r.get(t, &sdk.GetObjectInput{Bucket: new("bucket"), Key: &key})
		if body != "body of "+key || out.Metadata["who"] != "me" || *out.ContentType != "text/plain" || *out.ContentLength != int64(len(body)) {
			t.Errorf("%s: %q %v", key, body, out)
		}
	}
	body, out := r.get(t, &sdk.GetObjectInput{Bucket: new("bucket"), Key: new("a"), Range: new("bytes=5-6")})
	if body != "of" || *out.ContentRange != "bytes 5-6/9" {
		t.Errorf("range: %q %v", body, *out.ContentRange)
	}
}

func TestErrors(t *testing.T) {
	r := newRig(t)
	r.make(t, "bucket")
	r.put(t, "bucket", "k", "v")
	ctx := t.Context()
	for name, tc := range map[string]struct {
		do   func() error
		want string
	}{
		"no bucket": {func() error {
			_, err := r.GetObject(ctx, &sdk.GetObjectInput{Bucket: new("nope"), Key: new("k")})
			return err
		}, "NoSuchBucket"},
		"no key": {func() error {
			_, err := r.GetObject(ctx, &sdk.GetObjectInput{Bucket: new("bucket"), Key: new("x")})
			return err
		}, "NoSuchKey"},
		"head no key": {func() error {
			_, err := r.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: new("bucket"), Key: new("x")})
			return err
		}, "NotFound"},
		"head no bucket": {func() error {
			_, err := r.HeadBucket(ctx, &sdk.HeadBucketInput{Bucket: new("nope")})
			return err
		}, "NotFound"},
		"not empty": {func() error {
			_, err := r.DeleteBucket(ctx, &sdk.DeleteBucketInput{Bucket: new("bucket")})
			return err
		}, "BucketNotEmpty"},
		"bad name": {func() error {
			_, err := r.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: new("Bad_Name")})
			return err
		}, "InvalidBucketName"},
		"wrong place": {func() error {
			_, err := r.CreateBucket(ctx, &sdk.CreateBucketInput{Bucket: new("other"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "eu-west-1"}})
			return err
		}, "IllegalLocationConstraintException"},
		"no policy": {func() error {
			_, err := r.GetBucketPolicy(ctx, &sdk.GetBucketPolicyInput{Bucket: new("bucket")})
			return err
		}, "NoSuchBucketPolicy"},
		"bad policy": {func() error {
			_, err := r.PutBucketPolicy(ctx, &sdk.PutBucketPolicyInput{Bucket: new("bucket"), Policy: new("{")})
			return err
		}, "MalformedPolicy"},
		"exists already": {func() error {
			_, err := r.PutObject(ctx, &sdk.PutObjectInput{Bucket: new("bucket"), Key: new("k"), Body: strings.NewReader("w"), IfNoneMatch: new("*")})
			return err
		}, "PreconditionFailed"},
		"wrong checksum": {func() error {
			_, err := r.PutObject(ctx, &sdk.PutObjectInput{Bucket: new("bucket"), Key: new("k"), Body: strings.NewReader("w"), ChecksumSHA256: new("AAAA")})
			return err
		}, "BadDigest"},
		"no upload": {func() error {
			_, err := r.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: new("bucket"), Key: new("k"), UploadId: new("x")})
			return err
		}, "NoSuchUpload"},
		"bad token": {func() error {
			_, err := r.ListObjectsV2(ctx, &sdk.ListObjectsV2Input{Bucket: new("bucket"), ContinuationToken: new("%")})
			return err
		}, "InvalidArgument"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := code(tc.do()); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
	if body, _ := r.get(t, &sdk.GetObjectInput{Bucket: new("bucket"), Key: new("k")}); body != "v" {
		t.Errorf("a refused write left %q", body)
	}
}

func TestVersionsAndMarkers(t *testing.T) {
	r := newRig(t)
	r.make(t, "bucket")
	b := new("bucket")
	first := r.put(t, "bucket", "k", "unversioned")
	if first.VersionId != nil {
		t.Errorf("version %v without versioning", *first.VersionId)
	}
	if _, err := r.PutBucketVersioning(t.Context(), &sdk.PutBucketVersioningInput{Bucket: b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	two := r.put(t, "bucket", "k", "two")
	del, err := r.DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: b, Key: new("k")})
	if err != nil || del.DeleteMarker == nil || !*del.DeleteMarker {
		t.Fatalf("%v %v", del, err)
	}
	if _, err := r.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: b, Key: new("k")}); code(err) != "NoSuchKey" {
		t.Errorf("behind the marker: %v", err)
	}
	for id, want := range map[string]string{*two.VersionId: "two", "null": "unversioned"} {
		if body, _ := r.get(t, &sdk.GetObjectInput{Bucket: b, Key: new("k"), VersionId: &id}); body != want {
			t.Errorf("version %s: %q", id, body)
		}
	}
	var seen []string
	pages := sdk.NewListObjectVersionsPaginator(r.Client, &sdk.ListObjectVersionsInput{Bucket: b, MaxKeys: new(int32(1))})
	for pages.HasMorePages() {
		p, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range p.Versions {
			seen = append(seen, *v.VersionId)
		}
		for _, m := range p.DeleteMarkers {
			seen = append(seen, "marker "+*m.VersionId)
		}
	}
	if want := []string{"marker " + *del.VersionId, *two.VersionId, "null"}; !slices.Equal(seen, want) {
		t.Errorf("listed %v, want %v", seen, want)
	}
	if _, err := r.DeleteObjects(t.Context(), &sdk.DeleteObjectsInput{Bucket: b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{
		{Key: new("k"), VersionId: del.VersionId}, {Key: new("k"), VersionId: two.VersionId}, {Key: new("k"), VersionId: new("null")},
	}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.DeleteBucket(t.Context(), &sdk.DeleteBucketInput{Bucket: b}); err != nil {
		t.Error(err)
	}
	if err := r.db.View(func(tx *store.Tx) error {
		for row := range store.Table[[]byte]("s3.chunks").Range(tx, "", "") {
			t.Errorf("left in the store: %q", row.Key)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestListingAgainstModel compares pages of every size, with and without a
// delimiter, with what a plain walk over the keys gives.
func TestListingAgainstModel(t *testing.T) {
	r := newRig(t)
	r.make(t, "bucket")
	keys := map[string]bool{}
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.StringMatching(`[ab/]{1,4}`).Draw(rt, "key")
		if !keys[key] {
			r.put(t, "bucket", key, "x")
			keys[key] = true
		}
		prefix := rapid.StringMatching(`[ab/]{0,2}`).Draw(rt, "prefix")
		delimiter := rapid.SampledFrom([]string{"", "/"}).Draw(rt, "delimiter")
		var want []string
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			if rest, ok := strings.CutPrefix(k, prefix); ok {
				if i := strings.Index(rest, "/"); delimiter != "" && i >= 0 {
					k = prefix + rest[:i+1] + "*"
				}
				if len(want) == 0 || want[len(want)-1] != k {
					want = append(want, k)
				}
			}
		}
		in := &sdk.ListObjectsV2Input{Bucket: new("bucket"), Prefix: &prefix, MaxKeys: new(rapid.Int32Range(1, 4).Draw(rt, "max"))}
		if delimiter != "" {
			in.Delimiter = &delimiter
		}
		var got []string
		for pages := sdk.NewListObjectsV2Paginator(r.Client, in); pages.HasMorePages(); {
			p, err := pages.NextPage(context.Background())
			if err != nil {
				rt.Fatal(err)
			}
			if n := len(p.Contents) + len(p.CommonPrefixes); n > int(*in.MaxKeys) || int(*p.KeyCount) != n {
				rt.Fatalf("page of %d, count %d, max %d", n, *p.KeyCount, *in.MaxKeys)
			}
			for _, o := range p.Contents {
				got = append(got, *o.Key)
			}
			for _, c := range p.CommonPrefixes {
				got = append(got, *c.Prefix+"*")
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			rt.Fatalf("prefix %q delimiter %q: got %q, want %q", prefix, delimiter, got, want)
		}
	})
}

func TestEncryptionUnderAKey(t *testing.T) {
	r := newRig(t)
	r.make(t, "bucket")
	b := new("bucket")
	if _, err := r.PutBucketEncryption(t.Context(), &sdk.PutBucketEncryptionInput{Bucket: b, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
		ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: new("alias/k")}, BucketKeyEnabled: new(true),
	}}}}); err != nil {
		t.Fatal(err)
	}
	out := r.put(t, "bucket", "k", "plaintext-to-be-hidden")
	if out.ServerSideEncryption != types.ServerSideEncryptionAwsKms || *out.SSEKMSKeyId != keyARN || !*out.BucketKeyEnabled {
		t.Errorf("%+v", out)
	}
	if got := r.kms.contexts[0]["aws:s3:arn"]; got != "arn:aws:s3:::bucket" {
		t.Errorf("encryption context %q", got)
	}
	_ = r.db.View(func(tx *store.Tx) error {
		for row := range store.Table[[]byte]("s3.chunks").Range(tx, "", "") {
			if bytes.Contains(row.Value, []byte("plaintext")) {
				t.Error("the store holds the plaintext")
			}
		}
		return nil
	})
	if body, _ := r.get(t, &sdk.GetObjectInput{Bucket: b, Key: new("k")}); body != "plaintext-to-be-hidden" {
		t.Errorf("read back %q", body)
	}
	r.kms.disabled = true
	if _, err := r.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: b, Key: new("k")}); code(err) != "KMS.DisabledException" {
		t.Errorf("with a disabled key: %v", err)
	}
}

func TestMultipartUpload(t *testing.T) {
	r := newRig(t)
	r.make(t, "bucket")
	b, k := new("bucket"), new("big")
	up, err := r.CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: b, Key: k})
	if err != nil {
		t.Fatal(err)
	}
	var done []types.CompletedPart
	bodies := []string{strings.Repeat("a", 5<<20), "tail"}
	for i, body := range bodies {
		p, err := r.UploadPart(t.Context(), &sdk.UploadPartInput{Bucket: b, Key: k, UploadId: up.UploadId, PartNumber: new(int32(i + 1)), Body: strings.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		done = append(done, types.CompletedPart{ETag: p.ETag, PartNumber: new(int32(i + 1))})
	}
	complete := func(parts []types.CompletedPart) error {
		_, err := r.CompleteMultipartUpload(t.Context(), &sdk.CompleteMultipartUploadInput{Bucket: b, Key: k, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
		return err
	}
	if err := complete([]types.CompletedPart{done[1], done[0]}); code(err) != "InvalidPartOrder" {
		t.Errorf("parts in the wrong order: %v", err)
	}
	if err := complete(done); err != nil {
		t.Fatal(err)
	}
	body, out := r.get(t, &sdk.GetObjectInput{Bucket: b, Key: k})
	if body != bodies[0]+bodies[1] || !strings.HasSuffix(*out.ETag, `-2"`) {
		t.Errorf("%d bytes, ETag %s", len(body), *out.ETag)
	}
	l, err := r.ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: b})
	if err != nil || len(l.Uploads) != 0 {
		t.Errorf("left: %v, %v", l.Uploads, err)
	}
}

func TestConfigurationIsKept(t *testing.T) {
	r := newRig(t)
	r.make(t, "bucket")
	b, ctx := new("bucket"), t.Context()
	pab, err := r.GetPublicAccessBlock(ctx, &sdk.GetPublicAccessBlockInput{Bucket: b})
	if err != nil || !*pab.PublicAccessBlockConfiguration.BlockPublicPolicy {
		t.Errorf("a new bucket's public access: %v, %v", pab, err)
	}
	if _, err := r.PutBucketTagging(ctx, &sdk.PutBucketTaggingInput{Bucket: b, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: new("a"), Value: new("1")}, {Key: new("b"), Value: new("2")}}}}); err != nil {
		t.Fatal(err)
	}
	tags, err := r.GetBucketTagging(ctx, &sdk.GetBucketTaggingInput{Bucket: b})
	if err != nil || len(tags.TagSet) != 2 || *tags.TagSet[1].Value != "2" {
		t.Errorf("tags: %v, %v", tags, err)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::bucket","arn:aws:s3:::bucket/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`
	if _, err := r.PutBucketPolicy(ctx, &sdk.PutBucketPolicyInput{Bucket: b, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	if got, err := r.GetBucketPolicy(ctx, &sdk.GetBucketPolicyInput{Bucket: b}); err != nil || *got.Policy != policy {
		t.Errorf("policy: %v, %v", got, err)
	}
	if l, err := r.ListBuckets(ctx, &sdk.ListBucketsInput{}); err != nil || len(l.Buckets) != 1 || *l.Buckets[0].Name != "bucket" {
		t.Errorf("buckets: %v, %v", l, err)
	}
	if l, err := r.GetBucketLocation(ctx, &sdk.GetBucketLocationInput{Bucket: b}); err != nil || l.LocationConstraint != "" {
		t.Errorf("location: %v, %v", l, err)
	}
}

func TestCopyObject(t *testing.T) {
	r := newRig(t)
	r.make(t, "bucket")
	r.put(t, "bucket", "dir/from", "body")
	if _, err := r.CopyObject(t.Context(), &sdk.CopyObjectInput{Bucket: new("bucket"), Key: new("to"), CopySource: new("bucket/dir/from")}); err != nil {
		t.Fatal(err)
	}
	if body, out := r.get(t, &sdk.GetObjectInput{Bucket: new("bucket"), Key: new("to")}); body != "body" || out.Metadata["who"] != "me" {
		t.Errorf("%q %v", body, out.Metadata)
	}
}
