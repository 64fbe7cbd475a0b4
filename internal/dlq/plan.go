package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
	"miniforge/internal/stack"
)

// Action is what redriving a letter amounts to.
type Action string

// The actions, each of which ends with the letter's deletion, but Refuse.
const (
	// Announce sends the event of orders that nobody has begun.
	Announce Action = "announce"
	// Rerun puts a failed order back to SUBMITTED and announces it.
	Rerun Action = "rerun"
	// Recover compensates a stuck order first, and then is as Rerun.
	Recover Action = "recover"
	// Complete sells and announces what is confirmed.
	Complete Action = "complete"
	// Forward delivers a notification to its queue.
	Forward Action = "forward"
	// Discard only deletes the letter: what it asks for has happened.
	Discard Action = "discard"
	// Refuse leaves the letter where it is.
	Refuse Action = "refuse"
)

// Plan is what redriving a letter would do, and why.
type Plan struct {
	Action Action `json:"action"`
	Why    string `json:"why"`
	// Orders are those that are run again, as they are now.
	Orders []order.Order `json:"-"`
}

// Redriver runs again what dead letters tell of.
type Redriver struct {
	Stack *stack.Stack
	// Codes are the failures of orders that are run again. By default those
	// that may have passed: PAYMENT_UNAVAILABLE and INTERNAL. Decisions (stock
	// that was not there, a declined payment) are run again only if they are
	// named here.
	Codes []order.FailureCode
	// Patience is how long to wait until a new run has taken an order over.
	Patience time.Duration
}

// Plan decides about a letter by the state of its orders. It changes nothing.
func (r *Redriver) Plan(ctx context.Context, l Letter) (Plan, error) {
	switch l.Source {
	case Workflow:
		return r.planRun(ctx, l)
	case Rule:
		if l.OrderID == "" {
			return Plan{Action: Refuse, Why: "the event names no order"}, nil
		}
		return r.planEvent(ctx, l.OrderID)
	case Stream:
		return r.planBatch(ctx, l)
	case Subscription:
		return Plan{Action: Forward, Why: "the notification has not reached its queue"}, nil
	default:
		return Plan{Action: Refuse, Why: "no part of this system sent it"}, nil
	}
}

// planRun decides about a letter of the workflow.
func (r *Redriver) planRun(ctx context.Context, l Letter) (Plan, error) {
	o, err := r.order(ctx, l.OrderID)
	if errors.Is(err, errAbsent) {
		return Plan{Action: Refuse, Why: "there is no such order any more"}, nil
	} else if err != nil {
		return Plan{}, err
	}
	plan := func(a Action, why string) (Plan, error) {
		return Plan{Action: a, Why: why, Orders: []order.Order{o}}, nil
	}
	switch {
	case o.ExecutionARN == "" && o.Status == order.Submitted:
		// An earlier redrive got no further, or the workflow could not claim it.
		return plan(Announce, "the order waits for a run")
	case o.ExecutionARN != l.ExecutionARN:
		return plan(Discard, "a later run has the order, which is "+string(o.Status))
	}
	running, err := r.running(ctx, l.ExecutionARN)
	switch {
	case err != nil:
		return Plan{}, err
	case running:
		return plan(Refuse, "its execution is still running")
	case o.Status == order.Confirmed && o.NotifiedAt != nil:
		held, err := r.held(ctx, o)
		if err != nil || len(held) > 0 {
			return Plan{Action: Complete, Why: "the order is confirmed, but not all of it is sold", Orders: []order.Order{o}}, err
		}
		return plan(Discard, "the order is confirmed and completed")
	case o.Status == order.Confirmed:
		return plan(Complete, "the order is confirmed, but was not announced")
	case o.Status == order.Failed:
		return r.planFailed(o)
	default:
		return plan(Recover, "the order is stuck at "+string(o.Status))
	}
}

func (r *Redriver) planFailed(o order.Order) (Plan, error) {
	code := order.Internal
	if o.Failure != nil {
		code = o.Failure.Code
	}
	wanted := slices.Contains(r.Codes, code) || len(r.Codes) == 0 && code.Transient()
	switch {
	case !wanted && code.Transient():
		return Plan{Action: Refuse, Why: fmt.Sprintf("it failed with %s, which was not asked for", code), Orders: []order.Order{o}}, nil
	case !wanted:
		return Plan{Action: Refuse, Why: fmt.Sprintf("%s is a decision, not a fault: name it with --code to run the order again", code), Orders: []order.Order{o}}, nil
	case o.Charged():
		// Cannot be, and must not be made worse.
		return Plan{Action: Refuse, Why: "the order failed, yet its charge was not refunded: see to that first", Orders: []order.Order{o}}, nil
	}
	return Plan{Action: Rerun, Why: "the order failed with " + string(code), Orders: []order.Order{o}}, nil
}

