package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// targets are keyed by rule NUL id.
const targets = store.Table[types.Target]("events.targets")

const maxTargets = 5

func (s *Service) registerTargets(api *wire.API) {
	wire.Handle(api, s.PutTargets, wire.Members("Rule! 1..64", "Targets! 1..100", `Targets[].Id! 1..64 [\.\-_A-Za-z0-9]+`, "Targets[].Arn! 1..1600", "Targets[].Input 0..8192", "Targets[].InputPath 0..256",
		"Targets[].RetryPolicy.MaximumRetryAttempts 0..185", "Targets[].RetryPolicy.MaximumEventAgeInSeconds 60..86400"),
		wire.Needs(func(c *wire.Call, in *sdk.PutTargetsInput) []authz.Access {
			name := *in.Rule
			if b := busOf(in.EventBusName); b != defaultBus {
				name = b + "/" + name
			}
			all := []authz.Access{{Action: "events:PutTargets", Resource: c.ARN("events", "rule/"+name), Context: map[string][]string{}}}
			for _, t := range in.Targets {
				all[0].Context["events:TargetArn"] = append(all[0].Context["events:TargetArn"], *t.Arn)
				all = append(all, passRole(t.RoleArn)...)
			}
			return all
		}))
	wire.Handle(api, s.RemoveTargets, wire.Members("Rule! 1..64", "Ids! 1..100"), onRule(func(in *sdk.RemoveTargetsInput) (b, r *string) { return in.EventBusName, in.Rule }))
	wire.Handle(api, s.ListTargetsByRule, wire.Members("Rule! 1..64", "Limit 1..100"), onRule(func(in *sdk.ListTargetsByRuleInput) (b, r *string) { return in.EventBusName, in.Rule }))
}

// needRole are the services that EventBridge reaches by a role; the others by
// their own resource policy.
var (
	needRole   = []string{"states", "codepipeline", "codebuild"}
	reachable  = []string{"states", "codepipeline", "codebuild", "sqs", "sns", "lambda", "events", "logs"}
	fifoSuffix = ".fifo"
	// resources are what the ARNs of targets go on with after the account.
	resources = map[string]string{"states": "stateMachine:", "lambda": "function:", "events": "event-bus/", "logs": "log-group:", "codebuild": "project/"}
)

func (s *Service) checkTarget(t types.Target) error {
	bad := func(what, why string) error { return invalid("Parameter " + what + " is not valid. Reason: " + why) }
	if !arnText.MatchString(*t.Arn) {
		return bad(*t.Arn, "Provided Arn is not in correct format.")
	}
	parts := strings.SplitN(*t.Arn, ":", 6)
	service := parts[2]
	if !strings.HasPrefix(parts[5], resources[service]) || parts[5] == resources[service] {
		return bad(*t.Arn, "Provided Arn is not in correct format.")
	}
	given := 0
	for _, set := range []bool{t.Input != nil, t.InputPath != nil, t.InputTransformer != nil} {
		if set {
			given++
		}
	}
	switch {
	case !slices.Contains(reachable, service):
		return bad(*t.Arn, "the embedded cloud delivers events to "+strings.Join(reachable, ", ")+" only.")
	case slices.Contains(needRole, service) && t.RoleArn == nil:
		return bad("RoleArn", "RoleArn is required for target "+*t.Arn+".")
	case given > 1:
		return invalid("Only one of Input, InputPath, or InputTransformer must be provided for target " + *t.Id + ".")
	case service == "sqs" && strings.HasSuffix(*t.Arn, fifoSuffix) && (t.SqsParameters == nil || t.SqsParameters.MessageGroupId == nil):
		return bad("SqsParameters", "Parameter(s) SqsParameters must be specified for target: "+*t.Id+".")
	case t.DeadLetterConfig != nil && t.DeadLetterConfig.Arn != nil && !strings.HasPrefix(*t.DeadLetterConfig.Arn, "arn:aws:sqs:"):
		return bad("DeadLetterConfig", "Invalid ARN.")
	}
	return checkInput(t)
}

