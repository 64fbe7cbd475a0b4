// Package fault makes a cloud fail on purpose: by a schedule of rules, each of
// which says what fails, how, and when. Every random choice follows from the
// schedule's seed and from how often a rule was asked, so that a schedule
// replays; docs/faults.md tells how to write one.
package fault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// A Kind is a way to fail.
type Kind string

// The kinds of faults.
const (
	Throttle  Kind = "throttle"  // a call is refused as too many
	Error     Kind = "error"     // a call fails by the service's own fault
	Denied    Kind = "denied"    // a call is refused as not allowed
	Slow      Kind = "slow"      // a call takes longer
	Crash     Kind = "crash"     // a function's process dies
	Timeout   Kind = "timeout"   // a function does not answer in time
	Duplicate Kind = "duplicate" // a function or a delivery gets the same again
	Reorder   Kind = "reorder"   // a stream's batch reaches its function in another order
	Delay     Kind = "delay"     // a delivery between services is late
	Kill      Kind = "kill"      // the cloud is killed, and started again
	Clock     Kind = "clock"     // what waits for a time comes early, or late
)

// Kinds lists them all.
func Kinds() []Kind {
	return []Kind{Throttle, Error, Denied, Slow, Crash, Timeout, Duplicate, Reorder, Delay, Kill, Clock}
}

// A Point is where a fault strikes.
type Point string

// Before and After the side effect of what fails. A call that fails After has
// happened, and its caller does not know.
const (
	Before Point = "before"
	After  Point = "after"
)

// A Duration is written as Go writes durations: "150ms".
type Duration time.Duration

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %q is not of the form 150ms, 2s or 1m30s", text)
	}
	*d = Duration(v)
	return nil
}

// A Rule injects faults of one kind where and when it applies. Its patterns
// are those of [path.Match], where "*" also matches "/"; an empty one matches
// everything.
type Rule struct {
	// Name tells the rule from others, in reports and for its random choices.
	// Empty: one is made of kind and place.
	Name string `json:"name" yaml:"name,omitempty"`
	Kind Kind   `json:"kind" yaml:"kind"`

	// Service and Operation of a call ("dynamodb", "UpdateItem"); those of a
	// request to an HTTP API are "execute-api" and "POST /orders", those of a
	// delivery its task ("events", "deliver"). For faults of functions they
	// are not used.
	Service   string `json:"service,omitempty" yaml:"service,omitempty"`
	Operation string `json:"operation,omitempty" yaml:"operation,omitempty"`
	// Principal is who calls: an ARN, or a service ("events.amazonaws.com").
	Principal string `json:"principal,omitempty" yaml:"principal,omitempty"`
	// Resource is the ARN that a call acts on, or that of the function.
	Resource string `json:"resource,omitempty" yaml:"resource,omitempty"`

	// Point is where it strikes: before (the default) or after the effect.
	Point Point `json:"point,omitempty" yaml:"point,omitempty"`
	// From and For bound when it applies, counted from when the rule was
	// added. For 0 has no end.
	From Duration `json:"from,omitempty" yaml:"from,omitempty"`
	For  Duration `json:"for,omitempty" yaml:"for,omitempty"`
	// Skip leaves the first so many alone, and Count ends the rule after so
	// many faults; 0 is no end. A kill and a jump of the clock happen once,
	// unless Count says more.
	Skip  int `json:"skip,omitempty" yaml:"skip,omitempty"`
	Count int `json:"count,omitempty" yaml:"count,omitempty"`
	// Probability of a fault each time; 0 means always.
	Probability float64 `json:"probability,omitempty" yaml:"probability,omitempty"`

	// Delay is how much is added (slow, delay), after how long a function is
	// given up (timeout; default: its own time-out), or how far the clock
	// jumps (clock; backward if negative).
	Delay Duration `json:"delay,omitempty" yaml:"delay,omitempty"`
	// Code and Message replace the service's own (throttle, error, denied).
	Code    string `json:"code,omitempty" yaml:"code,omitempty"`
	Message string `json:"message,omitempty" yaml:"message,omitempty"`
}

// A Schedule is a set of rules with the seed of their random choices.
type Schedule struct {
	Seed  uint64 `json:"seed" yaml:"seed,omitempty"`
	Rules []Rule `json:"rules" yaml:"rules"`
}

// Parse reads a schedule from YAML or JSON. Unknown fields are errors: a
// misspelt condition must not become a fault without one.
func Parse(data []byte) (Schedule, error) {
	var s Schedule
	if err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return s, fmt.Errorf("read fault schedule: %s", strings.TrimSpace(err.Error()))
	}
	if len(s.Rules) == 0 {
		return s, errors.New("read fault schedule: it has no rules")
	}
	return s, s.complete()
}

// complete judges all rules, and names those without a name.
func (s *Schedule) complete() error {
	var errs []error
	names := map[string]int{}
	for i := range s.Rules {
		r := &s.Rules[i]
		if r.Name == "" {
			r.Name = r.place()
			if names[r.Name]++; names[r.Name] > 1 {
				r.Name += fmt.Sprintf("-%d", names[r.Name])
			}
		} else if names[r.Name]++; names[r.Name] > 1 {
			errs = append(errs, fmt.Errorf("rule %d: another one is named %q", i+1, r.Name))
		}
		if err := r.check(); err != nil {
			errs = append(errs, fmt.Errorf("rule %d (%s): %w", i+1, r.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Rule) place() string {
	parts := []string{string(r.Kind)}
	for _, p := range []string{r.Service, r.Operation, string(r.Point)} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, "-")
}

func (r *Rule) check() error {
	switch {
	case !slices.Contains(Kinds(), r.Kind):
		return fmt.Errorf("kind %q: there are %v", r.Kind, Kinds())
	case r.Point != "" && r.Point != Before && r.Point != After:
		return fmt.Errorf("point %q: there are before and after", r.Point)
	case r.Point == After && !slices.Contains([]Kind{Throttle, Error, Denied, Crash, Timeout, Kill}, r.Kind):
		return fmt.Errorf("a %s has no after", r.Kind)
	case !(r.Probability >= 0 && r.Probability <= 1): // NaN too
		return fmt.Errorf("probability %v is not between 0 and 1", r.Probability)
	case r.Skip < 0 || r.Count < 0 || r.From < 0 || r.For < 0:
		return errors.New("skip, count, from and for cannot be negative")
	case r.Delay < 0 && r.Kind != Clock:
		return errors.New("delay cannot be negative")
	case r.Delay == 0 && slices.Contains([]Kind{Slow, Delay, Clock}, r.Kind):
		return fmt.Errorf("a fault of kind %s needs its delay", r.Kind)
	}
	for _, p := range []string{r.Service, r.Operation, r.Principal, r.Resource} {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", p, err)
		}
	}
	return nil
}

// most is how many faults the rule injects at most.
func (r *Rule) most() int {
	switch {
	case r.Count > 0:
		return r.Count
	case r.Kind == Kill || r.Kind == Clock:
		return 1
	}
	return math.MaxInt
}

// matches reports whether a pattern is that of a text. ARNs hold slashes, at
// which path.Match would stop.
func matches(pattern, text string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	const slash = "\x00" // in no name
	ok, _ := path.Match(strings.ReplaceAll(pattern, "/", slash), strings.ReplaceAll(text, "/", slash))
	return ok
}
