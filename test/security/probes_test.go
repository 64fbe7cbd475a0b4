package security

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	apitypes "github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"miniforge/internal/check"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
)

// TestProbesOfAKilledVerificationAreRemoved leaves everything that a
// verification makes beside the stack, and something that only looks like it.
func TestProbesOfAKilledVerificationAreRemoved(t *testing.T) {
	w := newWorld(t)
	role := w.stack.Function(stack.InventoryChecker)
	if r := check.Do(t.Context(), w.checks["roles.tried/"+role]); r.Outcome != check.Pass { // makes roles and a user
		t.Fatalf("%s: %s %s", r.ID, r.Outcome, r.Reason)
	}
	c, tag, name := w.stack.Clients, map[string]string{resource.StackTag: w.stack.Name}, w.stack.Probe()+"killed"
	_, err := c.SQS.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Tags: tag})
	queue := w.stack.QueueARN(name)
	if err == nil {
		_, err = c.SNS.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name, Tags: []snstypes.Tag{{Key: aws.String(resource.StackTag), Value: &w.stack.Name}}})
	}
	if err == nil {
		_, err = c.Events.PutRule(t.Context(), &eventbridge.PutRuleInput{
			Name: &name, EventPattern: aws.String(`{"source":["x"]}`), Tags: []eventtypes.Tag{{Key: aws.String(resource.StackTag), Value: &w.stack.Name}},
		})
	}
	if err == nil {
		_, err = c.Events.PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: &name, Targets: []eventtypes.Target{{Id: aws.String("q"), Arn: &queue}}})
	}
	if err == nil {
		_, err = c.APIGateway.CreateApi(t.Context(), &apigatewayv2.CreateApiInput{Name: &name, ProtocolType: apitypes.ProtocolTypeHttp, Tags: tag})
	}
	other := name + "-of-another-stack"
	if err == nil {
		_, err = c.SQS.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &other})
	}
	if err != nil {
		t.Fatal(err)
	}

	removed, err := w.stack.RemoveProbes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"role ", "user ", "arn:aws:sqs:", "arn:aws:sns:", "arn:aws:events:", "arn:aws:apigateway:"} {
		if !slices.ContainsFunc(removed, func(what string) bool { return strings.HasPrefix(what, kind) }) {
			t.Errorf("no %s among %v", kind, removed)
		}
	}
	w.holdsNoGuests()
	if again, err := w.stack.RemoveProbes(t.Context()); err != nil || len(again) > 0 {
		t.Errorf("a second time: %v, %v", again, err)
	}
	if status, err := w.stack.Sweep(t.Context()); err != nil {
		t.Error(err)
	} else {
		for _, l := range status.Left {
			if strings.Contains(l.ID, w.stack.Probe()) {
				t.Errorf("left: %s", l.ID)
			}
		}
	}
	url, err := c.SQS.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &other})
	if err == nil {
		_, err = c.SQS.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: url.QueueUrl})
	}
	if err != nil {
		t.Errorf("the queue that has no tag of the stack: %v", err)
	}
	w.closes() // knows what it made, and finds nothing
}
