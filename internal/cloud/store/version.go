package store

import (
	"sync"
	"sync/atomic"
)

// versions counts the commits that changed each table.
type versions struct{ tables sync.Map } // name -> *atomic.Uint64

// Version implements [DB].
func (v *versions) Version(table string) uint64 {
	n, ok := v.tables.Load(table)
	if !ok {
		return 0
	}
	return n.(*atomic.Uint64).Load()
}

// committed counts a commit. It is called when readers can see it, and before
// it is acknowledged.
func (v *versions) committed(o *overlay) {
	last := ""
	o.rows.Scan(func(name string, _ []byte) bool {
		if table, _ := split(name); table != last {
			last = table
			n, ok := v.tables.Load(table)
			if !ok {
				n, _ = v.tables.LoadOrStore(table, &atomic.Uint64{})
			}
			n.(*atomic.Uint64).Add(1)
		}
		return true
	})
}
