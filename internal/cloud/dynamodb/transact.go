package dynamodb

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/dynamodb/expr"
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

// tokenRows holds the tokens of transactions under region/token; tokenTimes the
// same keys in the order of time, to forget them.
const (
	tokenRows  = store.Table[tokenRow]("dynamodb.tokens")
	tokenTimes = store.Table[[]byte]("dynamodb.token-times")
)

// A tokenRow remembers a transaction by its token.
type tokenRow struct {
	Digest [32]byte  `json:"digest"` // of the request
	At     time.Time `json:"at"`
}

// tokenLife is how long a token makes a transaction idempotent.
const tokenLife = 10 * time.Minute

// redeem tells whether the transaction of this token is done already, and
// otherwise remembers it with the transaction itself.
func (s *Service) redeem(ctx context.Context, tx *store.Tx, in *sdk.TransactWriteItemsInput) (done bool, err error) {
	if in.ClientRequestToken == nil {
		return false, nil
	}
	digest := digestOf(in)
	now := time.Now()
	key := wire.CallOf(ctx).Region + "/" + *in.ClientRequestToken
	old, ok, err := tokenRows.Get(tx, key)
	if err != nil {
		return false, err
	}
	if ok && now.Sub(old.At) < tokenLife {
		if old.Digest != digest {
			return false, &types.IdempotentParameterMismatchException{
				Message: new("Found a request with the same client token but different parameters: the ClientRequestToken has been used by another request"),
			}
		}
		return true, nil
	}
	if err := forgetTokens(tx, now); err != nil {
		return false, err
	}
	if err := tokenTimes.Put(tx, tokenTime(now)+key, []byte(key)); err != nil {
		return false, err
	}
	return false, tokenRows.Put(tx, key, tokenRow{Digest: digest, At: now})
}

func tokenTime(t time.Time) string { return fmt.Sprintf("%016x/", t.UnixMicro()) }

// forgetTokens drops some expired tokens: more than are added, so that their
// number stays bounded by the rate of transactions.
func forgetTokens(tx *store.Tx, now time.Time) error {
	const some = 4
	var drop []store.Row[[]byte]
	for r, err := range tokenTimes.Range(tx, "", tokenTime(now.Add(-tokenLife))) {
		if err != nil {
			return err
		}
		if drop = append(drop, r); len(drop) == some {
			break
		}
	}
	for _, r := range drop {
		key := string(r.Value)
		if err := tokenTimes.Delete(tx, r.Key); err != nil {
			return err
		}
		t, ok, err := tokenRows.Get(tx, key)
		if err != nil {
			return err
		}
		if ok && now.Sub(t.At) >= tokenLife {
			if err := tokenRows.Delete(tx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// digestOf tells requests with one token apart: by everything that they do.
func digestOf(in *sdk.TransactWriteItemsInput) [32]byte {
	var b []byte
	for _, t := range in.TransactItems {
		p, _ := part(t) // read before
		b = fmt.Appendf(b, "%s %q %q %q %q", p.action, deref(p.table), deref(p.update), deref(p.condition), p.names)
		b = attr.AppendSorted(attr.AppendSorted(b, p.key), p.values)
	}
	return sha256.Sum256(b)
}

// TransactGetItems reads up to 100 items of one moment.
func (s *Service) TransactGetItems(ctx context.Context, in *sdk.TransactGetItemsInput) (*sdk.TransactGetItemsOutput, error) {
	opened := map[string]*access{}
	meters := map[*access]*meter{}
	var order []*meter
	gets := make([]transactGet, len(in.TransactItems))
	seen := map[string]bool{}
	for i, t := range in.TransactItems {
		g := t.Get
		if g == nil || g.TableName == nil || g.Key == nil {
			return nil, invalid("1 validation error detected: Value null at 'transactItems.%d.member.get' failed to satisfy constraint: Member must not be null", i+1)
		}
		p, err := projection(g.ProjectionExpression, nil, g.ExpressionAttributeNames)
		if err != nil {
			return nil, err
		}
		a, err := s.opened(ctx, opened, g.TableName)
		if err != nil {
			return nil, err
		}
		if _, ok := meters[a]; !ok {
			meters[a] = a.meters(in.ReturnConsumedCapacity).transactional()
			order = append(order, meters[a])
		}
		key, err := a.checkKey(g.Key)
		if err != nil {
			r, ok := asCancelled(err)
			if !ok {
				return nil, err
			}
			reasons := make([]types.CancellationReason, len(in.TransactItems))
			reasons[i] = r
			return nil, cancelled(reasons)
		}
		gets[i] = transactGet{a, a.place(key), p}
		if seen[a.prefix+gets[i].place] {
			return nil, invalid("Transaction request cannot include multiple operations on one item")
		}
		seen[a.prefix+gets[i].place] = true
	}
	responses, err := s.getTogether(gets, meters)
	if err != nil {
		return nil, err
	}
	return &sdk.TransactGetItemsOutput{Responses: responses, ConsumedCapacity: totals(order)}, nil
}

// A transactGet is one item to be read with others.
type transactGet struct {
	*access
	place      string
	projection *expr.Projection
}

// getTogether reads items of one moment.
func (s *Service) getTogether(gets []transactGet, meters map[*access]*meter) ([]types.ItemResponse, error) {
	out := make([]types.ItemResponse, len(gets))
	return out, s.DB.View(func(tx *store.Tx) error {
		for i, g := range gets {
			item, err := g.get(tx, g.place)
			if err != nil {
				return err
			}
			meters[g.access].read(nil, sizeOf(item), true)
			if item != nil && g.projection != nil {
				item = g.projection.Apply(item)
			}
			out[i].Item = item
		}
		return nil
	})
}
