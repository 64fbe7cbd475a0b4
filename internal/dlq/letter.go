// Package dlq reads the dead-letter queue of a stack, tells what failed where
// and why, and runs it again from a consistent state.
//
// Four parts of the system send to that queue: the workflow, which tells of an
// order that failed or is stuck; the mapping of the orders' stream, which tells
// of records that its function could not process; the event rule and the
// subscription, which leave what they could not deliver.
package dlq

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Source is the part of the system that sent a dead letter.
type Source string

// The sources of dead letters.
const (
	Workflow     Source = "workflow"     // an order failed, or could not be compensated
	Stream       Source = "stream"       // records of the orders' stream were given up
	Rule         Source = "rule"         // an event could not be delivered to the workflow
	Subscription Source = "subscription" // a notification could not be delivered to its queue
	Unknown      Source = "unknown"      // somebody else's
)

// Letter is one message of the queue.
type Letter struct {
	MessageID string `json:"message_id"`
	Source    Source `json:"source"`
	// OrderID is the order that the letter is about. A stream's letter is about
	// all orders of a batch, and names none.
	OrderID string `json:"order_id,omitempty"`
	// Code and Reason say why: an order's failure code, or the error of a
	// delivery.
	Code   string `json:"code,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Where says what failed: an execution, records of a shard, the target of a
	// rule, a function.
	Where        string `json:"where,omitempty"`
	ExecutionARN string `json:"execution_arn,omitempty"`
	// Attempts is how often it was tried before it was given up, if that is told.
	Attempts int       `json:"attempts,omitempty"`
	At       time.Time `json:"at"`       // when the letter was sent
	Receives int       `json:"receives"` // how often it was looked at
	Body     string    `json:"body"`

	batch      batch
	handle     string
	attributes map[string]types.MessageAttributeValue
}

// batch tells which records of a stream a letter is about. The field names are
// those of Lambda's on-failure destinations.
type batch struct {
	ShardID string    `json:"shardId"`
	First   string    `json:"startSequenceNumber"`
	Last    string    `json:"endSequenceNumber"`
	From    time.Time `json:"approximateArrivalOfFirstRecord"`
	To      time.Time `json:"approximateArrivalOfLastRecord"`
	Size    int       `json:"batchSize"`
	Stream  string    `json:"streamArn"`
}

// body has the members of all kinds of letters; which are there tells the kind.
type body struct {
	OrderID      string `json:"order_id"`
	Code, Reason string
	Status       string
	ExecutionARN string          `json:"execution_arn"`
	Detail       json.RawMessage `json:"detail"`
	Message      string          `json:"Message"` // of an SNS envelope
	Batch        *batch          `json:"DDBStreamBatchInfo"`
	Request      struct {
		Function  string `json:"functionArn"`
		Condition string `json:"condition"`
		Attempts  int    `json:"approximateInvokeCount"`
	} `json:"requestContext"`
	Response struct {
		Error string `json:"functionError"`
	} `json:"responseContext"`
}

// Parse reads a message of the queue. A message that nobody of this system
// sends is Unknown, whatever it is.
func Parse(m types.Message) Letter {
	l := Letter{
		MessageID: aws.ToString(m.MessageId), Body: aws.ToString(m.Body), Source: Unknown,
		handle: aws.ToString(m.ReceiptHandle), attributes: m.MessageAttributes,
	}
	sent, _ := strconv.ParseInt(m.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64)
	l.At = time.UnixMilli(sent).UTC()
	l.Receives, _ = strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	var b body
	if err := json.Unmarshal([]byte(l.Body), &b); err != nil {
		b = body{} // half of it may have been read
	}
	switch {
	case l.attribute("RULE_ARN") != "":
		l.ofRule(b)
	case l.attribute("RequestID") != "" && l.attribute("ErrorCode") != "":
		l.ofSubscription(b)
	case b.Batch != nil:
		l.ofStream(b)
	case b.OrderID != "" && b.ExecutionARN != "":
		l.Source, l.OrderID, l.Code, l.Reason = Workflow, b.OrderID, b.Code, b.Reason
		l.ExecutionARN, l.Where = b.ExecutionARN, "execution "+last(b.ExecutionARN)
	}
	return l
}

func (l *Letter) ofRule(b body) {
	l.Source, l.Code = Rule, l.attribute("ERROR_CODE")
	l.Reason, l.Where = l.attribute("ERROR_MESSAGE"), "rule "+last(l.attribute("RULE_ARN"))+" to "+last(l.attribute("TARGET_ARN"))
	if c := l.attribute("EXHAUSTED_RETRY_CONDITION"); c != "" {
		l.Reason = strings.TrimSpace(l.Reason + " (" + c + ")")
	}
	l.Attempts, _ = strconv.Atoi(l.attribute("RETRY_ATTEMPTS"))
	l.Attempts++ // the first was no retry
	l.OrderID = orderOf(b, b.Detail)
}

func (l *Letter) ofSubscription(b body) {
	l.Source, l.Code, l.Reason = Subscription, l.attribute("ErrorCode"), l.attribute("ErrorMessage")
	l.Where = "notification " + l.attribute("RequestID")
	l.OrderID = orderOf(b, json.RawMessage(b.Message))
}

func (l *Letter) ofStream(b body) {
	l.Source, l.batch = Stream, *b.Batch
	l.Code, l.Attempts = b.Request.Condition, b.Request.Attempts
	l.Reason = b.Response.Error
	l.Where = fmt.Sprintf("%d records of %s from %s to %s", b.Batch.Size, b.Batch.ShardID, b.Batch.First, b.Batch.Last)
}

// orderOf is the order that a body names, itself or within a part of it.
func orderOf(b body, part json.RawMessage) string {
	var in struct {
		OrderID string `json:"order_id"`
	}
	if b.OrderID == "" && json.Unmarshal(part, &in) == nil {
		return in.OrderID
	}
	return b.OrderID
}

func (l *Letter) attribute(name string) string {
	return aws.ToString(l.attributes[name].StringValue)
}

// last is the last part of an ARN, which names the thing to people.
func last(arn string) string {
	return arn[strings.LastIndexAny(arn, ":/")+1:]
}
