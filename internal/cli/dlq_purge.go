package cli

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"miniforge/internal/dlq"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

func (a *app) purgeCommand() *cobra.Command {
	var o dlqOptions
	c := &cobra.Command{
		Use:   "purge",
		Short: "Delete dead letters without running anything again",
		Long:  `Deletes the dead letters, after asking. What they tell of stays as it is: orders that failed stay FAILED, and what is stuck stays stuck.`,
		Args:  args(cobra.NoArgs),
	}
	c.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		if err := o.check(c); err != nil {
			return nil, err
		}
		return a.purge(ctx, o)
	})
	f := c.Flags()
	f.BoolVar(&o.dryRun, "dry-run", false, "only count them")
	f.IntVar(&o.max, "max", 0, "delete at most so many (default: all)")
	f.StringSliceVar(&o.codes, "code", nil, "delete only those with these codes")
	return c
}

func (a *app) purge(ctx context.Context, o dlqOptions) (Result, error) {
	t, s, err := a.stack(ctx, target.StartKnown)
	if err != nil {
		return nil, err
	}
	r := purgeResult{DryRun: o.dryRun}
	err = withDeadLetters(ctx, s, redriveTime, func(q *dlq.Queue) error {
		letters, err := a.matching(ctx, q, o)
		if err != nil {
			return err
		}
		r.Deleted = len(letters)
		if o.dryRun || len(letters) == 0 {
			return nil
		}
		r.Deleted = 0
		if err := a.confirm(ctx, fmt.Sprintf("Delete %d dead letters of stack %s in %s", len(letters), a.name, place(t))); err != nil {
			return err
		}
		// Exactly those that were counted: what has come since is not meant.
		r.Deleted, err = q.DeleteAll(ctx, letters)
		return err
	})
	if err != nil && r.Deleted == 0 {
		return nil, err
	}
	return r, err
}

// matching receives the letters that are to be deleted.
func (a *app) matching(ctx context.Context, q *dlq.Queue, o dlqOptions) ([]dlq.Letter, error) {
	var letters []dlq.Letter
	for o.max == 0 || len(letters) < o.max {
		fresh, err := q.Next(ctx, 10)
		if err != nil {
			return nil, err
		}
		if len(fresh) == 0 {
			break
		}
		for _, l := range fresh {
			if len(o.codes) == 0 || slices.Contains(o.codes, l.Code) {
				letters = append(letters, l)
			}
		}
	}
	if o.max > 0 && len(letters) > o.max {
		letters = letters[:o.max]
	}
	return letters, nil
}

type purgeResult struct {
	DryRun  bool `json:"dry_run"`
	Deleted int  `json:"deleted"` // with --dry-run: that would be
}

// Text implements Result.
func (r purgeResult) Text(p *ui.Page) {
	if r.DryRun {
		p.Line(fmt.Sprintf("%d dead letters would be deleted.", r.Deleted))
		return
	}
	p.Line(fmt.Sprintf("%d dead letters deleted.", r.Deleted))
}
