package security

// asked tells why the stack allows what the system was not seen to need on the
// embedded cloud: mostly what AWS is documented to ask for.
var asked = map[string]string{
	// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
	"key alias/data kms:Encrypt*":   logsKey,
	"key alias/data kms:ReEncrypt*": logsKey,
	"key alias/data kms:Describe*":  logsKey,

	// https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
	"role workflow logs:CreateLogDelivery": logDelivery,
	"role workflow logs:DeleteLogDelivery": logDelivery,
	"role workflow logs:DescribeLogGroups": logDelivery,
	"role workflow logs:GetLogDelivery":    logDelivery,
	"role workflow logs:ListLogDeliveries": logDelivery,
	"role workflow logs:UpdateLogDelivery": logDelivery,

	// https://docs.aws.amazon.com/codepipeline/latest/userguide/how-to-custom-role.html
	"role pipeline s3:GetObject":                      store,
	"role pipeline s3:GetObjectVersion":               store,
	"role pipeline s3:GetBucketAcl":                   store,
	"role pipeline s3:GetBucketLocation":              store,
	"role pipeline s3:GetBucketVersioning":            store,
	"role pipeline kms:Decrypt":                       "what CodePipeline reads, or writes in several parts, has to be decrypted",
	"role pipeline codecommit:CancelUploadArchive":    source,
	"role pipeline codecommit:GetUploadArchiveStatus": source,
	"role pipeline codebuild:StopBuild":               "whoever stops an execution and abandons its actions wants the build stopped, too",

	// https://docs.aws.amazon.com/codebuild/latest/userguide/setting-up-service-role.html
	"role build s3:GetObjectVersion":  "CodeBuild reads the version of an artifact that it was handed, as the bucket is versioned",
	"role deploy s3:GetObjectVersion": "CodeBuild reads the version of an artifact that it was handed, as the bucket is versioned",

	// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCodeDeployRoleForLambdaLimited.html
	"role codedeploy lambda:GetProvisionedConcurrencyConfig": "CodeDeploy looks for provisioned concurrency before it shifts an alias",
	"role codedeploy lambda:InvokeFunction":                  "only deployments with a hook call one",

	// internal/rollout: what it does when all is not well. Its own tests show it.
	"role deploy lambda:UpdateAlias":                   "an alias that an interrupted deployment left bent is straightened",
	"role deploy codedeploy:ListDeployments":           "a deployment under way is found, and followed instead of a second one",
	"role deploy codedeploy:StopDeployment":            "a rollout that is ended stops its deployments",
	"role deploy codedeploy:ListDeploymentTargets":     "of a deployment that failed, it is told why",
	"role deploy codedeploy:BatchGetDeploymentTargets": "of a deployment that failed, it is told why",

	// https://docs.aws.amazon.com/codedeploy/latest/userguide/auth-and-access-control-permissions-reference.html
	"role deploy codedeploy:GetDeploymentConfig":         revision,
	"role deploy codedeploy:RegisterApplicationRevision": revision,
	"role deploy codedeploy:GetApplicationRevision":      revision,
}

const (
	logsKey     = "CloudWatch Logs is documented to need it of the key"
	logDelivery = "Step Functions is documented to need it in order to log, and refuses a state machine whose role has it not"
	store       = "CodePipeline is documented to need it of where artifacts are kept"
	source      = "CodePipeline's CodeCommit action is documented to need it"
	revision    = "AWS asks it of who creates a deployment that brings its revision along"
)

// rare is what of asked is seen when deliveries fail, as in suite pipeline.
var rare = map[string]bool{
	"role codedeploy lambda:InvokeFunction":            true,
	"role deploy codedeploy:ListDeploymentTargets":     true,
	"role deploy codedeploy:BatchGetDeploymentTargets": true,
}

// seldom is what is needed, but not by each order. A statement goes by its
// first action.
var seldom = map[string]string{
	"role stream-processor sqs:SendMessage":  "only when Lambda gives up on a record",
	"role stream-processor UseKeyThroughSQS": "only when Lambda gives up on a record",
	"role workflow logs:CreateLogDelivery":   "when the state machine is made",
}
