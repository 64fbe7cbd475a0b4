package store

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrInUse means that another process has the store open.
var ErrInUse = errors.New("store is in use by another process")

// durable is a DB in one bbolt file. Updates run one after the other on what
// is committed plus what is about to be; all that ended while the last commit
// was on its way to the disk share the next one and its fsync.
type durable struct {
	bolt *bbolt.DB
	seal cipher.AEAD

	mu         sync.Mutex
	pending    *batch // what the next commit will write
	committing *batch // what is being written; nil if nothing is
	failed     error  // the disk did not take a batch: nothing is accepted any more
	closed     bool

	wake chan struct{}
	done chan struct{}
}

// A batch is a set of updates that become durable together.
type batch struct {
	writes   *overlay
	onCommit []func()
	done     chan struct{} // closed when err is set for good
	err      error
}

func newBatch() *batch { return &batch{writes: newOverlay(), done: make(chan struct{})} }

var _ DB = (*durable)(nil)

// Open opens or makes the store in the file. Rows are sealed with the given
// cipher, bound to their table and key, so that the file holds no plaintext.
// A file that another process has open is ErrInUse after a second.
func Open(file string, seal cipher.AEAD) (DB, error) {
	b, err := bbolt.Open(file, 0o600, &bbolt.Options{
		Timeout: time.Second, FreelistType: bbolt.FreelistMapType,
		// The list of free pages is rebuilt at start: one write less a commit.
		NoFreelistSync: true,
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("open %s: %w", file, ErrInUse)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("open %s: %w", file, err)
	case err != nil:
		return nil, fmt.Errorf("open %s: %w (the file may be damaged: move it away to start empty)", file, err)
	}
	d := &durable{bolt: b, seal: seal, pending: newBatch(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	go d.commits()
	return d, nil
}

func (d *durable) View(fn func(*Tx) error) error {
	tx, err := d.bolt.Begin(false)
	if err != nil {
		return closedError(err)
	}
	defer func() { _ = tx.Rollback() }() // a read transaction has nothing to lose
	return fn(&Tx{base: boltReader{tx, d.seal}})
}

func (d *durable) Update(_ context.Context, fn func(*Tx) error) error {
	b, after, err := d.run(fn)
	if b != nil {
		<-b.done
		if b.err != nil {
			return b.err
		}
	}
	for _, f := range after {
		f()
	}
	return err
}

// run executes fn and joins what it wrote to the pending batch. Its outcome
// may rest on what others wrote just before: even a refusal waits for their
// commit, so that nobody is told of a state that a crash would undo. Without
// writes of its own, what is to follow the commit is left to the caller.
func (d *durable) run(fn func(*Tx) error) (wait *batch, after []func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.failed != nil {
		return nil, nil, errors.Join(d.failed, ErrClosed)
	}
	btx, err := d.bolt.Begin(false)
	if err != nil {
		return nil, nil, closedError(err)
	}
	defer func() { _ = btx.Rollback() }()
	base := stack{base: boltReader{btx, d.seal}}
	if d.committing != nil {
		base.over = append(base.over, d.committing.writes)
	}
	base.over = append(base.over, d.pending.writes)
	tx := &Tx{base: base, own: newOverlay()}
	if err := fn(tx); err != nil {
		return d.last(), nil, err
	}
	if tx.own.empty() {
		return d.last(), tx.onCommit, nil
	}
	d.pending.writes.absorb(tx.own)
	d.pending.onCommit = append(d.pending.onCommit, tx.onCommit...)
	return d.last(), nil, nil
}

// last is the batch whose commit makes everything so far durable; nil if all is.
func (d *durable) last() *batch {
	if !d.pending.writes.empty() {
		select {
		case d.wake <- struct{}{}:
		default:
		}
		return d.pending
	}
	return d.committing
}

// commits writes batches until Close.
func (d *durable) commits() {
	defer close(d.done)
	for range d.wake {
		d.mu.Lock()
		b := d.pending
		if b.writes.empty() {
			d.mu.Unlock()
			continue
		}
		d.committing, d.pending = b, newBatch()
		d.mu.Unlock()

		err := d.write(b.writes)

		d.mu.Lock()
		d.committing = nil
		if err != nil && d.failed == nil {
			d.failed = fmt.Errorf("write to the store: %w", err)
		}
		b.err = d.failed
		d.mu.Unlock()
		if b.err == nil {
			for _, f := range b.onCommit {
				f()
			}
		}
		close(b.done)
	}
}

func (d *durable) write(o *overlay) error {
	return d.bolt.Update(func(tx *bbolt.Tx) error {
		for table, rows := range o.tables {
			b, err := tx.CreateBucketIfNotExists([]byte(table))
			if err != nil {
				return err
			}
			rows.Scan(func(k string, row []byte) bool {
				if row == nil {
					err = b.Delete([]byte(k))
				} else {
					err = b.Put([]byte(k), sealRow(d.seal, table, k, row))
				}
				return err == nil
			})
			if err != nil {
				return fmt.Errorf("table %s: %w", table, err)
			}
		}
		return nil
	})
}

func (d *durable) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	b := d.last()
	d.mu.Unlock()
	if b != nil {
		<-b.done
	}
	close(d.wake)
	<-d.done
	return d.bolt.Close()
}

func closedError(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

type boltReader struct {
	tx   *bbolt.Tx
	seal cipher.AEAD
}

func (r boltReader) get(table, key string) ([]byte, bool, error) {
	b := r.tx.Bucket([]byte(table))
	if b == nil {
		return nil, false, nil
	}
	sealed := b.Get([]byte(key))
	if sealed == nil {
		return nil, false, nil
	}
	row, err := openRow(r.seal, table, key, sealed)
	return row, err == nil, err
}

func (r boltReader) scan(table, from, to string, down bool) iter.Seq2[pair, error] {
	return func(yield func(pair, error) bool) {
		b := r.tx.Bucket([]byte(table))
		if b == nil {
			return
		}
		c := b.Cursor()
		step := c.Next
		var k, v []byte
		if down {
			step = c.Prev
			k, v = seekDown(c, to)
		} else {
			k, v = c.Seek([]byte(from))
		}
		for ; k != nil; k, v = step() {
			if !down && to != "" && bytes.Compare(k, []byte(to)) >= 0 || down && bytes.Compare(k, []byte(from)) < 0 {
				return
			}
			row, err := openRow(r.seal, table, string(k), v)
			if !yield(pair{string(k), row}, err) || err != nil {
				return
			}
		}
	}
}

// seekDown finds the last row before to.
func seekDown(c *bbolt.Cursor, to string) (k, v []byte) {
	if to == "" {
		return c.Last()
	}
	if k, _ = c.Seek([]byte(to)); k == nil {
		return c.Last()
	}
	return c.Prev()
}

// sealRow binds a row to its place: a row moved to another key cannot be read.
func sealRow(a cipher.AEAD, table, key string, row []byte) []byte {
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(row)+a.Overhead())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the process instead
	return a.Seal(nonce, nonce, row, []byte(table+"\x00"+key))
}

func openRow(a cipher.AEAD, table, key string, sealed []byte) ([]byte, error) {
	n := a.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("row %q of %s is damaged", key, table)
	}
	row, err := a.Open(nil, sealed[:n], sealed[n:], []byte(table+"\x00"+key))
	if err != nil {
		return nil, fmt.Errorf("row %q of %s cannot be opened with the master key: %w", key, table, err)
	}
	if row == nil {
		row = []byte{}
	}
	return row, nil
}
