package store

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testSeal(t testing.TB) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func openFile(t testing.TB, file string) DB {
	t.Helper()
	db, err := Open(file, testSeal(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// both runs a test against every implementation.
func both(t *testing.T, f func(t *testing.T, db DB)) {
	t.Run("memory", func(t *testing.T) { f(t, Memory()) })
	t.Run("durable", func(t *testing.T) { f(t, openFile(t, filepath.Join(t.TempDir(), "db"))) })
}

const words = Table[string]("words")

func all(t *testing.T, db DB, from, to string, down bool) (keys []string) {
	t.Helper()
	err := db.View(func(tx *Tx) error {
		seq := words.Range(tx, from, to)
		if down {
			seq = words.RangeDown(tx, from, to)
		}
		for r, err := range seq {
			if err != nil {
				return err
			}
			keys = append(keys, r.Key)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestFailedUpdateLeavesNothing(t *testing.T) {
	both(t, func(t *testing.T, db DB) {
		boom := errors.New("boom")
		called := false
		err := db.Update(t.Context(), func(tx *Tx) error {
			tx.OnCommit(func() { called = true })
			if err := words.Put(tx, "a", "1"); err != nil {
				return err
			}
			if v, ok, _ := words.Get(tx, "a"); !ok || v != "1" {
				t.Errorf("own write reads as %q, %v", v, ok)
			}
			return boom
		})
		if !errors.Is(err, boom) || called || len(all(t, db, "", "", false)) != 0 {
			t.Errorf("err %v, OnCommit called %v, rows %v", err, called, all(t, db, "", "", false))
		}
	})
}

// TestVersion rises with each commit to a table and with no other.
func TestVersion(t *testing.T) {
	both(t, func(t *testing.T, db DB) {
		other := Table[string]("other")
		put(t, db, "a", "1")
		before := db.Version("words")
		if err := db.Update(t.Context(), func(tx *Tx) error { return other.Put(tx, "a", "1") }); err != nil {
			t.Fatal(err)
		}
		_ = db.Update(t.Context(), func(tx *Tx) error { return errors.Join(words.Put(tx, "b", "2"), errors.New("no")) })
		if got := db.Version("words"); got != before || before == 0 {
			t.Errorf("%d after %d, without a commit to the table", got, before)
		}
		put(t, db, "a", "2")
		if got := db.Version("words"); got <= before {
			t.Errorf("%d after %d and a commit", got, before)
		}
	})
}

func TestViewCannotWrite(t *testing.T) {
	both(t, func(t *testing.T, db DB) {
		if err := db.View(func(tx *Tx) error { return words.Put(tx, "a", "1") }); err == nil {
			t.Error("a View wrote")
		}
	})
}

// TestAgainstModel runs random transactions against a map, reading back by
// key, by range in both directions, inside and outside of the transaction.
func TestAgainstModel(t *testing.T) {
	both(t, func(t *testing.T, db DB) {
		rapid.Check(t, func(rt *rapid.T) {
			model := map[string]string{}
			key := rapid.SampledFrom([]string{"a", "aa", "ab", "b", "b\x00", "c", "\xff", "d/1", "d/2"})
			_ = db.Update(t.Context(), func(tx *Tx) error {
				for _, k := range all(t, db, "", "", false) {
					_ = words.Delete(tx, k)
				}
				return nil
			})
			for range rapid.IntRange(1, 8).Draw(rt, "transactions") {
				next := maps.Clone(model)
				fail := rapid.Bool().Draw(rt, "fail")
				err := db.Update(context.Background(), func(tx *Tx) error {
					for range rapid.IntRange(0, 5).Draw(rt, "writes") {
						k := key.Draw(rt, "key")
						if rapid.Bool().Draw(rt, "delete") {
							delete(next, k)
							_ = words.Delete(tx, k)
						} else {
							next[k] = rapid.StringN(0, 5, 20).Draw(rt, "value")
							_ = words.Put(tx, k, next[k])
						}
					}
					var got []string
					for r, err := range words.Range(tx, "", "") {
						if err != nil {
							return err
						}
						got = append(got, r.Key)
					}
					if d := cmp.Diff(slices.Sorted(maps.Keys(next)), got); d != "" {
						rt.Fatalf("inside the transaction (-want +got):\n%s", d)
					}
					if fail {
						return errors.New("no")
					}
					return nil
				})
				if (err != nil) != fail {
					rt.Fatal(err)
				}
				if !fail {
					model = next
				}
				from, to := key.Draw(rt, "from"), key.Draw(rt, "to")
				var want []string
				for _, k := range slices.Sorted(maps.Keys(model)) {
					if k >= from && k < to {
						want = append(want, k)
					}
				}
				if d := cmp.Diff(want, all(t, db, from, to, false)); d != "" {
					rt.Fatalf("[%q,%q) (-want +got):\n%s", from, to, d)
				}
				slices.Reverse(want)
				if d := cmp.Diff(want, all(t, db, from, to, true)); d != "" {
					rt.Fatalf("[%q,%q) down (-want +got):\n%s", from, to, d)
				}
			}
		})
	})
}

// TestConcurrentUpdatesAreSerial counts up from many goroutines, across commits.
func TestConcurrentUpdatesAreSerial(t *testing.T) {
	both(t, func(t *testing.T, db DB) {
		n := Table[int]("n")
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 25 {
					err := db.Update(t.Context(), func(tx *Tx) error {
						v, _, err := n.Get(tx, "n")
						if err != nil {
							return err
						}
						return n.Put(tx, "n", v+1)
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		_ = db.View(func(tx *Tx) error {
			if v, _, err := n.Get(tx, "n"); v != 400 || err != nil {
				t.Errorf("counted %d, %v", v, err)
			}
			return nil
		})
	})
}

func TestReopenKeepsRowsAndHidesThem(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	db := openFile(t, file)
	if err := db.Update(t.Context(), func(tx *Tx) error { return words.Put(tx, "k", "plaintext-to-be-hidden") }); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, testSeal(t)); !errors.Is(err, ErrInUse) {
		t.Errorf("a second open: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("update after close: %v", err)
	}
	if err := db.View(func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("view after close: %v", err)
	}
	if got := all(t, openFile(t, file), "", "", false); !slices.Equal(got, []string{"k"}) {
		t.Errorf("after reopening: %v", got)
	}
	for _, f := range []string{file, file + ".wal0", file + ".wal1"} {
		raw, err := os.ReadFile(f)
		if err != nil || strings.Contains(string(raw), "plaintext-to-be-hidden") {
			t.Errorf("%s holds the plaintext (%v)", f, err)
		}
	}
}

func TestPrefixEnd(t *testing.T) {
	for in, want := range map[string]string{"a": "b", "a\xff": "b", "\xff": "", "": ""} {
		if got := PrefixEnd(in); got != want {
			t.Errorf("PrefixEnd(%q) = %q, want %q", in, got, want)
		}
	}
}

func BenchmarkUpdate(b *testing.B) {
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			db := openFile(b, filepath.Join(b.TempDir(), "db"))
			row := strings.Repeat("x", 500)
			b.SetParallelism((clients + 1) / 2)
			b.RunParallel(func(pb *testing.PB) {
				for n := 0; pb.Next(); n++ {
					k := fmt.Sprintf("%p/%d", pb, n)
					if err := db.Update(context.Background(), func(tx *Tx) error { return words.Put(tx, k, row) }); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// BenchmarkMixed is what services do: look for rows, then write a few at
// unrelated places.
func BenchmarkMixed(b *testing.B) {
	db := openFile(b, filepath.Join(b.TempDir(), "db"))
	tables := []Table[[]byte]{"orders", "history", "tasks"}
	row := bytes.Repeat([]byte("x"), 900)
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			k := fmt.Sprintf("%016x", rand.Uint64())
			err := db.Update(context.Background(), func(tx *Tx) error {
				for _, t := range tables {
					if _, there, err := t.Get(tx, k); err != nil || there {
						return fmt.Errorf("%s: %v, %w", k, there, err)
					}
					if err := t.Put(tx, k, row); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestOtherFormat opens a store whose rows are written otherwise, as an older
// program left it: none of them may be misread.
func TestOtherFormat(t *testing.T) {
	file := filepath.Join(t.TempDir(), "db")
	for range 2 { // the log is taken into the tree when it is opened again
		db := openFile(t, file)
		if err := db.Update(t.Context(), func(tx *Tx) error { return words.Put(tx, "k", "v") }); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := openTree(file)
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(meta)).Delete(formatKey) })
	if err = errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	if db, err := Open(file, testSeal(t)); !errors.Is(err, ErrFormat) {
		t.Errorf("opened %v, %v; want ErrFormat", db, err)
	}
}

// TestRowCodec keeps what rows are made of, to the nanosecond and the byte.
func TestRowCodec(t *testing.T) {
	type row struct {
		At    time.Time         `json:"at"`
		Never time.Time         `json:"never,omitzero"`
		Took  time.Duration     `json:"took"`
		Raw   json.RawMessage   `json:"raw"`
		Bytes []byte            `json:"bytes,omitempty"`
		Map   map[string]string `json:"map"`
		Any   any               `json:"any"`
		Size  *int64
	}
	size := int64(-1 << 62)
	want := row{
		At: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC), Took: time.Hour, Raw: json.RawMessage(`{"a":[1.50,null]}`),
		Bytes: []byte{0, 0xff}, Map: map[string]string{"ä": "\x00"}, Any: map[string]any{"list": []any{"x", true, nil, 1.5}}, Size: &size,
	}
	b, err := encode(want)
	if err != nil {
		t.Fatal(err)
	}
	var got row
	if err := decode(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
