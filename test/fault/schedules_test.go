//go:build !race

package fault

import (
	"fmt"
	"testing"
)

// TestSchedules is the promise of resilience: whatever fails, and in whatever
// order, nothing is lost, doubled or oversold.
func TestSchedules(t *testing.T) {
	t.Parallel()
	for i := range *seeds {
		seed := *first + uint64(i)
		t.Run(fmt.Sprintf("seed-%d", seed), func(t *testing.T) {
			t.Parallel()
			w := take(t)
			r, text, clean := w.resilience(seed, *duration, *patience)
			if !r.OK || !clean {
				t.Errorf("replay by: miniforge verify resilience --seed %d --duration %s\n%s\nthe cloud's log:\n%s", seed, *duration, text, w.complaints())
				return
			}
			t.Log(text)
		})
	}
}
