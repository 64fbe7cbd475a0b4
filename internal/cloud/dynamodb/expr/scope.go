// Package expr is DynamoDB's expression language: conditions, filters, key
// conditions, projections and updates, with the checks and the words of AWS.
//
// Parsing makes a tree; checks walk over it; evaluation walks over it again
// with an item. Other notations of the same meaning only have to make trees.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html
package expr

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/wire"
)

// A Kind is the parameter that an expression came in; messages name it.
type Kind string

// The kinds of expressions.
const (
	ConditionExpression    Kind = "ConditionExpression"
	FilterExpression       Kind = "FilterExpression"
	KeyConditionExpression Kind = "KeyConditionExpression"
	ProjectionExpression   Kind = "ProjectionExpression"
	UpdateExpression       Kind = "UpdateExpression"
)

// maxLength is the longest expression in bytes.
const maxLength = 4096

func invalid(format string, args ...any) error {
	return wire.Errorf("ValidationException", format, args...)
}

func (k Kind) invalid(format string, args ...any) error {
	return invalid("Invalid "+string(k)+": "+format, args...)
}

// A Scope holds the placeholders that the expressions of one request share,
// and remembers which of them were used.
type Scope struct {
	names      map[string]string
	values     attr.Item
	usedNames  map[string]bool
	usedValues map[string]bool
}

// NewScope checks the placeholders of a request. Maps that are nil were not given.
func NewScope(names map[string]string, values attr.Item) (*Scope, error) {
	s := &Scope{names: names, values: make(attr.Item, len(values)), usedNames: map[string]bool{}, usedValues: map[string]bool{}}
	if names != nil && len(names) == 0 {
		return nil, invalid("ExpressionAttributeNames must not be empty")
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		if !placeholder(k, '#') {
			return nil, invalid("ExpressionAttributeNames contains invalid key: Syntax error; key: %q", k)
		}
		if names[k] == "" {
			return nil, invalid("ExpressionAttributeNames contains invalid value: Attribute name must not be empty; key: %s", k)
		}
	}
	if values != nil && len(values) == 0 {
		return nil, invalid("ExpressionAttributeValues must not be empty")
	}
	for k, v := range values {
		if !placeholder(k, ':') {
			return nil, invalid("ExpressionAttributeValues contains invalid key: Syntax error; key: %q", k)
		}
		c, err := attr.Check(v)
		if err != nil {
			text := err.Error()
			if api, ok := errors.AsType[smithy.APIError](err); ok {
				text = api.ErrorMessage()
			}
			return nil, invalid("ExpressionAttributeValues contains invalid value: %s for key %s", text, k)
		}
		s.values[k] = c
	}
	return s, nil
}

func placeholder(k string, sign byte) bool {
	return len(k) > 1 && k[0] == sign && run(k, 1) == len(k)
}

// Done reports placeholders that no expression used. Call it after all
// expressions of the request have been read.
func (s *Scope) Done() error {
	if unused := left(s.names, s.usedNames); unused != "" {
		return invalid("Value provided in ExpressionAttributeNames unused in expressions: keys: {%s}", unused)
	}
	if unused := left(s.values, s.usedValues); unused != "" {
		return invalid("Value provided in ExpressionAttributeValues unused in expressions: keys: {%s}", unused)
	}
	return nil
}

func left[V any](all map[string]V, used map[string]bool) string {
	if len(all) == len(used) {
		return ""
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if !used[k] {
			out = append(out, k)
		}
	}
	return strings.Join(out, ", ")
}
