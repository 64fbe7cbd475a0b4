//go:build !race

package crash

import (
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var kills = flag.Int("kills", 4, "how often up and down are killed")

// killed runs the program and kills it after a while, unless it ended before.
func (w *world) killed(after time.Duration, args ...string) {
	w.t.Helper()
	c := exec.CommandContext(w.t.Context(), w.program, args...)
	c.Dir = filepath.Join("..", "..")
	c.Env = append(os.Environ(), "MINIFORGE_STATE_DIR="+w.state, "AWS_ENDPOINT_URL=", "MINIFORGE_TARGET=")
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = c.Process.Kill() })
	defer timer.Stop()
	var exit *exec.ExitError
	if err := c.Wait(); err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
}

// whole fails the test unless the stack is as declared.
func (w *world) whole() {
	w.t.Helper()
	var plan struct {
		Data struct {
			Steps []struct {
				ID     string `json:"id"`
				Action string `json:"action"`
			} `json:"steps"`
		} `json:"data"`
	}
	if err := json.Unmarshal(w.must("up", "--plan", "-o", "json"), &plan); err != nil {
		w.t.Fatal(err)
	}
	if len(plan.Data.Steps) < 30 {
		w.t.Errorf("the plan has only %d steps", len(plan.Data.Steps))
	}
	for _, s := range plan.Data.Steps {
		if s.Action != "keep" {
			w.t.Errorf("%s: %s", s.ID, s.Action)
		}
	}
}

// TestKilledUpAndDown kills real processes at random moments. Each next run
// must end well: up with the stack as declared, down with nothing left, which
// is what its exit code says.
func TestKilledUpAndDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("up") // builds the functions, which takes longer than all the rest
	w.must("down", "--yes")
	start := time.Now()
	w.must("up")
	up := time.Since(start)
	start = time.Now()
	w.must("down", "--yes")
	down := time.Since(start)
	r := rand.New(rand.NewPCG(*seed, 1)) //nolint:gosec // a test's randomness
	for done := 0; done < *kills; done += 2 {
		w.killed(moment(r, up), "up")
		if r.IntN(4) > 0 {
			w.must("up")
			w.whole()
		} // else gives up
		w.killed(moment(r, down), "down", "--yes")
		w.must("down", "--yes")
		if t.Failed() {
			t.Fatalf("after %d kills, seed %d", done, *seed)
		}
		if (done+2)%50 == 0 {
			t.Logf("%d kills", done+2)
		}
	}
}

// moment is a moment of a run that takes about so long.
func moment(r *rand.Rand, takes time.Duration) time.Duration {
	return time.Duration(r.Float64() * 1.1 * float64(takes))
}
