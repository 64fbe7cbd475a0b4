package cloud

import (
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	apigwtypes "github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	buildtypes "github.com/aws/aws-sdk-go-v2/service/codebuild/types"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	deploytypes "github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	pipetypes "github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
)

// A referenceRow is an input with the actions and resources that the Service
// Authorization Reference gives to its operation. Where AWS's refusals name
// another resource than the reference, as they do for lists of roles, log
// groups, rules and for subscriptions, the row has that one. What follows "for"
// is the value of the condition key that narrows the action.
//
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
type referenceRow struct {
	in     any
	judged []string
}

func judgedAs(all ...string) []string { return all }

// here is the ARN of a resource in the trial's account and region.
func here(service, resource string) string {
	return "arn:aws:" + service + ":us-east-1:" + trialAccount + ":" + resource
}

const (
	trialRole   = "arn:aws:iam::" + trialAccount + ":role/app/r"
	passesRole  = "iam:PassRole " + trialRole + " for "
	trialMap    = `{"StartAt":"A","States":{"A":{"Type":"Pass","End":true}}}`
	trialBucket = "arn:aws:s3:::forge"
)

func referenceOfStores() []referenceRow {
	table, other := here("dynamodb", "table/one"), here("dynamodb", "table/two")
	stream := table + "/stream/2026-01-01T00:00:00.000"
	one, two, key := new("one"), new("two"), itemKey("1")
	bucket, object := new("forge"), new("a/b")
	return []referenceRow{
		{&dynamodb.CreateTableInput{
			TableName: one, BillingMode: ddbtypes.BillingModePayPerRequest, Tags: []ddbtypes.Tag{{Key: new("a"), Value: new("b")}},
			AttributeDefinitions: []ddbtypes.AttributeDefinition{{AttributeName: new("id"), AttributeType: "S"}}, KeySchema: []ddbtypes.KeySchemaElement{{AttributeName: new("id"), KeyType: "HASH"}},
		}, judgedAs("dynamodb:CreateTable "+table, "dynamodb:TagResource "+table)},
		{&dynamodb.GetItemInput{TableName: &table, Key: key}, judgedAs("dynamodb:GetItem " + table)},
		{&dynamodb.PutItemInput{TableName: one, Item: key}, judgedAs("dynamodb:PutItem " + table)},
		{&dynamodb.QueryInput{TableName: one, IndexName: new("ix_1"), KeyConditionExpression: new("id = id")}, judgedAs("dynamodb:Query " + table + "/index/ix_1")},
		{&dynamodb.ScanInput{TableName: one}, judgedAs("dynamodb:Scan " + table)},
		{&dynamodb.BatchGetItemInput{RequestItems: map[string]ddbtypes.KeysAndAttributes{"one": {Keys: []map[string]ddbtypes.AttributeValue{key}}, "two": {Keys: []map[string]ddbtypes.AttributeValue{key}}}},
			judgedAs("dynamodb:BatchGetItem "+table, "dynamodb:BatchGetItem "+other)},
		{&dynamodb.BatchWriteItemInput{RequestItems: map[string][]ddbtypes.WriteRequest{"one": {{PutRequest: &ddbtypes.PutRequest{Item: key}}}, "two": {{DeleteRequest: &ddbtypes.DeleteRequest{Key: key}}}}},
			judgedAs("dynamodb:BatchWriteItem "+table, "dynamodb:BatchWriteItem "+other)},
		{&dynamodb.TransactGetItemsInput{TransactItems: []ddbtypes.TransactGetItem{{Get: &ddbtypes.Get{TableName: one, Key: key}}, {Get: &ddbtypes.Get{TableName: two, Key: key}}}},
			judgedAs("dynamodb:GetItem "+table, "dynamodb:GetItem "+other)},
		{&dynamodb.TransactWriteItemsInput{TransactItems: []ddbtypes.TransactWriteItem{
			{Put: &ddbtypes.Put{TableName: one, Item: key}}, {ConditionCheck: &ddbtypes.ConditionCheck{TableName: two, Key: key, ConditionExpression: new("attribute_exists(id)")}},
			{Update: &ddbtypes.Update{TableName: two, Key: itemKey("2"), UpdateExpression: new("SET a = :a")}}, {Delete: &ddbtypes.Delete{TableName: one, Key: itemKey("3")}},
		}}, judgedAs("dynamodb:PutItem "+table, "dynamodb:ConditionCheckItem "+other, "dynamodb:UpdateItem "+other, "dynamodb:DeleteItem "+table)},
		{&dynamodb.UpdateContinuousBackupsInput{TableName: one, PointInTimeRecoverySpecification: &ddbtypes.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: new(true)}}, judgedAs("dynamodb:UpdateContinuousBackups " + table)},
		{&dynamodb.ListTablesInput{}, judgedAs("dynamodb:ListTables *")},
		{&dynamodbstreams.DescribeStreamInput{StreamArn: &stream}, judgedAs("dynamodb:DescribeStream " + stream)},
		{&s3.PutObjectInput{Bucket: bucket, Key: object, Tagging: new("a=b"), ACL: s3types.ObjectCannedACLBucketOwnerFullControl},
			judgedAs("s3:PutObject "+trialBucket+"/a/b", "s3:PutObjectTagging "+trialBucket+"/a/b", "s3:PutObjectAcl "+trialBucket+"/a/b")},
		{&s3.GetObjectInput{Bucket: bucket, Key: object}, judgedAs("s3:GetObject " + trialBucket + "/a/b")},
		{&s3.HeadObjectInput{Bucket: bucket, Key: object, VersionId: new("v")}, judgedAs("s3:GetObjectVersion " + trialBucket + "/a/b")},
		{&s3.CopyObjectInput{Bucket: bucket, Key: object, CopySource: new("from/x?versionId=v")}, judgedAs("s3:PutObject "+trialBucket+"/a/b", "s3:GetObjectVersion arn:aws:s3:::from/x")},
		{&s3.DeleteObjectsInput{Bucket: bucket, Delete: &s3types.Delete{Objects: []s3types.ObjectIdentifier{{Key: new("x")}, {Key: new("y"), VersionId: new("v")}}}},
			judgedAs("s3:DeleteObject "+trialBucket+"/x", "s3:DeleteObjectVersion "+trialBucket+"/y")},
		{&s3.ListObjectsV2Input{Bucket: bucket}, judgedAs("s3:ListBucket " + trialBucket)},
		{&s3.HeadBucketInput{Bucket: bucket}, judgedAs("s3:ListBucket " + trialBucket)},
		{&s3.ListBucketsInput{}, judgedAs("s3:ListAllMyBuckets *")},
		{&s3.CreateMultipartUploadInput{Bucket: bucket, Key: object}, judgedAs("s3:PutObject " + trialBucket + "/a/b")},
		{&s3.ListPartsInput{Bucket: bucket, Key: object, UploadId: new("u")}, judgedAs("s3:ListMultipartUploadParts " + trialBucket + "/a/b")},
		{&s3.GetBucketEncryptionInput{Bucket: bucket}, judgedAs("s3:GetEncryptionConfiguration " + trialBucket)},
		{&s3.DeletePublicAccessBlockInput{Bucket: bucket}, judgedAs("s3:PutBucketPublicAccessBlock " + trialBucket)},
	}
}

