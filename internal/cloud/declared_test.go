package cloud

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

// TestOperationsNameTheirResources lists the operations that are judged on "*":
// those to which the Service Authorization Reference gives no resource type.
// Any other has to declare what it acts on.
//
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
func TestOperationsNameTheirResources(t *testing.T) {
	want := strings.Fields(`
		codebuild.ListBuilds codebuild.ListCuratedEnvironmentImages codebuild.ListProjects codecommit.ListRepositories
		codedeploy.ListApplications codedeploy.ListDeploymentConfigs
		codepipeline.AcknowledgeJob codepipeline.GetJobDetails codepipeline.ListActionTypes codepipeline.PutJobFailureResult codepipeline.PutJobSuccessResult
		dynamodb.DescribeEndpoints dynamodb.DescribeLimits dynamodb.ListTables events.ListEventBuses events.PutPermission events.RemovePermission events.TestEventPattern
		iam.ListPolicies iam.SimulateCustomPolicy kms.GenerateRandom kms.ListAliases kms.ListKeys kms.ListRetirableGrants
		lambda.GetAccountSettings lambda.ListEventSourceMappings lambda.ListFunctions
		logs.DeleteResourcePolicy logs.DescribeResourcePolicies logs.PutResourcePolicy sns.ListSubscriptions sns.ListTopics sqs.ListQueues
		states.ListActivities states.ListStateMachines states.SendTaskFailure states.SendTaskHeartbeat states.SendTaskSuccess states.ValidateStateMachineDefinition
		sts.GetAccessKeyInfo`)
	var got []string
	for _, o := range newCloud(t).mux.Operations() {
		if o.Everywhere {
			got = append(got, o.Service+"."+o.Name)
		}
	}
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("judged on every resource (-want +got):\n%s", d)
	}
}

// TestTagsOfARequestAreJudged lets a user make what carries one tag, and only
// with the right to tag it.
func TestTagsOfARequestAreJudged(t *testing.T) {
	c := newCloud(t)
	people := iam.NewFromConfig(c.config(""))
	must[*iam.CreateUserOutput](t)(people.CreateUser(t.Context(), &iam.CreateUserInput{UserName: new("ann")}))
	key := must[*iam.CreateAccessKeyOutput](t)(people.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: new("ann")})).AccessKey
	cfg := c.config("")
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*key.AccessKeyId, *key.SecretAccessKey, "")
	cfg.RetryMaxAttempts = 1
	may := func(actions string) {
		must[*iam.PutUserPolicyOutput](t)(people.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: new("ann"), PolicyName: new("p"), PolicyDocument: new(
			`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":[` + actions + `],"Resource":"*","Condition":{"StringEquals":{"aws:RequestTag/team":"forge"},"ForAllValues:StringEquals":{"aws:TagKeys":"team"}}}}`)}))
	}
	for name, s := range map[string]struct {
		create, tag string
		make        func(tags map[string]string) error
	}{
		"queue": {`"sqs:CreateQueue"`, `"sqs:TagQueue"`, func(tags map[string]string) error {
			_, err := sqs.NewFromConfig(cfg).CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: new("q"), Tags: tags})
			return err
		}},
		"topic": {`"sns:CreateTopic"`, `"sns:TagResource"`, func(tags map[string]string) error {
			in := &sns.CreateTopicInput{Name: new("t")}
			for k, v := range tags {
				in.Tags = append(in.Tags, snstypes.Tag{Key: &k, Value: &v})
			}
			_, err := sns.NewFromConfig(cfg).CreateTopic(t.Context(), in)
			return err
		}},
		"log group": {`"logs:CreateLogGroup"`, `"logs:TagResource"`, func(tags map[string]string) error {
			_, err := cloudwatchlogs.NewFromConfig(cfg).CreateLogGroup(t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: new("g"), Tags: tags})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			denied := func(err error, what string) {
				t.Helper()
				if api, ok := errors.AsType[smithy.APIError](err); !ok || !strings.Contains(api.ErrorMessage(), "is not authorized to perform") {
					t.Errorf("%s: %v", what, err)
				}
			}
			forge := map[string]string{"team": "forge"}
			may(s.create)
			denied(s.make(forge), "without the right to tag")
			may(s.create + "," + s.tag)
			denied(s.make(nil), "without the tag")
			denied(s.make(map[string]string{"team": "other"}), "another value")
			denied(s.make(map[string]string{"team": "forge", "more": ""}), "one tag too many")
			if err := s.make(forge); err != nil {
				t.Errorf("as allowed: %v", err)
			}
		})
	}
}
