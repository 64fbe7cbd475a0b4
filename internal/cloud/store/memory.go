package store

import (
	"context"
	"sync"
	"sync/atomic"
)

// memory is a DB that forgets when the process ends. A committed state is
// never changed: each commit copies what it touches (copy on write), so that
// readers need no lock.
type memory struct {
	mu     sync.Mutex // one update at a time
	state  atomic.Pointer[memState]
	closed atomic.Bool
	versions
}

// A memState is all rows there are.
type memState struct{ rows *overlay }

var (
	_ DB     = (*memory)(nil)
	_ reader = memState{}
)

// Memory makes an empty DB without a file.
func Memory() DB {
	m := &memory{}
	m.state.Store(&memState{newOverlay()})
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
	next := now.rows.snapshot()
	own.rows.Scan(func(name string, row []byte) bool {
		if row == nil {
			next.rows.Delete(name)
		} else {
			next.rows.Set(name, row)
		}
		return true
	})
	m.state.Store(&memState{next})
	m.committed(own)
}

func (m *memory) Close() error {
	m.closed.Store(true)
	return nil
}

func (s memState) get(name string) ([]byte, bool, error) {
	row, ok := s.rows.row(name)
	return row, ok, nil
}

func (s memState) cursor(table, from, to string, down bool) cursor {
	return s.rows.cursor(table, from, to, down)
}
