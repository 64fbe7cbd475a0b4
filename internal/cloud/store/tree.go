package store

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// openTree opens or makes the tree in a file, and gives back what it does not
// need of it.
func openTree(file string) (*bbolt.DB, error) {
	b, err := lockTree(file)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	if b, err = compact(b, file, compactFrom); err != nil {
		return nil, fmt.Errorf("compact %s: %w", file, err)
	}
	return b, nil
}

func lockTree(file string) (*bbolt.DB, error) {
	made, err := checkTree(file)
	if err != nil {
		return nil, err
	}
	var opened os.FileInfo
	b, err := bbolt.Open(file, 0o600, &bbolt.Options{
		Timeout: time.Second, FreelistType: bbolt.FreelistMapType,
		// The list of free pages is written when the store is closed, and rebuilt
		// from all others after a crash: one write less a checkpoint.
		NoFreelistSync: true,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, mode)
			if err == nil {
				opened, err = f.Stat()
			}
			return f, err
		},
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, ErrInUse
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, damagedTree(err.Error())
	case err != nil:
		return nil, NoRoom(err)
	}
	// Another process may have put a compacted file in the place of the one
	// that this one waited for.
	if now, err := os.Stat(file); err != nil || !os.SameFile(opened, now) {
		return nil, errors.Join(ErrInUse, b.Close())
	}
	if made {
		if err := syncFolderOf(file); err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	return b, nil
}

func damagedTree(why string) error {
	return fmt.Errorf("%w: %s; restore it from a copy, or move it and the files beside it away to start empty", ErrDamaged, why)
}

// checkTree finds out whether a file is shorter than the tree in it, which
// bbolt would learn from a fault of its memory map: that ends the process.
func checkTree(file string) (missing bool, err error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err // an empty one is new to bbolt
	}
	need := int64(-1)
	for i := range int64(2) {
		if size, ok := treeSize(f, i*int64(os.Getpagesize())); ok {
			need = max(need, size)
		}
	}
	switch {
	case need < 0:
		return false, damagedTree("neither of its first pages is whole")
	case info.Size() < need:
		return false, damagedTree(fmt.Sprintf("it has %d bytes of %d", info.Size(), need))
	}
	return false, nil
}

// treeSize reads from a meta page how much of the file is in use. After the
// page's header (16 bytes) come magic number, version, page size and flags (4
// bytes each), the root (16), the free list, the first page never used, the
// transaction's number (8 each), and the checksum (8) of all that.
func treeSize(f io.ReaderAt, at int64) (size int64, ok bool) {
	const header, length = 16, 56
	b := make([]byte, header+length+8)
	if _, err := f.ReadAt(b, at); err != nil {
		return 0, false
	}
	meta, order := b[header:], binary.NativeEndian
	sum := fnv.New64a()
	_, _ = sum.Write(meta[:length]) // a hash takes everything
	if order.Uint32(meta) != 0xED0CDAED || order.Uint64(meta[length:]) != sum.Sum64() {
		return 0, false
	}
	return int64(order.Uint64(meta[40:])) * int64(order.Uint32(meta[8:])), true //nolint:gosec // the checksum is right
}

// checkpoint takes what the log holds up to a record into the tree, in one
// transaction: done twice, it changes nothing.
func (d *durable) checkpoint(o *overlay, seq uint64) error {
	d.unlisted = d.bolt.NoFreelistSync
	// The tree holds on to the rows it was given until its commit. They lie in
	// one piece of memory then, which the next checkpoint uses again.
	sealed := slices.Grow(d.sealed[:0], o.size+o.rows.Len()*(d.seal.NonceSize()+d.seal.Overhead()))
	if d.sealed = nil; cap(sealed) <= 2*checkpointSize {
		d.sealed = sealed
	}
	return NoRoom(d.bolt.Update(func(tx *bbolt.Tx) (err error) {
		var table string
		var b *bbolt.Bucket
		var place []byte
		o.rows.Scan(func(name string, row []byte) bool {
			place = append(place[:0], name...)
			if of, _ := split(name); of != table || b == nil {
				table = of
				if b, err = tx.CreateBucketIfNotExists([]byte(table)); err != nil {
					return false
				}
			}
			key := place[len(table)+1:]
			if row == nil {
				err = b.Delete(key)
				return err == nil
			}
			from := len(sealed)
			sealed = sealRow(sealed, d.seal, place, row)
			err = b.Put(key, sealed[from:len(sealed):len(sealed)])
			return err == nil
		})
		if err != nil {
			return fmt.Errorf("table %s: %w", table, err)
		}
		if b, err = tx.CreateBucketIfNotExists([]byte(meta)); err != nil {
			return err
		}
		if err := b.Put(formatKey, []byte{rowFormat}); err != nil {
			return err
		}
		return b.Put(appliedKey, binary.BigEndian.AppendUint64(nil, seq))
	}))
}

