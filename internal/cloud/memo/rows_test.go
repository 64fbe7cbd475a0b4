package memo

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"miniforge/internal/cloud/store"
)

type pet struct{ Name string }

const pets = store.Table[pet]("pets")

func TestRowsAreThoseOfTheTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		db := store.Memory()
		rows := Rows[pet]{Table: pets}
		keys := rapid.SampledFrom([]string{"a/1", "a/2", "b/1"})
		compare := func(tx *store.Tx) {
			k := keys.Draw(t, "read")
			want, there, _ := pets.Get(tx, k)
			if got, ok, err := rows.Get(tx, k); got != want || ok != there || err != nil {
				t.Errorf("%s is %v, %v, error %v, want %v, %v", k, got, ok, err, want, there)
			}
			all, again := map[string]pet{}, map[string]pet{}
			for r, err := range pets.Prefix(tx, "a/") {
				all[r.Key] = r.Value
				_ = err
			}
			for r, err := range rows.Prefix(tx, "a/") {
				if again[r.Key] = r.Value; err != nil {
					t.Error(err)
				}
			}
			if !maps.Equal(all, again) {
				t.Errorf("rows %v, want %v", again, all)
			}
		}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				compare(tx)
				k := keys.Draw(t, "write")
				err := pets.Put(tx, k, pet{rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")})
				if rapid.Bool().Draw(t, "delete") {
					err = pets.Delete(tx, k)
				}
				compare(tx) // sees what is not committed
				if rapid.Bool().Draw(t, "fail") {
					return fmt.Errorf("not this time")
				}
				return err
			})
			if err := db.View(func(tx *store.Tx) error { compare(tx); return nil }); err != nil {
				t.Fatal(err)
			}
			_ = err
		}
	})
}

func TestRowsKeepNoMoreThanTheyMay(t *testing.T) {
	db := store.Memory()
	rows := Rows[pet]{Table: pets}
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for i := range 3 * mostRows {
			k := fmt.Sprintf("%05d", i)
			if err := pets.Put(tx, k, pet{k}); err != nil {
				return err
			}
			if got, ok, err := rows.Get(tx, k); got.Name != k || !ok || err != nil {
				t.Fatalf("%s is %v, %v, error %v", k, got, ok, err)
			}
			kept := 0
			rows.entries.Range(func(any, any) bool { kept++; return true })
			if kept > mostRows {
				t.Fatalf("%d rows are kept", kept)
			}
		}
		// A row that is too large is read, but not kept.
		large := pet{string(slices.Repeat([]byte("x"), maxRow+1))}
		if err := pets.Put(tx, "large", large); err != nil {
			return err
		}
		if got, _, err := rows.Get(tx, "large"); got != large || err != nil {
			t.Errorf("large row: %v", err)
		}
		if _, kept := rows.entries.Load("large"); kept {
			t.Error("a large row is kept")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
