package order

import "slices"

// State is where an order stands.
type State string

// The states of an order. It starts Submitted and ends Confirmed or Failed.
const (
	Submitted State = "SUBMITTED"
	Reserved  State = "RESERVED"
	Confirmed State = "CONFIRMED"
	Failed    State = "FAILED"
)

// States lists every state in the order in which orders pass through them.
func States() []State { return []State{Submitted, Reserved, Confirmed, Failed} }

// Next lists the states that may follow s; none follow a terminal one.
func (s State) Next() []State {
	switch s {
	case Submitted:
		return []State{Reserved, Failed}
	case Reserved:
		return []State{Confirmed, Failed}
	default:
		return nil
	}
}

// Terminal reports whether s is final.
func (s State) Terminal() bool { return s == Confirmed || s == Failed }

// Valid reports whether s is a state at all.
func (s State) Valid() bool { return slices.Contains(States(), s) }

// CanBecome reports whether an order may go from s to t in one step.
func (s State) CanBecome(t State) bool { return slices.Contains(s.Next(), t) }
