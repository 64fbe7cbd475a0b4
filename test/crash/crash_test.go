//go:build !race

// Package crash kills the embedded cloud at random moments under a stream of
// orders, and asks afterwards whether anything was lost.
//
// The race detector would see nothing of this: what may race is another process.
// It does see what the other files of this package cut off.
package crash

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var (
	rounds = flag.Int("rounds", 4, "how often the cloud is killed")
	seed   = flag.Uint64("seed", 1, "of the moments at which it is killed")
)

// A world is a built program with a state folder of its own.
type world struct {
	t        *testing.T
	program  string
	state    string
	accepted []string
}

// program builds the program, once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "miniforge-crash-")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "miniforge")
	build := exec.Command("go", "build", "-o", name, "./cmd/miniforge")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return name, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if name, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(name))
	}
	os.Exit(code)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	name, err := program()
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	w := &world{t: t, program: name, state: t.TempDir()}
	t.Cleanup(func() { _, _ = w.run(context.Background(), "cloud", "stop") })
	return w
}

func (w *world) run(ctx context.Context, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, w.program, args...)
	c.Dir = filepath.Join("..", "..")
	c.Env = append(os.Environ(), "MINIFORGE_STATE_DIR="+w.state, "AWS_ENDPOINT_URL=", "MINIFORGE_TARGET=")
	out, err := c.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = errors.Join(err, errors.New(string(exit.Stderr)))
	}
	return out, err
}

func (w *world) must(args ...string) []byte {
	w.t.Helper()
	out, err := w.run(w.t.Context(), args...)
	if err != nil {
		w.t.Fatalf("miniforge %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

type orders struct {
	Data struct {
		Orders []struct {
			ID     string `json:"order_id"`
			Status string `json:"status"`
		} `json:"orders"`
	} `json:"data"`
}

// place sends orders until ctx ends; what is refused because the cloud is gone
// was not accepted and does not count.
func (w *world) place(ctx context.Context, r *rand.Rand) {
	tokens := []string{"tok_visa", "tok_visa", "tok_declined", "tok_flaky"}
	for ctx.Err() == nil {
		// Not under ctx: an order that is accepted must be noted, whenever that is.
		out, _ := w.run(w.t.Context(), "order", "submit", "--item", "MF-DRAGON-01", "--token", tokens[r.IntN(len(tokens))], "--count", "4", "--concurrency", "4", "--timeout", "5s", "-o", "json")
		var o orders
		if json.Unmarshal(out, &o) != nil {
			continue
		}
		for _, x := range o.Data.Orders {
			if x.ID != "" {
				w.accepted = append(w.accepted, x.ID)
			}
		}
	}
}

// kill ends the cloud's process without a warning.
func (w *world) kill() {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.state, "cloud.json"))
	var c struct {
		PID int `json:"pid"`
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err == nil {
		err = syscall.Kill(c.PID, syscall.SIGKILL)
	}
	if err != nil {
		w.t.Fatalf("kill the cloud: %v", err)
	}
}

// settled waits until every order has ended, and returns their ids.
func (w *world) settled(within time.Duration) (ids []string) {
	w.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); ; <-tick.C {
		var o orders
		if err := json.Unmarshal(w.must("order", "list", "--limit", "1000000", "-o", "json"), &o); err != nil {
			w.t.Fatal(err)
		}
		var open []string
		ids = nil
		for _, x := range o.Data.Orders {
			ids = append(ids, x.ID)
			if x.Status != "CONFIRMED" && x.Status != "FAILED" {
				open = append(open, x.ID+" "+x.Status)
			}
		}
		if len(open) == 0 {
			return ids
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("after %v these have not ended: %v", within, open)
		}
	}
}

// TestNothingIsLost is the durability promise: what was acknowledged survives
// kill -9 at any moment, what was under way goes on, and every invariant holds.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must("up", "--without", "pipeline")
	r := rand.New(rand.NewPCG(*seed, 0)) //nolint:gosec // a test's randomness
	for range *rounds {
		ctx, stop := context.WithTimeout(t.Context(), time.Duration(50+r.IntN(850))*time.Millisecond)
		placed := make(chan struct{})
		go func() {
			defer close(placed)
			w.place(ctx, r)
		}()
		<-ctx.Done()
		w.kill()
		<-placed
		stop()
		w.must("cloud", "start", "--background")
	}
	ids := w.settled(2 * time.Minute)
	t.Log(strconv.Itoa(len(w.accepted)) + " orders were accepted, " + strconv.Itoa(len(ids)) + " are there")
	if len(w.accepted) == 0 {
		t.Error("no order was accepted: the test proves nothing")
	}
	for _, id := range w.accepted {
		if !slices.Contains(ids, id) {
			t.Errorf("order %s was accepted and is gone", id)
		}
	}
	w.must("verify", "integration")
}
