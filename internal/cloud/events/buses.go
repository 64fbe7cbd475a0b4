package events

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const buses = store.Table[bus]("events.buses")

type bus struct {
	Description *string
	KmsKey      *string
	DeadLetter  *types.DeadLetterConfig
	Log         *types.LogConfig
	Policy      string            `json:",omitempty"`
	Tags        map[string]string `json:",omitempty"`
	Created     time.Time
	Modified    time.Time
}

func (s *Service) registerBuses(api *wire.API) {
	wire.Handle(api, s.CreateEventBus, wire.Members("Name! 1..256"), onBus(func(in *sdk.CreateEventBusInput) *string { return in.Name }))
	wire.Handle(api, s.DescribeEventBus, onBus(func(in *sdk.DescribeEventBusInput) *string { return in.Name }))
	wire.Handle(api, s.UpdateEventBus, onBus(func(in *sdk.UpdateEventBusInput) *string { return in.Name }))
	wire.Handle(api, s.DeleteEventBus, wire.Members("Name! 1..256"), onBus(func(in *sdk.DeleteEventBusInput) *string { return in.Name }))
	wire.Handle(api, s.ListEventBuses, wire.Members("Limit 1..100", "NextToken 1..2048", "NamePrefix 1..256"))
	wire.Handle(api, s.PutPermission)
	wire.Handle(api, s.RemovePermission)
	arn := func(a *string) []string { return []string{*a} }
	wire.Handle(api, s.TagResource, wire.Members("ResourceARN! 1..1600", "Tags!"), wire.On(func(_ *wire.Call, in *sdk.TagResourceInput) []string { return arn(in.ResourceARN) }))
	wire.Handle(api, s.UntagResource, wire.Members("ResourceARN! 1..1600", "TagKeys!"), wire.On(func(_ *wire.Call, in *sdk.UntagResourceInput) []string { return arn(in.ResourceARN) }))
	wire.Handle(api, s.ListTagsForResource, wire.Members("ResourceARN! 1..1600"), wire.On(func(_ *wire.Call, in *sdk.ListTagsForResourceInput) []string { return arn(in.ResourceARN) }))
}

var busName = regexp.MustCompile(`^[/.A-Za-z0-9_-]+$`)

// loadBus reads a bus; the default bus is always there.
func loadBus(tx *store.Tx, region, name string) (bus, error) {
	b, ok, err := buses.Get(tx, busKey(region, name))
	if err == nil && !ok && name != defaultBus {
		err = noBus(name)
	}
	return b, err
}

// CreateEventBus makes a custom bus.
func (s *Service) CreateEventBus(ctx context.Context, in *sdk.CreateEventBusInput) (*sdk.CreateEventBusOutput, error) {
	c := wire.CallOf(ctx)
	if len(*in.Name) > 256 || !busName.MatchString(*in.Name) || strings.Contains(*in.Name, "/") {
		return nil, invalid("Event bus name must not contain '/'.")
	}
	if in.EventSourceName != nil {
		return nil, &types.ResourceNotFoundException{Message: new("Event source " + *in.EventSourceName + " does not exist.")}
	}
	now := time.Now().UTC()
	b := bus{Description: in.Description, KmsKey: in.KmsKeyIdentifier, DeadLetter: in.DeadLetterConfig, Log: in.LogConfig, Tags: tagMap(in.Tags), Created: now, Modified: now}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, ok, err := buses.Get(tx, busKey(c.Region, *in.Name)); err != nil || ok || *in.Name == defaultBus {
			if err == nil {
				err = &types.ResourceAlreadyExistsException{Message: new("Event bus " + *in.Name + " already exists.")}
			}
			return err
		}
		return buses.Put(tx, busKey(c.Region, *in.Name), b)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.CreateEventBusOutput{EventBusArn: new(s.busARN(c.Region, *in.Name)), Description: b.Description, KmsKeyIdentifier: b.KmsKey, DeadLetterConfig: b.DeadLetter, LogConfig: b.Log}, nil
}

