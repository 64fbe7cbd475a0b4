package dlq

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestParse reads letters as AWS writes them.
func TestParse(t *testing.T) {
	sent := time.UnixMilli(1764000000123).UTC()
	cases := []struct {
		name, body string
		attributes map[string]string
		want       Letter
	}{
		{
			"workflow", `{"order_id":"ord_1","code":"PAYMENT_UNAVAILABLE","reason":"no answer","execution_arn":"arn:aws:states:us-east-1:000000000000:execution:miniforge-fulfilment:e1","at":"2026-01-02T03:04:05.000Z"}`, nil,
			Letter{Source: Workflow, OrderID: "ord_1", Code: "PAYMENT_UNAVAILABLE", Reason: "no answer", ExecutionARN: "arn:aws:states:us-east-1:000000000000:execution:miniforge-fulfilment:e1", Where: "execution e1"},
		},
		{
			"stream", `{"requestContext":{"requestId":"r","functionArn":"arn:aws:lambda:us-east-1:000000000000:function:f:live","condition":"RetryAttemptsExhausted","approximateInvokeCount":6},"responseContext":{"statusCode":200,"executedVersion":"1","functionError":"Unhandled"},"version":"1.0","timestamp":"2026-01-02T03:04:05.678Z","DDBStreamBatchInfo":{"shardId":"shardId-1","startSequenceNumber":"100","endSequenceNumber":"102","approximateArrivalOfFirstRecord":"2026-01-02T03:04:05Z","approximateArrivalOfLastRecord":"2026-01-02T03:04:06Z","batchSize":3,"streamArn":"arn:s"}}`, nil,
			Letter{Source: Stream, Code: "RetryAttemptsExhausted", Reason: "Unhandled", Attempts: 6, Where: "3 records of shardId-1 from 100 to 102"},
		},
		{
			"rule", `{"version":"0","source":"miniforge.orders","detail-type":"OrderPlaced","detail":{"order_id":"ord_2","items":[]}}`,
			map[string]string{"RULE_ARN": "arn:aws:events:us-east-1:000000000000:rule/bus/placed", "TARGET_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:m", "ERROR_CODE": "SDK_CLIENT_ERROR", "ERROR_MESSAGE": "denied", "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts", "RETRY_ATTEMPTS": "24"},
			Letter{Source: Rule, OrderID: "ord_2", Code: "SDK_CLIENT_ERROR", Reason: "denied (MaximumRetryAttempts)", Attempts: 25, Where: "rule placed to m"},
		},
		{
			"subscription, raw", `{"order_id":"ord_3","status":"CONFIRMED","at":"x"}`,
			map[string]string{"RequestID": "q-1", "ErrorCode": "403", "ErrorMessage": "no access"},
			Letter{Source: Subscription, OrderID: "ord_3", Code: "403", Reason: "no access", Where: "notification q-1"},
		},
		{
			"subscription, in an envelope", `{"Type":"Notification","MessageId":"m","Message":"{\"order_id\":\"ord_4\"}"}`,
			map[string]string{"RequestID": "q-2", "ErrorCode": "404", "ErrorMessage": "gone"},
			Letter{Source: Subscription, OrderID: "ord_4", Code: "404", Reason: "gone", Where: "notification q-2"},
		},
		{"text", "help", nil, Letter{Source: Unknown}},
		{"a number", "17", nil, Letter{Source: Unknown}},
		{"half of a letter", `{"order_id":"ord_5"}`, nil, Letter{Source: Unknown}},
		{"members of other types", `{"order_id":"ord_6","execution_arn":"arn","code":{"x":1}}`, nil, Letter{Source: Unknown}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := types.Message{
				MessageId: aws.String("1"), Body: &c.body, MessageAttributes: map[string]types.MessageAttributeValue{},
				Attributes: map[string]string{"SentTimestamp": "1764000000123", "ApproximateReceiveCount": "3"},
			}
			for name, v := range c.attributes {
				m.MessageAttributes[name] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: &v}
			}
			c.want.MessageID, c.want.Body, c.want.At, c.want.Receives = "1", c.body, sent, 3
			got := Parse(m)
			if diff := cmp.Diff(c.want, got, cmpopts.IgnoreUnexported(Letter{})); diff != "" {
				t.Errorf("letter (-want +got):\n%s", diff)
			}
			if c.want.Source == Stream && (got.batch.To.Sub(got.batch.From) != time.Second || got.batch.From.IsZero()) {
				t.Errorf("records from %s to %s", got.batch.From, got.batch.To)
			}
		})
	}
}
