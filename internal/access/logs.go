package access

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"miniforge/internal/stack"
)

// readLogDelivery finds the account's policies on log groups. They are shared
// by all stacks and made by AWS itself: see [Delivered].
func readLogDelivery(ctx context.Context, s *stack.Stack, add func(part, document string)) error {
	in := &cloudwatchlogs.DescribeResourcePoliciesInput{}
	for {
		out, err := s.Clients.Logs.DescribeResourcePolicies(ctx, in)
		if err != nil {
			return err
		}
		for _, p := range out.ResourcePolicies {
			add(aws.ToString(p.PolicyName), aws.ToString(p.PolicyDocument))
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return nil
		}
	}
}

// deliverer writes the logs of API Gateway and Step Functions.
const deliverer = "Service delivery.logs.amazonaws.com"

// vended are the groups for which AWS allows its log delivery all at once,
// rather than one by one, when its policy grows too long.
//
// https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html#cloudwatch-iam-policy
const vended = "log-group:/aws/vendedlogs/*"

// Delivered compares what log delivery may do to the stack's groups, by all of
// the account's policies, with what it needs: to write to the two groups that
// services log to. That the policies say something of other groups is none of
// the stack's business; that they say more of its own is.
//
// The policy is not the stack's: API Gateway and Step Functions add to it, with
// the permissions of who told them to log.
func Delivered(s *stack.Stack, inForce []Permission) (missing, additional []Permission) {
	for _, group := range []string{s.WorkflowLogGroup(), s.APILogGroup()} {
		for _, action := range []string{"logs:CreateLogStream", "logs:PutLogEvents"} {
			want := Permission{Effect: "Allow", Principal: deliverer, Action: action, Resource: s.LogGroupARN(group) + ":log-stream:*"}
			if !slices.ContainsFunc(inForce, func(p Permission) bool {
				return p.Effect == "Allow" && p.Principal == deliverer && strings.EqualFold(p.Action, action) && overlap(p.Resource, s.LogGroupARN(group))
			}) {
				missing = append(missing, want)
			}
		}
	}
	for _, p := range inForce {
		if !slices.ContainsFunc(s.LogGroups(), func(group string) bool { return overlap(p.Resource, s.LogGroupARN(group)) }) {
			continue
		}
		expected := p.Principal == deliverer && (strings.EqualFold(p.Action, "logs:CreateLogStream") || strings.EqualFold(p.Action, "logs:PutLogEvents"))
		whole := p.Resource == "*" || strings.Contains(p.Resource, ":log-group:*")
		if !expected || whole || p.Condition == "" {
			additional = append(additional, p)
		}
	}
	return missing, additional
}

// overlap tells whether a pattern reaches into a group: it names the group or
// its streams, or has a wildcard after what is the beginning of the group's ARN.
func overlap(pattern, groupARN string) bool {
	if strings.HasSuffix(pattern, vended) {
		return strings.Contains(groupARN, strings.TrimSuffix(vended, "*"))
	}
	fixed, _, wild := strings.Cut(pattern, "*")
	return pattern == groupARN || strings.HasPrefix(fixed, groupARN+":") || wild && strings.HasPrefix(groupARN, fixed)
}