// DescribeEventBus describes a bus, by default the default one.
func (s *Service) DescribeEventBus(ctx context.Context, in *sdk.DescribeEventBusInput) (*sdk.DescribeEventBusOutput, error) {
	region, name := wire.CallOf(ctx).Region, busOf(in.Name)
	var b bus
	err := s.DB.View(func(tx *store.Tx) (err error) {
		b, err = loadBus(tx, region, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &sdk.DescribeEventBusOutput{Arn: new(s.busARN(region, name)), Name: &name, Description: b.Description, KmsKeyIdentifier: b.KmsKey, DeadLetterConfig: b.DeadLetter, LogConfig: b.Log}
	if !b.Created.IsZero() {
		out.CreationTime, out.LastModifiedTime = &b.Created, &b.Modified
	}
	if b.Policy != "" {
		out.Policy = &b.Policy
	}
	return out, nil
}

func (s *Service) changeBus(ctx context.Context, name string, f func(*bus) error) error {
	region := wire.CallOf(ctx).Region
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		b, err := loadBus(tx, region, name)
		if err != nil {
			return err
		}
		if err := f(&b); err != nil {
			return err
		}
		b.Modified = time.Now().UTC()
		return buses.Put(tx, busKey(region, name), b)
	})
}

// UpdateEventBus changes what is given.
func (s *Service) UpdateEventBus(ctx context.Context, in *sdk.UpdateEventBusInput) (*sdk.UpdateEventBusOutput, error) {
	name := busOf(in.Name)
	out := &sdk.UpdateEventBusOutput{Arn: new(s.busARN(wire.CallOf(ctx).Region, name)), Name: &name}
	return out, s.changeBus(ctx, name, func(b *bus) error {
		if in.Description != nil {
			b.Description = in.Description
		}
		if in.KmsKeyIdentifier != nil {
			b.KmsKey = in.KmsKeyIdentifier
		}
		if in.DeadLetterConfig != nil {
			b.DeadLetter = in.DeadLetterConfig
		}
		if in.LogConfig != nil {
			b.Log = in.LogConfig
		}
		out.Description, out.KmsKeyIdentifier, out.DeadLetterConfig, out.LogConfig = b.Description, b.KmsKey, b.DeadLetter, b.Log
		return nil
	})
}

// DeleteEventBus deletes a bus without rules; a missing one is no error.
func (s *Service) DeleteEventBus(ctx context.Context, in *sdk.DeleteEventBusInput) (*sdk.DeleteEventBusOutput, error) {
	region, name := wire.CallOf(ctx).Region, busOf(in.Name)
	if name == defaultBus {
		return nil, invalid("Cannot delete event bus default.")
	}
	return &sdk.DeleteEventBusOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		for _, err := range rules.Prefix(tx, ruleKey(region, name, "")) {
			if err != nil {
				return err
			}
			return invalid("Event bus can't be deleted since it has rules.")
		}
		return buses.Delete(tx, busKey(region, name))
	})
}

