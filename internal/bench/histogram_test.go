package bench_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"miniforge/internal/bench"
)

func TestLatency(t *testing.T) {
	h := bench.NewHistogram()
	if got := h.Latency(); got.Count != 0 || got.String() != "none measured" {
		t.Errorf("nothing recorded: %v", got)
	}
	for i := range 100 {
		h.Record(time.Duration(i+1) * time.Millisecond)
	}
	got := h.Latency()
	if got.Count != 100 || got.Min != time.Millisecond {
		t.Errorf("%+v", got)
	}
	near := func(name string, got, want time.Duration) {
		if diff := got - want; diff < -want/500 || diff > want/500 {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	near("p50", got.P50, 50*time.Millisecond)
	near("p95", got.P95, 95*time.Millisecond)
	near("p99", got.P99, 99*time.Millisecond)
	near("max", got.Max, 100*time.Millisecond)
	near("mean", got.Mean, 50500*time.Microsecond)
	if text := (bench.Latency{Count: 1, P50: 183 * time.Microsecond, P90: 2 * time.Millisecond}).String(); text != "p50 0.183 ms, p90 2.0 ms, p99 0.000 ms, max 0.000 ms" {
		t.Error(text)
	}
}

func TestBucketsDouble(t *testing.T) {
	h := bench.NewHistogram()
	for _, d := range []time.Duration{3 * time.Microsecond, 4 * time.Microsecond, 5 * time.Microsecond, 60 * time.Microsecond} {
		h.Record(d)
	}
	want := []bench.Bucket{{4 * time.Microsecond, 2}, {8 * time.Microsecond, 1}, {16 * time.Microsecond, 0}, {32 * time.Microsecond, 0}, {64 * time.Microsecond, 1}}
	if diff := cmp.Diff(want, h.Latency().Buckets); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
}

func TestChart(t *testing.T) {
	l := bench.Latency{Buckets: []bench.Bucket{{4 * time.Microsecond, 1000}, {8 * time.Microsecond, 0}, {16384 * time.Microsecond, 1}}}
	want := "<=    0.004 ms  ##########  1000\n<=    0.008 ms              0\n<=     16.4 ms  #           1\n"
	if diff := cmp.Diff(want, l.Chart(10)); diff != "" {
		t.Errorf("chart (-want +got):\n%s", diff)
	}
}

func TestBucketsHoldAll(t *testing.T) {
	h := bench.NewHistogram()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				h.Record(time.Duration(g*1000+i*i) * 37 * time.Microsecond)
			}
		})
	}
	h.Record(0)
	h.Record(100 * time.Hour)
	wg.Wait()
	got, sum := h.Latency(), int64(0)
	for _, b := range got.Buckets {
		sum += b.Count
	}
	if got.Count != 8002 || sum != got.Count {
		t.Errorf("%d recorded, %d in buckets", got.Count, sum)
	}
}

func BenchmarkRecord(b *testing.B) {
	h := bench.NewHistogram()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Record(1234 * time.Microsecond)
		}
	})
}
