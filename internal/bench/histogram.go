// Package bench measures: how long something takes, many times, and how often
// it can be done. It knows nothing of what is measured.
package bench

import (
	"fmt"
	"strings"
	"sync"
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
	P95   time.Duration `json:"p95_ns"`
	P99   time.Duration `json:"p99_ns"`
	P999  time.Duration `json:"p999_ns"`
	Max   time.Duration `json:"max_ns"`
	// Buckets is the histogram: each bucket counts what took no longer than its
	// bound and longer than that of the bucket before. Bounds double.
	Buckets []Bucket `json:"buckets,omitempty"`
}

// Bucket is one bar of a histogram.
type Bucket struct {
	UpTo  time.Duration `json:"up_to_ns"`
	Count int64         `json:"count"`
}

// String is the summary in one line.
func (l Latency) String() string {
	if l.Count == 0 {
		return "none measured"
	}
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, max %s", Millis(l.P50), Millis(l.P90), Millis(l.P99), Millis(l.Max))
}

// Chart draws the histogram as lines of text: a bucket's bound, a bar of at
// most so many characters, its count.
func (l Latency) Chart(width int) string {
	most := int64(1)
	for _, b := range l.Buckets {
		most = max(most, b.Count)
	}
	var text strings.Builder
	for _, b := range l.Buckets {
		// What is there is seen, however little of the whole it is.
		bar := (b.Count*int64(width) + most - 1) / most
		fmt.Fprintf(&text, "<= %11s  %-*s  %d\n", Millis(b.UpTo), width, strings.Repeat("#", int(bar)), b.Count)
	}
	return text.String()
}

// Millis writes a latency in milliseconds, with three digits for those below
// one: "27.4 ms", "0.183 ms".
func Millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 1 {
		return fmt.Sprintf("%.3f ms", ms)
	}
	return fmt.Sprintf("%.1f ms", ms)
}

// longest is the longest latency that is told from longer ones.
const longest = time.Hour

// Histogram records latencies in microseconds with three significant digits,
// in constant memory however many there are. It may be used by several
// goroutines.
type Histogram struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

// NewHistogram makes an empty histogram.
func NewHistogram() *Histogram {
	return &Histogram{h: hdrhistogram.New(1, longest.Microseconds(), 3)}
}

// Record adds a latency. Less than a microsecond counts as one, more than an
// hour as an hour.
func (h *Histogram) Record(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	// Within the bounds it was made for, so recording cannot fail.
	_ = h.h.RecordValue(min(max(d.Microseconds(), 1), longest.Microseconds()))
}

// Latency sums up what has been recorded.
func (h *Histogram) Latency() Latency {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.h.TotalCount() == 0 {
		return Latency{}
	}
	us := func(v int64) time.Duration { return time.Duration(v) * time.Microsecond }
	at := func(percentile float64) time.Duration { return us(h.h.ValueAtPercentile(percentile)) }
	return Latency{
		Count: h.h.TotalCount(), Min: us(h.h.Min()), Mean: time.Duration(h.h.Mean() * float64(time.Microsecond)),
		P50: at(50), P90: at(90), P95: at(95), P99: at(99), P999: at(99.9), Max: us(h.h.Max()),
		Buckets: h.buckets(),
	}
}

// buckets joins the fine buckets of the histogram to a few, for people: each
// twice as wide as the one before, without the empty ones at both ends.
func (h *Histogram) buckets() []Bucket {
	var buckets []Bucket
	bound := int64(1)
	for _, bar := range h.h.Distribution() {
		if bar.Count == 0 {
			continue
		}
		// A fine bucket belongs where its lower end is: it may stick out above
		// the bound by the histogram's precision.
		for bar.From > bound {
			bound *= 2
			if len(buckets) > 0 {
				buckets = append(buckets, Bucket{UpTo: time.Duration(bound) * time.Microsecond})
			}
		}
		if len(buckets) == 0 {
			buckets = append(buckets, Bucket{UpTo: time.Duration(bound) * time.Microsecond})
		}
		buckets[len(buckets)-1].Count += bar.Count
	}
	return buckets
}
