package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"miniforge/internal/check"
	"miniforge/internal/order"
)

// messages is what the system tells others about the end of an order.
func (r *Run) messages() []check.Check {
	return []check.Check{
		{ID: "messages.confirmed", Title: "A confirmed order is announced: topic to queue", Run: r.confirmedMessage},
		{ID: "messages.failed", Title: "A failed order is announced with its reason", Run: r.failedMessage},
		{ID: "messages.dead-letter", Title: "A failed order leaves a dead letter that says why", Run: r.deadLetter},
	}
}

// notice is the body of a notification.
type notice struct {
	OrderID string      `json:"order_id"`
	Status  order.State `json:"status"`
	Reason  string      `json:"reason"`
	At      order.Time  `json:"at"`
}

func (r *Run) confirmedMessage(ctx context.Context, t *check.T) error {
	o, err := r.single(ctx, "tok_visa")
	if err != nil {
		return err
	}
	n, err := r.notice(ctx, t, o)
	if err != nil {
		return err
	}
	check.Equal(t, "status in it", order.Confirmed, n.Status)
	check.Equal(t, "reason in it", "", n.Reason)
	t.True("its time is that of the order, to the minute", n.At.Sub(o.UpdatedAt.Time).Abs().Minutes() < 1)
	return nil
}

func (r *Run) failedMessage(ctx context.Context, t *check.T) error {
	o, err := r.single(ctx, "tok_declined")
	if err != nil {
		return err
	}
	n, err := r.notice(ctx, t, o)
	if err != nil || o.Failure == nil {
		return err
	}
	check.Equal(t, "status in it", order.Failed, n.Status)
	check.Equal(t, "reason in it", o.Failure.Reason, n.Reason)
	return nil
}

// notice reads the notification about an order; raw delivery is claimed by
// taking its body for the message itself.
func (r *Run) notice(ctx context.Context, t *check.T, o order.Order) (n notice, err error) {
	letters, err := r.lab.notifications.find(ctx, o.ID, r.o.Patience)
	if errors.Is(err, errNoLetter) {
		t.Claim("message in "+r.stack.Notifications(), "about "+o.ID, err.Error(), false)
		return n, nil
	} else if err != nil {
		return n, err
	}
	if err := json.Unmarshal([]byte(letters[0].Body), &n); err != nil {
		return n, fmt.Errorf("read notification: %w", err)
	}
	check.Equal(t, "order in it", o.ID, n.OrderID)
	return n, nil
}

func (r *Run) deadLetter(ctx context.Context, t *check.T) error {
	o, err := r.single(ctx, "tok_declined")
	if err != nil {
		return err
	}
	letters, err := r.lab.deadLetters.find(ctx, o.ID, r.o.Patience)
	if errors.Is(err, errNoLetter) {
		t.Claim("message in "+r.stack.DeadLetters(), "about "+o.ID, err.Error(), false)
		return nil
	} else if err != nil {
		return err
	}
	check.Equal(t, "dead letters about the order", 1, len(letters))
	var body struct {
		OrderID      string            `json:"order_id"`
		Code         order.FailureCode `json:"code"`
		Reason       string            `json:"reason"`
		ExecutionARN string            `json:"execution_arn"`
		At           order.Time        `json:"at"`
	}
	if err := json.Unmarshal([]byte(letters[0].Body), &body); err != nil {
		return fmt.Errorf("read dead letter: %w", err)
	}
	check.Equal(t, "code in it", order.PaymentDeclined, body.Code)
	if o.Failure != nil {
		check.Equal(t, "reason in it", o.Failure.Reason, body.Reason)
	}
	check.Equal(t, "execution in it", o.ExecutionARN, body.ExecutionARN)
	return nil
}

// single fulfils an order of one miniature.
func (r *Run) single(ctx context.Context, token string) (order.Order, error) {
	sku, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return order.Order{}, err
	}
	return r.lab.fulfil(ctx, request(token, order.Item{SKU: sku, Quantity: 1}))
}
