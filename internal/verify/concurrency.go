package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"

	"miniforge/internal/bench"
	"miniforge/internal/check"
	"miniforge/internal/order"
)

// concurrency is the suite of many orders at once. All its checks look at one
// load, which runs when the first of them asks for it.
func (r *Run) concurrency() check.Suite {
	run := once(r.crowd)
	on := func(id, title string, f func(context.Context, *check.T, *load) error) check.Check {
		return check.Check{ID: "concurrency." + id, Title: title, Run: func(ctx context.Context, t *check.T) error {
			d, err := run(ctx)
			if err != nil {
				return err
			}
			return f(ctx, t, d)
		}}
	}
	checks := []check.Check{
		on("accepted", "Every order is accepted, however many come at once", r.claimAccepted),
		on("terminal", "Every order ends before its deadline", r.claimEnded),
		on("duplicates", "Requests that come more than once place one order", r.claimOnce),
		on("invariants", "All invariants hold over the orders and their stock", r.claimInvariants),
		on("announced", "Every end is announced, and every failure dead-lettered", r.claimAnnounced),
	}
	for i, s := range situations(1) {
		checks = append(checks,
			on("stock-"+s.name, "Exactly the stock is sold: "+s.title, func(_ context.Context, t *check.T, d *load) error {
				return d.claimStock(t, d.situations[i])
			}),
			on("linearizable-"+s.name, "The stock changes as if orders came one after the other: "+s.name+" stock", func(_ context.Context, t *check.T, d *load) error {
				return d.claimLinearizable(t, d.situations[i])
			}))
	}
	return check.Suite{Name: "concurrency", Title: "Many orders at once lose and oversell nothing", Checks: checks}
}

// claimAccepted claims that every request was answered with its order.
func (r *Run) claimAccepted(_ context.Context, t *check.T, d *load) error {
	var wrong []string
	accepted := 0
	for i, f := range d.fates {
		if len(f.answers) > 0 {
			accepted++
		}
		for _, id := range f.answers {
			if id != d.jobs[i].id {
				wrong = append(wrong, fmt.Sprintf("%s for key %s", id, d.jobs[i].key))
			}
		}
	}
	if accepted == 0 && len(d.fates) > 0 && d.fates[0].err != nil {
		return d.fates[0].err // no answer at all: nothing is known of the system
	}
	check.Equal(t, "orders accepted", len(d.jobs), accepted)
	t.None("answers with another order", wrong)
	l := d.posts.Latency()
	t.Figure("clients", float64(d.clients), "")
	t.Figure("requests", float64(d.requests.Load()), "")
	t.Figure("requests repeated because the API asked for it or did not answer", float64(d.requests.Load()-l.Count), "")
	t.Latency("POST", l)
	return nil
}

// claimEnded claims that every order ended, and tells how long that took.
func (r *Run) claimEnded(_ context.Context, t *check.T, d *load) error {
	var late []string
	ends := map[order.State]int{}
	for _, f := range d.fates {
		if f.err != nil {
			late = append(late, f.err.Error())
		}
		ends[f.state]++
	}
	t.None(fmt.Sprintf("of %d orders, not ended within %s", len(d.jobs), r.o.Patience), late)
	t.Claim("the system", "comes to rest", fmt.Sprint(d.unsettled), d.unsettled == nil)
	check.Equal(t, "orders CONFIRMED or FAILED", len(d.jobs), ends[order.Confirmed]+ends[order.Failed])
	t.Figure("orders", float64(len(d.jobs)), "")
	t.Figure("CONFIRMED", float64(ends[order.Confirmed]), "")
	t.Figure("FAILED", float64(ends[order.Failed]), "")
	t.Figure("orders ended per second", float64(len(d.jobs))/d.took.Seconds(), "orders/s")
	for _, h := range d.latencies() {
		t.Latency(h.name, h.Latency())
	}
	return nil
}

type hop struct {
	name string
	*bench.Histogram
}

