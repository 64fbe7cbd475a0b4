// Package store keeps the state of every service of the cloud: ordered tables
// of rows, changed only inside transactions, durable when they return.
package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// ErrClosed is returned by transactions on a store that is closed, or whose
// disk failed: after a failed write nothing is acknowledged any more.
var ErrClosed = errors.New("store is closed")

// A DB is a set of ordered tables.
type DB interface {
	// View runs fn on one unchanging, committed state.
	View(fn func(*Tx) error) error
	// Update runs fn alone, exactly once. When Update returns nil, everything
	// fn wrote has happened, survives a crash, and is visible to every later
	// View; when fn fails, nothing has happened. Updates made at the same
	// time share one commit. fn must not block: others wait for it.
	Update(ctx context.Context, fn func(*Tx) error) error
	// Version rises with every commit that changes the table. What was read
	// after a Version still holds while the Version is the same.
	Version(table string) uint64
	// Close waits for updates under way. A closed store can be opened again.
	Close() error
}

// A Tx reads and writes rows; services use a [Table].
type Tx struct {
	base     reader
	own      *overlay // what this transaction wrote; nil in a View
	onCommit []func()
}

// OnCommit has f called once the transaction is durable and before it is
// acknowledged, and not at all if it fails. f must not block, nor begin an update.
func (t *Tx) OnCommit(f func()) { t.onCommit = append(t.onCommit, f) }

// A Table holds rows of one type under string keys, ordered bytewise. Its
// value is its name: Table[Message]("sqs.messages").
type Table[V any] string

// Get returns the row under key, if there is one.
func (t Table[V]) Get(tx *Tx, key string) (v V, ok bool, err error) {
	b, ok, err := tx.get(string(t), key)
	if err != nil || !ok {
		return v, false, err
	}
	if err := decode(b, &v); err != nil {
		return v, false, fmt.Errorf("read row %q of %s: %w", key, t, err)
	}
	return v, true, nil
}

// Put writes the row under key.
func (t Table[V]) Put(tx *Tx, key string, v V) error {
	b, err := encode(v)
	if err != nil {
		return fmt.Errorf("write row %q of %s: %w", key, t, err)
	}
	return tx.put(string(t), key, b)
}

// Delete removes the row under key; a missing one is no error.
func (t Table[V]) Delete(tx *Tx, key string) error { return tx.put(string(t), key, nil) }

// Range yields the rows with from <= key < to in order; to "" is no bound. A
// row that cannot be read is an error, not a gap. Writing to the table while
// ranging over it is not allowed: collect first.
func (t Table[V]) Range(tx *Tx, from, to string) iter.Seq2[Row[V], error] {
	return rows[V](tx, string(t), from, to, false)
}

// RangeDown yields the same rows from the last to the first.
func (t Table[V]) RangeDown(tx *Tx, from, to string) iter.Seq2[Row[V], error] {
	return rows[V](tx, string(t), from, to, true)
}

// Prefix yields the rows whose key starts with prefix, in order.
func (t Table[V]) Prefix(tx *Tx, prefix string) iter.Seq2[Row[V], error] {
	return t.Range(tx, prefix, PrefixEnd(prefix))
}

// A Row is one row of a table.
type Row[V any] struct {
	Key   string
	Value V
}

// PrefixEnd is the first key after all that start with prefix; "" if there is none.
func PrefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}

// encode keeps []byte rows as they are: services with a codec of their own use Table[[]byte].
func encode(v any) ([]byte, error) {
	if b, ok := v.([]byte); ok {
		return append([]byte{}, b...), nil
	}
	return rowEncoding.Marshal(v)
}

func decode(b []byte, v any) error {
	if p, ok := v.(*[]byte); ok {
		*p = append([]byte{}, b...)
		return nil
	}
	return rowDecoding.Unmarshal(b, v)
}

func rows[V any](tx *Tx, table, from, to string, down bool) iter.Seq2[Row[V], error] {
	return func(yield func(Row[V], error) bool) {
		for kv, err := range tx.scan(table, from, to, down) {
			r := Row[V]{Key: kv.key}
			if err == nil {
				if err = decode(kv.row, &r.Value); err != nil {
					err = fmt.Errorf("read row %q of %s: %w", kv.key, table, err)
				}
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}
