package iam

import (
	"strings"
	"time"
)

// awsPolicies are those of the policies managed by AWS that go with the
// services offered here, by ARN.
//
// https://docs.aws.amazon.com/aws-managed-policy/latest/reference/policy-list.html
var awsPolicies = func() map[string]policyRow {
	const logs = `"logs:CreateLogGroup","logs:CreateLogStream","logs:PutLogEvents"`
	all := map[string]policyRow{}
	for _, p := range []struct{ path, name, id, statements string }{
		{"/", "AdministratorAccess", "ANPAIWMBCKSKIEE64ZLYK", `{"Effect":"Allow","Action":"*","Resource":"*"}`},
		{"/", "PowerUserAccess", "ANPAJYRXTHIB4FOVS3ZXS", `{"Effect":"Allow","NotAction":["iam:*","organizations:*","account:*"],"Resource":"*"},` +
			`{"Effect":"Allow","Action":["iam:CreateServiceLinkedRole","iam:DeleteServiceLinkedRole","iam:ListRoles"],"Resource":"*"}`},
		{"/", "IAMFullAccess", "ANPAI7XKCFMBPM3QQRRVQ", `{"Effect":"Allow","Action":"iam:*","Resource":"*"}`},
		{"/", "AmazonDynamoDBFullAccess", "ANPAINUGF2JSOSUY76KYA", `{"Effect":"Allow","Action":"dynamodb:*","Resource":"*"}`},
		{"/", "AmazonSQSFullAccess", "ANPAI65L554VRJ33ECQS6", `{"Effect":"Allow","Action":"sqs:*","Resource":"*"}`},
		{"/", "AmazonSNSFullAccess", "ANPAJWEKLCXXUNT2SOLSG", `{"Effect":"Allow","Action":"sns:*","Resource":"*"}`},
		{"/", "AmazonS3FullAccess", "ANPAIFIR6V6BVTRAHWINE", `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`},
		{"/", "AmazonS3ReadOnlyAccess", "ANPAIZTJ4DXE7G6AGAE6M", `{"Effect":"Allow","Action":["s3:Get*","s3:List*","s3:Describe*"],"Resource":"*"}`},
		{"/", "AmazonEventBridgeFullAccess", "ANPATPVOWCLMNQC5Y3MLO", `{"Effect":"Allow","Action":"events:*","Resource":"*"}`},
		{"/", "AWSStepFunctionsFullAccess", "ANPAJXKA6VP3UFBVHDPPA", `{"Effect":"Allow","Action":"states:*","Resource":"*"}`},
		{"/service-role/", "AWSLambdaBasicExecutionRole", "ANPAJNCQGXC42545SKXIK", `{"Effect":"Allow","Action":[` + logs + `],"Resource":"*"}`},
		{"/service-role/", "AWSLambdaRole", "ANPAJX4DPCRGTC4NFDUXI", `{"Effect":"Allow","Action":["lambda:InvokeFunction"],"Resource":["*"]}`},
		{"/service-role/", "AWSLambdaSQSQueueExecutionRole", "ANPAJFWJZI6JNND4TSELK",
			`{"Effect":"Allow","Action":["sqs:ReceiveMessage","sqs:DeleteMessage","sqs:GetQueueAttributes",` + logs + `],"Resource":"*"}`},
		{"/service-role/", "AWSLambdaDynamoDBExecutionRole", "ANPAIP7WNAGMIPYNW4WQG",
			`{"Effect":"Allow","Action":["dynamodb:DescribeStream","dynamodb:GetRecords","dynamodb:GetShardIterator","dynamodb:ListStreams",` + logs + `],"Resource":"*"}`},
		{"/service-role/", "AmazonAPIGatewayPushToCloudWatchLogs", "ANPAIK4GFO7HLKYN64ASK",
			`{"Effect":"Allow","Action":["logs:CreateLogGroup","logs:CreateLogStream","logs:DescribeLogGroups","logs:DescribeLogStreams","logs:PutLogEvents","logs:GetLogEvents","logs:FilterLogEvents"],"Resource":"*"}`},
		{"/service-role/", "AWSCodeDeployRoleForLambda", "ANPAJA3RQZIKNOSJ4ZQSA",
			`{"Effect":"Allow","Action":["cloudwatch:DescribeAlarms","lambda:UpdateAlias","lambda:GetAlias","lambda:GetProvisionedConcurrencyConfig","sns:Publish"],"Resource":"*"},` +
				`{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"arn:aws:s3:::*/CodeDeploy/*"},` +
				`{"Effect":"Allow","Action":["s3:GetObject","s3:GetObjectVersion"],"Resource":"*","Condition":{"StringEquals":{"s3:ExistingObjectTag/UseWithCodeDeploy":"true"}}},` +
				`{"Effect":"Allow","Action":["lambda:InvokeFunction"],"Resource":"arn:aws:lambda:*:*:function:CodeDeployHook_*"}`},
	} {
		at := time.Date(2015, 2, 6, 18, 40, 0, 0, time.UTC)
		arn := "arn:aws:iam::aws:policy" + p.path + p.name
		all[arn] = policyRow{
			ARN: arn, Name: p.name, Path: p.path, ID: p.id, Created: at, Updated: at, Default: "v1", Last: 1,
			Versions: []version{{"v1", `{"Version":"2012-10-17","Statement":[` + strings.TrimSuffix(p.statements, ",") + `]}`, at}},
		}
	}
	return all
}()
