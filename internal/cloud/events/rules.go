package events

import (
	"context"
	"regexp"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const rules = store.Table[rule]("events.rules")

type rule struct {
	Pattern     string            `json:",omitempty"`
	Schedule    string            `json:",omitempty"`
	State       types.RuleState   `json:",omitempty"`
	Description *string           `json:",omitempty"`
	Role        *string           `json:",omitempty"`
	Tags        map[string]string `json:",omitempty"`
}

func (s *Service) registerRules(api *wire.API) {
	wire.Handle(api, s.PutRule, wire.Members(`Name! 1..64 [\.\-_A-Za-z0-9]+`, "EventPattern 0..4096", "ScheduleExpression 0..256", "State ENABLED|DISABLED|ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", "Description 0..512", "RoleArn 1..1600"),
		wire.Needs(func(c *wire.Call, in *sdk.PutRuleInput) []authz.Access {
			name := *in.Name
			if b := busOf(in.EventBusName); b != defaultBus {
				name = b + "/" + name
			}
			return append([]authz.Access{{Action: "events:PutRule", Resource: c.ARN("events", "rule/"+name)}}, passRole(in.RoleArn)...)
		}))
	wire.Handle(api, s.DescribeRule, wire.Members("Name! 1..64"), onRule(func(in *sdk.DescribeRuleInput) (b, r *string) { return in.EventBusName, in.Name }))
	wire.Handle(api, s.DeleteRule, wire.Members("Name! 1..64"), onRule(func(in *sdk.DeleteRuleInput) (b, r *string) { return in.EventBusName, in.Name }))
	wire.Handle(api, s.EnableRule, wire.Members("Name! 1..64"), onRule(func(in *sdk.EnableRuleInput) (b, r *string) { return in.EventBusName, in.Name }))
	wire.Handle(api, s.DisableRule, wire.Members("Name! 1..64"), onRule(func(in *sdk.DisableRuleInput) (b, r *string) { return in.EventBusName, in.Name }))
	wire.Handle(api, s.ListRules, wire.Members("Limit 1..100", "NamePrefix 1..64"), onRules(func(in *sdk.ListRulesInput) *string { return in.EventBusName }))
	wire.Handle(api, s.ListRuleNamesByTarget, wire.Members("TargetArn! 1..1600", "Limit 1..100"), onRules(func(in *sdk.ListRuleNamesByTargetInput) *string { return in.EventBusName }))
}

func loadRule(tx *store.Tx, region, bus, name string) (rule, error) {
	if _, err := loadBus(tx, region, bus); err != nil {
		return rule{}, err
	}
	r, ok, err := rules.Get(tx, ruleKey(region, bus, name))
	if err == nil && !ok {
		err = noRule(name, bus)
	}
	return r, err
}

// PutRule makes or replaces a rule as a whole: what is left out is gone. Tags
// of a rule that exists are not touched.
func (s *Service) PutRule(ctx context.Context, in *sdk.PutRuleInput) (*sdk.PutRuleOutput, error) {
	region, busName := wire.CallOf(ctx).Region, busOf(in.EventBusName)
	r := rule{State: in.State, Description: in.Description, Role: in.RoleArn, Tags: tagMap(in.Tags)}
	if r.State == "" {
		r.State = types.RuleStateEnabled
	}
	if in.EventPattern != nil && *in.EventPattern != "" {
		r.Pattern = *in.EventPattern
		if _, err := s.compile(r.Pattern); err != nil {
			return nil, err
		}
		if r.Pattern == "{}" {
			return nil, &types.InvalidEventPatternException{Message: new("Event pattern is not valid. Reason: Filter is empty")}
		}
	}
	if in.ScheduleExpression != nil && *in.ScheduleExpression != "" {
		r.Schedule = *in.ScheduleExpression
		if _, err := parseSchedule(r.Schedule); err != nil {
			return nil, invalid("Parameter ScheduleExpression is not valid.")
		}
		if busName != defaultBus {
			return nil, invalid("ScheduleExpression is supported only on the default event bus.")
		}
	}
	if r.Pattern == "" && r.Schedule == "" {
		return nil, invalid("Parameter(s) EventPattern or ScheduleExpression must be specified.")
	}
	k := ruleKey(region, busName, *in.Name)
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := loadBus(tx, region, busName); err != nil {
			return err
		}
		if old, ok, err := rules.Get(tx, k); err != nil || ok {
			if err != nil {
				return err
			}
			r.Tags = old.Tags
		}
		if err := rules.Put(tx, k, r); err != nil {
			return err
		}
		return s.reschedule(tx, k, r)
	})
	return &sdk.PutRuleOutput{RuleArn: new(s.ruleARN(region, busName, *in.Name))}, err
}

// reschedule sets or ends the timer of a rule.
func (s *Service) reschedule(tx *store.Tx, k string, r rule) error {
	if r.Schedule == "" || r.State == types.RuleStateDisabled {
		return s.Tasks.Finish(tx, scheduleKind, k)
	}
	sched, err := parseSchedule(r.Schedule)
	if err != nil {
		return err
	}
	next := sched.next(time.Now())
	if next.IsZero() {
		return s.Tasks.Finish(tx, scheduleKind, k)
	}
	return s.Tasks.Send(tx, event.Task{Kind: scheduleKind, ID: k, Due: next})
}

