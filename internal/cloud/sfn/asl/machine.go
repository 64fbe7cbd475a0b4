package asl

import (
	"math"
	"slices"
	"time"
)

// A Machine is a parsed definition, or a part of one: a branch of a Parallel
// state or the processor of a Map state. Nobody changes it once it is parsed.
type Machine struct {
	Comment string
	StartAt string
	States  map[string]*State
	Timeout time.Duration // of an execution; 0 means none
}

// A State is one state with the fields of all types; which mean something
// depends on Type.
type State struct {
	Name, Type string
	Next       string // "" at the end
	Comment    string

	inputPath, outputPath, resultPath place
	parameters, resultSelector        *Template
	itemSelector                      *Template
	result                            any
	hasResult                         bool

	Resource  string // Task
	timeout   amount
	heartbeat amount
	Retry     []Retrier
	Catch     []Catcher

	choices  []choice
	fallback string // Default

	seconds   amount // Wait
	until     string
	untilPath *Path

	err, cause         string // Fail
	errPath, causePath value

	Branches    []*Machine // Parallel
	Processor   *Machine   // Map
	itemsPath   *Path
	concurrency amount
	tolerated   amount
	percentage  amount
}

// A place is a path that may be null.
type place struct {
	path Path
	set  bool // false: "$"
	null bool
}

// An amount is a number, or the path to one.
type amount struct {
	number float64
	path   *Path
	set    bool
}

type choice struct {
	rule rule
	next string
}

// A Retrier says how often and when a state is tried again.
type Retrier struct {
	Errors      []string
	Interval    time.Duration
	MaxAttempts int
	Backoff     float64
	MaxDelay    time.Duration // 0: none
	FullJitter  bool
}

// A Catcher says where to go on after an error.
type Catcher struct {
	Errors     []string
	Next       string
	resultPath place
}

// matches tells whether a list of error names covers an error. States.ALL does
// not cover errors of the data's size and of the machine itself;
// States.TaskFailed covers everything but time-outs, and those only for tasks.
func matches(names []string, name string) bool {
	terminal := name == ErrDataLimit || name == ErrRuntime
	for _, n := range names {
		switch {
		case n == name,
			n == ErrAll && !terminal,
			n == ErrTaskFailed && !terminal && name != ErrTimeout && name != ErrHeartbeatTimeout,
			n == ErrTimeout && name == ErrHeartbeatTimeout:
			return true
		}
	}
	return false
}

// FindRetrier returns the index of the first retrier for an error, or -1.
func (s *State) FindRetrier(name string) int {
	return slices.IndexFunc(s.Retry, func(r Retrier) bool { return matches(r.Errors, name) })
}

// FindCatcher returns the first catcher for an error, or nil.
func (s *State) FindCatcher(name string) *Catcher {
	if i := slices.IndexFunc(s.Catch, func(c Catcher) bool { return matches(c.Errors, name) }); i >= 0 {
		return &s.Catch[i]
	}
	return nil
}

// Delay is the time before the retry that follows the given number of retries.
// random is from 0 up to 1 and is used for jitter.
func (r *Retrier) Delay(retries int, random func() float64) time.Duration {
	seconds := r.Interval.Seconds() * math.Pow(r.Backoff, float64(retries))
	if r.MaxDelay > 0 {
		seconds = min(seconds, r.MaxDelay.Seconds())
	}
	seconds = min(seconds, maxSeconds)
	if r.FullJitter {
		seconds *= random()
	}
	return time.Duration(seconds * float64(time.Second))
}

// maxSeconds bounds Wait, TimeoutSeconds and HeartbeatSeconds.
const maxSeconds = 99_999_999

// Walk calls f for all states, those of branches and processors too.
func (m *Machine) Walk(f func(*State)) {
	for _, s := range m.States {
		f(s)
		for _, b := range s.Branches {
			b.Walk(f)
		}
		if s.Processor != nil {
			s.Processor.Walk(f)
		}
	}
}
