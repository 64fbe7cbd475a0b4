// Package events is EventBridge: buses, rules with patterns and schedules,
// targets with input transformation, retries and dead-letter queues.
//
// https://docs.aws.amazon.com/eventbridge/latest/APIReference/Welcome.html
package events

import (
	"context"
	"encoding/base64"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/event/pattern"
	"miniforge/internal/cloud/memo"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Tasks   event.Sender
	Caller  wire.Caller
	Log     *slog.Logger
	Account string
}

// A Service serves the buses of all regions.
type Service struct {
	Options
	patterns sync.Map        // source -> *pattern.Pattern
	rules    memo.Rows[rule] // for what every event asks
	targets  memo.Rows[types.Target]
}

// New makes the service.
func New(o Options) *Service {
	return &Service{Options: o, rules: memo.Rows[rule]{Table: rules}, targets: memo.Rows[types.Target]{Table: targets}}
}

// Register adds the operations and task handlers.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{Service: "events", TagAction: "TagResource", Protocol: wire.JSON11, Target: "AWSEvents", Names: map[string]string{
		"CapacityProviderStrategyItem.CapacityProvider": "capacityProvider", "CapacityProviderStrategyItem.Base": "base", "CapacityProviderStrategyItem.Weight": "weight",
		"NetworkConfiguration.AwsvpcConfiguration": "awsvpcConfiguration", "PlacementConstraint.Type": "type", "PlacementConstraint.Expression": "expression",
		"PlacementStrategy.Type": "type", "PlacementStrategy.Field": "field",
	}})
	s.registerBuses(api)
	s.registerRules(api)
	s.registerTargets(api)
	wire.Handle(api, s.PutEvents, wire.Members("Entries! 1..10"), wire.Needs(s.putsEvents))
	wire.Handle(api, s.TestEventPattern, wire.Members("EventPattern!", "Event!"))
	q.Handle(deliverKind, 64, s.deliver)
	q.Handle(scheduleKind, 4, s.tick)
}

const defaultBus = "default"

// busOf is a bus's name, given by name or ARN; none is the default bus.
func busOf(name *string) string {
	if name == nil || *name == "" {
		return defaultBus
	}
	if _, after, ok := strings.Cut(*name, ":event-bus/"); ok && strings.HasPrefix(*name, "arn:") {
		return after
	}
	return *name
}

// Keys: region/bus for buses, region/bus NUL rule for rules, and so on.
func busKey(region, bus string) string        { return region + "/" + bus }
func ruleKey(region, bus, rule string) string { return region + "/" + bus + "\x00" + rule }

func (s *Service) busARN(region, bus string) string {
	return "arn:aws:events:" + region + ":" + s.Account + ":event-bus/" + bus
}

func (s *Service) ruleARN(region, bus, rule string) string {
	if bus != defaultBus {
		rule = bus + "/" + rule
	}
	return "arn:aws:events:" + region + ":" + s.Account + ":rule/" + rule
}

// place splits the ARN of a bus or a rule; rule is "" for a bus.
func (s *Service) place(arn string) (region, bus, rule string, ok bool) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[2] != "events" || p[4] != s.Account {
		return "", "", "", false
	}
	kind, name, _ := strings.Cut(p[5], "/")
	switch kind {
	case "event-bus":
		return p[3], name, "", name != ""
	case "rule":
		if bus, rule, custom := strings.Cut(name, "/"); custom {
			return p[3], bus, rule, true
		}
		return p[3], defaultBus, name, name != ""
	}
	return "", "", "", false
}

func onRule[In any](of func(*In) (bus, rule *string)) wire.Option {
	return wire.On(func(c *wire.Call, in *In) []string {
		bus, rule := of(in)
		name := *rule
		if b := busOf(bus); b != defaultBus {
			name = b + "/" + name
		}
		return []string{c.ARN("events", "rule/"+name)}
	})
}

// onRules is the access to all rules of a bus.
func onRules[In any](of func(*In) *string) wire.Option {
	return onRule(func(in *In) (bus, rule *string) { return of(in), new("*") })
}

func onBus[In any](of func(*In) *string) wire.Option {
	return wire.On(func(c *wire.Call, in *In) []string { return []string{c.ARN("events", "event-bus/"+busOf(of(in)))} })
}

func invalid(text string) error { return wire.Errorf("ValidationException", "%s", text) }

func noBus(name string) error {
	return &types.ResourceNotFoundException{Message: new("Event bus " + name + " does not exist.")}
}

func noRule(name, bus string) error {
	return &types.ResourceNotFoundException{Message: new("Rule " + name + " does not exist on EventBus " + bus + ".")}
}

// compile reads an event pattern once.
func (s *Service) compile(source string) (*pattern.Pattern, error) {
	if p, ok := s.patterns.Load(source); ok {
		return p.(*pattern.Pattern), nil
	}
	p, err := pattern.Compile(source)
	if err != nil {
		return nil, &types.InvalidEventPatternException{Message: new(err.Error())}
	}
	s.patterns.Store(source, p)
	return p, nil
}

