package verify

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamotypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"miniforge/internal/orderdb"
	"miniforge/internal/stack"
)

// A trial calls one action on the resource of an ARN, so that nothing changes
// whether the call is allowed or not.
type trial func(ctx context.Context, arn string) error

// never is a condition that no item fulfils, so that no write happens.
const never = "attribute_exists(#k) AND attribute_not_exists(#k)"

// trials are the actions that can be called without harm: what they read is
// not there, what they write has a condition that never holds, what they start
// is not well-formed.
func (r *Run) trials(cfg aws.Config) map[string]trial {
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	c := stack.NewClients(cfg)
	all := map[string]trial{
		"lambda:InvokeFunction": func(ctx context.Context, arn string) error {
			_, err := c.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: &arn, InvocationType: lambdatypes.InvocationTypeDryRun})
			return err
		},
		"lambda:UpdateFunctionCode": func(ctx context.Context, arn string) error {
			_, err := c.Lambda.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &arn, DryRun: true, ZipFile: []byte("no archive")})
			return err
		},
		"states:StartExecution": func(ctx context.Context, arn string) error {
			_, err := c.SFN.StartExecution(ctx, &sfn.StartExecutionInput{StateMachineArn: &arn, Input: aws.String("{")})
			return err
		},
		"events:PutEvents": func(ctx context.Context, arn string) error {
			out, err := c.Events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{
				EventBusName: &arn, Source: aws.String("miniforge.verify"), DetailType: aws.String("Probe"), Detail: aws.String("{}"),
			}}})
			if err == nil && out.FailedEntryCount > 0 {
				e := out.Entries[0]
				return &smithy.GenericAPIError{Code: aws.ToString(e.ErrorCode), Message: aws.ToString(e.ErrorMessage)}
			}
			return err
		},
		"sqs:GetQueueAttributes": func(ctx context.Context, arn string) error {
			url, err := r.queueURL(ctx, arn)
			if err == nil {
				_, err = c.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn}})
			}
			return err
		},
		"s3:ListBucket": func(ctx context.Context, arn string) error {
			_, err := c.S3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(bucketOf(arn)), MaxKeys: aws.Int32(1)})
			return err
		},
		"s3:GetObject": func(ctx context.Context, arn string) error {
			_, err := c.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucketOf(arn)), Key: aws.String("probe/nothing")})
			return err
		},
		"iam:ListRoles": func(ctx context.Context, _ string) error {
			_, err := c.IAM.ListRoles(ctx, &iam.ListRolesInput{MaxItems: aws.Int32(1)})
			return err
		},
		"sts:AssumeRole": func(ctx context.Context, arn string) error {
			_, err := sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String("verify")})
			return err
		},
		"kms:GenerateDataKey": func(ctx context.Context, arn string) error {
			_, err := c.KMS.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &arn, NumberOfBytes: aws.Int32(32)})
			return err
		},
	}
	maps.Copy(all, r.tableTrials(c.DynamoDB))
	return all
}

func (r *Run) tableTrials(c *dynamodb.Client) map[string]trial {
	key := func(arn string) (table *string, name string, key orderdb.Item) {
		name = orderdb.OrderKey
		if strings.HasSuffix(arn, "/"+r.stack.Inventory()) {
			name = orderdb.StockKey
		}
		return &arn, name, orderdb.Key(name, probePrefix+r.lab.run+"-NOTHING")
	}
	return map[string]trial{
		"dynamodb:GetItem": func(ctx context.Context, arn string) error {
			table, _, k := key(arn)
			_, err := c.GetItem(ctx, &dynamodb.GetItemInput{TableName: table, Key: k})
			return err
		},
		"dynamodb:BatchGetItem": func(ctx context.Context, arn string) error {
			_, _, k := key(arn)
			_, err := c.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: map[string]dynamotypes.KeysAndAttributes{arn: {Keys: []map[string]dynamotypes.AttributeValue{k}}}})
			return err
		},
		"dynamodb:PutItem": func(ctx context.Context, arn string) error {
			table, name, k := key(arn)
			_, err := c.PutItem(ctx, &dynamodb.PutItemInput{TableName: table, Item: k, ConditionExpression: aws.String(never), ExpressionAttributeNames: map[string]string{"#k": name}})
			return err
		},
		"dynamodb:UpdateItem": func(ctx context.Context, arn string) error {
			table, name, k := key(arn)
			_, err := c.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: table, Key: k, ConditionExpression: aws.String(never), ExpressionAttributeNames: map[string]string{"#k": name}})
			return err
		},
		"dynamodb:DeleteItem": func(ctx context.Context, arn string) error {
			table, name, k := key(arn)
			_, err := c.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: table, Key: k, ConditionExpression: aws.String(never), ExpressionAttributeNames: map[string]string{"#k": name}})
			return err
		},
		"dynamodb:Query": func(ctx context.Context, arn string) error {
			table, name, k := key(arn)
			_, err := c.Query(ctx, &dynamodb.QueryInput{
				TableName: table, KeyConditionExpression: aws.String("#k = :v"), ExpressionAttributeNames: map[string]string{"#k": name},
				ExpressionAttributeValues: map[string]dynamotypes.AttributeValue{":v": k[name]},
			})
			return err
		},
		"dynamodb:Scan": func(ctx context.Context, arn string) error {
			table, _, _ := key(arn)
			_, err := c.Scan(ctx, &dynamodb.ScanInput{TableName: table, Limit: aws.Int32(1)})
			return err
		},
	}
}

// queueURL asks as the caller: a role that may send to a queue need not be able
// to ask for its address.
func (r *Run) queueURL(ctx context.Context, arn string) (string, error) {
	out, err := r.stack.Clients.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(arn[strings.LastIndexByte(arn, ':')+1:])})
	if err != nil { // no verdict on the role: its code must not be taken for one
		return "", fmt.Errorf("find queue %s: %v", arn, err) //nolint:errorlint // see above
	}
	return aws.ToString(out.QueueUrl), nil
}

func bucketOf(arn string) string {
	bucket, _, _ := strings.Cut(arn[strings.LastIndexByte(arn, ':')+1:], "/")
	return bucket
}
