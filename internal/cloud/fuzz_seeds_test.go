package cloud

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	apitypes "github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	buildtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	committypes "github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	deploytypes "github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	pipetypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddb "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// finds are requests that once were answered by 500, or otherwise wrongly.
var finds = []struct{ op, line, headers, body string }{}

const (
	fuzzTrust   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":["states.amazonaws.com","codebuild.amazonaws.com","codepipeline.amazonaws.com","codedeploy.amazonaws.com"]},"Action":"sts:AssumeRole"}]}`
	fuzzMachine = `{"StartAt":"A","States":{"A":{"Type":"Pass","Parameters":{"x.$":"States.Format('{}-{}', $.a, States.ArrayLength($.l))","c.$":"$$.Execution.Id"},"ResultPath":"$.r","Next":"C"},` +
		`"C":{"Type":"Choice","Choices":[{"And":[{"Variable":"$.a","StringMatches":"x*"},{"Not":{"Variable":"$.l[0]","NumericGreaterThan":1e3}}],"Next":"M"}],"Default":"W"},` +
		`"M":{"Type":"Map","ItemsPath":"$.l","MaxConcurrency":2,"ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}},"Next":"W"},"W":{"Type":"Wait","Seconds":0,"Next":"F"},"F":{"Type":"Fail","ErrorPath":"$.a","Cause":"c"}}}`
	fuzzPattern = `{"source":["a",{"prefix":"b"}],"detail":{"n":[{"numeric":[">",0,"<=",5]}],"x":[{"anything-but":{"wildcard":"*y"}},{"exists":false}]},"$or":[{"account":[{"cidr":"10.0.0.0/8"}]},{"id":["1"]}]}`
)

// furniture are calls that make resources of all services, one after the
// other, and use them: with many, what a request's text means comes into play.
func furniture(account, region string) []any {
	arn := func(service, rest string) *string {
		return new("arn:aws:" + service + ":" + region + ":" + account + ":" + rest)
	}
	role := new("arn:aws:iam::" + account + ":role/ff")
	all := []any{
		&iam.CreateRoleInput{RoleName: new("ff"), AssumeRolePolicyDocument: new(fuzzTrust)},
		&iam.PutRolePolicyInput{RoleName: new("ff"), PolicyName: new("p"), PolicyDocument: new(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}}}`)},
		&iam.SimulateCustomPolicyInput{PolicyInputList: []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotAction":"s3:*","Resource":"arn:aws:sqs:*:*:${aws:username}"}}`}, ActionNames: []string{"sqs:SendMessage"}, ResourceArns: []string{*arn("sqs", "ff")}},
		&sts.GetCallerIdentityInput{},
		&kms.CreateKeyInput{Tags: nil},
		&kms.ListKeysInput{},
	}
	all = append(all, tableCalls()...)
	all = append(all, messageCalls(account, arn)...)
	all = append(all, flowCalls(role, arn)...)
	all = append(all, storageCalls()...)
	return append(all, deliveryCalls(role)...)
}

