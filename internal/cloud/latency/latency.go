// Package latency has the embedded cloud take its time, so that what is built
// on it meets what AWS has it meet: calls and deliveries take as long as there,
// and changes of identities, tables and functions are in effect some time after
// they were answered.
//
// Every duration is drawn from a log-normal distribution: most are near the
// median, few are much longer, none is negative. The draws follow from the
// seed: the nth of a kind is the same in every run.
package latency

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// A Model draws durations. A nil Model is the one in which nothing takes time.
type Model struct {
	profile profile
	seed    uint64

	mu    sync.Mutex
	turns map[string]uint64 // draws so far, by what was drawn for
}

// None is the name of the model in which nothing takes longer than it does.
const None = "none"

// profiles are the models by name.
var profiles = map[string]profile{"aws": aws}

// Names are the models that [New] knows.
func Names() []string { return []string{None, "aws"} }

// New makes a model by its name; nil for "none" and "".
func New(name string, seed uint64) (*Model, error) {
	if name == "" || name == None {
		return nil, nil //nolint:nilnil // no model is one: nothing takes time
	}
	p, ok := profiles[name]
	if !ok {
		return nil, fmt.Errorf("latency %q: want %s", name, strings.Join(Names(), " or "))
	}
	return &Model{profile: p, seed: seed, turns: map[string]uint64{}}, nil
}

// Operations lists the operations that the model has a distribution for, as
// "sqs.SendMessage"; "sqs." is any other of the service.
func (m *Model) Operations() (all []string) {
	for service, ops := range m.profile.call {
		for op := range ops {
			all = append(all, service+"."+op)
		}
	}
	return all
}

// A distribution is a log-normal one. Its 99th percentile is the median times
// e to the 2.33 sigma.
type distribution struct {
	median time.Duration
	sigma  float64
}

// farthest bounds a draw, in standard deviations: one of a thousand is cut.
const farthest = 3

// draw draws for something named within a kind: "call" "sqs.SendMessage".
func (m *Model) draw(kind, name string, d distribution) time.Duration {
	if d.median == 0 {
		return 0
	}
	what := kind + " " + name
	m.mu.Lock()
	turn := m.turns[what]
	m.turns[what] = turn + 1
	m.mu.Unlock()
	// As in package fault: other draws do not shift this one.
	h := fnv.New64a()
	_, _ = h.Write([]byte(what)) // a hash takes everything
	z := rand.New(rand.NewPCG(m.seed^h.Sum64(), turn)).NormFloat64()
	z = max(-farthest, min(farthest, z))
	return time.Duration(float64(d.median) * math.Exp(d.sigma*z))
}
