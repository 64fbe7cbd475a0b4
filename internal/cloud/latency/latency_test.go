package latency_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/wire"
)

func model(t *testing.T, seed uint64) *latency.Model {
	t.Helper()
	m, err := latency.New("aws", seed)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// hops draws for deliveries of events.
func hops(m *latency.Model, n int) (all []time.Duration) {
	for range n {
		all = append(all, m.Hop("events.deliver"))
	}
	return all
}

func TestDrawsFollowFromTheSeed(t *testing.T) {
	same := model(t, 7)
	for range 5 {
		same.Settle(latency.Identity) // draws of another kind shift nothing
	}
	want := hops(model(t, 7), 50)
	if diff := cmp.Diff(want, hops(same, 50)); diff != "" {
		t.Errorf("the same seed drew otherwise:\n%s", diff)
	}
	if cmp.Equal(want, hops(model(t, 8), 50)) {
		t.Error("another seed drew the same")
	}
}

// TestDrawsAreLogNormal measures what the profile promises of a kind: the
// median, and the 99th percentile that follows from the spread.
func TestDrawsAreLogNormal(t *testing.T) {
	const n = 20_000
	all := hops(model(t, 1), n)
	slices.Sort(all)
	for _, tc := range []struct {
		name string
		got  time.Duration
		want time.Duration
	}{
		{"median", all[n/2], 150 * time.Millisecond},
		{"99th percentile", all[n*99/100], 480 * time.Millisecond}, // 150 ms * e^(2.326 * 0.5)
		{"most", all[n-1], 672 * time.Millisecond},                 // 150 ms * e^(3 * 0.5)
	} {
		if off := float64(tc.got)/float64(tc.want) - 1; off < -.04 || off > .04 {
			t.Errorf("%s: %s, want about %s", tc.name, tc.got, tc.want)
		}
	}
}

func TestModels(t *testing.T) {
	for _, name := range []string{"", latency.None} {
		m, err := latency.New(name, 1)
		if m != nil || err != nil {
			t.Errorf("%q: %v, %v; want no model", name, m, err)
		}
		if m.Hop("events.deliver") != 0 || m.Settle(latency.Identity) != 0 || m.Start(t.Context()) != nil {
			t.Errorf("%q takes time", name)
		}
	}
	if _, err := latency.New("gcp", 1); err == nil || !strings.Contains(err.Error(), "none or aws") {
		t.Errorf("an unknown model: %v", err)
	}
}

// TestCallsTakeTheirTime: data plane and control plane differ, and a caller
// who goes away is not waited for.
func TestCallsTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := model(t, 1)
		took := func(ctx context.Context, service, op string) (d time.Duration, done bool, err error) {
			began := time.Now()
			run := m.Intercept(func(context.Context, *wire.Call) (any, error) { done = true; return nil, nil })
			_, err = run(ctx, &wire.Call{Service: service, Op: op})
			return time.Since(began), done, err
		}
		for _, tc := range []struct {
			service, op string
			from, to    time.Duration
		}{
			{"dynamodb", "PutItem", time.Millisecond, 25 * time.Millisecond},
			{"dynamodb", "CreateTable", 30 * time.Millisecond, 340 * time.Millisecond},
			{"no such service", "Anything", 30 * time.Millisecond, 340 * time.Millisecond},
		} {
			if d, done, err := took(t.Context(), tc.service, tc.op); d < tc.from || d > tc.to || !done || err != nil {
				t.Errorf("%s %s took %s (%v, %v), want %s to %s", tc.service, tc.op, d, done, err, tc.from, tc.to)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if d, done, err := took(ctx, "dynamodb", "CreateTable"); done || !errors.Is(err, context.DeadlineExceeded) || d != 10*time.Millisecond {
			t.Errorf("a caller who went away: %s, %v, %v", d, done, err)
		}
	})
}

func TestRequestsTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := 0
		h := model(t, 1).HTTP(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
		began := time.Now()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody))
		if d := time.Since(began); served != 1 || d < 3*time.Millisecond || d > 50*time.Millisecond {
			t.Errorf("%d served after %s", served, d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", http.NoBody))
		if served != 1 {
			t.Error("a request without a client was served")
		}
	})
}

// TestLate: each change comes into effect after its time, in the order of the
// changes, and then nothing is remembered.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l latency.Late[string]
		began := time.Now()
		l.Changed("role", "", 5*time.Second)       // made
		l.Changed("role", "first", time.Second)    // changed: not before it was made
		l.Changed("role", "second", 9*time.Second) // changed again
		l.Changed("role", "at once", 0)
		for _, tc := range []struct {
			after time.Duration
			want  string
			late  bool
		}{{0, "", true}, {5*time.Second - 1, "", true}, {5 * time.Second, "second", true}, {9*time.Second - 1, "second", true}, {9 * time.Second, "", false}} {
			time.Sleep(time.Until(began.Add(tc.after)))
			if got, late := l.Before("role"); got != tc.want || late != tc.late {
				t.Errorf("after %s: %q, %v; want %q, %v", tc.after, got, late, tc.want, tc.late)
			}
		}
		if _, late := l.Before("another"); late {
			t.Error("a key that nobody changed is late")
		}
	})
}
