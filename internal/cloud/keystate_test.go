package cloud

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
)

// A keyed world is a cloud with a resource of each service under one KMS key,
// and a user who may use the resources; the key opens to her by grants alone.
type keyedWorld struct {
	kms    *kms.Client
	key    string
	policy string            // of the key
	grants map[string]string // grantee to the id of its grant
	use    map[string]func(context.Context) error
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newKeyedWorld(t *testing.T) *keyedWorld {
	c := newCloud(t)
	ctx, root := t.Context(), c.config("")
	w := &keyedWorld{kms: kms.NewFromConfig(root), grants: map[string]string{}, use: map[string]func(context.Context) error{}}
	statement := func(principal string) string {
		return `{"Effect":"Allow","Principal":` + principal + `,"Action":"kms:*","Resource":"*"}`
	}
	w.policy = `{"Version":"2012-10-17","Statement":[` + statement(`{"AWS":"`+c.Account+`"}`) + `,` + statement(`{"Service":"logs.us-east-1.amazonaws.com"}`) + `]}`
	w.key = *must[*kms.CreateKeyOutput](t)(w.kms.CreateKey(ctx, &kms.CreateKeyInput{Policy: &w.policy})).KeyMetadata.Arn

	people := iam.NewFromConfig(root)
	user := must[*iam.CreateUserOutput](t)(people.CreateUser(ctx, &iam.CreateUserInput{UserName: new("ann")})).User
	must[*iam.PutUserPolicyOutput](t)(people.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: new("ann"), PolicyName: new("p"), PolicyDocument: new(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["dynamodb:*","sqs:*","sns:*","s3:*","lambda:*","logs:*","iam:PassRole"],"Resource":"*"}}`)}))
	key := must[*iam.CreateAccessKeyOutput](t)(people.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: new("ann")})).AccessKey
	role := must[*iam.CreateRoleOutput](t)(people.CreateRole(ctx, &iam.CreateRoleInput{RoleName: new("r"), AssumeRolePolicyDocument: new(
		`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`)})).Role
	w.grant(t, *user.Arn)
	w.grant(t, *role.Arn)

	ann := root
	ann.Credentials = credentials.NewStaticCredentialsProvider(*key.AccessKeyId, *key.SecretAccessKey, "")
	ann.RetryMaxAttempts = 1
	w.table(t, ann)
	w.messages(t, ann)
	w.bucket(t, ann)
	w.function(t, ann, *role.Arn)
	w.logGroup(t, ann)
	return w
}

func (w *keyedWorld) grant(t *testing.T, to string) {
	out := must[*kms.CreateGrantOutput](t)(w.kms.CreateGrant(t.Context(), &kms.CreateGrantInput{KeyId: &w.key, GranteePrincipal: &to, Operations: []kmstypes.GrantOperation{
		kmstypes.GrantOperationDecrypt, kmstypes.GrantOperationEncrypt, kmstypes.GrantOperationGenerateDataKey, kmstypes.GrantOperationDescribeKey, kmstypes.GrantOperationCreateGrant,
	}}))
	w.grants[to] = *out.GrantId
}

func (w *keyedWorld) table(t *testing.T, cfg aws.Config) {
	c, name := dynamodb.NewFromConfig(cfg), new("table")
	must[*dynamodb.CreateTableOutput](t)(c.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: name, BillingMode: ddbtypes.BillingModePayPerRequest, SSESpecification: &ddbtypes.SSESpecification{Enabled: new(true), SSEType: ddbtypes.SSETypeKms, KMSMasterKeyId: &w.key},
		AttributeDefinitions: []ddbtypes.AttributeDefinition{{AttributeName: new("k"), AttributeType: ddbtypes.ScalarAttributeTypeS}},
		KeySchema:            []ddbtypes.KeySchemaElement{{AttributeName: new("k"), KeyType: ddbtypes.KeyTypeHash}},
	}))
	item := map[string]ddbtypes.AttributeValue{"k": &ddbtypes.AttributeValueMemberS{Value: "v"}}
	w.use["dynamodb put"] = func(ctx context.Context) error {
		_, err := c.PutItem(ctx, &dynamodb.PutItemInput{TableName: name, Item: item})
		return err
	}
	w.use["dynamodb get"] = func(ctx context.Context) error {
		_, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: name, Key: item})
		return err
	}
}

func (w *keyedWorld) messages(t *testing.T, cfg aws.Config) {
	q, n := sqs.NewFromConfig(cfg), sns.NewFromConfig(cfg)
	url := must[*sqs.CreateQueueOutput](t)(q.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: new("q"), Attributes: map[string]string{"KmsMasterKeyId": w.key, "VisibilityTimeout": "0"}})).QueueUrl
	topic := must[*sns.CreateTopicOutput](t)(n.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: new("n"), Attributes: map[string]string{"KmsMasterKeyId": w.key}})).TopicArn
	w.use["sqs send"] = func(ctx context.Context) error {
		_, err := q.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: url, MessageBody: new("m")})
		return err
	}
	if err := w.use["sqs send"](t.Context()); err != nil { // there is something to receive
		t.Fatal(err)
	}
	w.use["sqs receive"] = func(ctx context.Context) error {
		_, err := q.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url})
		return err
	}
	w.use["sns publish"] = func(ctx context.Context) error {
		_, err := n.Publish(ctx, &sns.PublishInput{TopicArn: topic, Message: new("m")})
		return err
	}
}

func (w *keyedWorld) bucket(t *testing.T, cfg aws.Config) {
	c, name := s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), new("bucket")
	must[*s3.CreateBucketOutput](t)(c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: name}))
	w.use["s3 put"] = func(ctx context.Context) error {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: name, Key: new("new"), Body: strings.NewReader("b"), ServerSideEncryption: s3types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &w.key})
		return err
	}
	must[*s3.PutObjectOutput](t)(c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: name, Key: new("old"), Body: strings.NewReader("b"), ServerSideEncryption: s3types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &w.key}))
	w.use["s3 get"] = func(ctx context.Context) error {
		_, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: name, Key: new("old")})
		return err
	}
}

// failingFunction is the code of a function that fails.
func failingFunction(t *testing.T) *lambdatypes.FunctionCode {
	t.Helper()
	return &lambdatypes.FunctionCode{ZipFile: packed(t, file{"bootstrap", "#!/bin/sh\nexit 1\n", 0o755})}
}

type file struct {
	name, text string
	mode       fs.FileMode
}

func packed(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		h.SetMode(f.mode | 0o600)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(f.name, "/") {
			continue
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (w *keyedWorld) function(t *testing.T, cfg aws.Config, role string) {
	c := lambda.NewFromConfig(cfg)
	must[*lambda.CreateFunctionOutput](t)(c.CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: new("f"), Role: &role, Runtime: lambdatypes.RuntimeProvidedal2023, Handler: new("bootstrap"), Code: failingFunction(t),
		KMSKeyArn: &w.key, Environment: &lambdatypes.Environment{Variables: map[string]string{"A": "b"}},
	}))
	w.use["lambda invoke"] = func(ctx context.Context) error {
		_, err := c.Invoke(ctx, &lambda.InvokeInput{FunctionName: new("f")}) // the program's own failure is an answer, not an error
		return err
	}
}

func (w *keyedWorld) logGroup(t *testing.T, cfg aws.Config) {
	c, group, stream := cloudwatchlogs.NewFromConfig(cfg), new("g"), new("s")
	must[*cloudwatchlogs.CreateLogGroupOutput](t)(c.CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: group, KmsKeyId: &w.key}))
	must[*cloudwatchlogs.CreateLogStreamOutput](t)(c.CreateLogStream(t.Context(), &cloudwatchlogs.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream}))
	w.use["logs put"] = func(ctx context.Context) error {
		_, err := c.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: []logtypes.InputLogEvent{{Message: new("m"), Timestamp: new(time.Now().UnixMilli())}}})
		return err
	}
	if err := w.use["logs put"](t.Context()); err != nil {
		t.Fatal(err)
	}
	w.use["logs get"] = func(ctx context.Context) error {
		_, err := c.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{LogGroupName: group, LogStreamName: stream})
		return err
	}
}

// outcomes has the error code of each use; "" is success.
func (w *keyedWorld) outcomes(ctx context.Context) map[string]string {
	out := map[string]string{}
	for name, use := range w.use {
		err := use(ctx)
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			out[name] = api.ErrorCode()
		} else if err != nil {
			out[name] = err.Error()
		} else {
			out[name] = ""
		}
	}
	return out
}

// TestKeyStateReachesItsUsers takes a KMS key away in each way there is: every
// service that uses it fails at once, in its own words, and works again when
// the key is back.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/key-state.html
func TestKeyStateReachesItsUsers(t *testing.T) {
	w := newKeyedWorld(t)
	ctx := t.Context()
	whole := w.outcomes(ctx)
	for use, code := range whole {
		if code != "" {
			t.Fatalf("%s fails with a key in order: %s", use, code)
		}
	}
	denyAll := strings.Replace(w.policy, `"Statement":[`, `"Statement":[{"Effect":"Deny","Principal":"*","Action":["kms:Decrypt","kms:GenerateDataKey"],"Resource":"*"},`, 1)
	put := func(policy string) error {
		_, err := w.kms.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &w.key, Policy: &policy})
		return err
	}
	enable := func() error {
		_, err := w.kms.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &w.key})
		return err
	}
	denied := map[string]string{
		"dynamodb put": "AccessDeniedException", "dynamodb get": "AccessDeniedException", "sqs send": "KMS.AccessDeniedException", "sqs receive": "KMS.AccessDeniedException",
		"sns publish": "KMSAccessDenied", "s3 put": "AccessDenied", "s3 get": "AccessDenied", "lambda invoke": "KMSAccessDeniedException",
		"logs put": "InvalidParameterException", "logs get": "InvalidParameterException",
	}
	granted := map[string]string{}
	for use, code := range denied { // Logs is let in by the key's policy, not by a grant
		if granted[use] = code; strings.HasPrefix(use, "logs") {
			granted[use] = ""
		}
	}
	for _, c := range []struct {
		name       string
		take, give func() error
		want       map[string]string
	}{
		{"disabled", func() error {
			_, err := w.kms.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &w.key})
			return err
		}, enable, map[string]string{
			"dynamodb put": "AccessDeniedException", "dynamodb get": "AccessDeniedException", "sqs send": "KMS.DisabledException", "sqs receive": "KMS.DisabledException",
			"sns publish": "KMSDisabled", "s3 put": "KMS.DisabledException", "s3 get": "KMS.DisabledException", "lambda invoke": "KMSDisabledException",
			"logs put": "InvalidParameterException", "logs get": "InvalidParameterException",
		}},
		{"pending deletion", func() error {
			_, err := w.kms.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &w.key, PendingWindowInDays: new(int32(7))})
			return err
		}, func() error {
			_, err := w.kms.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &w.key})
			return errors.Join(err, enable())
		}, map[string]string{
			"dynamodb put": "AccessDeniedException", "dynamodb get": "AccessDeniedException", "sqs send": "KMS.InvalidStateException", "sqs receive": "KMS.InvalidStateException",
			"sns publish": "KMSInvalidState", "s3 put": "KMS.KMSInvalidStateException", "s3 get": "KMS.KMSInvalidStateException", "lambda invoke": "KMSInvalidStateException",
			"logs put": "InvalidParameterException", "logs get": "InvalidParameterException",
		}},
		{"key policy denies", func() error { return put(denyAll) }, func() error { return put(w.policy) }, denied},
		{"grants revoked", func() error {
			var errs []error
			for _, id := range w.grants {
				_, err := w.kms.RevokeGrant(ctx, &kms.RevokeGrantInput{KeyId: &w.key, GrantId: &id})
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		}, func() error {
			for to := range w.grants {
				w.grant(t, to)
			}
			return nil
		}, granted},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.take(); err != nil {
				t.Fatal(err)
			}
			for use, code := range w.outcomes(ctx) {
				if code != c.want[use] {
					t.Errorf("%s: %q, want %q", use, code, c.want[use])
				}
			}
			if err := c.give(); err != nil {
				t.Fatal(err)
			}
			for use, code := range w.outcomes(ctx) {
				if code != "" {
					t.Errorf("%s does not recover: %s", use, code)
				}
			}
		})
	}
}
