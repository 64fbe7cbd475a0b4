package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

// ordersAPI is what the processor asks of DynamoDB.
type ordersAPI interface {
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
}

var _ ordersAPI = (*dynamodb.Client)(nil)

type payments struct {
	db    ordersAPI
	table string
	log   *slog.Logger
	now   func() time.Time
	hang  time.Duration // how long a gateway that does not answer is waited for
}

// Task is the processor's input.
type Task struct {
	Action  string       `json:"action"` // "charge" or "refund"
	OrderID string       `json:"order_id"`
	Token   string       `json:"token"`
	Items   []order.Item `json:"items"`
}

// Outcome is its output.
type Outcome struct {
	Status   string `json:"status"` // "charged", "refunded" or "nothing_to_refund"
	ChargeID string `json:"charge_id"`
}

// The type names of these errors are the error names that the workflow
// retries and catches, as Lambda reports an error by its Go type.
type (
	// PaymentDeclined is final: the customer's bank said no.
	PaymentDeclined struct{ OrderID string }
	// GatewayUnavailable may pass: the gateway could not be reached.
	GatewayUnavailable struct{ OrderID string }
	// StoreUnavailable may pass: the order could not be read or written, so what
	// happened to it is not known. Every action may be repeated.
	StoreUnavailable struct {
		OrderID string
		Err     error
	}
	// OrderNotChargeable is final: the order is not in a state to be charged,
	// or to be refunded.
	OrderNotChargeable struct{ OrderID, Why string }
	// UnknownAction is a mistake in the workflow.
	UnknownAction struct{ Action string }
)

func (e PaymentDeclined) Error() string { return "payment of order " + e.OrderID + " was declined" }
func (e GatewayUnavailable) Error() string {
	return "payment gateway did not answer for order " + e.OrderID
}
func (e OrderNotChargeable) Error() string { return "order " + e.OrderID + ": " + e.Why }
func (e StoreUnavailable) Error() string {
	return "order " + e.OrderID + " could not be read or written: " + e.Err.Error()
}
func (e StoreUnavailable) Unwrap() error { return e.Err }
func (e UnknownAction) Error() string    { return fmt.Sprintf("unknown action %q", e.Action) }

func (h *payments) handle(ctx context.Context, t Task) (Outcome, error) {
	var out Outcome
	var err error
	switch t.Action {
	case "charge":
		out, err = h.charge(ctx, t)
	case "refund":
		out, err = h.refund(ctx, t.OrderID)
	default:
		err = UnknownAction{t.Action}
	}
	if err != nil {
		h.log.ErrorContext(ctx, "payment failed", "order_id", t.OrderID, "action", t.Action, "error", err)
		return Outcome{}, err
	}
	h.log.InfoContext(ctx, "payment done", "order_id", t.OrderID, "action", t.Action, "status", out.Status, "charge_id", out.ChargeID)
	return out, nil
}

// charge asks the gateway and records the charge, once per order.
func (h *payments) charge(ctx context.Context, t Task) (Outcome, error) {
	attempts, err := h.approve(ctx, t)
	if err != nil {
		return Outcome{}, err
	}
	now := order.At(h.now())
	charge, err := orderdb.Value(order.Charge{ID: order.ChargeID(t.OrderID), At: now, Attempts: attempts})
	if err != nil {
		return Outcome{}, fmt.Errorf("record charge of order %s: %w", t.OrderID, err)
	}
	_, err = h.update(ctx, t.OrderID, "SET charge = :charge, updated_at = :now",
		"#status = :reserved AND attribute_not_exists(charge) AND attribute_not_exists(charge_voided_at) AND attribute_not_exists(failure)",
		orderdb.Item{":charge": charge, ":now": orderdb.S(now.String()), ":reserved": orderdb.S(string(order.Reserved))})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		return h.charged(t.OrderID, failed.Item)
	}
	if err != nil {
		return Outcome{}, StoreUnavailable{t.OrderID, err}
	}
	return Outcome{"charged", order.ChargeID(t.OrderID)}, nil
}

// charged judges an order that refused a charge: it may have it already, from
// an earlier try whose answer was lost.
func (h *payments) charged(id string, item orderdb.Item) (Outcome, error) {
	if len(item) == 0 {
		return Outcome{}, OrderNotChargeable{id, "there is no such order"}
	}
	var o order.Order
	if err := orderdb.Unmarshal(item, &o); err != nil {
		return Outcome{}, fmt.Errorf("read order %s: %w", id, err)
	}
	switch {
	case o.ChargeVoidedAt != nil:
		return Outcome{}, OrderNotChargeable{id, "its payment was voided"}
	case o.Charged():
		return Outcome{"charged", o.Charge.ID}, nil
	default:
		return Outcome{}, OrderNotChargeable{id, "it is " + string(o.Status)}
	}
}

// refund undoes the charge if there is one, and bars any later one. Voiding
// comes first and is what settles a race with a charge still under way: either
// the charge was recorded before, and is seen here, or it never will be.
func (h *payments) refund(ctx context.Context, id string) (Outcome, error) {
	now := orderdb.S(order.At(h.now()).String())
	out, err := h.update(ctx, id,
		"SET charge_voided_at = if_not_exists(charge_voided_at, :now), updated_at = :now",
		"attribute_exists(order_id) AND #status <> :confirmed",
		orderdb.Item{":now": now, ":confirmed": orderdb.S(string(order.Confirmed))})
	if failed, ok := errors.AsType[*types.ConditionalCheckFailedException](err); ok {
		if len(failed.Item) == 0 {
			return Outcome{Status: "nothing_to_refund"}, nil
		}
		return Outcome{}, OrderNotChargeable{id, "it is confirmed and cannot be refunded"}
	}
	if err != nil {
		return Outcome{}, StoreUnavailable{id, err}
	}
	var o order.Order
	if err := orderdb.Unmarshal(out.Attributes, &o); err != nil {
		return Outcome{}, fmt.Errorf("read order %s: %w", id, err)
	}
	if o.Charge == nil {
		return Outcome{Status: "nothing_to_refund"}, nil
	}
	_, err = h.update(ctx, id, "SET charge.refunded_at = if_not_exists(charge.refunded_at, :now)",
		"attribute_exists(charge) AND #status <> :confirmed",
		orderdb.Item{":now": now, ":confirmed": orderdb.S(string(order.Confirmed))})
	if err != nil {
		return Outcome{}, StoreUnavailable{id, err}
	}
	return Outcome{"refunded", o.Charge.ID}, nil
}

func (h *payments) update(ctx context.Context, id, set, condition string, values orderdb.Item) (*dynamodb.UpdateItemOutput, error) {
	return h.db.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &h.table, Key: orderdb.Key(orderdb.OrderKey, id),
		UpdateExpression: &set, ConditionExpression: &condition,
		ExpressionAttributeNames: map[string]string{"#status": "status"}, ExpressionAttributeValues: values,
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
}
