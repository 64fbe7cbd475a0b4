package dynamodb

import (
	"context"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/dynamodb/expr"
)

// mixed refuses a request that uses both generations of parameters.
func mixed(old, expressions []string) error {
	return invalid("Can not use both expression and non-expression parameters in the same request: Non-expression parameters: {%s} Expression parameters: {%s}",
		strings.Join(old, ", "), strings.Join(expressions, ", "))
}

// An updating is a parsed update with its condition.
type updating struct {
	update    *expr.Update // nil: the item is only made, if it is not there
	condition expr.Condition
}

// readUpdate reads the expressions of an update.
func readUpdate(update, condition *string, names map[string]string, values attr.Item) (u updating, err error) {
	sc, err := scope(names, values, given{expr.UpdateExpression, update, true}, given{expr.ConditionExpression, condition, true})
	if err != nil {
		return u, err
	}
	if update != nil {
		if u.update, err = sc.Update(*update); err != nil {
			return u, err
		}
	}
	if condition != nil {
		if u.condition, err = sc.Condition(expr.ConditionExpression, *condition); err != nil {
			return u, err
		}
	}
	return u, sc.Done()
}

// UpdateItem changes attributes of an item, and makes the item if need be.
func (s *Service) UpdateItem(ctx context.Context, in *sdk.UpdateItemInput) (*sdk.UpdateItemOutput, error) {
	u, err := updateOf(in)
	if err != nil {
		return nil, err
	}
	out := &sdk.UpdateItemOutput{}
	return out, latest(func() error {
		a, err := s.openFor(ctx, in.TableName)
		if err != nil {
			return err
		}
		w, err := a.updating(in.Key, u)
		if err != nil {
			return err
		}
		w.showOld = in.ReturnValuesOnConditionCheckFailure == types.ReturnValuesOnConditionCheckFailureAllOld
		w.meter = w.meters(in.ReturnConsumedCapacity)
		if err := s.commit(ctx, w); err != nil {
			return err
		}
		out.Attributes = u.returned(in.ReturnValues, w.old, w.new)
		out.ConsumedCapacity = w.meter.total()
		out.ItemCollectionMetrics = w.collection(in.ReturnItemCollectionMetrics, w.key)
		return nil
	})
}

// updateOf reads the update of a request, in expressions or legacy parameters.
func updateOf(in *sdk.UpdateItemInput) (updating, error) {
	if in.AttributeUpdates == nil && in.Expected == nil && in.ConditionalOperator == "" {
		return readUpdate(in.UpdateExpression, in.ConditionExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues)
	}
	var old, expressions []string
	if in.AttributeUpdates != nil {
		old = append(old, "AttributeUpdates")
	}
	if in.Expected != nil {
		old = append(old, "Expected")
	}
	if in.UpdateExpression != nil {
		expressions = append(expressions, "UpdateExpression")
	}
	if in.ConditionExpression != nil {
		expressions = append(expressions, "ConditionExpression")
	}
	if len(expressions) > 0 {
		return updating{}, mixed(old, expressions)
	}
	if _, err := scope(in.ExpressionAttributeNames, in.ExpressionAttributeValues, given{expr.UpdateExpression, nil, true}, given{expr.ConditionExpression, nil, true}); err != nil {
		return updating{}, err
	}
	var u updating
	var err error
	if u.condition, err = expr.Expected(in.Expected, in.ConditionalOperator); err != nil {
		return u, err
	}
	if in.AttributeUpdates != nil {
		u.update, err = expr.Updates(in.AttributeUpdates)
	}
	return u, err
}

// updating prepares the update of an item.
func (a *access) updating(key attr.Item, u updating) (*write, error) {
	key, err := a.checkKey(key)
	if err != nil {
		return nil, err
	}
	if u.update != nil {
		for _, p := range u.update.Paths() {
			if p.Top() == a.Schema.Hash || p.Top() == a.Schema.Range {
				return nil, invalidValue("Cannot update attribute %s. This attribute is part of the key", p.Top())
			}
		}
	}
	return &write{access: a, key: key, condition: u.condition, next: func(old attr.Item) (attr.Item, error) { return a.update(key, u, old) }}, nil
}

// update makes the new item of the old one.
func (a *access) update(key attr.Item, u updating, old attr.Item) (item attr.Item, err error) {
	base := old
	if base == nil {
		base = key
	}
	if u.update == nil {
		return base, nil
	}
	if item, err = u.update.Apply(base); err != nil {
		return nil, err
	}
	for i := range a.Indexes {
		for _, n := range a.Indexes[i].Schema.names() {
			if v, ok := item[n]; ok && attr.Type(v) != a.Attributes[n] {
				return nil, invalidValue("The update expression attempted to update the secondary index key to unsupported type")
			}
		}
	}
	if err := a.checkIndexKeys(item); err != nil {
		return nil, err
	}
	if attr.ItemSize(item) > attr.MaxItem {
		return nil, invalid("Item size to update has exceeded the maximum allowed size")
	}
	return item, nil
}

// returned are the attributes that an update answers with.
func (u updating) returned(asked types.ReturnValue, old, item attr.Item) attr.Item {
	switch asked {
	case types.ReturnValueAllOld:
		return old
	case types.ReturnValueAllNew:
		return item
	case types.ReturnValueUpdatedOld:
		return u.touched(old)
	case types.ReturnValueUpdatedNew:
		return u.touched(item)
	}
	return nil
}

func (u updating) touched(item attr.Item) attr.Item {
	if u.update == nil {
		return nil
	}
	if t := expr.NewProjection(u.update.Paths()).Apply(item); len(t) > 0 {
		return t
	}
	return nil
}
