package store

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

func openTree(file string) (*bbolt.DB, error) {
	b, err := bbolt.Open(file, 0o600, &bbolt.Options{
		Timeout: time.Second, FreelistType: bbolt.FreelistMapType,
		// The list of free pages is rebuilt at start: one write less a checkpoint.
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
	return b, nil
}

// checkpoint takes what the log holds up to a record into the tree, in one
// transaction: done twice, it changes nothing.
func (d *durable) checkpoint(o *overlay, seq uint64) error {
	return d.bolt.Update(func(tx *bbolt.Tx) (err error) {
		var table string
		var b *bbolt.Bucket
		o.rows.Scan(func(name string, row []byte) bool {
			of, key := split(name)
			if of != table || b == nil {
				table = of
				if b, err = tx.CreateBucketIfNotExists([]byte(table)); err != nil {
					return false
				}
			}
			if row == nil {
				err = b.Delete([]byte(key))
			} else {
				err = b.Put([]byte(key), sealRow(d.seal, table, key, row))
			}
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
	})
}

// A treeReader reads what is in the tree.
type treeReader struct {
	tx   *bbolt.Tx
	seal cipher.AEAD
}

func (r treeReader) get(table, key string) ([]byte, bool, error) {
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

func (r treeReader) cursor(table, from, to string, down bool) cursor {
	c := &treeCursor{seal: r.seal, table: table, from: []byte(from), to: []byte(to), down: down}
	if b := r.tx.Bucket([]byte(table)); b != nil {
		c.rows = b.Cursor()
	}
	return c
}

type treeCursor struct {
	rows     *bbolt.Cursor // nil: no such table
	seal     cipher.AEAD
	table    string
	from, to []byte // to is empty: no bound
	begun    bool
	down     bool
}

func (c *treeCursor) next() (key string, row []byte, ok bool, err error) {
	if c.rows == nil {
		return "", nil, false, nil
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
		return "", nil, false, nil
	}
	key = string(k)
	row, err = openRow(c.seal, c.table, key, v)
	return key, row, err == nil, err
}

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

// sealRow binds a row to its place: a row moved to another key cannot be read.
func sealRow(a cipher.AEAD, table, key string, row []byte) []byte {
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(row)+a.Overhead())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the process instead
	return a.Seal(nonce, nonce, row, []byte(name(table, key)))
}

func openRow(a cipher.AEAD, table, key string, sealed []byte) ([]byte, error) {
	n := a.NonceSize()
	if len(sealed) < n {
		return nil, fmt.Errorf("row %q of %s is damaged", key, table)
	}
	row, err := a.Open(nil, sealed[:n], sealed[n:], []byte(name(table, key)))
	if err != nil {
		return nil, fmt.Errorf("row %q of %s cannot be opened with the master key: %w", key, table, err)
	}
	if row == nil {
		row = []byte{}
	}
	return row, nil
}
