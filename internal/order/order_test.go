package order_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"miniforge/internal/order"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestStates(t *testing.T) {
	for _, s := range order.States() {
		if s.Terminal() != (len(s.Next()) == 0) {
			t.Errorf("%s: terminal %v, yet followed by %v", s, s.Terminal(), s.Next())
		}
		if s.CanBecome(s) || s.CanBecome(order.Submitted) {
			t.Errorf("%s can be repeated or undone", s)
		}
	}
	if order.State("LOST").Valid() {
		t.Error("LOST is valid")
	}
}

func TestTimesSortAsTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) time.Time {
			return noon.Add(time.Duration(rapid.Int64Range(0, int64(1000*time.Hour)).Draw(t, name)))
		}
		a, b := order.At(draw("a")), order.At(draw("b").In(time.FixedZone("east", 7200)))
		if a.Before(b.Time) != (a.String() < b.String()) {
			t.Fatalf("%s and %s sort differently", a, b)
		}
		var back order.Time
		text, _ := json.Marshal(a)
		if err := json.Unmarshal(text, &back); err != nil || back != a {
			t.Fatalf("%s read back as %s, %v", text, back, err)
		}
	})
}

func TestTimeReadsWhatStepFunctionsWrites(t *testing.T) {
	var got order.Time
	if err := json.Unmarshal([]byte(`"2026-01-02T12:00:00Z"`), &got); err != nil || got != order.At(noon) {
		t.Errorf("got %s, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`"noon"`), &got); err == nil {
		t.Error("noon was taken for a time")
	}
}

func TestIDs(t *testing.T) {
	if id := order.IDForKey("k"); id != order.IDForKey(string([]byte{'k'})) || id == order.IDForKey("K") {
		t.Error("the id does not follow from the key")
	}
	first, second := order.NewID(noon), order.NewID(noon.Add(time.Millisecond))
	if first >= second {
		t.Errorf("%s sorts after %s", first, second)
	}
	for _, id := range []string{first, order.IDForKey("k")} {
		if !order.ValidID(id) {
			t.Errorf("%s is not valid", id)
		}
	}
	for _, id := range []string{"", "ord_", "ord_A", "ord_../x", "x", "ord_" + strings.Repeat("a", 65)} {
		if order.ValidID(id) {
			t.Errorf("%q is valid", id)
		}
	}
}

func TestViewTellsNothingOfTheCustomer(t *testing.T) {
	o := order.New("ord_1", "my-key", goodRequest(), noon)
	text, err := json.Marshal(o.View())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"Ada", "ada@", "tok_visa", "my-key", o.RequestHash} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the view tells %q: %s", secret, text)
		}
	}
}

func TestCatalogueIsConserved(t *testing.T) {
	if v := order.Violations(nil, order.Catalogue()); len(v) > 0 {
		t.Errorf("fresh stock violates %v", v)
	}
}

// ended is a faultless order in one of the two terminal states.
func ended(status order.State) order.Order {
	o := order.New(order.IDForKey(string(status)), "", goodRequest(), noon)
	at := order.At(noon.Add(time.Second))
	o.Status, o.ExecutionARN, o.NotifiedAt = status, "arn:execution", &at
	o.Timeline = append(o.Timeline, order.Change{Status: order.Reserved, At: at}, order.Change{Status: status, At: at})
	if status == order.Confirmed {
		o.Charge = &order.Charge{ID: order.ChargeID(o.ID), At: at, Attempts: 1}
		return o
	}
	o.Failure, o.DeadLetteredAt = &order.Failure{Code: order.PaymentDeclined, Reason: "no"}, &at
	return o
}

func stockAfter(orders ...order.Order) []order.Stock {
	s := order.Stocked("MF-DRAGON-01", "Ember Dragon", 10)
	for _, o := range orders {
		s, _ = s.Reserve(o.ID, o.Items[0].Quantity)
		if o.Status == order.Confirmed {
			s = s.Confirm(o.ID)
		} else {
			s = s.Release(o.ID)
		}
	}
	return []order.Stock{s}
}

// redriven is a timeline with an earlier run before it, which ended in a state.
func redriven(last []order.Change, end order.State, detail string) []order.Change {
	earlier := order.At(last[0].At.Add(-time.Hour))
	last = slices.Clone(last)
	last[0].Detail = detail
	return append([]order.Change{{Status: order.Submitted, At: earlier}, {Status: order.Reserved, At: earlier}, {Status: end, At: earlier}}, last...)
}