// DescribeRule describes a rule.
func (s *Service) DescribeRule(ctx context.Context, in *sdk.DescribeRuleInput) (*sdk.DescribeRuleOutput, error) {
	region, busName := wire.CallOf(ctx).Region, busOf(in.EventBusName)
	var r rule
	err := s.DB.View(func(tx *store.Tx) (err error) {
		r, err = loadRule(tx, region, busName, *in.Name)
		return err
	})
	if err != nil {
		return nil, err
	}
	l := s.ruleOf(region, busName, *in.Name, r)
	return &sdk.DescribeRuleOutput{Arn: l.Arn, Name: l.Name, EventBusName: l.EventBusName, EventPattern: l.EventPattern, ScheduleExpression: l.ScheduleExpression, State: l.State, Description: l.Description, RoleArn: l.RoleArn, CreatedBy: &s.Account}, nil
}

func (s *Service) ruleOf(region, busName, name string, r rule) types.Rule {
	out := types.Rule{Arn: new(s.ruleARN(region, busName, name)), Name: &name, EventBusName: &busName, State: r.State, Description: r.Description, RoleArn: r.Role}
	if r.Pattern != "" {
		out.EventPattern = &r.Pattern
	}
	if r.Schedule != "" {
		out.ScheduleExpression = &r.Schedule
	}
	return out
}

// DeleteRule deletes a rule without targets; a missing one is no error.
func (s *Service) DeleteRule(ctx context.Context, in *sdk.DeleteRuleInput) (*sdk.DeleteRuleOutput, error) {
	region, busName := wire.CallOf(ctx).Region, busOf(in.EventBusName)
	k := ruleKey(region, busName, *in.Name)
	return &sdk.DeleteRuleOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := loadBus(tx, region, busName); err != nil {
			return err
		}
		for _, err := range targets.Prefix(tx, k+"\x00") {
			if err != nil {
				return err
			}
			return invalid("Rule can't be deleted since it has targets.")
		}
		if err := s.Tasks.Finish(tx, scheduleKind, k); err != nil {
			return err
		}
		return rules.Delete(tx, k)
	})
}

func (s *Service) setState(ctx context.Context, bus, name *string, state types.RuleState) error {
	region, busName := wire.CallOf(ctx).Region, busOf(bus)
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		r, err := loadRule(tx, region, busName, *name)
		if err != nil {
			return err
		}
		r.State = state
		if err := rules.Put(tx, ruleKey(region, busName, *name), r); err != nil {
			return err
		}
		return s.reschedule(tx, ruleKey(region, busName, *name), r)
	})
}

// EnableRule lets a rule match again.
func (s *Service) EnableRule(ctx context.Context, in *sdk.EnableRuleInput) (*sdk.EnableRuleOutput, error) {
	return &sdk.EnableRuleOutput{}, s.setState(ctx, in.EventBusName, in.Name, types.RuleStateEnabled)
}

// DisableRule stops a rule from matching.
func (s *Service) DisableRule(ctx context.Context, in *sdk.DisableRuleInput) (*sdk.DisableRuleOutput, error) {
	return &sdk.DisableRuleOutput{}, s.setState(ctx, in.EventBusName, in.Name, types.RuleStateDisabled)
}

// ListRules lists a bus's rules.
func (s *Service) ListRules(ctx context.Context, in *sdk.ListRulesInput) (*sdk.ListRulesOutput, error) {
	region, busName := wire.CallOf(ctx).Region, busOf(in.EventBusName)
	prefix := ""
	if in.NamePrefix != nil {
		prefix = *in.NamePrefix
	}
	var all []types.Rule
	err := s.DB.View(func(tx *store.Tx) error {
		if _, err := loadBus(tx, region, busName); err != nil {
			return err
		}
		for r, err := range rules.Prefix(tx, ruleKey(region, busName, prefix)) {
			if err != nil {
				return err
			}
			all = append(all, s.ruleOf(region, busName, r.Key[strings.IndexByte(r.Key, 0)+1:], r.Value))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	items, next, err := page(all, func(r types.Rule) string { return *r.Name }, in.Limit, in.NextToken)
	return &sdk.ListRulesOutput{Rules: items, NextToken: next}, err
}

// ListRuleNamesByTarget lists the rules of a bus that have a target.
func (s *Service) ListRuleNamesByTarget(ctx context.Context, in *sdk.ListRuleNamesByTargetInput) (*sdk.ListRuleNamesByTargetOutput, error) {
	region, busName := wire.CallOf(ctx).Region, busOf(in.EventBusName)
	var all []string
	err := s.DB.View(func(tx *store.Tx) error {
		if _, err := loadBus(tx, region, busName); err != nil {
			return err
		}
		for r, err := range targets.Prefix(tx, ruleKey(region, busName, "")) {
			if err != nil {
				return err
			}
			name := strings.Split(r.Key, "\x00")[1]
			if *r.Value.Arn == *in.TargetArn && (len(all) == 0 || all[len(all)-1] != name) {
				all = append(all, name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	items, next, err := page(all, func(n string) string { return n }, in.Limit, in.NextToken)
	return &sdk.ListRuleNamesByTargetOutput{RuleNames: items, NextToken: next}, err
}

var arnText = regexp.MustCompile(`^arn:aws:[a-z0-9-]+:[a-z0-9-]*:\d*:.+$`)
