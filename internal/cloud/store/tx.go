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

// A cursor goes from row to row until ok is false.
type cursor interface {
	next() (key string, ok bool, err error)
	// deleted tells of the row at which it stands that it has been deleted,
	// which only overlays say.
	deleted() bool
	// row is that row if it is not. It is asked for only where nothing over it
	// hides it: to open a sealed one is most of what a step costs.
	row() ([]byte, error)
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
	at    cursor // has the row at which the merge stands
	down  bool
}

// A head is the row at which a cursor stands.
type head struct {
	cursor
	key  string
	read bool // key is that of the cursor's next row
	over bool
}

func (m *merge) deleted() bool { return false }

func (m *merge) row() ([]byte, error) { return m.at.row() }

func (m *merge) next() (key string, ok bool, err error) {
	for {
		first := -1
		for i := range m.heads {
			h := &m.heads[i]
			if err := h.fill(); err != nil {
				return h.key, false, err
			}
			if !h.over && (first < 0 || h.key != m.heads[first].key && (h.key < m.heads[first].key) != m.down) {
				first = i
			}
		}
		if first < 0 {
			return "", false, nil
		}
		key, m.at = m.heads[first].key, m.heads[first].cursor
		for i := range m.heads {
			if h := &m.heads[i]; h.key == key {
				h.read = false
			}
		}
		if !m.at.deleted() {
			return key, true, nil
		}
	}
}

func (h *head) fill() (err error) {
	if h.read || h.over {
		return nil
	}
	var ok bool
	h.key, ok, err = h.next()
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
			key, ok, err := c.next()
			var row []byte
			if ok && err == nil {
				row, err = c.row()
			}
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
