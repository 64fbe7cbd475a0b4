package cloud

import (
	"context"
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"pgregory.net/rapid"
)

// trialCalls are what the callers of the simulator's test try: of several
// protocols, with one resource, several, and none, with keys of their own.
// Most ask for what does not exist: only whether they may ask counts.
var trialCalls = map[string]func(context.Context, aws.Config) error{
	"read a queue":     attributesOf("forge-a"),
	"read another's":   attributesOf("other-b"),
	"send":             sendTo("forge-a"),
	"send to another":  sendTo("other-b"),
	"make a queue":     makeQueue(nil),
	"make, tagged":     makeQueue(map[string]string{"team": "forge"}),
	"make, tags twice": makeQueue(map[string]string{"team": "forge", "more": "x"}),
	"list queues": func(ctx context.Context, cfg aws.Config) error {
		_, err := sqs.NewFromConfig(cfg).ListQueues(ctx, &sqs.ListQueuesInput{})
		return err
	},
	"get an item": func(ctx context.Context, cfg aws.Config) error {
		_, err := dynamodb.NewFromConfig(cfg).GetItem(ctx, &dynamodb.GetItemInput{TableName: new("forge"), Key: itemKey("1")})
		return err
	},
	"items of two tables": func(ctx context.Context, cfg aws.Config) error {
		_, err := dynamodb.NewFromConfig(cfg).TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []ddbtypes.TransactWriteItem{
			{Put: &ddbtypes.Put{TableName: new("forge"), Item: itemKey("1")}}, {Delete: &ddbtypes.Delete{TableName: new("other"), Key: itemKey("1")}},
		}})
		return err
	},
	"get an object": func(ctx context.Context, cfg aws.Config) error {
		_, err := pathStyle(cfg).GetObject(ctx, &s3.GetObjectInput{Bucket: new("forge"), Key: new("ann/1")})
		return err
	},
	"copy an object": func(ctx context.Context, cfg aws.Config) error {
		_, err := pathStyle(cfg).CopyObject(ctx, &s3.CopyObjectInput{Bucket: new("forge"), Key: new("ann/2"), CopySource: new("forge/bob/1")})
		return err
	},
	"read oneself": func(ctx context.Context, cfg aws.Config) error {
		_, err := iam.NewFromConfig(cfg).GetUser(ctx, &iam.GetUserInput{UserName: new("ann")})
		return err
	},
	"encrypt by a key":       encryptBy("alias/open"),
	"encrypt by another key": encryptBy("alias/closed"),
	"hand over a role": func(ctx context.Context, cfg aws.Config) error {
		_, err := lambda.NewFromConfig(cfg).CreateFunction(ctx, &lambda.CreateFunctionInput{
			FunctionName: new("forge"), Role: new("arn:aws:iam::" + trialAccount + ":role/app/worker"), Code: &lambdatypes.FunctionCode{ZipFile: []byte("no archive")},
			Handler: new("bootstrap"), Runtime: lambdatypes.RuntimeProvidedal2023,
		})
		return err
	},
	"put events": func(ctx context.Context, cfg aws.Config) error {
		entry := func(bus string) eventtypes.PutEventsRequestEntry {
			return eventtypes.PutEventsRequestEntry{EventBusName: &bus, Source: new("forge"), DetailType: new("t"), Detail: new("{}")}
		}
		_, err := eventbridge.NewFromConfig(cfg).PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{entry("forge"), entry("other")}})
		return err
	},
}

func queueURL(name string) *string {
	return new("http://127.0.0.1:4566/" + trialAccount + "/" + name)
}

func attributesOf(queue string) func(context.Context, aws.Config) error {
	return func(ctx context.Context, cfg aws.Config) error {
		_, err := sqs.NewFromConfig(cfg).GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: queueURL(queue)})
		return err
	}
}