// TestEventPattern tells whether an event matches a pattern.
func (s *Service) TestEventPattern(_ context.Context, in *sdk.TestEventPatternInput) (*sdk.TestEventPatternOutput, error) {
	p, err := pattern.Compile(*in.EventPattern)
	if err != nil {
		return nil, &types.InvalidEventPatternException{Message: new(err.Error())}
	}
	v, err := pattern.Decode([]byte(*in.Event))
	obj, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, invalid("Parameter Event is not valid.")
	}
	for _, name := range []string{"id", "account", "source", "time", "region", "resources", "detail-type"} {
		if _, present := obj[name]; !present {
			return nil, invalid("Parameter " + name + " in event is required.")
		}
	}
	return &sdk.TestEventPatternOutput{Result: p.MatchValue(v)}, nil
}

// PolicyTable is the table that ResourcePolicy reads: while it does not change,
// neither do policies.
const PolicyTable = string(buses)

// ResourcePolicy is the policy of a bus.
func (s *Service) ResourcePolicy(_ context.Context, arn string) (doc string, err error) {
	region, name, rule, ok := s.place(arn)
	if !ok || rule != "" {
		return "", nil
	}
	err = s.DB.View(func(tx *store.Tx) error {
		b, _, err := buses.Get(tx, busKey(region, name))
		doc = b.Policy
		return err
	})
	return doc, err
}

// Tagged lists the buses and rules of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range buses.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			out[s.busARN(region, r.Key[len(region)+1:])] = r.Value.Tags
		}
		for r, err := range rules.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			bus, name, _ := strings.Cut(r.Key[len(region)+1:], "\x00")
			out[s.ruleARN(region, bus, name)] = r.Value.Tags
		}
		return nil
	})
}

// SetTags changes the tags of a bus or a rule.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	region, busName, ruleName, ok := s.place(arn)
	if !ok {
		return &types.ResourceNotFoundException{Message: new("Resource " + arn + " does not exist.")}
	}
	change := func(tags map[string]string) map[string]string {
		next := map[string]string{}
		maps.Copy(next, tags)
		maps.Copy(next, set)
		for _, k := range remove {
			delete(next, k)
		}
		return next
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		b, err := loadBus(tx, region, busName)
		if err != nil {
			return err
		}
		if ruleName == "" {
			b.Tags = change(b.Tags)
			return buses.Put(tx, busKey(region, busName), b)
		}
		r, ok, err := rules.Get(tx, ruleKey(region, busName, ruleName))
		if err == nil && !ok {
			err = noRule(ruleName, busName)
		}
		if err != nil {
			return err
		}
		r.Tags = change(r.Tags)
		return rules.Put(tx, ruleKey(region, busName, ruleName), r)
	})
}

// TagResource adds tags to a bus or a rule.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	return &sdk.TagResourceOutput{}, s.SetTags(ctx, *in.ResourceARN, tagMap(in.Tags), nil)
}

// UntagResource removes tags from a bus or a rule.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	return &sdk.UntagResourceOutput{}, s.SetTags(ctx, *in.ResourceARN, nil, in.TagKeys)
}

// ListTagsForResource lists the tags of a bus or a rule.
func (s *Service) ListTagsForResource(ctx context.Context, in *sdk.ListTagsForResourceInput) (*sdk.ListTagsForResourceOutput, error) {
	region, _, _, ok := s.place(*in.ResourceARN)
	all, err := s.Tagged(ctx, region)
	tags, found := all[*in.ResourceARN]
	if err == nil && (!ok || !found && !strings.HasSuffix(*in.ResourceARN, ":event-bus/"+defaultBus)) {
		err = &types.ResourceNotFoundException{Message: new("Resource " + *in.ResourceARN + " does not exist.")}
	}
	out := &sdk.ListTagsForResourceOutput{Tags: []types.Tag{}}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out.Tags = append(out.Tags, types.Tag{Key: new(k), Value: new(tags[k])})
	}
	return out, err
}

func tagMap(tags []types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		if t.Key != nil && t.Value != nil {
			m[*t.Key] = *t.Value
		}
	}
	return m
}

func encodeToken(s string) *string { return new(base64.RawURLEncoding.EncodeToString([]byte(s))) }

// page cuts a sorted list; the token is the last name of the page before.
func page[T any](all []T, name func(T) string, limit *int32, token *string) ([]T, *string, error) {
	after := ""
	if token != nil {
		b, err := base64.RawURLEncoding.DecodeString(*token)
		if err != nil {
			return nil, nil, invalid("Parameter NextToken is not valid.")
		}
		after = string(b)
	}
	n := 100
	if limit != nil {
		n = int(*limit)
	}
	out := []T{}
	for _, x := range all {
		if name(x) <= after {
			continue
		}
		if len(out) == n {
			return out, encodeToken(name(out[n-1])), nil
		}
		out = append(out, x)
	}
	return out, nil, nil
}

// passRole is what a caller needs to hand a role to EventBridge.
func passRole(role *string) []authz.Access {
	if role == nil || *role == "" {
		return nil
	}
	return []authz.Access{{Action: "iam:PassRole", Resource: *role, Context: map[string][]string{"iam:PassedToService": {"events.amazonaws.com"}}}}
}