func referenceOfMessages() []referenceRow {
	queue, dead, topic := here("sqs", "q"), here("sqs", "dead"), here("sns", "t")
	subscription := new(topic + ":11111111-2222-3333-4444-555555555555")
	bus, rule := here("events", "event-bus/b"), here("events", "rule/b/r")
	b, r := new("b"), new("r")
	entry := func(bus string) eventtypes.PutEventsRequestEntry {
		return eventtypes.PutEventsRequestEntry{EventBusName: &bus, Source: new("s"), DetailType: new("d"), Detail: new("{}")}
	}
	return []referenceRow{
		{&sqs.CreateQueueInput{QueueName: new("q"), Tags: map[string]string{"a": "b"}}, judgedAs("sqs:CreateQueue "+queue, "sqs:TagQueue "+queue)},
		{&sqs.SendMessageBatchInput{QueueUrl: queueURL("q"), Entries: []sqstypes.SendMessageBatchRequestEntry{{Id: new("1"), MessageBody: new("x")}}}, judgedAs("sqs:SendMessage " + queue)},
		{&sqs.DeleteMessageBatchInput{QueueUrl: queueURL("q"), Entries: []sqstypes.DeleteMessageBatchRequestEntry{{Id: new("1"), ReceiptHandle: new("x")}}}, judgedAs("sqs:DeleteMessage " + queue)},
		{&sqs.ListQueuesInput{}, judgedAs("sqs:ListQueues *")},
		{&sqs.StartMessageMoveTaskInput{SourceArn: &dead, DestinationArn: &queue},
			judgedAs("sqs:StartMessageMoveTask "+dead, "sqs:ReceiveMessage "+dead, "sqs:DeleteMessage "+dead, "sqs:GetQueueAttributes "+dead, "sqs:SendMessage "+queue)},
		{&sns.CreateTopicInput{Name: new("t"), Tags: []snstypes.Tag{{Key: new("a"), Value: new("b")}}}, judgedAs("sns:CreateTopic "+topic, "sns:TagResource "+topic)},
		{&sns.SubscribeInput{TopicArn: &topic, Protocol: new("sqs"), Endpoint: &queue}, judgedAs("sns:Subscribe " + topic)},
		{&sns.PublishInput{TopicArn: &topic, Message: new("x")}, judgedAs("sns:Publish " + topic)},
		{&sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: []snstypes.PublishBatchRequestEntry{{Id: new("1"), Message: new("x")}}}, judgedAs("sns:Publish " + topic)},
		{&sns.GetSubscriptionAttributesInput{SubscriptionArn: subscription}, judgedAs("sns:GetSubscriptionAttributes " + topic)},
		{&sns.ListTopicsInput{}, judgedAs("sns:ListTopics *")},
		{&eventbridge.CreateEventBusInput{Name: b, Tags: []eventtypes.Tag{{Key: new("a"), Value: new("b")}}}, judgedAs("events:CreateEventBus "+bus, "events:TagResource "+bus)},
		{&eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{entry("b"), entry("default"), entry(bus)}},
			judgedAs("events:PutEvents "+bus, "events:PutEvents "+here("events", "event-bus/default"), "events:PutEvents "+bus)},
		{&eventbridge.PutRuleInput{Name: r, EventBusName: b, EventPattern: new(`{"source":["s"]}`)}, judgedAs("events:PutRule " + rule)},
		{&eventbridge.PutTargetsInput{Rule: r, EventBusName: b, Targets: []eventtypes.Target{{Id: new("1"), Arn: new(here("states", "stateMachine:m")), RoleArn: new(trialRole)}}},
			judgedAs("events:PutTargets "+rule, passesRole+"events.amazonaws.com")},
		{&eventbridge.DescribeRuleInput{Name: r}, judgedAs("events:DescribeRule " + here("events", "rule/r"))},
		{&eventbridge.ListRulesInput{}, judgedAs("events:ListRules " + here("events", "rule/*"))},
		{&eventbridge.PutPermissionInput{EventBusName: b, Action: new("events:PutEvents"), Principal: new(trialAccount), StatementId: new("s")}, judgedAs("events:PutPermission *")},
		{&cloudwatchlogs.CreateLogGroupInput{LogGroupName: new("/g"), Tags: map[string]string{"a": "b"}},
			judgedAs("logs:CreateLogGroup "+here("logs", "log-group:/g:log-stream:"), "logs:TagResource "+here("logs", "log-group:/g:log-stream:"))},
		{&cloudwatchlogs.DescribeLogGroupsInput{}, judgedAs("logs:DescribeLogGroups " + here("logs", "log-group::log-stream:"))},
		{&cloudwatchlogs.GetLogEventsInput{LogGroupName: new("/g"), LogStreamName: new("s")}, judgedAs("logs:GetLogEvents " + here("logs", "log-group:/g:log-stream:s"))},
	}
}

