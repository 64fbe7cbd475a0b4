package verify

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"miniforge/internal/check"
	"miniforge/internal/order"
	"miniforge/internal/orderdb"
	"miniforge/internal/stack"
)

// Ledger is all orders and all stock of a stack at one time.
type Ledger struct {
	Orders []order.Order
	Stock  []order.Stock
}

// ReadLedger reads all orders and all stock. Orders are read last: a hold seen
// then belongs to an order that is seen, too.
func ReadLedger(ctx context.Context, clients stack.Clients, names stack.Names) (Ledger, error) {
	var l Ledger
	if err := scan(ctx, clients.DynamoDB, names.Inventory(), &l.Stock); err != nil {
		return l, err
	}
	return l, scan(ctx, clients.DynamoDB, names.Orders(), &l.Orders)
}

func scan[V any](ctx context.Context, db dynamodb.ScanAPIClient, table string, into *[]V) error {
	pages := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{TableName: &table, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("read %s: %w", table, err)
		}
		for _, item := range page.Items {
			var v V
			if err := orderdb.Unmarshal(item, &v); err != nil {
				return fmt.Errorf("read %s: %w", table, err)
			}
			*into = append(*into, v)
		}
	}
	return nil
}

// invariants asks, once all other checks have ended, whether the rules of
// package order hold over all that is stored, also over orders of others.
func (r *Run) invariants() []check.Check {
	ids := map[order.Invariant]string{
		order.StockConserved: "stock-conserved", order.OneTerminal: "one-terminal-state", order.ChargedOnce: "charged-once",
		order.Settled: "settled", order.NothingRejected: "no-half-orders",
	}
	var checks []check.Check
	for _, invariant := range order.Invariants() {
		checks = append(checks, check.Check{
			ID: "invariants." + ids[invariant], Title: "Over all orders: " + invariant.String(), Last: true,
			Run: func(ctx context.Context, t *check.T) error {
				// Others may be ordering: what is in flight gets time to land.
				return check.Eventually(ctx, t, r.o.Patience, pause, func(ctx context.Context, t *check.T) error {
					return r.lab.claimInvariant(ctx, t, invariant)
				})
			},
		})
	}
	return checks
}

func (l *lab) claimInvariant(ctx context.Context, t *check.T, invariant order.Invariant) error {
	ledger, err := ReadLedger(ctx, l.stack.Clients, l.stack.Names)
	if err != nil {
		return err
	}
	var broken []string
	for _, v := range order.Violations(ledger.Orders, ledger.Stock) {
		if v.Invariant == invariant {
			broken = append(broken, v.String())
		}
	}
	t.None(fmt.Sprintf("violations among %d orders of %d miniatures", len(ledger.Orders), len(ledger.Stock)), broken)
	return nil
}
