package check_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"miniforge/internal/check"
)

func TestOutcomes(t *testing.T) {
	boom := errors.New("unreachable")
	cases := []struct {
		name    string
		run     func(context.Context, *check.T) error
		outcome check.Outcome
		reason  string // contained
	}{
		{"all claims hold", func(_ context.Context, t *check.T) error { check.Equal(t, "sum", 4, 4); return nil }, check.Pass, ""},
		{"one does not", func(_ context.Context, t *check.T) error {
			check.Equal(t, "sum", 4, 4)
			check.Equal(t, "sum", 4, 5)
			return nil
		}, check.Fail, ""},
		{"nothing was claimed", func(context.Context, *check.T) error { return nil }, check.Broken, "claimed nothing"},
		{"no answer could be had", func(context.Context, *check.T) error { return boom }, check.Broken, "unreachable"},
		{"what was found first counts", func(_ context.Context, t *check.T) error { t.True("up", false); return boom }, check.Fail, "unreachable"},
		{"what held first does not", func(_ context.Context, t *check.T) error { t.True("up", true); return boom }, check.Broken, "unreachable"},
		{"skipped", func(context.Context, *check.T) error { return fmt.Errorf("%w: no topic", check.ErrSkip) }, check.Skip, "no topic"},
		{"not proven", func(context.Context, *check.T) error {
			return fmt.Errorf("%w: IAM is not enforced", check.ErrNotProven)
		}, check.NotProven, "IAM is not enforced"},
		{"panic", func(context.Context, *check.T) error { panic("assignment to entry in nil map") }, check.Broken, "panicked"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := check.Do(t.Context(), check.Check{ID: "x", Run: c.run})
			if got.Outcome != c.outcome || !strings.Contains(got.Reason, c.reason) || (c.reason == "") != (got.Reason == "") {
				t.Errorf("outcome %s, reason %q", got.Outcome, got.Reason)
			}
			if got.Claims == nil {
				t.Error("claims are null")
			}
			if strings.HasPrefix(got.Reason, "skipped") || strings.HasPrefix(got.Reason, "not proven") {
				t.Errorf("reason %q repeats the outcome", got.Reason)
			}
		})
	}
}

func TestClaimsKeepTheirEvidence(t *testing.T) {
	got := check.Do(t.Context(), check.Check{Run: func(_ context.Context, t *check.T) error {
		check.Equal(t, "status", "CONFIRMED", "FAILED")
		t.None("leftovers", []string{"a", "b"})
		t.Contains("body", "yes", "no")
		t.NoError("delete", errors.New("denied"))
		return nil
	}})
	want := []check.Claim{
		{What: "status", Want: "CONFIRMED", Got: "FAILED"},
		{What: "leftovers", Want: "none", Got: "2: a; b"},
		{What: "body", Want: "contains yes", Got: "no"},
		{What: "delete", Want: "done", Got: "denied"},
	}
	if diff := cmp.Diff(want, got.Failed()); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestMeasurementsDecideNothing(t *testing.T) {
	got := check.Do(t.Context(), check.Check{Run: func(ctx context.Context, t *check.T) error {
		t.Figure("throughput", 212.34, "orders/s")
		return check.Eventually(ctx, t, time.Second, time.Millisecond, func(_ context.Context, t *check.T) error {
			t.Figure("tries", 1, "")
			t.True("up", true)
			return nil
		})
	}})
	var text []string
	for _, m := range got.Measurements {
		text = append(text, m.Name+" "+m.String())
	}
	if diff := cmp.Diff([]string{"throughput 212.3 orders/s", "tries 1"}, text); diff != "" || got.Outcome != check.Pass {
		t.Errorf("%s, measurements (-want +got):\n%s", got.Outcome, diff)
	}
	got = check.Do(t.Context(), check.Check{Run: func(_ context.Context, t *check.T) error { t.Figure("x", 1, ""); return nil }})
	if got.Outcome != check.Broken {
		t.Errorf("a check that only measures is %s", got.Outcome)
	}
}

func TestLongEvidenceIsCut(t *testing.T) {
	got := check.Do(t.Context(), check.Check{Run: func(_ context.Context, t *check.T) error {
		t.Contains("page", "needle", strings.Repeat("hä", 10_000)+"needle")
		return nil
	}})
	if c := got.Claims[0]; !c.OK || len(c.Got) > 600 || !strings.Contains(c.Got, "30006 bytes") {
		t.Errorf("claim %v of %d bytes", c.OK, len(c.Got))
	}
}

func TestEventually(t *testing.T) {
	cases := []struct {
		name    string
		f       func(try int, t *check.T) error
		outcome check.Outcome
		tries   int
		claims  int
	}{
		{"holds at once", func(_ int, t *check.T) error { t.True("up", true); return nil }, check.Pass, 1, 1},
		{"holds later; only the last try counts", func(try int, t *check.T) error { t.True("up", try == 3); return nil }, check.Pass, 3, 1},
		{"an error is tried again", func(try int, t *check.T) error {
			if try < 3 {
				return errors.New("not yet")
			}
			t.True("up", true)
			return nil
		}, check.Pass, 3, 1},
		{"never holds", func(_ int, t *check.T) error { t.True("up", false); return nil }, check.Fail, 11, 1},
		{"never answers", func(int, *check.T) error { return errors.New("unreachable") }, check.Broken, 11, 0},
		{"claims nothing", func(int, *check.T) error { return nil }, check.Broken, 11, 0},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			got := check.Do(t.Context(), check.Check{Run: func(ctx context.Context, tt *check.T) error {
				return check.Eventually(ctx, tt, 10*time.Second+time.Millisecond, time.Second, func(_ context.Context, tt *check.T) error {
					tries++
					return c.f(tries, tt)
				})
			}})
			if got.Outcome != c.outcome || tries != c.tries || len(got.Claims) != c.claims {
				t.Errorf("%s: %s after %d tries with %d claims (%s)", c.name, got.Outcome, tries, len(got.Claims), got.Reason)
			}
		})
	}
}

