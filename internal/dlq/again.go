package dlq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	eventtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
	"miniforge/internal/stack"
)

// compensate finishes, for an order whose run is over, what the run could not:
// it decides that the order will not be confirmed, refunds it and releases its
// stock, in the order and under the conditions of the workflow. All of it may
// be repeated.
func (r *Redriver) compensate(ctx context.Context, o order.Order) error {
	failure, err := orderdb.Value(order.Failure{Code: order.Internal, Reason: "The order was stuck."})
	if err != nil {
		return err
	}
	err = r.update(ctx, r.Stack.Orders(), orderdb.Key(orderdb.OrderKey, o.ID), change{
		set: "SET failure = if_not_exists(failure, :failure)", names: map[string]string{"#status": "status"},
		when: "execution_arn = :run AND (#status = :submitted OR #status = :reserved)",
		values: orderdb.Item{
			":failure": failure, ":run": orderdb.S(o.ExecutionARN),
			":submitted": orderdb.S(string(order.Submitted)), ":reserved": orderdb.S(string(order.Reserved)),
		},
	})
	if err != nil {
		return fmt.Errorf("give order %s up: %w", o.ID, err)
	}
	if err := r.refund(ctx, o); err != nil {
		return err
	}
	return r.eachLine(ctx, o, "SET available = available + :q REMOVE holds.#oid")
}

// refund has the payment processor refund the order, which also bars charges
// that are still under way.
func (r *Redriver) refund(ctx context.Context, o order.Order) error {
	task, err := json.Marshal(map[string]any{"action": "refund", "order_id": o.ID, "token": o.Payment.Token, "items": o.Items})
	if err != nil {
		return fmt.Errorf("refund order %s: %w", o.ID, err)
	}
	out, err := r.Stack.Clients.Lambda.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(r.Stack.AliasARN(stack.PaymentProcessor)), Payload: task})
	if err != nil {
		return fmt.Errorf("refund order %s: %w", o.ID, err)
	}
	if out.FunctionError != nil {
		return fmt.Errorf("refund order %s: the payment processor failed: %s", o.ID, out.Payload)
	}
	return nil
}

// eachLine updates the stock of each line that the order holds. A condition
// that fails says that an earlier try has done it.
func (r *Redriver) eachLine(ctx context.Context, o order.Order, set string) error {
	for _, line := range o.Items {
		err := r.update(ctx, r.Stack.Inventory(), orderdb.Key(orderdb.StockKey, line.SKU), change{
			set: set, names: map[string]string{"#oid": o.ID}, when: "holds.#oid = :q",
			values: orderdb.Item{":q": orderdb.N(line.Quantity)},
		})
		if err != nil && !refused(err) {
			return fmt.Errorf("update stock of %s: %w", line.SKU, err)
		}
	}
	return nil
}

// reset puts an order that failed or was compensated back to SUBMITTED, as if
// nobody had begun it, by one conditional write. Its timeline keeps what was.
// If somebody else was quicker, theirs counts.
func (r *Redriver) reset(ctx context.Context, seen order.Order) (order.Order, error) {
	var o order.Order
	now, err := r.get(ctx, r.Stack.Orders(), orderdb.Key(orderdb.OrderKey, seen.ID), &o)
	if err != nil {
		return o, fmt.Errorf("read order %s: %w", seen.ID, err)
	}
	if o.ExecutionARN != seen.ExecutionARN {
		return o, nil
	}
	if o.Charged() {
		return o, fmt.Errorf("order %s is charged and not refunded: it cannot be run again", o.ID)
	}
	lines, err := r.held(ctx, o)
	if err != nil {
		return o, err
	}
	if len(lines) > 0 {
		return o, fmt.Errorf("order %s still holds %d of its lines: it cannot be run again", o.ID, len(lines))
	}
	entry := resubmitted(o, now)
	timeline, err := orderdb.Value([]order.Change{entry})
	if err != nil {
		return o, err
	}
	err = r.update(ctx, r.Stack.Orders(), orderdb.Key(orderdb.OrderKey, o.ID), change{
		set: "SET #status = :submitted, updated_at = :now, timeline = list_append(timeline, :entry) " +
			"REMOVE execution_arn, failure, charge, charge_attempts, charge_voided_at, notified_at, dead_lettered_at",
		when:  "#status = :was AND execution_arn = :run AND (attribute_not_exists(charge) OR attribute_exists(charge.refunded_at))",
		names: map[string]string{"#status": "status"},
		values: orderdb.Item{
			":submitted": orderdb.S(string(order.Submitted)), ":was": orderdb.S(string(o.Status)), ":now": orderdb.S(entry.At.String()),
			":entry": timeline, ":run": orderdb.S(o.ExecutionARN),
		},
	})
	if err != nil && !refused(err) {
		return o, fmt.Errorf("put order %s back to %s: %w", o.ID, order.Submitted, err)
	}
	again, rerr := r.order(ctx, o.ID)
	if rerr != nil {
		return o, fmt.Errorf("read order %s: %w", o.ID, rerr)
	}
	if again.ExecutionARN == seen.ExecutionARN { // refused, and not by another redrive
		return o, fmt.Errorf("put order %s back to %s: it was changed meanwhile: %w", o.ID, order.Submitted, err)
	}
	return again, nil
}

