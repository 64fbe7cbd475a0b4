package store

import (
	"bufio"
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
)

// ErrDamaged means that the store's files do not hold what was once written.
var ErrDamaged = errors.New("store is damaged")

// A wal is the write-ahead log: what is committed and not yet in the tree. A
// commit is one write at the end of a file and one flush, where the tree would
// need many of both.
//
// The log has two files, used in turn. While the tree takes in what one of
// them holds, commits go to the other; then the first is written over from its
// start, so that its blocks are there already and a flush moves data only.
// Records carry a sequence number without gaps, which tells a file's records
// from those of its earlier life.
type wal struct {
	seal  cipher.AEAD
	files [2]logFile
	at    int    // the file in use
	off   int64  // its end
	seq   uint64 // of the last record
	buf   []byte // of records, used again
}

// A logFile is what the log asks of a file.
type logFile interface {
	io.Reader
	io.WriterAt
	io.Closer
	Name() string
	// Flush brings what was written to the disk.
	Flush() error
}

type osFile struct{ *os.File }

// Flush implements logFile.
func (f osFile) Flush() error { return flush(f.File) }

// A frame is a record's header: the length of what follows, its sequence
// number, and a checksum of both.
const frameSize = 4 + 8 + 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A record is one commit as read from the log.
type record struct {
	seq    uint64
	writes []byte
}

// hasWAL reports whether the log's files are there: both, or none. That one is
// gone is damage: it may have held what was acknowledged.
func hasWAL(path string) (bool, error) {
	there := 0
	for i := range 2 {
		_, err := os.Stat(walName(path, i))
		switch {
		case err == nil:
			there++
		case !errors.Is(err, fs.ErrNotExist):
			return false, err
		}
	}
	return there == 2, nil
}

func walName(path string, i int) string { return fmt.Sprintf("%s.wal%d", path, i) }

// openWAL opens or makes the log and returns what it holds after the given
// sequence number, in order. What is torn at its end was never acknowledged.
func openWAL(path string, seal cipher.AEAD, applied uint64) (*wal, []record, error) {
	w := &wal{seal: seal, seq: applied}
	var found [2][]record
	for i := range w.files {
		f, err := os.OpenFile(walName(path, i), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, nil, errors.Join(err, w.close())
		}
		w.files[i] = osFile{f}
		if found[i], err = readWAL(f, seal, applied); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("read %s: %w", f.Name(), err), w.close())
		}
	}
	if before(found[1], found[0]) {
		found[0], found[1] = found[1], found[0]
	}
	var out []record
	for _, r := range append(found[0], found[1]...) {
		if r.seq <= applied {
			continue
		}
		if r.seq != w.seq+1 {
			return nil, nil, errors.Join(fmt.Errorf("%w: its log goes on with %d after %d", ErrDamaged, r.seq, w.seq), w.close())
		}
		w.seq, out = r.seq, append(out, r)
	}
	return w, out, nil
}

func before(a, b []record) bool { return len(a) > 0 && len(b) > 0 && a[0].seq < b[0].seq }

// readWAL reads the records of one file up to the first that is not whole; of
// those that the tree has taken in, no more than that they are there. If the
// one after that is whole, a flush was acknowledged that did not happen, or the
// file was changed since.
func readWAL(f io.Reader, seal cipher.AEAD, applied uint64) (all []record, err error) {
	in := bufio.NewReaderSize(f, 1<<16)
	for last := uint64(0); ; {
		size, seq, ok, err := readFrame(in)
		if err != nil || !ok || last != 0 && seq != last+1 {
			return all, err
		}
		if seq <= applied {
			// What is written over it may have arrived in part, and its header
			// not: then no record follows.
			if _, err := io.CopyN(io.Discard, in, size); err != nil {
				return all, notEOF(err)
			}
			all, last = append(all, record{seq: seq}), seq
			continue
		}
		var sealed bytes.Buffer
		if _, err := io.CopyN(&sealed, in, size); err != nil {
			return all, notEOF(err)
		}
		writes, err := openRecord(seal, seq, sealed.Bytes())
		if err != nil {
			if _, next, ok, err := readFrame(in); err != nil || ok && next == seq+1 {
				return nil, errors.Join(fmt.Errorf("%w: record %d cannot be opened", ErrDamaged, seq), err)
			}
			return all, nil
		}
		all, last = append(all, record{seq, writes}), seq
	}
}

