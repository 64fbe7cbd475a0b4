package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"miniforge/internal/bench"
	"miniforge/internal/order"
)

// Orders of a storm come evenly, so many a second, whatever became of those
// before: a system that fails must not be spared by it.
const (
	stormRate   = 12
	stormLeast  = 24 // orders of a short one
	stormAtOnce = 64 // requests under way
)

// A storm is a load under faults.
type storm struct {
	*load
	injected map[string]int
	drained  time.Duration // from the end of the faults until all was at rest
}

// newStorm plans the orders of a storm. They follow from the seed, as the
// faults do: only the order in which things happen is left to chance.
func (l *lab) newStorm(ctx context.Context, seed uint64, d time.Duration) (*storm, error) {
	n := max(int(d.Seconds()*stormRate), stormLeast)
	s := &storm{load: &load{clients: stormAtOnce, posts: bench.NewHistogram(), situations: []*situation{
		{name: "ample", stocked: 10 * n},
		{name: "scarce", stocked: max(n/4, 1)},
		{name: "last", stocked: 1},
	}}}
	for _, x := range s.situations {
		sku, err := l.newSKU(ctx, x.stocked)
		if err != nil {
			return nil, err
		}
		x.sku, x.cut = sku, forever
	}
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // replays, keeps no secret
	for i := range n {
		key := l.newKey()
		s.jobs = append(s.jobs, job{key: key, id: order.IDForKey(key), request: request(stormToken(random), s.items(random, i)...), twin: twinOf(i)})
	}
	s.fates = make([]fate, n)
	return s, nil
}

// stormToken draws how an order is paid: most are paid, some have to be undone.
func stormToken(random *rand.Rand) string {
	switch x := random.Float64(); {
	case x < 0.65:
		return "tok_visa"
	case x < 0.9:
		return "tok_declined"
	default:
		return "tok_flaky"
	}
}

// items draws what is ordered. Orders of two lines are what compensation has
// to undo in part.
func (s *storm) items(random *rand.Rand, i int) []order.Item {
	ample, scarce, last := s.situations[0].sku, s.situations[1].sku, s.situations[2].sku
	some := order.Item{SKU: ample, Quantity: 1 + random.IntN(3)}
	switch {
	case i%8 == 0:
		return []order.Item{some, {SKU: last, Quantity: 1}}
	case random.Float64() < 0.4:
		return []order.Item{some, {SKU: scarce, Quantity: 1}}
	default:
		return []order.Item{some}
	}
}

// weather runs a storm: orders flow while faults strike, then the faults end
// and everything gets time to come to rest.
func (r *Run) weather(ctx context.Context) (*storm, error) {
	client, err := r.lab.connect(ctx)
	if err != nil {
		return nil, err
	}
	s, err := r.lab.newStorm(ctx, r.o.Seed, r.o.Duration)
	if err != nil {
		return nil, err
	}
	if err := r.o.Faults.Begin(ctx, r.o.Seed, r.o.Duration); err != nil {
		return nil, fmt.Errorf("begin faults: %w", err)
	}
	r.lab.adopt(s.load)
	defer func() {
		if s.injected == nil { // cut short: the faults must not stay
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), lettersLate)
			defer cancel()
			_, _ = r.o.Faults.End(late) // what cut it short is the error to tell
		}
	}()
	var eg errgroup.Group
	eg.SetLimit(stormAtOnce)
	start := time.Now()
	for i := range s.jobs {
		if err := sleep(ctx, time.Until(start.Add(r.o.Duration*time.Duration(i)/time.Duration(len(s.jobs))))); err != nil {
			break
		}
		eg.Go(func() error {
			ctx, cancel := context.WithTimeoutCause(ctx, r.o.Patience+r.o.Duration, errors.New("the system's time is up"))
			defer cancel()
			f, j := &s.fates[i], s.jobs[i]
			f.sent = time.Now()
			if f.answered, f.err = s.post(ctx, client, j, f); f.err == nil && j.twin != alone {
				_, f.err = s.post(ctx, client, j, f)
			}
			return nil
		})
	}
	err = sleep(ctx, time.Until(start.Add(r.o.Duration)))
	if err == nil {
		s.injected, err = r.o.Faults.End(ctx)
	}
	ended := time.Now()
	_ = eg.Wait() // errors are fates
	if err != nil {
		return nil, fmt.Errorf("end faults: %w", err)
	}
	s.unsettled = r.lab.settle(ctx, s.load)
	s.drained = time.Since(ended)
	return s, context.Cause(ctx)
}

// open are the orders that have not come to rest.
func (s *storm) open() (ids []string) {
	for _, o := range s.orders {
		if !atRest(o) {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

func (s *storm) stock() (all []order.Stock) {
	for _, x := range s.situations {
		all = append(all, x.final.stock)
	}
	return all
}

// tells reports whether a dead letter gives the reason for a failure.
func (l letter) tells(code order.FailureCode) bool {
	var body struct {
		Code   order.FailureCode `json:"code"`
		Reason string            `json:"reason"`
	}
	return json.Unmarshal([]byte(l.Body), &body) == nil && body.Code == code && body.Reason != ""
}
