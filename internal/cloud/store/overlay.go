package store

import (
	"strings"

	"github.com/tidwall/btree"
)

// An overlay is a set of writes to any tables, in the order of tables and keys.
type overlay struct {
	rows *btree.Map[string, []byte] // by name; a row of nil is deleted
	size int                        // bytes written, for bounding a commit
}

// nodeDegree is half of how many rows a node of an overlay holds at most. Every
// commit is followed by a snapshot, after which the next one copies the nodes
// that it touches: those of few rows, then.
const nodeDegree = 8

func newOverlay() *overlay { return &overlay{rows: btree.NewMap[string, []byte](nodeDegree)} }

// name is a row's place among those of all tables. No table has a NUL in its name.
func name(table, key string) string { return table + "\x00" + key }

func split(name string) (table, key string) {
	table, key, _ = strings.Cut(name, "\x00")
	return table, key
}

func (o *overlay) set(name string, row []byte) {
	o.rows.Set(name, row)
	o.size += len(name) + len(row)
}

// absorb adds later's writes to o.
func (o *overlay) absorb(later *overlay) {
	later.rows.Scan(func(name string, row []byte) bool {
		o.set(name, row)
		return true
	})
}

// snapshot is o as it is now; what is written to o later is not in it.
func (o *overlay) snapshot() *overlay { return &overlay{rows: o.rows.Copy(), size: o.size} }

func (o *overlay) empty() bool { return o.rows.Len() == 0 }

func (o *overlay) row(name string) (row []byte, known bool) { return o.rows.Get(name) }

func (o *overlay) cursor(table, from, to string, down bool) cursor {
	c := &mapCursor{rows: o.rows.Iter(), skip: len(table) + 1, down: down, from: name(table, from), to: name(table, to)}
	if to == "" {
		c.to = table + "\x01"
	}
	return c
}

// A mapCursor walks a part of an overlay.
type mapCursor struct {
	rows     btree.MapIter[string, []byte]
	from, to string // names
	skip     int    // length of the table's part of a name
	begun    bool
	down     bool
}

func (c *mapCursor) next() (key string, ok bool, err error) {
	switch {
	case c.begun && c.down:
		ok = c.rows.Prev()
	case c.begun:
		ok = c.rows.Next()
	case !c.down:
		ok = c.rows.Seek(c.from)
	case c.rows.Seek(c.to):
		ok = c.rows.Prev()
	default:
		ok = c.rows.Last()
	}
	c.begun = true
	if !ok || c.down && c.rows.Key() < c.from || !c.down && c.rows.Key() >= c.to {
		return "", false, nil
	}
	return c.rows.Key()[c.skip:], true, nil
}

func (c *mapCursor) deleted() bool { return c.rows.Value() == nil }

func (c *mapCursor) row() ([]byte, error) { return c.rows.Value(), nil }
