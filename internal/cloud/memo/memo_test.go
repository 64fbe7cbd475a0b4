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
