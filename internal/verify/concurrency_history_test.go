package verify

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"miniforge/internal/order"
)

var opened = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a moment of a test's history, in milliseconds.
func at(ms int) order.Time { return order.At(opened.Add(time.Duration(ms) * time.Millisecond)) }

// placed is an order for one miniature, with the times of its states.
func placed(id string, quantity int, changes ...order.Change) order.Order {
	o := order.Order{ID: id, Items: []order.Item{{SKU: "MF-PROBE-1", Quantity: quantity}}, Timeline: changes}
	o.Status = changes[len(changes)-1].Status
	return o
}

func sold(id string, submitted, reserved, confirmed int) order.Order {
	return placed(id, 1, order.Change{Status: order.Submitted, At: at(submitted)}, order.Change{Status: order.Reserved, At: at(reserved)}, order.Change{Status: order.Confirmed, At: at(confirmed)})
}

func declined(id string, submitted, reserved, failed int) order.Order {
	o := placed(id, 1, order.Change{Status: order.Submitted, At: at(submitted)}, order.Change{Status: order.Reserved, At: at(reserved)}, order.Change{Status: order.Failed, At: at(failed)})
	o.Failure = &order.Failure{Code: order.PaymentDeclined}
	return o
}

func refused(id string, submitted, failed int) order.Order {
	o := placed(id, 1, order.Change{Status: order.Submitted, At: at(submitted)}, order.Change{Status: order.Failed, At: at(failed)})
	o.Failure = &order.Failure{Code: order.InsufficientStock}
	return o
}

// read is a read of the stock from one moment to another.
func read(from, to, available, sold int, holds ...string) reading {
	s := order.Stock{Available: available, Sold: sold, Holds: map[string]int{}}
	for _, id := range holds {
		s.Holds[id] = 1
	}
	return reading{opened.Add(time.Duration(from) * time.Millisecond).UnixNano(), opened.Add(time.Duration(to) * time.Millisecond).UnixNano(), s}
}

func judged(stock int, orders []order.Order, readings []reading) porcupine.CheckResult {
	return judge(order.Stocked("MF-PROBE-1", "", stock), history(orders, readings, clock{}), forever, 10*time.Second).result
}

// TestBrokenHistoriesAreRefused shows for each way in which stock can go wrong
// that it is found, and that the like without the fault is not.
func TestBrokenHistoriesAreRefused(t *testing.T) {
	both := []order.Order{sold("a", 0, 20, 40), sold("b", 5, 25, 45)}
	cases := []struct {
		name     string
		stock    int
		orders   []order.Order
		readings []reading
		want     porcupine.CheckResult
	}{
		{"two orders, two units", 2, both, []reading{read(100, 101, 0, 2)}, porcupine.Ok},
		{"two orders get the one unit", 1, both, []reading{read(100, 101, 0, 1)}, porcupine.Illegal},
		{"two orders get the one unit; the book is cooked", 1, both, []reading{read(100, 101, -1, 2)}, porcupine.Illegal},
		{"a sale is lost", 2, both, []reading{read(100, 101, 0, 1)}, porcupine.Illegal},
		{"a sale is still under way", 2, both, []reading{read(100, 101, 0, 1, "b")}, porcupine.Ok},
		{"a failed order still holds", 1, []order.Order{declined("a", 0, 20, 60)}, []reading{read(200, 201, 0, 0, "a")}, porcupine.Illegal},
		{"an order is refused while there is enough", 2, []order.Order{sold("a", 0, 20, 40), refused("b", 100, 120)}, []reading{read(200, 201, 1, 1)}, porcupine.Illegal},
		{"an order is refused as all is sold", 1, []order.Order{sold("a", 0, 20, 40), refused("b", 100, 120)}, []reading{read(200, 201, 0, 1)}, porcupine.Ok},
		{"an order is refused as all is held", 1, []order.Order{declined("a", 0, 20, 60), refused("b", 30, 50)}, []reading{read(200, 201, 1, 0)}, porcupine.Ok},
		{"an order is refused after all was given back", 1, []order.Order{declined("a", 0, 20, 60), refused("b", 100, 120)}, []reading{read(200, 201, 1, 0)}, porcupine.Illegal},
		{"what was released is sold", 1, []order.Order{declined("a", 0, 20, 60), sold("b", 30, 90, 110)}, []reading{read(200, 201, 0, 1)}, porcupine.Ok},
		{"what was held is sold before it was released", 1, []order.Order{declined("a", 0, 20, 60), sold("b", 10, 15, 18)}, []reading{read(16, 17, 0, 0, "a"), read(200, 201, 0, 1)}, porcupine.Illegal},
		{"released twice", 1, []order.Order{declined("a", 0, 20, 60)}, []reading{read(200, 201, 2, 0)}, porcupine.Illegal},
		{"a read sees old stock", 1, []order.Order{sold("a", 0, 20, 40)}, []reading{read(30, 31, 1, 0), read(200, 201, 0, 1)}, porcupine.Illegal},
		{"a read sees half of a reservation", 1, []order.Order{sold("a", 0, 20, 40)}, []reading{read(10, 11, 0, 0), read(200, 201, 0, 1)}, porcupine.Illegal},
		{"a hold comes back", 1, []order.Order{sold("a", 0, 20, 60)}, []reading{read(30, 31, 0, 0, "a"), read(40, 41, 1, 0), read(50, 51, 0, 0, "a"), read(200, 201, 0, 1)}, porcupine.Illegal},
		{"a hold of nobody", 1, nil, []reading{read(10, 11, 0, 0, "ghost")}, porcupine.Illegal},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := judged(c.stock, c.orders, c.readings); got != c.want {
				t.Errorf("judged %v, want %v", got, c.want)
			}
		})
	}
}

