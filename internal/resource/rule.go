package resource

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"miniforge/internal/graph"
)

// ruleAPI is what a Rule asks of EventBridge.
type ruleAPI interface {
	DescribeRule(context.Context, *eventbridge.DescribeRuleInput, ...func(*eventbridge.Options)) (*eventbridge.DescribeRuleOutput, error)
	PutRule(context.Context, *eventbridge.PutRuleInput, ...func(*eventbridge.Options)) (*eventbridge.PutRuleOutput, error)
	DeleteRule(context.Context, *eventbridge.DeleteRuleInput, ...func(*eventbridge.Options)) (*eventbridge.DeleteRuleOutput, error)
	ListTargetsByRule(context.Context, *eventbridge.ListTargetsByRuleInput, ...func(*eventbridge.Options)) (*eventbridge.ListTargetsByRuleOutput, error)
	PutTargets(context.Context, *eventbridge.PutTargetsInput, ...func(*eventbridge.Options)) (*eventbridge.PutTargetsOutput, error)
	RemoveTargets(context.Context, *eventbridge.RemoveTargetsInput, ...func(*eventbridge.Options)) (*eventbridge.RemoveTargetsOutput, error)
	eventTagsAPI
}

var _ ruleAPI = (*eventbridge.Client)(nil)

// A Rule starts a state machine for each event of a bus that matches a
// pattern. Its one target is part of it: a rule without target is useless.
type Rule struct {
	Events     ruleAPI
	Owner      Owner
	Bus        *Bus
	Name       string
	ARN        string
	Pattern    string
	TargetID   string
	Machine    *StateMachine
	InputPath  string
	Role       *Role // assumed by EventBridge to start the execution
	DeadLetter *Queue
	MaxRetries int32
	MaxAge     time.Duration
}

func (r *Rule) ID() string { return "events/" + r.Bus.Name + "/" + r.Name }

func (r *Rule) Needs() []graph.Resource {
	return []graph.Resource{r.Bus, r.Machine, r.Role, r.DeadLetter}
}

func (r *Rule) Observe(ctx context.Context) (graph.Observation, error) {
	var rule *eventbridge.DescribeRuleOutput
	var targets []types.Target
	var tags map[string]string
	err := together(ctx, func(ctx context.Context) (err error) {
		rule, err = r.Events.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: &r.Name, EventBusName: &r.Bus.Name})
		return err
	}, func(ctx context.Context) error {
		out, err := r.Events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &r.Name, EventBusName: &r.Bus.Name})
		if err == nil {
			targets = out.Targets
		}
		return err
	}, func(ctx context.Context) (err error) {
		tags, err = eventTags(ctx, r.Events, r.ARN)
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read rule", r.Name, err)
	}
	var d drift
	d.json("EventPattern", r.Pattern, deref(rule.EventPattern))
	d.add("State", string(types.RuleStateEnabled), string(rule.State))
	r.compareTargets(&d, targets)
	return graph.Observation{Exists: true, Owned: r.Owner.owns(tags), Drift: d}, nil
}

// compareTargets reports the target's fields below "Target", and targets that
// are not ours below "OtherTarget".
func (r *Rule) compareTargets(d *drift, targets []types.Target) {
	var got types.Target
	for _, t := range targets {
		if deref(t.Id) == r.TargetID {
			got = t
		} else {
			d.add("OtherTarget."+deref(t.Id), "", deref(t.Arn))
		}
	}
	d.add("Target.Arn", r.Machine.ARN, deref(got.Arn))
	d.add("Target.RoleArn", r.Role.ARN, deref(got.RoleArn))
	d.add("Target.InputPath", r.InputPath, deref(got.InputPath))
	var letter string
	if got.DeadLetterConfig != nil {
		letter = deref(got.DeadLetterConfig.Arn)
	}
	d.add("Target.DeadLetter", r.DeadLetter.ARN, letter)
	p := deref(got.RetryPolicy)
	d.int("Target.MaximumRetryAttempts", int64(r.MaxRetries), int64(deref(p.MaximumRetryAttempts)))
	d.int("Target.MaximumEventAgeInSeconds", int64(r.MaxAge/time.Second), int64(deref(p.MaximumEventAgeInSeconds)))
}

func (r *Rule) Create(ctx context.Context) error {
	if err := r.put(ctx, eventTagList(r.Owner)); err != nil {
		return err
	}
	return r.putTarget(ctx)
}

// put writes the whole rule: what PutRule is not told, it clears. Tags are
// refused on a rule that exists.
func (r *Rule) put(ctx context.Context, tags []types.Tag) error {
	_, err := r.Events.PutRule(ctx, &eventbridge.PutRuleInput{
		Name: &r.Name, EventBusName: &r.Bus.Name, EventPattern: &r.Pattern, State: types.RuleStateEnabled, Tags: tags,
	})
	return failed("put rule", r.Name, err)
}

func (r *Rule) putTarget(ctx context.Context) error {
	age := int32(r.MaxAge / time.Second)
	out, err := r.Events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &r.Name, EventBusName: &r.Bus.Name, Targets: []types.Target{{
		Id: &r.TargetID, Arn: &r.Machine.ARN, RoleArn: &r.Role.ARN, InputPath: &r.InputPath,
		DeadLetterConfig: &types.DeadLetterConfig{Arn: &r.DeadLetter.ARN},
		RetryPolicy:      &types.RetryPolicy{MaximumRetryAttempts: &r.MaxRetries, MaximumEventAgeInSeconds: &age},
	}}})
	if err != nil {
		return failed("put target of rule", r.Name, err)
	}
	if out.FailedEntryCount > 0 { // reported with status 200
		return notYet("put target of rule", r.Name, entryError(out.FailedEntries[0].ErrorCode, out.FailedEntries[0].ErrorMessage))
	}
	return nil
}

func entryError(code, message *string) error {
	return fmt.Errorf("%s: %s", deref(code), deref(message))
}

func (r *Rule) Update(ctx context.Context, diffs []graph.Diff) error {
	if drifted(diffs, "EventPattern", "State") {
		if err := r.put(ctx, nil); err != nil {
			return err
		}
	}
	if drifted(diffs, "Target") {
		if err := r.putTarget(ctx); err != nil {
			return err
		}
	}
	if drifted(diffs, "OtherTarget") {
		return r.removeTargets(ctx, func(id string) bool { return id != r.TargetID })
	}
	return nil
}

func (r *Rule) removeTargets(ctx context.Context, which func(id string) bool) error {
	listed, err := r.Events.ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &r.Name, EventBusName: &r.Bus.Name})
	if err != nil {
		return failed("list targets of rule", r.Name, err)
	}
	var ids []string // a rule has at most five targets: one page
	for _, t := range listed.Targets {
		if which(deref(t.Id)) {
			ids = append(ids, deref(t.Id))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	out, err := r.Events.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: &r.Name, EventBusName: &r.Bus.Name, Ids: ids})
	if err != nil {
		return failed("remove targets of rule", r.Name, err)
	}
	if out.FailedEntryCount > 0 {
		return notYet("remove targets of rule", r.Name, entryError(out.FailedEntries[0].ErrorCode, out.FailedEntries[0].ErrorMessage))
	}
	return nil
}

func (r *Rule) Delete(ctx context.Context) error {
	if err := r.removeTargets(ctx, func(string) bool { return true }); err != nil && !gone(err) {
		return err
	}
	_, err := r.Events.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &r.Name, EventBusName: &r.Bus.Name})
	return deleted("rule "+r.Name, err)
}