func referenceOfCompute() []referenceRow {
	function, machine := here("lambda", "function:f"), here("states", "stateMachine:m")
	name, role := new("f"), new(trialRole)
	return []referenceRow{
		{&lambda.CreateFunctionInput{
			FunctionName: name, Role: role, Code: &lambdatypes.FunctionCode{ZipFile: []byte("no archive")}, Handler: new("bootstrap"), Runtime: lambdatypes.RuntimeProvidedal2023, Tags: map[string]string{"a": "b"},
		}, judgedAs("lambda:CreateFunction "+function, "lambda:TagResource "+function, passesRole+"lambda.amazonaws.com")},
		{&lambda.UpdateFunctionConfigurationInput{FunctionName: name, Role: role}, judgedAs("lambda:UpdateFunctionConfiguration "+function, passesRole+"lambda.amazonaws.com")},
		{&lambda.InvokeInput{FunctionName: name, Qualifier: new("live")}, judgedAs("lambda:InvokeFunction " + function + ":live")},
		{&lambda.AddPermissionInput{FunctionName: name, StatementId: new("s"), Action: new("lambda:InvokeFunction"), Principal: new("sns.amazonaws.com")}, judgedAs("lambda:AddPermission " + function)},
		{&lambda.ListFunctionsInput{}, judgedAs("lambda:ListFunctions *")},
		{&lambda.CreateEventSourceMappingInput{FunctionName: name, EventSourceArn: new(here("sqs", "q")), Tags: map[string]string{"a": "b"}},
			judgedAs("lambda:CreateEventSourceMapping * for "+function, "lambda:TagResource "+here("lambda", "event-source-mapping:*")+" for "+function)},
		{&sfn.CreateStateMachineInput{Name: new("m"), Definition: new(trialMap), RoleArn: role, Publish: true, Tags: []sfntypes.Tag{{Key: new("a"), Value: new("b")}}},
			judgedAs("states:CreateStateMachine "+machine, "states:TagResource "+machine, "states:PublishStateMachineVersion "+machine, passesRole+"states.amazonaws.com")},
		{&sfn.UpdateStateMachineInput{StateMachineArn: &machine, Publish: true}, judgedAs("states:UpdateStateMachine "+machine, "states:PublishStateMachineVersion "+machine)},
		{&sfn.StartExecutionInput{StateMachineArn: new(machine + ":live")}, judgedAs("states:StartExecution " + machine + " for live")},
		{&sfn.DescribeStateMachineInput{StateMachineArn: new(machine + ":1")}, judgedAs("states:DescribeStateMachine " + machine + " for 1")},
		{&sfn.CreateStateMachineAliasInput{Name: new("live"), RoutingConfiguration: []sfntypes.RoutingConfigurationListItem{{StateMachineVersionArn: new(machine + ":1"), Weight: 100}}},
			judgedAs("states:CreateStateMachineAlias " + machine + " for live")},
		{&sfn.DescribeExecutionInput{ExecutionArn: new(here("states", "execution:m:e"))}, judgedAs("states:DescribeExecution " + here("states", "execution:m:e"))},
		{&sfn.TestStateInput{Definition: new(`{"Type":"Pass","End":true}`), RoleArn: role, RevealSecrets: true}, judgedAs("states:TestState *", "states:RevealSecrets *", passesRole+"states.amazonaws.com")},
		{&sfn.SendTaskSuccessInput{TaskToken: new("x"), Output: new("{}")}, judgedAs("states:SendTaskSuccess *")},
		{&apigatewayv2.CreateApiInput{Name: new("a"), ProtocolType: apigwtypes.ProtocolTypeHttp}, judgedAs("apigateway:POST arn:aws:apigateway:us-east-1::/apis")},
		{&apigatewayv2.UpdateStageInput{ApiId: new("a"), StageName: new("s")}, judgedAs("apigateway:PATCH arn:aws:apigateway:us-east-1::/apis/a/stages/s")},
		{&apigatewayv2.GetTagsInput{ResourceArn: new("arn:aws:apigateway:us-east-1::/apis/a")},
			judgedAs("apigateway:GET arn:aws:apigateway:us-east-1::/tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Fapis%2Fa")},
	}
}

