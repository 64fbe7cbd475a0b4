package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	tagtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"miniforge/internal/resource"
)

// Probe begins the names of what a verification makes beside the stack for a
// while, with the stack's tag or below its path: principals, queues, a topic, a
// rule and an API.
func (n Names) Probe() string { return n.of("probe") + "-" }

// RemoveProbes removes what a verification that was killed has left, and tells
// what that was. What it cannot remove is an error; the rest is removed.
func (s *Stack) RemoveProbes(ctx context.Context) (removed []string, err error) {
	var errs []error
	done := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", what, err))
			return
		}
		removed = append(removed, what)
	}
	roles := iam.NewListRolesPaginator(s.Clients.IAM, &iam.ListRolesInput{PathPrefix: aws.String(s.RolePath())})
	for roles.HasMorePages() {
		page, err := roles.NextPage(ctx)
		if err != nil {
			return removed, fmt.Errorf("list roles below %s: %w", s.RolePath(), err)
		}
		for _, r := range page.Roles {
			if name := aws.ToString(r.RoleName); strings.HasPrefix(name, s.Probe()) {
				done("role "+name, s.removeRole(ctx, name))
			}
		}
	}
	users := iam.NewListUsersPaginator(s.Clients.IAM, &iam.ListUsersInput{PathPrefix: aws.String(s.RolePath())})
	for users.HasMorePages() {
		page, err := users.NextPage(ctx)
		if err != nil {
			return removed, fmt.Errorf("list users below %s: %w", s.RolePath(), err)
		}
		for _, u := range page.Users {
			if name := aws.ToString(u.UserName); strings.HasPrefix(name, s.Probe()) {
				done("user "+name, s.removeUser(ctx, name))
			}
		}
	}
	pages := tagging.NewGetResourcesPaginator(s.Clients.Tagging, &tagging.GetResourcesInput{
		TagFilters: []tagtypes.TagFilter{{Key: aws.String(resource.StackTag), Values: []string{s.Name}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			break // some endpoints have no index of tags: the sweep says so
		}
		for _, found := range page.ResourceTagMappingList {
			arn := aws.ToString(found.ResourceARN)
			if ours, err := s.removeTagged(ctx, arn); ours || err != nil {
				done(arn, err)
			}
		}
	}
	return removed, errors.Join(errs...)
}

func (s *Stack) removeRole(ctx context.Context, name string) error {
	policies := iam.NewListRolePoliciesPaginator(s.Clients.IAM, &iam.ListRolePoliciesInput{RoleName: &name})
	for policies.HasMorePages() {
		page, err := policies.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, p := range page.PolicyNames {
			if _, err := s.Clients.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: &p}); err != nil {
				return err
			}
		}
	}
	_, err := s.Clients.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name})
	return err
}

func (s *Stack) removeUser(ctx context.Context, name string) error {
	c := s.Clients.IAM
	keys, err := c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &name})
	if err != nil {
		return err
	}
	for _, k := range keys.AccessKeyMetadata {
		if _, err := c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &name, AccessKeyId: k.AccessKeyId}); err != nil {
			return err
		}
	}
	policies, err := c.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: &name})
	if err != nil {
		return err
	}
	for _, p := range policies.PolicyNames {
		if _, err := c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &name, PolicyName: &p}); err != nil {
			return err
		}
	}
	_, err = c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &name})
	return err
}

// removeTagged removes what an ARN with the stack's tag names, if it is a probe.
func (s *Stack) removeTagged(ctx context.Context, arn string) (ours bool, err error) {
	of := func(prefix string) bool { return strings.HasPrefix(arn, prefix+s.Probe()) }
	name := arn[strings.LastIndexAny(arn, ":/")+1:]
	switch c := s.Clients; {
	case of(s.QueueARN("")):
		url, err := c.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
		if err == nil {
			_, err = c.SQS.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: url.QueueUrl})
		}
		return true, err
	case of(s.TopicARNOf("")):
		_, err := c.SNS.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: &arn})
		return true, err
	case of(s.arn("events", "rule/")):
		targets, err := c.Events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &name})
		for i := 0; err == nil && i < len(targets.Targets); i++ {
			_, err = c.Events.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: &name, Ids: []string{aws.ToString(targets.Targets[i].Id)}})
		}
		if err == nil {
			_, err = c.Events.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &name})
		}
		return true, err
	case strings.Contains(arn, "/apis/"):
		api, err := c.APIGateway.GetApi(ctx, &apigatewayv2.GetApiInput{ApiId: &name})
		if err != nil || !strings.HasPrefix(aws.ToString(api.Name), s.Probe()) {
			return false, nil //nolint:nilerr // gone, or the stack's own
		}
		_, err = c.APIGateway.DeleteApi(ctx, &apigatewayv2.DeleteApiInput{ApiId: &name})
		return true, err
	}
	return false, nil
}