func sendTo(queue string) func(context.Context, aws.Config) error {
	return func(ctx context.Context, cfg aws.Config) error {
		_, err := sqs.NewFromConfig(cfg).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: queueURL(queue), MessageBody: new("x")})
		return err
	}
}

func makeQueue(tags map[string]string) func(context.Context, aws.Config) error {
	return func(ctx context.Context, cfg aws.Config) error {
		_, err := sqs.NewFromConfig(cfg).CreateQueue(ctx, &sqs.CreateQueueInput{
			QueueName: new("forge-new"), Tags: tags, Attributes: map[string]string{"DelaySeconds": "-1"}, // never made: it would have tags at the next try
		})
		return err
	}
}

func encryptBy(alias string) func(context.Context, aws.Config) error {
	return func(ctx context.Context, cfg aws.Config) error {
		_, err := kms.NewFromConfig(cfg).Encrypt(ctx, &kms.EncryptInput{KeyId: &alias, Plaintext: []byte("x"), EncryptionContext: map[string]string{"team": "forge"}})
		return err
	}
}

func itemKey(id string) map[string]ddbtypes.AttributeValue {
	return map[string]ddbtypes.AttributeValue{"id": &ddbtypes.AttributeValueMemberS{Value: id}}
}

func pathStyle(cfg aws.Config) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })
}

func drawPolicies(t *rapid.T, s *somebody) policies {
	statements := rapid.SliceOfN(trialStatements, 0, 3)
	p := policies{inline: policyOf(statements.Draw(t, "inline")), managed: policyOf(statements.Draw(t, "managed"))}
	if rapid.IntRange(0, 2).Draw(t, "bounded") == 0 {
		p.boundary = policyOf(append([]map[string]any{{"Effect": "Allow", "Action": []string{"sqs:*", "s3:*"}, "Resource": "*"}}, statements.Draw(t, "boundary")...))
	}
	if !s.role && rapid.IntRange(0, 2).Draw(t, "queue policy") == 0 { // the simulator has no resource policies for roles
		doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": rapid.SliceOfN(trialQueueStatements(s), 1, 2).Draw(t, "of the queues")})
		if err != nil {
			t.Fatal(err)
		}
		p.queue = string(doc)
	}
	return p
}

var trialStatements = rapid.Custom(func(t *rapid.T) map[string]any {
	s := map[string]any{"Effect": rapid.SampledFrom([]string{"Allow", "Allow", "Allow", "Deny"}).Draw(t, "effect")}
	s[rapid.SampledFrom([]string{"Action", "Action", "Action", "NotAction"}).Draw(t, "of actions")] = rapid.SliceOfN(rapid.SampledFrom([]string{
		"*", "*", "sqs:*", "sqs:Get*", "SQS:SENDMESSAGE", "sqs:Send?essage", "sqs:CreateQueue", "sqs:TagQueue", "dynamodb:*Item", "dynamodb:PutItem", "s3:*Object", "s3:GetObject",
		"iam:*", "iam:PassRole", "events:PutEvents", "lambda:*", "kms:Encrypt",
	}), 1, 3).Draw(t, "actions")
	s[rapid.SampledFrom([]string{"Resource", "Resource", "Resource", "NotResource"}).Draw(t, "of resources")] = rapid.SliceOfN(rapid.SampledFrom([]string{
		"*", "*", "arn:aws:sqs:*:*:forge-?", "arn:aws:sqs:us-east-1:${aws:PrincipalAccount}:${aws:PrincipalTag/team}-*", "arn:aws:sqs:us-east-1:" + trialAccount + ":other-b",
		"arn:aws:dynamodb:*:*:table/forge", "arn:aws:dynamodb:*:*:table/*", "arn:aws:s3:::forge/${aws:username}/*", "arn:aws:s3:::forge/*", "arn:aws:iam::*:role/app/*",
		"arn:aws:iam::*:user/team/${aws:username, 'nobody'}", "arn:aws:events:*:*:event-bus/${aws:PrincipalTag/team}", "arn:aws:lambda:*:*:function:*",
	}), 1, 3).Draw(t, "resources")
	if c := drawConditions(t); c != nil {
		s["Condition"] = c
	}
	return s
})

