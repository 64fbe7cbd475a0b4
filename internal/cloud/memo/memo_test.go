package memo

import (
	"errors"
	"testing"
)

func TestRemembersUntilForgotten(t *testing.T) {
	var m Map[string, int]
	loads := 0
	get := func() int {
		v, err := m.Get("k", func() (int, bool, error) { loads++; return loads, true, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if a, b := get(), get(); a != 1 || b != 1 {
		t.Errorf("got %d, %d: loaded twice", a, b)
	}
	m.Forget()
	if v := get(); v != 2 {
		t.Errorf("got %d after Forget: stale", v)
	}
}

func TestValueReadBeforeAChangeIsNotKept(t *testing.T) {
	var m Map[string, string]
	_, err := m.Get("k", func() (string, bool, error) {
		m.Forget() // somebody commits while this is being read
		return "old", true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := m.Get("k", func() (string, bool, error) { return "new", true, nil })
	if v != "new" {
		t.Errorf("got %q", v)
	}
}

func TestErrorsAndAbsenceAreNotKept(t *testing.T) {
	var m Map[string, int]
	want := errors.New("no")
	if _, err := m.Get("k", func() (int, bool, error) { return 0, true, want }); !errors.Is(err, want) {
		t.Fatalf("got %v", err)
	}
	for i := range 2 {
		v, err := m.Get("k", func() (int, bool, error) { return i, false, nil })
		if err != nil || v != i {
			t.Errorf("got %d, %v; want %d", v, err, i)
		}
	}
}

// TestGetAt loads once for a version, again for the next, and never keeps more
// than so many values.
func TestGetAt(t *testing.T) {
	var m Map[int, int]
	loads := 0
	get := func(version uint64, k int) int {
		v, err := m.GetAt(version, k, func() (int, error) { loads++; return loads, nil })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if a, b, c := get(1, 7), get(1, 7), get(2, 7); a != b || b == c {
		t.Errorf("%d, %d at version 1, %d at version 2", a, b, c)
	}
	for k := range 3 * maxEntries {
		get(2, k)
	}
	n := 0
	m.entries.Range(func(any, any) bool { n++; return true })
	if n > maxEntries {
		t.Errorf("%d values kept", n)
	}
}

func TestGetAtKeepsNoMoreThanItMay(t *testing.T) {
	m := Map[int, int]{Most: 10}
	for i := range 100 {
		if _, err := m.GetAt(0, i, func() (int, error) { return i, nil }); err != nil {
			t.Fatal(err)
		}
		kept := 0
		m.entries.Range(func(any, any) bool { kept++; return true })
		if kept > 10 {
			t.Fatalf("%d entries", kept)
		}
	}
}