func TestEventuallyTellsWhatItSawBeforeTheTimeRanOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := check.Do(t.Context(), check.Check{Run: func(ctx context.Context, tt *check.T) error {
			try := 0
			return check.Eventually(ctx, tt, 5*time.Second, time.Second, func(ctx context.Context, tt *check.T) error {
				if try++; try == 1 {
					check.Equal(tt, "status", "CONFIRMED", "RESERVED")
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			})
		}})
		if got.Outcome != check.Fail || len(got.Claims) != 1 || got.Claims[0].Got != "RESERVED" {
			t.Errorf("%+v", got)
		}
	})
}

func TestRunKeepsTheDeclaredOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		takes := func(d time.Duration) func(context.Context, *check.T) error {
			return func(_ context.Context, t *check.T) error {
				most.Store(max(most.Load(), running.Add(1)))
				time.Sleep(d)
				running.Add(-1)
				t.True("ran", true)
				return nil
			}
		}
		var ended []string
		lastAlone := func(_ context.Context, t *check.T) error {
			check.Equal(t, "checks ended before", 3, len(ended))
			return nil
		}
		suites := []check.Suite{
			{Name: "one", Checks: []check.Check{
				{ID: "at-rest", Run: lastAlone, Last: true},
				{ID: "slow", Run: takes(3 * time.Second)},
				{ID: "quick", Run: takes(time.Second)},
				{ID: "third", Run: takes(5 * time.Second)},
			}},
			{Name: "two", Checks: []check.Check{{ID: "other", Run: takes(0)}}},
		}
		results := check.Run(t.Context(), suites, check.Options{Workers: 2, Progress: func(r check.Result) {
			if r.Outcome != "" {
				ended = append(ended, r.ID)
			}
		}})
		got := []string{}
		for _, r := range results {
			got = append(got, r.Suite+"/"+r.ID+"/"+string(r.Outcome))
		}
		want := []string{"one/at-rest/pass", "one/slow/pass", "one/quick/pass", "one/third/pass", "two/other/pass"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("results (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"quick", "slow", "third", "at-rest", "other"}, ended); diff != "" {
			t.Errorf("order of ends (-want +got):\n%s", diff)
		}
		if most.Load() != 2 {
			t.Errorf("%d checks at once, want 2", most.Load())
		}
	})
}

func TestTimeoutNamesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		suite := check.Suite{Checks: []check.Check{{ID: "x", Run: func(ctx context.Context, _ *check.T) error {
			<-ctx.Done()
			return fmt.Errorf("read table: %w", ctx.Err())
		}}}}
		got := check.Run(t.Context(), []check.Suite{suite}, check.Options{Timeout: time.Minute})[0]
		if got.Outcome != check.Broken || !strings.Contains(got.Reason, "within 1m0s") {
			t.Errorf("%+v", got)
		}
	})
}