func tableCalls() []any {
	key := map[string]ddb.AttributeValue{"k": &ddb.AttributeValueMemberS{Value: "a"}, "s": &ddb.AttributeValueMemberN{Value: "1.50e2"}}
	item := map[string]ddb.AttributeValue{
		"k": key["k"], "s": key["s"], "g": &ddb.AttributeValueMemberS{Value: "g"}, "b": &ddb.AttributeValueMemberB{Value: []byte{0, 1}}, "z": &ddb.AttributeValueMemberNULL{Value: true},
		"ss": &ddb.AttributeValueMemberSS{Value: []string{"a", "b"}}, "ns": &ddb.AttributeValueMemberNS{Value: []string{"1", "-2.5"}}, "bs": &ddb.AttributeValueMemberBS{Value: [][]byte{{1}}},
		"m": &ddb.AttributeValueMemberM{Value: map[string]ddb.AttributeValue{"l": &ddb.AttributeValueMemberL{Value: []ddb.AttributeValue{&ddb.AttributeValueMemberBOOL{Value: true}, &ddb.AttributeValueMemberN{Value: "3"}}}}},
	}
	values := map[string]ddb.AttributeValue{":a": key["k"], ":n": &ddb.AttributeValueMemberN{Value: "7"}, ":l": &ddb.AttributeValueMemberL{}}
	return []any{
		&dynamodb.CreateTableInput{TableName: new("fff"), BillingMode: ddb.BillingModePayPerRequest,
			AttributeDefinitions:   []ddb.AttributeDefinition{{AttributeName: new("k"), AttributeType: "S"}, {AttributeName: new("s"), AttributeType: "N"}, {AttributeName: new("g"), AttributeType: "S"}},
			KeySchema:              []ddb.KeySchemaElement{{AttributeName: new("k"), KeyType: "HASH"}, {AttributeName: new("s"), KeyType: "RANGE"}},
			GlobalSecondaryIndexes: []ddb.GlobalSecondaryIndex{{IndexName: new("by-g"), KeySchema: []ddb.KeySchemaElement{{AttributeName: new("g"), KeyType: "HASH"}}, Projection: &ddb.Projection{ProjectionType: "KEYS_ONLY"}}},
			StreamSpecification:    &ddb.StreamSpecification{StreamEnabled: new(true), StreamViewType: "NEW_AND_OLD_IMAGES"}},
		&dynamodb.PutItemInput{TableName: new("fff"), Item: item, ReturnValues: "ALL_OLD"},
		&dynamodb.UpdateItemInput{TableName: new("fff"), Key: key, UpdateExpression: new("SET m.l[0] = if_not_exists(q, :n) + :n, x = list_append(:l, m.l) REMOVE z ADD c :n"), ConditionExpression: new("#k = :a AND NOT contains(ss, :n) OR size(b) BETWEEN :n AND :n"),
			ExpressionAttributeNames: map[string]string{"#k": "k"}, ExpressionAttributeValues: values, ReturnValues: "UPDATED_NEW"},
		&dynamodb.GetItemInput{TableName: new("fff"), Key: key, ProjectionExpression: new("m.l[1], ss")},
		&dynamodb.QueryInput{TableName: new("fff"), KeyConditionExpression: new("k = :a AND s > :n"), ExpressionAttributeValues: map[string]ddb.AttributeValue{":a": key["k"], ":n": values[":n"]}, Limit: new(int32(1)), ScanIndexForward: new(false)},
		&dynamodb.QueryInput{TableName: new("fff"), IndexName: new("by-g"), KeyConditions: map[string]ddb.Condition{"g": {ComparisonOperator: "EQ", AttributeValueList: []ddb.AttributeValue{item["g"]}}}},
		&dynamodb.ScanInput{TableName: new("fff"), FilterExpression: new("attribute_type(m, :t) OR begins_with(g, :t)"), ExpressionAttributeValues: map[string]ddb.AttributeValue{":t": &ddb.AttributeValueMemberS{Value: "M"}}, Segment: new(int32(0)), TotalSegments: new(int32(2))},
		&dynamodb.TransactWriteItemsInput{TransactItems: []ddb.TransactWriteItem{{Delete: &ddb.Delete{TableName: new("fff"), Key: map[string]ddb.AttributeValue{"k": &ddb.AttributeValueMemberS{Value: "b"}, "s": key["s"]}}}}},
	}
}

