package dynamodb

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/dynamodb/expr"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Constraints that several operations share.
const (
	tableRule    = "TableName! 1..1024"
	capacityRule = "ReturnConsumedCapacity INDEXES|TOTAL|NONE"
	metricsRule  = "ReturnItemCollectionMetrics SIZE|NONE"
	valuesRule   = "ReturnValues NONE|ALL_OLD|UPDATED_OLD|ALL_NEW|UPDATED_NEW"
	failureRule  = "ReturnValuesOnConditionCheckFailure ALL_OLD|NONE"
	operatorRule = "ConditionalOperator AND|OR"
)

func (s *Service) registerItems(api *wire.API) {
	wire.Handle(api, s.PutItem, wire.Members(tableRule, "Item!", valuesRule, capacityRule, metricsRule, operatorRule, failureRule),
		touches(s, func(in *sdk.PutItemInput) touch {
			return touch{
				table: in.TableName, keys: []attr.Item{in.Item}, attributes: namesOf(in.Item), returns: string(in.ReturnValues),
				expressions: condensed(in.ConditionExpression), names: in.ExpressionAttributeNames,
			}
		}))
	wire.Handle(api, s.UpdateItem, wire.Members(tableRule, "Key!", valuesRule, capacityRule, metricsRule, operatorRule, failureRule),
		touches(s, func(in *sdk.UpdateItemInput) touch {
			return touch{
				table: in.TableName, keys: []attr.Item{in.Key}, attributes: append(namesOf(in.Key), namesOf(in.AttributeUpdates)...), returns: string(in.ReturnValues),
				expressions: condensed(in.UpdateExpression, in.ConditionExpression), names: in.ExpressionAttributeNames,
			}
		}))
	wire.Handle(api, s.DeleteItem, wire.Members(tableRule, "Key!", valuesRule, capacityRule, metricsRule, operatorRule, failureRule),
		touches(s, func(in *sdk.DeleteItemInput) touch {
			return touch{
				table: in.TableName, keys: []attr.Item{in.Key}, attributes: namesOf(in.Key), returns: string(in.ReturnValues),
				expressions: condensed(in.ConditionExpression), names: in.ExpressionAttributeNames,
			}
		}))
	wire.Handle(api, s.GetItem, wire.Members(tableRule, "Key!", "AttributesToGet 1..", capacityRule),
		touches(s, func(in *sdk.GetItemInput) touch {
			t := touch{
				table: in.TableName, keys: []attr.Item{in.Key}, selects: string(types.SelectAllAttributes),
				attributes: in.AttributesToGet, expressions: condensed(in.ProjectionExpression), names: in.ExpressionAttributeNames,
			}
			if len(t.attributes)+len(t.expressions) > 0 {
				t.selects = string(types.SelectSpecificAttributes)
				t.attributes = append(t.attributes, namesOf(in.Key)...)
			}
			return t
		}))
}

// A guard is the condition of a write, however it was put.
type guard struct {
	expression *string
	expected   map[string]types.ExpectedAttributeValue
	operator   types.ConditionalOperator
	names      map[string]string
	values     attr.Item
}

// scope makes the scope of a request with the given expressions.
func scope(names map[string]string, values attr.Item, expressions ...given) (*expr.Scope, error) {
	missing := ""
	none := true
	for _, e := range expressions {
		none = none && e.text == nil
		if e.takesValues {
			if missing != "" {
				missing += " and "
			}
			missing += string(e.kind)
		}
	}
	if none {
		if names != nil {
			return nil, invalid("ExpressionAttributeNames can only be specified when using expressions")
		}
		if values != nil {
			verb := " is null"
			if len(expressions) > 1 {
				verb = " are null"
			}
			return nil, invalid("ExpressionAttributeValues can only be specified when using expressions: %s", missing+verb)
		}
	}
	return expr.NewScope(names, values)
}

// given is an expression parameter of a request.
type given struct {
	kind        expr.Kind
	text        *string
	takesValues bool
}

// condition reads the condition of a put or delete, and ends its scope.
func (g guard) condition() (expr.Condition, error) {
	if g.expected != nil || g.operator != "" {
		if g.expression != nil {
			return expr.Condition{}, mixed([]string{"Expected"}, []string{"ConditionExpression"})
		}
		return expr.Expected(g.expected, g.operator)
	}
	sc, err := scope(g.names, g.values, given{expr.ConditionExpression, g.expression, true})
	if err != nil || g.expression == nil {
		return expr.Condition{}, err
	}
	c, err := sc.Condition(expr.ConditionExpression, *g.expression)
	if err != nil {
		return c, err
	}
	return c, sc.Done()
}

