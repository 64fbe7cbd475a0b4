package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"miniforge/internal/check"
	"miniforge/internal/order"
)

// Faults makes the target fail on purpose, by a schedule that follows from a
// seed and replays.
type Faults interface {
	// Begin starts a schedule that lasts for d.
	Begin(ctx context.Context, seed uint64, d time.Duration) error
	// End ends it, and tells how many faults of each kind were injected.
	End(ctx context.Context) (map[string]int, error)
}

// Replay is the command that runs the same schedule of faults again.
func (o Options) Replay() string {
	return fmt.Sprintf("miniforge verify resilience --seed %d --duration %s", o.Seed, o.Duration)
}

// resilience is the suite of orders that flow while the target fails. All its
// checks look at one such time, which begins when the first of them asks for it.
func (r *Run) resilience() check.Suite {
	run := once(r.weather)
	on := func(id, title string, f func(context.Context, *check.T, *storm) error) check.Check {
		return check.Check{ID: "resilience." + id, Title: title, Run: func(ctx context.Context, t *check.T) error {
			if r.o.Faults == nil {
				return fmt.Errorf("%w: faults can be injected in the embedded cloud only", check.ErrSkip)
			}
			s, err := run(ctx)
			if err != nil {
				return err
			}
			return f(ctx, t, s)
		}}
	}
	return check.Suite{Name: "resilience", Title: "Faults lose, double and oversell nothing", Checks: []check.Check{
		on("injected", "Faults strike while orders flow", r.claimInjected),
		on("accepted", "Every order is accepted once, however often it takes to ask", r.claimKept),
		on("drained", "When the faults end, every order ends, or is in the dead-letter queue", r.claimDrained),
		on("invariants", "All invariants hold over the orders and their stock", r.claimSound),
		on("stock", "What confirmed orders took is what was sold, to the unit", r.claimSold),
		on("announced", "Every end is announced, and every failure dead-lettered with its reason", r.claimExplained),
		on("heals", "After the faults, an order that can be served is confirmed", r.claimHealed),
	}}
}

// claimInjected claims that there was something to withstand.
func (r *Run) claimInjected(_ context.Context, t *check.T, s *storm) error {
	var kinds []string
	total := 0
	t.Figure("seed", float64(r.o.Seed), "")
	for _, kind := range slices.Sorted(maps.Keys(s.injected)) {
		n := s.injected[kind]
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, n))
		total += n
		t.Figure("injected: "+kind, float64(n), "faults")
	}
	t.Claim(fmt.Sprintf("faults of seed %d in %s", r.o.Seed, r.o.Duration), "some", strings.Join(kinds, ", "), total > 0)
	t.Figure("orders", float64(len(s.jobs)), "")
	return nil
}

// claimKept claims that an order was accepted under each key, and is there.
func (r *Run) claimKept(_ context.Context, t *check.T, s *storm) error {
	there := map[string]order.Order{}
	for _, o := range s.orders {
		there[o.ID] = o
	}
	var refused, wrong, lost []string
	for i, j := range s.jobs {
		f := s.fates[i]
		if f.err != nil {
			refused = append(refused, f.err.Error())
		}
		for _, id := range f.answers {
			if id != j.id {
				wrong = append(wrong, fmt.Sprintf("%s for key %s", id, j.key))
			}
		}
		if o, ok := there[j.id]; len(f.answers) > 0 && (!ok || o.RequestHash != j.request.Hash()) {
			lost = append(lost, j.id)
		}
	}
	t.None("orders that were not accepted within "+r.o.Patience.String(), refused)
	t.None("answers with another order", wrong)
	t.None(fmt.Sprintf("of %d orders, accepted and not stored as ordered", len(s.jobs)), lost)
	l := s.posts.Latency()
	t.Figure("requests", float64(s.requests.Load()), "")
	t.Latency("POST", l)
	return nil
}

