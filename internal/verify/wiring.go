package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/check"
	"miniforge/internal/stack"
)

// wiring asks about properties of several resources together. The questions
// are put to the services themselves, not to the code that made the resources,
// so that a mistake of that code is found.
func (r *Run) wiring() []check.Check {
	return []check.Check{
		{ID: "wiring.key", Title: "The key is enabled, the customer's own, and rotates", Run: r.key},
		{ID: "wiring.encryption", Title: "Tables, queues, topic, bucket and log groups are encrypted with the one key", Run: r.encryption},
		{ID: "wiring.aliases", Title: "Every caller of a function goes through its alias " + stack.LiveAlias, Run: r.aliases},
	}
}

func (r *Run) key(ctx context.Context, t *check.T) error {
	d, err := r.describeKey(ctx)
	if err != nil {
		return err
	}
	check.Equal(t, "state", kmstypes.KeyStateEnabled, d.KeyState)
	check.Equal(t, "manager", kmstypes.KeyManagerTypeCustomer, d.KeyManager)
	rotation, err := r.stack.Clients.KMS.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: d.KeyId})
	if err != nil {
		return fmt.Errorf("read rotation of key: %w", err)
	}
	check.Equal(t, "rotation", true, rotation.KeyRotationEnabled)
	return nil
}

func (r *Run) describeKey(ctx context.Context) (*kmstypes.KeyMetadata, error) {
	return r.resolveKey(ctx, r.stack.KeyAlias())
}

func (r *Run) resolveKey(ctx context.Context, id string) (*kmstypes.KeyMetadata, error) {
	out, err := r.stack.Clients.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return nil, fmt.Errorf("describe key %s: %w", id, err)
	}
	return out.KeyMetadata, nil
}

func (r *Run) encryption(ctx context.Context, t *check.T) error {
	key, err := r.describeKey(ctx)
	if err != nil {
		return err
	}
	want := aws.ToString(key.Arn)
	keys, err := r.keysInUse(ctx)
	if err != nil {
		return err
	}
	for _, thing := range slices.Sorted(maps.Keys(keys)) {
		got := keys[thing]
		if got != want && got != "" { // SQS and SNS give back what they were given
			if d, err := r.resolveKey(ctx, got); err == nil {
				got = aws.ToString(d.Arn)
			}
		}
		check.Equal(t, "key of "+thing, want, got)
	}
	return nil
}

// keysInUse tells which key each store of data uses; "" means none.
func (r *Run) keysInUse(ctx context.Context) (map[string]string, error) {
	c, n, keys := r.stack.Clients, r.stack.Names, map[string]string{}
	for _, table := range []string{n.Orders(), n.Inventory()} {
		out, err := c.DynamoDB.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
		if err != nil {
			return nil, fmt.Errorf("describe table %s: %w", table, err)
		}
		keys["table "+table] = ""
		if sse := out.Table.SSEDescription; sse != nil {
			keys["table "+table] = aws.ToString(sse.KMSMasterKeyArn)
		}
	}
	for _, queue := range []string{n.Notifications(), n.DeadLetters()} {
		attrs, err := r.queueAttributes(ctx, queue)
		if err != nil {
			return nil, err
		}
		keys["queue "+queue] = attrs[string(sqstypes.QueueAttributeNameKmsMasterKeyId)]
	}
	topic, err := c.SNS.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: aws.String(n.TopicARN())})
	if err != nil {
		return nil, fmt.Errorf("read topic %s: %w", n.Topic(), err)
	}
	keys["topic "+n.Topic()] = topic.Attributes["KmsMasterKeyId"]
	bucket, err := c.S3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: aws.String(n.Bucket())})
	if err != nil {
		return nil, fmt.Errorf("read encryption of bucket %s: %w", n.Bucket(), err)
	}
	keys["bucket "+n.Bucket()] = ""
	for _, rule := range bucket.ServerSideEncryptionConfiguration.Rules {
		if d := rule.ApplyServerSideEncryptionByDefault; d != nil {
			keys["bucket "+n.Bucket()] = aws.ToString(d.KMSMasterKeyID)
		}
	}
	return keys, r.keysOfLogGroups(ctx, keys)
}

