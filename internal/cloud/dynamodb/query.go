package dynamodb

import (
	"context"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/dynamodb/expr"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerReads(api *wire.API) {
	const indexRule = `IndexName 3..255 [a-zA-Z0-9_.-]+`
	const selectRule = "Select ALL_ATTRIBUTES|ALL_PROJECTED_ATTRIBUTES|SPECIFIC_ATTRIBUTES|COUNT"
	wire.Handle(api, s.Query, wire.Members(tableRule, indexRule, selectRule, "Limit 1..", "AttributesToGet 1..", operatorRule, capacityRule),
		wire.Needs(s.queryAccess))
	wire.Handle(api, s.Scan, wire.Members(tableRule, indexRule, selectRule, "Limit 1..", "AttributesToGet 1..", operatorRule, capacityRule,
		"TotalSegments 1..1000000", "Segment 0..999999"),
		touches(s, func(in *sdk.ScanInput) touch {
			return touch{
				table: in.TableName, index: in.IndexName, scan: true, selects: string(selected(in.Select, in.IndexName, in.ProjectionExpression, in.AttributesToGet)),
				attributes: in.AttributesToGet, expressions: condensed(in.FilterExpression, in.ProjectionExpression), names: in.ExpressionAttributeNames,
			}
		}))
}

// A question is what Query and Scan have in common.
type question struct {
	walk
	filter     expr.Condition
	projection *expr.Projection
	selects    types.Select
	limit      int // evaluated items; 0: none but maxRead
	consistent bool
	capacity   types.ReturnConsumedCapacity
}

// maxRead is how many bytes one Query or Scan reads.
const maxRead = 1 << 20

// An answer is what Query and Scan find.
type answer struct {
	items    []map[string]types.AttributeValue
	count    int32
	scanned  int32
	last     attr.Item
	capacity *types.ConsumedCapacity
}

// selected is the Select that a request means.
func selected(given types.Select, index, projection *string, attributes []string) types.Select {
	switch {
	case given != "":
		return given
	case projection != nil || attributes != nil:
		return types.SelectSpecificAttributes
	case index != nil:
		return types.SelectAllProjectedAttributes
	}
	return types.SelectAllAttributes
}

