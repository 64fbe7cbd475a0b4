package lambda

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/wire"
)

// probe finds out whether a function's role can read a mapping's source, as
// Lambda does before it makes the mapping.
func (s *Service) probe(ctx context.Context, n name, v *versionRow, m *mappingRow) error {
	role, err := s.assumed(ctx, n, *v.Config.Role)
	if err != nil {
		return err
	}
	if m.kind() == "sqs" {
		return s.probeQueue(ctx, role, v, m)
	}
	return s.probeStream(ctx, role, m)
}

func (s *Service) probeStream(ctx context.Context, role wire.As, m *mappingRow) error {
	arn := *m.Config.EventSourceArn
	out, err := wire.Do[streams.DescribeStreamOutput](ctx, s.Caller, role, &streams.DescribeStreamInput{StreamArn: &arn})
	if err == nil && len(out.StreamDescription.Shards) > 0 {
		var it *streams.GetShardIteratorOutput
		it, err = wire.Do[streams.GetShardIteratorOutput](ctx, s.Caller, role, &streams.GetShardIteratorInput{
			StreamArn: &arn, ShardId: out.StreamDescription.Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
		})
		if err == nil {
			_, err = s.Caller.Call(ctx, role, &streams.GetRecordsInput{ShardIterator: it.ShardIterator, Limit: new(int32(1))})
		}
	}
	if err == nil {
		_, err = s.Caller.Call(ctx, role, &streams.ListStreamsInput{TableName: new(tableOf(arn)), Limit: new(int32(1))})
	}
	var api smithy.APIError
	switch {
	case err == nil:
		return nil
	case isCode(err, "ResourceNotFoundException"):
		return badValue("Stream not found: " + arn)
	case isDenied(err):
		return badValue("Cannot access stream " + arn + ". Please ensure the role can perform the GetRecords, GetShardIterator, DescribeStream, and ListStreams Actions on your stream in IAM.")
	case errors.As(err, &api):
		return badValue("Received Exception while reading from provided stream. " + api.ErrorMessage())
	}
	return err
}

// tableOf is the table in a stream's ARN.
func tableOf(stream string) string {
	_, rest, _ := strings.Cut(stream, ":table/")
	table, _, _ := strings.Cut(rest, "/")
	return table
}

func (s *Service) probeQueue(ctx context.Context, role wire.As, v *versionRow, m *mappingRow) error {
	p := strings.Split(*m.Config.EventSourceArn, ":")
	url, err := wire.Do[sqs.GetQueueUrlOutput](ctx, s.Caller, s.own(p[3]), &sqs.GetQueueUrlInput{QueueName: &p[5], QueueOwnerAWSAccountId: &p[4]})
	if err != nil {
		return refused(err, badValue("Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue does not exist."))
	}
	out, err := wire.Do[sqs.GetQueueAttributesOutput](ctx, s.Caller, role, &sqs.GetQueueAttributesInput{
		QueueUrl: url.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameVisibilityTimeout},
	})
	if err != nil {
		return refused(err, badValue("The provided execution role does not have permissions to call GetQueueAttributes on SQS"))
	}
	visible, err := strconv.Atoi(out.Attributes[string(sqstypes.QueueAttributeNameVisibilityTimeout)])
	if err == nil && visible < int(*v.Config.Timeout) {
		return badValue(fmt.Sprintf("Queue visibility timeout: %d seconds is less than Function timeout: %d seconds", visible, *v.Config.Timeout))
	}
	return nil
}
