package sqs

import (
	"context"
	"crypto/md5" //nolint:gosec // SQS's digests are MD5 by definition
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/wire"
)

// A content is what of a message is secret.
type content struct {
	Body       string
	Attributes map[string]types.MessageAttributeValue `json:",omitempty"`
	Trace      string                                 `json:",omitempty"` // AWSTraceHeader
}

// A sealer makes messages of contents under one data key.
type sealer struct {
	key   *envelope.Key
	under map[string]string
}

// sealer asks KMS, in the caller's name, for a data key if the queue has a KMS
// key. Like SQS it has the key decrypted, too, before it is used: a sender
// needs both kms:GenerateDataKey and kms:Decrypt.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
func (s *Service) sealer(ctx context.Context, queueKey string, q queue) (sealer, error) {
	id := q.kmsKey()
	if id == "" {
		return sealer{}, nil
	}
	under := map[string]string{"aws:sqs:arn": s.arn(queueKey)}
	as := wire.CallOf(ctx).As("sqs")
	k, err := envelope.NewKey(ctx, s.Caller, as, id, under)
	if err == nil {
		k, err = envelope.Unwrap(ctx, s.Caller, as, under, k.Wrapped)
	}
	if err != nil {
		return sealer{}, kmsError(err)
	}
	return sealer{k, under}, nil
}

func (z sealer) seal(m *message, c content) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	if m.Content = b; z.key != nil {
		m.Content, m.Wrap, m.Under = z.key.Seal(b, []byte(m.ID)), z.key.Wrapped, z.under
	}
	return nil
}

// opener opens messages that the caller received together. It asks KMS, in the
// caller's name, once for every data key among them.
func (s *Service) opener(ctx context.Context) func(message) (content, error) {
	keys := map[string]*envelope.Key{}
	return func(m message) (c content, err error) {
		b := m.Content
		if m.Wrap != nil {
			k := keys[string(m.Wrap)]
			if k == nil {
				if k, err = envelope.Unwrap(ctx, s.Caller, wire.CallOf(ctx).As("sqs"), m.Under, m.Wrap); err != nil {
					return c, kmsError(err)
				}
				keys[string(m.Wrap)] = k
			}
			if b, err = k.Open(b, []byte(m.ID)); err != nil {
				return c, fmt.Errorf("open message %s: %w", m.ID, err)
			}
		}
		if err := json.Unmarshal(b, &c); err != nil {
			return c, fmt.Errorf("read message %s: %w", m.ID, err)
		}
		return c, nil
	}
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s)) //nolint:gosec // see above
	return hex.EncodeToString(sum[:])
}

// md5OfAttributes is the digest that clients check.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html#sqs-attributes-md5-message-digest-calculation
func md5OfAttributes(attrs map[string]types.MessageAttributeValue) *string {
	if len(attrs) == 0 {
		return nil
	}
	var b []byte
	add := func(p []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p))) //nolint:gosec // far below the limit
		b = append(b, p...)
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		a := attrs[name]
		add([]byte(name))
		add([]byte(*a.DataType))
		if strings.HasPrefix(*a.DataType, "Binary") {
			b = append(b, 2)
			add(a.BinaryValue)
			continue
		}
		b = append(b, 1)
		add([]byte(*a.StringValue))
	}
	return new(md5Hex(string(b)))
}

var attributeName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// check judges a message's body and attributes and returns their size in bytes.
func check(body *string, attrs map[string]types.MessageAttributeValue) (size int, err error) {
	if body == nil {
		return 0, wire.Errorf("MissingParameter", "The request must contain the parameter MessageBody.")
	}
	if *body == "" {
		return 0, wire.Errorf("MissingParameter", "The request must contain the parameter MessageBody.")
	}
	if !utf8.ValidString(*body) || strings.IndexFunc(*body, forbidden) >= 0 {
		return 0, &types.InvalidMessageContents{Message: new("Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF")}
	}
	if len(attrs) > 10 {
		return 0, invalidParameter(fmt.Sprintf("Number of message attributes [%d] exceeds the allowed maximum [10].", len(attrs)))
	}
	for name, a := range attrs {
		if len(name) > 256 || !attributeName.MatchString(name) || strings.HasPrefix(strings.ToLower(name), "aws.") || strings.HasPrefix(strings.ToLower(name), "amazon.") {
			return 0, invalidParameter("The message attribute name '" + name + "' is invalid.")
		}
		if a.DataType == nil || *a.DataType == "" {
			return 0, invalidParameter("The message attribute '" + name + "' must contain non-empty message attribute type.")
		}
		kind, _, _ := strings.Cut(*a.DataType, ".")
		switch {
		case kind != "String" && kind != "Number" && kind != "Binary":
			return 0, invalidParameter("The message attribute '" + name + "' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.")
		case kind == "Binary" && len(a.BinaryValue) == 0, kind != "Binary" && (a.StringValue == nil || *a.StringValue == ""):
			return 0, invalidParameter("Message (user) attribute '" + name + "' must contain a non-empty value of type '" + kind + "'.")
		}
	}
	return len(*body) + sizeOf(attrs), nil
}

// sizeOf is what attributes count against the limit of a message.
func sizeOf(attrs map[string]types.MessageAttributeValue) (n int) {
	for name, a := range attrs {
		n += len(name) + len(a.BinaryValue)
		for _, p := range []*string{a.DataType, a.StringValue} {
			if p != nil {
				n += len(*p)
			}
		}
	}
	return n
}

// forbidden are the characters that XML 1.0 does not have.
func forbidden(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
}

// wanted picks the message attributes that a receiver asks for: by name, by
// "prefix.*", or all.
func wanted(attrs map[string]types.MessageAttributeValue, names []string) map[string]types.MessageAttributeValue {
	out := map[string]types.MessageAttributeValue{}
	for name, a := range attrs {
		if slices.ContainsFunc(names, func(w string) bool {
			prefix, star := strings.CutSuffix(w, "*")
			return w == "All" || w == name || star && strings.HasPrefix(name, strings.TrimSuffix(prefix, "."))
		}) {
			out[name] = a
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
