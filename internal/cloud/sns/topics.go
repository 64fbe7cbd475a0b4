package sns

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// topics are keyed by ARN.
const topics = store.Table[topic]("sns.topics")

type topic struct {
	Attributes map[string]string
	Tags       map[string]string `json:",omitempty"`
	Deleted    int               `json:",omitempty"` // subscriptions
	Sequence   uint64            `json:",omitempty"` // of the last message of a FIFO topic
}

func (t topic) fifo() bool { return t.Attributes["FifoTopic"] == "true" }

func (s *Service) registerTopics(api *wire.API) {
	wire.Handle(api, s.CreateTopic, wire.Members("Name!"), wire.On(func(c *wire.Call, in *sdk.CreateTopicInput) []string { return []string{c.ARN("sns", *in.Name)} }))
	wire.Handle(api, s.DeleteTopic, wire.Members("TopicArn!"), onTopic(func(in *sdk.DeleteTopicInput) *string { return in.TopicArn }))
	wire.Handle(api, s.GetTopicAttributes, wire.Members("TopicArn!"), onTopic(func(in *sdk.GetTopicAttributesInput) *string { return in.TopicArn }))
	wire.Handle(api, s.SetTopicAttributes, wire.Members("TopicArn!", "AttributeName!"), onTopic(func(in *sdk.SetTopicAttributesInput) *string { return in.TopicArn }))
	wire.Handle(api, s.ListTopics)
	wire.Handle(api, s.TagResource, wire.Members("ResourceArn!", "Tags!"), onTopic(func(in *sdk.TagResourceInput) *string { return in.ResourceArn }))
	wire.Handle(api, s.UntagResource, wire.Members("ResourceArn!", "TagKeys!"), onTopic(func(in *sdk.UntagResourceInput) *string { return in.ResourceArn }))
	wire.Handle(api, s.ListTagsForResource, wire.Members("ResourceArn!"), onTopic(func(in *sdk.ListTagsForResourceInput) *string { return in.ResourceArn }))
}

var (
	topicName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	// feedback are the attributes of delivery status logging: kept and shown,
	// but no status is logged.
	feedback = regexp.MustCompile(`^(HTTP|Lambda|SQS|Firehose|Application)(Success|Failure)Feedback(RoleArn|SampleRate)$`)
)

func checkTopicAttribute(name, v string, creating bool) error {
	switch name {
	case "Policy":
		if _, err := authz.Parse(v); err != nil && v != "" {
			return invalid("Policy", "Error parsing policy: "+err.Error())
		}
	case "DeliveryPolicy":
		if v != "" && !json.Valid([]byte(v)) {
			return invalid("DeliveryPolicy", "failed to parse JSON.")
		}
	case "DisplayName":
		if len(v) > 100 {
			return invalid("DisplayName", "must be at most 100 characters")
		}
	case "KmsMasterKeyId", "TracingConfig", "ArchivePolicy":
	case "SignatureVersion":
		if v != "1" && v != "2" {
			return invalid("SignatureVersion", "")
		}
	case "FifoTopic":
		if !creating || v != "true" && v != "false" {
			return invalid("AttributeName", "")
		}
	case "ContentBasedDeduplication":
		if v != "true" && v != "false" {
			return invalid("ContentBasedDeduplication", "must be true or false")
		}
	case "FifoThroughputScope":
		if v != "Topic" && v != "MessageGroup" {
			return invalid("FifoThroughputScope", "must be Topic or MessageGroup")
		}
	default:
		if !feedback.MatchString(name) {
			return invalid("AttributeName", "")
		}
	}
	return nil
}

// CreateTopic makes a topic, or returns the one of that name if it is the same.
func (s *Service) CreateTopic(ctx context.Context, in *sdk.CreateTopicInput) (*sdk.CreateTopicOutput, error) {
	c := wire.CallOf(ctx)
	base, suffix := strings.CutSuffix(*in.Name, ".fifo")
	if fifo := in.Attributes["FifoTopic"] == "true"; !topicName.MatchString(base) || fifo != suffix || len(*in.Name) > 256 {
		if fifo && !suffix {
			return nil, invalid("Topic Name", "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters long.")
		}
		return nil, invalid("Topic Name", "")
	}
	for _, name := range slices.Sorted(maps.Keys(in.Attributes)) {
		if err := checkTopicAttribute(name, in.Attributes[name], true); err != nil {
			return nil, err
		}
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	arn := c.ARN("sns", *in.Name)
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		old, ok, err := topics.Get(tx, arn)
		if err != nil {
			return err
		}
		if !ok {
			return topics.Put(tx, arn, topic{Attributes: in.Attributes, Tags: tags})
		}
		for name, v := range in.Attributes {
			if old.Attributes[name] != v {
				return invalid("Attributes", "Topic already exists with different attributes")
			}
		}
		if len(tags) > 0 && !maps.Equal(tags, old.Tags) {
			return invalid("Tags", "Topic already exists with different tags")
		}
		return nil
	})
	return &sdk.CreateTopicOutput{TopicArn: &arn}, err
}

