package fault

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what an [Engine] needs of the cloud that it makes fail.
type Options struct {
	Log *slog.Logger
	// Kill ends the cloud at once, as kill -9 does, and has it started again
	// with the state given to [Options.Resume]. nil: the cloud cannot be
	// started again, and such rules are refused.
	Kill func(state []byte)
	// Jump has the cloud's clock go forward.
	Jump func(time.Duration)
}

// An Engine holds the rules in force and decides about every call. Its rules
// live in memory: a cloud that is started anew has those alone that it is
// started with.
type Engine struct {
	o    Options
	idle atomic.Bool // no rules: the path of every call must cost nothing

	mu    sync.Mutex
	seed  uint64
	rules []*active
	past  map[Kind]int // injected by rules that are gone
	log   []Injected
}

// An active rule with its history.
type active struct {
	Rule
	Since    time.Time
	Asked    int // calls that it applies to
	Injected int
	seed     uint64
}

// Injected is one fault that happened.
type Injected struct {
	At        time.Time `json:"at"`
	Rule      string    `json:"rule"`
	Kind      Kind      `json:"kind"`
	Service   string    `json:"service,omitempty"`
	Operation string    `json:"operation,omitempty"`
	Principal string    `json:"principal,omitempty"`
	Resource  string    `json:"resource,omitempty"`
	// Turn is the number of the call among those that the rule applies to.
	Turn int `json:"turn"`
}

// A RuleStatus is a rule in force and what it did.
type RuleStatus struct {
	Rule
	Since    time.Time `json:"since"`
	Asked    int       `json:"asked"`
	Injected int       `json:"injected"`
}

// Status is what an engine does and did.
type Status struct {
	Seed uint64 `json:"seed"`
	// Kinds are the faults that this cloud can inject.
	Kinds    []Kind       `json:"kinds"`
	Rules    []RuleStatus `json:"rules"`
	Injected map[Kind]int `json:"injected"` // also by rules that are gone
	Log      []Injected   `json:"log"`      // the last ones
}

// maxLog is how many faults are remembered one by one.
const maxLog = 1000

// maxRules keeps a cloud usable: each call is held against every rule.
const maxRules = 1000

// New makes an engine without rules.
func New(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{o: o, past: map[Kind]int{}}
	e.idle.Store(true)
	return e
}

// Add puts a schedule's rules in force, beside those that are. A seed that is
// not 0 becomes that of the rules added.
func (e *Engine) Add(s Schedule) error {
	if err := s.complete(); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.rules)+len(s.Rules) > maxRules {
		return fmt.Errorf("more than %d rules", maxRules)
	}
	for _, r := range s.Rules {
		switch {
		case r.Kind == Kill && e.o.Kill == nil:
			return fmt.Errorf("rule %s: this cloud cannot be killed and started again: it keeps its data in memory, or is part of another program", r.Name)
		case r.Kind == Clock && e.o.Jump == nil:
			return fmt.Errorf("rule %s: the clock of this cloud cannot jump", r.Name)
		case slices.ContainsFunc(e.rules, func(x *active) bool { return x.Name == r.Name }):
			return fmt.Errorf("rule %s: there is one of this name already", r.Name)
		}
	}
	if s.Seed != 0 {
		e.seed = s.Seed
	}
	now := time.Now()
	for _, r := range s.Rules {
		e.rules = append(e.rules, &active{Rule: r, Since: now, seed: e.seed})
	}
	e.idle.Store(len(e.rules) == 0)
	return nil
}

// Remove takes a rule away; ErrNoRule if there is none of the name.
func (e *Engine) Remove(name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	i := slices.IndexFunc(e.rules, func(r *active) bool { return r.Name == name })
	if i < 0 {
		return fmt.Errorf("%w %q", ErrNoRule, name)
	}
	e.past[e.rules[i].Kind] += e.rules[i].Injected
	e.rules = slices.Delete(e.rules, i, i+1)
	e.idle.Store(len(e.rules) == 0)
	return nil
}

// ErrNoRule means that no rule has that name.
var ErrNoRule = errors.New("no fault rule is named")

// Clear takes all rules away, and returns what they did. The counts of what
// was injected begin anew.
func (e *Engine) Clear() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.status()
	e.rules, e.log = nil, nil
	clear(e.past)
	e.idle.Store(true)
	return s
}

// Status tells what is in force, and what was injected.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status()
}

func (e *Engine) status() Status {
	s := Status{Seed: e.seed, Kinds: e.kinds(), Rules: []RuleStatus{}, Injected: map[Kind]int{}, Log: slices.Clone(e.log)}
	maps.Copy(s.Injected, e.past)
	for _, r := range e.rules {
		s.Rules = append(s.Rules, RuleStatus{r.Rule, r.Since, r.Asked, r.Injected})
		if r.Injected > 0 {
			s.Injected[r.Kind] += r.Injected
		}
	}
	return s
}

// kinds are those that the cloud can inject.
func (e *Engine) kinds() []Kind {
	return slices.DeleteFunc(Kinds(), func(k Kind) bool { return k == Kill && e.o.Kill == nil || k == Clock && e.o.Jump == nil })
}

// A subject is what faults may strike.
type subject struct {
	service, operation, principal string
	resources                     []string
}

// strike asks the rules of the given kinds about a subject, and returns those
// that strike now, in the order in which they were added.
func (e *Engine) strike(s subject, kinds ...Kind) []Rule {
	if e.idle.Load() {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var hit []Rule
	now := time.Now()
	for _, r := range e.rules {
		if !slices.Contains(kinds, r.Kind) || !r.applies(s, now) {
			continue
		}
		r.Asked++
		if r.Asked <= r.Skip || r.Injected >= r.most() || !r.chance() {
			continue
		}
		r.Injected++
		hit = append(hit, r.Rule)
		e.note(r, s, now)
	}
	return hit
}

func (r *active) applies(s subject, now time.Time) bool {
	age := now.Sub(r.Since)
	if age < time.Duration(r.From) || r.For > 0 && age >= time.Duration(r.From+r.For) {
		return false
	}
	if !matches(r.Service, s.service) || !matches(r.Operation, s.operation) || !matches(r.Principal, s.principal) {
		return false
	}
	return r.Resource == "" || slices.ContainsFunc(s.resources, func(arn string) bool { return matches(r.Resource, arn) })
}

// chance is the rule's random choice of this turn. It depends on nothing but
// seed, rule and turn: other rules, other calls and the time do not shift it.
func (r *active) chance() bool {
	if r.Probability == 0 || r.Probability == 1 {
		return true
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.Name)) // a hash takes everything
	pcg := rand.New(rand.NewPCG(r.seed^h.Sum64(), uint64(r.Asked)))
	return pcg.Float64() < r.Probability
}

func (e *Engine) note(r *active, s subject, now time.Time) {
	x := Injected{At: now.UTC(), Rule: r.Name, Kind: r.Kind, Service: s.service, Operation: s.operation, Principal: s.principal, Turn: r.Asked}
	if len(s.resources) > 0 {
		x.Resource = s.resources[0]
	}
	if len(e.log) == maxLog {
		e.log = slices.Delete(e.log, 0, maxLog/10)
	}
	e.log = append(e.log, x)
	e.o.Log.Info("fault injected", "rule", x.Rule, "kind", x.Kind, "service", x.Service, "operation", x.Operation, "resource", x.Resource, "turn", x.Turn)
}

// sleep waits, but not longer than ctx lives.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