// closeTree leaves a tree that need not be read to be opened. Where there is no
// room for its list of free pages, it is as good as after a crash.
func (d *durable) closeTree() error {
	if d.unlisted && d.failure() == nil && d.stuck == nil {
		d.bolt.NoFreelistSync = false
		if err := NoRoom(d.bolt.Update(func(*bbolt.Tx) error { return nil })); err != nil && !isFull(err) {
			return errors.Join(err, d.bolt.Close())
		}
	}
	return d.bolt.Close()
}

// A treeReader reads what is in the tree.
type treeReader struct {
	tx   *bbolt.Tx
	seal cipher.AEAD
}

func (r treeReader) get(name string) ([]byte, bool, error) {
	place := []byte(name)
	at := strings.IndexByte(name, 0)
	b := r.tx.Bucket(place[:at])
	if b == nil {
		return nil, false, nil
	}
	sealed := b.Get(place[at+1:])
	if sealed == nil {
		return nil, false, nil
	}
	row, err := openRow(r.seal, place, sealed)
	return row, err == nil, err
}

func (r treeReader) cursor(table, from, to string, down bool) cursor {
	c := &treeCursor{seal: r.seal, place: []byte(name(table, "")), from: []byte(from), to: []byte(to), down: down}
	c.table = len(c.place)
	if b := r.tx.Bucket([]byte(table)); b != nil {
		c.rows = b.Cursor()
	}
	return c
}

type treeCursor struct {
	rows     *bbolt.Cursor // nil: no such table
	seal     cipher.AEAD
	place    []byte // the name of the row at which it stands
	table    int    // length of the table's part of it
	sealed   []byte // that row
	from, to []byte // to is empty: no bound
	begun    bool
	down     bool
}

func (c *treeCursor) next() (key string, ok bool, err error) {
	if c.rows == nil {
		return "", false, nil
	}
	var k, v []byte
	switch {
	case c.begun && c.down:
		k, v = c.rows.Prev()
	case c.begun:
		k, v = c.rows.Next()
	case c.down:
		k, v = c.seekDown()
	default:
		k, v = c.rows.Seek(c.from)
	}
	c.begun = true
	if k == nil || c.down && bytes.Compare(k, c.from) < 0 || !c.down && len(c.to) > 0 && bytes.Compare(k, c.to) >= 0 {
		return "", false, nil
	}
	c.place, c.sealed = append(c.place[:c.table], k...), v
	return string(k), true, nil
}

func (c *treeCursor) deleted() bool { return false }

func (c *treeCursor) row() ([]byte, error) { return openRow(c.seal, c.place, c.sealed) }

// seekDown finds the last row before to.
func (c *treeCursor) seekDown() (k, v []byte) {
	if len(c.to) == 0 {
		return c.rows.Last()
	}
	if k, _ = c.rows.Seek(c.to); k == nil {
		return c.rows.Last()
	}
	return c.rows.Prev()
}

// sealRow appends a row, sealed and bound to its place, its name: a row moved to
// another key cannot be read.
func sealRow(to []byte, a cipher.AEAD, place, row []byte) []byte {
	from := len(to)
	to = slices.Grow(to, a.NonceSize()+len(row)+a.Overhead())[:from+a.NonceSize()]
	nonce := to[from:]
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the process instead
	return a.Seal(to, nonce, row, place)
}

func openRow(a cipher.AEAD, place, sealed []byte) ([]byte, error) {
	n := a.NonceSize()
	if len(sealed) < n {
		table, key := split(string(place))
		return nil, fmt.Errorf("row %q of %s is damaged", key, table)
	}
	row, err := a.Open(nil, sealed[:n], sealed[n:], place)
	if err != nil {
		table, key := split(string(place))
		return nil, fmt.Errorf("row %q of %s cannot be opened with the master key: %w", key, table, err)
	}
	if row == nil {
		row = []byte{}
	}
	return row, nil
}