// DeleteTopic deletes a topic with its subscriptions; a missing one is no error.
func (s *Service) DeleteTopic(ctx context.Context, in *sdk.DeleteTopicInput) (*sdk.DeleteTopicOutput, error) {
	if _, ok := s.regionOf(*in.TopicArn); !ok {
		return nil, invalid("TopicArn", "An ARN must have at least 6 elements, not "+strconv.Itoa(len(strings.Split(*in.TopicArn, ":"))))
	}
	return &sdk.DeleteTopicOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		var keys []string
		for r, err := range subscriptions.Prefix(tx, *in.TopicArn+":") {
			if err != nil {
				return err
			}
			keys = append(keys, r.Key)
		}
		for _, k := range keys {
			if err := subscriptions.Delete(tx, k); err != nil {
				return err
			}
		}
		return topics.Delete(tx, *in.TopicArn)
	})
}

func loadTopic(tx *store.Tx, arn string) (topic, error) {
	t, ok, err := topics.Get(tx, arn)
	if err == nil && !ok {
		err = noTopic()
	}
	return t, err
}

// topic is loadTopic for a topic of which no map is to be changed.
func (s *Service) topic(tx *store.Tx, arn string) (topic, error) {
	t, ok, err := s.topics.Get(tx, arn)
	if err == nil && !ok {
		err = noTopic()
	}
	return t, err
}

// policy is the topic's policy, or the one that AWS gives to every topic.
func (t topic) policy(arn, account string) string {
	if p := t.Attributes["Policy"]; p != "" {
		return p
	}
	return `{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},` +
		`"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],` +
		`"Resource":"` + arn + `","Condition":{"StringEquals":{"AWS:SourceOwner":"` + account + `"}}}]}`
}

// defaultDelivery is the delivery policy of a topic that has none: it governs
// HTTP endpoints only.
const defaultDelivery = `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":3,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}`

// GetTopicAttributes describes a topic.
func (s *Service) GetTopicAttributes(_ context.Context, in *sdk.GetTopicAttributesInput) (*sdk.GetTopicAttributesOutput, error) {
	out := map[string]string{}
	err := s.DB.View(func(tx *store.Tx) error {
		t, err := loadTopic(tx, *in.TopicArn)
		if err != nil {
			return err
		}
		confirmed := 0
		for _, err := range subscriptions.Prefix(tx, *in.TopicArn+":") {
			if err != nil {
				return err
			}
			confirmed++
		}
		maps.Copy(out, map[string]string{
			"TopicArn": *in.TopicArn, "Owner": s.Account, "DisplayName": "", "EffectiveDeliveryPolicy": defaultDelivery,
			"SubscriptionsConfirmed": strconv.Itoa(confirmed), "SubscriptionsPending": "0", "SubscriptionsDeleted": strconv.Itoa(t.Deleted),
		})
		maps.Copy(out, t.Attributes)
		out["Policy"] = t.policy(*in.TopicArn, s.Account)
		if t.fifo() && out["ContentBasedDeduplication"] == "" {
			out["ContentBasedDeduplication"] = "false"
		}
		return nil
	})
	return &sdk.GetTopicAttributesOutput{Attributes: out}, err
}

// SetTopicAttributes sets one attribute; no value takes it back to its default.
func (s *Service) SetTopicAttributes(ctx context.Context, in *sdk.SetTopicAttributesInput) (*sdk.SetTopicAttributesOutput, error) {
	v := ""
	if in.AttributeValue != nil {
		v = *in.AttributeValue
	}
	if err := checkTopicAttribute(*in.AttributeName, v, false); err != nil {
		return nil, err
	}
	return &sdk.SetTopicAttributesOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		t, err := loadTopic(tx, *in.TopicArn)
		if err != nil {
			return err
		}
		attrs := map[string]string{}
		maps.Copy(attrs, t.Attributes)
		if attrs[*in.AttributeName] = v; v == "" {
			delete(attrs, *in.AttributeName)
		}
		t.Attributes = attrs
		return topics.Put(tx, *in.TopicArn, t)
	})
}

// ListTopics lists the region's topics, a hundred at a time.
func (s *Service) ListTopics(ctx context.Context, in *sdk.ListTopicsInput) (*sdk.ListTopicsOutput, error) {
	prefix := wire.CallOf(ctx).ARN("sns", "")
	from, err := decodeToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListTopicsOutput{Topics: []types.Topic{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range topics.Range(tx, max(from, prefix), store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			if len(out.Topics) == pageSize {
				out.NextToken = encodeToken(*out.Topics[pageSize-1].TopicArn)
				return nil
			}
			out.Topics = append(out.Topics, types.Topic{TopicArn: new(r.Key)})
		}
		return nil
	})
}
