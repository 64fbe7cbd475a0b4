package dynamodb

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/dynamodb/expr"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
)

// A write is one change of one item.
type write struct {
	*access
	key       attr.Item // the primary key, in canonical form
	condition expr.Condition
	// showOld has a failed condition answered with the item that failed it.
	showOld bool
	// next makes the new item of the old one (nil if there is none); a nil
	// item deletes. Without next only the condition is checked.
	next func(old attr.Item) (attr.Item, error)
	// expired says that time to live deletes the item, not a user.
	expired bool
	meter   *meter // nil: nobody asked for the capacity

	old, new         attr.Item // set by apply
	oldSize, newSize int       // set by put
}

// errStale says that the table was changed between reading its description
// and writing to it: the request begins again.
var errStale = errors.New("table has changed")

// latest runs f again while it finds the table changed. A change is committed
// before the store reports errStale, so that the next try sees it.
func latest(f func() error) error {
	const tries = 10
	for range tries {
		if err := f(); !errors.Is(err, errStale) {
			return err
		}
	}
	return &types.ResourceInUseException{Message: new("Attempt to change a resource which is still in use")}
}

// commit applies writes in one transaction: all of them or none.
func (s *Service) commit(ctx context.Context, writes ...*write) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		for _, w := range writes {
			if err := s.apply(tx, w); err != nil {
				return err
			}
		}
		return nil
	})
}

// apply does all that one write means: the condition, the item, its place in
// the indexes and in the order of expiry, the record in the stream, and the
// counters. It runs while all other writers wait.
func (s *Service) apply(tx *store.Tx, w *write) error {
	st, err := getState(tx, w.prefix)
	if err != nil {
		return err
	}
	if st == nil || st.version != w.Version {
		return errStale
	}
	place := w.place(w.key)
	row := w.prefix + place
	b, found, err := itemRows.Get(tx, row)
	if err != nil {
		return err
	}
	if found {
		if w.old, err = w.item(row, b); err != nil {
			return err
		}
	}
	if !w.condition.Holds(w.old) {
		return w.failed()
	}
	if w.next == nil {
		w.new = w.old
		return nil
	}
	if w.new, err = w.next(w.old); err != nil {
		return err
	}
	w.meter.wrote(w)
	if w.old == nil && w.new == nil || w.old != nil && w.new != nil && attr.EqualItems(w.old, w.new) {
		return nil // nothing changes: no record in the stream either
	}
	return s.put(tx, w, st, place)
}

func (w *write) failed() error {
	e := &types.ConditionalCheckFailedException{Message: new("The conditional request failed")}
	if w.showOld {
		e.Item = w.old
	}
	return e
}

// put stores what apply found out.
func (s *Service) put(tx *store.Tx, w *write, st *state, place string) error {
	row := w.prefix + place
	w.oldSize, w.newSize = sizeOf(w.old), sizeOf(w.new)
	var err error
	if w.new == nil {
		err = itemRows.Delete(tx, row)
	} else {
		err = itemRows.Put(tx, row, w.sealItem(row, w.new, w.newSize))
	}
	if err != nil {
		return err
	}
	count(&st.items, &st.bytes, w.oldSize, w.newSize)
	if err := w.putIndexes(tx, st, place); err != nil {
		return err
	}
	now := time.Now()
	if err := s.putExpiry(tx, w, st, place, now); err != nil {
		return err
	}
	if err := s.record(tx, w, st, now); err != nil {
		return err
	}
	return putState(tx, w.prefix, st)
}

// count keeps a number of items and their bytes, given the sizes of one before
// and after: 0 is for none, as no item is without a key.
func count(items, bytes *int64, before, after int) {
	if before > 0 {
		*items--
	}
	if after > 0 {
		*items++
	}
	*bytes += int64(after - before)
}

func (w *write) putIndexes(tx *store.Tx, st *state, place string) error {
	for i := range w.Indexes {
		ix := &w.Indexes[i]
		before, after := w.entries(ix, place)
		if ix.Backfilling && before.row != "" {
			_, there, err := indexRows.Get(tx, before.row)
			if err != nil {
				return err
			}
			if !there {
				before = entry{} // the backfill has not come to this item yet
			}
		}
		if before.row != after.row {
			if before.row != "" {
				if err := indexRows.Delete(tx, before.row); err != nil {
					return err
				}
			}
			if after.row != "" {
				if err := indexRows.Put(tx, after.row, []byte(place)); err != nil {
					return err
				}
			}
		}
		if before.row == "" && after.row == "" {
			continue
		}
		if st.indexes == nil {
			st.indexes = map[byte]usage{}
		}
		u := st.indexes[ix.No]
		count(&u.items, &u.bytes, ix.size(before, w.oldSize), ix.size(after, w.newSize))
		st.indexes[ix.No] = u
	}
	return nil
}

// An entry is what an index holds of an item; the zero value is nothing.
type entry struct {
	row  string
	item attr.Item
}

func (a *access) entry(ix *index, item attr.Item, place string) entry {
	if item == nil {
		return entry{}
	}
	row := a.indexRow(ix, item, place)
	if row == "" {
		return entry{}
	}
	return entry{row, a.projected(ix, item)}
}

// entries are what an index holds of an item before and after a write.
func (w *write) entries(ix *index, place string) (before, after entry) {
	before = w.entry(ix, w.old, place)
	if before.row != "" && w.new != nil && sameIn(ix, w.old, w.new) {
		return before, entry{before.row, w.projected(ix, w.new)}
	}
	return before, w.entry(ix, w.new, place)
}

// sameIn tells whether two items have the same key in an index.
func sameIn(ix *index, a, b attr.Item) bool {
	return attr.Equal(a[ix.Schema.Hash], b[ix.Schema.Hash]) && (ix.Schema.Range == "" || attr.Equal(a[ix.Schema.Range], b[ix.Schema.Range]))
}

// size is that of an entry, given the size of the whole item.
func (ix *index) size(e entry, whole int) int {
	if e.item != nil && ix.Projection == types.ProjectionTypeAll {
		return whole
	}
	return sizeOf(e.item)
}

// putExpiry keeps the order of expiry, and the task that waits for the next.
func (s *Service) putExpiry(tx *store.Tx, w *write, st *state, place string, now time.Time) error {
	before, had := w.expiry(w.old, now.Unix())
	after, has := w.expiry(w.new, now.Unix())
	if had && (!has || before != after) {
		if err := ttlRows.Delete(tx, w.ttlRow(before, place)); err != nil {
			return err
		}
	}
	if !has || had && before == after {
		return nil
	}
	if err := ttlRows.Put(tx, w.ttlRow(after, place), []byte(place)); err != nil {
		return err
	}
	if st.ttlDue != 0 && st.ttlDue <= after {
		return nil
	}
	st.ttlDue = after
	return s.sendExpiry(tx, w.table, after)
}

func (s *Service) sendExpiry(tx *store.Tx, t *table, at int64) error {
	return s.send(tx, event.Task{Kind: taskTTL, ID: t.ID, Due: time.Unix(at, 0)}, job{Table: t.key, ID: t.ID})
}
