package drive

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency sums up how long something took, many times.
type Latency struct {
	Count int64         `json:"count"`
	Min   time.Duration `json:"min_ns"`
	Mean  time.Duration `json:"mean_ns"`
	P50   time.Duration `json:"p50_ns"`
	P90   time.Duration `json:"p90_ns"`
	P99   time.Duration `json:"p99_ns"`
	Max   time.Duration `json:"max_ns"`
}

func (l Latency) String() string {
	if l.Count == 0 {
		return "none measured"
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, max %s", ms(l.P50), ms(l.P90), ms(l.P99), ms(l.Max))
}

// recorder keeps microseconds up to an hour with three significant digits, in
// constant memory however many are recorded.
type recorder struct{ h *hdrhistogram.Histogram }

func newRecorder() recorder { return recorder{hdrhistogram.New(1, time.Hour.Microseconds(), 3)} }

func (r recorder) record(d time.Duration) {
	// Bounded above, so that recording cannot fail.
	_ = r.h.RecordValue(min(max(d.Microseconds(), 1), time.Hour.Microseconds()))
}

func (r recorder) latency() Latency {
	if r.h.TotalCount() == 0 {
		return Latency{}
	}
	us := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	return Latency{
		Count: r.h.TotalCount(), Min: us(r.h.Min()), Mean: time.Duration(r.h.Mean() * float64(time.Microsecond)),
		P50: us(r.h.ValueAtPercentile(50)), P90: us(r.h.ValueAtPercentile(90)),
		P99: us(r.h.ValueAtPercentile(99)), Max: us(r.h.Max()),
	}
}
