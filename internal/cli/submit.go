package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"miniforge/internal/bench"
	"miniforge/internal/drive"
	"miniforge/internal/order"
	"miniforge/internal/orderdb"
	"miniforge/internal/ui"
)

type submitOptions struct {
	items                  []string
	token, customer, email string
	file, key, expect      string
	count, concurrency     int
	watch, wait            bool
}

func (a *app) orderSubmitCommand() *cobra.Command {
	var o submitOptions
	c := &cobra.Command{
		Use:   "submit",
		Short: "Place orders",
		Long: `Places orders given by flags, or by a JSON file (- for standard input) with one order,
an array of them, or one after the other. --count repeats them.

Payment tokens: tok_visa is approved, tok_declined declined, tok_flaky fails once,
tok_timeout takes too long, tok_down never answers.`,
		Example: `  miniforge order submit --item MF-DRAGON-01=2 --watch
  miniforge order submit --item MF-GOLEM-02 --token tok_declined --wait
  miniforge order submit --item MF-PALADIN-03 --count 500 --concurrency 32 --wait
  miniforge order submit --file orders.json -o json`,
		Args: args(cobra.NoArgs),
	}
	c.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		requests, err := a.requests(c, &o)
		if err != nil {
			return nil, err
		}
		return a.submit(ctx, o, requests)
	})
	f := c.Flags()
	f.StringArrayVar(&o.items, "item", nil, "SKU or SKU=QUANTITY; may be repeated")
	f.StringVar(&o.token, "token", "tok_visa", "payment token")
	f.StringVar(&o.customer, "customer", "Ada Lovelace", "name of the customer")
	f.StringVar(&o.email, "email", "ada@example.com", "address of the customer")
	f.StringVarP(&o.file, "file", "f", "", "file with orders in JSON; - for standard input")
	f.StringVar(&o.key, "idempotency-key", "", "place the order once, however often it is sent; with --count, -1, -2 ... is appended")
	f.IntVar(&o.count, "count", 1, "place each order so many times")
	f.IntVar(&o.concurrency, "concurrency", 8, "orders under way at once")
	f.BoolVar(&o.watch, "watch", false, "follow the orders live until they end")
	f.BoolVar(&o.wait, "wait", false, "wait until the orders end")
	f.StringVar(&o.expect, "expect", "", "wait, and exit with 5 unless all end in this state: CONFIRMED or FAILED")
	return c
}

// maxCount keeps a slip of the finger from placing orders for days.
const maxCount = 1_000_000

// requests are the orders that the flags ask for, checked by the API's rules.
func (a *app) requests(c *cobra.Command, o *submitOptions) ([]order.Request, error) {
	switch {
	case o.count < 1 || o.count > maxCount:
		return nil, usageError(c, fmt.Errorf("count %d is not between 1 and %d", o.count, maxCount))
	case o.concurrency < 1 || o.concurrency > 1024:
		return nil, usageError(c, fmt.Errorf("concurrency %d is not between 1 and 1024", o.concurrency))
	case o.file == "" && len(o.items) == 0:
		return nil, usageError(c, errors.New("no order given: say --item SKU, or --file"))
	case o.file != "" && len(o.items) > 0:
		return nil, usageError(c, errors.New("--item and --file exclude each other"))
	}
	if err := checkExpect(c, &o.expect); err != nil {
		return nil, err
	}
	if err := order.CheckKey(o.key); o.key != "" && err != nil {
		return nil, usageError(c, problemText("idempotency key", err))
	}
	o.wait = o.wait || o.expect != ""
	if o.file != "" {
		list, err := a.readOrders(o.file)
		if err != nil {
			return nil, usageError(c, err)
		}
		return list, nil
	}
	r := order.Request{Customer: order.Customer{Name: o.customer, Email: o.email}, Payment: order.Payment{Token: o.token}}
	for _, text := range o.items {
		item, err := parseItem(text)
		if err != nil {
			return nil, usageError(c, err)
		}
		r.Items = append(r.Items, item)
	}
	if err := r.Validate(); err != nil {
		return nil, usageError(c, problemText("order", err))
	}
	return []order.Request{r}, nil
}

