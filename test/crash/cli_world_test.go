package crash

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"miniforge/internal/cloud"
	"miniforge/internal/graph"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
	"miniforge/internal/target"
)

// An account is an embedded cloud of its own, in memory, without a socket.
type account struct {
	*cloud.Cloud
	t       *testing.T
	sources []resource.File // nil: a stack without a pipeline
}

func newAccount(t *testing.T) *account {
	t.Helper()
	c, err := cloud.New(t.Context(), cloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &account{Cloud: c, t: t}
}

// archive is code that is deployed and never run; another edition has other bytes.
func archive(edition string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("bootstrap")
	if err == nil {
		_, err = w.Write([]byte("#!/bin/false\n# " + edition + "\n"))
	}
	if err = errors.Join(err, z.Close()); err != nil {
		panic(err) // memory does not fail
	}
	return b.Bytes()
}

// stack declares the system, reached through a transport, as every run of the
// program does anew.
func (a *account) stack(via http.RoundTripper) *stack.Stack {
	a.t.Helper()
	o := stack.Options{
		Names:    stack.Names{Name: "test", Account: a.Account, Region: a.Region},
		Packages: map[string][]byte{}, Platform: runtime.GOOS, WithoutPipeline: a.sources == nil, Sources: a.sources,
	}
	for _, f := range stack.FunctionNames() {
		o.Packages[f] = archive("0")
	}
	s, err := stack.New(aws.Config{
		Region: a.Region, BaseEndpoint: aws.String("http://cloud.test"), HTTPClient: &http.Client{Transport: via},
		Credentials: credentials.NewStaticCredentialsProvider(a.AccessKeyID, a.SecretAccessKey, ""), Retryer: quick,
	}, o)
	if err != nil {
		a.t.Fatal(err)
	}
	return s
}

// quick is the program's own way to repeat calls, with shorter pauses.
func quick() aws.Retryer { return retry.AddWithMaxBackoffDelay(target.Retryer(), 20*time.Millisecond) }

// soon makes graphs try again soon, too.
var soon = graph.Options{RetryMin: 10 * time.Millisecond}

// up and down are what the commands of these names do between their locks.
func up(ctx context.Context, s *stack.Stack) error {
	g, err := s.Graph()
	if err != nil {
		return err
	}
	if _, err := g.Ensure(ctx, soon); err != nil {
		return err
	}
	_, err = s.Seed(ctx)
	return err
}

func down(ctx context.Context, s *stack.Stack) error {
	g, err := s.Graph()
	if err != nil {
		return err
	}
	if _, err := g.Inspect(ctx, soon); err != nil {
		return err
	}
	if _, err := g.Destroy(ctx, soon); err != nil {
		return err
	}
	left, err := s.Sweep(ctx)
	if err == nil && len(left.Left) > 0 {
		err = fmt.Errorf("left: %+v", left.Left)
	}
	return err
}

// inventory lists all that is in the account, by the services' own lists: what
// the stack does not know of would show here.
func (a *account) inventory() []string {
	a.t.Helper()
	var found []string
	l := lister{a.t, a.stack(a.Transport()).Clients, func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }}
	for _, list := range []func(context.Context) error{l.keys, l.tables, l.messaging, l.events, l.functions, l.apis, l.identities, l.rest} {
		if err := list(a.t.Context()); err != nil {
			a.t.Fatal(err)
		}
	}
	slices.Sort(found)
	return found
}

type lister struct {
	t *testing.T
	stack.Clients
	add func(format string, args ...any)
}

func (l lister) keys(ctx context.Context) error {
	keys, err := l.KMS.ListKeys(ctx, &kms.ListKeysInput{})
	if err != nil {
		return err
	}
	for _, k := range keys.Keys {
		d, err := l.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: k.KeyId})
		if err != nil {
			return err
		}
		if d.KeyMetadata.KeyManager == "CUSTOMER" {
			l.add("key %s", d.KeyMetadata.KeyState)
		}
	}
	aliases, err := l.KMS.ListAliases(ctx, &kms.ListAliasesInput{})
	if err != nil {
		return err
	}
	for _, x := range aliases.Aliases {
		if !strings.HasPrefix(*x.AliasName, "alias/aws/") {
			l.add("%s", *x.AliasName)
		}
	}
	return nil
}

func (l lister) tables(ctx context.Context) error {
	tables, err := l.DynamoDB.ListTables(ctx, &dynamodb.ListTablesInput{})
	if err != nil {
		return err
	}
	for _, name := range tables.TableNames {
		items, err := l.DynamoDB.Scan(ctx, &dynamodb.ScanInput{TableName: &name})
		if err != nil {
			return err
		}
		l.add("table %s with %d items", name, items.Count)
	}
	return nil
}

