package events

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/event/pattern"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// An envelope is an event as rules see it and targets get it.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/aws-events.html
type envelope struct {
	Version    string          `json:"version"`
	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Time       string          `json:"time"`
	Region     string          `json:"region"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`
}

// putsEvents are the accesses of PutEvents: every bus that an entry goes to.
func (s *Service) putsEvents(c *wire.Call, in *sdk.PutEventsInput) (all []authz.Access) {
	for _, e := range in.Entries {
		a := authz.Access{Action: "events:PutEvents", Resource: c.ARN("events", "event-bus/"+busOf(e.EventBusName)), Context: map[string][]string{}}
		if e.Source != nil {
			a.Context["events:source"] = []string{*e.Source}
		}
		if e.DetailType != nil {
			a.Context["events:detail-type"] = []string{*e.DetailType}
		}
		all = append(all, a)
	}
	return all
}

const (
	maxEntry = 1 << 20 // bytes, since January 2026
	second   = "2006-01-02T15:04:05Z"
)

// check reads one entry; a refusal is named in the entry's own result.
func (s *Service) check(region string, e types.PutEventsRequestEntry, trusted bool) (env envelope, code, text string) {
	missing := func(name string) string {
		return "Parameter " + name + " is not valid. Reason: " + name + " is a required argument."
	}
	empty := func(p *string) bool { return p == nil || *p == "" }
	switch {
	case empty(e.Source):
		return env, "InvalidArgument", missing("Source")
	case empty(e.DetailType):
		return env, "InvalidArgument", missing("DetailType")
	case empty(e.Detail):
		return env, "InvalidArgument", missing("Detail")
	case strings.HasPrefix(*e.Source, "aws.") && !trusted:
		return env, "NotAuthorizedForSourceException", "Not authorized for the source."
	}
	var detail map[string]any
	if json.Unmarshal([]byte(*e.Detail), &detail) != nil || detail == nil {
		return env, "MalformedDetail", "Detail is malformed."
	}
	size := len(*e.Source) + len(*e.DetailType) + len(*e.Detail)
	for _, r := range e.Resources {
		size += len(r)
	}
	if size > maxEntry {
		return env, "InvalidArgument", "The entry is too large."
	}
	at := time.Now()
	if e.Time != nil {
		at = *e.Time
	}
	env = envelope{
		Version: "0", ID: uuid.NewString(), DetailType: *e.DetailType, Source: *e.Source, Account: s.Account,
		Time: at.UTC().Format(second), Region: region, Resources: e.Resources, Detail: json.RawMessage(*e.Detail),
	}
	if env.Resources == nil {
		env.Resources = []string{}
	}
	return env, "", ""
}

// PutEvents accepts events: in one transaction each sets off its deliveries to
// the targets of every rule that it matches.
func (s *Service) PutEvents(ctx context.Context, in *sdk.PutEventsInput) (*sdk.PutEventsOutput, error) {
	c := wire.CallOf(ctx)
	out := &sdk.PutEventsOutput{Entries: make([]types.PutEventsResultEntry, len(in.Entries))}
	refuse := func(i int, code, text string) {
		out.Entries[i] = types.PutEventsResultEntry{ErrorCode: &code, ErrorMessage: &text}
		out.FailedEntryCount++
	}
	accepted := map[int]envelope{}
	total := 0
	for i, e := range in.Entries {
		env, code, text := s.check(c.Region, e, c.Principal.Type == authz.Service)
		if code != "" {
			refuse(i, code, text)
			continue
		}
		accepted[i], total = env, total+len(env.Detail)
	}
	if total > maxEntry {
		return nil, invalid("Total size of the entries in the request is over the limit.")
	}
	if len(accepted) == 0 {
		return out, nil
	}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		for i := range in.Entries {
			env, ok := accepted[i]
			if !ok {
				continue
			}
			name := busOf(in.Entries[i].EventBusName)
			if _, err := loadBus(tx, c.Region, name); err != nil {
				refuse(i, "ResourceNotFoundException", "Event bus "+name+" does not exist.")
				continue
			}
			if err := s.route(tx, c.Region, name, env); err != nil {
				return err
			}
			out.Entries[i] = types.PutEventsResultEntry{EventId: new(env.ID)}
		}
		return nil
	})
}

// route sends an event to the targets of all rules of the bus that it matches.
func (s *Service) route(tx *store.Tx, region, busName string, env envelope) error {
	text, err := json.Marshal(env)
	if err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	v, err := pattern.Decode(text)
	if err != nil {
		return err
	}
	for r, err := range rules.Prefix(tx, ruleKey(region, busName, "")) {
		if err != nil {
			return err
		}
		if r.Value.Pattern == "" || r.Value.State == types.RuleStateDisabled {
			continue
		}
		p, err := s.compile(r.Value.Pattern)
		if err != nil {
			return err
		}
		if p.MatchValue(v) {
			if err := s.fanOut(tx, r.Key, env.ID, text); err != nil {
				return err
			}
		}
	}
	return nil
}

// fanOut sets off the deliveries of an event to all targets of a rule.
func (s *Service) fanOut(tx *store.Tx, rule, id string, text []byte) error {
	for t, err := range targets.Prefix(tx, rule+"\x00") {
		if err != nil {
			return err
		}
		body, err := json.Marshal(delivery{Target: t.Key, Event: text})
		if err != nil {
			return fmt.Errorf("write delivery: %w", err)
		}
		if err := s.Tasks.Send(tx, event.Task{Kind: deliverKind, ID: id + "\x00" + t.Key, Body: body}); err != nil {
			return err
		}
	}
	return nil
}
