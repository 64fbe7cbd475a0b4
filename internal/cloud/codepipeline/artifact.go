package codepipeline

import (
	"bytes"
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"miniforge/internal/cloud/wire"
)

// putOutput stores the job's only output artifact, encrypted by the artifact
// store's key, or by the key that AWS manages for S3.
// https://docs.aws.amazon.com/codepipeline/latest/userguide/S3-artifact-encryption.html
func (j *job) putOutput(ctx context.Context, content []byte) error {
	loc := j.run.Outputs[0].S3location
	in := &s3.PutObjectInput{
		Bucket: loc.Bucket, Key: loc.Key, Body: bytes.NewReader(content), ContentLength: new(int64(len(content))), ContentType: new("application/zip"),
		ServerSideEncryption: s3types.ServerSideEncryptionAwsKms,
	}
	if k := j.store.EncryptionKey; k != nil {
		in.SSEKMSKeyId = k.Id
	}
	if _, err := wire.Do[s3.PutObjectOutput](ctx, j.Caller, j.as, in); err != nil {
		return refused("The action could not upload the artifact "+*j.run.Outputs[0].Name+" to the S3 bucket "+*loc.Bucket+", key "+*loc.Key, err)
	}
	return nil
}

// getObject reads an object of S3 whole.
func (j *job) getObject(ctx context.Context, in *s3.GetObjectInput) (content []byte, err error) {
	out, err := wire.Do[s3.GetObjectOutput](ctx, j.Caller, j.as, in)
	if err != nil {
		return nil, err
	}
	content, err = io.ReadAll(out.Body)
	if cerr := out.Body.Close(); err == nil {
		err = cerr
	}
	return content, err
}

// input is where the job finds an input artifact.
func (j *job) input(name string) *types.S3Location {
	for _, in := range j.run.Inputs {
		if *in.Name == name {
			return in.S3location
		}
	}
	return nil
}
