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
			r, text := take(t).resilience(seed, *duration, *patience)
			if !r.OK {
				t.Errorf("replay by: miniforge verify resilience --seed %d --duration %s\n%s", seed, *duration, text)
				return
			}
			t.Log(text)
		})
	}
}
