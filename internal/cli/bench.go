package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"miniforge/internal/bench"
	"miniforge/internal/bench/services"
	"miniforge/internal/check"
	"miniforge/internal/order"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/ui"
	"miniforge/internal/verify"
)

type benchOptions struct {
	clients  int
	duration time.Duration
	services []string
	orders   int
}

// ordersBench and cloudBench are measured beside the services.
const (
	ordersBench = "orders" // whole orders, if there is a stack
	cloudBench  = "cloud"  // the embedded cloud's start and memory
)

func benchNames() []string {
	return append(append([]string{cloudBench}, services.Names()...), ordersBench)
}

func (a *app) benchCommand() *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure the endpoint: start-up, memory, services, whole orders",
		Long: `Measures how often each service does its main operations and how long they take, with resources
of its own, which are removed at the end. If the stack is up, a function of it is invoked and whole
orders are placed and taken away again. On the local target, a second cloud is started in a folder of
its own to measure its start and its memory. On AWS this costs money: little, but not nothing.`,
		Args: args(cobra.NoArgs),
	}
	c.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		for _, name := range o.services {
			if !slices.Contains(benchNames(), name) {
				return nil, usageError(c, fmt.Errorf("no service %q; there are %s", ui.Clean(name), strings.Join(benchNames(), ", ")))
			}
		}
		if o.clients < 1 || o.duration <= 0 || o.orders < 1 {
			return nil, usageError(c, errors.New("--clients, --duration and --orders must be positive"))
		}
		return a.bench(ctx, o)
	})
	f := c.Flags()
	f.IntVar(&o.clients, "clients", 16, "how many do it at once")
	f.DurationVar(&o.duration, "duration", 5*time.Second, "how long each service is measured")
	f.IntVar(&o.orders, "orders", 200, "how many orders are placed")
	f.StringSliceVar(&o.services, "services", nil, "what to measure: "+strings.Join(benchNames(), ", ")+" (default: all)")
	return c
}

func (a *app) bench(ctx context.Context, o benchOptions) (Result, error) {
	t, s, err := a.stack(ctx, target.StartKnown)
	if err != nil {
		return nil, err
	}
	names := o.services
	if len(names) == 0 {
		names = benchNames()
	}
	r := benchResult{Place: placeOf(t), Version: version(), Clients: o.clients, Duration: o.duration, Results: []bench.Result{}, Skipped: []skipped{}}
	p := a.show()
	p.Title("Measuring "+t.Name(), len(names))
	var errs []error
	for _, name := range names {
		p.Start(name)
		before := len(r.Results)
		err := a.benchOne(ctx, name, t, s, o, &r)
		switch {
		case errors.Is(err, services.ErrSkipped):
			reason := strings.TrimPrefix(err.Error(), "prepare "+name+": "+services.ErrSkipped.Error()+": ")
			r.Skipped = append(r.Skipped, skipped{name, reason})
			p.End(name, ui.Skipped, reason)
		case err != nil:
			errs = append(errs, err)
			p.End(name, ui.Failed, firstLine(err))
		default:
			p.End(name, ui.Changed, fmt.Sprintf("%d operations", len(r.Results)-before))
		}
		if ctx.Err() != nil {
			return r, errors.Join(append(errs, context.Cause(ctx))...)
		}
	}
	return r, errors.Join(errs...)
}

func (a *app) benchOne(ctx context.Context, name string, t *target.Target, s *stack.Stack, o benchOptions, r *benchResult) error {
	switch name {
	case cloudBench:
		return a.benchCloud(ctx, t, r)
	case ordersBench:
		return a.benchOrders(ctx, t, s, o, r)
	}
	// Asks for what does not exist, which changes nothing.
	payload, err := json.Marshal(map[string]any{"order_id": "bench", "items": []order.Item{{SKU: "MF-BENCH", Quantity: 1}}})
	if err != nil {
		return err
	}
	measured := &services.Bench{
		Config: t.Config, Prefix: a.name + "-bench-" + strings.ToLower(rand.Text()[:8]), Tags: resource.Owner{Stack: a.name}.Tags(),
		Function: s.AliasARN(stack.InventoryChecker), Payload: payload, Clients: o.clients, Duration: o.duration,
	}
	results, err := measured.Measure(ctx, name)
	r.Results = append(r.Results, results...)
	return err
}

