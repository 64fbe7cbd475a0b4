package graph_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"miniforge/internal/graph"
)

// A cloud is a set of named things; each has a value and takes time to make.
type cloud struct {
	mu      sync.Mutex
	have    map[string]string
	calls   []string
	busy    int
	maxBusy int
}

func newCloud() *cloud { return &cloud{have: map[string]string{}} }

func (c *cloud) has(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.have[id]
	return ok
}

type thing struct {
	c       *cloud
	id      string
	want    string
	needs   []*thing
	takes   time.Duration
	ready   time.Time // Create is NotYet before
	fail    error
	replace bool
}

func (t *thing) ID() string { return t.id }
func (t *thing) Needs() []graph.Resource {
	var out []graph.Resource
	for _, n := range t.needs {
		out = append(out, n)
	}
	return out
}

func (t *thing) Observe(context.Context) (graph.Observation, error) {
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	got, ok := t.c.have[t.id]
	o := graph.Observation{Exists: ok, Owned: got != "foreign"}
	if ok && got != t.want {
		o.Drift = []graph.Diff{{Field: "value", Want: t.want, Got: got, Replace: t.replace}}
	}
	return o, nil
}

func (t *thing) write(verb string, effect func()) error {
	if time.Now().Before(t.ready) {
		return &graph.NotYet{Err: errors.New("role cannot be assumed")}
	}
	t.c.mu.Lock()
	t.c.calls = append(t.c.calls, verb+" "+t.id)
	t.c.busy++
	t.c.maxBusy = max(t.c.maxBusy, t.c.busy)
	t.c.mu.Unlock()
	time.Sleep(t.takes)
	t.c.mu.Lock()
	defer t.c.mu.Unlock()
	t.c.busy--
	if t.fail != nil {
		return t.fail
	}
	effect()
	return nil
}

func (t *thing) Create(context.Context) error {
	return t.write("create", func() { t.c.have[t.id] = t.want })
}
func (t *thing) Update(context.Context, []graph.Diff) error {
	return t.write("update", func() { t.c.have[t.id] = t.want })
}
func (t *thing) Delete(context.Context) error {
	return t.write("delete", func() { delete(t.c.have, t.id) })
}

func build(t testing.TB, roots ...*thing) *graph.Graph {
	t.Helper()
	var rs []graph.Resource
	for _, r := range roots {
		rs = append(rs, r)
	}
	g, err := graph.New(rs...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func actions(steps []graph.Step) (out []string) {
	for _, s := range steps {
		out = append(out, string(s.Action)+" "+s.ID)
	}
	return out
}

// diamond is key <- {table, queue} <- function, each taking a second.
func diamond(c *cloud) (key, table, queue, function *thing) {
	key = &thing{c: c, id: "key", want: "1", takes: time.Second}
	table = &thing{c: c, id: "table", want: "1", takes: time.Second, needs: []*thing{key}}
	queue = &thing{c: c, id: "queue", want: "1", takes: time.Second, needs: []*thing{key}}
	function = &thing{c: c, id: "function", want: "1", takes: time.Second, needs: []*thing{table, queue}}
	return
}

func TestLifecycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		_, table, _, function := diamond(c)
		g := build(t, function)
		expect := func(what string, steps []graph.Step, err error, want ...string) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if d := cmp.Diff(want, actions(steps)); d != "" {
				t.Fatalf("%s (-want +got):\n%s", what, d)
			}
		}
		steps, err := g.Inspect(t.Context(), graph.Options{})
		expect("inspect nothing", steps, err, "create key", "create table", "create queue", "create function")
		if len(c.calls) != 0 {
			t.Fatalf("inspect wrote: %v", c.calls)
		}
		start := time.Now()
		steps, err = g.Ensure(t.Context(), graph.Options{})
		expect("first ensure", steps, err, "create key", "create table", "create queue", "create function")
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %v; the longest path is 3s", took)
		}
		c.calls = nil
		steps, err = g.Ensure(t.Context(), graph.Options{})
		expect("second ensure", steps, err, "keep key", "keep table", "keep queue", "keep function")
		if len(c.calls) != 0 {
			t.Fatalf("second ensure wrote: %v", c.calls)
		}
		c.have[table.id] = "2"
		steps, err = g.Ensure(t.Context(), graph.Options{})
		expect("repair", steps, err, "keep key", "update table", "keep queue", "keep function")
		steps, err = g.Destroy(t.Context(), graph.Options{})
		expect("destroy", steps, err, "delete function", "delete queue", "delete table", "delete key")
		steps, err = g.Destroy(t.Context(), graph.Options{})
		expect("destroy again", steps, err, "keep function", "keep queue", "keep table", "keep key")
	})
}

