package store

import (
	"errors"
	"iter"
	"slices"
)

var errReadOnly = errors.New("write in a read-only transaction")

// A reader is a state of all tables. Rows may be borrowed until the
// transaction ends.
type reader interface {
	get(name string) ([]byte, bool, error)
	// cursor walks the rows with from <= key < to in order; down reverses it.
	cursor(table, from, to string, down bool) cursor
}

// A cursor yields rows one after the other until ok is false. A row of nil has
// been deleted, which only overlays say.
type cursor interface {
	next() (key string, row []byte, ok bool, err error)
}

// A stack is a state with overlays over it, the last on top.
type stack struct {
	base reader
	over []*overlay
}

func (s stack) get(name string) ([]byte, bool, error) {
	for _, o := range slices.Backward(s.over) {
		if row, known := o.row(name); known {
			return row, row != nil, nil
		}
	}
	return s.base.get(name)
}

func (s stack) cursor(table, from, to string, down bool) cursor {
	m := &merge{down: down}
	for _, o := range slices.Backward(s.over) {
		if !o.empty() {
			m.heads = append(m.heads, head{cursor: o.cursor(table, from, to, down)})
		}
	}
	m.heads = append(m.heads, head{cursor: s.base.cursor(table, from, to, down)})
	return m
}

// A merge yields the rows of all its cursors in order; for a key in several,
// the row of the first. Deleted rows are left out.
type merge struct {
	heads []head
	down  bool
}

// A head is the row at which a cursor stands.
type head struct {
	cursor cursor
	key    string
	row    []byte
	read   bool // key and row are those of the cursor's next row
	over   bool
}

func (m *merge) next() (key string, row []byte, ok bool, err error) {
	for {
		first := -1
		for i := range m.heads {
			h := &m.heads[i]
			if err := h.fill(); err != nil {
				return h.key, nil, false, err
			}
			if !h.over && (first < 0 || h.key != m.heads[first].key && (h.key < m.heads[first].key) != m.down) {
				first = i
			}
		}
		if first < 0 {
			return "", nil, false, nil
		}
		key, row = m.heads[first].key, m.heads[first].row
		for i := range m.heads {
			if h := &m.heads[i]; h.key == key {
				h.read = false
			}
		}
		if row != nil {
			return key, row, true, nil
		}
	}
}

func (h *head) fill() (err error) {
	if h.read || h.over {
		return nil
	}
	var ok bool
	h.key, h.row, ok, err = h.cursor.next()
	h.read, h.over = ok, !ok
	return err
}

func (t *Tx) get(table, key string) ([]byte, bool, error) {
	name := name(table, key)
	if t.own != nil {
		if row, known := t.own.row(name); known {
			return row, row != nil, nil
		}
	}
	return t.base.get(name)
}

// scan yields rows as long as the caller asks.
func (t *Tx) scan(table, from, to string, down bool) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		at := t.base
		if t.own != nil && !t.own.empty() {
			// Other tables may be written to meanwhile.
			at = stack{t.base, []*overlay{t.own.snapshot()}}
		}
		for c := at.cursor(table, from, to, down); ; {
			key, row, ok, err := c.next()
			if err != nil {
				yield(pair{key: key}, err)
				return
			}
			if !ok || !yield(pair{key, row}, nil) {
				return
			}
		}
	}
}

type pair struct {
	key string
	row []byte
}

func (t *Tx) put(table, key string, row []byte) error {
	if t.own == nil {
		return errReadOnly
	}
	t.own.set(name(table, key), row)
	return nil
}
