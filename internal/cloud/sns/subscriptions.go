package sns

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event/pattern"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// subscriptions are keyed by ARN, which starts with the topic's.
const subscriptions = store.Table[subscription]("sns.subscriptions")

type subscription struct {
	Protocol   string
	Endpoint   string
	Attributes map[string]string
	Principal  string // who subscribed
}

func topicOf(subscription string) string {
	return subscription[:max(0, strings.LastIndexByte(subscription, ':'))]
}

func (s *Service) registerSubscriptions(api *wire.API) {
	wire.Handle(api, s.Subscribe, wire.Members("TopicArn!", "Protocol!"), wire.Needs(func(_ *wire.Call, in *sdk.SubscribeInput) []authz.Access {
		a := judge("Subscribe", *in.TopicArn)
		a[0].Context = map[string][]string{"sns:Protocol": {*in.Protocol}}
		if in.Endpoint != nil {
			a[0].Context["sns:Endpoint"] = []string{*in.Endpoint}
		}
		return a
	}))
	wire.Handle(api, s.Unsubscribe, wire.Members("SubscriptionArn!"), wire.Needs(func(_ *wire.Call, in *sdk.UnsubscribeInput) []authz.Access {
		return judge("Unsubscribe", topicOf(*in.SubscriptionArn))
	}))
	wire.Handle(api, s.ConfirmSubscription, wire.Members("TopicArn!", "Token!"), onTopic(func(in *sdk.ConfirmSubscriptionInput) *string { return in.TopicArn }))
	wire.Handle(api, s.GetSubscriptionAttributes, wire.Members("SubscriptionArn!"), wire.Needs(func(_ *wire.Call, in *sdk.GetSubscriptionAttributesInput) []authz.Access {
		return judge("GetSubscriptionAttributes", topicOf(*in.SubscriptionArn))
	}))
	wire.Handle(api, s.SetSubscriptionAttributes, wire.Members("SubscriptionArn!", "AttributeName!"), wire.Needs(func(_ *wire.Call, in *sdk.SetSubscriptionAttributesInput) []authz.Access {
		return judge("SetSubscriptionAttributes", topicOf(*in.SubscriptionArn))
	}))
	wire.Handle(api, s.ListSubscriptions)
	wire.Handle(api, s.ListSubscriptionsByTopic, wire.Members("TopicArn!"), onTopic(func(in *sdk.ListSubscriptionsByTopicInput) *string { return in.TopicArn }))
}

// checkEndpoint refuses protocols that would leave this machine.
func checkEndpoint(protocol string, endpoint *string, fifo bool) error {
	switch protocol {
	case "sqs", "lambda":
	case "http", "https", "email", "email-json", "sms", "application", "firehose":
		return invalid("Protocol", "the embedded cloud delivers to queues and functions only, not by "+protocol)
	default:
		return &types.InvalidParameterException{Message: new("Invalid parameter: Amazon SNS does not support this protocol string: " + protocol)}
	}
	service := ":" + protocol + ":"
	if endpoint == nil || !strings.HasPrefix(*endpoint, "arn:") || !strings.Contains(*endpoint, service) {
		name := map[string]string{"sqs": "SQS", "lambda": "Lambda"}[protocol]
		return invalid("Endpoint", name+" endpoint ARN")
	}
	if protocol == "sqs" && strings.HasSuffix(*endpoint, ".fifo") && !fifo {
		return invalid("Endpoint", "FIFO SQS Queues can not be subscribed to standard SNS topics")
	}
	return nil
}

func checkAttribute(name, v string) error {
	bad := func(reason string) error { return invalid("Attributes", name+": "+reason) }
	switch name {
	case "RawMessageDelivery":
		if v != "true" && v != "false" {
			return bad("Invalid value [" + v + "]. Must be true or false.")
		}
	case "FilterPolicy":
		_, err := compile(v)
		return err
	case "FilterPolicyScope":
		if v != "MessageAttributes" && v != "MessageBody" {
			return bad("Invalid value [" + v + "]. Please use either MessageBody or MessageAttributes")
		}
	case "RedrivePolicy":
		if v == "" {
			return nil
		}
		var r redrive
		if json.Unmarshal([]byte(v), &r) != nil || !strings.HasPrefix(r.Target, "arn:aws:sqs:") {
			return bad("deadLetterTargetArn is an invalid arn")
		}
	case "DeliveryPolicy", "SubscriptionRoleArn", "ReplayPolicy":
	default:
		return invalid("AttributeName", "")
	}
	return nil
}