func TestFailureBlocksOnlyDependants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		_, table, queue, function := diamond(c)
		table.fail = errors.New("no capacity")
		queue.takes = time.Minute // still under way when its sibling fails
		steps, err := build(t, function).Ensure(t.Context(), graph.Options{})
		if !errors.Is(err, table.fail) || strings.Contains(err.Error(), "function") {
			t.Errorf("error %q should name the table's failure only", err)
		}
		want := []string{"create key", "create table", "create queue", "blocked function"}
		if d := cmp.Diff(want, actions(steps)); d != "" {
			t.Error(d)
		}
		if !c.has("queue") {
			t.Error("the queue under way was cut off by its sibling's failure")
		}
		if !errors.Is(steps[3].Err, graph.ErrBlocked) {
			t.Errorf("blocked step has error %v", steps[3].Err)
		}
	})
}

func TestNotYetIsTriedAgainWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		one := &thing{c: c, id: "one", want: "1", ready: time.Now().Add(9 * time.Second)}
		retries := 0
		steps, err := build(t, one).Ensure(t.Context(), graph.Options{Progress: func(p graph.Progress) {
			if p.Phase == graph.Retrying {
				retries++
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		// 0.25 + 0.5 + 1 + 2 + 2 + 2 + 2 = 9.75 s: seven retries.
		if retries != 7 || steps[0].Attempts != 8 || steps[0].Took != 9750*time.Millisecond {
			t.Errorf("%d retries, %d attempts in %v", retries, steps[0].Attempts, steps[0].Took)
		}
	})
}

func TestNotYetEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		never := &thing{c: c, id: "never", want: "1", ready: time.Now().Add(time.Hour)}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := build(t, never).Ensure(ctx, graph.Options{})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "role cannot be assumed") {
			t.Errorf("error %v should say that time ran out and what was last seen", err)
		}
	})
}

func TestForeignIsNeverTouched(t *testing.T) {
	c := newCloud()
	_, table, queue, function := diamond(c)
	table.takes, queue.takes, function.takes = 0, 0, 0
	c.have = map[string]string{"key": "1", "table": "foreign"}
	g := build(t, function)
	steps, err := g.Ensure(t.Context(), graph.Options{})
	if !errors.Is(err, graph.ErrForeign) || steps[3].Action != graph.Blocked {
		t.Errorf("ensure: %v, %v", err, actions(steps))
	}
	steps, err = g.Destroy(t.Context(), graph.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"keep function", "delete queue", "foreign table", "delete key"}
	if d := cmp.Diff(want, actions(steps)); d != "" {
		t.Error(d)
	}
	if c.have["table"] != "foreign" {
		t.Error("the foreign table was touched")
	}
}

func TestReplaceNeedsPermission(t *testing.T) {
	c := newCloud()
	one := &thing{c: c, id: "one", want: "1", replace: true}
	c.have["one"] = "0"
	g := build(t, one)
	if _, err := g.Ensure(t.Context(), graph.Options{}); !errors.Is(err, graph.ErrReplace) || len(c.calls) != 0 {
		t.Fatalf("without permission: %v, calls %v", err, c.calls)
	}
	if _, err := g.Ensure(t.Context(), graph.Options{Replace: true}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"delete one", "create one"}, c.calls); d != "" {
		t.Error(d)
	}
}

