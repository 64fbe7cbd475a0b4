package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

// image is what a power cut leaves on the disk: the store's files, by what they
// add to its name. That the tree is always whole is bbolt's own promise.
type image map[string][]byte

func imageOf(t testing.TB, db DB, file string) image {
	t.Helper()
	var tree bytes.Buffer
	err := db.(*durable).bolt.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(&tree)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m := image{"": tree.Bytes()}
	for _, f := range []string{".wal0", ".wal1"} {
		b, err := os.ReadFile(file + f)
		if err != nil {
			t.Fatal(err)
		}
		m[f] = b
	}
	return m
}

// contents opens the store that an image holds.
func (m image) contents(t testing.TB) (map[string]string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "db")
	for f, b := range m {
		if err := os.WriteFile(file+f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db, err := Open(file, testSeal(t))
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows := map[string]string{}
	err = db.View(func(tx *Tx) error {
		for r, err := range words.Range(tx, "", "") {
			if err != nil {
				return err
			}
			rows[r.Key] = r.Value
		}
		return nil
	})
	return rows, err
}

func put(t testing.TB, db DB, key, value string) {
	t.Helper()
	if err := db.Update(t.Context(), func(tx *Tx) error { return words.Put(tx, key, value) }); err != nil {
		t.Fatal(err)
	}
}

// TestPowerCut cuts the log at every byte of its last two commits: what was
// acknowledged before the cut is there, and nothing of what was torn.
func TestPowerCut(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	db := openFile(t, file)
	put(t, db, "before", "1")
	whole := []map[string]string{{"before": "1"}}
	ends := []int{len(imageOf(t, db, file)[".wal0"])}
	var now image
	for i, k := range []string{"a", "before"} {
		put(t, db, k, fmt.Sprint("new ", i))
		state := maps.Clone(whole[i])
		state[k] = fmt.Sprint("new ", i)
		now = imageOf(t, db, file)
		whole, ends = append(whole, state), append(ends, len(now[".wal0"]))
	}
	log := now[".wal0"]
	for at := ends[0]; at <= len(log); at++ {
		want := whole[0]
		for i, end := range ends {
			if at >= end {
				want = whole[i]
			}
		}
		for name, torn := range map[string][]byte{
			"cut": log[:at],
			// Blocks that were there before keep their old bytes where the new did not arrive.
			"stale": append(append([]byte{}, log[:at]...), make([]byte, len(log)-at+100)...),
		} {
			got, err := image{"": now[""], ".wal0": torn, ".wal1": now[".wal1"]}.contents(t)
			if d := cmp.Diff(want, got); err != nil || d != "" {
				t.Fatalf("%s at byte %d of %d: %v (-want +got):\n%s", name, at, len(log), err, d)
			}
		}
	}
}

// TestDamageIsNotLoss changes a byte of a commit that others follow: the store
// says so instead of forgetting what was acknowledged.
func TestDamageIsNotLoss(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	db := openFile(t, file)
	put(t, db, "a", "1")
	first := len(imageOf(t, db, file)[".wal0"])
	put(t, db, "b", "2")
	m := imageOf(t, db, file)
	for at := frameSize; at < first; at++ {
		m[".wal0"][at] ^= 1
		if rows, err := m.contents(t); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d changed: %v, %v", at, rows, err)
		}
		m[".wal0"][at] ^= 1
	}
	if _, err := m.contents(t); err != nil {
		t.Fatal(err)
	}
}

// TestCheckpoints runs random updates with a log that fills up at once, and
// takes images of the files at random moments, before and after the tree took
// over: each opens to what was acknowledged.
func TestCheckpoints(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		file := filepath.Join(t.TempDir(), "db")
		db, err := open(file, testSeal(t), rapid.SampledFrom([]int{1, 60, 400}).Draw(rt, "limit"))
		if err != nil {
			rt.Fatal(err)
		}
		defer db.Close()
		model := map[string]string{}
		for i := range rapid.IntRange(1, 30).Draw(rt, "updates") {
			k := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "key")
			drop := rapid.Bool().Draw(rt, "delete")
			err := db.Update(t.Context(), func(tx *Tx) error {
				if drop {
					return words.Delete(tx, k)
				}
				return words.Put(tx, k, fmt.Sprint(i))
			})
			if err != nil {
				rt.Fatal(err)
			}
			if delete(model, k); !drop {
				model[k] = fmt.Sprint(i)
			}
			if rapid.IntRange(0, 3).Draw(rt, "image") == 0 {
				got, err := imageOf(t, db, file).contents(t)
				if d := cmp.Diff(model, got); err != nil || d != "" {
					rt.Fatalf("after update %d: %v (-want +got):\n%s", i, err, d)
				}
			}
		}
		if err := db.Close(); err != nil {
			rt.Fatal(err)
		}
		again := openFile(t, file)
		defer again.Close()
		got := map[string]string{}
		_ = again.View(func(tx *Tx) error {
			for r := range words.Range(tx, "", "") {
				got[r.Key] = r.Value
			}
			return nil
		})
		if d := cmp.Diff(model, got); d != "" {
			rt.Fatalf("after Close (-want +got):\n%s", d)
		}
	})
}
