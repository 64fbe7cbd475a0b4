package verify

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	apitypes "github.com/aws/aws-sdk-go-v2/service/apigatewayv2/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"

	"miniforge/internal/check"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
)

// deputies has services do for a stranger what they do for the stack: a topic,
// a rule and an API that are not the stack's are pointed at what is. Whoever
// may make such things in the account must not get at the stack by them.
func (r *Run) deputies() []check.Check {
	on := func(id, title string, f func(context.Context, *check.T, *prop) error) check.Check {
		return r.needs(canary.authorises, check.Check{ID: "deputies." + id, Title: title, Run: func(ctx context.Context, t *check.T) (err error) {
			ctx, cancel := context.WithTimeoutCause(ctx, r.o.Patience, fmt.Errorf("not within %s", r.o.Patience))
			defer cancel()
			p := &prop{stack: r.stack, name: r.stack.Probe() + r.guests.run + "-" + id}
			defer func() { err = errors.Join(err, p.close(ctx)) }()
			return f(ctx, t, p)
		}})
	}
	return []check.Check{
		on("topic", "A foreign topic cannot send to the queue", r.foreignTopic),
		on("rule", "A foreign rule cannot start the workflow, not even with the role of the stack's rule", r.foreignRule),
		on("api", "A foreign API cannot invoke a function", r.foreignAPI),
	}
}

// foreignTopic subscribes the stack's queue to a topic. What SNS is refused to
// deliver it puts into the subscription's dead-letter queue.
func (r *Run) foreignTopic(ctx context.Context, t *check.T, p *prop) error {
	topic := r.stack.TopicARNOf(p.name)
	heard, refused, err := p.queues(ctx, "sns.amazonaws.com", topic)
	if err != nil {
		return err
	}
	c := r.stack.Clients.SNS
	p.undo("topic", func(ctx context.Context) error {
		_, err := c.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: &topic})
		return err
	})
	_, err = c.CreateTopic(ctx, &sns.CreateTopicInput{Name: &p.name, Tags: []snstypes.Tag{{Key: aws.String(resource.StackTag), Value: &r.stack.Name}}})
	if err != nil {
		return fmt.Errorf("make a foreign topic: %w", err)
	}
	letters, _ := json.Marshal(map[string]string{"deadLetterTargetArn": refused.arn}) // texts
	for queue, attributes := range map[string]map[string]string{
		heard.arn: {"RawMessageDelivery": "true"},
		r.stack.QueueARN(r.stack.Notifications()): {"RawMessageDelivery": "true", "RedrivePolicy": string(letters)},
	} {
		if _, err := c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: &queue, Attributes: attributes}); err != nil {
			return fmt.Errorf("subscribe %s to a foreign topic: %w", queue, err)
		}
	}
	if _, err := c.Publish(ctx, &sns.PublishInput{TopicArn: &topic, Message: &p.name}); err != nil {
		return fmt.Errorf("publish to a foreign topic: %w", err)
	}
	return p.claimRefused(ctx, t, "the message of a foreign topic", heard, refused)
}

// foreignRule gives a rule of the default bus the workflow as its target, and
// the role that the stack's own rule has. EventBridge finds out at once that it
// may not assume the role for this rule, or when it is to deliver.
func (r *Run) foreignRule(ctx context.Context, t *check.T, p *prop) error {
	c := r.stack.Clients.Events
	p.undo("rule", func(ctx context.Context) error {
		_, err := c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &p.name})
		return err
	})
	pattern, _ := json.Marshal(map[string]any{"source": []string{foreignSource}, "detail": map[string]any{"probe": []string{p.name}}}) // texts
	rule, err := c.PutRule(ctx, &eventbridge.PutRuleInput{
		Name: &p.name, EventPattern: aws.String(string(pattern)), Tags: []eventtypes.Tag{{Key: aws.String(resource.StackTag), Value: &r.stack.Name}},
	})
	if err != nil {
		return fmt.Errorf("make a foreign rule: %w", err)
	}
	heard, refused, err := p.queues(ctx, "events.amazonaws.com", aws.ToString(rule.RuleArn))
	if err != nil {
		return err
	}
	p.undo("targets", func(ctx context.Context) error {
		_, err := c.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: &p.name, Ids: []string{"heard", "workflow"}})
		return err
	})
	target := func(t eventtypes.Target) error {
		_, err := c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &p.name, Targets: []eventtypes.Target{t}})
		return err
	}
	if err := target(eventtypes.Target{Id: aws.String("heard"), Arn: &heard.arn}); err != nil {
		return fmt.Errorf("point a foreign rule at a queue: %w", err)
	}
	role := r.stack.RoleARN(r.stack.RuleRole())
	err = target(eventtypes.Target{
		Id: aws.String("workflow"), Arn: aws.String(r.stack.StateMachineARN()), RoleArn: &role,
		Input: aws.String(`{"order_id":"` + p.name + `"}`), DeadLetterConfig: &eventtypes.DeadLetterConfig{Arn: &refused.arn},
		RetryPolicy: &eventtypes.RetryPolicy{MaximumRetryAttempts: aws.Int32(0), MaximumEventAgeInSeconds: aws.Int32(60)},
	})
	if code(err) == "ValidationException" && strings.Contains(err.Error(), role) {
		t.Claim("the workflow as target of a foreign rule", "refused", "refused: "+err.Error(), true)
		return nil
	}
	if err != nil {
		return fmt.Errorf("point a foreign rule at the workflow: %w", err)
	}
	out, err := c.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{
		Source: aws.String(foreignSource), DetailType: aws.String("Probe"), Detail: aws.String(`{"probe":"` + p.name + `"}`),
	}}})
	if err == nil && out.FailedEntryCount > 0 {
		err = errors.New(aws.ToString(out.Entries[0].ErrorMessage))
	}
	if err != nil {
		return fmt.Errorf("put an event for a foreign rule: %w", err)
	}
	return p.claimRefused(ctx, t, "the event of a foreign rule", heard, refused)
}

