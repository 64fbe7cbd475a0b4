package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"miniforge/internal/dlq"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

func (a *app) dlqCommand() *cobra.Command {
	var limit int
	list := &cobra.Command{
		Use:   "list",
		Short: "List what failed, where, why and how often; the messages stay",
		Args:  args(cobra.NoArgs),
	}
	list.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		if limit <= 0 {
			return nil, usageError(list, fmt.Errorf("limit %d is not positive", limit))
		}
		_, s, err := a.stack(ctx, target.StartKnown)
		if err != nil {
			return nil, err
		}
		return listDeadLetters(ctx, s, limit)
	})
	list.Flags().IntVar(&limit, "limit", 100, "at most so many")
	return group(&cobra.Command{Use: "dlq", Short: "See, run again or delete what is in the dead-letter queue"},
		list, a.redriveCommand(), a.purgeCommand())
}

// peekTime is how long messages are hidden while they are listed, and
// redriveTime while they are redriven. If this process dies, they appear again
// after it.
const (
	peekTime    = 30 * time.Second
	redriveTime = 10 * time.Minute
)

func listDeadLetters(ctx context.Context, s *stack.Stack, limit int) (Result, error) {
	var r dlqResult
	err := withDeadLetters(ctx, s, peekTime, func(q *dlq.Queue) (err error) {
		if r.Messages, err = q.All(ctx, limit); err != nil {
			return err
		}
		r.Total, err = q.Depth(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	// The count is approximate, and late on AWS.
	r.Total = max(r.Total, len(r.Messages))
	r.Failures = failuresOf(r.Messages)
	return r, nil
}

// withDeadLetters opens the queue, and shows again what was received from it
// when f has ended, also after Ctrl-C.
func withDeadLetters(ctx context.Context, s *stack.Stack, hidden time.Duration, f func(*dlq.Queue) error) (err error) {
	q, err := dlq.Open(ctx, s.Clients.SQS, s.DeadLetters(), hidden)
	if errors.Is(err, dlq.ErrNoQueue) {
		return fail(exitFailed, "run: miniforge up", fmt.Errorf("read dead letters: there is no stack %s in account %s, region %s", s.Name, s.Account, s.Region))
	} else if err != nil {
		return err
	}
	defer func() {
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), peekTime)
		defer cancel()
		err = errors.Join(err, q.Close(back))
	}()
	return f(q)
}

// A failureCount tells how often the same went wrong.
type failureCount struct {
	Source dlq.Source `json:"source"`
	Code   string     `json:"code,omitempty"`
	Count  int        `json:"count"`
}

func failuresOf(letters []dlq.Letter) []failureCount {
	counts := []failureCount{}
	for _, l := range letters {
		i := slices.IndexFunc(counts, func(c failureCount) bool { return c.Source == l.Source && c.Code == l.Code })
		if i < 0 {
			i = len(counts)
			counts = append(counts, failureCount{Source: l.Source, Code: l.Code})
		}
		counts[i].Count++
	}
	slices.SortStableFunc(counts, func(a, b failureCount) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Source, b.Source), cmp.Compare(a.Code, b.Code))
	})
	return counts
}

type dlqResult struct {
	Total    int            `json:"total"` // in the queue, about
	Failures []failureCount `json:"failures"`
	Messages []dlq.Letter   `json:"messages"`
}

// Text implements Result.
func (r dlqResult) Text(p *ui.Page) {
	if len(r.Messages) == 0 {
		p.Line("The dead-letter queue is empty.")
		return
	}
	rows := make([][]string, len(r.Messages))
	for i, m := range r.Messages {
		reason := m.Reason
		if m.Source == dlq.Unknown {
			reason = m.Body
		}
		tries := ""
		if m.Attempts > 0 {
			tries = strconv.Itoa(m.Attempts)
		}
		rows[i] = []string{m.At.Format(time.RFC3339), string(m.Source), ui.Clean(m.OrderID), ui.Clean(m.Code), ui.Clean(shorten(reason)), ui.Clean(m.Where), tries}
	}
	p.Table([]string{"SENT", "FROM", "ORDER", "CODE", "REASON", "WHERE", "TRIES"}, rows)
	p.Line("")
	for _, f := range r.Failures {
		p.Line(fmt.Sprintf("%d from %s: %s", f.Count, f.Source, cmp.Or(ui.Clean(f.Code), "no code")))
	}
	if r.Total > len(r.Messages) {
		p.Line(fmt.Sprintf("These are %d of about %d: see --limit.", len(r.Messages), r.Total))
	}
}
