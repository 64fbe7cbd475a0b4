// Package sns is SNS: topics and subscriptions of queues and functions, with
// filter policies, raw delivery, retries, dead letters and encryption under
// KMS keys.
//
// https://docs.aws.amazon.com/sns/latest/api/Welcome.html
package sns

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
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

// A Service serves the topics of all regions.
type Service struct {
	Options
	topics        memo.Rows[topic] // for what every message asks
	subscriptions memo.Rows[subscription]
}

// New makes the service.
func New(o Options) *Service {
	return &Service{Options: o, topics: memo.Rows[topic]{Table: topics}, subscriptions: memo.Rows[subscription]{Table: subscriptions}}
}

// Register adds the operations and task handlers.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{
		Service: "sns", TagAction: "TagResource", Protocol: wire.Query, Version: "2010-03-31", Namespace: "http://sns.amazonaws.com/doc/2010-03-31/",
		Statuses: map[string]int{"NotFound": http.StatusNotFound, "ResourceNotFound": http.StatusNotFound, "AuthorizationError": http.StatusForbidden},
		Invalid: func(_ string, p []wire.Problem) error {
			return invalid(p[0].Path, p[0].Text)
		},
	})
	s.registerTopics(api)
	s.registerSubscriptions(api)
	s.registerPublish(api)
	q.Handle(deliverKind, 64, s.deliver)
}

func invalid(name, reason string) error {
	text := "Invalid parameter: " + strings.ToUpper(name[:1]) + name[1:]
	if reason != "" {
		text += " Reason: " + reason
	}
	return &types.InvalidParameterException{Message: &text}
}

func noTopic() error { return &types.NotFoundException{Message: new("Topic does not exist")} }

// onTopic judges an operation on the topic it names.
func onTopic[In any](arn func(*In) *string) wire.Option {
	return wire.On(func(_ *wire.Call, in *In) []string {
		if a := arn(in); a != nil && *a != "" {
			return []string{*a}
		}
		return []string{"*"}
	})
}

// regionOf checks that an ARN is one of a topic here.
func (s *Service) regionOf(arn string) (region string, ok bool) {
	p := strings.Split(arn, ":")
	return p[min(3, len(p)-1)], len(p) == 6 && p[2] == "sns" && p[4] == s.Account
}

// kmsError is what SNS makes of KMS's refusals.
// https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
func kmsError(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return err
	}
	text := new(api.ErrorMessage())
	switch api.ErrorCode() {
	case "DisabledException":
		return &types.KMSDisabledException{Message: text}
	case "AccessDeniedException":
		return &types.KMSAccessDeniedException{Message: text}
	case "NotFoundException":
		return &types.KMSNotFoundException{Message: text}
	case "KMSInvalidStateException":
		return &types.KMSInvalidStateException{Message: text}
	}
	return err
}

// PolicyTable is the table that ResourcePolicy reads: while it does not change,
// neither do policies.
const PolicyTable = string(topics)

// ResourcePolicy is the policy of a topic.
func (s *Service) ResourcePolicy(_ context.Context, arn string) (doc string, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		t, ok, err := topics.Get(tx, arn)
		if ok {
			doc = t.policy(arn, s.Account)
		}
		return err
	})
	return doc, err
}

// Tagged lists the topics of a region with their tags.
func (s *Service) Tagged(_ context.Context, region string) (map[string]map[string]string, error) {
	out := map[string]map[string]string{}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range topics.Prefix(tx, "arn:aws:sns:"+region+":") {
			if err != nil {
				return err
			}
			out[r.Key] = r.Value.Tags
		}
		return nil
	})
}

// SetTags changes a topic's tags.
func (s *Service) SetTags(ctx context.Context, arn string, set map[string]string, remove []string) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		t, ok, err := topics.Get(tx, arn)
		if err == nil && !ok {
			err = &types.ResourceNotFoundException{Message: new("Resource does not exist")}
		}
		if err != nil {
			return err
		}
		tags := map[string]string{}
		maps.Copy(tags, t.Tags)
		maps.Copy(tags, set)
		for _, k := range remove {
			delete(tags, k)
		}
		if len(tags) > 50 {
			return &types.TagLimitExceededException{Message: new("Could not complete request: tag quota of per resource exceeded")}
		}
		t.Tags = tags
		return topics.Put(tx, arn, t)
	})
}

// TagResource adds tags to a topic.
func (s *Service) TagResource(ctx context.Context, in *sdk.TagResourceInput) (*sdk.TagResourceOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &sdk.TagResourceOutput{}, s.SetTags(ctx, *in.ResourceArn, tags, nil)
}

// UntagResource removes tags from a topic.
func (s *Service) UntagResource(ctx context.Context, in *sdk.UntagResourceInput) (*sdk.UntagResourceOutput, error) {
	return &sdk.UntagResourceOutput{}, s.SetTags(ctx, *in.ResourceArn, nil, in.TagKeys)
}

// ListTagsForResource lists a topic's tags.
func (s *Service) ListTagsForResource(_ context.Context, in *sdk.ListTagsForResourceInput) (*sdk.ListTagsForResourceOutput, error) {
	out := &sdk.ListTagsForResourceOutput{Tags: []types.Tag{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		t, ok, err := topics.Get(tx, *in.ResourceArn)
		if err == nil && !ok {
			err = &types.ResourceNotFoundException{Message: new("Resource does not exist")}
		}
		for _, k := range slices.Sorted(maps.Keys(t.Tags)) {
			out.Tags = append(out.Tags, types.Tag{Key: new(k), Value: new(t.Tags[k])})
		}
		return err
	})
}

func tagMap(tags []types.Tag) (map[string]string, error) {
	m := map[string]string{}
	for _, t := range tags {
		if t.Key == nil || t.Value == nil || *t.Key == "" {
			return nil, invalid("Tags", "a tag needs a key and a value")
		}
		if _, twice := m[*t.Key]; twice {
			return nil, invalid("Tags", "Duplicated keys are not allowed.")
		}
		m[*t.Key] = *t.Value
	}
	return m, nil
}

// pageSize is the number of items that SNS lists at a time.
const pageSize = 100

func encodeToken(s string) *string { return new(base64.RawURLEncoding.EncodeToString([]byte(s))) }

// decodeToken returns where to go on: after the last item of the page before.
func decodeToken(t *string) (string, error) {
	if t == nil || *t == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*t)
	if err != nil {
		return "", invalid("nextToken", "")
	}
	return string(b) + "\x00", nil
}

// judge makes the access of an operation that IAM knows by another name.
func judge(action, arn string) []authz.Access {
	return []authz.Access{{Action: "sns:" + action, Resource: arn}}
}