// notEOF is the error of a read, unless it is that the file has ended.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// readFrame reads the header of a record, if there is a whole one.
func readFrame(in io.Reader) (size int64, seq uint64, ok bool, err error) {
	var b [frameSize]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
		return 0, 0, false, notEOF(err)
	}
	size, seq = int64(binary.BigEndian.Uint32(b[:])), binary.BigEndian.Uint64(b[4:])
	return size, seq, crc32.Checksum(b[:12], castagnoli) == binary.BigEndian.Uint32(b[12:]) && seq != 0, nil
}

func openRecord(seal cipher.AEAD, seq uint64, b []byte) ([]byte, error) {
	n := seal.NonceSize()
	if len(b) < n {
		return nil, io.ErrUnexpectedEOF
	}
	return seal.Open(nil, b[:n], b[n:], recordName(seq))
}

// recordName binds a record to its place in the log.
func recordName(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte("wal\x00"), seq) }

// keepBuffer is the largest buffer that is kept: a commit may hold a whole
// function's code, which few do.
const keepBuffer = 1 << 20

// append makes writes durable. After a [FullError] the log is as it was before:
// the next record takes the place of what there was room for.
func (w *wal) append(o *overlay) error {
	seq := w.seq + 1
	head := frameSize + w.seal.NonceSize()
	b := encodeWrites(slices.Grow(w.buf[:0], head+o.size+6*o.rows.Len()+w.seal.Overhead())[:head], o)
	nonce := b[frameSize:head]
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the process instead
	b = w.seal.Seal(b[:head], nonce, b[head:], recordName(seq))
	if cap(b) <= keepBuffer {
		w.buf = b
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-frameSize))
	binary.BigEndian.PutUint64(b[4:], seq)
	binary.BigEndian.PutUint32(b[12:], crc32.Checksum(b[:12], castagnoli))
	f := w.files[w.at]
	if _, err := f.WriteAt(b, w.off); err != nil {
		return NoRoom(err)
	}
	// A flush that fails may have lost what it was to write, and the next one
	// would not say so: there is no going on after it, whatever its reason.
	if err := f.Flush(); err != nil {
		return err
	}
	w.seq, w.off = seq, w.off+int64(len(b))
	return nil
}

// turn goes on in the other file. All that it holds must be in the tree.
func (w *wal) turn() { w.at, w.off = 1-w.at, 0 }

func (w *wal) close() (err error) {
	for _, f := range w.files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// encodeWrites appends rows one after the other: length and name, then length
// plus one and row; 0 stands for a deleted row.
func encodeWrites(b []byte, o *overlay) []byte {
	o.rows.Scan(func(name string, row []byte) bool {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
		if row == nil {
			b = append(b, 0)
		} else {
			b = append(binary.AppendUvarint(b, uint64(len(row))+1), row...)
		}
		return true
	})
	return b
}

func decodeWrites(b []byte, o *overlay) error {
	for len(b) > 0 {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return ErrDamaged
		}
		key := string(b[used : used+int(n)])
		b = b[used+int(n):]
		if n, used = binary.Uvarint(b); used <= 0 || n > uint64(len(b)-used)+1 {
			return ErrDamaged
		}
		b = b[used:]
		var row []byte
		if n > 0 {
			row = append([]byte{}, b[:n-1]...)
			b = b[n-1:]
		}
		o.set(key, row)
	}
	return nil
}