// PutItem writes a whole item.
func (s *Service) PutItem(ctx context.Context, in *sdk.PutItemInput) (*sdk.PutItemOutput, error) {
	if in.ReturnValues != "" && in.ReturnValues != types.ReturnValueNone && in.ReturnValues != types.ReturnValueAllOld {
		return nil, invalid("ReturnValues can only be ALL_OLD or NONE")
	}
	cond, err := guard{in.ConditionExpression, in.Expected, in.ConditionalOperator, in.ExpressionAttributeNames, in.ExpressionAttributeValues}.condition()
	if err != nil {
		return nil, err
	}
	out := &sdk.PutItemOutput{}
	return out, latest(func() error {
		w, err := s.putting(ctx, in.TableName, in.Item)
		if err != nil {
			return err
		}
		w.condition, w.showOld = cond, in.ReturnValuesOnConditionCheckFailure == types.ReturnValuesOnConditionCheckFailureAllOld
		w.meter = w.meters(in.ReturnConsumedCapacity)
		if err := s.commit(ctx, w); err != nil {
			return err
		}
		if in.ReturnValues == types.ReturnValueAllOld {
			out.Attributes = w.old
		}
		out.ConsumedCapacity = w.meter.total()
		out.ItemCollectionMetrics = w.collection(in.ReturnItemCollectionMetrics, w.key)
		return nil
	})
}

// putting prepares the write of a whole item.
func (s *Service) putting(ctx context.Context, table *string, item attr.Item) (*write, error) {
	a, err := s.openFor(ctx, table)
	if err != nil {
		return nil, err
	}
	return a.putting(item)
}

func (a *access) putting(item attr.Item) (*write, error) {
	item, err := a.checkItem(item)
	if err != nil {
		return nil, err
	}
	return &write{access: a, key: a.keyOf(item), next: func(attr.Item) (attr.Item, error) { return item, nil }}, nil
}

// DeleteItem deletes an item; one that is not there is no error.
func (s *Service) DeleteItem(ctx context.Context, in *sdk.DeleteItemInput) (*sdk.DeleteItemOutput, error) {
	if in.ReturnValues != "" && in.ReturnValues != types.ReturnValueNone && in.ReturnValues != types.ReturnValueAllOld {
		return nil, invalid("ReturnValues can only be ALL_OLD or NONE")
	}
	cond, err := guard{in.ConditionExpression, in.Expected, in.ConditionalOperator, in.ExpressionAttributeNames, in.ExpressionAttributeValues}.condition()
	if err != nil {
		return nil, err
	}
	out := &sdk.DeleteItemOutput{}
	return out, latest(func() error {
		a, err := s.openFor(ctx, in.TableName)
		if err != nil {
			return err
		}
		w, err := a.deleting(in.Key)
		if err != nil {
			return err
		}
		w.condition, w.showOld = cond, in.ReturnValuesOnConditionCheckFailure == types.ReturnValuesOnConditionCheckFailureAllOld
		w.meter = w.meters(in.ReturnConsumedCapacity)
		if err := s.commit(ctx, w); err != nil {
			return err
		}
		if in.ReturnValues == types.ReturnValueAllOld {
			out.Attributes = w.old
		}
		out.ConsumedCapacity = w.meter.total()
		out.ItemCollectionMetrics = w.collection(in.ReturnItemCollectionMetrics, w.key)
		return nil
	})
}

func (a *access) deleting(key attr.Item) (*write, error) {
	key, err := a.checkKey(key)
	if err != nil {
		return nil, err
	}
	return &write{access: a, key: key, next: func(attr.Item) (attr.Item, error) { return nil, nil }}, nil
}

// GetItem reads an item. Reads are always consistent.
func (s *Service) GetItem(ctx context.Context, in *sdk.GetItemInput) (*sdk.GetItemOutput, error) {
	p, err := projection(in.ProjectionExpression, in.AttributesToGet, in.ExpressionAttributeNames)
	if err != nil {
		return nil, err
	}
	a, err := s.openFor(ctx, in.TableName)
	if err != nil {
		return nil, err
	}
	key, err := a.checkKey(in.Key)
	if err != nil {
		return nil, err
	}
	var item attr.Item
	if err := s.DB.View(func(tx *store.Tx) (err error) {
		item, err = a.get(tx, a.place(key))
		return err
	}); err != nil {
		return nil, err
	}
	m := a.meters(in.ReturnConsumedCapacity)
	m.read(nil, sizeOf(item), deref(in.ConsistentRead))
	out := &sdk.GetItemOutput{Item: item, ConsumedCapacity: m.total()}
	if p != nil && item != nil {
		out.Item = p.Apply(item)
	}
	return out, nil
}

// get reads the item at a place; nil if there is none.
func (a *access) get(tx *store.Tx, place string) (attr.Item, error) {
	b, ok, err := itemRows.Get(tx, a.prefix+place)
	if err != nil || !ok {
		return nil, err
	}
	return a.item(a.prefix+place, b)
}

// projection reads what part of items a read wants; nil means all.
func projection(expression *string, attributes []string, names map[string]string) (*expr.Projection, error) {
	if attributes != nil {
		if expression != nil {
			return nil, mixed([]string{"AttributesToGet"}, []string{"ProjectionExpression"})
		}
		return expr.Attributes(attributes)
	}
	sc, err := scope(names, nil, given{expr.ProjectionExpression, expression, false})
	if err != nil || expression == nil {
		return nil, err
	}
	p, err := sc.Projection(*expression)
	if err != nil {
		return nil, err
	}
	return p, sc.Done()
}
