package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/spf13/cobra"

	"miniforge/internal/drive"
	"miniforge/internal/order"
	"miniforge/internal/orderdb"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

func (a *app) orderCommand() *cobra.Command {
	return group(&cobra.Command{Use: "order", Short: "Place orders and follow them"},
		a.orderSubmitCommand(), a.orderGetCommand(), a.orderListCommand(), a.orderWatchCommand())
}

// api reaches the stack's HTTP API.
func (a *app) api(ctx context.Context) (*drive.Client, *stack.Stack, error) {
	t, s, err := a.stack(ctx, target.StartKnown)
	if err != nil {
		return nil, nil, err
	}
	url, err := s.Endpoint(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &drive.Client{URL: url, HTTP: t.HTTP}, s, nil
}

func (a *app) orderGetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "get ORDER",
		Short: "Show an order with its timeline",
		Args:  args(cobra.ExactArgs(1)),
	}
	c.RunE = a.result(func(ctx context.Context, ids []string) (Result, error) {
		if err := checkIDs(c, ids); err != nil {
			return nil, err
		}
		api, _, err := a.api(ctx)
		if err != nil {
			return nil, err
		}
		v, err := api.Get(ctx, ids[0])
		if err != nil {
			return nil, explainProblem("read order "+ids[0], err)
		}
		return orderResult{v}, nil
	})
	return c
}

func checkIDs(c *cobra.Command, ids []string) error {
	for _, id := range ids {
		if !order.ValidID(id) {
			return usageError(c, fmt.Errorf("%q is not an order id", ui.Clean(id)))
		}
	}
	return nil
}

// explainProblem writes what the API refused, with every field at fault.
func explainProblem(doing string, err error) error {
	p, is := errors.AsType[*order.Problem](err)
	if !is {
		return err // it says already what was being done
	}
	lines := []string{doing + ": " + p.Title}
	if p.Detail != "" {
		lines[0] += ": " + p.Detail
	}
	for _, f := range p.Errors {
		lines = append(lines, cmp.Or(f.Field, "body")+": "+f.Message)
	}
	return fail(exitFailed, "", errors.New(strings.Join(lines, "\n")))
}

type orderResult struct{ order.View }

// Text implements Result.
func (r orderResult) Text(p *ui.Page) {
	p.Line(p.Bold(r.ID), statusText(p, r.Status))
	for _, i := range r.Items {
		p.Printf("  %d x %s\n", i.Quantity, i.SKU)
	}
	if r.Failure != nil {
		p.Line("  failure:", p.Bad(string(r.Failure.Code)), ui.Clean(r.Failure.Reason))
	}
	if r.Charge != nil {
		line := "  charge:  " + r.Charge.ID
		if r.Charge.RefundedAt != nil {
			line += ", refunded " + r.Charge.RefundedAt.String()
		}
		p.Line(line)
	}
	p.Line()
	rows := make([][]string, len(r.Timeline))
	for i, c := range r.Timeline {
		rows[i] = []string{c.At.String(), since(r.View, c), statusText(p, c.Status), ui.Clean(c.Detail)}
	}
	p.Table([]string{"AT", "AFTER", "STATUS", "DETAIL"}, rows)
}

func since(v order.View, c order.Change) string {
	return "+" + ui.Duration(c.At.Sub(v.CreatedAt.Time))
}

func statusText(p *ui.Page, s order.State) string {
	switch s {
	case order.Confirmed:
		return p.Good(string(s))
	case order.Failed:
		return p.Bad(string(s))
	default:
		return p.Warn(string(s))
	}
}

type orderListOptions struct {
	status string
	limit  int
}

func (a *app) orderListCommand() *cobra.Command {
	var o orderListOptions
	c := &cobra.Command{
		Use:   "list",
		Short: "List orders, the newest first",
		Args:  args(cobra.NoArgs),
	}
	c.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		states := order.States()
		if o.status != "" {
			s := order.State(strings.ToUpper(o.status))
			if !s.Valid() {
				return nil, usageError(c, fmt.Errorf("status %q: there are %s", ui.Clean(o.status), joined(order.States())))
			}
			states = []order.State{s}
		}
		if o.limit <= 0 {
			return nil, usageError(c, fmt.Errorf("limit %d is not positive", o.limit))
		}
		_, s, err := a.stack(ctx, target.StartKnown)
		if err != nil {
			return nil, err
		}
		return listOrders(ctx, s, states, o.limit)
	})
	c.Flags().StringVar(&o.status, "status", "", "only those in this state")
	c.Flags().IntVar(&o.limit, "limit", 50, "at most so many")
	return c
}

func joined[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = string(v)
	}
	return strings.Join(words, ", ")
}

// listOrders asks the index by status, once for each state, and merges.
func listOrders(ctx context.Context, s *stack.Stack, states []order.State, limit int) (Result, error) {
	r := orderListResult{Orders: []order.View{}}
	for _, state := range states {
		got, err := ordersIn(ctx, s, state, limit)
		if err != nil {
			return nil, err
		}
		r.Orders = append(r.Orders, got...)
	}
	slices.SortStableFunc(r.Orders, func(a, b order.View) int { return b.CreatedAt.Compare(a.CreatedAt.Time) })
	r.Orders = r.Orders[:min(limit, len(r.Orders))]
	return r, nil
}

