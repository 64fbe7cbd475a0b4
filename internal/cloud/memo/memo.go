// Package memo keeps in memory what was read of the store, for paths on which
// every request would read and decode the same rows again.
package memo

import (
	"cmp"
	"sync"
	"sync/atomic"
)

// A Map remembers values until [Map.Forget]. The zero value is ready and safe
// for concurrent use.
type Map[K comparable, V any] struct {
	// Most bounds the entries that GetAt makes; 0 is for 10,000.
	Most int64

	generation atomic.Uint64
	size       atomic.Int64 // of entries made by GetAt since they were cleared
	entries    sync.Map     // K -> entry[V]
}

type entry[V any] struct {
	generation uint64
	value      V
}

// maxEntries bounds a map of which callers choose the keys, unless it says Most.
const maxEntries = 10_000

// GetAt is Get for values that hold while a version does, such as
// [store.DB.Version] of the table that they are read from.
func (m *Map[K, V]) GetAt(version uint64, k K, load func() (V, error)) (V, error) {
	if e, ok := m.entries.Load(k); ok && e.(entry[V]).generation == version {
		return e.(entry[V]).value, nil
	}
	v, err := load()
	if err != nil {
		return v, err
	}
	if m.size.Add(1) > cmp.Or(m.Most, maxEntries) {
		m.size.Store(1)
		m.entries.Clear()
	}
	m.entries.Store(k, entry[V]{version, v})
	return v, nil
}

// Get returns the value under k, loading it when it is not known. What load
// fails on, or says not to keep, is loaded again the next time.
//
// A value that was read before a change is never returned after the Forget
// that announced that change: an entry counts only in the generation in which
// its loading began.
func (m *Map[K, V]) Get(k K, load func() (v V, keep bool, err error)) (V, error) {
	now := m.generation.Load()
	if e, ok := m.entries.Load(k); ok && e.(entry[V]).generation == now {
		return e.(entry[V]).value, nil
	}
	v, keep, err := load()
	if err == nil && keep {
		m.entries.Store(k, entry[V]{now, v})
	}
	return v, err
}

// Forget drops everything. Call it when a change has been committed and before
// it is acknowledged: in [store.Tx.OnCommit].
func (m *Map[K, V]) Forget() {
	m.generation.Add(1)
	m.entries.Clear()
}
