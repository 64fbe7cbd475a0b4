package sqs

import (
	"fmt"
	"time"

	"miniforge/internal/cloud/store"
)

// Rows of a queue, all under its key and a NUL:
//   - messages by id,
//   - slots in the order in which messages are handed out: by the time from
//     which they are visible or, in FIFO queues, by sequence number,
//   - deduplication ids of FIFO queues.
const (
	messages = store.Table[message]("sqs.messages")
	slots    = store.Table[slot]("sqs.slots")
	dedups   = store.Table[dedup]("sqs.dedup")
)

// A message is a message at rest. Its content is sealed under the queue's KMS
// key, if it has one; a dead letter keeps the seal of the queue it came from.
type message struct {
	ID       string
	Content  []byte            // content as JSON, sealed or plain
	Wrap     []byte            `json:",omitempty"` // wrapped data key
	Under    map[string]string `json:",omitempty"` // encryption context
	Sender   string
	Sent     time.Time
	Visible  time.Time // from when it can be received
	First    time.Time `json:",omitzero"` // first received
	Receives int       `json:",omitempty"`
	Receipt  string    `json:",omitempty"` // of the last receive
	Source   string    `json:",omitempty"` // ARN of the queue it was moved from
	Group    string    `json:",omitempty"`
	Dedup    string    `json:",omitempty"`
	Sequence uint64    `json:",omitempty"`
}

// A slot is a message's place in the order.
type slot struct {
	ID      string
	Visible time.Time
	Sent    time.Time
	Group   string `json:",omitempty"`
	Taken   bool   `json:",omitempty"` // by a receiver: hidden means in flight, not delayed
}

// A dedup remembers a message of a FIFO queue for five minutes.
type dedup struct {
	ID       string
	Sequence uint64
	MD5      string
	Until    time.Time
}

func rowKey(queue, id string) string { return queue + "\x00" + id }

func slotKey(queue string, fifo bool, m message) string {
	order := uint64(max(0, m.Visible.UnixNano())) //nolint:gosec // not negative
	if fifo {
		order = m.Sequence
	}
	return fmt.Sprintf("%s\x00%016x\x00%s", queue, order, m.ID)
}

// put writes a message and its slot; old is the message as it was, for its slot.
func put(tx *store.Tx, queue string, fifo bool, m message, old *message) error {
	if old != nil {
		if err := slots.Delete(tx, slotKey(queue, fifo, *old)); err != nil {
			return err
		}
	}
	if err := messages.Put(tx, rowKey(queue, m.ID), m); err != nil {
		return err
	}
	return slots.Put(tx, slotKey(queue, fifo, m), slot{m.ID, m.Visible, m.Sent, m.Group, m.Receipt != ""})
}

func drop(tx *store.Tx, queue string, fifo bool, m message) error {
	if err := slots.Delete(tx, slotKey(queue, fifo, m)); err != nil {
		return err
	}
	return messages.Delete(tx, rowKey(queue, m.ID))
}

// dropAll removes all rows of a queue but its own.
func dropAll(tx *store.Tx, queue string) error {
	if err := dropTable(tx, messages, queue); err != nil {
		return err
	}
	if err := dropTable(tx, slots, queue); err != nil {
		return err
	}
	return dropTable(tx, dedups, queue)
}

func dropTable[V any](tx *store.Tx, t store.Table[V], queue string) error {
	var keys []string
	for r, err := range t.Prefix(tx, queue+"\x00") {
		if err != nil {
			return err
		}
		keys = append(keys, r.Key)
	}
	for _, k := range keys {
		if err := t.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

// expired tells whether a message sent then is past the retention period.
func (q queue) expired(sent, now time.Time) bool {
	return now.Sub(sent) > q.seconds("MessageRetentionPeriod")
}

func dropExpired(tx *store.Tx, queue string, q queue, now time.Time) error {
	var gone []message
	for r, err := range messages.Prefix(tx, queue+"\x00") {
		if err != nil {
			return err
		}
		if q.expired(r.Value.Sent, now) {
			gone = append(gone, r.Value)
		}
	}
	for _, m := range gone {
		if err := drop(tx, queue, q.fifo(), m); err != nil {
			return err
		}
	}
	var old []string
	for r, err := range dedups.Prefix(tx, queue+"\x00") {
		if err != nil {
			return err
		}
		if now.After(r.Value.Until) {
			old = append(old, r.Key)
		}
	}
	for _, k := range old {
		if err := dedups.Delete(tx, k); err != nil {
			return err
		}
	}
	return nil
}

type counts struct{ visible, inFlight, delayed int }

func tally(tx *store.Tx, queue string, q queue, now time.Time) (n counts, err error) {
	for r, err := range slots.Prefix(tx, queue+"\x00") {
		switch v := r.Value; {
		case err != nil:
			return n, err
		case q.expired(v.Sent, now):
		case !v.Visible.After(now):
			n.visible++
		case v.Taken:
			n.inFlight++
		default:
			n.delayed++
		}
	}
	return n, nil
}