// latencies are those of whole orders and of each hop, by their timelines. The
// former begin when the request was sent, by the client's clock.
func (d *load) latencies() []hop {
	sent := map[string]time.Time{}
	for i, f := range d.fates {
		sent[d.jobs[i].id] = f.sent
	}
	byName := map[string]*bench.Histogram{}
	record := func(name string, took time.Duration) {
		if byName[name] == nil {
			byName[name] = bench.NewHistogram()
		}
		byName[name].Record(took)
	}
	ahead := d.clock().likely()
	for _, o := range d.orders {
		for i := 1; i < len(o.Timeline); i++ {
			from, to := o.Timeline[i-1], o.Timeline[i]
			record(fmt.Sprintf("hop %s to %s", from.Status, to.Status), to.At.Sub(from.At.Time))
		}
		if len(o.Timeline) == 0 || !o.Status.Terminal() {
			continue
		}
		end := o.Timeline[len(o.Timeline)-1].At
		record(fmt.Sprintf("POST to %s", o.Status), end.Add(-ahead).Sub(sent[o.ID]))
		if o.NotifiedAt != nil {
			record(fmt.Sprintf("hop %s to announced", o.Status), o.NotifiedAt.Sub(end.Time))
		}
	}
	hops := make([]hop, 0, len(byName))
	for name, h := range byName {
		hops = append(hops, hop{name, h})
	}
	sort.Slice(hops, func(i, j int) bool { return hops[i].name < hops[j].name })
	return hops
}

// claimOnce claims that the table has one order for each key, and as it was
// ordered.
func (r *Run) claimOnce(_ context.Context, t *check.T, d *load) error {
	wanted := map[string]job{}
	repeated, answers := 0, 0
	for i, j := range d.jobs {
		wanted[j.id] = j
		if j.twin != alone {
			repeated++
			answers += len(d.fates[i].answers)
		}
	}
	var wrong []string
	for _, o := range d.orders {
		if j := wanted[o.ID]; o.RequestHash != j.request.Hash() {
			wrong = append(wrong, o.ID)
		}
	}
	check.Equal(t, "orders in the table", len(wanted), len(d.orders))
	t.None("orders other than ordered", wrong)
	t.Claim("answers to requests that came more than once", fmt.Sprintf("at least %d", 2*repeated), fmt.Sprint(answers), answers >= 2*repeated)
	return nil
}

func (r *Run) claimInvariants(_ context.Context, t *check.T, d *load) error {
	var stock []order.Stock
	for _, s := range d.situations {
		stock = append(stock, s.final.stock)
	}
	broken := map[order.Invariant][]string{}
	for _, v := range order.Violations(d.orders, stock) {
		broken[v.Invariant] = append(broken[v.Invariant], v.String())
	}
	for _, i := range order.Invariants() {
		t.None(fmt.Sprintf("violations of %q among %d orders", i, len(d.orders)), broken[i])
	}
	return nil
}

// claimAnnounced looks into the queues: that an order says it was announced is
// not yet a message.
func (r *Run) claimAnnounced(ctx context.Context, t *check.T, d *load) error {
	ends, failures := map[string]bool{}, map[string]bool{}
	for _, o := range d.orders {
		if o.Status.Terminal() {
			ends[o.ID] = true
		}
		if o.Status == order.Failed {
			failures[o.ID] = true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Patience)
	defer cancel()
	for _, q := range []struct {
		box *mailbox
		ids map[string]bool
	}{{r.lab.notifications, ends}, {r.lab.deadLetters, failures}} {
		missing, err := q.box.gather(ctx, q.ids)
		if err != nil {
			return err
		}
		t.None(fmt.Sprintf("of %d orders, without a message in %s", len(q.ids), q.box.name), missing)
	}
	return nil
}

// claimStock claims that what was sold is what was ordered or what there was.
func (d *load) claimStock(t *check.T, s *situation) error {
	confirmed, taken := 0, 0
	for _, o := range d.of(s) {
		if o.Status != order.Confirmed {
			continue
		}
		confirmed++
		for _, item := range o.Items {
			taken += item.Quantity
		}
	}
	final := s.final.stock
	want := s.sold(confirmed, taken)
	check.Equal(t, fmt.Sprintf("sold of %d to %d orders", s.stocked, s.orders), want, final.Sold)
	check.Equal(t, "taken by confirmed orders", want, taken)
	check.Equal(t, "left", s.stocked-want, final.Available)
	check.Equal(t, "held", 0, final.Held())
	t.Figure(s.name+": confirmed orders", float64(confirmed), "")
	return nil
}

// claimLinearizable claims that the history of a miniature's stock could have
// been one operation after the other.
func (d *load) claimLinearizable(t *check.T, s *situation) error {
	if d.unsettled != nil {
		return fmt.Errorf("the history is not whole: %w", d.unsettled)
	}
	const within = 20 * time.Second
	readings := append(slices.Clone(s.window), s.final)
	h := history(d.of(s), readings, d.clock())
	j := judge(order.Stocked(s.sku, "", s.stocked), h, s.cut, within)
	if j.result == porcupine.Unknown {
		return errors.New("could not be decided within " + within.String() + ": " + j.String())
	}
	t.Claim("history of "+s.name+" stock", "linearizable", j.String(), j.result == porcupine.Ok)
	return nil
}