func TestNewRefuses(t *testing.T) {
	c := newCloud()
	a := &thing{c: c, id: "a"}
	b := &thing{c: c, id: "b", needs: []*thing{a}}
	a.needs = []*thing{b}
	if _, err := graph.New(a); err == nil || err.Error() != "circle: a needs b needs a" {
		t.Errorf("circle: %v", err)
	}
	twin := &thing{c: c, id: "b"}
	if _, err := graph.New(&thing{id: "c", needs: []*thing{twin}}, &thing{id: "b"}); err == nil {
		t.Error("two resources of one ID were accepted")
	}
}

func TestWorkersBoundTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		var roots []*thing
		for i := range 10 {
			roots = append(roots, &thing{c: c, id: fmt.Sprint(i), want: "1", takes: time.Second})
		}
		start := time.Now()
		if _, err := build(t, roots...).Ensure(t.Context(), graph.Options{Workers: 3}); err != nil {
			t.Fatal(err)
		}
		if c.maxBusy != 3 || time.Since(start) != 4*time.Second {
			t.Errorf("%d at once, took %v", c.maxBusy, time.Since(start))
		}
	})
}

func TestWaitingTakesNoWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCloud()
		start := time.Now()
		waiting := &thing{c: c, id: "waiting", want: "1", ready: start.Add(10 * time.Second)}
		var busyEnded time.Duration
		busy := &thing{c: c, id: "busy", want: "1", takes: time.Second}
		_, err := build(t, waiting, busy).Ensure(t.Context(), graph.Options{Workers: 1, Progress: func(p graph.Progress) {
			if p.Phase == graph.Ended && p.Step.ID == "busy" {
				busyEnded = time.Since(start)
			}
		}})
		if err != nil || busyEnded > 2*time.Second {
			t.Errorf("busy ended after %v: %v", busyEnded, err)
		}
	})
}

// Whatever the graph and the number of workers: the needed is made before the
// needing and deleted after it, and a failure reaches exactly its dependants.
func TestOrderHoldsForAnyGraph(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newCloud()
		n := rapid.IntRange(1, 12).Draw(rt, "n")
		things := make([]*thing, n)
		for i := range things {
			things[i] = &thing{c: c, id: fmt.Sprint("r", i), want: "1"}
			for j := range i {
				if rapid.IntRange(0, 3).Draw(rt, "edge") == 0 {
					things[i].needs = append(things[i].needs, things[j])
				}
			}
		}
		broken := rapid.IntRange(-1, n-1).Draw(rt, "broken")
		if broken >= 0 {
			things[broken].fail = errors.New("broken")
		}
		o := graph.Options{Workers: rapid.IntRange(1, 4).Draw(rt, "workers")}
		g := build(t, things...)
		steps, _ := g.Ensure(t.Context(), o)
		checkOrder(rt, things, c.calls, "create", false)
		for i, s := range steps {
			th := things[slices.IndexFunc(things, func(x *thing) bool { return x.id == s.ID })]
			if blocked := broken >= 0 && reaches(th, things[broken]) && th != things[broken]; blocked != (s.Action == graph.Blocked) {
				rt.Fatalf("step %d %s: %s", i, s.ID, s.Action)
			}
		}
		c.calls = nil
		if broken >= 0 {
			things[broken].fail = nil
		}
		if _, err := g.Destroy(t.Context(), o); err != nil || len(c.have) != 0 {
			rt.Fatalf("destroy: %v, left %v", err, c.have)
		}
		checkOrder(rt, things, c.calls, "delete", true)
	})
}

func reaches(from, to *thing) bool {
	return from == to || slices.ContainsFunc(from.needs, func(n *thing) bool { return reaches(n, to) })
}

func checkOrder(rt *rapid.T, things []*thing, calls []string, verb string, reverse bool) {
	for _, a := range things {
		for _, b := range a.needs {
			first, second := slices.Index(calls, verb+" "+b.id), slices.Index(calls, verb+" "+a.id)
			if reverse {
				first, second = second, first
			}
			if first >= 0 && second >= 0 && first > second {
				rt.Fatalf("%s before %s in %v", a.id, b.id, calls)
			}
		}
	}
}
