package dynamodb

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
)

// streamRows holds every stream under region/table/label; recordRows their
// records under the stream's prefix and the sequence number.
const (
	streamRows = store.Table[streamRow]("dynamodb.streams")
	recordRows = store.Table[[]byte]("dynamodb.records")
)

// keptFor is how long records can be read; a stream of a deleted table, or one
// that was turned off, is gone after that time.
const keptFor = 24 * time.Hour

// shardSpan is how long a shard takes records before the next one opens.
const shardSpan = 4 * time.Hour

// A streamRef is the stream that a table writes to.
type streamRef struct {
	Label string               `json:"label"`
	View  types.StreamViewType `json:"view"`
}

// A streamRow is a stream at rest.
type streamRow struct {
	Region  string               `json:"region"`
	Table   string               `json:"table"`
	TableID string               `json:"table_id"`
	Label   string               `json:"label"` // its time of creation; the last part of its ARN
	View    types.StreamViewType `json:"view"`
	Schema  schema               `json:"schema"`
	Created time.Time            `json:"created"`
	Ended   time.Time            `json:"ended,omitzero"`
	Shards  []shard              `json:"shards"`
	// Keys are all data keys under which records were sealed.
	Keys []dataKey `json:"keys,omitempty"`
}

// A shard is a span of sequence numbers; Last is 0 while it is open.
type shard struct {
	ID     string    `json:"id"`
	Parent string    `json:"parent,omitempty"`
	First  uint64    `json:"first"`
	Last   uint64    `json:"last,omitempty"`
	Closed time.Time `json:"closed,omitzero"`
}

func streamKey(region, table, label string) string { return region + "/" + table + "/" + label }

func (r streamRow) key() string { return streamKey(r.Region, r.Table, r.Label) }

// prefix begins the keys of the stream's records.
func (r streamRow) prefix() string { return recordPrefix(r.TableID, r.Label) }

func recordPrefix(tableID, label string) string { return tableID + "/" + label + "/" }

func recordKey(prefix string, seq uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte(prefix), seq))
}

func (s *Service) streamARN(region, table, label string) string {
	return s.tableARN(region, table) + "/stream/" + label
}

const labelForm = "2006-01-02T15:04:05.000"

// openStream gives the table a new stream.
func (s *Service) openStream(tx *store.Tx, r *tableRow, st *state, view types.StreamViewType) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	label := now.Format(labelForm)
	if label <= r.LatestLabel { // two within a millisecond
		last, err := time.Parse(labelForm, r.LatestLabel)
		if err != nil {
			return fmt.Errorf("read label of stream: %w", err)
		}
		label = last.Add(time.Millisecond).Format(labelForm)
	}
	r.Stream, r.LatestLabel = &streamRef{Label: label, View: view}, label
	row := streamRow{
		Region: r.Region, Table: r.Name, TableID: r.ID, Label: label, View: view, Schema: r.Schema, Created: now,
		Shards: []shard{newShard(now, st.seq+1, "")}, Keys: r.Encryption.Keys,
	}
	st.shard = now.UnixMilli()
	if err := streamRows.Put(tx, row.key(), row); err != nil {
		return err
	}
	return s.sendTrim(tx, row.key(), now.Add(keptFor))
}

// closeStream ends the table's stream; its records stay for a day.
func (s *Service) closeStream(tx *store.Tx, r *tableRow, st *state) error {
	key := streamKey(r.Region, r.Name, r.Stream.Label)
	row, ok, err := streamRows.Get(tx, key)
	if err != nil || !ok {
		return err
	}
	now := time.Now()
	row.Ended = now
	row.Shards[len(row.Shards)-1].close(st.seq, now)
	arn := s.streamARN(r.Region, r.Name, r.Stream.Label)
	r.Stream = nil
	tx.OnCommit(func() { s.Signals.Notify(arn) })
	if err := streamRows.Put(tx, key, row); err != nil {
		return err
	}
	return s.sendTrim(tx, key, now.Add(keptFor))
}

func newShard(now time.Time, first uint64, parent string) shard {
	return shard{ID: fmt.Sprintf("shardId-%020d-%08x", now.UnixMilli(), uint32(first)*2654435761), Parent: parent, First: first} //nolint:gosec // any bits will do
}

// close ends a shard after the given sequence number. One without records ends
// before it begins.
func (h *shard) close(last uint64, now time.Time) {
	h.Last, h.Closed = max(last, h.First), now
}

func (s *Service) sendTrim(tx *store.Tx, stream string, at time.Time) error {
	return s.send(tx, event.Task{Kind: taskTrim, ID: stream, Due: at}, job{Stream: stream})
}

