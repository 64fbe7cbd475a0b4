package dynamodb

import (
	"context"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/expr"
	"miniforge/internal/cloud/store"
)

// A transactGet is one item that a transaction reads.
type transactGet struct {
	*access
	place      string
	projection *expr.Projection
}

// TransactGetItems reads up to 100 items of one moment.
func (s *Service) TransactGetItems(ctx context.Context, in *sdk.TransactGetItemsInput) (*sdk.TransactGetItemsOutput, error) {
	opened := map[string]*access{}
	meters := map[*access]*meter{}
	var order []*meter
	gets := make([]transactGet, len(in.TransactItems))
	seen := map[string]bool{}
	for i, t := range in.TransactItems {
		g, err := s.transactGet(ctx, opened, t.Get, i)
		if r, ok := asCancelled(err); ok && g.access != nil {
			reasons := make([]types.CancellationReason, len(in.TransactItems))
			reasons[i] = r
			return nil, cancelled(reasons)
		}
		if err != nil {
			return nil, err
		}
		if _, ok := meters[g.access]; !ok {
			meters[g.access] = g.meters(in.ReturnConsumedCapacity).transactional()
			order = append(order, meters[g.access])
		}
		if seen[g.prefix+g.place] {
			return nil, invalid("Transaction request cannot include multiple operations on one item")
		}
		seen[g.prefix+g.place] = true
		gets[i] = g
	}
	out := &sdk.TransactGetItemsOutput{Responses: make([]types.ItemResponse, len(gets))}
	err := s.DB.View(func(tx *store.Tx) error {
		for i, g := range gets {
			item, err := g.get(tx, g.place)
			if err != nil {
				return err
			}
			meters[g.access].read(nil, sizeOf(item), true)
			if item != nil && g.projection != nil {
				item = g.projection.Apply(item)
			}
			out.Responses[i].Item = item
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.ConsumedCapacity = totals(order)
	return out, nil
}

// transactGet reads one part of a request. An error about the key, which
// cancels the transaction, comes with the table.
func (s *Service) transactGet(ctx context.Context, opened map[string]*access, g *types.Get, i int) (out transactGet, err error) {
	missing := func(m string) error {
		return invalid("1 validation error detected: Value null at 'transactItems.%d.member.get%s' failed to satisfy constraint: Member must not be null", i+1, m)
	}
	switch {
	case g == nil:
		return out, missing("")
	case g.Key == nil:
		return out, missing(".key")
	case g.TableName == nil:
		return out, missing(".tableName")
	}
	if out.projection, err = projection(g.ProjectionExpression, nil, g.ExpressionAttributeNames); err != nil {
		return out, err
	}
	a, err := s.opened(ctx, opened, g.TableName)
	if err != nil {
		return out, err
	}
	out.access = a
	key, err := a.checkKey(g.Key)
	if err == nil {
		out.place = a.place(key)
	}
	return out, err
}