// claimDrained claims that no order is stuck.
func (r *Run) claimDrained(ctx context.Context, t *check.T, s *storm) error {
	stranded := s.open()
	missing, err := r.lab.unexplained(ctx, stranded)
	if err != nil {
		return err
	}
	t.None(fmt.Sprintf("of %d orders, neither ended within %s nor dead-lettered", len(s.orders), r.o.Patience), missing)
	t.Figure("left to a person in the dead-letter queue", float64(len(stranded)-len(missing)), "")
	t.Figure("drained after", s.drained.Seconds(), "s")
	ends := map[string]int{}
	for _, o := range s.orders {
		end := string(o.Status)
		if o.Failure != nil {
			end += " " + string(o.Failure.Code)
		}
		ends[end]++
	}
	for _, end := range slices.Sorted(maps.Keys(ends)) {
		t.Figure(end, float64(ends[end]), "orders")
	}
	return nil
}

// unexplained are those of some orders about which no dead letter says that the
// workflow could not go on. One about a failure that was dealt with is none.
func (l *lab) unexplained(ctx context.Context, open []string) (missing []string, err error) {
	if len(open) == 0 {
		return nil, nil
	}
	ids := map[string]bool{}
	for _, id := range open {
		ids[id] = true
	}
	ctx, cancel := context.WithTimeout(ctx, min(lettersLate, l.o.Patience))
	defer cancel()
	if _, err := l.deadLetters.gather(ctx, ids); err != nil {
		return nil, err
	}
	l.deadLetters.mu.Lock()
	defer l.deadLetters.mu.Unlock()
	for _, id := range open {
		if !slices.ContainsFunc(l.deadLetters.about(id), func(l letter) bool { return l.tells(order.Internal) }) {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// claimSound holds the orders and their stock to the invariants. An order that
// was left to a person is allowed not to have ended; nothing else is forgiven.
func (r *Run) claimSound(_ context.Context, t *check.T, s *storm) error {
	open := s.open()
	broken := map[order.Invariant][]string{}
	for _, v := range order.Violations(s.orders, s.stock()) {
		unfinished := (v.Invariant == order.OneTerminal || v.Invariant == order.Settled) && slices.Contains(open, v.Subject)
		if !unfinished {
			broken[v.Invariant] = append(broken[v.Invariant], v.String())
		}
	}
	for _, i := range order.Invariants() {
		t.None(fmt.Sprintf("violations of %q among %d orders", i, len(s.orders)), broken[i])
	}
	return nil
}

// claimSold claims that stock and orders tell the same story.
func (r *Run) claimSold(_ context.Context, t *check.T, s *storm) error {
	sold, confirmed := map[string]int{}, 0
	for _, o := range s.orders {
		if o.Status != order.Confirmed {
			continue
		}
		confirmed++
		for _, item := range o.Items {
			sold[item.SKU] += item.Quantity
		}
	}
	for _, x := range s.situations {
		check.Equal(t, x.name+" stock sold", sold[x.sku], x.final.stock.Sold)
		if len(s.open()) == 0 {
			check.Equal(t, x.name+" stock left", x.stocked-sold[x.sku], x.final.stock.Available)
		}
	}
	t.Claim("orders confirmed", "some", fmt.Sprint(confirmed), confirmed > 0)
	return nil
}

// claimExplained looks into the queues.
func (r *Run) claimExplained(ctx context.Context, t *check.T, s *storm) error {
	if err := r.claimAnnounced(ctx, t, s.load); err != nil {
		return err
	}
	var mute []string
	for _, o := range s.orders {
		if o.Status != order.Failed {
			continue
		}
		r.lab.deadLetters.mu.Lock()
		letters := r.lab.deadLetters.about(o.ID)
		r.lab.deadLetters.mu.Unlock()
		if o.Failure == nil || !slices.ContainsFunc(letters, func(l letter) bool { return l.tells(o.Failure.Code) }) {
			mute = append(mute, o.ID)
		}
	}
	t.None("failed orders whose dead letter does not give their reason", mute)
	return nil
}

// claimHealed claims that nothing stays broken.
func (r *Run) claimHealed(ctx context.Context, t *check.T, _ *storm) error {
	o, err := r.single(ctx, "tok_visa")
	if err != nil {
		return err
	}
	claimConfirmed(t, o, 1)
	return nil
}