// planEvent decides about an order whose event was lost.
func (r *Redriver) planEvent(ctx context.Context, id string) (Plan, error) {
	o, err := r.order(ctx, id)
	switch {
	case errors.Is(err, errAbsent):
		return Plan{Action: Refuse, Why: "there is no such order any more"}, nil
	case err != nil:
		return Plan{}, err
	case waits(o):
		return Plan{Action: Announce, Why: "the order waits for a run", Orders: []order.Order{o}}, nil
	}
	return Plan{Action: Discard, Why: "a run has the order, which is " + string(o.Status), Orders: []order.Order{o}}, nil
}

// waits reports whether no run has taken an order over.
func waits(o order.Order) bool { return o.Status == order.Submitted && o.ExecutionARN == "" }

// clocksDiffer widens the time in which the orders of a batch were placed: its
// times are those of the stream, which come a little later, and approximate.
const clocksDiffer = time.Minute

// planBatch looks for the orders of a batch. The letter names records, which
// the stream forgets after a day; the orders that got nowhere are found by their
// state and time. One that belongs to another batch may be among them: to
// announce it, too, does no harm.
func (r *Redriver) planBatch(ctx context.Context, l Letter) (Plan, error) {
	if l.batch.From.IsZero() || l.batch.To.IsZero() {
		return Plan{Action: Refuse, Why: "the letter does not tell the time of its records"}, nil
	}
	pages := dynamodb.NewQueryPaginator(r.Stack.Clients.DynamoDB, &dynamodb.QueryInput{
		TableName: aws.String(r.Stack.Orders()), IndexName: aws.String("by-status"),
		KeyConditionExpression:   aws.String("#status = :submitted AND created_at BETWEEN :from AND :to"),
		FilterExpression:         aws.String("attribute_not_exists(execution_arn)"),
		ExpressionAttributeNames: map[string]string{"#status": "status"},
		ExpressionAttributeValues: orderdb.Item{
			":submitted": orderdb.S(string(order.Submitted)),
			":from":      orderdb.S(order.At(l.batch.From.Add(-clocksDiffer)).String()),
			":to":        orderdb.S(order.At(l.batch.To.Add(clocksDiffer)).String()),
		},
	})
	p := Plan{Action: Discard, Why: "all orders of its time were taken over"}
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return Plan{}, fmt.Errorf("look for the orders of %s: %w", l.Where, err)
		}
		for _, item := range page.Items {
			var found order.Order
			if err := orderdb.Unmarshal(item, &found); err != nil {
				return Plan{}, fmt.Errorf("look for the orders of %s: %w", l.Where, err)
			}
			// The index is a little behind.
			o, err := r.order(ctx, found.ID)
			if errors.Is(err, errAbsent) {
				continue
			} else if err != nil {
				return Plan{}, err
			}
			if waits(o) {
				p.Orders = append(p.Orders, o)
			}
		}
	}
	if len(p.Orders) > 0 {
		p.Action, p.Why = Announce, fmt.Sprintf("%d orders of its time wait for a run", len(p.Orders))
	}
	return p, nil
}

var errAbsent = errors.New("no such item")

func (r *Redriver) order(ctx context.Context, id string) (o order.Order, err error) {
	_, err = r.get(ctx, r.Stack.Orders(), orderdb.Key(orderdb.OrderKey, id), &o)
	return o, err
}

// get reads an item, and the time of the server that had it.
func (r *Redriver) get(ctx context.Context, table string, key orderdb.Item, into any) (time.Time, error) {
	out, err := r.Stack.Clients.DynamoDB.GetItem(ctx, &dynamodb.GetItemInput{TableName: &table, Key: key, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s: %w", table, err)
	}
	if len(out.Item) == 0 {
		return time.Time{}, errAbsent
	}
	at, told := middleware.GetServerTime(out.ResultMetadata)
	if !told {
		at = time.Now()
	}
	return at, orderdb.Unmarshal(out.Item, into)
}

// held are the lines of an order for which stock is held.
func (r *Redriver) held(ctx context.Context, o order.Order) (lines []order.Item, err error) {
	for _, line := range o.Items {
		var s order.Stock
		_, err := r.get(ctx, r.Stack.Inventory(), orderdb.Key(orderdb.StockKey, line.SKU), &s)
		if errors.Is(err, errAbsent) {
			continue
		} else if err != nil {
			return nil, err
		}
		if _, held := s.Holds[o.ID]; held {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

// running reports whether an execution has not ended. One that is forgotten has.
func (r *Redriver) running(ctx context.Context, arn string) (bool, error) {
	out, err := r.Stack.Clients.SFN.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &arn})
	if _, gone := errors.AsType[*sfntypes.ExecutionDoesNotExist](err); gone {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("describe execution %s: %w", arn, err)
	}
	return out.Status == sfntypes.ExecutionStatusRunning || out.Status == sfntypes.ExecutionStatusPendingRedrive, nil
}
