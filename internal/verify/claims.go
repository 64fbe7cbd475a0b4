package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"miniforge/internal/check"
	"miniforge/internal/drive"
	"miniforge/internal/order"
)

// claimConfirmed claims all that is true of a confirmed order.
func claimConfirmed(t *check.T, o order.Order, attempts int) {
	check.Equal(t, "status", order.Confirmed, o.Status)
	check.Equal(t, "path", "SUBMITTED RESERVED CONFIRMED", path(o))
	check.Equal(t, "failure", "none", failure(o))
	check.Equal(t, "charged", true, o.Charged())
	if o.Charge != nil {
		check.Equal(t, "charge", order.ChargeID(o.ID), o.Charge.ID)
		check.Equal(t, "payment attempts", attempts, o.Charge.Attempts)
	}
	check.Equal(t, "announced", true, o.NotifiedAt != nil)
	check.Equal(t, "dead-lettered", false, o.DeadLetteredAt != nil)
	check.Equal(t, "claimed by an execution", true, o.ExecutionARN != "")
}

// claimFailed claims all that is true of an order that failed for a reason.
func claimFailed(t *check.T, o order.Order, code order.FailureCode) {
	check.Equal(t, "status", order.Failed, o.Status)
	check.Equal(t, "reason", string(code), failure(o))
	check.Equal(t, "charged", false, o.Charged())
	check.Equal(t, "announced", true, o.NotifiedAt != nil)
	check.Equal(t, "dead-lettered", true, o.DeadLetteredAt != nil)
	check.Equal(t, "claimed by an execution", true, o.ExecutionARN != "")
}

// path is the order's way through the states: "SUBMITTED RESERVED CONFIRMED".
func path(o order.Order) string {
	var states []string
	for _, c := range o.Timeline {
		states = append(states, string(c.Status))
	}
	return strings.Join(states, " ")
}

func failure(o order.Order) string {
	if o.Failure == nil {
		return "none"
	}
	return string(o.Failure.Code)
}

// stockIs is what there should be of a miniature; nothing should be held.
type stockIs struct{ available, sold int }

func (l *lab) claimStock(ctx context.Context, t *check.T, sku string, want stockIs) error {
	s, err := l.stockOf(ctx, sku)
	if err != nil {
		return err
	}
	text := func(available, sold, held int) string {
		return fmt.Sprintf("%d available, %d sold, %d held", available, sold, held)
	}
	check.Equal(t, "stock of "+sku, text(want.available, want.sold, 0), text(s.Available, s.Sold, s.Held()))
	return nil
}

// claimRefused claims that the API refused a request with a status, because of
// one field. An error that is no answer of the API is returned.
func claimRefused(t *check.T, err error, status int, field string) error {
	problem, refused := errors.AsType[*order.Problem](err)
	_, answered := errors.AsType[*drive.StatusError](err)
	if err != nil && !refused && !answered {
		return err
	}
	want := fmt.Sprintf("%d, as a problem", status)
	if t.Claim("answer", want, fmt.Sprint(err), refused && problem.Status == status && len(problem.Errors) > 0) {
		check.Equal(t, "field at fault", field, problem.Errors[0].Field)
	}
	return nil
}

// concurrently calls f n times at once and returns what all calls returned.
func concurrently[V any](n int, f func() (V, error)) ([]V, error) {
	out := make([]V, n)
	var eg errgroup.Group
	for i := range n {
		eg.Go(func() (err error) {
			out[i], err = f()
			return err
		})
	}
	return out, eg.Wait()
}
