package cli

import "miniforge/internal/stack"

// neededOperations are the operations that the commands of this program and
// the functions call, apart from those that make something: these cannot be
// asked about without making it.
var neededOperations = map[string][]string{
	"apigatewayv2": {"GetApis", "GetIntegrations", "GetRoutes", "GetStages", "UpdateIntegration", "UpdateRoute", "UpdateStage", "DeleteApi", "DeleteRoute"},
	"codebuild":    {"BatchGetBuilds", "BatchGetProjects", "ListBuildsForProject", "StartBuild", "StopBuild", "DeleteProject"},
	"codecommit":   {"GetBranch", "GetFile", "GetFolder", "GetRepository", "ListTagsForResource", "DeleteRepository"},
	"codedeploy":   {"GetApplication", "GetDeployment", "GetDeploymentGroup", "ListDeployments", "ListTagsForResource", "StopDeployment", "DeleteApplication", "DeleteDeploymentGroup"},
	"codepipeline": {"GetPipeline", "GetPipelineExecution", "ListActionExecutions", "ListPipelineExecutions", "ListTagsForResource", "StartPipelineExecution", "StopPipelineExecution", "DeletePipeline"},
	"dynamodb": {
		"BatchGetItem", "BatchWriteItem", "DeleteItem", "DescribeContinuousBackups", "DescribeTable", "GetItem", "ListTagsOfResource",
		"PutItem", "Query", "Scan", "UpdateContinuousBackups", "UpdateItem", "UpdateTable", "DeleteTable",
	},
	"events": {"DescribeEventBus", "DescribeRule", "ListTagsForResource", "ListTargetsByRule", "PutEvents", "PutTargets", "RemoveTargets", "DeleteRule", "DeleteEventBus"},
	"iam": {
		"GetRole", "GetRolePolicy", "ListAttachedRolePolicies", "ListRolePolicies", "ListRoles", "PutRolePolicy",
		"UpdateAssumeRolePolicy", "DetachRolePolicy", "DeleteRolePolicy", "DeleteRole",
	},
	"kms": {
		"DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListKeys", "ListResourceTags", "PutKeyPolicy", "EnableKey", "EnableKeyRotation",
		"CancelKeyDeletion", "ScheduleKeyDeletion", "DeleteAlias",
	},
	"lambda": {
		"GetAlias", "GetEventSourceMapping", "GetFunction", "GetFunctionConfiguration", "GetPolicy", "Invoke", "ListEventSourceMappings", "ListTags",
		"ListVersionsByFunction", "AddPermission", "PublishVersion", "RemovePermission", "UpdateAlias", "UpdateEventSourceMapping", "UpdateFunctionCode",
		"UpdateFunctionConfiguration", "DeleteAlias", "DeleteEventSourceMapping", "DeleteFunction",
	},
	"logs": {"DescribeLogGroups", "FilterLogEvents", "GetLogEvents", "ListTagsForResource", "PutRetentionPolicy", "AssociateKmsKey", "DeleteLogGroup"},
	"s3": {
		"HeadBucket", "GetBucketEncryption", "GetBucketPolicy", "GetBucketTagging", "GetBucketVersioning", "GetPublicAccessBlock",
		"ListObjectVersions", "ListMultipartUploads", "PutObject", "DeleteBucket",
	},
	"sfn": {"DescribeExecution", "DescribeStateMachine", "ListExecutions", "ListTagsForResource", "StartExecution", "StopExecution", "UpdateStateMachine", "DeleteStateMachine"},
	"sns": {
		"GetSubscriptionAttributes", "GetTopicAttributes", "ListSubscriptionsByTopic", "ListTagsForResource", "Publish",
		"SetSubscriptionAttributes", "SetTopicAttributes", "Unsubscribe", "DeleteTopic",
	},
	"sqs": {
		"ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "DeleteMessage", "DeleteMessageBatch", "GetQueueAttributes", "GetQueueUrl",
		"ListQueueTags", "ListQueues", "ReceiveMessage", "SendMessage", "SetQueueAttributes", "DeleteQueue",
	},
	"tagging": {"GetResources"},
}

// clientsByService are the clients that these operations are asked of.
func clientsByService(c stack.Clients) map[string]any {
	return map[string]any{
		"apigatewayv2": c.APIGateway, "codebuild": c.CodeBuild, "codecommit": c.CodeCommit, "codedeploy": c.CodeDeploy, "codepipeline": c.CodePipeline,
		"dynamodb": c.DynamoDB, "events": c.Events, "iam": c.IAM, "kms": c.KMS, "lambda": c.Lambda, "logs": c.Logs, "s3": c.S3,
		"sfn": c.SFN, "sns": c.SNS, "sqs": c.SQS, "tagging": c.Tagging,
	}
}
