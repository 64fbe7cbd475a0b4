package sfn

import (
	"reflect"
	"testing"
	"time"

	"miniforge/internal/cloud/store"
)

// Events and threads are passed by pointer, and written as what these point to:
// rows are read by programs that did not, and theirs by this one.
func TestRowsAreThoseOfValues(t *testing.T) {
	events := []*record{{ID: 1, Type: "ExecutionStarted", At: time.Unix(1, 0).UTC(), detail: detail{Input: new("{}"), Role: "r"}}, {ID: 2, Prev: 1, Type: "x"}}
	line := &thread{ID: "/0", State: "A", Phase: inTask, Input: []byte(`{"a":1}`), Retries: []int{1}, IsItem: true, Item: []byte("1")}
	sameRow(t, histories, store.Table[[]record](histories), events, []record{*events[0], *events[1]})
	sameRow(t, threadRows, store.Table[thread](threadRows), line, *line)
}

func sameRow[P, V any](t *testing.T, now store.Table[P], before store.Table[V], p P, v V) {
	t.Helper()
	db := store.Memory()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		return first(now.Put(tx, "now", p), before.Put(tx, "before", v))
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *store.Tx) error {
		gotP, _, err := now.Get(tx, "before")
		gotV, _, err2 := before.Get(tx, "now")
		if !reflect.DeepEqual(gotP, p) || !reflect.DeepEqual(gotV, v) {
			t.Errorf("got  %+v\nand  %+v\nwant %+v", gotP, gotV, v)
		}
		return first(err, err2)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestHistoryKeysAreInTheOrderOfIDs(t *testing.T) {
	for id, want := range map[int64]string{1: "a\x00000001", 24_999: "a\x00024999", 1_000_000: "a\x001000000"} {
		if got := historyKey("a", id); got != want {
			t.Errorf("%d: %q", id, got)
		}
	}
}