// foreignSource is where the events of a foreign rule come from.
const foreignSource = "miniforge.verify"

// foreignAPI integrates the function behind the stack's API with another one.
// API Gateway answers 500 where it may not invoke; its own 404 is that of an API
// that is not there yet.
func (r *Run) foreignAPI(ctx context.Context, t *check.T, p *prop) error {
	c := r.stack.Clients.APIGateway
	p.undo("API", func(ctx context.Context) error { return deleteAPIs(ctx, c, p.name) })
	api, err := c.CreateApi(ctx, &apigatewayv2.CreateApiInput{
		Name: &p.name, ProtocolType: apitypes.ProtocolTypeHttp, Tags: map[string]string{resource.StackTag: r.stack.Name},
	})
	if err != nil {
		return fmt.Errorf("make a foreign API: %w", err)
	}
	integration, err := c.CreateIntegration(ctx, &apigatewayv2.CreateIntegrationInput{
		ApiId: api.ApiId, IntegrationType: apitypes.IntegrationTypeAwsProxy, PayloadFormatVersion: aws.String("2.0"),
		IntegrationUri: aws.String(r.stack.AliasARN(stack.OrderIntake)),
	})
	if err == nil {
		_, err = c.CreateRoute(ctx, &apigatewayv2.CreateRouteInput{
			ApiId: api.ApiId, RouteKey: aws.String("GET /probe"), Target: aws.String("integrations/" + aws.ToString(integration.IntegrationId)),
		})
	}
	if err == nil {
		_, err = c.CreateStage(ctx, &apigatewayv2.CreateStageInput{ApiId: api.ApiId, StageName: aws.String("$default"), AutoDeploy: aws.Bool(true)})
	}
	if err != nil {
		return fmt.Errorf("point a foreign API at a function: %w", err)
	}
	for {
		got, err := get(ctx, r.o.HTTP, aws.ToString(api.ApiEndpoint)+"/probe")
		if err == nil && got != `404 {"message":"Not Found"}` {
			const want = `500 {"message":"Internal Server Error"}`
			t.Claim("the answer of a foreign API, which is not the function's", want, got, got == want)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("call a foreign API: %w", cmp.Or(err, context.Cause(ctx)))
		case <-time.After(pause):
		}
	}
}

// get returns the status and the body of an answer.
func get(ctx context.Context, c *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	return fmt.Sprintf("%d %s", resp.StatusCode, bytes.TrimSpace(body)), err
}

// deleteAPIs deletes the APIs of a name, which are not unique.
func deleteAPIs(ctx context.Context, c *apigatewayv2.Client, name string) error {
	in := &apigatewayv2.GetApisInput{}
	for {
		page, err := c.GetApis(ctx, in)
		if err != nil {
			return err
		}
		for _, a := range page.Items {
			if aws.ToString(a.Name) == name {
				if _, err := c.DeleteApi(ctx, &apigatewayv2.DeleteApiInput{ApiId: a.ApiId}); err != nil {
					return err
				}
			}
		}
		if in.NextToken = page.NextToken; in.NextToken == nil {
			return nil
		}
	}
}
