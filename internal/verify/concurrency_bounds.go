package verify

import (
	"math"
	"slices"
	"time"

	"miniforge/internal/order"
)

// reading is a consistent read of a miniature's stock, by the observer's clock.
type reading struct {
	call, ret int64
	stock     order.Stock
}

func (r reading) holds(id string) bool {
	_, held := r.stock.Holds[id]
	return held
}

// clock relates the clocks of the system, by which timelines are kept, to that
// of the observer. It knows the least and the most by which the former can be
// ahead, as NTP does: an order was SUBMITTED between the sending of its request
// and the answer.
type clock struct{ least, most time.Duration }

// apart is by how much the clocks of the system's parts may differ from each
// other, as those of a cloud's machines do; timelines have milliseconds, cut off.
const (
	apart   = 5 * time.Millisecond
	cutOff  = time.Millisecond
	forever = math.MaxInt64
)

// posted is an order's request as its sender saw it.
type posted struct{ sent, answered time.Time }

func measureClock(orders []order.Order, posts map[string]posted) clock {
	c, all := clock{math.MinInt64, math.MaxInt64}, clock{math.MaxInt64, math.MinInt64}
	for _, o := range orders {
		p, ok := posts[o.ID]
		if !ok || len(o.Timeline) == 0 {
			continue
		}
		at := o.Timeline[0].At.Time
		least, most := at.Sub(p.answered.Round(0)), at.Sub(p.sent.Round(0))+cutOff
		c = clock{max(c.least, least), min(c.most, most)}
		all = clock{min(all.least, least), max(all.most, most)}
	}
	switch {
	case all.most < all.least: // there is no order
		return clock{-apart, apart}
	case c.most < c.least: // no one clock agrees with all: machines differ
		c = all
	}
	return clock{c.least - apart, c.most + apart}
}

// likely is by how much the system's clock is ahead: not at all if that is
// possible, which it always is where the clock is the same.
func (c clock) likely() time.Duration {
	if c.least <= 0 && c.most >= 0 {
		return 0
	}
	return (c.least + c.most) / 2
}

// notBefore is the earliest moment, by the observer's clock, of what a timeline
// dates at t.
func (c clock) notBefore(t order.Time) int64 { return t.Add(-c.most).UnixNano() }

// notAfter is the latest such moment.
func (c clock) notAfter(t order.Time) int64 { return t.Add(cutOff - c.least).UnixNano() }

// history is what orders, each of one line, did to the stock of their
// miniature, together with what was read of it meanwhile and at the end. The
// readings are those of one observer, one after the other.
func history(orders []order.Order, readings []reading, c clock) []op {
	var ops []op
	for _, r := range readings {
		ops = append(ops, op{kind: opRead, seen: r.stock, from: r.call, to: r.ret})
	}
	var unclear []op
	for _, o := range orders {
		mine, clear := operations(o, readings, c)
		if clear {
			ops = append(ops, mine...)
			continue
		}
		unclear = append(unclear, mine...)
	}
	// An order that failed for another reason before it was RESERVED may have
	// held something for a moment that no read saw. Its hold came and went, so
	// it explains nothing but refusals: those at its time are not judged.
	return slices.DeleteFunc(ops, func(o op) bool {
		return o.kind == opRefuse && slices.ContainsFunc(unclear, func(u op) bool { return u.from <= o.to && o.from <= u.to })
	})
}

// operations are those of one order. They are unclear if the order may or may
// not have held stock: then the one operation only tells when.
func operations(o order.Order, readings []reading, c clock) (ops []op, clear bool) {
	if len(o.Items) != 1 || len(o.Timeline) == 0 {
		return nil, true
	}
	submitted, end := o.Timeline[0], o.Timeline[len(o.Timeline)-1]
	begun, ended := c.notBefore(submitted.At), c.notAfter(end.At)
	of := func(kind opKind, from, to int64) op {
		return op{kind: kind, order: o.ID, quantity: o.Items[0].Quantity, from: from, to: to}
	}
	reserved := slices.IndexFunc(o.Timeline, func(c order.Change) bool { return c.Status == order.Reserved })
	held := slices.IndexFunc(readings, func(r reading) bool { return r.holds(o.ID) })
	switch {
	case reserved < 0 && held < 0 && o.Failure != nil && o.Failure.Code == order.InsufficientStock:
		return []op{of(opRefuse, begun, ended)}, true
	case reserved < 0 && held < 0:
		return []op{of(opRefuse, begun, ended)}, false
	}
	reserve := of(opReserve, begun, ended)
	last := of(opRelease, begun, ended)
	if reserved >= 0 {
		at := o.Timeline[reserved].At
		reserve.to, last.from = c.notAfter(at), c.notBefore(at)
	}
	switch o.Status {
	case order.Confirmed:
		// Sold after it was CONFIRMED; when, only reads can tell.
		last.kind, last.from, last.to = opConfirm, c.notBefore(end.At), forever
	case order.Failed: // released before it was FAILED
	default:
		return []op{narrow(reserve, readings)}, true // holds for good
	}
	return narrowBoth(reserve, last, readings), true
}

// narrow shortens the interval of a reservation by what was read.
func narrow(reserve op, readings []reading) op {
	first := slices.IndexFunc(readings, func(r reading) bool { return r.holds(reserve.order) })
	if first >= 0 {
		reserve.to = min(reserve.to, readings[first].ret)
	}
	if first > 0 {
		reserve.from = max(reserve.from, readings[first-1].call)
	}
	return reserve
}

// narrowBoth shortens the intervals of a reservation and of what ended it. A
// read that sees the hold lies between the two; one that does not is before the
// former or after the latter, and its time often says which.
func narrowBoth(reserve, last op, readings []reading) []op {
	reserve = narrow(reserve, readings)
	for _, r := range readings {
		switch {
		case r.holds(reserve.order):
			last.from = max(last.from, r.call)
		case r.ret < last.from: // not ended yet, so not begun
			reserve.from = max(reserve.from, r.call)
		case r.call > reserve.to: // begun, so ended
			last.to = min(last.to, r.ret)
		}
	}
	return []op{reserve, last}
}