// checkSelect refuses a Select that does not go with what is projected.
func checkSelect(given types.Select, index, projection *string, attributes []string) error {
	parameter := ""
	switch {
	case projection != nil:
		parameter = "ProjectionExpression"
	case attributes != nil:
		parameter = "AttributesToGet"
	}
	switch {
	case given == types.SelectAllProjectedAttributes && index == nil:
		return invalidValue("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
	case given == types.SelectSpecificAttributes && parameter == "":
		return invalidValue("Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES")
	case given == "" || given == types.SelectSpecificAttributes || parameter == "":
		return nil
	case given == types.SelectCount:
		return invalid("Cannot specify the %s when choosing to get only the Count", parameter)
	}
	return invalid("Cannot specify the %s when choosing to get %s", parameter, given)
}

// useIndex checks what an index can answer.
func (a *access) useIndex(name string, selects types.Select, consistent bool) (*index, error) {
	ix := a.index(name)
	switch {
	case ix == nil:
		return nil, invalid("The table does not have the specified index: %s", name)
	case ix.Backfilling:
		return nil, invalid("Cannot read from backfilling global secondary index: %s", name)
	case !ix.Local && consistent:
		return nil, invalid("Consistent reads are not supported on global secondary indexes")
	case !ix.Local && selects == types.SelectAllAttributes && ix.Projection != types.ProjectionTypeAll:
		return nil, invalidValue("Select type ALL_ATTRIBUTES is not supported for global secondary index %s because its projection type is not ALL", name)
	}
	return ix, nil
}

// checkProjection refuses attributes that a global index does not hold.
func (a *access) checkProjection(ix *index, paths []expr.Path) error {
	if ix == nil || ix.Local || ix.Projection == types.ProjectionTypeAll {
		return nil
	}
	held := slices.Concat(a.Schema.names(), ix.Schema.names(), ix.NonKey)
	for _, p := range paths {
		if !slices.Contains(held, p.Top()) {
			return invalidValue("Global secondary index %s does not project [%s]", ix.Name, p.Top())
		}
	}
	return nil
}

// queryAccess is the access of a query; its partition key is in its condition.
func (s *Service) queryAccess(c *wire.Call, in *sdk.QueryInput) []authz.Access {
	t := touch{
		action: c.Op, table: in.TableName, index: in.IndexName, selects: string(selected(in.Select, in.IndexName, in.ProjectionExpression, in.AttributesToGet)),
		attributes:  in.AttributesToGet,
		expressions: condensed(in.KeyConditionExpression, in.FilterExpression, in.ProjectionExpression), names: in.ExpressionAttributeNames,
	}
	if tests, err := keyTests(in, nil); err == nil {
		key := attr.Item{}
		for _, k := range tests {
			if k.Op == "=" {
				key[k.Name] = k.Values[0]
			}
		}
		t.keys = []attr.Item{key}
	}
	return []authz.Access{s.access(c, t)}
}

// keyTests reads the key condition of a query.
func keyTests(in *sdk.QueryInput, sc *expr.Scope) (tests []expr.KeyTest, err error) {
	if in.KeyConditionExpression == nil {
		if in.KeyConditions == nil {
			return nil, invalid("Either the KeyConditions or KeyConditionExpression parameter must be specified in the request.")
		}
		return expr.KeyConditions(in.KeyConditions)
	}
	if sc == nil {
		if sc, err = expr.NewScope(in.ExpressionAttributeNames, in.ExpressionAttributeValues); err != nil {
			return nil, err
		}
	}
	return sc.KeyCondition(*in.KeyConditionExpression)
}

// Query finds the items of one partition key, in the order of their sort key.
func (s *Service) Query(ctx context.Context, in *sdk.QueryInput) (*sdk.QueryOutput, error) {
	q := question{limit: int(deref(in.Limit)), consistent: deref(in.ConsistentRead), capacity: in.ReturnConsumedCapacity}
	q.selects = selected(in.Select, in.IndexName, in.ProjectionExpression, in.AttributesToGet)
	tests, err := q.readQuery(in)
	if err != nil {
		return nil, err
	}
	a, err := s.openFor(ctx, in.TableName)
	if err != nil {
		return nil, err
	}
	if in.IndexName != nil {
		if q.index, err = a.useIndex(*in.IndexName, q.selects, q.consistent); err != nil {
			return nil, err
		}
	}
	if err := q.between(a, tests, deref(in.ScanIndexForward) || in.ScanIndexForward == nil); err != nil {
		return nil, err
	}
	if err := q.checkFilter(a, in.QueryFilter != nil); err != nil {
		return nil, err
	}
	if in.ExclusiveStartKey != nil {
		if err := q.startAfter(a, in.ExclusiveStartKey, tests); err != nil {
			return nil, err
		}
	}
	r, err := s.ask(a, q)
	if err != nil {
		return nil, err
	}
	return &sdk.QueryOutput{Items: r.items, Count: r.count, ScannedCount: r.scanned, LastEvaluatedKey: r.last, ConsumedCapacity: r.capacity}, nil
}

// readQuery reads all parameters of a query that need no table.
func (q *question) readQuery(in *sdk.QueryInput) (tests []expr.KeyTest, err error) {
	if err := queryMix(in); err != nil {
		return nil, err
	}
	sc, err := scope(in.ExpressionAttributeNames, in.ExpressionAttributeValues,
		given{expr.FilterExpression, in.FilterExpression, true}, given{expr.KeyConditionExpression, in.KeyConditionExpression, true},
		given{expr.ProjectionExpression, in.ProjectionExpression, false})
	if err != nil {
		return nil, err
	}
	if tests, err = keyTests(in, sc); err != nil {
		return nil, err
	}
	if err := q.readRest(sc, in.FilterExpression, in.ProjectionExpression, in.AttributesToGet); err != nil {
		return nil, err
	}
	if in.QueryFilter != nil || in.ConditionalOperator != "" {
		if q.filter, err = expr.Filter(in.QueryFilter, in.ConditionalOperator); err != nil {
			return nil, err
		}
	}
	return tests, checkSelect(in.Select, in.IndexName, in.ProjectionExpression, in.AttributesToGet)
}

func queryMix(in *sdk.QueryInput) error {
	var old, expressions []string
	note := func(list *[]string, name string, is bool) {
		if is {
			*list = append(*list, name)
		}
	}
	note(&old, "AttributesToGet", in.AttributesToGet != nil)
	note(&old, "QueryFilter", in.QueryFilter != nil)
	note(&old, "ConditionalOperator", in.ConditionalOperator != "")
	note(&old, "KeyConditions", in.KeyConditions != nil)
	note(&expressions, "ProjectionExpression", in.ProjectionExpression != nil)
	note(&expressions, "FilterExpression", in.FilterExpression != nil)
	note(&expressions, "KeyConditionExpression", in.KeyConditionExpression != nil)
	if len(old) > 0 && len(expressions) > 0 {
		return mixed(old, expressions)
	}
	return nil
}

// readRest reads filter and projection, and ends the scope.
func (q *question) readRest(sc *expr.Scope, filter, projection *string, attributes []string) (err error) {
	if filter != nil {
		if q.filter, err = sc.Condition(expr.FilterExpression, *filter); err != nil {
			return err
		}
	}
	switch {
	case projection != nil:
		if q.projection, err = sc.Projection(*projection); err != nil {
			return err
		}
	case attributes != nil:
		if q.projection, err = expr.Attributes(attributes); err != nil {
			return err
		}
	}
	return sc.Done()
}

// checkFilter refuses what only a key condition may be about.
func (q *question) checkFilter(a *access, legacy bool) error {
	parameter := "Filter Expression"
	if legacy {
		parameter = "QueryFilter"
	}
	names := a.schemaOf(q.index).names()
	for _, p := range q.filter.Paths() {
		if slices.Contains(names, p.Top()) {
			return invalid("%s can only contain non-primary key attributes: Primary key attribute: %s", parameter, p.Top())
		}
	}
	return nil
}

func (a *access) schemaOf(ix *index) schema {
	if ix != nil {
		return ix.Schema
	}
	return a.Schema
}
