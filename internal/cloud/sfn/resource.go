package sfn

import (
	"regexp"
	"slices"
	"strings"

	"miniforge/internal/cloud/memo"
)

// The kinds of resources of tasks.
const (
	isTask = iota
	isFunction
	isActivity
)

// The patterns of integrations.
const (
	bySync  = "sync"
	bySync2 = "sync:2"
	byToken = "waitForTaskToken"
)

// A resource is what a Task state works with.
type resource struct {
	arn     string
	kind    int
	service string // resourceType of events: "dynamodb", "aws-sdk:dynamodb"
	name    string // resource of events: "updateItem", "startExecution.sync:2"
	action  string // "updateItem"
	pattern string
	sdk     string // service of an SDK integration: "dynamodb"
}

var resourceForm = regexp.MustCompile(`^arn:[a-z-]+:states:[a-z0-9-]*:[0-9]*:(aws-sdk:)?([a-z0-9]+):([a-zA-Z0-9]+)(?:\.(sync|sync:2|waitForTaskToken))?$`)

// resources are those that were parsed: states ask for theirs at every step.
var resources memo.Map[string, resource]

func parseResource(arn string) resource {
	r, _ := resources.GetAt(0, arn, func() (resource, error) { return readResource(arn), nil }) // it does not fail
	return r
}

func readResource(arn string) resource {
	r := resource{arn: arn}
	parts := strings.SplitN(arn, ":", 6)
	switch m := resourceForm.FindStringSubmatch(arn); {
	case len(parts) == 6 && parts[2] == "lambda":
		r.kind, r.service, r.action = isFunction, "lambda", "invoke"
	case len(parts) == 6 && strings.HasPrefix(parts[5], "activity:"):
		r.kind = isActivity
	case m != nil:
		r.service, r.action, r.pattern = m[1]+m[2], m[3], m[4]
		r.name = strings.TrimPrefix(m[3]+"."+m[4], ".")
		if m[4] == "" {
			r.name = m[3]
		}
		if m[1] != "" {
			r.sdk = m[2]
		}
	}
	return r
}

func (r resource) activity() string {
	if r.kind == isActivity {
		return r.arn
	}
	return ""
}

// optimized are the integrations that have more than the plain call, with the
// patterns they allow.
var optimized = map[string]map[string][]string{
	"lambda":   {"invoke": {"", byToken}},
	"dynamodb": {"getItem": {""}, "putItem": {""}, "updateItem": {""}, "deleteItem": {""}},
	"sns":      {"publish": {"", byToken}},
	"sqs":      {"sendMessage": {"", byToken}},
	"events":   {"putEvents": {"", byToken}},
	"states":   {"startExecution": {"", bySync, bySync2, byToken}},
}

// supported tells whether the resource is one that can be worked with.
func (r resource) supported() bool {
	if r.kind != isTask || r.sdk != "" {
		return r.kind != isTask || r.pattern == "" || r.pattern == byToken
	}
	return slices.Contains(optimized[r.service][r.action], r.pattern)
}

// endpoint is the name of the service in ARNs and actions, for SDK
// integrations, which go by the SDK's package names.
func (r resource) endpoint() string {
	if r.sdk == "" {
		return r.service
	}
	if n, ok := map[string]string{
		"sfn": "states", "eventbridge": "events", "cloudwatchlogs": "logs", "apigatewayv2": "apigateway",
		"dynamodbstreams": "dynamodb", "resourcegroupstaggingapi": "tagging",
	}[r.sdk]; ok {
		return n
	}
	return r.sdk
}

// clients are the names of the SDK's clients, which begin the names of errors.
var clients = map[string]string{
	"dynamodb": "DynamoDb", "sqs": "Sqs", "sns": "Sns", "lambda": "Lambda", "eventbridge": "EventBridge", "sfn": "Sfn",
	"s3": "S3", "kms": "Kms", "iam": "Iam", "sts": "Sts", "cloudwatchlogs": "CloudWatchLogs", "apigatewayv2": "ApiGatewayV2",
	"codebuild": "CodeBuild", "codecommit": "CodeCommit", "codedeploy": "CodeDeploy", "codepipeline": "CodePipeline",
}

// A family is how the errors of an optimised integration are called.
type family struct {
	prefix   string // "DynamoDB"
	catchAll string // "AmazonDynamoDBException"
	service  string // in the cause: "AmazonDynamoDBv2"
}

var families = map[string]family{
	"dynamodb": {"DynamoDB", "AmazonDynamoDBException", "AmazonDynamoDBv2"},
	"lambda":   {"Lambda", "AWSLambdaException", "AWSLambda"},
	"sns":      {"SNS", "AmazonSNSException", "AmazonSNS"},
	"sqs":      {"SQS", "AmazonSQSException", "AmazonSQS"},
	"events":   {"EventBridge", "AmazonEventBridgeException", "AmazonEventBridge"},
	"states":   {"StepFunctions", "AWSStepFunctionsException", "AWSStepFunctions"},
}
