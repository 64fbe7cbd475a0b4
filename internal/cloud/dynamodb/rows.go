package dynamodb

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strconv"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
)

// Where things lie in the store. Every table has an ID of 16 bytes that begins
// the keys of its rows.
//
//	items   ID, partition, sort           -> sealed item
//	index   ID, number, partition, sort, (partition, sort of the item) -> key of the item without its ID
//	ttl     ID, expiry, (partition, sort of the item)                  -> the same
//	state   ID                            -> counters, see [state]
//
// "partition" is a keyed hash of the partition key's value: items lie in no
// meaningful order, as on AWS, a scan can be split evenly, and values that are
// often sensitive do not stand in row keys, which the store does not encrypt.
// "sort" is the sort key's value in a form that sorts bytewise, so that a query
// is one walk over neighbours. AWS too keeps boundaries of sort keys in the
// clear.
//
// An index row leads to the item instead of repeating its attributes: it costs
// nothing to write unless index keys change, and reads are always consistent.
const (
	itemRows  = store.Table[[]byte]("dynamodb.items")
	indexRows = store.Table[[]byte]("dynamodb.index")
	ttlRows   = store.Table[[]byte]("dynamodb.expiry")
	stateRows = store.Table[[]byte]("dynamodb.state")
)

// partitionSize is the length of a hashed partition key.
const partitionSize = 16

// partition appends the keyed hash of a partition key's value.
func (a *access) partition(b []byte, v attr.Value) []byte {
	if a.mac == nil {
		a.mac = hmac.New(sha256.New, a.pepper)
	} else {
		a.mac.Reset()
	}
	var buf [64]byte
	_, _ = a.mac.Write(append(buf[:0], attr.Type(v)...)) // a hash takes everything
	_, _ = a.mac.Write(attr.AppendScalar(buf[:0], v))
	return a.mac.Sum(b)[:len(b)+partitionSize]
}

// place is where an item lies: its row key without the table's ID.
func (a *access) place(item attr.Item) string {
	b := a.partition(make([]byte, 0, 64), item[a.Schema.Hash])
	if a.Schema.Range != "" {
		b = attr.AppendOrdered(b, item[a.Schema.Range])
	}
	return string(b)
}

// indexPrefix begins the keys of all rows of an index.
func (t *table) indexPrefix(ix *index) string { return t.prefix + string([]byte{ix.No}) }

// indexRow is the key of an item's row in an index; "" if the item is not in it.
func (a *access) indexRow(ix *index, item attr.Item, place string) string {
	h, ok := item[ix.Schema.Hash]
	if !ok {
		return ""
	}
	b := a.partition([]byte(a.indexPrefix(ix)), h)
	if ix.Schema.Range != "" {
		r, ok := item[ix.Schema.Range]
		if !ok {
			return ""
		}
		b = attr.AppendOrdered(b, r)
	}
	return string(append(b, place...))
}

// farthest is how long ago an item may have expired to be deleted: AWS takes
// a time more than five years back for a mistake.
const farthest = 5 * 365 * 24 * 3600

// expiry is when an item expires, in seconds since 1970; ok is false for never.
func (t *table) expiry(item attr.Item, now int64) (at int64, ok bool) {
	if !t.TTL.Enabled {
		return 0, false
	}
	n, isNumber := item[t.TTL.Attribute].(*attr.N)
	if !isNumber {
		return 0, false
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || f < 0 || f > math.MaxInt32*1000 || int64(f) < now-farthest {
		return 0, false
	}
	return int64(f), true
}

// ttlRow is the key of an item's row in the order of expiry.
func (t *table) ttlRow(at int64, place string) string {
	b := binary.BigEndian.AppendUint64([]byte(t.prefix), uint64(at)) //nolint:gosec // not negative
	return string(append(b, place...))
}

// A state is what changes with every write to a table.
type state struct {
	version uint64 // of the tableRow that the writer must have seen
	items   int64
	bytes   int64
	seq     uint64 // of the last stream record; never starts again
	shard   int64  // when the open shard of the stream began, Unix milliseconds
	ttlDue  int64  // when the next item expires, Unix seconds; 0: none
	indexes map[byte]usage
}

// A usage is how much an index holds.
type usage struct{ items, bytes int64 }

func getState(tx *store.Tx, prefix string) (*state, error) {
	b, ok, err := stateRows.Get(tx, prefix)
	if err != nil || !ok {
		return nil, err
	}
	next := func() uint64 {
		n, w := binary.Uvarint(b)
		b = b[max(w, 0):]
		return n
	}
	signed := func() int64 { return int64(next()) } //nolint:gosec // what putState wrote
	st := &state{version: next(), items: signed(), bytes: signed(), seq: next(), shard: signed(), ttlDue: signed()}
	if n := next(); n > 0 {
		st.indexes = make(map[byte]usage, n)
		for range n {
			no := byte(next()) //nolint:gosec // what putState wrote
			st.indexes[no] = usage{signed(), signed()}
		}
	}
	return st, nil
}

func putState(tx *store.Tx, prefix string, st *state) error {
	var buf [128]byte
	b := binary.AppendUvarint(buf[:0], st.version)
	for _, n := range []int64{st.items, st.bytes, int64(st.seq), st.shard, st.ttlDue, int64(len(st.indexes))} { //nolint:gosec // far from overflow
		b = binary.AppendUvarint(b, uint64(n)) //nolint:gosec // read back the same way
	}
	for no, u := range st.indexes {
		b = append(b, no)
		b = binary.AppendUvarint(b, uint64(u.items)) //nolint:gosec // as above
		b = binary.AppendUvarint(b, uint64(u.bytes)) //nolint:gosec // as above
	}
	return stateRows.Put(tx, prefix, b)
}
