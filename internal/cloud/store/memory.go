package store

import (
	"context"
	"iter"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
)

// memory is a DB that forgets when the process ends. A committed state is
// never changed: each commit copies the tables it touches (copy on write), so
// that readers need no lock.
type memory struct {
	mu     sync.Mutex // one update at a time
	state  atomic.Pointer[memState]
	closed atomic.Bool
}

type memState map[string]*btree.Map[string, []byte]

var (
	_ DB     = (*memory)(nil)
	_ reader = memState(nil)
)

// Memory makes an empty DB without a file.
func Memory() DB {
	m := &memory{}
	m.state.Store(&memState{})
	return m
}

func (m *memory) View(fn func(*Tx) error) error {
	if m.closed.Load() {
		return ErrClosed
	}
	return fn(&Tx{base: *m.state.Load()})
}

func (m *memory) Update(_ context.Context, fn func(*Tx) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed.Load() {
		return ErrClosed
	}
	now := *m.state.Load()
	tx := &Tx{base: now, own: newOverlay()}
	if err := fn(tx); err != nil {
		return err
	}
	m.commit(now, tx.own)
	// Before the next update runs: it must not find the new state together with
	// what was remembered of the old one.
	for _, f := range tx.onCommit {
		f()
	}
	return nil
}

func (m *memory) commit(now memState, own *overlay) {
	if own.empty() {
		return
	}
	next := maps.Clone(now)
	for table, changes := range own.tables {
		t := &btree.Map[string, []byte]{}
		if old := next[table]; old != nil {
			t = old.Copy()
		}
		changes.Scan(func(k string, row []byte) bool {
			if row == nil {
				t.Delete(k)
			} else {
				t.Set(k, row)
			}
			return true
		})
		next[table] = t
	}
	m.state.Store(&next)
}

func (m *memory) Close() error {
	m.closed.Store(true)
	return nil
}

func (s memState) get(table, key string) ([]byte, bool, error) {
	if t := s[table]; t != nil {
		row, ok := t.Get(key)
		return row, ok, nil
	}
	return nil, false, nil
}

func (s memState) scan(table, from, to string, down bool) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		if t := s[table]; t != nil {
			scanMap(t, from, to, down, func(k string, row []byte) bool { return yield(pair{k, row}, nil) })
		}
	}
}
