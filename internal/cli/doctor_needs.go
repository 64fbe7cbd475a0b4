package cli

import (
	"miniforge/internal/doctor"
	"miniforge/internal/stack"
)

// neededOperations are the operations that the commands of this program and
// the functions call, by service, apart from those that make something: these
// cannot be asked about without making it.
func neededOperations(c stack.Clients) map[string][]doctor.Operation {
	return map[string][]doctor.Operation{
		"apigatewayv2": {
			c.APIGateway.GetApis, c.APIGateway.GetIntegrations, c.APIGateway.GetRoutes, c.APIGateway.GetStages, c.APIGateway.UpdateIntegration,
			c.APIGateway.UpdateRoute, c.APIGateway.UpdateStage, c.APIGateway.DeleteApi, c.APIGateway.DeleteRoute,
		},
		"dynamodb": {
			c.DynamoDB.BatchGetItem, c.DynamoDB.BatchWriteItem, c.DynamoDB.DeleteItem, c.DynamoDB.DescribeContinuousBackups,
			c.DynamoDB.DescribeTable, c.DynamoDB.GetItem, c.DynamoDB.ListTagsOfResource, c.DynamoDB.PutItem, c.DynamoDB.Query, c.DynamoDB.Scan,
			c.DynamoDB.UpdateContinuousBackups, c.DynamoDB.UpdateItem, c.DynamoDB.UpdateTable, c.DynamoDB.DeleteTable,
		},
		"events": {
			c.Events.DescribeEventBus, c.Events.DescribeRule, c.Events.ListTagsForResource, c.Events.ListTargetsByRule, c.Events.PutEvents,
			c.Events.PutTargets, c.Events.RemoveTargets, c.Events.DeleteRule, c.Events.DeleteEventBus,
		},
		"iam": {
			c.IAM.GetRole, c.IAM.GetRolePolicy, c.IAM.ListAttachedRolePolicies, c.IAM.ListRolePolicies, c.IAM.ListRoles, c.IAM.PutRolePolicy,
			c.IAM.UpdateAssumeRolePolicy, c.IAM.DetachRolePolicy, c.IAM.DeleteRolePolicy, c.IAM.DeleteRole,
		},
		"kms": {
			c.KMS.DescribeKey, c.KMS.GetKeyPolicy, c.KMS.GetKeyRotationStatus, c.KMS.ListKeys, c.KMS.ListResourceTags, c.KMS.PutKeyPolicy,
			c.KMS.EnableKey, c.KMS.EnableKeyRotation, c.KMS.CancelKeyDeletion, c.KMS.ScheduleKeyDeletion, c.KMS.DeleteAlias,
		},
		"lambda": {
			c.Lambda.GetAlias, c.Lambda.GetEventSourceMapping, c.Lambda.GetFunction, c.Lambda.GetFunctionConfiguration, c.Lambda.GetPolicy,
			c.Lambda.Invoke, c.Lambda.ListEventSourceMappings, c.Lambda.ListTags, c.Lambda.ListVersionsByFunction, c.Lambda.AddPermission,
			c.Lambda.PublishVersion, c.Lambda.RemovePermission, c.Lambda.UpdateAlias, c.Lambda.UpdateEventSourceMapping,
			c.Lambda.UpdateFunctionCode, c.Lambda.UpdateFunctionConfiguration, c.Lambda.DeleteAlias, c.Lambda.DeleteEventSourceMapping,
			c.Lambda.DeleteFunction,
		},
		"logs": {
			c.Logs.DescribeLogGroups, c.Logs.FilterLogEvents, c.Logs.GetLogEvents, c.Logs.ListTagsForResource, c.Logs.PutRetentionPolicy,
			c.Logs.AssociateKmsKey, c.Logs.DeleteLogGroup,
		},
		"s3": {
			c.S3.HeadBucket, c.S3.GetBucketEncryption, c.S3.GetBucketPolicy, c.S3.GetBucketTagging, c.S3.GetBucketVersioning,
			c.S3.GetPublicAccessBlock, c.S3.ListObjectVersions, c.S3.ListMultipartUploads, c.S3.PutObject, c.S3.DeleteBucket,
		},
		"sfn": {
			c.SFN.DescribeExecution, c.SFN.DescribeStateMachine, c.SFN.ListExecutions, c.SFN.ListTagsForResource, c.SFN.StartExecution,
			c.SFN.StopExecution, c.SFN.UpdateStateMachine, c.SFN.DeleteStateMachine,
		},
		"sns": {
			c.SNS.GetSubscriptionAttributes, c.SNS.GetTopicAttributes, c.SNS.ListSubscriptionsByTopic, c.SNS.ListTagsForResource, c.SNS.Publish,
			c.SNS.SetSubscriptionAttributes, c.SNS.SetTopicAttributes, c.SNS.Unsubscribe, c.SNS.DeleteTopic,
		},
		"sqs": {
			c.SQS.ChangeMessageVisibility, c.SQS.ChangeMessageVisibilityBatch, c.SQS.DeleteMessage, c.SQS.DeleteMessageBatch,
			c.SQS.GetQueueAttributes, c.SQS.GetQueueUrl, c.SQS.ListQueueTags, c.SQS.ListQueues, c.SQS.ReceiveMessage, c.SQS.SendMessage,
			c.SQS.SetQueueAttributes, c.SQS.DeleteQueue,
		},
		"tagging": {c.Tagging.GetResources},
	}
}

// deliveryOperations are those of the pipeline, without which the system works.
func deliveryOperations(c stack.Clients) map[string][]doctor.Operation {
	return map[string][]doctor.Operation{
		"codebuild": {
			c.CodeBuild.BatchGetBuilds, c.CodeBuild.BatchGetProjects, c.CodeBuild.ListBuildsForProject, c.CodeBuild.StartBuild,
			c.CodeBuild.StopBuild, c.CodeBuild.DeleteProject,
		},
		"codecommit": {
			c.CodeCommit.GetBranch, c.CodeCommit.GetFile, c.CodeCommit.GetFolder, c.CodeCommit.GetRepository, c.CodeCommit.ListTagsForResource,
			c.CodeCommit.DeleteRepository,
		},
		"codedeploy": {
			c.CodeDeploy.GetApplication, c.CodeDeploy.GetDeployment, c.CodeDeploy.GetDeploymentGroup, c.CodeDeploy.ListDeployments,
			c.CodeDeploy.ListTagsForResource, c.CodeDeploy.StopDeployment, c.CodeDeploy.DeleteApplication, c.CodeDeploy.DeleteDeploymentGroup,
		},
		"codepipeline": {
			c.CodePipeline.GetPipeline, c.CodePipeline.GetPipelineExecution, c.CodePipeline.ListActionExecutions,
			c.CodePipeline.ListPipelineExecutions, c.CodePipeline.ListTagsForResource, c.CodePipeline.StartPipelineExecution,
			c.CodePipeline.StopPipelineExecution, c.CodePipeline.DeletePipeline,
		},
	}
}
