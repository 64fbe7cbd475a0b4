// Package check asks questions of a running system and keeps the answers with
// their evidence. It knows nothing of what is asked.
package check

import (
	"context"
	"errors"
	"time"
)

// Outcome is how a check ended.
type Outcome string

// The outcomes of a check.
const (
	Pass      Outcome = "pass"
	Fail      Outcome = "fail"       // the system answered, and not as it should
	Broken    Outcome = "broken"     // no answer could be had
	Skip      Outcome = "skip"       // the question does not arise
	NotProven Outcome = "not proven" // the endpoint does not enforce what the question presupposes
)

// Outcomes lists them all, the worst first.
func Outcomes() []Outcome { return []Outcome{Fail, Broken, NotProven, Skip, Pass} }

var (
	// ErrSkip is wrapped in the error of a check's Run to say why the check
	// does not apply.
	ErrSkip = errors.New("skipped")
	// ErrNotProven is wrapped in the error of a check's Run to say what the
	// endpoint does not enforce, so that a pass would prove nothing. A check
	// finds out by a canary: a call that any endpoint that does must refuse.
	ErrNotProven = errors.New("not proven")
)

// A Check is one question. Its ID is stable; reports and skips go by it.
type Check struct {
	ID    string // "orders.placed-once"
	Title string // "An order sent twice is stored once"
	// Run makes claims about what it finds. An error means that the question
	// could not be answered, unless it wraps ErrSkip or ErrNotProven.
	Run func(context.Context, *T) error
	// Last defers the check until all others of its suite have ended: for what
	// is asked of a system at rest.
	Last bool
}

// A Suite is a list of checks with a name by which it is asked for.
type Suite struct {
	Name   string
	Title  string
	Checks []Check
}

// Result is a finished check.
type Result struct {
	Suite   string  `json:"suite"`
	ID      string  `json:"id"`
	Title   string  `json:"title"`
	Outcome Outcome `json:"outcome"`
	// Reason says why, unless the claims do.
	Reason string  `json:"reason,omitempty"`
	Claims []Claim `json:"claims"` // never null
	// Measurements tell how fast it went. They do not decide the outcome.
	Measurements []Measurement `json:"measurements,omitempty"`
	Took         time.Duration `json:"took_ns"`
}

// Failed lists the claims that did not hold.
func (r Result) Failed() []Claim {
	var failed []Claim
	for _, c := range r.Claims {
		if !c.OK {
			failed = append(failed, c)
		}
	}
	return failed
}

// OK reports whether the result is no reason to worry.
func (r Result) OK() bool { return r.Outcome != Fail && r.Outcome != Broken }
