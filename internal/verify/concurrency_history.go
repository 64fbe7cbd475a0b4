package verify

import (
	"fmt"
	"maps"
	"time"

	"github.com/anishathalye/porcupine"

	"miniforge/internal/order"
)

// An op is one operation on the stock of one miniature, with the time within
// which it took effect. Times are nanoseconds of the observer's clock.
//
// Every interval must contain the moment of the true effect: a shorter one
// would accuse a system that is right, a longer one only accuses less.
type op struct {
	kind     opKind
	order    string
	quantity int
	seen     order.Stock // by opRead
	from, to int64
}

type opKind int

const (
	opReserve opKind = iota // took from what is available and held it
	opRefuse                // found that less was available than asked for
	opConfirm               // turned the hold into a sale
	opRelease               // gave the hold back
	opRead                  // saw the whole stock
	// opCut ends the window: what takes effect after it is not judged.
	opCut
)

func (o op) String() string {
	switch o.kind {
	case opReserve:
		return fmt.Sprintf("reserve %d for %s", o.quantity, o.order)
	case opRefuse:
		return fmt.Sprintf("refuse %d to %s", o.quantity, o.order)
	case opConfirm:
		return fmt.Sprintf("sell %d to %s", o.quantity, o.order)
	case opRelease:
		return fmt.Sprintf("release %d of %s", o.quantity, o.order)
	case opRead:
		return fmt.Sprintf("read %d available, %d sold, %d held", o.seen.Available, o.seen.Sold, o.seen.Held())
	default:
		return "the window ends"
	}
}

// shelf is the state of the model: the stock of package order, and whether the
// window has ended.
type shelf struct {
	stock order.Stock
	ended bool
}

// model is how the stock of one miniature may change, one operation after the
// other. It is stricter than the methods of order.Stock: an operation which is
// part of a history did happen, so one that would change nothing is wrong.
func model(stocked order.Stock) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return shelf{stock: stocked} },
		Step: func(state, input, _ any) (bool, any) { return state.(shelf).step(input.(op)) },
		Equal: func(a, b any) bool {
			x, y := a.(shelf), b.(shelf)
			return x.ended == y.ended && sameStock(x.stock, y.stock)
		},
		DescribeOperation: func(input, _ any) string { return input.(op).String() },
		DescribeState: func(state any) string {
			s := state.(shelf).stock
			return fmt.Sprintf("%d available, %d sold, %d held", s.Available, s.Sold, s.Held())
		},
	}
}

func (s shelf) step(o op) (legal bool, next shelf) {
	if s.ended {
		return true, s
	}
	held, holds := s.stock.Holds[o.order]
	switch o.kind {
	case opReserve:
		after, err := s.stock.Reserve(o.order, o.quantity)
		return err == nil && !holds, shelf{stock: after}
	case opRefuse:
		return s.stock.Available < o.quantity, s
	case opConfirm:
		return held == o.quantity && holds, shelf{stock: s.stock.Confirm(o.order)}
	case opRelease:
		return held == o.quantity && holds, shelf{stock: s.stock.Release(o.order)}
	case opRead:
		return sameStock(s.stock, o.seen), s
	default:
		return true, shelf{s.stock, true}
	}
}

// sameStock compares what operations change.
func sameStock(a, b order.Stock) bool {
	return a.Available == b.Available && a.Sold == b.Sold && maps.Equal(a.Holds, b.Holds)
}

// judgement is what became of a history.
type judgement struct {
	result     porcupine.CheckResult
	operations int
	reads      int
	orders     int
	impossible []string // operations that cannot have been at any time
}

func (j judgement) String() string {
	what := map[porcupine.CheckResult]string{
		porcupine.Ok: "linearizable", porcupine.Illegal: "not linearizable", porcupine.Unknown: "undecided",
	}[j.result]
	text := fmt.Sprintf("%s: %d operations of %d orders, %d reads", what, j.operations, j.orders, j.reads)
	if len(j.impossible) > 0 {
		text += fmt.Sprintf("; %d at no possible time, first %s", len(j.impossible), j.impossible[0])
	}
	return text
}

// judge asks whether there is an order of the operations, each within its
// interval, in which the stock could have gone through them. Operations that
// began after the window's end are left out; of those which were under way
// then, each may have taken effect within the window or after it.
func judge(stocked order.Stock, history []op, end int64, within time.Duration) judgement {
	var j judgement
	ids := map[string]bool{}
	var ops []porcupine.Operation
	add := func(o op) {
		ops = append(ops, porcupine.Operation{Input: o, Call: o.from, Return: o.to})
	}
	for _, o := range history {
		if o.from > end {
			continue
		}
		if o.to < o.from { // there is no moment at which it can have been
			j.impossible = append(j.impossible, o.String())
			continue
		}
		add(o)
		if o.kind == opRead {
			j.reads++
			continue
		}
		j.operations++
		ids[o.order] = true
	}
	if len(ops) > 0 {
		add(op{kind: opCut, from: end, to: end})
	}
	j.orders = len(ids)
	if len(j.impossible) > 0 {
		j.result = porcupine.Illegal
		return j
	}
	j.result = porcupine.CheckOperationsTimeout(model(stocked), ops, within)
	return j
}
