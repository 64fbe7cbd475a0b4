package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
)

// A disk has room for so many bytes more, and takes the first ones of a write
// that it has no room for.
type disk struct {
	mu   sync.Mutex
	room int
}

func (d *disk) set(room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = room
}

func (d *disk) take(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n = min(n, d.room)
	d.room -= n
	return n
}

type fullFile struct {
	logFile
	disk *disk
}

func (f fullFile) WriteAt(b []byte, off int64) (int, error) {
	fits := f.disk.take(len(b))
	n, err := f.logFile.WriteAt(b[:fits], off)
	if err == nil && fits < len(b) {
		err = &fs.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return n, err
}

// openOn opens a store whose log is on a disk of its own.
func openOn(t *testing.T, file string, limit int) (*durable, *disk) {
	t.Helper()
	db, err := open(file, testSeal(t), limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	x := &disk{room: 1 << 30}
	for i, f := range db.wal.files {
		db.wal.files[i] = fullFile{f, x}
	}
	return db, x
}

func try(t *testing.T, db DB, key, value string) error {
	t.Helper()
	return db.Update(t.Context(), func(tx *Tx) error { return words.Put(tx, key, value) })
}

func rowsOf(t *testing.T, db DB) map[string]string {
	t.Helper()
	rows := map[string]string{}
	err := db.View(func(tx *Tx) error {
		for r, err := range words.Range(tx, "", "") {
			if err != nil {
				return err
			}
			rows[r.Key] = r.Value
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestDiskFull fills the disk at every byte of a commit: it fails and says why,
// what was acknowledged is there, and the next commit succeeds once there is room.
func TestDiskFull(t *testing.T) {
	for room := 0; room < 250; room += 9 {
		file := filepath.Join(t.TempDir(), "db")
		db, disk := openOn(t, file, checkpointSize)
		put(t, db, "before", "1")
		disk.set(room)
		err := try(t, db, "before", strings.Repeat("x", 200))
		if full, ok := errors.AsType[*FullError](err); !ok || !strings.Contains(full.ErrorMessage(), "free some") {
			t.Fatalf("room for %d bytes: %v", room, err)
		}
		want := map[string]string{"before": "1"}
		if d := cmp.Diff(want, rowsOf(t, db)); d != "" {
			t.Fatalf("room for %d bytes (-want +got):\n%s", room, d)
		}
		if room%2 == 0 {
			disk.set(1 << 30)
			put(t, db, "after", "2")
			want["after"] = "2"
		}
		imageOf(t, db, file).opensTo(t, want, "room for %d bytes", room)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, rowsOf(t, openFile(t, file))); d != "" {
			t.Fatalf("room for %d bytes, opened again (-want +got):\n%s", room, d)
		}
	}
}

// TestDiskFullUnderLoad has many writers count upwards, each from what it reads,
// while room comes and goes: what was refused must not show in what follows.
func TestDiskFullUnderLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	db, disk := openOn(t, file, 2000)
	const writers = 8
	counter := Table[int]("counters")
	var acknowledged [writers]int
	var refused sync.Map
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for turn := range 60 {
				if i == 0 {
					disk.set([]int{1 << 30, 100, 0, 700}[turn%4])
				}
				err := db.Update(context.Background(), func(tx *Tx) error {
					for _, key := range []string{"all", fmt.Sprint(i)} {
						n, _, err := counter.Get(tx, key)
						if err == nil {
							err = counter.Put(tx, key, n+1)
						}
						if err != nil {
							return err
						}
					}
					return nil
				})
				switch {
				case err == nil:
					acknowledged[i]++
				case isFull(err):
					refused.Store(i, true)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	disk.set(1 << 30)
	check := func(db DB) {
		all := 0
		_ = db.View(func(tx *Tx) error {
			for i, want := range acknowledged {
				if got, _, err := counter.Get(tx, fmt.Sprint(i)); err != nil || got != want {
					t.Errorf("writer %d had %d acknowledged, %d are there: %v", i, want, got, err)
				}
				all += want
			}
			if got, _, err := counter.Get(tx, "all"); err != nil || got != all {
				t.Errorf("%d acknowledged, %d are there: %v", all, got, err)
			}
			return nil
		})
	}
	check(db)
	if _, some := refused.Load(0); !some {
		t.Error("nothing was refused: the test proves nothing")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	check(openFile(t, file))
}

// TestTreeFull has no room for the tree: commits go on in the log up to its
// limit, then they are refused; with room, they go on.
func TestTreeFull(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	db, _ := openOn(t, file, 2000)
	db.bolt.MaxSize = 32 << 10
	want := map[string]string{}
	fill := func(db DB, name string, most int) error {
		for i := range most {
			k := fmt.Sprint(name, " ", i)
			if err := try(t, db, k, strings.Repeat("x", 1000)); err != nil {
				return err
			}
			want[k] = strings.Repeat("x", 1000)
		}
		return nil
	}
	if err := fill(db, "full", 1000); !isFull(err) {
		t.Fatalf("after %d commits: %v", len(want), err)
	}
	if len(want) < logLimit {
		t.Errorf("only %d commits went to the log", len(want))
	}
	if d := cmp.Diff(want, rowsOf(t, db)); d != "" {
		t.Fatalf("while it is full (-want +got):\n%s", d)
	}
	imageOf(t, db, file).opensTo(t, want, "killed while it is full")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, _ = openOn(t, file, 2000)
	if d := cmp.Diff(want, rowsOf(t, db)); d != "" {
		t.Fatalf("stopped while it was full (-want +got):\n%s", d)
	}

	size := 0
	_ = db.bolt.View(func(tx *bbolt.Tx) error { size = int(tx.Size()); return nil })
	db.bolt.MaxSize = size
	if err := fill(db, "again", 1000); !isFull(err) {
		t.Fatalf("after %d commits: %v", len(want), err)
	}
	db.bolt.MaxSize = 0
	for deadline := 0; ; deadline++ { // until the next try of the checkpoint
		err := fill(db, fmt.Sprint("room ", deadline), 1)
		if err == nil {
			break
		}
		if !isFull(err) {
			t.Fatal(err)
		}
	}
	before := len(want)
	if err := fill(db, "room", 50); err != nil || len(want) != before+50 {
		t.Fatalf("with room: %v", err)
	}
	if d := cmp.Diff(want, rowsOf(t, db)); d != "" {
		t.Fatalf("with room (-want +got):\n%s", d)
	}
}

// TestBrokenDisk fails a flush: what it was to write may be lost without a
// word, so nothing is acknowledged any more.
func TestBrokenDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	db, _ := openOn(t, file, checkpointSize)
	put(t, db, "before", "1")
	whole := db.wal.files[0]
	db.wal.files[0] = brokenFile{whole}
	if err := try(t, db, "torn", "2"); !errors.Is(err, syscall.EIO) {
		t.Fatalf("a flush failed, and: %v", err)
	}
	db.wal.files[0] = whole
	if err := try(t, db, "after", "3"); !errors.Is(err, ErrClosed) || !errors.Is(err, syscall.EIO) {
		t.Errorf("after a flush failed: %v", err)
	}
	if d := cmp.Diff(map[string]string{"before": "1"}, rowsOf(t, db)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

type brokenFile struct{ logFile }

func (brokenFile) Flush() error { return os.NewSyscallError("fdatasync", syscall.EIO) }

// TestDamagedFiles cuts and removes files: the store says so instead of
// starting without what it had acknowledged, and instead of dying.
func TestDamagedFiles(t *testing.T) {
	whole := func(t *testing.T) (string, image) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "db")
		db, err := open(file, testSeal(t), 2000)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			put(t, db, fmt.Sprint("row ", i), strings.Repeat("x", 1000))
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		return file, filesOf(t, file)
	}
	for name, cut := range map[string]func(t *testing.T, file string) error{
		"the tree is cut in half":  func(_ *testing.T, file string) error { return os.Truncate(file, 60<<10) },
		"the tree is cut to pages": func(_ *testing.T, file string) error { return os.Truncate(file, 8<<10) },
		"the tree is something else": func(_ *testing.T, file string) error {
			return os.WriteFile(file, []byte(strings.Repeat("not a tree ", 10_000)), 0o600)
		},
		"one log is gone": func(_ *testing.T, file string) error { return os.Remove(file + ".wal1") },
		"the log is gone": func(_ *testing.T, file string) error {
			return errors.Join(os.Remove(file+".wal0"), os.Remove(file+".wal1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			file, _ := whole(t)
			if err := cut(t, file); err != nil {
				t.Fatal(err)
			}
			db, err := Open(file, testSeal(t))
			if err == nil {
				_ = db.Close()
			}
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), file) {
				t.Errorf("opened to %v", err)
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		_, m := whole(t)
		if rows, err := m.contents(t); err != nil || len(rows) != 100 {
			t.Errorf("%d rows, %v", len(rows), err)
		}
	})
}

// TestOldHeaderOverNewRecord cuts the power while the first record of a file's
// next life is written: its middle arrives, its header does not. The records of
// the earlier life are in the tree, so that is no damage.
func TestOldHeaderOverNewRecord(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	db := openFile(t, file)
	rows := map[string]string{"long": strings.Repeat("x", 3000), "short": "y"}
	put(t, db, "long", rows["long"])
	put(t, db, "short", rows["short"])
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	before := filesOf(t, file)
	torn := append([]byte{}, before[".wal0"]...)
	for i := sector; i < 2*sector; i++ {
		torn[i] ^= 0xff
	}
	before.with(".wal0", torn).opensTo(t, rows, "the second sector of the next life arrived")
}

// TestCompaction fills a tree and empties it: the next start gives the room back.
func TestCompaction(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	db := openFile(t, file)
	want := map[string]string{}
	for i := range 60 {
		put(t, db, fmt.Sprint("row ", i), strings.Repeat("x", 50_000))
	}
	put(t, db, "stays", "1")
	want["stays"] = "1"
	again := func() {
		t.Helper()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		db = openFile(t, file)
	}
	again() // so that the rows are in the tree
	err := db.Update(t.Context(), func(tx *Tx) error {
		for i := range 60 {
			if err := words.Delete(tx, fmt.Sprint("row ", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	large := filesOf(t, file)
	compacted := func(m image, leftover []byte) image {
		t.Helper()
		file := filepath.Join(t.TempDir(), "db")
		for f, b := range m {
			if err := os.WriteFile(file+f, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if leftover != nil {
			if err := os.WriteFile(file+".compact", leftover, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b, err := lockTree(file)
		if err == nil {
			b, err = compact(b, file, 1<<20)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file + ".compact"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a copy is left: %v", err)
		}
		return filesOf(t, file)
	}
	small := compacted(large, nil)
	if was, is := len(large[""]), len(small[""]); is > was/10 {
		t.Errorf("%d bytes were compacted to %d", was, is)
	}
	small.opensTo(t, want, "compacted")
	// A power cut leaves a part of the copy beside the file, or the copy in its place.
	for cut := 0; cut < len(small[""]); cut += 1 + len(small[""])/9 {
		m := compacted(large, small[""][:cut])
		m.opensTo(t, want, "a copy cut at byte %d was left", cut)
	}
	if same := compacted(small, nil); len(same[""]) != len(small[""]) {
		t.Error("a compact tree was compacted")
	}
}

// TestOtherProcesses may not open a store that one has.
func TestOtherProcesses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	openFile(t, file)
	if db, err := Open(file, testSeal(t)); !errors.Is(err, ErrInUse) {
		t.Errorf("opened twice: %v, %v", db, err)
	}
}

// TestFolderThatTakesNoFiles is told as what it is.
func TestFolderThatTakesNoFiles(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(blocked, "db"), testSeal(t))
	if errors.Is(err, ErrDamaged) || !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("below a file: %v", err)
	}
	if os.Getuid() == 0 {
		return // root may write everywhere
	}
	if err := os.Chmod(dir, 0o500); err != nil { //nolint:gosec // a folder
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700) //nolint:errcheck,gosec // a folder that is removed
	if _, err := Open(filepath.Join(dir, "db"), testSeal(t)); errors.Is(err, ErrDamaged) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("in a folder that takes no files: %v", err)
	}
}