func parseItem(text string) (order.Item, error) {
	sku, number, given := strings.Cut(text, "=")
	if !given {
		return order.Item{SKU: sku, Quantity: 1}, nil
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return order.Item{}, fmt.Errorf("item %q: want SKU or SKU=QUANTITY", ui.Clean(text))
	}
	return order.Item{SKU: sku, Quantity: n}, nil
}

func problemText(what string, err error) error {
	p, is := errors.AsType[*order.Problem](err)
	if !is {
		return fmt.Errorf("%s: %w", what, err)
	}
	parts := make([]string, len(p.Errors))
	for i, f := range p.Errors {
		parts[i] = strings.TrimPrefix(f.Field+": "+f.Message, ": ")
	}
	if len(parts) == 0 {
		parts = []string{p.Title}
	}
	return fmt.Errorf("%s: %s", what, strings.Join(parts, "; "))
}

// readOrders reads one order, an array, or several values one after another.
func (a *app) readOrders(path string) ([]order.Request, error) {
	in := a.env.Stdin
	if path != "-" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(a.env.Dir, path)
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read orders: %w", err)
		}
		defer f.Close()
		in = f
	}
	var list []order.Request
	dec := json.NewDecoder(in)
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read orders: %w", err)
		}
		bodies := []json.RawMessage{raw}
		if raw[0] == '[' {
			if err := json.Unmarshal(raw, &bodies); err != nil {
				return nil, fmt.Errorf("read orders: %w", err)
			}
		}
		for _, body := range bodies {
			r, err := order.ParseRequest(body)
			if err != nil {
				return nil, problemText(fmt.Sprintf("order %d", len(list)+1), err)
			}
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("read orders: there is none")
	}
	return list, nil
}

func (a *app) submit(ctx context.Context, o submitOptions, requests []order.Request) (Result, error) {
	api, st, err := a.api(ctx)
	if err != nil {
		return nil, err
	}
	total := len(requests) * o.count
	if total == 1 {
		return a.submitOne(ctx, api, o, requests[0])
	}
	b := drive.Burst{
		Count: total, Concurrency: o.concurrency, Wait: o.wait && !o.watch, Tries: 1,
		Make: func(i int) (order.Request, string) {
			if o.key == "" {
				return requests[i%len(requests)], ""
			}
			return requests[i%len(requests)], fmt.Sprintf("%s-%d", o.key, i+1)
		},
		Read: func(ctx context.Context, ids []string) ([]order.View, error) {
			return orderdb.ReadViews(ctx, st.Clients.DynamoDB, st.Orders(), ids, orderdb.OrderKey, "status", "created_at", "timeline")
		},
	}
	p := a.show()
	p.Title(fmt.Sprintf("Placing %d orders", total), total)
	b.Progress = func(f drive.Fate) {
		id := fmt.Sprintf("orders/%d", f.Index+1)
		if f.Err != nil {
			p.End(id, ui.Failed, f.Err.Error())
			return
		}
		p.End(id, ui.Unchanged, string(f.Status))
	}
	sum, err := api.Burst(ctx, b)
	a.endProgress()
	r := submitResult{summary: &sum, Orders: fates(sum)}
	if err == nil && o.watch {
		err = a.watchAll(ctx, api, &r)
	}
	return r, errors.Join(err, r.refused(), r.expected(o.expect))
}

func (a *app) submitOne(ctx context.Context, api *drive.Client, o submitOptions, request order.Request) (Result, error) {
	got, err := api.Place(ctx, request, o.key)
	if err != nil {
		return nil, explainProblem("place order", err)
	}
	r := submitResult{Orders: []fate{{ID: got.ID, Status: got.Status, Accept: got.Took}}}
	switch {
	case o.watch:
		err = a.watchAll(ctx, api, &r)
	case o.wait:
		began := time.Now()
		var v order.View
		v, err = api.Await(ctx, got.ID, nil)
		r.Orders[0].Complete = got.Took + time.Since(began)
		r.Orders[0].end(v)
	}
	return r, errors.Join(err, r.expected(o.expect))
}

