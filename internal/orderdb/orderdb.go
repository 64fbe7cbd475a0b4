// Package orderdb is how orders and stock look in DynamoDB. An item has
// exactly the members of the JSON form of the value it holds, so the names in
// package order are the attribute names.
package orderdb

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Item is a DynamoDB item, or the map inside one.
type Item = map[string]types.AttributeValue

// The key attributes of the two tables.
const (
	OrderKey = "order_id"
	StockKey = "sku"
)

// Marshal turns a value that is a JSON object into an item.
func Marshal(v any) (Item, error) {
	value, err := Value(v)
	if err != nil {
		return nil, err
	}
	m, ok := value.(*types.AttributeValueMemberM)
	if !ok {
		return nil, fmt.Errorf("marshal %T: not an object", v)
	}
	return m.Value, nil
}

// Value turns a value into an attribute value by way of its JSON form.
func Value(v any) (types.AttributeValue, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("marshal %T: %w", v, err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var plain any
	if err := d.Decode(&plain); err != nil {
		return nil, fmt.Errorf("marshal %T: %w", v, err)
	}
	return attribute(plain), nil
}

// Unmarshal reads an item into v, which is a pointer to such a value as
// Marshal takes.
func Unmarshal(item Item, v any) error {
	plain, err := members(item)
	if err != nil {
		return fmt.Errorf("unmarshal %T: %w", v, err)
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return fmt.Errorf("unmarshal %T: %w", v, err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("unmarshal %T: %w", v, err)
	}
	return nil
}

// Key is the key of an item: one string attribute.
func Key(name, value string) Item {
	return Item{name: &types.AttributeValueMemberS{Value: value}}
}

// S is a string as an attribute value.
func S(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

// N is an integer as an attribute value.
func N(n int) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: fmt.Sprint(n)}
}

func attribute(plain any) types.AttributeValue {
	switch v := plain.(type) {
	case nil:
		return &types.AttributeValueMemberNULL{Value: true}
	case bool:
		return &types.AttributeValueMemberBOOL{Value: v}
	case json.Number:
		return &types.AttributeValueMemberN{Value: v.String()}
	case string:
		return &types.AttributeValueMemberS{Value: v}
	case []any:
		list := make([]types.AttributeValue, len(v))
		for i, e := range v {
			list[i] = attribute(e)
		}
		return &types.AttributeValueMemberL{Value: list}
	case map[string]any:
		m := make(Item, len(v))
		for name, e := range v {
			m[name] = attribute(e)
		}
		return &types.AttributeValueMemberM{Value: m}
	default: // encoding/json decodes into nothing else
		panic(fmt.Sprintf("attribute of %T", plain))
	}
}

func members(item Item) (map[string]any, error) {
	m := make(map[string]any, len(item))
	for name, value := range item {
		v, err := plain(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		m[name] = v
	}
	return m, nil
}

func plain(value types.AttributeValue) (any, error) {
	switch v := value.(type) {
	case *types.AttributeValueMemberNULL:
		return nil, nil
	case *types.AttributeValueMemberBOOL:
		return v.Value, nil
	case *types.AttributeValueMemberN:
		return json.Number(v.Value), nil
	case *types.AttributeValueMemberS:
		return v.Value, nil
	case *types.AttributeValueMemberL:
		list := make([]any, len(v.Value))
		for i, e := range v.Value {
			var err error
			if list[i], err = plain(e); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return list, nil
	case *types.AttributeValueMemberM:
		return members(v.Value)
	default:
		return nil, fmt.Errorf("unexpected attribute type %T", value)
	}
}
