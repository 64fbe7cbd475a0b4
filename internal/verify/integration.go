package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"miniforge/internal/check"
	"miniforge/internal/order"
)

// pause is the time between two looks at what should happen by itself.
const pause = 50 * time.Millisecond

// integration is the suite of what an order may go through.
func (r *Run) integration() check.Suite {
	checks := slices.Concat(r.fulfilment(), r.refusals(), r.payments(), r.duplicates(), r.messages(), r.badInput(), r.invariants())
	return check.Suite{Name: "integration", Title: "Orders end as they should", Checks: checks}
}

// plenty is stock that no check uses up.
const plenty = 100

// fulfilment is what happens to orders that can be served.
func (r *Run) fulfilment() []check.Check {
	return []check.Check{
		{ID: "orders.happy-path", Title: "An order that can be served is confirmed", Run: r.happyPath},
		{ID: "orders.several-lines", Title: "An order of several lines is served whole", Run: r.severalLines},
	}
}

func (r *Run) happyPath(ctx context.Context, t *check.T) error {
	sku, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return err
	}
	o, err := r.lab.fulfil(ctx, request("tok_visa", order.Item{SKU: sku, Quantity: 2}))
	if err != nil {
		return err
	}
	claimConfirmed(t, o, 1)
	return r.lab.claimStock(ctx, t, sku, stockIs{available: plenty - 2, sold: 2})
}

func (r *Run) severalLines(ctx context.Context, t *check.T) error {
	var items []order.Item
	for i := range 3 {
		sku, err := r.lab.newSKU(ctx, plenty)
		if err != nil {
			return err
		}
		items = append(items, order.Item{SKU: sku, Quantity: i + 1})
	}
	o, err := r.lab.fulfil(ctx, request("tok_visa", items...))
	if err != nil {
		return err
	}
	claimConfirmed(t, o, 1)
	for _, item := range items {
		if err := r.lab.claimStock(ctx, t, item.SKU, stockIs{available: plenty - item.Quantity, sold: item.Quantity}); err != nil {
			return err
		}
	}
	return nil
}

// refusals is what happens to orders for which there is no stock.
func (r *Run) refusals() []check.Check {
	return []check.Check{
		{ID: "orders.insufficient-stock", Title: "An order for more than there is fails", Run: r.insufficientStock},
		{ID: "orders.unknown-sku", Title: "An order for what does not exist fails in the workflow", Run: r.unknownSKU},
		{ID: "orders.all-or-nothing", Title: "Of many orders for the last one, one gets it and the others get nothing", Run: r.allOrNothing},
	}
}

func (r *Run) insufficientStock(ctx context.Context, t *check.T) error {
	sku, err := r.lab.newSKU(ctx, 1)
	if err != nil {
		return err
	}
	o, err := r.lab.fulfil(ctx, request("tok_visa", order.Item{SKU: sku, Quantity: 2}))
	if err != nil {
		return err
	}
	claimFailed(t, o, order.InsufficientStock)
	check.Equal(t, "path", "SUBMITTED FAILED", path(o))
	check.Equal(t, "a charge was recorded", false, o.Charge != nil)
	return r.lab.claimStock(ctx, t, sku, stockIs{available: 1})
}

func (r *Run) unknownSKU(ctx context.Context, t *check.T) error {
	known, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return err
	}
	unknown := order.Item{SKU: probePrefix + r.lab.run + "-UNKNOWN", Quantity: 1}
	o, err := r.lab.fulfil(ctx, request("tok_visa", order.Item{SKU: known, Quantity: 1}, unknown))
	if err != nil {
		return err
	}
	claimFailed(t, o, order.UnknownSKU)
	return r.lab.claimStock(ctx, t, known, stockIs{available: plenty})
}

// allOrNothing lets orders race for the last of one miniature, each with a line
// of another that there is plenty of. The check before the reservation lets
// many through, so the reservation must decide, and undo the other line.
func (r *Run) allOrNothing(ctx context.Context, t *check.T) error {
	const racers = 6
	many, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return err
	}
	last, err := r.lab.newSKU(ctx, 1)
	if err != nil {
		return err
	}
	orders, err := concurrently(racers, func() (order.Order, error) {
		return r.lab.fulfil(ctx, request("tok_visa", order.Item{SKU: many, Quantity: 1}, order.Item{SKU: last, Quantity: 1}))
	})
	if err != nil {
		return err
	}
	confirmed := 0
	for _, o := range orders {
		if o.Status == order.Confirmed {
			confirmed++
			continue
		}
		claimFailed(t, o, order.InsufficientStock)
	}
	check.Equal(t, fmt.Sprintf("confirmed of %d orders", racers), 1, confirmed)
	if err := r.lab.claimStock(ctx, t, last, stockIs{available: 0, sold: 1}); err != nil {
		return err
	}
	return r.lab.claimStock(ctx, t, many, stockIs{available: plenty - 1, sold: 1})
}