func ordersIn(ctx context.Context, s *stack.Stack, state order.State, limit int) ([]order.View, error) {
	pages := dynamodb.NewQueryPaginator(s.Clients.DynamoDB, &dynamodb.QueryInput{
		TableName: aws.String(s.Orders()), IndexName: aws.String(stack.StatusIndex),
		KeyConditionExpression:    aws.String("#status = :status"),
		ExpressionAttributeNames:  map[string]string{"#status": "status"},
		ExpressionAttributeValues: orderdb.Item{":status": orderdb.S(string(state))},
		ScanIndexForward:          aws.Bool(false), Limit: aws.Int32(int32(min(limit, 1000))),
	})
	var list []order.View
	for pages.HasMorePages() && len(list) < limit {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, absent(s, "list orders", err)
		}
		for _, item := range page.Items {
			var o order.Order
			if err := orderdb.Unmarshal(item, &o); err != nil {
				return nil, fmt.Errorf("list orders: %w", err)
			}
			list = append(list, o.View())
		}
	}
	return list, nil
}

type orderListResult struct {
	Orders []order.View `json:"orders"`
}

// Text implements Result.
func (r orderListResult) Text(p *ui.Page) {
	rows := make([][]string, len(r.Orders))
	for i, o := range r.Orders {
		items := make([]string, len(o.Items))
		for j, item := range o.Items {
			items[j] = fmt.Sprintf("%d x %s", item.Quantity, item.SKU)
		}
		reason := ""
		if o.Failure != nil {
			reason = string(o.Failure.Code)
		}
		rows[i] = []string{o.ID, statusText(p, o.Status), o.CreatedAt.String(), ui.Duration(o.UpdatedAt.Sub(o.CreatedAt.Time)), strings.Join(items, ", "), reason}
	}
	p.Table([]string{"ORDER", "STATUS", "CREATED", "TOOK", "ITEMS", "FAILURE"}, rows)
}

func (a *app) orderWatchCommand() *cobra.Command {
	var expect string
	c := &cobra.Command{
		Use:   "watch ORDER...",
		Short: "Follow orders live until each is CONFIRMED or FAILED",
		Args:  args(cobra.MinimumNArgs(1)),
	}
	c.RunE = a.result(func(ctx context.Context, ids []string) (Result, error) {
		if err := errors.Join(checkIDs(c, ids), checkExpect(c, &expect)); err != nil {
			return nil, err
		}
		api, _, err := a.api(ctx)
		if err != nil {
			return nil, err
		}
		views, err := a.watch(ctx, api, ids)
		r := watchResult{Orders: views}
		return r, errors.Join(err, r.expected(expect))
	})
	c.Flags().StringVar(&expect, "expect", "", "exit with 5 unless all end in this state: CONFIRMED or FAILED")
	return c
}

func checkExpect(c *cobra.Command, expect *string) error {
	*expect = strings.ToUpper(*expect)
	if *expect == "" || order.State(*expect).Terminal() {
		return nil
	}
	return usageError(c, fmt.Errorf("expected state %q is not CONFIRMED or FAILED", ui.Clean(*expect)))
}

// A change is one step of an order's timeline, as watching streams it.
type change struct {
	OrderID string         `json:"order_id"`
	Status  order.State    `json:"status"`
	At      order.Time     `json:"at"`
	After   time.Duration  `json:"after_ns"` // since the order was placed
	Detail  string         `json:"detail,omitempty"`
	Failure *order.Failure `json:"failure,omitempty"`
}

// watchers is how many orders are polled at once.
const watchers = 16

// watch follows orders until each has ended and writes every change at once.
func (a *app) watch(ctx context.Context, api *drive.Client, ids []string) ([]order.View, error) {
	views := make([]order.View, len(ids))
	errs := make([]error, len(ids)+1) // and one for writing
	changes := make(chan change)
	go func() {
		defer close(changes)
		each(len(ids), watchers, func(i int) {
			told := 0
			views[i], errs[i] = api.Await(ctx, ids[i], func(v order.View) {
				for ; told < len(v.Timeline); told++ {
					changes <- changeOf(v, v.Timeline[told])
				}
			})
			if errs[i] != nil {
				errs[i] = explainProblem("watch order "+ids[i], errs[i])
			}
		})
	}()
	var failed error
	for c := range changes { // to the end even if writing fails: the senders wait
		if failed == nil {
			failed = a.emit(c, c.text)
		}
	}
	errs[len(ids)] = failed
	return views, errors.Join(errs...)
}

func changeOf(v order.View, c order.Change) change {
	out := change{OrderID: v.ID, Status: c.Status, At: c.At, After: c.At.Sub(v.CreatedAt.Time), Detail: c.Detail}
	if c.Status == order.Failed {
		out.Failure = v.Failure
	}
	return out
}

func (c change) text(p *ui.Page) {
	line := fmt.Sprintf("%s  %s%s", c.OrderID, statusText(p, c.Status), strings.Repeat(" ", max(1, 11-len(c.Status))))
	line += p.Dim("+" + ui.Duration(c.After))
	switch {
	case c.Failure != nil:
		line += "  " + string(c.Failure.Code) + ": " + ui.Clean(c.Failure.Reason)
	case c.Detail != "":
		line += "  " + p.Dim(ui.Clean(c.Detail))
	}
	p.Line(line)
}

type watchResult struct {
	Orders []order.View `json:"orders"`
}

// Text implements Result: everything has been written as it happened.
func (watchResult) Text(*ui.Page) {}

func (r watchResult) expected(state string) error {
	if state == "" {
		return nil
	}
	other := 0
	for _, v := range r.Orders {
		if v.Status != order.State(state) {
			other++
		}
	}
	if other == 0 {
		return nil
	}
	return fail(exitChecks, "", fmt.Errorf("%d of %d orders did not end %s", other, len(r.Orders), state))
}
