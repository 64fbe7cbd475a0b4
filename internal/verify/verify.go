// Package verify proves that a stack works: it asks each resource for the
// properties that it should have, sends orders of its own through the system,
// and holds what became of them to the rules of package order.
//
// It uses miniatures and orders of its own, and takes them away again, so it
// may run beside real orders. It knows nothing of the target's kind.
package verify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"time"

	"miniforge/internal/check"
	"miniforge/internal/stack"
)

// Options tune a verification. The zero value is good.
type Options struct {
	// HTTP is used to place orders; http.DefaultClient if nil.
	HTTP *http.Client
	// Patience is how long to wait for what should happen by itself. Default:
	// a minute, which is ample for an endpoint that is warm. On AWS a first
	// order may take minutes.
	Patience time.Duration
	// Orders is how many orders the concurrency suite places, and Clients how
	// many clients place them, each one after the other. Default: 10 from 10.
	// Each of the suite's situations gets a quarter of the orders, but ten at
	// least if there are so many in all.
	Orders, Clients int
	// Faults injects the faults of the resilience suite; nil where the target
	// cannot. They strike for Duration (default 10 s), and follow from Seed.
	Faults   Faults
	Seed     uint64
	Duration time.Duration
	// Files is all that the target keeps on disk, to be searched for what should
	// not be there; nil where nobody can look.
	Files fs.FS
}

// Suites lists the names of all suites.
func Suites() []string { return append(Peaceful(), "pipeline", "resilience") }

// Peaceful lists those that disturb nobody else: all but pipeline, which
// delivers functions of its own for a while, and resilience, which makes the
// whole target fail.
func Peaceful() []string { return []string{"smoke", "integration", "security", "concurrency"} }

// Run is one verification of one stack.
type Run struct {
	stack *stack.Stack
	o     Options
	lab   *lab

	courier *courier
	guests  *guests
	canary  func(context.Context) (canary, error)
}

// New prepares a verification; it calls nothing.
func New(s *stack.Stack, o Options) *Run {
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	if o.Patience <= 0 {
		o.Patience = time.Minute
	}
	if o.Orders <= 0 {
		o.Orders = 10
	}
	if o.Clients <= 0 {
		o.Clients = 10
	}
	if o.Duration <= 0 {
		o.Duration = 10 * time.Second
	}
	l := newLab(s, o)
	r := &Run{stack: s, o: o, lab: l, courier: &courier{lab: l, stack: s}}
	r.guests = &guests{stack: s, run: strings.ToLower(l.run), id: rand.Text(), o: o, roles: map[string][]string{}}
	r.canary = once(r.sing)
	return r
}

// Suites returns the suites of these names, the peaceful ones if none is named.
func (r *Run) Suites(names ...string) ([]check.Suite, error) {
	if len(names) == 0 {
		names = Peaceful()
	}
	var suites []check.Suite
	for _, name := range names {
		switch name {
		case "smoke":
			suites = append(suites, r.smoke())
		case "integration":
			suites = append(suites, r.integration())
		case "concurrency":
			suites = append(suites, r.concurrency())
		case "security":
			suites = append(suites, r.security())
		case "pipeline":
			suites = append(suites, r.pipeline())
		case "resilience":
			suites = append(suites, r.resilience())
		default:
			return nil, fmt.Errorf("verify: no suite %q; there are %s", name, strings.Join(Suites(), ", "))
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
		return nil, fmt.Errorf("verify: a suite is named twice in %s", strings.Join(names, ", "))
	}
	return suites, nil
}

// Close removes the orders, the stock, the messages and the roles of this verification,
// puts back the sources of functions that it changed, and leaves all others as
// they were. Call it also after a run that was cut short, with a context that
// is still alive.
func (r *Run) Close(ctx context.Context) error {
	return errors.Join(r.courier.close(ctx), r.lab.close(ctx), r.guests.close(ctx))
}
