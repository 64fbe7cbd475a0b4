package memo

import (
	"bytes"
	"iter"
	"sync"
	"sync/atomic"

	"miniforge/internal/cloud/store"
)

// Rows reads rows of a table that are read far more often than they change. A
// row is read each time, in the transaction that asks, but decoded again only
// if it is not the same as before. It is safe for concurrent use.
//
// Values are shared by all who read them: nothing in them may be changed.
type Rows[V any] struct {
	Table store.Table[V]

	size    atomic.Int64
	entries sync.Map // key -> *decoded[V]
}

type decoded[V any] struct {
	row   []byte
	value V
}

// What Rows keeps: so many rows of so many bytes at most.
const (
	mostRows = 500
	maxRow   = 16 << 10
)

// Get is [store.Table.Get].
func (r *Rows[V]) Get(tx *store.Tx, key string) (v V, ok bool, err error) {
	row, ok, err := store.Table[[]byte](r.Table).Get(tx, key)
	if err != nil || !ok {
		return v, false, err
	}
	return r.decode(tx, key, row)
}

// Prefix is [store.Table.Prefix].
func (r *Rows[V]) Prefix(tx *store.Tx, prefix string) iter.Seq2[store.Row[V], error] {
	return func(yield func(store.Row[V], error) bool) {
		for row, err := range store.Table[[]byte](r.Table).Prefix(tx, prefix) {
			out := store.Row[V]{Key: row.Key}
			if err == nil {
				out.Value, _, err = r.decode(tx, row.Key, row.Value)
			}
			if !yield(out, err) || err != nil {
				return
			}
		}
	}
}

func (r *Rows[V]) decode(tx *store.Tx, key string, row []byte) (v V, ok bool, err error) {
	if e, known := r.entries.Load(key); known && bytes.Equal(e.(*decoded[V]).row, row) {
		return e.(*decoded[V]).value, true, nil
	}
	v, ok, err = r.Table.Get(tx, key)
	if err != nil || !ok || len(row) > maxRow {
		return v, ok, err
	}
	if r.size.Add(1) > mostRows {
		r.size.Store(1)
		r.entries.Clear()
	}
	r.entries.Store(key, &decoded[V]{row, v})
	return v, true, nil
}
