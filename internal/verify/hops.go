package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/check"
	"miniforge/internal/order"
	"miniforge/internal/stack"
)

// probe is an order that was sent through the system to be looked for.
type probe struct {
	id, requestID string
	sku           string
	placed        time.Time
}

// hops sends one order through the system, and another that fails, and looks
// for what they leave at each hop. The order of the checks is that of the hops:
// the first that fails is where the connection is broken.
func (r *Run) hops() []check.Check {
	good := once(func(ctx context.Context) (probe, error) { return r.probe(ctx, "tok_visa") })
	bad := once(func(ctx context.Context) (probe, error) { return r.probe(ctx, "tok_declined") })
	hop := func(id, title string, of func(context.Context) (probe, error), f func(context.Context, *check.T, probe) error) check.Check {
		return check.Check{ID: "hop." + id, Title: title, Run: func(ctx context.Context, t *check.T) error {
			p, err := of(ctx)
			if err != nil {
				return err
			}
			return f(ctx, t, p)
		}}
	}
	n := r.stack.Names
	logs := func(f, words string) func(context.Context, *check.T, probe) error {
		return func(ctx context.Context, t *check.T, p probe) error {
			return r.claimLog(ctx, t, n.FunctionLogGroup(f), p.id, words, p)
		}
	}
	return []check.Check{
		hop("api", "The API writes its access log", good, func(ctx context.Context, t *check.T, p probe) error {
			if !t.Claim("the answer's request id", "not empty", p.requestID, p.requestID != "") {
				return nil
			}
			return r.claimLog(ctx, t, n.APILogGroup(), p.requestID, "POST /orders", p)
		}),
		hop("intake", "The API reaches the intake, which logs the order", good, logs(stack.OrderIntake, "order accepted")),
		hop("table", "The intake stores the order", good, r.hopTable),
		hop("stream", "The table's stream reaches the stream processor, which announces the order", good, logs(stack.StreamProcessor, "order announced")),
		hop("execution", "The event reaches the rule, which starts the workflow with the event's detail", good, r.hopExecution),
		hop("checker", "The workflow asks the inventory checker", good, logs(stack.InventoryChecker, "stock checked")),
		hop("inventory", "The workflow takes the miniature from the stock", good, r.hopInventory),
		hop("payment", "The workflow asks the payment processor", good, logs(stack.PaymentProcessor, "payment done")),
		hop("workflow-log", "The workflow writes its log", good, r.hopWorkflowLog),
		hop("notification", "The topic reaches the notification queue", good, func(ctx context.Context, t *check.T, p probe) error {
			return r.claimLetter(ctx, t, r.lab.notifications, p)
		}),
		hop("failure", "A failed order is announced through the same topic", bad, func(ctx context.Context, t *check.T, p probe) error {
			return r.claimLetter(ctx, t, r.lab.notifications, p)
		}),
		hop("dead-letter", "A failed order reaches the dead-letter queue", bad, func(ctx context.Context, t *check.T, p probe) error {
			return r.claimLetter(ctx, t, r.lab.deadLetters, p)
		}),
	}
}

func (r *Run) probe(ctx context.Context, token string) (probe, error) {
	sku, err := r.lab.newSKU(ctx, plenty)
	if err != nil {
		return probe{}, err
	}
	placed := time.Now()
	a, err := r.lab.place(ctx, request(token, order.Item{SKU: sku, Quantity: 1}))
	if err != nil {
		return probe{}, fmt.Errorf("place probe order: %w", err)
	}
	return probe{id: a.ID, requestID: a.RequestID, sku: sku, placed: placed}, nil
}

func (r *Run) hopTable(ctx context.Context, t *check.T, p probe) error {
	o, err := r.lab.order(ctx, p.id)
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	check.Equal(t, "order in the table", p.id, o.ID)
	return nil
}

func (r *Run) hopExecution(ctx context.Context, t *check.T, p probe) error {
	var o order.Order
	err := check.Eventually(ctx, t, r.o.Patience, pause, func(ctx context.Context, t *check.T) (err error) {
		o, err = r.lab.order(ctx, p.id)
		t.Claim("execution that claimed the order", "one", o.ExecutionARN, o.ExecutionARN != "")
		return err
	})
	if err != nil || o.ExecutionARN == "" {
		return err
	}
	return check.Eventually(ctx, t, r.o.Patience, pause, func(ctx context.Context, t *check.T) error {
		e, err := r.stack.Clients.SFN.DescribeExecution(ctx, &sfn.DescribeExecutionInput{ExecutionArn: &o.ExecutionARN})
		if err != nil {
			return fmt.Errorf("describe execution: %w", err)
		}
		var in order.Placed
		if err := json.Unmarshal([]byte(aws.ToString(e.Input)), &in); err != nil {
			return fmt.Errorf("read input of execution: %w", err)
		}
		check.Equal(t, "state machine", r.stack.StateMachineARN(), aws.ToString(e.StateMachineArn))
		check.Equal(t, "order in its input", p.id, in.ID)
		check.Equal(t, "its end", sfntypes.ExecutionStatusSucceeded, e.Status)
		return nil
	})
}

// hopWorkflowLog looks for the execution's ARN, which is in every event of its
// log, also if the workflow is set not to log its data.
func (r *Run) hopWorkflowLog(ctx context.Context, t *check.T, p probe) error {
	o, err := r.lab.settled(ctx, p.id)
	if err != nil {
		return err
	}
	return r.claimLog(ctx, t, r.stack.WorkflowLogGroup(), o.ExecutionARN, "ExecutionSucceeded", p)
}

func (r *Run) hopInventory(ctx context.Context, t *check.T, p probe) error {
	return check.Eventually(ctx, t, r.o.Patience, pause, func(ctx context.Context, t *check.T) error {
		return r.lab.claimStock(ctx, t, p.sku, stockIs{available: plenty - 1, sold: 1})
	})
}

func (r *Run) claimLetter(ctx context.Context, t *check.T, m *mailbox, p probe) error {
	letters, err := m.find(ctx, p.id, r.o.Patience)
	if err != nil && !errors.Is(err, errNoLetter) {
		return err
	}
	got := fmt.Sprintf("%d messages", len(letters))
	if err != nil {
		got = err.Error()
	}
	t.Claim("messages about the order in "+m.name, "at least one", got, len(letters) > 0)
	return nil
}

// claimLog claims that a log group gets an event with a term and some words,
// soon. Log delivery is the slowest of all hops on AWS.
func (r *Run) claimLog(ctx context.Context, t *check.T, group, term, words string, p probe) error {
	from := p.placed.Add(-time.Minute).UnixMilli() // clocks differ
	return check.Eventually(ctx, t, r.o.Patience, 2*pause, func(ctx context.Context, t *check.T) error {
		pattern := `"` + term + `"`
		pages := cloudwatchlogs.NewFilterLogEventsPaginator(r.stack.Clients.Logs, &cloudwatchlogs.FilterLogEventsInput{
			LogGroupName: &group, FilterPattern: &pattern, StartTime: &from,
		})
		seen := []string{}
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return fmt.Errorf("read log group %s: %w", group, err)
			}
			for _, e := range page.Events {
				seen = append(seen, aws.ToString(e.Message))
			}
		}
		t.Contains(fmt.Sprintf("events about %s in %s", term, group), words, strings.Join(seen, "\n"))
		return nil
	})
}
