package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"miniforge/internal/dlq"
	"miniforge/internal/order"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

// dlqOptions are common to redrive and purge.
type dlqOptions struct {
	dryRun bool
	rate   float64
	max    int
	codes  []string
}

func (o *dlqOptions) check(c *cobra.Command) error {
	if o.max < 0 || o.rate < 0 {
		return usageError(c, errors.New("--max and --rate must not be negative"))
	}
	return nil
}

func (a *app) redriveCommand() *cobra.Command {
	var o dlqOptions
	var patience time.Duration
	c := &cobra.Command{
		Use:   "redrive",
		Short: "Run again what failed, from a consistent state",
		Long: `Runs again what the dead letters tell of. An order that nobody has begun is announced again. An
order that failed for a reason that may have passed (PAYMENT_UNAVAILABLE, INTERNAL) is put back to
SUBMITTED and announced; one that is stuck is compensated first. A notification is delivered to its
queue. Each letter is deleted once a new run has taken the order over, and not before.

Orders that failed by a decision (INSUFFICIENT_STOCK, UNKNOWN_SKU, PAYMENT_DECLINED) are left alone
unless their code is named: --code INSUFFICIENT_STOCK, when there is new stock.`,
		Args: args(cobra.NoArgs),
	}
	c.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		if err := o.check(c); err != nil {
			return nil, err
		}
		codes, err := failureCodes(o.codes)
		if err != nil {
			return nil, usageError(c, err)
		}
		return a.redrive(ctx, o, codes, patience)
	})
	f := c.Flags()
	f.BoolVar(&o.dryRun, "dry-run", false, "only tell what would be done")
	f.Float64Var(&o.rate, "rate", 0, "at most so many a second (default: as fast as it goes)")
	f.IntVar(&o.max, "max", 0, "redrive at most so many (default: all)")
	f.StringSliceVar(&o.codes, "code", nil, "failures of orders to run again (default: PAYMENT_UNAVAILABLE,INTERNAL)")
	f.DurationVar(&patience, "patience", time.Minute, "how long to wait for a new run to take an order over")
	return c
}

// failureCodes reads failure codes as they are written on a command line.
func failureCodes(names []string) ([]order.FailureCode, error) {
	var codes []order.FailureCode
	for _, name := range names {
		code := order.FailureCode(name)
		if !slices.Contains(order.FailureCodes(), code) {
			return nil, fmt.Errorf("no failure code %q; there are %v", ui.Clean(name), order.FailureCodes())
		}
		codes = append(codes, code)
	}
	return codes, nil
}

func (a *app) redrive(ctx context.Context, o dlqOptions, codes []order.FailureCode, patience time.Duration) (Result, error) {
	_, s, err := a.stack(ctx, target.StartKnown)
	if err != nil {
		return nil, err
	}
	redriver := &dlq.Redriver{Stack: s, Codes: codes, Patience: patience}
	p := a.show()
	p.Title("Redriving dead letters", 0)
	r := redriveResult{DryRun: o.dryRun, Outcomes: []dlq.Outcome{}}
	err = withDeadLetters(ctx, s, redriveTime, func(q *dlq.Queue) (err error) {
		r.Outcomes, err = redriver.Run(ctx, q, dlq.Options{DryRun: o.dryRun, Rate: o.rate, Max: o.max, Tell: func(out dlq.Outcome) {
			p.Start(out.Letter.MessageID)
			switch {
			case out.Error != "":
				p.End(out.Letter.MessageID, ui.Failed, out.Error)
			case out.Deleted:
				p.End(out.Letter.MessageID, ui.Changed, string(out.Plan.Action))
			default:
				p.End(out.Letter.MessageID, ui.Skipped, string(out.Plan.Action)+": "+out.Plan.Why)
			}
		}})
		return err
	})
	r.count()
	if err == nil && r.Failed > 0 {
		err = fail(exitFailed, "repeat miniforge dlq redrive: what was not redriven is in the queue still", fmt.Errorf("%d of %d dead letters could not be redriven", r.Failed, len(r.Outcomes)))
	}
	if err != nil && len(r.Outcomes) == 0 {
		return nil, err
	}
	return r, err
}

type redriveResult struct {
	DryRun   bool          `json:"dry_run"`
	Redriven int           `json:"redriven"` // with --dry-run: that would be
	Refused  int           `json:"refused"`
	Failed   int           `json:"failed"`
	Outcomes []dlq.Outcome `json:"outcomes"`
}

func (r *redriveResult) count() {
	for _, o := range r.Outcomes {
		switch {
		case o.Error != "":
			r.Failed++
		case o.Plan.Action == dlq.Refuse:
			r.Refused++
		default:
			r.Redriven++
		}
	}
}

// Text implements Result.
func (r redriveResult) Text(p *ui.Page) {
	if len(r.Outcomes) == 0 {
		p.Line("The dead-letter queue is empty.")
		return
	}
	rows := make([][]string, len(r.Outcomes))
	for i, o := range r.Outcomes {
		what := o.Plan.Why
		if o.Error != "" {
			what = o.Error
		}
		rows[i] = []string{string(o.Letter.Source), ui.Clean(o.Letter.OrderID), ui.Clean(o.Letter.Code), string(o.Plan.Action), strconv.FormatBool(o.Deleted), ui.Clean(shorten(what))}
	}
	p.Table([]string{"FROM", "ORDER", "CODE", "ACTION", "DONE", "WHY"}, rows)
	verb := "redriven"
	if r.DryRun {
		verb = "would be redriven"
	}
	p.Line(fmt.Sprintf("%d %s, %d left alone, %d failed", r.Redriven, verb, r.Refused, r.Failed))
}