type redrive struct {
	Target string `json:"deadLetterTargetArn"`
}

func (sub subscription) deadLetters() string {
	var r redrive
	_ = json.Unmarshal([]byte(sub.Attributes["RedrivePolicy"]), &r) // checked when it was set; "" is none
	return r.Target
}

const maxFilterKeys = 5

// compile reads a filter policy; "" is none.
func compile(v string) (*pattern.Pattern, error) {
	if v == "" || v == "{}" {
		return nil, nil
	}
	p, err := pattern.Compile(v)
	if bad, ok := errors.AsType[*pattern.InvalidError](err); ok {
		return nil, invalid("Attributes", "FilterPolicy: "+bad.Reason)
	}
	var keys map[string]json.RawMessage
	if json.Unmarshal([]byte(v), &keys) == nil && len(keys) > maxFilterKeys {
		return nil, invalid("Attributes", "FilterPolicy: Filter policy can not have more than 5 keys")
	}
	return p, err
}

// Subscribe adds a subscription, confirmed at once as for every endpoint in
// the topic's own account. The same endpoint again returns the one there is.
func (s *Service) Subscribe(ctx context.Context, in *sdk.SubscribeInput) (*sdk.SubscribeOutput, error) {
	if _, ok := s.regionOf(*in.TopicArn); !ok {
		return nil, invalid("TopicArn", "")
	}
	for _, name := range slices.Sorted(maps.Keys(in.Attributes)) {
		if err := checkAttribute(name, in.Attributes[name]); err != nil {
			return nil, err
		}
	}
	arn := *in.TopicArn + ":" + uuid.NewString()
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		t, err := loadTopic(tx, *in.TopicArn)
		if err != nil {
			return err
		}
		if err := checkEndpoint(*in.Protocol, in.Endpoint, t.fifo()); err != nil {
			return err
		}
		for r, err := range subscriptions.Prefix(tx, *in.TopicArn+":") {
			if err != nil {
				return err
			}
			if r.Value.Protocol == *in.Protocol && r.Value.Endpoint == *in.Endpoint {
				if !maps.Equal(r.Value.Attributes, in.Attributes) && len(in.Attributes) > 0 {
					return invalid("Attributes", "Subscription already exists with different attributes")
				}
				arn = r.Key
				return nil
			}
		}
		return subscriptions.Put(tx, arn, subscription{*in.Protocol, *in.Endpoint, in.Attributes, wire.CallOf(ctx).Principal.ARN})
	})
	return &sdk.SubscribeOutput{SubscriptionArn: &arn}, err
}

// Unsubscribe removes a subscription; a missing one is no error.
func (s *Service) Unsubscribe(ctx context.Context, in *sdk.UnsubscribeInput) (*sdk.UnsubscribeOutput, error) {
	if _, ok := s.regionOf(topicOf(*in.SubscriptionArn)); !ok {
		return nil, invalid("SubscriptionArn", "")
	}
	return &sdk.UnsubscribeOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, ok, err := subscriptions.Get(tx, *in.SubscriptionArn); err != nil || !ok {
			return err
		}
		if t, ok, err := topics.Get(tx, topicOf(*in.SubscriptionArn)); err != nil || ok {
			if t.Deleted++; err == nil {
				err = topics.Put(tx, topicOf(*in.SubscriptionArn), t)
			}
			if err != nil {
				return err
			}
		}
		return subscriptions.Delete(tx, *in.SubscriptionArn)
	})
}

// ConfirmSubscription finds nothing to confirm: every subscription is confirmed from the start.
func (s *Service) ConfirmSubscription(_ context.Context, in *sdk.ConfirmSubscriptionInput) (*sdk.ConfirmSubscriptionOutput, error) {
	if err := s.DB.View(func(tx *store.Tx) error {
		_, err := loadTopic(tx, *in.TopicArn)
		return err
	}); err != nil {
		return nil, err
	}
	return nil, invalid("Token", "Invalid token")
}

