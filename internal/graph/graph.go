// Package graph brings declared resources into being, compares them with what
// exists, and takes them away again, each as soon as what it depends on
// allows. It knows nothing about AWS.
//
// There is no state file. A resource has an identity that was fixed before it
// existed (a name, a tag), so every run starts by looking. That is what makes
// a run that was killed half-way safe to repeat.
package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Resource is one thing that can be found again without a state file. Every
// method may be repeated: creating what exists and deleting what is gone are
// not errors. Methods of one resource are never called concurrently, and none
// is called before those of the resources in Needs have ended, so what a
// resource learnt (an ARN) may be read by its dependants without a lock.
type Resource interface {
	// ID is unique in the graph and stable between runs: "sqs/orders-dlq".
	ID() string
	// Needs lists what must exist before this resource and must outlive it.
	Needs() []Resource

	// Observe looks, and changes nothing.
	Observe(context.Context) (Observation, error)
	// Create is called only after Observe reported that it does not exist.
	Create(context.Context) error
	// Update cures the differences that Observe reported.
	Update(context.Context, []Diff) error
	// Delete returns once the resource is gone, as far as its cloud can tell.
	Delete(context.Context) error
}

// An Observation is what one look at a resource found.
type Observation struct {
	Exists bool   `json:"exists"`
	Owned  bool   `json:"owned"` // carries this stack's mark
	Drift  []Diff `json:"drift,omitempty"`
}

// A Diff is one field that is not as declared.
type Diff struct {
	Field string `json:"field"`
	Want  string `json:"want"`
	Got   string `json:"got"`
	// Replace says that the field cannot be changed in place: only deleting
	// the resource and making it anew cures it, which may lose data.
	Replace bool `json:"replace,omitempty"`
}

func (d Diff) String() string { return fmt.Sprintf("%s: want %q, got %q", d.Field, d.Want, d.Got) }

// NotYet marks an error that time alone may cure: a role not yet visible to
// the service that must assume it, a name still in use by what was deleted.
// The graph tries the resource again until its context ends.
type NotYet struct{ Err error }

func (e *NotYet) Error() string { return "not yet: " + e.Err.Error() }
func (e *NotYet) Unwrap() error { return e.Err }

var (
	// ErrForeign means that a resource of that identity exists and does not
	// carry this stack's mark. It is never changed and never deleted.
	ErrForeign = errors.New("exists, but does not belong to this stack; remove or rename it, or choose another stack name")
	// ErrReplace means that the drift can only be cured by deleting the
	// resource and making it anew, and that this was not allowed.
	ErrReplace = errors.New("cannot be changed in place; allow replacement to delete and recreate it")
	// ErrBlocked means that nothing was tried, as something it depends on failed.
	ErrBlocked = errors.New("blocked")
)

// An Action is what was done to one resource, or would be.
type Action string

// What becomes of a resource.
const (
	Keep    Action = "keep"    // as declared, or (Destroy) already absent
	Create  Action = "create"  // absent
	Update  Action = "update"  // drifted
	Replace Action = "replace" // drifted beyond what can be changed in place
	Delete  Action = "delete"
	Foreign Action = "foreign" // not ours: left alone
	Blocked Action = "blocked" // something it depends on failed
)

// A Step is the outcome for one resource.
type Step struct {
	ID       string        `json:"id"`
	Action   Action        `json:"action"`
	Drift    []Diff        `json:"drift,omitempty"`
	Attempts int           `json:"attempts,omitempty"` // more than one: it was not yet possible at first
	Took     time.Duration `json:"took_ns"`
	Err      error         `json:"-"`
}

// MarshalJSON adds the error as text.
func (s Step) MarshalJSON() ([]byte, error) {
	type plain Step
	out := struct {
		plain
		Error string `json:"error,omitempty"`
	}{plain: plain(s)}
	if s.Err != nil {
		out.Error = s.Err.Error()
	}
	return json.Marshal(out)
}

// Changed reports whether the step wrote, or would write, anything.
func (s Step) Changed() bool {
	return s.Action == Create || s.Action == Update || s.Action == Replace || s.Action == Delete
}

// A Phase says where in its life a step is.
type Phase int

// The phases of a step, in order.
const (
	Started  Phase = iota // its dependencies are done and a worker took it
	Retrying              // the last attempt was NotYet; Step.Err says why
	Ended                 // Step is final
)

// A Progress is one report about a step. Total is the number of resources.
type Progress struct {
	Phase Phase
	Step  Step
	Total int
}

// Options tune a walk. The zero value is good.
type Options struct {
	Workers  int            // resources worked on at once; 0: 16
	RetryMin time.Duration  // pause after the first NotYet; 0: 250 ms. Doubles
	RetryMax time.Duration  // up to this; 0: 2 s
	Replace  bool           // Ensure may delete and recreate
	Progress func(Progress) // one call at a time; must not block; may be nil
}

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = 16
	}
	if o.RetryMin <= 0 {
		o.RetryMin = 250 * time.Millisecond
	}
	if o.RetryMax < o.RetryMin {
		o.RetryMax = max(o.RetryMin, 2*time.Second)
	}
	return o
}

// A Graph is a set of resources closed under Needs, in a fixed order in which
// the needed comes before the needing. It is used for one walk at a time.
type Graph struct {
	nodes  []Resource
	needs  [][]int // by position, what each node needs
	needed [][]int // and what needs it
}

// New sorts the roots and all that they need. The order depends only on the
// order of the arguments. Two resources of one ID, and a circle, are errors
// that name the members.
func New(roots ...Resource) (*Graph, error) {
	s := sorter{index: map[string]int{}, graph: &Graph{}}
	for _, r := range roots {
		if err := s.visit(r); err != nil {
			return nil, err
		}
	}
	g := s.graph
	g.needs, g.needed = make([][]int, len(g.nodes)), make([][]int, len(g.nodes))
	for i, r := range g.nodes {
		for _, n := range r.Needs() {
			j := s.index[n.ID()]
			g.needs[i] = append(g.needs[i], j)
			g.needed[j] = append(g.needed[j], i)
		}
	}
	return g, nil
}

type sorter struct {
	graph *Graph
	index map[string]int
	path  []string
}

func (s *sorter) visit(r Resource) error {
	id := r.ID()
	if i, ok := s.index[id]; ok {
		if s.graph.nodes[i] != r {
			return fmt.Errorf("two resources are called %s", id)
		}
		return nil
	}
	if i := slices.Index(s.path, id); i >= 0 {
		return fmt.Errorf("circle: %s", strings.Join(append(s.path[i:], id), " needs "))
	}
	s.path = append(s.path, id)
	for _, n := range r.Needs() {
		if err := s.visit(n); err != nil {
			return err
		}
	}
	s.path = s.path[:len(s.path)-1]
	s.index[id] = len(s.graph.nodes)
	s.graph.nodes = append(s.graph.nodes, r)
	return nil
}

// Resources returns all resources, the needed before the needing.
func (g *Graph) Resources() []Resource { return slices.Clone(g.nodes) }
