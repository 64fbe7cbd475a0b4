package dynamodb

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
)

// backfill fills a new index, or the order of expiry, with the items that were
// there before it. Writers keep it up to date meanwhile.
func (s *Service) backfill(ctx context.Context, t event.Task) event.Result {
	return s.whole(ctx, t, func(j job, a *access) error {
		if j.Index == 0 {
			return s.fillExpiry(ctx, a)
		}
		i := slices.IndexFunc(a.Indexes, func(ix index) bool { return ix.No == j.Index })
		if i < 0 || !a.Indexes[i].Backfilling {
			return nil // deleted, or done before a crash
		}
		if err := s.fillIndex(ctx, a, &a.Indexes[i]); err != nil {
			return err
		}
		_, err := s.change(ctx, a.table, func(_ *store.Tx, r *tableRow, _ *state) error {
			for i := range r.Indexes {
				if r.Indexes[i].No == j.Index {
					r.Indexes[i].Backfilling = false
				}
			}
			return nil
		})
		return err
	})
}

func (s *Service) fillIndex(ctx context.Context, a *access, ix *index) error {
	return s.each(ctx, a, func(tx *store.Tx, st *state, place string, item attr.Item) error {
		if !a.fits(ix, item) {
			return nil
		}
		e := a.entry(ix, item, place)
		if e.row == "" {
			return nil
		}
		if _, there, err := indexRows.Get(tx, e.row); err != nil || there {
			return err
		}
		if st.indexes == nil {
			st.indexes = map[byte]usage{}
		}
		u := st.indexes[ix.No]
		count(&u.items, &u.bytes, 0, sizeOf(e.item))
		st.indexes[ix.No] = u
		return indexRows.Put(tx, e.row, []byte(place))
	})
}

// fits tells whether the attributes of an item that an index has as keys can
// be keys: items from before the index need not have been checked for that.
func (a *access) fits(ix *index, item attr.Item) bool {
	for _, n := range ix.Schema.names() {
		if v, ok := item[n]; ok && (attr.Type(v) != a.Attributes[n] || attr.Size(v) == 0) {
			return false
		}
	}
	return true
}

func (s *Service) fillExpiry(ctx context.Context, a *access) error {
	if !a.TTL.Enabled {
		return s.drop(ctx, ttlRows, a.prefix)
	}
	now := time.Now().Unix()
	return s.each(ctx, a, func(tx *store.Tx, st *state, place string, item attr.Item) error {
		at, ok := a.expiry(item, now)
		if !ok {
			return nil
		}
		if err := ttlRows.Put(tx, a.ttlRow(at, place), []byte(place)); err != nil {
			return err
		}
		if st.ttlDue != 0 && st.ttlDue <= at {
			return nil
		}
		st.ttlDue = at
		return s.sendExpiry(tx, a.table, at)
	})
}

// rekey seals all items under the table's current key, after which the older
// keys are not needed any more.
func (s *Service) rekey(ctx context.Context, t event.Task) event.Result {
	return s.whole(ctx, t, func(j job, a *access) error {
		err := s.each(ctx, a, func(tx *store.Tx, _ *state, place string, item attr.Item) error {
			row := a.prefix + place
			return itemRows.Put(tx, row, a.sealItem(row, item, attr.ItemSize(item)))
		})
		if err != nil {
			return err
		}
		_, err = s.change(ctx, a.table, func(_ *store.Tx, r *tableRow, _ *state) error {
			if r.Encryption.Current != a.Encryption.Current {
				return errStale
			}
			r.Encryption.Keys = slices.DeleteFunc(slices.Clone(r.Encryption.Keys), func(k dataKey) bool { return k.No != r.Encryption.Current })
			return nil
		})
		if err == nil && j.Grant != nil {
			s.retire(ctx, *j.Grant)
		}
		return err
	})
}

// unusableWait is how long expiry waits for a table whose key cannot be used.
const unusableWait = 5 * time.Minute

