package main

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/orderdb"
)

// table evaluates the few forms of expressions that the processor uses, and
// refuses all others, so that a new form cannot pass unnoticed:
//
//	conditions  attribute_exists(p), attribute_not_exists(p), p = :v, p <> :v; AND
//	updates     SET p = :v, p = if_not_exists(p, :v)
type table struct {
	mu    sync.Mutex
	items map[string]orderdb.Item
	err   error
}

func (d *table) update(in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
	key := in.Key["order_id"].(*types.AttributeValueMemberS).Value
	old := d.items[key]
	for part := range strings.SplitSeq(*in.ConditionExpression, " AND ") {
		if !holds(old, in, part) {
			return nil, &types.ConditionalCheckFailedException{Item: old}
		}
	}
	next := maps.Clone(old)
	if next == nil {
		next = maps.Clone(in.Key)
	}
	sets := strings.TrimPrefix(*in.UpdateExpression, "SET ")
	for part := range strings.SplitSeq(strings.ReplaceAll(sets, ", :", ",:"), ", ") {
		path, value, _ := strings.Cut(part, " = ")
		if rest, ok := strings.CutPrefix(value, "if_not_exists("); ok {
			if find(old, in, path) != nil {
				continue
			}
			_, value, _ = strings.Cut(strings.TrimSuffix(rest, ")"), ",")
		}
		set(next, name(in, path), operand(in, value))
	}
	d.items[key] = next
	return &dynamodb.UpdateItemOutput{Attributes: maps.Clone(next)}, nil
}

func holds(item orderdb.Item, in *dynamodb.UpdateItemInput, part string) bool {
	if rest, ok := strings.CutPrefix(part, "attribute_exists("); ok {
		return find(item, in, strings.TrimSuffix(rest, ")")) != nil
	}
	if rest, ok := strings.CutPrefix(part, "attribute_not_exists("); ok {
		return find(item, in, strings.TrimSuffix(rest, ")")) == nil
	}
	if path, value, ok := strings.Cut(part, " <> "); ok {
		return !reflect.DeepEqual(find(item, in, path), operand(in, value))
	}
	if path, value, ok := strings.Cut(part, " = "); ok {
		return reflect.DeepEqual(find(item, in, path), operand(in, value))
	}
	panic(fmt.Sprintf("condition %q is not understood", part))
}

func name(in *dynamodb.UpdateItemInput, path string) string {
	if full, ok := in.ExpressionAttributeNames[path]; ok {
		return full
	}
	return path
}

func operand(in *dynamodb.UpdateItemInput, text string) types.AttributeValue {
	v, ok := in.ExpressionAttributeValues[text]
	if !ok {
		panic(fmt.Sprintf("operand %q is not understood", text))
	}
	return v
}

func find(item orderdb.Item, in *dynamodb.UpdateItemInput, path string) types.AttributeValue {
	first, rest, deep := strings.Cut(name(in, path), ".")
	v := item[first]
	if m, ok := v.(*types.AttributeValueMemberM); ok && deep {
		return m.Value[rest]
	}
	if deep {
		return nil
	}
	return v
}

func set(item orderdb.Item, path string, value types.AttributeValue) {
	first, rest, deep := strings.Cut(path, ".")
	if !deep {
		item[first] = value
		return
	}
	inner := maps.Clone(item[first].(*types.AttributeValueMemberM).Value)
	inner[rest] = value
	item[first] = &types.AttributeValueMemberM{Value: inner}
}
