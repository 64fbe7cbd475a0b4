package main

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

// maxTimeout is the longest that Lambda lets any function run, so a gateway
// waited for so long outlasts every timeout.
const maxTimeout = 15 * time.Minute

// approve is the simulated payment gateway. Like the test cards of real ones,
// the token decides what happens. It returns how many attempts it took.
func (h *payments) approve(ctx context.Context, t Task) (attempts int, err error) {
	switch t.Token {
	case "tok_visa":
		return 1, nil
	case "tok_flaky":
		return h.flaky(ctx, t.OrderID)
	case "tok_down":
		return 0, GatewayUnavailable{t.OrderID}
	case "tok_timeout":
		// Deliberately deaf to ctx, which ends a little before the function is
		// killed: a gateway that hangs must look like one.
		time.Sleep(h.hang)
		return 0, GatewayUnavailable{t.OrderID}
	default: // tok_declined, and whatever the gateway did not issue
		return 0, PaymentDeclined{t.OrderID}
	}
}

// flaky fails once per order, whatever is retried where. That it has failed is
// kept with the order, as the next attempt may run in another process.
func (h *payments) flaky(ctx context.Context, id string) (attempts int, err error) {
	_, err = h.update(ctx, id, "SET charge_attempts = :one",
		"#status = :reserved AND attribute_not_exists(charge_attempts)",
		orderdb.Item{":one": orderdb.N(1), ":reserved": orderdb.S(string(order.Reserved))})
	if _, again := errors.AsType[*types.ConditionalCheckFailedException](err); again {
		return 2, nil
	}
	if err != nil {
		return 0, StoreUnavailable{id, err}
	}
	return 0, GatewayUnavailable{id}
}