// resubmitted is the entry of the timeline that tells of the redrive. Time must
// not run backwards in it: so now is that of the table, in whole seconds that
// have begun, and no earlier than the entry before.
func resubmitted(o order.Order, now time.Time) order.Change {
	detail := order.Redriven
	if o.Failure != nil {
		detail += " after " + string(o.Failure.Code)
	}
	if o.Charge != nil {
		detail += "; charge " + o.Charge.ID + " was refunded"
	}
	at := order.At(now)
	if n := len(o.Timeline); n > 0 && at.Before(o.Timeline[n-1].At.Time) {
		at = o.Timeline[n-1].At
	}
	return order.Change{Status: order.Submitted, At: at, Detail: detail}
}

// announce puts the events of orders on the bus, as the stream processor does,
// and waits until new runs have taken them over.
func (r *Redriver) announce(ctx context.Context, orders []order.Order, old string) error {
	for chunk := range slices.Chunk(orders, 10) {
		var entries []eventtypes.PutEventsRequestEntry
		for _, o := range chunk {
			if !waits(o) {
				continue // somebody else was quicker
			}
			detail, err := json.Marshal(o.Placed())
			if err != nil {
				return fmt.Errorf("announce order %s: %w", o.ID, err)
			}
			entries = append(entries, eventtypes.PutEventsRequestEntry{
				EventBusName: aws.String(r.Stack.Bus()), Source: aws.String(order.Source),
				DetailType: aws.String(order.DetailType), Detail: aws.String(string(detail)),
			})
		}
		if len(entries) == 0 {
			continue
		}
		out, err := r.Stack.Clients.Events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: entries})
		if err != nil {
			return fmt.Errorf("announce %d orders: %w", len(entries), err)
		}
		for _, e := range out.Entries {
			if e.ErrorCode != nil {
				return fmt.Errorf("announce %d orders: %s: %s", len(entries), *e.ErrorCode, aws.ToString(e.ErrorMessage))
			}
		}
	}
	return r.awaitTakeover(ctx, orders, old)
}

// complete does the last of the workflow for a confirmed order: what is held is
// sold, and its end is announced. Both may be repeated.
func (r *Redriver) complete(ctx context.Context, o order.Order) error {
	if err := r.eachLine(ctx, o, "SET sold = sold + :q REMOVE holds.#oid"); err != nil {
		return err
	}
	if o.NotifiedAt != nil {
		return nil
	}
	now := order.At(time.Now())
	message, err := json.Marshal(map[string]any{"order_id": o.ID, "status": o.Status, "at": now})
	if err != nil {
		return fmt.Errorf("announce the end of order %s: %w", o.ID, err)
	}
	if _, err := r.Stack.Clients.SNS.Publish(ctx, &sns.PublishInput{TopicArn: aws.String(r.Stack.TopicARN()), Message: aws.String(string(message))}); err != nil {
		return fmt.Errorf("announce the end of order %s: %w", o.ID, err)
	}
	err = r.update(ctx, r.Stack.Orders(), orderdb.Key(orderdb.OrderKey, o.ID), change{
		set: "SET notified_at = if_not_exists(notified_at, :now)", when: "#status = :confirmed", names: map[string]string{"#status": "status"},
		values: orderdb.Item{":now": orderdb.S(now.String()), ":confirmed": orderdb.S(string(order.Confirmed))},
	})
	if err != nil {
		return fmt.Errorf("mark order %s as announced: %w", o.ID, err)
	}
	return nil
}

// A change is a conditional update of one item.
type change struct {
	set, when string
	names     map[string]string
	values    orderdb.Item
}

func (r *Redriver) update(ctx context.Context, table string, key orderdb.Item, c change) error {
	_, err := r.Stack.Clients.DynamoDB.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: &table, Key: key, UpdateExpression: &c.set, ConditionExpression: &c.when,
		ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,
	})
	return err
}

// refused reports whether a condition did not hold.
func refused(err error) bool {
	_, is := errors.AsType[*types.ConditionalCheckFailedException](err)
	return is
}
