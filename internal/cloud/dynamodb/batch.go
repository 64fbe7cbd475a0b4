package dynamodb

import (
	"context"
	"errors"
	"maps"
	"slices"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/dynamodb/expr"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Limits of batches.
const (
	maxBatchWrites = 25
	maxBatchGets   = 100
	maxBatchRead   = 16 << 20 // bytes; the keys of what is beyond go back unprocessed
)

func (s *Service) registerBatches(api *wire.API) {
	wire.Handle(api, s.BatchWriteItem, wire.Members("RequestItems! 1..25", capacityRule, metricsRule),
		wire.Needs(func(c *wire.Call, in *sdk.BatchWriteItemInput) (all []authz.Access) {
			for _, name := range slices.Sorted(maps.Keys(in.RequestItems)) {
				t := touch{action: c.Op, table: &name}
				for _, r := range in.RequestItems[name] {
					switch {
					case r.PutRequest != nil:
						t.keys = append(t.keys, r.PutRequest.Item)
						t.attributes = append(t.attributes, namesOf(r.PutRequest.Item)...)
					case r.DeleteRequest != nil:
						t.keys = append(t.keys, r.DeleteRequest.Key)
						t.attributes = append(t.attributes, namesOf(r.DeleteRequest.Key)...)
					}
				}
				all = append(all, s.access(c, t))
			}
			return all
		}))
	wire.Handle(api, s.BatchGetItem, wire.Members("RequestItems! 1..100", capacityRule),
		wire.Needs(func(c *wire.Call, in *sdk.BatchGetItemInput) (all []authz.Access) {
			for _, name := range slices.Sorted(maps.Keys(in.RequestItems)) {
				r := in.RequestItems[name]
				all = append(all, s.access(c, touch{
					action: c.Op, table: &name, keys: r.Keys, attributes: r.AttributesToGet,
					expressions: condensed(r.ProjectionExpression), names: r.ExpressionAttributeNames,
				}))
			}
			return all
		}))
}

var errDuplicates = invalid("Provided list of item keys contains duplicates")

// BatchWriteItem makes up to 25 puts and deletes. Each is atomic by itself;
// here all are written together, so that nothing is ever left unprocessed.
func (s *Service) BatchWriteItem(ctx context.Context, in *sdk.BatchWriteItemInput) (*sdk.BatchWriteItemOutput, error) {
	n := 0
	for name, requests := range in.RequestItems {
		n += len(requests)
		if len(requests) == 0 {
			return nil, invalid("The batch write request list for a table cannot be null or empty")
		}
		for i, r := range requests {
			missing := ""
			switch {
			case (r.PutRequest == nil) == (r.DeleteRequest == nil):
				return nil, invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes")
			case r.PutRequest != nil && r.PutRequest.Item == nil:
				missing = "putRequest.item"
			case r.DeleteRequest != nil && r.DeleteRequest.Key == nil:
				missing = "deleteRequest.key"
			}
			if missing != "" {
				return nil, invalid("1 validation error detected: Value null at 'requestItems.%s.member.%d.member.%s' failed to satisfy constraint: Member must not be null", name, i+1, missing)
			}
		}
	}
	if n > maxBatchWrites {
		return nil, invalid("Too many items requested for the BatchWriteItem call")
	}
	var out *sdk.BatchWriteItemOutput
	err := latest(func() (err error) {
		out, err = s.batchWrite(ctx, in)
		return err
	})
	return out, err
}

func (s *Service) batchWrite(ctx context.Context, in *sdk.BatchWriteItemInput) (*sdk.BatchWriteItemOutput, error) {
	out := &sdk.BatchWriteItemOutput{UnprocessedItems: map[string][]types.WriteRequest{}}
	var writes []*write
	var meters []*meter
	for _, name := range slices.Sorted(maps.Keys(in.RequestItems)) {
		a, err := s.openFor(ctx, &name)
		if err != nil {
			return nil, err
		}
		m := a.meters(in.ReturnConsumedCapacity)
		meters = append(meters, m)
		places := map[string]bool{}
		for _, r := range in.RequestItems[name] {
			w, err := a.batched(r)
			if err != nil {
				return nil, err
			}
			place := a.place(w.key)
			if places[place] {
				return nil, errDuplicates
			}
			places[place] = true
			w.meter = m
			writes = append(writes, w)
			if c := a.collection(in.ReturnItemCollectionMetrics, w.key); c != nil {
				if out.ItemCollectionMetrics == nil {
					out.ItemCollectionMetrics = map[string][]types.ItemCollectionMetrics{}
				}
				out.ItemCollectionMetrics[name] = append(out.ItemCollectionMetrics[name], *c)
			}
		}
	}
	if err := s.commit(ctx, writes...); err != nil {
		return nil, err
	}
	out.ConsumedCapacity = totals(meters)
	return out, nil
}

func (a *access) batched(r types.WriteRequest) (*write, error) {
	if r.PutRequest != nil {
		return a.putting(r.PutRequest.Item)
	}
	return a.deleting(r.DeleteRequest.Key)
}

func totals(meters []*meter) (all []types.ConsumedCapacity) {
	for _, m := range meters {
		if m != nil {
			all = append(all, *m.total())
		}
	}
	return all
}

// A batchGet is what BatchGetItem wants of one table.
type batchGet struct {
	*access
	name       string
	keys       []attr.Item
	places     []string
	projection *expr.Projection
	meter      *meter
	consistent bool
}

// BatchGetItem reads up to 100 items of several tables.
func (s *Service) BatchGetItem(ctx context.Context, in *sdk.BatchGetItemInput) (*sdk.BatchGetItemOutput, error) {
	n := 0
	for name, r := range in.RequestItems {
		n += len(r.Keys)
		if len(r.Keys) == 0 {
			return nil, invalid("1 validation error detected: Value '[]' at 'requestItems.%s.member.keys' failed to satisfy constraint: Member must have length greater than or equal to 1", name)
		}
	}
	if n > maxBatchGets {
		return nil, invalid("Too many items requested for the BatchGetItem call")
	}
	var gets []*batchGet
	var meters []*meter
	for _, name := range slices.Sorted(maps.Keys(in.RequestItems)) {
		g, err := s.batchGet(ctx, name, in.RequestItems[name])
		if err != nil {
			return nil, err
		}
		g.meter = g.meters(in.ReturnConsumedCapacity)
		gets, meters = append(gets, g), append(meters, g.meter)
	}
	out := &sdk.BatchGetItemOutput{Responses: map[string][]map[string]types.AttributeValue{}, UnprocessedKeys: map[string]types.KeysAndAttributes{}}
	size := 0
	err := s.DB.View(func(tx *store.Tx) error {
		for _, g := range gets {
			if err := g.read(tx, in.RequestItems[g.name], out, &size); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out.ConsumedCapacity = totals(meters)
	return out, nil
}

func (s *Service) batchGet(ctx context.Context, name string, r types.KeysAndAttributes) (*batchGet, error) {
	p, err := projection(r.ProjectionExpression, r.AttributesToGet, r.ExpressionAttributeNames)
	if err != nil {
		return nil, err
	}
	a, err := s.openFor(ctx, &name)
	if err != nil {
		return nil, err
	}
	g := &batchGet{access: a, name: name, projection: p, consistent: deref(r.ConsistentRead)}
	for _, k := range r.Keys {
		key, err := a.checkKey(k)
		if err != nil {
			return nil, err
		}
		place := a.place(key)
		if slices.Contains(g.places, place) {
			return nil, errDuplicates
		}
		g.keys, g.places = append(g.keys, key), append(g.places, place)
	}
	return g, nil
}

func (g *batchGet) read(tx *store.Tx, r types.KeysAndAttributes, out *sdk.BatchGetItemOutput, size *int) error {
	items := []map[string]types.AttributeValue{}
	for i, place := range g.places {
		if *size >= maxBatchRead {
			r.Keys = g.keys[i:]
			out.UnprocessedKeys[g.name] = r
			break
		}
		item, err := g.get(tx, place)
		if err != nil {
			return err
		}
		g.meter.read(nil, sizeOf(item), g.consistent)
		if item == nil {
			continue
		}
		*size += attr.ItemSize(item)
		if g.projection != nil {
			item = g.projection.Apply(item)
		}
		items = append(items, item)
	}
	out.Responses[g.name] = items
	return nil
}

// asCancelled is the code and text of an error as a reason of cancellation; ok
// is false for errors that are not about one item of a transaction.
func asCancelled(err error) (r types.CancellationReason, ok bool) {
	if e, is := errors.AsType[*types.ConditionalCheckFailedException](err); is {
		return types.CancellationReason{Code: new("ConditionalCheckFailed"), Message: e.Message, Item: e.Item}, true
	}
	if e, is := errors.AsType[*wire.Error](err); is && e.Code == "ValidationException" {
		return types.CancellationReason{Code: new("ValidationError"), Message: &e.Message}, true
	}
	return r, false
}
