package latency

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Change is a kind of change that is in effect only some time after it was
// answered.
type Change string

// What is in effect later.
const (
	Identity         Change = "identity"         // a user or role, its policies and whom it trusts
	AccessKey        Change = "access key"       // of a user, made
	TableCreated     Change = "table created"    // from CREATING to ACTIVE
	TableUpdated     Change = "table updated"    // from UPDATING to ACTIVE
	TableDeleted     Change = "table deleted"    // from DELETING to gone
	FunctionCreated  Change = "function created" // from Pending to Active
	FunctionUpdated  Change = "function updated" // from InProgress to Successful
	MappingChanged   Change = "mapping changed"  // from Creating or Updating to Enabled
	MappingBeginning Change = "mapping begins"   // from Enabled to the first look at its source
)

// Settle says how long a change takes to be in effect. A nil Settle says: no time.
type Settle func(Change) time.Duration

// Settle is how long changes take.
func (m *Model) Settle(c Change) time.Duration {
	if m == nil {
		return 0
	}
	return m.draw("change", string(c), m.profile.change[c])
}

// Of is how long a change takes.
func (s Settle) Of(c Change) time.Duration {
	if s == nil {
		return 0
	}
	return s(c)
}

// Late remembers what was before changes that are not yet in effect. It lives
// in memory: after a restart everything is in effect. The zero value is ready.
type Late[V any] struct {
	some atomic.Bool // the path of every call must cost nothing
	mu   sync.Mutex
	past map[string][]before[V]
}

type before[V any] struct {
	value V
	until time.Time
}

// Changed says what was under a key before a change that is in effect after d.
// Changes of one key come into effect in their order.
func (l *Late[V]) Changed(key string, was V, d time.Duration) {
	if d <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	until := time.Now().Add(d)
	all := l.pending(key)
	if n := len(all); n > 0 && all[n-1].until.After(until) {
		until = all[n-1].until
	}
	if l.past == nil {
		l.past = map[string][]before[V]{}
	}
	l.past[key] = append(all, before[V]{was, until})
	l.some.Store(true)
}

// Before is what is in effect under a key; false if that is what is there.
func (l *Late[V]) Before(key string) (was V, late bool) {
	if !l.some.Load() {
		return was, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.pending(key)
	if len(all) > 0 {
		l.past[key] = all
		return all[0].value, true
	}
	delete(l.past, key)
	l.some.Store(len(l.past) > 0)
	return was, false
}

// pending are the changes of a key that are not in effect.
func (l *Late[V]) pending(key string) []before[V] {
	all := l.past[key]
	for now := time.Now(); len(all) > 0 && !all[0].until.After(now); {
		all = all[1:]
	}
	return all
}