func (r *Run) keysOfLogGroups(ctx context.Context, keys map[string]string) error {
	for _, name := range r.stack.LogGroups() {
		out, err := r.stack.Clients.Logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &name})
		if err != nil {
			return fmt.Errorf("describe log group %s: %w", name, err)
		}
		if name != r.stack.ProjectLogGroup(r.stack.BuildProject()) && name != r.stack.ProjectLogGroup(r.stack.DeployProject()) {
			keys["log group "+name] = "" // those of a pipeline may be left out with it
		}
		for _, g := range out.LogGroups {
			if aws.ToString(g.LogGroupName) == name {
				keys["log group "+name] = aws.ToString(g.KmsKeyId)
			}
		}
	}
	return nil
}

func (r *Run) queueAttributes(ctx context.Context, name string) (map[string]string, error) {
	url, err := r.stack.Clients.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return nil, fmt.Errorf("find queue %s: %w", name, err)
	}
	out, err := r.stack.Clients.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: url.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
	})
	if err != nil {
		return nil, fmt.Errorf("read queue %s: %w", name, err)
	}
	return out.Attributes, nil
}

func (r *Run) aliases(ctx context.Context, t *check.T) error {
	c, n := r.stack.Clients, r.stack.Names
	for _, f := range stack.FunctionNames() {
		alias, err := c.Lambda.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: aws.String(n.Function(f)), Name: aws.String(stack.LiveAlias)})
		if err != nil {
			return fmt.Errorf("read alias of %s: %w", n.Function(f), err)
		}
		t.Claim("version behind "+n.Function(f)+":"+stack.LiveAlias, "a published one", aws.ToString(alias.FunctionVersion),
			!strings.HasPrefix(aws.ToString(alias.FunctionVersion), "$"))
	}
	if err := r.apiTarget(ctx, t); err != nil {
		return err
	}
	mappings, err := c.Lambda.ListEventSourceMappings(ctx, &lambda.ListEventSourceMappingsInput{FunctionName: aws.String(n.AliasARN(stack.StreamProcessor))})
	if err != nil {
		return fmt.Errorf("list event source mappings: %w", err)
	}
	var targets []string
	for _, m := range mappings.EventSourceMappings {
		targets = append(targets, aws.ToString(m.FunctionArn))
	}
	check.Equal(t, "function behind the stream", n.AliasARN(stack.StreamProcessor), strings.Join(targets, " "))
	return r.workflowCalls(ctx, t)
}

func (r *Run) apiTarget(ctx context.Context, t *check.T) error {
	url, err := r.stack.Endpoint(ctx)
	if err != nil {
		return err
	}
	apis := r.stack.Clients.APIGateway
	var next *string
	for {
		page, err := apis.GetApis(ctx, &apigatewayv2.GetApisInput{NextToken: next})
		if err != nil {
			return fmt.Errorf("list APIs: %w", err)
		}
		for _, api := range page.Items {
			if aws.ToString(api.ApiEndpoint) != url {
				continue
			}
			out, err := apis.GetIntegrations(ctx, &apigatewayv2.GetIntegrationsInput{ApiId: api.ApiId})
			if err != nil {
				return fmt.Errorf("list integrations: %w", err)
			}
			for _, i := range out.Items {
				t.Contains("function behind the API", r.stack.AliasARN(stack.OrderIntake), aws.ToString(i.IntegrationUri))
			}
			return nil
		}
		if next = page.NextToken; next == nil {
			return fmt.Errorf("no API has the endpoint %s", url)
		}
	}
}

func (r *Run) workflowCalls(ctx context.Context, t *check.T) error {
	machine, err := r.stack.Clients.SFN.DescribeStateMachine(ctx, &sfn.DescribeStateMachineInput{StateMachineArn: aws.String(r.stack.StateMachineARN())})
	if err != nil {
		return fmt.Errorf("describe state machine: %w", err)
	}
	var definition any
	if err := json.Unmarshal([]byte(aws.ToString(machine.Definition)), &definition); err != nil {
		return fmt.Errorf("read definition: %w", err)
	}
	called := map[string]bool{}
	walkJSON(definition, func(name string, value any) {
		if s, ok := value.(string); ok && name == "FunctionName" {
			called[s] = true
		}
	})
	want := []string{r.stack.AliasARN(stack.InventoryChecker), r.stack.AliasARN(stack.PaymentProcessor)}
	check.Equal(t, "functions that the workflow calls", strings.Join(want, " "), strings.Join(slices.Sorted(maps.Keys(called)), " "))
	return nil
}

// walkJSON visits every member of every object in a decoded value.
func walkJSON(v any, visit func(name string, value any)) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			walkJSON(e, visit)
		}
	case map[string]any:
		for name, e := range v {
			visit(name, e)
			walkJSON(e, visit)
		}
	}
}