// checkRoles refuses roles that EventBridge may not assume for the rule.
func (s *Service) checkRoles(ctx context.Context, ruleARN string, all []types.Target) error {
	for _, t := range all {
		if t.RoleArn == nil {
			continue
		}
		_, err := wire.AssumeRole(ctx, s.Caller, "events", ruleARN, *t.RoleArn, "AWSEvents_check", wire.CallOf(ctx).Region)
		if api, ok := errors.AsType[smithy.APIError](err); ok && api.ErrorFault() != smithy.FaultServer {
			return invalid("Provided role '" + *t.RoleArn + "' cannot be assumed by principal 'events.amazonaws.com'.")
		} else if err != nil {
			return err
		}
	}
	return nil
}

// PutTargets adds targets to a rule, or replaces those of the same id.
func (s *Service) PutTargets(ctx context.Context, in *sdk.PutTargetsInput) (*sdk.PutTargetsOutput, error) {
	region, busName := wire.CallOf(ctx).Region, busOf(in.EventBusName)
	for _, t := range in.Targets {
		if err := s.checkTarget(t); err != nil {
			return nil, err
		}
	}
	if err := s.checkRoles(ctx, s.ruleARN(region, busName, *in.Rule), in.Targets); err != nil {
		return nil, err
	}
	k := ruleKey(region, busName, *in.Rule) + "\x00"
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := loadRule(tx, region, busName, *in.Rule); err != nil {
			return err
		}
		for _, t := range in.Targets {
			if err := targets.Put(tx, k+*t.Id, t); err != nil {
				return err
			}
		}
		n := 0
		for _, err := range targets.Prefix(tx, k) {
			if err != nil {
				return err
			}
			n++
		}
		if n > maxTargets {
			return &types.LimitExceededException{Message: new("The requested resource exceeds the maximum number allowed.")}
		}
		return nil
	})
	return &sdk.PutTargetsOutput{FailedEntries: []types.PutTargetsResultEntry{}}, err
}

// RemoveTargets removes targets; those that are not there are named.
func (s *Service) RemoveTargets(ctx context.Context, in *sdk.RemoveTargetsInput) (*sdk.RemoveTargetsOutput, error) {
	region, busName := wire.CallOf(ctx).Region, busOf(in.EventBusName)
	out := &sdk.RemoveTargetsOutput{FailedEntries: []types.RemoveTargetsResultEntry{}}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := loadRule(tx, region, busName, *in.Rule); err != nil {
			return err
		}
		for _, id := range in.Ids {
			k := ruleKey(region, busName, *in.Rule) + "\x00" + id
			_, ok, err := targets.Get(tx, k)
			if err != nil {
				return err
			}
			if !ok {
				out.FailedEntryCount++
				out.FailedEntries = append(out.FailedEntries, types.RemoveTargetsResultEntry{
					TargetId: &id, ErrorCode: new("ResourceNotFoundException"), ErrorMessage: new(fmt.Sprintf("Rule %s does not have a target with the ID %s.", *in.Rule, id)),
				})
				continue
			}
			if err := targets.Delete(tx, k); err != nil {
				return err
			}
		}
		return nil
	})
}

// ListTargetsByRule lists a rule's targets.
func (s *Service) ListTargetsByRule(ctx context.Context, in *sdk.ListTargetsByRuleInput) (*sdk.ListTargetsByRuleOutput, error) {
	region, busName := wire.CallOf(ctx).Region, busOf(in.EventBusName)
	var all []types.Target
	err := s.DB.View(func(tx *store.Tx) error {
		if _, err := loadRule(tx, region, busName, *in.Rule); err != nil {
			return err
		}
		for r, err := range targets.Prefix(tx, ruleKey(region, busName, *in.Rule)+"\x00") {
			if err != nil {
				return err
			}
			all = append(all, r.Value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	items, next, err := page(all, func(t types.Target) string { return *t.Id }, in.Limit, in.NextToken)
	return &sdk.ListTargetsByRuleOutput{Targets: items, NextToken: next}, err
}