// trialConditions are operators with keys and values that hold for some calls.
var trialConditions = []struct{ operators, keys, values []string }{
	{
		[]string{"StringEquals", "StringNotEquals", "StringLike", "StringNotLikeIfExists", "StringEqualsIfExists", "ForAllValues:StringEquals", "ForAnyValue:StringLike", "ForAllValues:StringNotEquals"},
		[]string{"aws:PrincipalTag/team", "aws:ResourceTag/team", "aws:RequestTag/team", "aws:TagKeys", "aws:username", "aws:PrincipalType", "iam:PassedToService", "dynamodb:LeadingKeys", "kms:EncryptionContext:team", "kms:EncryptionContextKeys", "kms:RequestAlias", "aws:RequestedRegion", "aws:ResourceAccount", "aws:userid"},
		[]string{"forge", "team", "ann", "User", "us-east-1", "*", "?", "lambda.amazonaws.com", "1", "${aws:PrincipalTag/team}", "${aws:ResourceTag/team, 'forge'}", trialAccount, "*:trial"},
	},
	{[]string{"Bool", "BoolIfExists"}, []string{"aws:SecureTransport", "aws:ViaAWSService", "aws:MultiFactorAuthPresent"}, []string{"true", "false"}},
	{[]string{"Null"}, []string{"aws:username", "aws:RequestTag/team", "aws:TagKeys", "dynamodb:LeadingKeys", "aws:ResourceTag/team", "aws:SourceArn"}, []string{"true", "false"}},
	{[]string{"IpAddress", "NotIpAddress"}, []string{"aws:SourceIp"}, []string{"127.0.0.0/8", "10.0.0.0/8", "::1"}},
	{[]string{"ArnLike", "ArnNotEquals", "ArnLikeIfExists"}, []string{"aws:PrincipalArn", "aws:SourceArn"}, []string{"arn:aws:iam::*:role/app/*", "arn:aws:iam::" + trialAccount + ":user/team/ann"}},
	{[]string{"DateGreaterThan", "DateLessThan"}, []string{"aws:CurrentTime"}, []string{"2001-01-01T00:00:00Z", "2101-01-01T00:00:00Z"}},
}

func drawConditions(t *rapid.T) map[string]any {
	if rapid.IntRange(0, 1).Draw(t, "conditional") == 0 {
		return nil
	}
	all := map[string]any{}
	for range rapid.IntRange(1, 2).Draw(t, "conditions") {
		c := rapid.SampledFrom(trialConditions).Draw(t, "condition")
		all[rapid.SampledFrom(c.operators).Draw(t, "operator")] = map[string]any{
			rapid.SampledFrom(c.keys).Draw(t, "key"): rapid.SliceOfN(rapid.SampledFrom(c.values), 1, 3).Draw(t, "values"),
		}
	}
	return all
}

// trialQueueStatements are those of the queues' policies. They leave alone
// what the test needs to change them.
func trialQueueStatements(s *somebody) *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		who := rapid.SampledFrom([]any{"*", map[string]any{"AWS": s.arn}, map[string]any{"AWS": trialAccount}, map[string]any{"AWS": "arn:aws:iam::" + trialAccount + ":root"}, map[string]any{"Service": "sns.amazonaws.com"}}).Draw(t, "who")
		statement := map[string]any{
			"Effect": rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, "effect"), "Principal": who,
			"Action": rapid.SampledFrom([]string{"sqs:SendMessage", "sqs:GetQueueAttributes"}).Draw(t, "action"), "Resource": "*",
		}
		if c := drawConditions(t); c != nil {
			statement["Condition"] = c
		}
		return statement
	})
}
