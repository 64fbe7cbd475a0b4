package stack

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// Clients has one SDK client for each service of the system.
type Clients struct {
	APIGateway   *apigatewayv2.Client
	CodeBuild    *codebuild.Client
	CodeCommit   *codecommit.Client
	CodeDeploy   *codedeploy.Client
	CodePipeline *codepipeline.Client
	DynamoDB     *dynamodb.Client
	Events       *eventbridge.Client
	IAM          *iam.Client
	KMS          *kms.Client
	Lambda       *lambda.Client
	Logs         *cloudwatchlogs.Client
	S3           *s3.Client
	SFN          *sfn.Client
	SNS          *sns.Client
	SQS          *sqs.Client
	Tagging      *resourcegroupstaggingapi.Client
}

// NewClients makes the clients of one account and region. With a custom
// endpoint S3 puts the bucket into the path, as no name resolves below it.
func NewClients(cfg aws.Config) Clients {
	return Clients{
		APIGateway:   apigatewayv2.NewFromConfig(cfg),
		CodeBuild:    codebuild.NewFromConfig(cfg),
		CodeCommit:   codecommit.NewFromConfig(cfg),
		CodeDeploy:   codedeploy.NewFromConfig(cfg),
		CodePipeline: codepipeline.NewFromConfig(cfg),
		DynamoDB:     dynamodb.NewFromConfig(cfg),
		Events:       eventbridge.NewFromConfig(cfg),
		IAM:          iam.NewFromConfig(cfg),
		KMS:          kms.NewFromConfig(cfg),
		Lambda:       lambda.NewFromConfig(cfg),
		Logs:         cloudwatchlogs.NewFromConfig(cfg),
		S3:           s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = cfg.BaseEndpoint != nil }),
		SFN:          sfn.NewFromConfig(cfg),
		SNS:          sns.NewFromConfig(cfg),
		SQS:          sqs.NewFromConfig(cfg),
		Tagging:      resourcegroupstaggingapi.NewFromConfig(cfg),
	}
}
