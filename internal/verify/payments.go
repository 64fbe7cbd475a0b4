package verify

import (
	"context"

	"miniforge/internal/check"
	"miniforge/internal/order"
)

// payments is what the payment gateway does to orders.
func (r *Run) payments() []check.Check {
	return []check.Check{
		{
			ID: "payment.declined", Title: "A declined payment is compensated",
			Run: r.unpaid("tok_declined", order.PaymentDeclined),
		},
		{ID: "payment.flaky", Title: "A payment gateway that fails once is asked again, and charges once", Run: r.flaky},
		{
			ID: "payment.timeout", Title: "A payment that outlasts its function is compensated, and cannot charge later",
			Run: r.unpaid("tok_timeout", order.PaymentUnavailable),
		},
		{
			ID: "payment.down", Title: "An order fails, and is compensated, if the payment gateway stays down",
			Run: r.unpaid("tok_down", order.PaymentUnavailable),
		},
		{
			ID: "payment.unknown-token", Title: "A token that the gateway did not issue is declined",
			Run: r.unpaid("tok_verify_unknown", order.PaymentDeclined),
		},
	}
}

// unpaid makes a check that an order with this token reserves its stock and
// gives it back.
func (r *Run) unpaid(token string, code order.FailureCode) func(context.Context, *check.T) error {
	return func(ctx context.Context, t *check.T) error {
		sku, err := r.lab.newSKU(ctx, plenty)
		if err != nil {
			return err
		}
		o, err := r.lab.fulfil(ctx, request(token, order.Item{SKU: sku, Quantity: 3}))
		if err != nil {
			return err
		}
		claimFailed(t, o, code)
		check.Equal(t, "path", "SUBMITTED RESERVED FAILED", path(o))
		check.Equal(t, "a charge was recorded", false, o.Charge != nil)
		check.Equal(t, "later charges are barred", true, o.ChargeVoidedAt != nil)
		return r.lab.claimStock(ctx, t, sku, stockIs{available: plenty})
	}
}

func (r *Run) flaky(ctx context.Context, t *check.T) error {
	sku, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return err
	}
	o, err := r.lab.fulfil(ctx, request("tok_flaky", order.Item{SKU: sku, Quantity: 1}))
	if err != nil {
		return err
	}
	claimConfirmed(t, o, 2)
	return r.lab.claimStock(ctx, t, sku, stockIs{available: plenty - 1, sold: 1})
}
