package order

import (
	"fmt"
	"slices"
	"strings"
)

// Invariant is the number of a rule that holds over all orders and all stock
// once nothing is in flight.
type Invariant int

// The invariants that Violations judges.
const (
	StockConserved  Invariant = iota + 1 // available + held + sold = stocked; none is negative
	OneTerminal                          // every order ends, once, by one execution
	ChargedOnce                          // charged orders are the confirmed ones
	Settled                              // a terminal order holds nothing, was notified; a failed one dead-lettered
	NothingRejected                      // there is no half-order
)

// String says what the invariant demands.
func (i Invariant) String() string {
	switch i {
	case StockConserved:
		return "stock is conserved"
	case OneTerminal:
		return "every order reaches exactly one terminal state"
	case ChargedOnce:
		return "charged orders are the confirmed orders"
	case Settled:
		return "terminal orders hold no stock and were announced"
	case NothingRejected:
		return "a rejected request leaves nothing behind"
	default:
		return fmt.Sprintf("invariant %d", int(i))
	}
}

// Invariants lists them all.
func Invariants() []Invariant {
	return []Invariant{StockConserved, OneTerminal, ChargedOnce, Settled, NothingRejected}
}

// Violation is one way in which an invariant does not hold.
type Violation struct {
	Invariant Invariant `json:"invariant"`
	Subject   string    `json:"subject"` // an order id or a SKU
	Detail    string    `json:"detail"`
}

func (v Violation) String() string { return v.Subject + ": " + v.Detail }

// Violations judges all orders and all stock of a system in which nothing is
// in flight any more. Orders may be a part of those ever placed (old ones may
// have been removed); the stock must be whole.
func Violations(orders []Order, stock []Stock) []Violation {
	var j judge
	byID := make(map[string]Order, len(orders))
	sold := map[string]int{}
	for _, o := range orders {
		byID[o.ID] = o
		j.order(o)
		if o.Status == Confirmed {
			for _, item := range o.Items {
				sold[item.SKU] += item.Quantity
			}
		}
	}
	for _, s := range stock {
		j.stock(s, byID, sold[s.SKU])
	}
	return j.found
}

type judge struct{ found []Violation }

func (j *judge) failf(i Invariant, subject, format string, args ...any) {
	j.found = append(j.found, Violation{i, subject, fmt.Sprintf(format, args...)})
}

func (j *judge) stock(s Stock, orders map[string]Order, sold int) {
	if sum := s.Available + s.Held() + s.Sold; sum != s.Stocked {
		j.failf(StockConserved, s.SKU, "available %d + held %d + sold %d = %d, want %d", s.Available, s.Held(), s.Sold, sum, s.Stocked)
	}
	if s.Available < 0 || s.Sold < 0 {
		j.failf(StockConserved, s.SKU, "negative: available %d, sold %d", s.Available, s.Sold)
	}
	if s.Sold < sold {
		j.failf(StockConserved, s.SKU, "sold %d, but confirmed orders took %d", s.Sold, sold)
	}
	for id, quantity := range s.Holds {
		o, known := orders[id]
		switch {
		case quantity <= 0:
			j.failf(StockConserved, s.SKU, "order %s holds %d", id, quantity)
		case !known:
			j.failf(NothingRejected, id, "holds %d of %s, but there is no such order", quantity, s.SKU)
		case o.Status.Terminal():
			j.failf(Settled, id, "is %s, yet holds %d of %s", o.Status, quantity, s.SKU)
		}
	}
}

func (j *judge) order(o Order) {
	if !o.Status.Valid() || !ValidID(o.ID) || len(o.Items) == 0 || o.RequestHash == "" {
		j.failf(NothingRejected, o.ID, "is not a whole order (status %q, %d items)", o.Status, len(o.Items))
		return
	}
	j.progress(o)
	j.money(o)
	j.announced(o)
}

// progress checks that the timeline is one path from Submitted to an end.
func (j *judge) progress(o Order) {
	if !o.Status.Terminal() {
		j.failf(OneTerminal, o.ID, "is still %s", o.Status)
	}
	if o.Status.Terminal() && o.ExecutionARN == "" {
		j.failf(OneTerminal, o.ID, "ended without an execution that claimed it")
	}
	path := make([]string, len(o.Timeline))
	legal := len(o.Timeline) > 0 && o.Timeline[0].Status == Submitted && o.Timeline[len(o.Timeline)-1].Status == o.Status
	for i, change := range o.Timeline {
		path[i] = string(change.Status)
		if i > 0 {
			legal = legal && change.follows(o.Timeline[i-1])
		}
	}
	if !legal {
		j.failf(OneTerminal, o.ID, "is %s after an impossible timeline: %s", o.Status, strings.Join(path, " "))
	}
}

func (j *judge) money(o Order) {
	switch {
	case o.Status == Confirmed && !o.Charged():
		j.failf(ChargedOnce, o.ID, "is confirmed, but not charged")
	case o.Status == Confirmed && o.ChargeVoidedAt != nil:
		j.failf(ChargedOnce, o.ID, "is confirmed, but its charge was voided")
	case o.Status == Failed && o.Charged():
		j.failf(ChargedOnce, o.ID, "failed, but the charge was not refunded")
	}
	if o.Charge != nil && o.Charge.ID != ChargeID(o.ID) {
		j.failf(ChargedOnce, o.ID, "has the charge of another order: %s", o.Charge.ID)
	}
}

func (j *judge) announced(o Order) {
	if !o.Status.Terminal() {
		return
	}
	if o.NotifiedAt == nil {
		j.failf(Settled, o.ID, "is %s, but nobody was notified", o.Status)
	}
	if o.Status == Failed && o.DeadLetteredAt == nil {
		j.failf(Settled, o.ID, "failed without a dead-letter message")
	}
	if o.Status == Failed && (o.Failure == nil || !slices.Contains(FailureCodes(), o.Failure.Code)) {
		j.failf(Settled, o.ID, "failed without a known reason")
	}
}