// GetSubscriptionAttributes describes a subscription.
func (s *Service) GetSubscriptionAttributes(_ context.Context, in *sdk.GetSubscriptionAttributesInput) (*sdk.GetSubscriptionAttributesOutput, error) {
	out := map[string]string{}
	err := s.DB.View(func(tx *store.Tx) error {
		sub, ok, err := subscriptions.Get(tx, *in.SubscriptionArn)
		if err == nil && !ok {
			err = &types.NotFoundException{Message: new("Subscription does not exist")}
		}
		maps.Copy(out, map[string]string{
			"SubscriptionArn": *in.SubscriptionArn, "TopicArn": topicOf(*in.SubscriptionArn), "Owner": s.Account, "Protocol": sub.Protocol, "Endpoint": sub.Endpoint,
			"ConfirmationWasAuthenticated": "true", "PendingConfirmation": "false", "RawMessageDelivery": "false", "SubscriptionPrincipal": sub.Principal,
		})
		maps.Copy(out, sub.Attributes)
		if out["FilterPolicy"] != "" && out["FilterPolicyScope"] == "" {
			out["FilterPolicyScope"] = "MessageAttributes"
		}
		return err
	})
	return &sdk.GetSubscriptionAttributesOutput{Attributes: out}, err
}

// SetSubscriptionAttributes sets one attribute; no value removes it.
func (s *Service) SetSubscriptionAttributes(ctx context.Context, in *sdk.SetSubscriptionAttributesInput) (*sdk.SetSubscriptionAttributesOutput, error) {
	v := ""
	if in.AttributeValue != nil {
		v = *in.AttributeValue
	}
	if err := checkAttribute(*in.AttributeName, v); err != nil {
		return nil, err
	}
	return &sdk.SetSubscriptionAttributesOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		sub, ok, err := subscriptions.Get(tx, *in.SubscriptionArn)
		if err == nil && !ok {
			err = &types.NotFoundException{Message: new("Subscription does not exist")}
		}
		if err != nil {
			return err
		}
		attrs := map[string]string{}
		maps.Copy(attrs, sub.Attributes)
		if attrs[*in.AttributeName] = v; v == "" {
			delete(attrs, *in.AttributeName)
		}
		sub.Attributes = attrs
		return subscriptions.Put(tx, *in.SubscriptionArn, sub)
	})
}

func (s *Service) list(prefix string, token *string) (items []types.Subscription, next *string, err error) {
	from, err := decodeToken(token)
	if err != nil {
		return nil, nil, err
	}
	items = []types.Subscription{}
	err = s.DB.View(func(tx *store.Tx) error {
		for r, err := range subscriptions.Range(tx, max(from, prefix), store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			if len(items) == pageSize {
				next = encodeToken(*items[pageSize-1].SubscriptionArn)
				return nil
			}
			items = append(items, types.Subscription{
				SubscriptionArn: new(r.Key), TopicArn: new(topicOf(r.Key)), Owner: &s.Account, Protocol: new(r.Value.Protocol), Endpoint: new(r.Value.Endpoint),
			})
		}
		return nil
	})
	return items, next, err
}

// ListSubscriptions lists the region's subscriptions.
func (s *Service) ListSubscriptions(ctx context.Context, in *sdk.ListSubscriptionsInput) (*sdk.ListSubscriptionsOutput, error) {
	items, next, err := s.list(wire.CallOf(ctx).ARN("sns", ""), in.NextToken)
	return &sdk.ListSubscriptionsOutput{Subscriptions: items, NextToken: next}, err
}

// ListSubscriptionsByTopic lists a topic's subscriptions.
func (s *Service) ListSubscriptionsByTopic(_ context.Context, in *sdk.ListSubscriptionsByTopicInput) (*sdk.ListSubscriptionsByTopicOutput, error) {
	if err := s.DB.View(func(tx *store.Tx) error {
		_, err := loadTopic(tx, *in.TopicArn)
		return err
	}); err != nil {
		return nil, err
	}
	items, next, err := s.list(*in.TopicArn+":", in.NextToken)
	return &sdk.ListSubscriptionsByTopicOutput{Subscriptions: items, NextToken: next}, err
}