// expire deletes items whose time has come, and sends for the next.
func (s *Service) expire(ctx context.Context, t event.Task) event.Result {
	j, err := decodeJob(t)
	if err != nil {
		return s.result(t.Kind, err)
	}
	for more := true; more; {
		err := latest(func() error {
			a, err := s.current(ctx, j)
			if err != nil || a == nil {
				more = false
				return err
			}
			more, err = s.expireSome(ctx, a)
			return err
		})
		if err != nil {
			s.Log.Warn("expired items were not deleted", "table", j.Table, "error", err)
			return event.Retry(unusableWait)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return event.Done()
}

func (s *Service) expireSome(ctx context.Context, a *access) (more bool, err error) {
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		now := time.Now().Unix()
		rows, next, err := a.due(tx, now)
		if err != nil {
			return err
		}
		more = len(rows) == chunk
		for _, r := range rows {
			if err := s.expireOne(tx, a, r, now); err != nil {
				return err
			}
		}
		st, err := getState(tx, a.prefix)
		if err != nil {
			return err
		}
		if st == nil || st.version != a.Version {
			return errStale
		}
		st.ttlDue = next
		if next != 0 {
			if err := s.sendExpiry(tx, a.table, next); err != nil {
				return err
			}
		}
		return putState(tx, a.prefix, st)
	})
	return more, err
}

// due collects rows whose time has come; next is the time of the first that
// was not collected, 0 if there is none.
func (a *access) due(tx *store.Tx, now int64) (rows []store.Row[[]byte], next int64, err error) {
	for r, err := range ttlRows.Prefix(tx, a.prefix) {
		if err != nil {
			return nil, 0, err
		}
		at := int64(binary.BigEndian.Uint64([]byte(r.Key[len(a.prefix):]))) //nolint:gosec // what ttlRow wrote
		if at > now || len(rows) == chunk {
			return rows, at, nil
		}
		rows = append(rows, r)
	}
	return rows, 0, nil
}

func (s *Service) expireOne(tx *store.Tx, a *access, r store.Row[[]byte], now int64) error {
	item, err := a.get(tx, string(r.Value))
	if err != nil {
		return err
	}
	if at, ok := a.expiry(item, now); item != nil && ok && at <= now {
		return s.apply(tx, &write{access: a, key: a.keyOf(item), expired: true, next: func(attr.Item) (attr.Item, error) { return nil, nil }})
	}
	return ttlRows.Delete(tx, r.Key)
}

// trim forgets the records of a stream that are older than a day, and the
// stream itself a day after it ended.
func (s *Service) trim(ctx context.Context, t event.Task) event.Result {
	j, err := decodeJob(t)
	if err != nil {
		return s.result(t.Kind, err)
	}
	var next time.Time
	for more := true; more; {
		err := s.DB.Update(ctx, func(tx *store.Tx) (err error) {
			more, next, err = trimSome(tx, j.Stream, time.Now())
			return err
		})
		if err != nil || ctx.Err() != nil {
			return s.result(t.Kind, err)
		}
	}
	if next.IsZero() {
		return event.Done()
	}
	return event.Retry(max(time.Until(next), time.Minute))
}

// trimSome forgets some records; next is when to look again, zero for never.
func trimSome(tx *store.Tx, stream string, now time.Time) (more bool, next time.Time, err error) {
	row, ok, err := streamRows.Get(tx, stream)
	if err != nil || !ok {
		return false, next, err
	}
	over := !row.Ended.IsZero() && now.Sub(row.Ended) >= keptFor
	next = now.Add(keptFor)
	if !row.Ended.IsZero() {
		next = row.Ended.Add(keptFor)
	}
	var drop []string
	for r, err := range recordRows.Prefix(tx, row.prefix()) {
		if err != nil {
			return false, next, err
		}
		if at, _ := stamp(r.Value); !over && now.Sub(at) < keptFor {
			if due := at.Add(keptFor); due.Before(next) {
				next = due
			}
			break
		}
		if drop = append(drop, r.Key); len(drop) == chunk {
			more = true
			break
		}
	}
	for _, k := range drop {
		if err := recordRows.Delete(tx, k); err != nil {
			return false, next, err
		}
	}
	if over && !more {
		return false, time.Time{}, streamRows.Delete(tx, stream)
	}
	kept := slices.DeleteFunc(slices.Clone(row.Shards[:len(row.Shards)-1]), func(h shard) bool { return now.Sub(h.Closed) >= keptFor })
	if len(kept) == len(row.Shards)-1 {
		return more, next, nil
	}
	row.Shards = append(kept, row.Shards[len(row.Shards)-1]) //nolint:gocritic // kept is a clone
	return more, next, streamRows.Put(tx, stream, row)
}
