package security

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"miniforge/internal/cloud"
	"miniforge/internal/cloud/authz"
)

// recorded is what the system was judged by since the cloud began: each thing
// once.
var recorded record

type record struct {
	mu      sync.Mutex
	ignored func(cloud.Judgement) bool // nil: nothing is
	seen    map[string]bool
	allowed []cloud.Judgement
	denied  []cloud.Judgement
}

// add keeps what roles and services ask for. The account's own requests are
// those of whoever operates the system, and what verification makes for a while
// is not of the system.
func (r *record) add(j cloud.Judgement) {
	const probe = "-probe-"
	if j.Principal.Type == authz.Root || strings.Contains(j.Principal.ARN, probe) || strings.Contains(j.Principal.Source, probe) || strings.Contains(j.Access.Resource, probe) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ignored != nil && r.ignored(j) {
		return
	}
	if j.Err != nil {
		r.denied = append(r.denied, j)
		return
	}
	keys, err := json.Marshal(j.Access.Context)
	if err != nil {
		panic(err) // lists of texts are always written
	}
	p := j.Principal
	id := strings.Join([]string{p.RoleARN, p.Service, p.Source, p.Via, j.Access.Action, j.Access.Resource, string(keys)}, "\n")
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	if !r.seen[id] {
		r.seen[id] = true
		r.allowed = append(r.allowed, j)
	}
}

// ignore has some judgements not kept until what it returns is called: while
// strangers may do what the system never asks for.
func (r *record) ignore(those func(cloud.Judgement) bool) (end func()) {
	set := func(f func(cloud.Judgement) bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ignored = f
	}
	set(those)
	return func() { set(nil) }
}

func (r *record) all() []cloud.Judgement {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.allowed)
}