// ListEventBuses lists the region's buses.
func (s *Service) ListEventBuses(ctx context.Context, in *sdk.ListEventBusesInput) (*sdk.ListEventBusesOutput, error) {
	region := wire.CallOf(ctx).Region
	var all []types.EventBus
	err := s.DB.View(func(tx *store.Tx) error {
		hasDefault := false
		for r, err := range buses.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			name := r.Key[len(region)+1:]
			hasDefault = hasDefault || name == defaultBus
			if !hasDefault && name > defaultBus {
				all, hasDefault = append(all, s.listed(region, defaultBus, bus{})), true
			}
			all = append(all, s.listed(region, name, r.Value))
		}
		if !hasDefault {
			all = append(all, s.listed(region, defaultBus, bus{}))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if in.NamePrefix != nil {
		kept := all[:0]
		for _, b := range all {
			if strings.HasPrefix(*b.Name, *in.NamePrefix) {
				kept = append(kept, b)
			}
		}
		all = kept
	}
	items, next, err := page(all, func(b types.EventBus) string { return *b.Name }, in.Limit, in.NextToken)
	return &sdk.ListEventBusesOutput{EventBuses: items, NextToken: next}, err
}

func (s *Service) listed(region, name string, b bus) types.EventBus {
	e := types.EventBus{Name: &name, Arn: new(s.busARN(region, name)), Description: b.Description}
	if b.Policy != "" {
		e.Policy = &b.Policy
	}
	if !b.Created.IsZero() {
		e.CreationTime, e.LastModifiedTime = &b.Created, &b.Modified
	}
	return e
}

// A busPolicy is a resource policy with its statements as they came.
type busPolicy struct {
	Version   string            `json:"Version"`
	Statement []json.RawMessage `json:"Statement"`
}

// PutPermission sets a bus's policy, or adds one statement to it.
func (s *Service) PutPermission(ctx context.Context, in *sdk.PutPermissionInput) (*sdk.PutPermissionOutput, error) {
	name := busOf(in.EventBusName)
	return &sdk.PutPermissionOutput{}, s.changeBus(ctx, name, func(b *bus) error {
		var doc string
		switch {
		case in.Policy != nil:
			doc = *in.Policy
		case in.StatementId == nil || in.Principal == nil || in.Action == nil:
			return invalid("Parameter StatementId, Principal and Action are required if no Policy is given.")
		default:
			st := map[string]any{
				"Sid": *in.StatementId, "Effect": "Allow", "Action": *in.Action, "Resource": s.busARN(wire.CallOf(ctx).Region, name),
				"Principal": map[string]string{"AWS": "arn:aws:iam::" + *in.Principal + ":root"},
			}
			if *in.Principal == "*" {
				st["Principal"] = "*"
			}
			if c := in.Condition; c != nil && c.Type != nil && c.Key != nil && c.Value != nil {
				st["Condition"] = map[string]any{*c.Type: map[string]string{*c.Key: *c.Value}}
			}
			raw, err := json.Marshal(st)
			if err != nil {
				return err
			}
			p := b.without(*in.StatementId)
			p.Statement = append(p.Statement, raw)
			text, err := json.Marshal(p)
			if err != nil {
				return err
			}
			doc = string(text)
		}
		if _, err := authz.Parse(doc); err != nil {
			return invalid("Parameter Policy is not valid. Reason: " + err.Error())
		}
		if len(doc) > 10240 {
			return &types.PolicyLengthExceededException{Message: new("The event bus policy is too long.")}
		}
		b.Policy = doc
		return nil
	})
}

// without is the bus's policy without the statement of that id.
func (b *bus) without(sid string) busPolicy {
	p := busPolicy{Version: "2012-10-17"}
	_ = json.Unmarshal([]byte(b.Policy), &p) // checked when it was put; "" has no statements
	var kept []json.RawMessage
	for _, st := range p.Statement {
		var id struct{ Sid string }
		if json.Unmarshal(st, &id) == nil && id.Sid != sid {
			kept = append(kept, st)
		}
	}
	p.Statement = kept
	return p
}

// RemovePermission removes one statement of a bus's policy, or all.
func (s *Service) RemovePermission(ctx context.Context, in *sdk.RemovePermissionInput) (*sdk.RemovePermissionOutput, error) {
	return &sdk.RemovePermissionOutput{}, s.changeBus(ctx, busOf(in.EventBusName), func(b *bus) error {
		if in.RemoveAllPermissions {
			b.Policy = ""
			return nil
		}
		if in.StatementId == nil || b.Policy == "" {
			return &types.ResourceNotFoundException{Message: new("EventBus does not have a policy.")}
		}
		p := b.without(*in.StatementId)
		if len(p.Statement) == 0 {
			b.Policy = ""
			return nil
		}
		text, err := json.Marshal(p)
		b.Policy = string(text)
		return err
	})
}