// TestUnclearOrdersExcuseRefusals has an order fail for another reason, which
// may have held the unit for a moment that nobody saw.
func TestUnclearOrdersExcuseRefusals(t *testing.T) {
	broken := refused("a", 0, 60)
	broken.Failure = &order.Failure{Code: order.Internal}
	final := []reading{read(200, 201, 1, 0)}
	if got := judged(1, []order.Order{broken, refused("b", 30, 50)}, final); got != porcupine.Ok {
		t.Errorf("refused at its time: %v", got)
	}
	if got := judged(1, []order.Order{broken, refused("b", 100, 120)}, final); got != porcupine.Illegal {
		t.Errorf("refused after its time: %v", got)
	}
	seen := []reading{read(20, 21, 0, 0, "a"), read(200, 201, 1, 0)}
	if got := judged(1, []order.Order{broken, refused("b", 30, 50)}, seen); got != porcupine.Ok {
		t.Errorf("its hold was seen: %v", got)
	}
}

// shop carries out orders one after the other at random moments and reports
// them as a system does: by timelines that are a little late, and by reads that
// take a while. Such a history is right, whatever its intervals.
func shop(r *rand.Rand, n, stock int) (orders []order.Order, readings []reading) {
	s := order.Stocked("MF-PROBE-1", "", stock)
	now := 0
	type open struct {
		o        order.Order
		declined bool
	}
	var held []open
	submitted := map[int]int{}
	later := func() int { now += r.IntN(4); return now }
	for i := 0; i < n || len(held) > 0; {
		if i < n && submitted[i] == 0 {
			now++
			submitted[i] = now
		}
		switch {
		case r.IntN(3) == 0:
			from := later()
			readings = append(readings, reading{at(from).UnixNano(), 0, s})
			readings[len(readings)-1].ret = at(later()).UnixNano()
		case i < n && r.IntN(2) == 0:
			id := order.NewID(at(i).Time)
			next, err := s.Reserve(id, 1)
			happened := later()
			if err != nil {
				orders = append(orders, refused(id, submitted[i], happened+r.IntN(9)))
			} else {
				held = append(held, open{sold(id, submitted[i], happened+r.IntN(3), 0), r.IntN(3) == 0})
			}
			s = next
			i++
		case len(held) > 0:
			k := r.IntN(len(held))
			h := held[k]
			held = append(held[:k], held[k+1:]...)
			reserved := int(h.o.Timeline[1].At.Sub(opened) / time.Millisecond)
			now = max(now, reserved+1)
			before := now
			happened := later()
			if h.declined {
				s = s.Release(h.o.ID)
				orders = append(orders, declined(h.o.ID, int(h.o.Timeline[0].At.Sub(opened)/time.Millisecond), reserved, happened+r.IntN(9)))
			} else {
				s = s.Confirm(h.o.ID)
				h.o.Timeline[2].At = at(before)
				orders = append(orders, h.o)
			}
		}
	}
	end := now + 1000
	return orders, append(readings, reading{at(end).UnixNano(), at(end + 1).UnixNano(), s})
}

