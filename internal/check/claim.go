package check

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// A Claim is one expectation with the evidence for or against it.
type Claim struct {
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"`
	OK   bool   `json:"ok"`
}

func (c Claim) String() string {
	if c.OK {
		return fmt.Sprintf("%s: %s", c.What, c.Got)
	}
	return fmt.Sprintf("%s: want %s, got %s", c.What, c.Want, c.Got)
}

// T gathers what a check finds. It may be used by several goroutines.
type T struct {
	mu           sync.Mutex
	claims       []Claim
	measurements []Measurement
}

// Claim records that got, however it was found, is or is not what is wanted.
func (t *T) Claim(what, want, got string, ok bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claims = append(t.claims, Claim{what, want, got, ok})
	return ok
}

// True claims that something holds.
func (t *T) True(what string, holds bool) bool {
	return t.Claim(what, "true", fmt.Sprint(holds), holds)
}

// Contains claims that a text has a part.
func (t *T) Contains(what, part, got string) bool {
	return t.Claim(what, "contains "+part, shorten(got), strings.Contains(got, part))
}

// None claims that a list is empty; what is in it is the evidence.
func (t *T) None(what string, list []string) bool {
	got := "none"
	if len(list) > 0 {
		got = fmt.Sprintf("%d: %s", len(list), shorten(strings.Join(list, "; ")))
	}
	return t.Claim(what, "none", got, len(list) == 0)
}

// NoError claims that something succeeded.
func (t *T) NoError(what string, err error) bool {
	got := "done"
	if err != nil {
		got = shorten(err.Error())
	}
	return t.Claim(what, "done", got, err == nil)
}

// Equal claims that got is want.
func Equal[V comparable](t *T, what string, want, got V) bool {
	return t.Claim(what, fmt.Sprint(want), shorten(fmt.Sprint(got)), want == got)
}

// Eventually tries f until it makes claims that all hold, or the time is up.
// Only the last try's claims count, so what is reported is what was last seen.
// An error of f is tried again as well, and returned if it is the last word.
func Eventually(ctx context.Context, t *T, within, every time.Duration, f func(context.Context, *T) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not within %s", within))
	defer cancel()
	var last T
	for {
		var try T
		err := f(ctx, &try)
		if ctx.Err() != nil && err != nil && len(last.claims) > 0 {
			// The time ran out within f: what it saw before says more.
			t.take(&last)
			return nil
		}
		if try.holds() && err == nil {
			t.take(&try)
			return nil
		}
		last.claims = try.claims
		select {
		case <-ctx.Done():
			t.take(&try)
			if err == nil && len(try.claims) == 0 {
				err = context.Cause(ctx)
			}
			return err
		case <-time.After(every):
		}
	}
}

func (t *T) take(other *T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.claims = append(t.claims, other.claims...)
	t.measurements = append(t.measurements, other.measurements...)
}

// holds reports whether there are claims and all of them hold.
func (t *T) holds() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.claims {
		if !c.OK {
			return false
		}
	}
	return len(t.claims) > 0
}

// maxEvidence keeps a report readable when a system answers with a page.
const maxEvidence = 500

func shorten(s string) string {
	if len(s) <= maxEvidence {
		return s
	}
	return strings.ToValidUTF8(s[:maxEvidence], "") + fmt.Sprintf("… (%d bytes)", len(s))
}