func referenceOfDelivery() []referenceRow {
	project, role := here("codebuild", "project/pr"), new(trialRole)
	group := here("codedeploy", "deploymentgroup:a/g")
	pipeline := &pipetypes.PipelineDeclaration{
		Name: new("p"), RoleArn: role, ArtifactStore: &pipetypes.ArtifactStore{Type: "S3", Location: new("forge")},
		Stages: []pipetypes.StageDeclaration{{Name: new("a"), Actions: []pipetypes.ActionDeclaration{}}, {Name: new("b"), Actions: []pipetypes.ActionDeclaration{}}},
	}
	return []referenceRow{
		{&codebuild.CreateProjectInput{
			Name: new("pr"), ServiceRole: role, Source: &buildtypes.ProjectSource{Type: "NO_SOURCE"}, Artifacts: &buildtypes.ProjectArtifacts{Type: "NO_ARTIFACTS"},
			Environment: &buildtypes.ProjectEnvironment{Type: "LINUX_CONTAINER", Image: new("i"), ComputeType: "BUILD_GENERAL1_SMALL"},
		}, judgedAs("codebuild:CreateProject "+project, passesRole+"codebuild.amazonaws.com")},
		{&codebuild.StartBuildInput{ProjectName: new("pr")}, judgedAs("codebuild:StartBuild " + project)},
		{&codebuild.ListProjectsInput{}, judgedAs("codebuild:ListProjects *")},
		{&codecommit.GetRepositoryInput{RepositoryName: new("r")}, judgedAs("codecommit:GetRepository " + here("codecommit", "r"))},
		{&codedeploy.CreateDeploymentGroupInput{ApplicationName: new("a"), DeploymentGroupName: new("g"), ServiceRoleArn: role}, judgedAs("codedeploy:CreateDeploymentGroup "+group, passesRole+"codedeploy.amazonaws.com")},
		{&codedeploy.CreateDeploymentInput{ApplicationName: new("a"), DeploymentGroupName: new("g"), Revision: &deploytypes.RevisionLocation{}}, judgedAs("codedeploy:CreateDeployment " + group)},
		{&codedeploy.GetDeploymentConfigInput{DeploymentConfigName: new("c")}, judgedAs("codedeploy:GetDeploymentConfig " + here("codedeploy", "deploymentconfig:c"))},
		{&codepipeline.CreatePipelineInput{Pipeline: pipeline}, judgedAs("codepipeline:CreatePipeline "+here("codepipeline", "p"), passesRole+"codepipeline.amazonaws.com")},
		{&codepipeline.PutApprovalResultInput{
			PipelineName: new("p"), StageName: new("s"), ActionName: new("a"), Token: new("11111111-2222-3333-4444-555555555555"), Result: &pipetypes.ApprovalResult{Status: "Approved", Summary: new("")},
		}, judgedAs("codepipeline:PutApprovalResult " + here("codepipeline", "p/s/a"))},
		{&codepipeline.PollForJobsInput{ActionTypeId: &pipetypes.ActionTypeId{Category: "Build", Owner: "Custom", Provider: new("me"), Version: new("1")}},
			judgedAs("codepipeline:PollForJobs " + here("codepipeline", "actiontype:Custom/Build/me/1"))},
	}
}

