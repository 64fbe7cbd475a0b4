package store

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// ErrInUse means that another process has the store open.
var ErrInUse = errors.New("store is in use by another process")

// durable is a DB in files. Updates run one after the other on what is
// committed plus what is about to be; all that ended while the last commit was
// on its way to the disk share the next one: one write and one flush of the
// log.
//
// What is in the log stays in memory until the tree (bbolt) has taken it in:
// many commits at a time, so that a row that is changed often is written there
// once, and one that is soon deleted never.
type durable struct {
	bolt *bbolt.DB
	seal cipher.AEAD
	versions

	// swap keeps the tree and what is known to be over it together: a reader
	// holds it while it takes hold of both.
	swap  sync.RWMutex
	state version

	mu         sync.Mutex
	pending    *batch // what the next commit will write
	committing *batch // what is being written; nil if nothing is
	failed     error  // the disk did not take a batch: nothing is accepted any more
	closed     bool

	wake chan struct{}
	done chan struct{}

	// Only commits touches these.
	wal    *wal
	active *overlay   // committed since the last checkpoint began
	limit  int        // size of active at which the next one begins
	taken  chan error // the end of the checkpoint under way; nil if there is none
	// unlisted: the tree's last commit left out its list of free pages. A
	// checkpoint under way writes it.
	unlisted bool
	sealed   []byte // memory of the rows of checkpoints; the one under way has it
	// What the tree is taking in, or had no room for when it last tried: the log
	// up to stuckSeq; nil if nothing.
	stuck    *overlay
	stuckSeq uint64
	retry    time.Time // when it tries again
}

// A version is what is committed and may not be in the tree yet. It never changes.
type version struct {
	older *overlay // what a checkpoint is taking into the tree; nil if none is
	newer *overlay
}