// rollover opens the next shard of a stream whose shard is old.
func (s *Service) rollover(tx *store.Tx, t *table, st *state, now time.Time) error {
	key := streamKey(t.Region, t.Name, t.Stream.Label)
	row, ok, err := streamRows.Get(tx, key)
	if err != nil || !ok {
		return err
	}
	last := &row.Shards[len(row.Shards)-1]
	if last.First > st.seq {
		st.shard = now.UnixMilli() // empty: it may as well go on
		return nil
	}
	last.close(st.seq, now)
	row.Shards = append(row.Shards, newShard(now, st.seq+1, last.ID))
	st.shard = now.UnixMilli()
	return streamRows.Put(tx, key, row)
}

// Operations in stored records; on disk.
const (
	opInsert byte = 1 + iota
	opModify
	opRemove
	opExpire // a removal by time to live
)

// record adds a write to the table's stream, in the write's own transaction.
func (s *Service) record(tx *store.Tx, w *write, st *state, now time.Time) error {
	if w.Stream == nil {
		return nil
	}
	if now.UnixMilli()-st.shard > shardSpan.Milliseconds() {
		if err := s.rollover(tx, w.table, st, now); err != nil {
			return err
		}
	}
	st.seq++
	key := recordKey(recordPrefix(w.ID, w.Stream.Label), st.seq)
	arn := w.arn + "/stream/" + w.Stream.Label
	tx.OnCommit(func() { s.Signals.Notify(arn) })
	return recordRows.Put(tx, key, w.sealRecord(key, now))
}

// op is what a write does, as records say it.
func (w *write) op() byte {
	switch {
	case w.old == nil:
		return opInsert
	case w.new == nil && w.expired:
		return opExpire
	case w.new == nil:
		return opRemove
	}
	return opModify
}

// sealRecord is the row of a write's record: when it happened, in the clear, as
// it is needed to forget the record when the key may be gone; then, sealed, what
// was done, the size, the item's key and what the stream's view shows of the item
// before and after.
func (w *write) sealRecord(key string, now time.Time) []byte {
	var before, after attr.Item // nil: not in the view, or not there
	size := attr.ItemSize(w.key)
	if v := w.Stream.View; v == types.StreamViewTypeOldImage || v == types.StreamViewTypeNewAndOldImages {
		before, size = w.old, size+w.oldSize
	}
	if v := w.Stream.View; v == types.StreamViewTypeNewImage || v == types.StreamViewTypeNewAndOldImages {
		after, size = w.new, size+w.newSize
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, size+size/2+roomToSeal), uint64(now.UnixMilli())) //nolint:gosec // after 1970
	b = w.begin(b)
	n := len(b)
	b = binary.AppendUvarint(append(b, w.op()), uint64(size)) //nolint:gosec // small
	b = attr.Append(b, w.key)
	for _, image := range []attr.Item{before, after} {
		if image == nil {
			b = append(b, 0)
			continue
		}
		b = attr.Append(append(b, 1), image)
	}
	return w.seal(key, b, n)
}

// stamp takes a record row apart; the time of a damaged one is zero.
func stamp(b []byte) (at time.Time, sealed []byte) {
	if len(b) < 8 {
		return time.Time{}, nil
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(b))), b[8:] //nolint:gosec // what sealRecord wrote
}

// A record is a stream record as it is read, with items in the types of DynamoDB Streams.
type record struct {
	op            byte
	at            time.Time
	keys          image
	before, after image // nil: not in the view, or not there
	size          int
}

// decodeRecord undoes sealRecord, at the cost of b.
func decodeRecord(keys map[int]*envelope.Key, key string, b []byte) (r record, err error) {
	at, b := stamp(b)
	if b, err = unseal(keys, key, b); err != nil {
		return r, fmt.Errorf("read stream record: %w", err)
	}
	if len(b) < 2 {
		return r, errRecord
	}
	size, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return r, errRecord
	}
	r.op, r.at, r.size = b[0], at, int(size) //nolint:gosec // what sealRecord wrote
	rest := string(b[1+n:])
	if r.keys, rest, err = attr.DecodeAs(&imageValues, rest); err != nil {
		return r, errRecord
	}
	for _, image := range []*image{&r.before, &r.after} {
		if rest == "" {
			return r, errRecord
		}
		has := rest[0] == 1
		rest = rest[1:]
		if has {
			if *image, rest, err = attr.DecodeAs(&imageValues, rest); err != nil {
				return r, errRecord
			}
		}
	}
	return r, nil
}

var errRecord = fmt.Errorf("read stream record: %w", attr.ErrCorrupt)