// watchAll follows all orders that were accepted.
func (a *app) watchAll(ctx context.Context, api *drive.Client, r *submitResult) error {
	var ids []string
	var index []int
	for i, f := range r.Orders {
		if f.ID != "" {
			ids, index = append(ids, f.ID), append(index, i)
		}
	}
	views, err := a.watch(ctx, api, ids)
	for i, v := range views {
		r.Orders[index[i]].end(v)
	}
	r.watched = true
	return err
}

type submitResult struct {
	Orders  []fate `json:"orders"`
	summary *drive.Summary
	watched bool
}

// A fate is what became of one order.
type fate struct {
	ID       string         `json:"order_id,omitempty"`
	Key      string         `json:"idempotency_key,omitempty"`
	Status   order.State    `json:"status,omitempty"`
	Failure  *order.Failure `json:"failure,omitempty"`
	Accept   time.Duration  `json:"accept_ns"`
	Complete time.Duration  `json:"complete_ns,omitempty"`
	Error    string         `json:"error,omitempty"`
}

func (f *fate) end(v order.View) {
	if v.ID != "" {
		f.Status, f.Failure = v.Status, v.Failure
	}
}

func fates(s drive.Summary) []fate {
	list := make([]fate, len(s.Fates))
	for i, f := range s.Fates {
		list[i] = fate{ID: f.ID, Key: f.Key, Status: f.Status, Accept: f.Accept, Complete: f.Complete}
		if f.Err != nil {
			list[i].Error = f.Err.Error()
		}
	}
	return list
}

// MarshalJSON adds the figures of a burst.
func (r submitResult) MarshalJSON() ([]byte, error) {
	type plain submitResult
	out := struct {
		plain
		Accepted int            `json:"accepted"`
		Rate     float64        `json:"orders_per_second,omitempty"`
		Accept   *bench.Latency `json:"accept,omitempty"`
		Complete *bench.Latency `json:"complete,omitempty"`
	}{plain: plain(r)}
	for _, f := range r.Orders {
		if f.ID != "" {
			out.Accepted++
		}
	}
	if s := r.summary; s != nil {
		out.Rate, out.Accept = s.Rate(), &s.Accept
		if s.Complete.Count > 0 {
			out.Complete = &s.Complete
		}
	}
	return marshal(out)
}

// Text implements Result.
func (r submitResult) Text(p *ui.Page) {
	if r.summary == nil {
		if r.watched {
			return
		}
		f := r.Orders[0]
		p.Line(p.Bold(f.ID), statusText(p, f.Status), p.Dim("accepted in "+ui.Duration(f.Accept)))
		if f.Failure != nil {
			p.Line(" ", string(f.Failure.Code)+":", ui.Clean(f.Failure.Reason))
		}
		if !f.Status.Terminal() {
			p.Line(p.Dim("next: miniforge order watch " + f.ID))
		}
		return
	}
	s := *r.summary
	p.Line(p.Bold(fmt.Sprintf("%d of %d orders accepted", s.Accepted(), len(s.Fates))), fmt.Sprintf("in %s, %.1f/s", ui.Duration(s.Took), s.Rate()))
	p.Line("  accept:  ", s.Accept.String())
	if s.Complete.Count > 0 {
		p.Line("  complete:", s.Complete.String())
	}
	ended := map[order.State]int{}
	for _, f := range r.Orders {
		ended[f.Status]++
	}
	for _, state := range order.States() {
		if ended[state] > 0 {
			p.Line("  "+statusText(p, state), strconv.Itoa(ended[state]))
		}
	}
}

func (r submitResult) refused() error {
	n, first := 0, ""
	for _, f := range r.Orders {
		if f.Error != "" {
			if n++; first == "" {
				first = f.Error
			}
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d orders failed on the way, the first: %s", n, len(r.Orders), first)
}

func (r submitResult) expected(state string) error {
	views := make([]order.View, len(r.Orders))
	for i, f := range r.Orders {
		views[i].Status = f.Status
	}
	return watchResult{Orders: views}.expected(state)
}
