package logs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/store"
)

// Events that come together are stored together, in blocks, which costs a
// fraction of a row for each. A block's key is the position of its first event.
// Its events follow each other within blockSpan, so that who looks for events
// at a time knows how far before it a block can begin.
const (
	blockSpan   = 1000 // milliseconds
	blockEvents = 1000
	blockBytes  = 256 << 10
)

// A block is some events of a stream at rest: when they came in, how they are
// sealed, the time and length of each, and their messages one after the other.
type block struct {
	ingested int64
	key      int    // number of the data key it is sealed under; 0: none
	data     []byte // messages, sealed if there is a key
	text     []byte // messages; nil until they are opened
}

// A raw is an event as it was read; its message is a part of its block's.
type raw struct {
	stream   string // name
	position string
	in       *block
	from, to int
}

// size is what an event counts for the limits of an answer.
func (r *raw) size() int { return r.to - r.from + eventOverhead }

// cut returns how many of the events, at least one, go into one block.
func cut(in []types.InputLogEvent) int {
	size := 0
	for i, e := range in {
		size += len(*e.Message)
		if i > 0 && (i == blockEvents || size > blockBytes || *e.Timestamp-*in[0].Timestamp > blockSpan) {
			return i
		}
	}
	return len(in)
}

// beginBlock writes a block up to its messages, for which it leaves room: 8
// bytes for when it came in, then varints for the key, the count, and the delay
// after the first and the length of each event.
func beginBlock(ingested int64, key int, in []types.InputLogEvent) []byte {
	size := 16 + 4*len(in) + envelope.Overhead
	for _, e := range in {
		size += len(*e.Message)
	}
	b := binary.BigEndian.AppendUint64(make([]byte, 0, size), uint64(ingested))
	b = binary.AppendUvarint(b, uint64(key))
	b = binary.AppendUvarint(b, uint64(len(in)))
	for _, e := range in {
		b = binary.AppendUvarint(b, uint64(*e.Timestamp-*in[0].Timestamp))
		b = binary.AppendUvarint(b, uint64(len(*e.Message)))
	}
	return b
}

var errDamaged = errors.New("log events at rest are damaged")

// rawsOf reads a block's events, in their order. first is the block's key.
func rawsOf(stream, first string, row []byte) ([]raw, error) {
	if len(row) < 8 {
		return nil, errDamaged
	}
	in := &block{ingested: int64(binary.BigEndian.Uint64(row))}
	row = row[8:]
	next := func() int {
		v, n := binary.Uvarint(row)
		if n <= 0 || v > 1<<40 {
			row = nil // the rest fails too
			return 0
		}
		row = row[n:]
		return int(v)
	}
	in.key = next()
	count := next()
	if count > len(row) {
		return nil, errDamaged
	}
	at, seq := parsePosition(first)
	all := make([]raw, count)
	end := 0
	for i := range all {
		delay, size := next(), next()
		all[i] = raw{stream: stream, position: position(at+int64(delay), seq+int64(i)), in: in, from: end, to: end + size}
		end += size
	}
	if in.data = row; in.key == 0 {
		in.text = row
	}
	if row == nil || in.key == 0 && len(row) != end {
		return nil, errDamaged
	}
	return all, nil
}

// A span is the part of a stream from one position to before another; to ""
// is unbounded.
type span struct{ from, to string }

func (s span) holds(position string) bool {
	return position >= s.from && (s.to == "" || position < s.to)
}

// read yields a stream's events in order of position; down reverses it. Blocks
// of one stream may overlap in time: events wait until no block to come can
// hold one that goes before them.
func (s span) read(tx *store.Tx, name, streamID string, down bool) iter.Seq2[raw, error] {
	prefix := streamID + "/"
	to := store.PrefixEnd(prefix)
	if s.to != "" {
		to = prefix + s.to
	}
	rows := events.Range
	if down {
		rows = events.RangeDown
	}
	return func(yield func(raw, error) bool) {
		var waiting []raw // in the order in which they are yielded
		for r, err := range rows(tx, prefix+position(max(0, timeOf(s.from)-blockSpan), 0), to) {
			var found []raw
			if err == nil {
				found, err = rawsOf(name, r.Key[len(prefix):], r.Value)
			}
			if err != nil {
				yield(raw{}, fmt.Errorf("read events of log stream %s: %w", name, err))
				return
			}
			first := r.Key[len(prefix):]
			n := ready(waiting, first, down)
			for _, x := range waiting[:n] {
				if s.holds(x.position) && !yield(x, nil) {
					return
				}
			}
			waiting = merged(waiting[n:], found, down)
		}
		for _, x := range waiting {
			if s.holds(x.position) && !yield(x, nil) {
				return
			}
		}
	}
}

// ready counts the waiting events that go before all of a block that begins
// at first, and of those to come after it.
func ready(waiting []raw, first string, down bool) int {
	if down {
		first = position(timeOf(first)+blockSpan+1, 0)
	}
	n := slices.IndexFunc(waiting, func(x raw) bool { return (x.position < first) == down })
	if n < 0 {
		return len(waiting)
	}
	return n
}

func merged(waiting, found []raw, down bool) []raw {
	all := slices.Concat(waiting, found)
	slices.SortFunc(all, func(a, b raw) int {
		if down {
			a, b = b, a
		}
		return strings.Compare(a.position, b.position)
	})
	return all
}

// expired counts a block's events that are as old as limit or older.
func expired(all []raw, limit int64) int {
	n := slices.IndexFunc(all, func(x raw) bool { return timeOf(x.position) > limit })
	if n < 0 {
		return len(all)
	}
	return n
}