func referenceOfSecurity(key string) []referenceRow {
	user := "arn:aws:iam::" + trialAccount + ":user/ann"
	return []referenceRow{
		{&kms.EncryptInput{KeyId: &key, Plaintext: []byte("x")}, judgedAs("kms:Encrypt " + key)},
		{&kms.GenerateDataKeyInput{KeyId: &key, KeySpec: kmstypes.DataKeySpecAes256}, judgedAs("kms:GenerateDataKey " + key)},
		{&kms.CreateKeyInput{}, judgedAs("kms:CreateKey *")},
		{&kms.CreateAliasInput{AliasName: new("alias/a"), TargetKeyId: &key}, judgedAs("kms:CreateAlias "+here("kms", "alias/a"), "kms:CreateAlias "+key)},
		{&kms.ListKeysInput{}, judgedAs("kms:ListKeys *")},
		{&iam.GetUserInput{}, judgedAs("iam:GetUser " + user)},
		{&iam.CreateRoleInput{RoleName: new("n"), Path: new("/app/"), AssumeRolePolicyDocument: new("{}"), Tags: []iamtypes.Tag{{Key: new("a"), Value: new("b")}}},
			judgedAs("iam:CreateRole arn:aws:iam::"+trialAccount+":role/app/n", "iam:TagRole arn:aws:iam::"+trialAccount+":role/app/n")},
		{&iam.GetRoleInput{RoleName: new("r")}, judgedAs("iam:GetRole " + trialRole)},
		{&iam.AttachRolePolicyInput{RoleName: new("r"), PolicyArn: new("arn:aws:iam::aws:policy/ReadOnlyAccess")}, judgedAs("iam:AttachRolePolicy " + trialRole)},
		{&iam.ListRolesInput{}, judgedAs("iam:ListRoles arn:aws:iam::" + trialAccount + ":role/")},
		{&iam.GetPolicyInput{PolicyArn: new("arn:aws:iam::aws:policy/AdministratorAccess")}, judgedAs("iam:GetPolicy arn:aws:iam::aws:policy/AdministratorAccess")},
		{&sts.AssumeRoleInput{RoleArn: new(trialRole), RoleSessionName: new("se"), Tags: []ststypes.Tag{{Key: new("a"), Value: new("b")}}, SourceIdentity: new("me")},
			judgedAs("sts:AssumeRole "+trialRole, "sts:TagSession "+trialRole, "sts:SetSourceIdentity "+trialRole)},
		{&sts.GetCallerIdentityInput{}, nil},
		{&sts.GetSessionTokenInput{}, nil},
	}
}