func messageCalls(account string, arn func(service, rest string) *string) []any {
	queue := new("http://127.0.0.1:4566/" + account + "/fff")
	return []any{
		&sqs.CreateQueueInput{QueueName: new("dead")},
		&sqs.CreateQueueInput{QueueName: new("fff"), Attributes: map[string]string{"VisibilityTimeout": "0"}},
		&sqs.SendMessageInput{QueueUrl: queue, MessageBody: new("b"), MessageAttributes: map[string]sqstypes.MessageAttributeValue{"n": {DataType: new("Number"), StringValue: new("1e5")}, "b": {DataType: new("Binary.x"), BinaryValue: []byte{0}}}},
		&sqs.SendMessageBatchInput{QueueUrl: queue, Entries: []sqstypes.SendMessageBatchRequestEntry{{Id: new("a"), MessageBody: new("b"), DelaySeconds: 1}, {Id: new("b"), MessageBody: new("c")}}},
		&sqs.SetQueueAttributesInput{QueueUrl: queue, Attributes: map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + *arn("sqs", "dead") + `","maxReceiveCount":"3"}`, "Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"sqs:PurgeQueue","Resource":"*"}]}`}},
		&sns.CreateTopicInput{Name: new("fff")},
		&sns.SubscribeInput{TopicArn: arn("sns", "fff"), Protocol: new("sqs"), Endpoint: arn("sqs", "fff"), Attributes: map[string]string{"FilterPolicy": `{"a":["x",{"anything-but":"y"}]}`}},
		&sns.PublishInput{TopicArn: arn("sns", "fff"), Message: new(`{"default":"d","sqs":"s"}`), MessageStructure: new("json"), MessageAttributes: map[string]snstypes.MessageAttributeValue{"a": {DataType: new("String.Array"), StringValue: new(`["x",1]`)}}},
		&sns.PublishBatchInput{TopicArn: arn("sns", "fff"), PublishBatchRequestEntries: []snstypes.PublishBatchRequestEntry{{Id: new("a"), Message: new("m")}}},
		&eventbridge.CreateEventBusInput{Name: new("fff")},
		&eventbridge.PutRuleInput{Name: new("fff"), EventBusName: new("fff"), EventPattern: new(fuzzPattern)},
		&eventbridge.PutRuleInput{Name: new("fff"), ScheduleExpression: new("cron(0/15 8-17 ? * MON-FRI *)")},
		&eventbridge.PutTargetsInput{Rule: new("fff"), EventBusName: new("fff"), Targets: []eventtypes.Target{{Id: new("t"), Arn: arn("sqs", "fff"), InputTransformer: &eventtypes.InputTransformer{InputPathsMap: map[string]string{"a": "$.detail.a[0]"}, InputTemplate: new(`{"x":<a>,"y":"<aws.events.rule-name>"}`)}}}},
		&eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{EventBusName: new("fff"), Source: new("a"), DetailType: new("d"), Detail: new(`{"n":3,"a":["b"]}`)}}},
		&eventbridge.TestEventPatternInput{EventPattern: new(fuzzPattern), Event: new(`{"id":"1","account":"10.0.0.1","source":"a","time":"2020-01-01T00:00:00Z","region":"us-east-1","resources":[],"detail-type":"d","detail":{"n":5}}`)},
		&cloudwatchlogs.CreateLogGroupInput{LogGroupName: new("fff")},
		&cloudwatchlogs.CreateLogStreamInput{LogGroupName: new("fff"), LogStreamName: new("fff")},
		&cloudwatchlogs.PutLogEventsInput{LogGroupName: new("fff"), LogStreamName: new("fff"), LogEvents: []logtypes.InputLogEvent{{Timestamp: new(int64(1)), Message: new(`{"a":{"b":1}}`)}}},
		&cloudwatchlogs.FilterLogEventsInput{LogGroupName: new("fff"), FilterPattern: new(`{ $.a.b >= 1 && ($.c = "x*" || $.d IS NULL) }`)},
		&cloudwatchlogs.GetLogEventsInput{LogGroupName: new("fff"), LogStreamName: new("fff"), StartFromHead: new(true)},
	}
}

func flowCalls(role *string, arn func(service, rest string) *string) []any {
	return []any{
		&sfn.ValidateStateMachineDefinitionInput{Definition: new(fuzzMachine)},
		&sfn.CreateStateMachineInput{Name: new("fff"), RoleArn: role, Definition: new(fuzzMachine)},
		&sfn.StartExecutionInput{StateMachineArn: arn("states", "stateMachine:fff"), Name: new("e"), Input: new(`{"a":"xy","l":[1,2]}`)},
		&sfn.TestStateInput{RoleArn: role, Definition: new(`{"Type":"Pass","Parameters":{"x.$":"States.JsonMerge($.a, States.StringToJson($.b), false)","y.$":"States.MathRandom(1, $.n)","z.$":"$.l[?(@.p > 3)].q","h.$":"States.Hash($.b, 'SHA-256')"},"End":true}`), Input: new(`{"a":{},"b":"{}","n":9,"l":[{"p":4,"q":1}]}`)},
		&sfn.TestStateInput{RoleArn: role, Definition: new(`{"Type":"Pass","InputPath":"$..a[0:3:2]","ResultPath":"$.r[1]","OutputPath":"$.r['x']","End":true}`), Input: new(`{"a":[1],"r":[0,{"x":1}]}`)},
		&sfn.CreateActivityInput{Name: new("fff")},
		&apigatewayv2.CreateApiInput{Name: new("fff"), ProtocolType: "HTTP", CorsConfiguration: &apitypes.Cors{AllowOrigins: []string{"https://a.example"}}},
		&apigatewayv2.GetApisInput{},
		&tagging.GetResourcesInput{ResourceTypeFilters: []string{"sqs", "dynamodb:table"}},
	}
}

