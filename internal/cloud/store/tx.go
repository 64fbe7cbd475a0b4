package store

import (
	"errors"
	"iter"
	"slices"

	"github.com/tidwall/btree"
)

var errReadOnly = errors.New("write in a read-only transaction")

// A reader is a committed state. Rows may be borrowed until the transaction ends.
type reader interface {
	get(table, key string) ([]byte, bool, error)
	// scan yields rows in order; down reverses it.
	scan(table, from, to string, down bool) iter.Seq2[pair, error]
}

type pair struct {
	key string
	row []byte // nil in an overlay: deleted
}

// An overlay is a set of writes, by table and key, in key order.
type overlay struct {
	tables map[string]*btree.Map[string, []byte]
	size   int // bytes written, for bounding a commit
}

func newOverlay() *overlay { return &overlay{tables: map[string]*btree.Map[string, []byte]{}} }

func (o *overlay) put(table, key string, row []byte) {
	m := o.tables[table]
	if m == nil {
		m = &btree.Map[string, []byte]{}
		o.tables[table] = m
	}
	m.Set(key, row)
	o.size += len(key) + len(row)
}

// absorb adds later's writes to o.
func (o *overlay) absorb(later *overlay) {
	for t, m := range later.tables {
		m.Scan(func(k string, row []byte) bool {
			o.put(t, k, row)
			return true
		})
	}
}

func (o *overlay) empty() bool { return len(o.tables) == 0 }

func (o *overlay) get(table, key string) (row []byte, known bool) {
	if m := o.tables[table]; m != nil {
		return m.Get(key)
	}
	return nil, false
}

func (o *overlay) scan(table, from, to string, down bool) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		if m := o.tables[table]; m != nil {
			scanMap(m, from, to, down, func(k string, row []byte) bool { return yield(pair{k, row}, nil) })
		}
	}
}

func scanMap(m *btree.Map[string, []byte], from, to string, down bool, yield func(string, []byte) bool) {
	if !down {
		m.Ascend(from, func(k string, row []byte) bool {
			return (to == "" || k < to) && yield(k, row)
		})
		return
	}
	each := func(k string, row []byte) bool {
		if to != "" && k >= to {
			return true
		}
		return k >= from && yield(k, row)
	}
	if to == "" {
		m.Reverse(each)
	} else {
		m.Descend(to, each)
	}
}

// A stack is a state with overlays over it, the last on top.
type stack struct {
	base reader
	over []*overlay
}

func (s stack) get(table, key string) ([]byte, bool, error) {
	for _, o := range slices.Backward(s.over) {
		if row, known := o.get(table, key); known {
			return row, row != nil, nil
		}
	}
	return s.base.get(table, key)
}

func (s stack) scan(table, from, to string, down bool) iter.Seq2[pair, error] {
	seq := s.base.scan(table, from, to, down)
	for _, o := range s.over {
		if o.tables[table] != nil {
			seq = merge(seq, o.scan(table, from, to, down), down)
		}
	}
	return func(yield func(pair, error) bool) {
		for p, err := range seq {
			if err == nil && p.row == nil {
				continue
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

// merge yields both sequences in order; for a key in both, top's row.
func merge(bottom, top iter.Seq2[pair, error], down bool) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		next, stop := iter.Pull2(top)
		defer stop()
		t, _, ok := next()
		for b, err := range bottom {
			if err != nil {
				yield(b, err)
				return
			}
			for ok && (t.key < b.key) != down && t.key != b.key {
				if !yield(t, nil) {
					return
				}
				t, _, ok = next()
			}
			if ok && t.key == b.key {
				b = t
				t, _, ok = next()
			}
			if !yield(b, nil) {
				return
			}
		}
		for ; ok; t, _, ok = next() {
			if !yield(t, nil) {
				return
			}
		}
	}
}

func (t *Tx) state() reader {
	if t.own == nil || t.own.empty() {
		return t.base
	}
	return stack{t.base, []*overlay{t.own}}
}

func (t *Tx) get(table, key string) ([]byte, bool, error) { return t.state().get(table, key) }

func (t *Tx) scan(table, from, to string, down bool) iter.Seq2[pair, error] {
	return t.state().scan(table, from, to, down)
}

func (t *Tx) put(table, key string, row []byte) error {
	if t.own == nil {
		return errReadOnly
	}
	t.own.put(table, key, row)
	return nil
}
