package services

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func (s *Bench) dynamodb(ctx context.Context, b *bed) error {
	db, table := dynamodb.NewFromConfig(s.Config), s.name("table")
	b.later(func(ctx context.Context) error { return deleteTable(ctx, db, table) })
	_, err := db.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &table, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		Tags:                 tags(s, func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} }),
	})
	if err != nil {
		return err
	}
	err = await(ctx, func(ctx context.Context) (bool, error) {
		out, err := db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
		return err == nil && out.Table.TableStatus == types.TableStatusActive, err
	})
	payload := &types.AttributeValueMemberS{Value: strings.Repeat("x", 256)}
	one := &types.AttributeValueMemberN{Value: "1"}
	// Keys repeat, so that the table stays small, and all are written first.
	id := func(client, round int) types.AttributeValue {
		return &types.AttributeValueMemberS{Value: fmt.Sprintf("%d-%d", client, round%100)}
	}
	b.operation("PutItem", func(ctx context.Context, client, round int) error {
		_, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: map[string]types.AttributeValue{"id": id(client, round), "payload": payload}})
		return err
	})
	b.operation("GetItem", func(ctx context.Context, client, round int) error {
		_, err := db.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: map[string]types.AttributeValue{"id": id(client, round)}, ConsistentRead: aws.Bool(true)})
		return err
	})
	b.operation("UpdateItem", func(ctx context.Context, client, round int) error {
		_, err := db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: &table, Key: map[string]types.AttributeValue{"id": id(client, round)},
			UpdateExpression: aws.String("ADD n :one"), ExpressionAttributeValues: map[string]types.AttributeValue{":one": one},
		})
		return err
	})
	b.operation("Query", func(ctx context.Context, client, round int) error {
		_, err := db.Query(ctx, &dynamodb.QueryInput{
			TableName: &table, KeyConditionExpression: aws.String("id = :id"), ExpressionAttributeValues: map[string]types.AttributeValue{":id": id(client, round)},
		})
		return err
	})
	return err
}

// deleteTable deletes a table also if it is being created still.
func deleteTable(ctx context.Context, db *dynamodb.Client, table string) error {
	return await(ctx, func(ctx context.Context) (bool, error) {
		_, err := db.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table})
		if code(err) == "ResourceInUseException" {
			return false, nil
		}
		return true, unlessGone(err)
	})
}

func (s *Bench) kms(ctx context.Context, b *bed) error {
	client := kms.NewFromConfig(s.Config)
	key, err := client.CreateKey(ctx, &kms.CreateKeyInput{
		Description: aws.String(s.name("key")),
		Tags:        tags(s, func(k, v *string) kmstypes.Tag { return kmstypes.Tag{TagKey: k, TagValue: v} }),
	})
	if err != nil {
		return err
	}
	id := key.KeyMetadata.KeyId
	b.later(func(ctx context.Context) error {
		// The tags are taken off first: until KMS deletes it, the key must not
		// be mistaken for the stack's own, which up would revive.
		var names []string
		for name := range s.Tags {
			names = append(names, name)
		}
		_, err := client.UntagResource(ctx, &kms.UntagResourceInput{KeyId: id, TagKeys: names})
		if err != nil {
			return err
		}
		const shortest = 7 // days
		_, err = client.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(shortest)})
		return err
	})
	text := bytes.Repeat([]byte("x"), 256)
	sealed, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: text})
	if err != nil {
		return err
	}
	b.operation("Encrypt", func(ctx context.Context, _, _ int) error {
		_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: text})
		return err
	})
	b.operation("Decrypt", func(ctx context.Context, _, _ int) error {
		_, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
		return err
	})
	return nil
}

func (s *Bench) s3(ctx context.Context, b *bed) error {
	client := s3.NewFromConfig(s.Config, func(o *s3.Options) { o.UsePathStyle = s.Config.BaseEndpoint != nil })
	bucket := strings.ToLower(s.name("bucket"))
	in := &s3.CreateBucketInput{Bucket: &bucket}
	if s.Config.Region != "us-east-1" { // which must not be named
		in.CreateBucketConfiguration = &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(s.Config.Region)}
	}
	b.later(func(ctx context.Context) error {
		_, err := client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &bucket})
		return unlessGone(err)
	})
	if _, err := client.CreateBucket(ctx, in); err != nil {
		return err
	}
	_, err := client.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: &bucket, Tagging: &s3types.Tagging{
		TagSet: tags(s, func(k, v *string) s3types.Tag { return s3types.Tag{Key: k, Value: v} }),
	}})
	if err != nil {
		return err
	}
	b.later(func(ctx context.Context) error {
		for c := range s.Clients {
			if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: aws.String(fmt.Sprint(c))}); unlessGone(err) != nil {
				return err
			}
		}
		return nil
	})
	body := bytes.Repeat([]byte("x"), 1024)
	// Overwritten, so that few have to be deleted.
	b.operation("PutObject", func(ctx context.Context, who, _ int) error {
		_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String(fmt.Sprint(who)), Body: bytes.NewReader(body)})
		return err
	})
	b.operation("GetObject", func(ctx context.Context, who, _ int) error {
		out, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String(fmt.Sprint(who))})
		if err != nil {
			return err
		}
		defer out.Body.Close()
		_, err = io.Copy(io.Discard, out.Body)
		return err
	})
	return nil
}

func (s *Bench) logs(ctx context.Context, b *bed) error {
	client, group := cloudwatchlogs.NewFromConfig(s.Config), s.name("logs")
	b.later(func(ctx context.Context) error {
		_, err := client.DeleteLogGroup(ctx, &cloudwatchlogs.DeleteLogGroupInput{LogGroupName: &group})
		return unlessGone(err)
	})
	if _, err := client.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group, Tags: s.Tags}); err != nil {
		return err
	}
	for c := range s.Clients {
		if _, err := client.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &group, LogStreamName: aws.String(fmt.Sprint(c))}); err != nil {
			return err
		}
	}
	line := strings.Repeat("x", 200)
	b.operation("PutLogEvents", func(ctx context.Context, who, _ int) error {
		_, err := client.PutLogEvents(ctx, &cloudwatchlogs.PutLogEventsInput{
			LogGroupName: &group, LogStreamName: aws.String(fmt.Sprint(who)),
			LogEvents: []logtypes.InputLogEvent{{Message: &line, Timestamp: aws.Int64(time.Now().UnixMilli())}},
		})
		return err
	})
	return nil
}
