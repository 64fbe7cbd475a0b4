// Package vended lets AWS's log delivery write to a log group for a service,
// as API Gateway and Step Functions arrange it when they are told to log: they
// add the group to a resource policy of the account that AWS calls
// AWSLogDeliveryWrite20150319, with the permissions of whoever told them.
//
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-and-resource-policy.html
package vended

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"miniforge/internal/cloud/wire"
)

const policyName = "AWSLogDeliveryWrite20150319"

type document struct {
	Version   string      `json:"Version"`
	Statement []statement `json:"Statement"`
}

type statement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Principal map[string]string            `json:"Principal"`
	Action    []string                     `json:"Action"`
	Resource  []string                     `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition"`
}

// A Delivery lets one group at a time into the policy: all services of a cloud
// share one, as each reads the policy whole and writes it whole.
type Delivery struct {
	turn chan struct{} // of size 1: full while one of them does
}

// NewDelivery makes a cloud's.
func NewDelivery() *Delivery { return &Delivery{make(chan struct{}, 1)} }

// Allow has log delivery write to the group with the given ARN, in the name of
// as, who needs logs:DescribeResourcePolicies and logs:PutResourcePolicy.
// Groups that are allowed already change nothing.
func (d *Delivery) Allow(ctx context.Context, c wire.Caller, as wire.As, group string) error {
	p := strings.SplitN(strings.TrimSuffix(group, ":*"), ":", 7)
	if len(p) != 7 {
		return fmt.Errorf("allow log delivery: %q is not the ARN of a log group", group)
	}
	// Calls take time, and those who wait for their turn may be gone before.
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	out, err := wire.Do[cloudwatchlogs.DescribeResourcePoliciesOutput](ctx, c, as, &cloudwatchlogs.DescribeResourcePoliciesInput{})
	if err != nil {
		return err
	}
	doc := document{Version: "2012-10-17", Statement: []statement{{
		Sid: policyName, Effect: "Allow", Principal: map[string]string{"Service": "delivery.logs.amazonaws.com"},
		Action:    []string{"logs:CreateLogStream", "logs:PutLogEvents"},
		Condition: map[string]map[string]string{"StringEquals": {"aws:SourceAccount": p[4]}, "ArnLike": {"aws:SourceArn": strings.Join(p[:5], ":") + ":*"}},
	}}}
	for _, r := range out.ResourcePolicies {
		if r.PolicyName != nil && *r.PolicyName == policyName && r.PolicyDocument != nil {
			if err := json.Unmarshal([]byte(*r.PolicyDocument), &doc); err != nil || len(doc.Statement) != 1 {
				return fmt.Errorf("allow log delivery: the policy %s is not as it was made: delete it", policyName)
			}
		}
	}
	resource := strings.Join(p, ":") + ":log-stream:*"
	if slices.Contains(doc.Statement[0].Resource, resource) {
		return nil
	}
	doc.Statement[0].Resource = append(doc.Statement[0].Resource, resource)
	text, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("allow log delivery: %w", err)
	}
	_, err = c.Call(ctx, as, &cloudwatchlogs.PutResourcePolicyInput{PolicyName: new(policyName), PolicyDocument: new(string(text))})
	return err
}
