package dynamodb

import (
	"context"
	"encoding/binary"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"miniforge/internal/cloud/dynamodb/expr"
	"miniforge/internal/cloud/store"
)

// Scan reads a table or an index from end to end, or one segment of it.
func (s *Service) Scan(ctx context.Context, in *sdk.ScanInput) (*sdk.ScanOutput, error) {
	q := question{limit: int(deref(in.Limit)), consistent: deref(in.ConsistentRead), capacity: in.ReturnConsumedCapacity}
	q.selects = selected(in.Select, in.IndexName, in.ProjectionExpression, in.AttributesToGet)
	if err := q.readScan(in); err != nil {
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
	base := q.base(a)
	q.from, q.to = base, store.PrefixEnd(base)
	if in.TotalSegments != nil {
		q.from, q.to = segment(base, *in.Segment, *in.TotalSegments)
	}
	if in.ExclusiveStartKey != nil {
		key, err := q.startKey(a, in.ExclusiveStartKey)
		if err != nil {
			return nil, err
		}
		row := q.row(a, key)
		if row < q.from || q.to != "" && row >= q.to {
			return nil, invalid("The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey with correct Segment. TotalSegments: %d Segment: %d",
				deref(in.TotalSegments), deref(in.Segment))
		}
		q.after(row)
	}
	r, err := s.ask(a, q)
	if err != nil {
		return nil, err
	}
	return &sdk.ScanOutput{Items: r.items, Count: r.count, ScannedCount: r.scanned, LastEvaluatedKey: r.last, ConsumedCapacity: r.capacity}, nil
}

// readScan reads all parameters of a scan that need no table.
func (q *question) readScan(in *sdk.ScanInput) (err error) {
	var old, expressions []string
	note := func(list *[]string, name string, is bool) {
		if is {
			*list = append(*list, name)
		}
	}
	note(&old, "AttributesToGet", in.AttributesToGet != nil)
	note(&old, "ScanFilter", in.ScanFilter != nil)
	note(&old, "ConditionalOperator", in.ConditionalOperator != "")
	note(&expressions, "ProjectionExpression", in.ProjectionExpression != nil)
	note(&expressions, "FilterExpression", in.FilterExpression != nil)
	if len(old) > 0 && len(expressions) > 0 {
		return mixed(old, expressions)
	}
	switch {
	case in.Segment != nil && in.TotalSegments == nil:
		return invalid("The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
	case in.Segment == nil && in.TotalSegments != nil:
		return invalid("The Segment parameter is required but was not present in the request when parameter TotalSegments is present")
	case in.Segment != nil && *in.Segment >= *in.TotalSegments:
		return invalid("The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: %d is not less than TotalSegments: %d", *in.Segment, *in.TotalSegments)
	}
	sc, err := scope(in.ExpressionAttributeNames, in.ExpressionAttributeValues,
		given{expr.FilterExpression, in.FilterExpression, true}, given{expr.ProjectionExpression, in.ProjectionExpression, false})
	if err != nil {
		return err
	}
	if err := q.readRest(sc, in.FilterExpression, in.ProjectionExpression, in.AttributesToGet); err != nil {
		return err
	}
	if in.ScanFilter != nil || in.ConditionalOperator != "" {
		if q.filter, err = expr.Filter(in.ScanFilter, in.ConditionalOperator); err != nil {
			return err
		}
	}
	return checkSelect(in.Select, in.IndexName, in.ProjectionExpression, in.AttributesToGet)
}

// segment is an equal part of all hashes of partition keys.
func segment(base string, n, total int32) (from, to string) {
	bound := func(i int32) string {
		return base + string(binary.BigEndian.AppendUint32(nil, uint32(uint64(i)<<32/uint64(total)))) //nolint:gosec // 0 <= i < total
	}
	if n+1 == total {
		return bound(n), store.PrefixEnd(base)
	}
	return bound(n), bound(n + 1)
}