// benchOrders places orders as verify concurrency does, and lets it take them
// away again.
func (a *app) benchOrders(ctx context.Context, t *target.Target, s *stack.Stack, o benchOptions, r *benchResult) (err error) {
	if _, err := s.Endpoint(ctx); err != nil {
		return fmt.Errorf("%w: %w", services.ErrSkipped, err)
	}
	run := verify.New(s, verify.Options{HTTP: t.HTTP, Orders: o.orders, Clients: o.clients})
	defer func() {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
		defer cancel()
		err = errors.Join(err, run.Close(tidy))
	}()
	suites, err := run.Suites("concurrency")
	if err != nil {
		return err
	}
	var perSecond float64
	for _, result := range check.Run(ctx, suites, check.Options{Workers: 1}) {
		if !result.OK() {
			err = errors.Join(err, fmt.Errorf("orders: %s: %s %s %v", result.ID, result.Outcome, result.Reason, result.Failed()))
		}
		for _, m := range result.Measurements {
			if m.Unit == "orders/s" {
				perSecond = m.Value
			}
			if m.Latency != nil {
				r.Results = append(r.Results, bench.Result{Service: ordersBench, Operation: m.Name, Clients: o.clients, Latency: *m.Latency})
			}
		}
	}
	for i, x := range r.Results {
		if x.Service == ordersBench && strings.HasPrefix(x.Operation, "POST to ") {
			// Those that end so; all of them together are the throughput.
			r.Results[i].PerSecond = perSecond * float64(x.Latency.Count) / float64(o.orders)
		}
	}
	r.OrdersPerSecond = perSecond
	return err
}

type skipped struct {
	Service string `json:"service"`
	Reason  string `json:"reason"`
}

type benchResult struct {
	Place
	Version         string         `json:"version"`
	Clients         int            `json:"clients"`
	Duration        time.Duration  `json:"duration_ns"`
	Cloud           *cloudFigures  `json:"cloud,omitempty"`
	OrdersPerSecond float64        `json:"orders_per_second,omitempty"`
	Results         []bench.Result `json:"results"`
	Skipped         []skipped      `json:"skipped"`
}

// Text implements Result.
func (r benchResult) Text(p *ui.Page) {
	if r.Cloud != nil {
		p.Line(fmt.Sprintf("cloud: first answer after %s (a new folder), %s (an old one)%s", bench.Millis(r.Cloud.FirstStart), bench.Millis(r.Cloud.Start), r.Cloud.memory()))
	}
	if r.OrdersPerSecond > 0 {
		p.Line(fmt.Sprintf("orders: %.1f orders/s", r.OrdersPerSecond))
	}
	rows := make([][]string, len(r.Results))
	for i, x := range r.Results {
		rate, failures := "", ""
		if x.PerSecond > 0 {
			rate = strconv.FormatFloat(x.PerSecond, 'f', 1, 64)
		}
		if x.Errors > 0 {
			failures = fmt.Sprintf("%d: %s", x.Errors, shorten(x.Error))
		}
		rows[i] = []string{x.Service, x.Operation, rate, bench.Millis(x.Latency.P50), bench.Millis(x.Latency.P95), bench.Millis(x.Latency.P99), bench.Millis(x.Latency.Max), ui.Clean(failures)}
	}
	if len(rows) > 0 {
		p.Table([]string{"SERVICE", "OPERATION", "PER SECOND", "P50", "P95", "P99", "MAX", "ERRORS"}, rows)
	}
	for _, s := range r.Skipped {
		p.Line(fmt.Sprintf("%s: skipped: %s", s.Service, ui.Clean(s.Reason)))
	}
}