func TestViolations(t *testing.T) {
	now := order.At(noon)
	cases := []struct {
		name   string
		spoil  func(confirmed, failed *order.Order, stock *order.Stock)
		broken []order.Invariant
	}{
		{"nothing", func(_, _ *order.Order, _ *order.Stock) {}, nil},
		{"stock lost", func(_, _ *order.Order, s *order.Stock) { s.Available-- }, []order.Invariant{order.StockConserved}},
		{"stock negative", func(_, _ *order.Order, s *order.Stock) { s.Available, s.Stocked = -1, 1 }, []order.Invariant{order.StockConserved}},
		{"sold too little", func(_, _ *order.Order, s *order.Stock) { s.Sold, s.Available = 0, 10 }, []order.Invariant{order.StockConserved}},
		{"terminal order holds", func(c, _ *order.Order, s *order.Stock) { s.Available--; s.Holds = map[string]int{c.ID: 1} }, []order.Invariant{order.Settled}},
		{"unknown order holds", func(_, _ *order.Order, s *order.Stock) { s.Available--; s.Holds = map[string]int{"ord_x": 1} }, []order.Invariant{order.NothingRejected}},
		{"still in flight", func(c, _ *order.Order, _ *order.Stock) { c.Status = order.Reserved; c.Timeline = c.Timeline[:2] }, []order.Invariant{order.OneTerminal}},
		{"no execution", func(c, _ *order.Order, _ *order.Stock) { c.ExecutionARN = "" }, []order.Invariant{order.OneTerminal}},
		{"two ends", func(c, _ *order.Order, _ *order.Stock) {
			c.Timeline = append(c.Timeline, order.Change{Status: order.Failed, At: now}, order.Change{Status: order.Confirmed, At: now})
		}, []order.Invariant{order.OneTerminal}},
		{"redriven", func(c, _ *order.Order, _ *order.Stock) {
			c.Timeline = redriven(c.Timeline, order.Failed, "redriven after INTERNAL")
		}, nil},
		{"submitted again without being redriven", func(c, _ *order.Order, _ *order.Stock) { c.Timeline = redriven(c.Timeline, order.Failed, "") }, []order.Invariant{order.OneTerminal}},
		{"redriven though confirmed", func(c, _ *order.Order, _ *order.Stock) {
			c.Timeline = redriven(c.Timeline, order.Confirmed, "redriven")
		}, []order.Invariant{order.OneTerminal}},
		{"time runs backwards", func(c, _ *order.Order, _ *order.Stock) { c.Timeline[2].At = now }, []order.Invariant{order.OneTerminal}},
		{"no timeline", func(c, _ *order.Order, _ *order.Stock) { c.Timeline = nil }, []order.Invariant{order.OneTerminal}},
		{"confirmed, not charged", func(c, _ *order.Order, _ *order.Stock) { c.Charge = nil }, []order.Invariant{order.ChargedOnce}},
		{"confirmed, refunded", func(c, _ *order.Order, _ *order.Stock) { c.Charge.RefundedAt = &now }, []order.Invariant{order.ChargedOnce}},
		{"confirmed, voided", func(c, _ *order.Order, _ *order.Stock) { c.ChargeVoidedAt = &now }, []order.Invariant{order.ChargedOnce}},
		{"failed, charged", func(c, f *order.Order, _ *order.Stock) {
			f.Charge = &order.Charge{ID: order.ChargeID(f.ID)}
		}, []order.Invariant{order.ChargedOnce}},
		{"charge of another", func(c, _ *order.Order, _ *order.Stock) { c.Charge.ID = "ch_other" }, []order.Invariant{order.ChargedOnce}},
		{"not announced", func(c, _ *order.Order, _ *order.Stock) { c.NotifiedAt = nil }, []order.Invariant{order.Settled}},
		{"no dead letter", func(_, f *order.Order, _ *order.Stock) { f.DeadLetteredAt = nil }, []order.Invariant{order.Settled}},
		{"no reason", func(_, f *order.Order, _ *order.Stock) { f.Failure = nil }, []order.Invariant{order.Settled}},
		{"half an order", func(_, f *order.Order, _ *order.Stock) { *f = order.Order{ID: f.ID} }, []order.Invariant{order.NothingRejected}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			confirmed, failed := ended(order.Confirmed), ended(order.Failed)
			stock := stockAfter(confirmed, failed)
			c.spoil(&confirmed, &failed, &stock[0])
			found := order.Violations([]order.Order{confirmed, failed}, stock)
			got := []order.Invariant{}
			for _, v := range found {
				got = append(got, v.Invariant)
			}
			slices.Sort(got)
			if !slices.Equal(slices.Compact(got), c.broken) {
				t.Errorf("violations %v, want of %v", found, c.broken)
			}
		})
	}
}

// TestStockKeepsItsInvariant lets any orders do anything in any sequence.
func TestStockKeepsItsInvariant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := order.Stocked("MF-RELIC-04", "The Last Relic", rapid.IntRange(0, 20).Draw(t, "stocked"))
		for range rapid.IntRange(0, 40).Draw(t, "steps") {
			before := s
			id := rapid.SampledFrom([]string{"ord_a", "ord_b", "ord_c"}).Draw(t, "order")
			var step func(order.Stock) order.Stock
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				quantity := rapid.IntRange(1, 8).Draw(t, "quantity")
				step = func(s order.Stock) order.Stock { s, _ = s.Reserve(id, quantity); return s }
			case 1:
				step = func(s order.Stock) order.Stock { return s.Confirm(id) }
			default:
				step = func(s order.Stock) order.Stock { return s.Release(id) }
			}
			heldBefore := before.Held()
			s = step(s)
			if again := step(s); again.Available != s.Available || again.Sold != s.Sold || again.Held() != s.Held() {
				t.Fatalf("repeating a step changed %+v to %+v", s, again)
			}
			if before.Held() != heldBefore {
				t.Fatal("a step changed the stock that it was given")
			}
			if s.Available+s.Held()+s.Sold != s.Stocked || s.Available < 0 || s.Sold < before.Sold {
				t.Fatalf("after %+v: %+v", before, s)
			}
		}
	})
}

// BenchmarkViolations judges as many orders as a large run leaves.
func BenchmarkViolations(b *testing.B) {
	orders := make([]order.Order, 10_000)
	for i := range orders {
		orders[i] = ended(order.Confirmed)
		orders[i].ID = order.NewID(noon)
		orders[i].Charge.ID = order.ChargeID(orders[i].ID)
	}
	all := len(orders) * orders[0].Items[0].Quantity
	stock := order.Stocked("MF-DRAGON-01", "Ember Dragon", all)
	stock.Sold, stock.Available = all, 0
	for b.Loop() {
		if v := order.Violations(orders, []order.Stock{stock}); len(v) > 0 {
			b.Fatal(v[0])
		}
	}
}
