package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/check"
	"miniforge/internal/drive"
	"miniforge/internal/order"
)

// duplicates is what happens to what arrives more than once.
func (r *Run) duplicates() []check.Check {
	return []check.Check{
		{ID: "idempotency.same-request", Title: "A request sent many times at once places one order", Run: r.sameRequest},
		{ID: "idempotency.other-request", Title: "Another request under a used key is refused and changes nothing", Run: r.otherRequest},
		{ID: "idempotency.no-key", Title: "Requests without a key are orders of their own", Run: r.noKey},
		{ID: "events.duplicate", Title: "An event delivered again changes nothing", Run: r.duplicateEvent},
	}
}

func (r *Run) sameRequest(ctx context.Context, t *check.T) error {
	const times = 6
	sku, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return err
	}
	key, wanted := r.lab.newKey(), request("tok_visa", order.Item{SKU: sku, Quantity: 1})
	answers, err := concurrently(times, func() (drive.Accepted, error) { return r.lab.placeAs(ctx, wanted, key) })
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, a := range answers {
		ids[a.ID] = true
	}
	check.Equal(t, fmt.Sprintf("orders after %d equal requests", times), 1, len(ids))
	o, err := r.lab.settled(ctx, answers[0].ID)
	if err != nil {
		return err
	}
	claimConfirmed(t, o, 1)
	again, err := r.lab.placeAs(ctx, wanted, key)
	if err != nil {
		return err
	}
	check.Equal(t, "order after the same request once more", o.ID, again.ID)
	check.Equal(t, "its status in that answer", order.Confirmed, again.Status)
	return r.lab.claimStock(ctx, t, sku, stockIs{available: plenty - 1, sold: 1})
}

func (r *Run) otherRequest(ctx context.Context, t *check.T) error {
	sku, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return err
	}
	key := r.lab.newKey()
	first, err := r.lab.placeAs(ctx, request("tok_visa", order.Item{SKU: sku, Quantity: 1}), key)
	if err != nil {
		return err
	}
	_, err = r.lab.placeAs(ctx, request("tok_visa", order.Item{SKU: sku, Quantity: 5}), key)
	if err := claimRefused(t, err, http.StatusConflict, order.KeyHeader); err != nil {
		return err
	}
	o, err := r.lab.settled(ctx, first.ID)
	if err != nil {
		return err
	}
	check.Equal(t, "quantity that was ordered", 1, o.Items[0].Quantity)
	return r.lab.claimStock(ctx, t, sku, stockIs{available: plenty - 1, sold: 1})
}

func (r *Run) noKey(ctx context.Context, t *check.T) error {
	sku, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return err
	}
	c, err := r.lab.connect(ctx)
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for range 2 {
		a, err := c.Place(ctx, request("tok_visa", order.Item{SKU: sku, Quantity: 1}), "")
		if err != nil {
			return err
		}
		r.lab.track(a.ID)
		ids[a.ID] = true
		if _, err := r.lab.settled(ctx, a.ID); err != nil {
			return err
		}
	}
	check.Equal(t, "orders after two equal requests", 2, len(ids))
	return r.lab.claimStock(ctx, t, sku, stockIs{available: plenty - 2, sold: 2})
}

// duplicateEvent sends an order's event again, as EventBridge and the stream
// both may, and looks at the order after all executions have ended.
func (r *Run) duplicateEvent(ctx context.Context, t *check.T) error {
	const again = 2
	sku, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return err
	}
	began := time.Now().Add(-time.Minute) // clocks differ
	before, err := r.lab.fulfil(ctx, request("tok_visa", order.Item{SKU: sku, Quantity: 1}))
	if err != nil {
		return err
	}
	for range again {
		if err := r.lab.announce(ctx, before); err != nil {
			return err
		}
	}
	err = check.Eventually(ctx, t, r.o.Patience, 4*pause, func(ctx context.Context, t *check.T) error {
		ended, err := r.lab.endedExecutions(ctx, before.ID, began)
		check.Equal(t, "ended executions of the order", 1+again, ended)
		return err
	})
	if err != nil {
		return err
	}
	after, err := r.lab.order(ctx, before.ID)
	if err != nil {
		return err
	}
	t.Claim("the order after the duplicates", "unchanged", fmt.Sprintf("%s, updated %s", path(after), after.UpdatedAt), reflect.DeepEqual(before, after))
	return r.lab.claimStock(ctx, t, sku, stockIs{available: plenty - 1, sold: 1})
}

// announce sends the event of an order, as the stream processor does.
func (l *lab) announce(ctx context.Context, o order.Order) error {
	detail, err := json.Marshal(o.Placed())
	if err != nil {
		return fmt.Errorf("announce order %s: %w", o.ID, err)
	}
	out, err := l.stack.Clients.Events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []eventtypes.PutEventsRequestEntry{{
		EventBusName: aws.String(l.stack.Bus()), Source: aws.String(order.Source),
		DetailType: aws.String(order.DetailType), Detail: aws.String(string(detail)),
	}}})
	if err != nil {
		return fmt.Errorf("announce order %s: %w", o.ID, err)
	}
	if out.FailedEntryCount > 0 {
		return fmt.Errorf("announce order %s: %s: %s", o.ID, aws.ToString(out.Entries[0].ErrorCode), aws.ToString(out.Entries[0].ErrorMessage))
	}
	return nil
}

// endedExecutions counts the ended executions whose input names an order. No
// list tells the input, so those since a time are described one by one.
func (l *lab) endedExecutions(ctx context.Context, orderID string, since time.Time) (int, error) {
	n := 0
	pages := sfn.NewListExecutionsPaginator(l.stack.Clients.SFN, &sfn.ListExecutionsInput{StateMachineArn: aws.String(l.stack.StateMachineARN())})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, fmt.Errorf("list executions: %w", err)
		}
		for _, e := range page.Executions {
			if e.StartDate != nil && e.StartDate.Before(since) {
				return n, nil // newest first: the rest is older
			}
			if e.Status == sfntypes.ExecutionStatusRunning {
				continue
			}
			d, err := l.stack.Clients.SFN.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: e.ExecutionArn})
			if err != nil {
				return n, fmt.Errorf("describe execution: %w", err)
			}
			var in order.Placed
			if json.Unmarshal([]byte(aws.ToString(d.Input)), &in) == nil && in.ID == orderID {
				n++
			}
		}
	}
	return n, nil
}