func (v version) over(base reader) stack {
	s := stack{base: base}
	if v.older != nil {
		s.over = append(s.over, v.older)
	}
	s.over = append(s.over, v.newer)
	return s
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

// Open opens or makes the store in the file and its log beside it. Rows are
// sealed with the given cipher, bound to their table and key, so that the files
// hold no plaintext but keys. A file that another process has open is ErrInUse
// after a second; one that does not hold what was written is ErrDamaged, or ErrFormat.
func Open(file string, seal cipher.AEAD) (DB, error) {
	d, err := open(file, seal, checkpointSize)
	if err != nil {
		return nil, err
	}
	return d, nil
}

func open(file string, seal cipher.AEAD, limit int) (*durable, error) {
	b, err := openTree(file)
	if err != nil {
		return nil, err
	}
	d := &durable{
		bolt: b, seal: seal, state: version{newer: newOverlay()}, active: newOverlay(), limit: limit, pending: newBatch(),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if err := d.recover(file); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", file, err), b.Close())
	}
	go d.commits()
	return d, nil
}

// recover takes the log's records into the tree.
func (d *durable) recover(file string) error {
	applied, known, err := d.applied()
	if err != nil {
		return err
	}
	there, err := hasWAL(file)
	if err != nil {
		return err
	}
	if known && !there {
		return fmt.Errorf("%w: its log is gone (%s, %s)", ErrDamaged, walName(file, 0), walName(file, 1))
	}
	w, records, err := openWAL(file, d.seal, applied)
	if err != nil {
		return NoRoom(err)
	}
	d.wal = w
	if !there {
		if err := syncFolderOf(file); err != nil {
			return errors.Join(err, w.close())
		}
	}
	o := newOverlay()
	for _, r := range records {
		if err := decodeWrites(r.writes, o); err != nil {
			return errors.Join(fmt.Errorf("record %d of the log: %w", r.seq, err), w.close())
		}
	}
	if len(records) == 0 {
		return nil
	}
	if err := d.checkpoint(o, w.seq); err != nil {
		return errors.Join(err, w.close())
	}
	return nil
}

func (d *durable) View(fn func(*Tx) error) error {
	d.swap.RLock()
	btx, err := d.bolt.Begin(false)
	v := d.state
	d.swap.RUnlock()
	if err != nil {
		return closedError(err)
	}
	defer func() { _ = btx.Rollback() }() // a read transaction has nothing to lose
	return fn(&Tx{base: v.over(treeReader{btx, d.seal})})
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
	d.swap.RLock()
	btx, err := d.bolt.Begin(false)
	v := d.state
	d.swap.RUnlock()
	if err != nil {
		return nil, nil, closedError(err)
	}
	defer func() { _ = btx.Rollback() }()
	base := v.over(treeReader{btx, d.seal})
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

const (
	// checkpointSize is how much the log takes before the tree takes it over:
	// enough to make that rare, little enough to be read at once at start-up.
	checkpointSize = 4 << 20
	// checkpointIdle is how long nothing is written before the tree takes over
	// what there is: a cloud that rests starts with an empty log.
	checkpointIdle = 2 * time.Second
	// logLimit is how many times checkpointSize the log takes while the tree
	// takes over what was before.
	logLimit = 8
)

// commits writes batches and begins checkpoints until Close.
func (d *durable) commits() {
	defer close(d.done)
	idle := time.NewTimer(checkpointIdle)
	defer idle.Stop()
	for {
		// Where the tree is slow to take over what was before, commits wait.
		wake := d.wake
		if d.taken != nil && d.active.size > logLimit*d.limit {
			wake = nil
		}
		select {
		case _, open := <-wake:
			if !open {
				d.settle()
				return
			}
			d.commit()
			idle.Reset(checkpointIdle)
		case err := <-d.taken:
			d.took(err)
			idle.Reset(checkpointIdle)
		case <-idle.C:
			d.turn()
		}
		if d.active.size > d.limit {
			d.turn()
		}
	}
}

// commit makes the pending batch durable, if there is one. Whoever is ready to
// run goes first, and may add to it: on a busy machine a commit then carries
// several times as much, and on an idle one nobody waits.
func (d *durable) commit() {
	runtime.Gosched()
	d.mu.Lock()
	b := d.pending
	if b.writes.empty() {
		d.mu.Unlock()
		return
	}
	d.committing, d.pending = b, newBatch()
	err := d.failed
	d.mu.Unlock()

	if err == nil {
		if err = d.write(b); err != nil {
			err = writeError(err)
		}
	}
	if err != nil {
		d.refuse(b, err)
		return
	}
	d.active.absorb(b.writes)
	d.mu.Lock()
	d.publish()
	d.committing = nil
	d.mu.Unlock()
	d.versions.committed(b.writes)
	for _, f := range b.onCommit {
		f()
	}
	close(b.done)
}

// write appends a batch to the log, unless that holds so much already which the
// tree has no room for that memory would not be bounded.
func (d *durable) write(b *batch) error {
	if d.taken == nil && d.stuck != nil && d.active.size > logLimit*d.limit {
		return &FullError{errors.New("the log is full, too")}
	}
	return d.wal.append(b.writes)
}

// refuse ends a batch that was not written, and with it the updates since:
// they built on what has not happened.
func (d *durable) refuse(b *batch, err error) {
	d.mu.Lock()
	later := d.pending
	d.committing, d.pending = nil, newBatch()
	if d.failed == nil && !isFull(err) {
		d.failed = err
	}
	d.mu.Unlock()
	for _, x := range []*batch{b, later} {
		x.err = err
		close(x.done)
	}
}

// publish shows what is committed to transactions to come.
func (d *durable) publish() {
	newer := d.active.snapshot()
	d.swap.Lock()
	defer d.swap.Unlock()
	d.state.newer = newer
}

// turn begins a checkpoint, unless there is one or nothing to do.
func (d *durable) turn() {
	if d.taken != nil || d.failure() != nil || d.stuck != nil && time.Now().Before(d.retry) {
		return
	}
	older, seq := d.stuck, d.stuckSeq
	if older == nil {
		if d.active.empty() {
			return
		}
		older, seq = d.active, d.wal.seq
		d.active = newOverlay()
		d.wal.turn()
		d.swap.Lock()
		d.state = version{older: older, newer: newOverlay()}
		d.swap.Unlock()
	}
	d.stuck, d.stuckSeq = older, seq
	taken := make(chan error, 1)
	d.taken = taken
	go func() { taken <- d.checkpoint(older, seq) }()
}

// took ends a checkpoint. What the tree did not take stays in memory, for
// readers, and in the log.
func (d *durable) took(err error) {
	d.taken = nil
	switch {
	case err == nil:
		d.stuck = nil
		d.swap.Lock()
		defer d.swap.Unlock()
		d.state.older = nil
	case isFull(err):
		d.retry = time.Now().Add(checkpointIdle / 2) // the next idle time
	default:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.failed = errors.Join(d.failed, writeError(err))
	}
}

func (d *durable) failure() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// settle leaves everything in the tree, or in the log if the tree has no room.
func (d *durable) settle() {
	d.commit()
	d.retry = time.Time{}
	for {
		if d.taken == nil {
			d.bolt.NoFreelistSync = false // nothing is written after this
			d.turn()
		}
		if d.taken == nil {
			return // nothing is left, or the disk failed
		}
		d.took(<-d.taken)
		if d.stuck != nil {
			return
		}
	}
}

// Close waits for updates under way and has the tree take in the log.
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
	return errors.Join(d.wal.close(), d.closeTree())
}

func closedError(err error) error {
	if errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		return ErrClosed
	}
	return err
}

// meta is the bucket of what the tree knows of the log.
const meta = "store.meta"

var (
	// appliedKey holds the sequence number of the last record that is in the tree.
	appliedKey = []byte("applied")
	// formatKey holds how rows are written.
	formatKey = []byte("format")
)

// rowFormat is raised when rows can no longer be read that were written before.
// 2 is CBOR; there was JSON, which did not say so.
const rowFormat = 2

// ErrFormat means that a store was written by another version of this program.
var ErrFormat = errors.New("store is of another version of this program")

// applied is that number; the tree of a new store does not know it.
func (d *durable) applied() (seq uint64, known bool, err error) {
	err = d.bolt.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(meta))
		if b == nil {
			return nil
		}
		if f := b.Get(formatKey); !bytes.Equal(f, []byte{rowFormat}) {
			return fmt.Errorf("%w: start empty with `miniforge cloud reset`, or use the program that wrote it", ErrFormat)
		}
		if v := b.Get(appliedKey); len(v) == 8 {
			seq, known = binary.BigEndian.Uint64(v), true
		}
		return nil
	})
	return seq, known, err
}