// TestRightHistoriesPass: no system that works may be accused.
func TestRightHistoriesPass(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // a test's randomness
		n, stock := 1+r.IntN(60), r.IntN(20)
		orders, readings := shop(r, n, stock)
		if got := judged(stock, orders, readings); got != porcupine.Ok {
			t.Fatalf("seed %d: %d orders for %d: %v", seed, n, stock, got)
		}
	}
}

// TestWindowOfARightHistoryIsRight cuts right histories anywhere.
func TestWindowOfARightHistoryIsRight(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 8)) //nolint:gosec // a test's randomness
		stock := r.IntN(20)
		orders, readings := shop(r, 40, stock)
		end := readings[r.IntN(len(readings))].call
		j := judge(order.Stocked("MF-PROBE-1", "", stock), history(orders, readings, clock{}), end, 10*time.Second)
		if j.result != porcupine.Ok {
			t.Fatalf("seed %d: %v", seed, j)
		}
	}
}

// TestWindowStillJudges: what is wrong within the window is found in it.
func TestWindowStillJudges(t *testing.T) {
	orders := []order.Order{sold("a", 0, 20, 40), sold("b", 5, 25, 45), sold("c", 500, 520, 540)}
	h := history(orders, []reading{read(100, 101, 0, 1), read(900, 901, 0, 2)}, clock{})
	end := at(300).UnixNano()
	if j := judge(order.Stocked("MF-PROBE-1", "", 1), h, end, time.Second); j.result != porcupine.Illegal || j.orders != 2 {
		t.Errorf("%v", j)
	}
}

func TestClock(t *testing.T) {
	ahead := 300 * time.Millisecond
	a := sold("a", 300, 320, 340) // sent at 0, answered at 10: the system is ahead
	posts := map[string]posted{"a": {opened, opened.Add(10 * time.Millisecond)}}
	c := measureClock([]order.Order{a}, posts)
	if c.least > ahead-10*time.Millisecond || c.most < ahead || c.most-c.least > 10*time.Millisecond+2*apart+cutOff {
		t.Errorf("clock %v, the system is ahead by 290 to 300 ms", c)
	}
	if from, to := c.notBefore(at(320)), c.notAfter(at(320)); from > at(20).UnixNano() || to < at(30).UnixNano() {
		t.Errorf("320 ms is between %d and %d", from, to)
	}
	// Two machines that cannot both be right.
	posts["b"] = posted{opened, opened.Add(10 * time.Millisecond)}
	c = measureClock([]order.Order{a, sold("b", 0, 1, 2)}, posts)
	if c.least > 0 || c.most < ahead {
		t.Errorf("clock %v does not hold both machines", c)
	}
}

// BenchmarkJudge judges the history of a window of a run of thousands.
func BenchmarkJudge(b *testing.B) {
	orders, readings := shop(rand.New(rand.NewPCG(1, 9)), windowOrders, windowOrders/2) //nolint:gosec // a benchmark's randomness
	for b.Loop() {
		h := history(orders, readings, clock{})
		if j := judge(order.Stocked("MF-PROBE-1", "", windowOrders/2), h, forever, time.Minute); j.result != porcupine.Ok {
			b.Fatal(j)
		}
	}
}
