package store

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// listsFreePages reads from the newer meta page of a tree whether its list of
// free pages is in the file: see treeSize for the layout.
func listsFreePages(t *testing.T, file string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var newest, list uint64
	for page := range 2 {
		meta := b[page*os.Getpagesize()+16:]
		if tx := binary.NativeEndian.Uint64(meta[48:]); tx >= newest {
			newest, list = tx, binary.NativeEndian.Uint64(meta[32:])
		}
	}
	const none = ^uint64(0)
	return list != none
}

// A tree that was closed need not be read to be opened: its size must not
// decide how long a start takes.
func TestCloseListsFreePages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	db := openFile(t, file)
	put(t, db, "a", "1")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if !listsFreePages(t, file) {
		t.Error("not after the first close")
	}
	db = openFile(t, file) // writes nothing
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if !listsFreePages(t, file) {
		t.Error("not after a close without writes")
	}
	db = openFile(t, file)
	put(t, db, "a", "2")
	crashed := filepath.Join(t.TempDir(), "db")
	for name, b := range filesOf(t, file) {
		if err := os.WriteFile(crashed+name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openFile(t, crashed) // takes in the log
	if listsFreePages(t, crashed) {
		t.Error("a checkpoint wrote the list, too")
	}
	if err := db.Close(); err != nil { // nothing is left to take in
		t.Fatal(err)
	}
	if !listsFreePages(t, crashed) {
		t.Error("not after a close that found everything taken in")
	}
	filesOf(t, crashed).opensTo(t, map[string]string{"a": "2"}, "closed after a crash")
}
