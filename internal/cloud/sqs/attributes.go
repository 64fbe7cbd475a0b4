package sqs

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/cloud/authz"
)

// A queue is a queue at rest; its key is region/name.
type queue struct {
	Attributes map[string]string // as set, over the defaults
	Tags       map[string]string `json:",omitempty"`
	Created    time.Time
	Modified   time.Time
	Purged     time.Time `json:",omitzero"`
	Sequence   uint64    `json:",omitempty"` // of the last message of a FIFO queue
}

// A span is the range of a numeric attribute.
type span struct{ min, max int }

var numeric = map[string]span{
	"DelaySeconds": {0, 900}, "MaximumMessageSize": {1024, 1048576}, "MessageRetentionPeriod": {60, 1209600},
	"ReceiveMessageWaitTimeSeconds": {0, 20}, "VisibilityTimeout": {0, 43200}, "KmsDataKeyReusePeriodSeconds": {60, 86400},
}

var defaults = map[string]string{
	"DelaySeconds": "0", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600",
	"ReceiveMessageWaitTimeSeconds": "0", "VisibilityTimeout": "30",
}

var enums = map[string][]string{
	"SqsManagedSseEnabled": {"true", "false"}, "FifoQueue": {"true"}, "ContentBasedDeduplication": {"true", "false"},
	"DeduplicationScope": {"queue", "messageGroup"}, "FifoThroughputLimit": {"perQueue", "perMessageGroupId"},
}

func (q queue) get(name string) string {
	if v, ok := q.Attributes[name]; ok {
		return v
	}
	return defaults[name]
}

func (q queue) number(name string) int {
	n, _ := strconv.Atoi(q.get(name)) // checked when it was set
	return n
}

func (q queue) seconds(name string) time.Duration { return time.Duration(q.number(name)) * time.Second }

func (q queue) fifo() bool { return q.Attributes["FifoQueue"] == "true" }

// kmsKey is the KMS key that messages are encrypted under, or "" for SQS's own
// encryption, which here is the store's seal.
func (q queue) kmsKey() string {
	if k := q.Attributes["KmsMasterKeyId"]; k != "alias/aws/sqs" {
		return k
	}
	return ""
}

// A redrive says where messages go that were received too often.
type redrive struct {
	Target string `json:"deadLetterTargetArn"`
	Max    count  `json:"maxReceiveCount"`
}

// A count is a number that JSON may also give as a text, as SQS allows.
type count int

// UnmarshalJSON implements [json.Unmarshaler].
func (c *count) UnmarshalJSON(b []byte) error {
	n, err := strconv.Atoi(strings.Trim(string(b), `"`))
	*c = count(n)
	return err
}

func (q queue) redrive() (r redrive, ok bool) {
	text := q.Attributes["RedrivePolicy"]
	return r, text != "" && json.Unmarshal([]byte(text), &r) == nil
}

func badValue(name string) error {
	return &types.InvalidAttributeValue{Message: new("Invalid value for the parameter " + name + ".")}
}

// set changes attributes; nothing is changed when one is refused.
func (q *queue) set(attrs map[string]string, creating bool) error {
	next := maps.Clone(q.Attributes)
	if next == nil {
		next = map[string]string{}
	}
	fifo := next["FifoQueue"] == "true" || attrs["FifoQueue"] == "true"
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		v := attrs[name]
		if err := checkAttribute(name, v, fifo, creating, next); err != nil {
			return err
		}
		if v == "" {
			delete(next, name)
		} else {
			next[name] = v
		}
	}
	// One kind of encryption at a time: the one named last wins.
	if attrs["KmsMasterKeyId"] != "" {
		if attrs["SqsManagedSseEnabled"] == "true" {
			return &types.InvalidAttributeValue{Message: new("You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.")}
		}
		next["SqsManagedSseEnabled"] = "false"
	} else if attrs["SqsManagedSseEnabled"] == "true" {
		delete(next, "KmsMasterKeyId")
		delete(next, "KmsDataKeyReusePeriodSeconds")
	}
	q.Attributes = next
	return nil
}

func checkAttribute(name, v string, fifo, creating bool, now map[string]string) error {
	if r, ok := numeric[name]; ok {
		n, err := strconv.Atoi(v)
		if v != "" && (err != nil || n < r.min || n > r.max) {
			return badValue(name)
		}
		return nil
	}
	if allowed, ok := enums[name]; ok {
		return checkEnum(name, v, allowed, fifo, creating, now)
	}
	switch name {
	case "Policy":
		if v != "" {
			if _, err := authz.Parse(v); err != nil {
				return badValue(name)
			}
		}
	case "RedrivePolicy":
		return checkRedrive(v)
	case "RedriveAllowPolicy":
		var p allowPolicy
		if v != "" && (json.Unmarshal([]byte(v), &p) != nil || !slices.Contains([]string{"allowAll", "denyAll", "byQueue"}, p.Permission)) {
			return badValue(name)
		}
	case "KmsMasterKeyId":
		if len(v) > 2048 {
			return badValue(name)
		}
	default:
		return &types.InvalidAttributeName{Message: new("Unknown Attribute " + name + ".")}
	}
	return nil
}

func checkEnum(name, v string, allowed []string, fifo, creating bool, now map[string]string) error {
	switch {
	case name == "FifoQueue" && !creating && now[name] != v:
		return &types.InvalidAttributeValue{Message: new("Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.")}
	case name != "SqsManagedSseEnabled" && !fifo && (name == "DeduplicationScope" || name == "FifoThroughputLimit"):
		return &types.InvalidAttributeName{Message: new("You can specify the " + name + " only when FifoQueue is set to true.")}
	case name != "SqsManagedSseEnabled" && !fifo:
		return &types.InvalidAttributeName{Message: new("Unknown Attribute " + name + ".")}
	case !slices.Contains(allowed, v):
		return badValue(name)
	}
	return nil
}

func checkRedrive(v string) error {
	if v == "" {
		return nil
	}
	var r redrive
	if json.Unmarshal([]byte(v), &r) != nil || r.Max < 1 || r.Max > 1000 {
		return invalidParameter("Value " + v + " for parameter RedrivePolicy is invalid. Reason: Invalid value for maxReceiveCount: valid values are from 1 to 1000 both inclusive.")
	}
	if _, ok := keyOfARN(r.Target); !ok {
		return invalidParameter("Value " + v + " for parameter RedrivePolicy is invalid. Reason: Invalid value for deadLetterTargetArn.")
	}
	return nil
}

// An allowPolicy says which queues may use a queue for dead letters.
type allowPolicy struct {
	Permission string   `json:"redrivePermission"`
	Sources    []string `json:"sourceQueueArns"`
}

// allows tells whether source may use q for dead letters.
func (q queue) allows(source string) bool {
	var p allowPolicy
	if text := q.Attributes["RedriveAllowPolicy"]; text == "" || json.Unmarshal([]byte(text), &p) != nil {
		return true
	}
	return p.Permission == "allowAll" || p.Permission == "byQueue" && slices.Contains(p.Sources, source)
}

var nameText = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func checkName(name string, fifo bool) error {
	base, suffix := strings.CutSuffix(name, ".fifo")
	if len(name) > 80 || !nameText.MatchString(base) || suffix != fifo {
		if fifo && !suffix {
			return invalidParameter("The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length")
		}
		return invalidParameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	return nil
}