func storageCalls() []any {
	body := strings.NewReader
	return []any{
		&s3.CreateBucketInput{Bucket: new("fff")},
		&s3.PutBucketVersioningInput{Bucket: new("fff"), VersioningConfiguration: &s3types.VersioningConfiguration{Status: "Enabled"}},
		&s3.PutBucketTaggingInput{Bucket: new("fff"), Tagging: &s3types.Tagging{TagSet: []s3types.Tag{{Key: new("a"), Value: new("b")}}}},
		&s3.PutObjectInput{Bucket: new("fff"), Key: new("a/../b c"), Body: body("hello"), Metadata: map[string]string{"m": "v"}, ContentType: new("text/plain")},
		&s3.PutObjectInput{Bucket: new("fff"), Key: new("sum"), Body: body("hello"), ChecksumAlgorithm: "SHA256", IfNoneMatch: new("*")},
		&s3.GetObjectInput{Bucket: new("fff"), Key: new("sum"), Range: new("bytes=1-2"), ChecksumMode: "ENABLED"},
		&s3.HeadObjectInput{Bucket: new("fff"), Key: new("sum")},
		&s3.ListObjectsV2Input{Bucket: new("fff"), Prefix: new("a"), Delimiter: new("/"), EncodingType: "url", StartAfter: new("0")},
		&s3.CreateMultipartUploadInput{Bucket: new("fff"), Key: new("large")},
		&s3.DeleteObjectsInput{Bucket: new("fff"), Delete: &s3types.Delete{Objects: []s3types.ObjectIdentifier{{Key: new("nothing")}}}},
		&codecommit.CreateRepositoryInput{RepositoryName: new("fff")},
		&codecommit.CreateCommitInput{RepositoryName: new("fff"), BranchName: new("main"), PutFiles: []committypes.PutFileEntry{{FilePath: new("a/b"), FileContent: []byte("x")}, {FilePath: new("c"), FileContent: []byte("y"), FileMode: "EXECUTABLE"}}},
		&codecommit.GetFileInput{RepositoryName: new("fff"), FilePath: new("a/b")},
		&codecommit.GetFolderInput{RepositoryName: new("fff"), FolderPath: new("/")},
	}
}

func deliveryCalls(role *string) []any {
	artifact := pipetypes.OutputArtifact{Name: new("s")}
	action := func(name, category, provider string, configuration map[string]string) pipetypes.ActionDeclaration {
		return pipetypes.ActionDeclaration{Name: new(name), Configuration: configuration, ActionTypeId: &pipetypes.ActionTypeId{Category: pipetypes.ActionCategory(category), Owner: "AWS", Provider: new(provider), Version: new("1")}}
	}
	source := action("S", "Source", "CodeCommit", map[string]string{"RepositoryName": "fff", "BranchName": "main", "PollForSourceChanges": "false"})
	source.OutputArtifacts, source.Namespace = []pipetypes.OutputArtifact{artifact}, new("N")
	approve := action("A", "Approval", "Manual", map[string]string{"CustomData": "#{N.CommitId}"})
	return []any{
		&codebuild.CreateProjectInput{Name: new("fff"), ServiceRole: role, Source: &buildtypes.ProjectSource{Type: "NO_SOURCE", Buildspec: new("version: 0.2\nphases: {build: {commands: ['true']}}\n")},
			Artifacts: &buildtypes.ProjectArtifacts{Type: "NO_ARTIFACTS"}, Environment: &buildtypes.ProjectEnvironment{Type: "LINUX_CONTAINER", Image: new("aws/codebuild/standard:7.0"), ComputeType: "BUILD_GENERAL1_SMALL"}},
		&codedeploy.CreateApplicationInput{ApplicationName: new("fff"), ComputePlatform: "Lambda"},
		&codedeploy.CreateDeploymentGroupInput{ApplicationName: new("fff"), DeploymentGroupName: new("g"), ServiceRoleArn: role, DeploymentStyle: &deploytypes.DeploymentStyle{DeploymentOption: "WITH_TRAFFIC_CONTROL", DeploymentType: "BLUE_GREEN"}},
		&codedeploy.CreateDeploymentInput{ApplicationName: new("fff"), DeploymentGroupName: new("g"), Revision: &deploytypes.RevisionLocation{RevisionType: "AppSpecContent",
			AppSpecContent: &deploytypes.AppSpecContent{Content: new("version: 0.0\nResources:\n- f: {Type: 'AWS::Lambda::Function', Properties: {Name: f, Alias: live, CurrentVersion: 1, TargetVersion: 2}}\nHooks: [{BeforeAllowTraffic: h}]\n")}}},
		&codepipeline.CreatePipelineInput{Pipeline: &pipetypes.PipelineDeclaration{Name: new("fff"), RoleArn: role, PipelineType: "V2", ArtifactStore: &pipetypes.ArtifactStore{Type: "S3", Location: new("fff")},
			Stages: []pipetypes.StageDeclaration{{Name: new("Source"), Actions: []pipetypes.ActionDeclaration{source}}, {Name: new("Wait"), Actions: []pipetypes.ActionDeclaration{approve}}}}},
		&codepipeline.GetPipelineStateInput{Name: new("fff")},
	}
}
