package dynamodb

import (
	"context"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// maxTransaction is the total size of the items of a transaction.
const maxTransaction = 4 << 20

func (s *Service) registerTransactions(api *wire.API) {
	wire.Handle(api, s.TransactWriteItems, wire.Members("TransactItems! 1..100", capacityRule, metricsRule, "ClientRequestToken 1..36"),
		wire.Needs(s.transactWriteAccess))
	wire.Handle(api, s.TransactGetItems, wire.Members("TransactItems! 1..100", capacityRule),
		wire.Needs(func(c *wire.Call, in *sdk.TransactGetItemsInput) (all []authz.Access) {
			for _, t := range in.TransactItems {
				if g := t.Get; g != nil {
					all = append(all, s.access(c, touch{
						action: "GetItem", enclosing: c.Op, table: g.TableName, keys: []attr.Item{g.Key},
						expressions: condensed(g.ProjectionExpression), names: g.ExpressionAttributeNames,
					}))
				}
			}
			return all
		}))
}

// transactWriteAccess judges each part of a transaction by the operation that
// would do it alone.
func (s *Service) transactWriteAccess(c *wire.Call, in *sdk.TransactWriteItemsInput) (all []authz.Access) {
	for _, t := range in.TransactItems {
		p, err := part(t)
		if err != nil {
			continue // the operation will say so
		}
		all = append(all, s.access(c, touch{
			action: p.action, enclosing: c.Op, table: p.table, keys: []attr.Item{p.key}, attributes: namesOf(p.key),
			expressions: condensed(p.update, p.condition), names: p.names,
		}))
	}
	return all
}

// A transactPart is one of the four things that a transaction can do to an item.
type transactPart struct {
	action            string
	table             *string
	key               attr.Item // or the whole item that is put
	update, condition *string
	names             map[string]string
	values            attr.Item
	showOld           bool
}

func part(t types.TransactWriteItem) (p transactPart, err error) {
	n := 0
	const all = types.ReturnValuesOnConditionCheckFailureAllOld
	if x := t.ConditionCheck; x != nil {
		n++
		p = transactPart{"ConditionCheckItem", x.TableName, x.Key, nil, x.ConditionExpression, x.ExpressionAttributeNames, x.ExpressionAttributeValues, x.ReturnValuesOnConditionCheckFailure == all}
	}
	if x := t.Put; x != nil {
		n++
		p = transactPart{"PutItem", x.TableName, x.Item, nil, x.ConditionExpression, x.ExpressionAttributeNames, x.ExpressionAttributeValues, x.ReturnValuesOnConditionCheckFailure == all}
	}
	if x := t.Update; x != nil {
		n++
		p = transactPart{"UpdateItem", x.TableName, x.Key, x.UpdateExpression, x.ConditionExpression, x.ExpressionAttributeNames, x.ExpressionAttributeValues, x.ReturnValuesOnConditionCheckFailure == all}
	}
	if x := t.Delete; x != nil {
		n++
		p = transactPart{"DeleteItem", x.TableName, x.Key, nil, x.ConditionExpression, x.ExpressionAttributeNames, x.ExpressionAttributeValues, x.ReturnValuesOnConditionCheckFailure == all}
	}
	if n != 1 {
		return p, invalid("TransactItems can only contain one of Check, Put, Update or Delete")
	}
	return p, nil
}

// member is the name of the part in the request, for messages.
func (p transactPart) member() string {
	return map[string]string{"ConditionCheckItem": "conditionCheck", "PutItem": "put", "UpdateItem": "update", "DeleteItem": "delete"}[p.action]
}

// required checks the members that the model requires.
func (p transactPart) required(i int) error {
	missing := func(m string) error {
		return invalid("1 validation error detected: Value null at 'transactItems.%d.member.%s.%s' failed to satisfy constraint: Member must not be null", i+1, p.member(), m)
	}
	switch {
	case p.table == nil:
		return missing("tableName")
	case p.key == nil && p.action == "PutItem":
		return missing("item")
	case p.key == nil:
		return missing("key")
	case p.update == nil && p.action == "UpdateItem":
		return missing("updateExpression")
	case p.condition == nil && p.action == "ConditionCheckItem":
		return missing("conditionExpression")
	}
	return nil
}

// A step is a part whose expressions were read.
type step struct {
	transactPart
	read updating
}

// TransactWriteItems changes up to 100 items: all of them or none.
func (s *Service) TransactWriteItems(ctx context.Context, in *sdk.TransactWriteItemsInput) (*sdk.TransactWriteItemsOutput, error) {
	steps := make([]step, len(in.TransactItems))
	for i, t := range in.TransactItems {
		p, err := part(t)
		if err != nil {
			return nil, err
		}
		if err := p.required(i); err != nil {
			return nil, err
		}
		steps[i].transactPart = p
		if p.action == "UpdateItem" {
			steps[i].read, err = readUpdate(p.update, p.condition, p.names, p.values)
		} else {
			steps[i].read.condition, err = guard{expression: p.condition, names: p.names, values: p.values}.condition()
		}
		if err != nil {
			return nil, err
		}
	}
	var out *sdk.TransactWriteItemsOutput
	err := latest(func() (err error) {
		out, err = s.transact(ctx, in, steps)
		return err
	})
	return out, err
}

func (s *Service) transact(ctx context.Context, in *sdk.TransactWriteItemsInput, steps []step) (*sdk.TransactWriteItemsOutput, error) {
	opened := map[string]*access{}
	meters := map[*access]*meter{}
	var order []*meter
	out := &sdk.TransactWriteItemsOutput{}
	writes := make([]*write, len(steps))
	reasons := make([]types.CancellationReason, len(steps))
	failed, size := false, 0
	places := map[string]bool{}
	for i, st := range steps {
		a, err := s.opened(ctx, opened, st.table)
		if err != nil {
			return nil, err
		}
		if _, ok := meters[a]; !ok {
			meters[a] = a.meters(in.ReturnConsumedCapacity).transactional()
			order = append(order, meters[a])
		}
		w, err := a.step(st)
		if err != nil {
			r, ok := asCancelled(err)
			if !ok {
				return nil, err
			}
			reasons[i], failed = r, true
			continue
		}
		w.meter = meters[a]
		writes[i] = w
		place := a.prefix + a.place(w.key)
		if places[place] {
			return nil, invalid("Transaction request cannot include multiple operations on one item")
		}
		places[place] = true
		size += attr.ItemSize(st.key)
		if c := a.collection(in.ReturnItemCollectionMetrics, w.key); c != nil {
			if out.ItemCollectionMetrics == nil {
				out.ItemCollectionMetrics = map[string][]types.ItemCollectionMetrics{}
			}
			out.ItemCollectionMetrics[a.Name] = append(out.ItemCollectionMetrics[a.Name], *c)
		}
	}
	if size > maxTransaction {
		return nil, invalid("Member must have total size less than or equal to 4 MB")
	}
	if failed {
		return nil, cancelled(reasons)
	}
	if err := s.commitAll(ctx, in, writes, reasons); err != nil {
		return nil, err
	}
	out.ConsumedCapacity = totals(order)
	return out, nil
}

// opened opens each table of a transaction once.
func (s *Service) opened(ctx context.Context, opened map[string]*access, table *string) (*access, error) {
	name := s.nameOf(wire.CallOf(ctx).Region, table)
	if a := opened[name]; a != nil {
		return a, nil
	}
	a, err := s.openFor(ctx, &name)
	opened[name] = a
	return a, err
}

func (a *access) step(st step) (w *write, err error) {
	switch st.action {
	case "PutItem":
		w, err = a.putting(st.key)
	case "UpdateItem":
		w, err = a.updating(st.key, st.read)
	default:
		w, err = a.deleting(st.key)
	}
	if err != nil {
		return nil, err
	}
	if st.action == "ConditionCheckItem" {
		w.next = nil
	}
	w.condition, w.showOld = st.read.condition, st.showOld
	return w, nil
}

// commitAll commits a transaction, once for each token. Every part is judged,
// so that all reasons of a cancellation are known.
func (s *Service) commitAll(ctx context.Context, in *sdk.TransactWriteItemsInput, writes []*write, reasons []types.CancellationReason) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		done, err := s.redeem(ctx, tx, in)
		if err != nil || done {
			return err
		}
		failed := false
		for i, w := range writes {
			err := s.apply(tx, w)
			if err == nil {
				continue
			}
			r, ok := asCancelled(err)
			if !ok {
				return err
			}
			reasons[i], failed = r, true
		}
		if failed {
			return cancelled(reasons)
		}
		return nil
	})
}

// cancelled is the error of a transaction of which a part failed.
func cancelled(reasons []types.CancellationReason) error {
	codes := make([]string, len(reasons))
	for i := range reasons {
		if reasons[i].Code == nil {
			reasons[i].Code = new("None")
		}
		codes[i] = *reasons[i].Code
	}
	return &types.TransactionCanceledException{
		Message:             new("Transaction cancelled, please refer cancellation reasons for specific reasons [" + strings.Join(codes, ", ") + "]"),
		CancellationReasons: reasons,
	}
}
