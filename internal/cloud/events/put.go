package events

import (
	"context"
	"encoding/json"
	"errors"
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

// putsEvents are the accesses of PutEvents: every bus that an entry goes to. A
// service of AWS needs nobody's leave to tell the default bus about itself.
func (s *Service) putsEvents(c *wire.Call, in *sdk.PutEventsInput) (all []authz.Access) {
	own := ""
	if name, isService := strings.CutSuffix(c.Principal.Service, ".amazonaws.com"); isService && c.Principal.Type == authz.Service {
		own = "aws." + name
	}
	for _, e := range in.Entries {
		if own != "" && e.Source != nil && *e.Source == own && busOf(e.EventBusName) == defaultBus {
			continue
		}
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
	maxEntries = 1 << 20 // bytes of all entries of a request, since January 2026
	second     = "2006-01-02T15:04:05Z"
)

// sizeOf is an entry's size as the limit counts it.
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html
func sizeOf(e types.PutEventsRequestEntry) (n int) {
	for _, p := range []*string{e.Source, e.DetailType, e.Detail} {
		if p != nil {
			n += len(*p)
		}
	}
	for _, r := range e.Resources {
		n += len(r)
	}
	if e.Time != nil {
		n += 14
	}
	return n
}

// compact writes v as JSON with its texts as they are: encoding/json alone
// would escape "<", ">" and "&" for the sake of HTML.
func compact(v any) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

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

// An arrival is an accepted event on its way to the rules.
type arrival struct {
	entry int // its place in the request
	bus   string
	id    string
	text  string
	value any // the text, decoded for patterns
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
	var accepted []arrival
	total := 0
	for i, e := range in.Entries {
		total += sizeOf(e)
		env, code, text := s.check(c.Region, e, c.Principal.Type == authz.Service)
		if code != "" {
			refuse(i, code, text)
			continue
		}
		a, err := arrive(env)
		if err != nil {
			return nil, err
		}
		a.entry, a.bus = i, busOf(e.EventBusName)
		accepted = append(accepted, a)
	}
	if total > maxEntries {
		return nil, invalid("Total size of the entries in the request is over the limit.")
	}
	if len(accepted) == 0 {
		return out, nil
	}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		for _, a := range accepted {
			if _, err := loadBus(tx, c.Region, a.bus); errors.As(err, new(*types.ResourceNotFoundException)) {
				refuse(a.entry, "ResourceNotFoundException", "Event bus "+a.bus+" does not exist.")
				continue
			} else if err != nil {
				return err
			}
			if err := s.route(tx, c.Region, a); err != nil {
				return err
			}
			out.Entries[a.entry] = types.PutEventsResultEntry{EventId: &a.id}
		}
		return nil
	})
}

func arrive(env envelope) (arrival, error) {
	text, err := compact(env)
	if err != nil {
		return arrival{}, fmt.Errorf("write event: %w", err)
	}
	v, err := pattern.Decode([]byte(text))
	return arrival{id: env.ID, text: text, value: v}, err
}

// route sends an event to the targets of all rules of the bus that it matches.
func (s *Service) route(tx *store.Tx, region string, a arrival) error {
	for r, err := range s.rules.Prefix(tx, ruleKey(region, a.bus, "")) {
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
		if !p.MatchValue(a.value) {
			continue
		}
		if err := s.fanOut(tx, r.Key, a.id, a.text); err != nil {
			return err
		}
	}
	return nil
}

// fanOut sets off the deliveries of an event to all targets of a rule.
func (s *Service) fanOut(tx *store.Tx, rule, id, text string) error {
	for t, err := range s.targets.Prefix(tx, rule+"\x00") {
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