func (l lister) messaging(ctx context.Context) error {
	queues, err := l.SQS.ListQueues(ctx, &sqs.ListQueuesInput{})
	if err != nil {
		return err
	}
	for _, url := range queues.QueueUrls {
		l.add("queue %s", url)
	}
	topics, err := l.SNS.ListTopics(ctx, &sns.ListTopicsInput{})
	if err != nil {
		return err
	}
	for _, x := range topics.Topics {
		l.add("topic %s", *x.TopicArn)
	}
	subscriptions, err := l.SNS.ListSubscriptions(ctx, &sns.ListSubscriptionsInput{})
	if err != nil {
		return err
	}
	for _, x := range subscriptions.Subscriptions {
		l.add("subscription of %s to %s", *x.Endpoint, *x.TopicArn)
	}
	return nil
}

func (l lister) events(ctx context.Context) error {
	buses, err := l.Events.ListEventBuses(ctx, &eventbridge.ListEventBusesInput{})
	if err != nil {
		return err
	}
	for _, bus := range buses.EventBuses {
		if *bus.Name == "default" {
			continue
		}
		l.add("bus %s", *bus.Name)
		rules, err := l.Events.ListRules(ctx, &eventbridge.ListRulesInput{EventBusName: bus.Name})
		if err != nil {
			return err
		}
		for _, r := range rules.Rules {
			targets, err := l.Events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{EventBusName: bus.Name, Rule: r.Name})
			if err != nil {
				return err
			}
			l.add("rule %s with %d targets", *r.Name, len(targets.Targets))
		}
	}
	machines, err := l.SFN.ListStateMachines(ctx, &sfn.ListStateMachinesInput{})
	if err != nil {
		return err
	}
	for _, m := range machines.StateMachines {
		l.add("state machine %s", *m.Name)
	}
	return nil
}

func (l lister) functions(ctx context.Context) error {
	functions, err := l.Lambda.ListFunctions(ctx, &lambda.ListFunctionsInput{})
	if err != nil {
		return err
	}
	for _, f := range functions.Functions {
		versions, err := l.Lambda.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: f.FunctionName})
		if err != nil {
			return err
		}
		aliases, err := l.Lambda.ListAliases(ctx, &lambda.ListAliasesInput{FunctionName: f.FunctionName})
		if err != nil {
			return err
		}
		l.add("function %s with %d versions", *f.FunctionName, len(versions.Versions))
		for _, x := range aliases.Aliases {
			l.add("alias %s", *x.AliasArn)
		}
	}
	mappings, err := l.Lambda.ListEventSourceMappings(ctx, &lambda.ListEventSourceMappingsInput{})
	if err != nil {
		return err
	}
	for _, m := range mappings.EventSourceMappings {
		l.add("mapping to %s", *m.FunctionArn)
	}
	return nil
}

func (l lister) apis(ctx context.Context) error {
	apis, err := l.APIGateway.GetApis(ctx, &apigatewayv2.GetApisInput{})
	if err != nil {
		return err
	}
	for _, x := range apis.Items {
		routes, err := l.APIGateway.GetRoutes(ctx, &apigatewayv2.GetRoutesInput{ApiId: x.ApiId})
		if err != nil {
			return err
		}
		integrations, err := l.APIGateway.GetIntegrations(ctx, &apigatewayv2.GetIntegrationsInput{ApiId: x.ApiId})
		if err != nil {
			return err
		}
		stages, err := l.APIGateway.GetStages(ctx, &apigatewayv2.GetStagesInput{ApiId: x.ApiId})
		if err != nil {
			return err
		}
		l.add("API %s with %d routes, %d integrations, %d stages", *x.Name, len(routes.Items), len(integrations.Items), len(stages.Items))
	}
	return nil
}

func (l lister) identities(ctx context.Context) error {
	roles, err := l.IAM.ListRoles(ctx, &iam.ListRolesInput{})
	if err != nil {
		return err
	}
	for _, r := range roles.Roles {
		inline, err := l.IAM.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: r.RoleName})
		if err != nil {
			return err
		}
		attached, err := l.IAM.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: r.RoleName})
		if err != nil {
			return err
		}
		l.add("role %s with %d and %d policies", *r.RoleName, len(inline.PolicyNames), len(attached.AttachedPolicies))
	}
	return nil
}

func (l lister) rest(ctx context.Context) error {
	groups, err := l.Logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{})
	if err != nil {
		return err
	}
	for _, g := range groups.LogGroups {
		l.add("log group %s", *g.LogGroupName)
	}
	buckets, err := l.S3.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		return err
	}
	for _, b := range buckets.Buckets {
		l.add("bucket %s", *b.Name)
	}
	return nil
}
