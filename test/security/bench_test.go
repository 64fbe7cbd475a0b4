//go:build unix

package security

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"miniforge/internal/cloud"
	"miniforge/internal/drive"
	"miniforge/internal/order"
)

// BenchmarkEnforcement tells what it costs to judge every call. Orders go, 100
// at a time, through a cloud that judges and through one that does not, by
// turns, so that what else the machine does concerns both. An iteration is 100
// orders of each. Throughput and processor time are those of the whole cloud;
// the functions' own, in processes of theirs, is in neither.
func BenchmarkEnforcement(b *testing.B) {
	for _, durable := range []bool{false, true} {
		b.Run(fmt.Sprintf("durable=%t", durable), func(b *testing.B) {
			on, off := newLine(b, durable, false), newLine(b, durable, true)
			on.run(b) // starts functions
			off.run(b)
			*on, *off = line{client: on.client}, line{client: off.client}
			for b.Loop() {
				on.run(b)
				off.run(b)
			}
			b.ReportMetric(on.rate(), "orders/s-judged")
			b.ReportMetric(off.rate(), "orders/s-free")
			b.ReportMetric(on.rate()/off.rate(), "throughput-ratio")
			b.ReportMetric(float64(on.cpu)/float64(off.cpu), "cpu-ratio")
			b.ReportMetric(float64(on.cpu.Microseconds())/float64(on.orders), "µs-cpu/order-judged")
		})
	}
}

// A line is a system that orders go through, with what that took.
type line struct {
	client *drive.Client
	orders int
	wall   time.Duration
	cpu    time.Duration
}

func (l *line) rate() float64 { return float64(l.orders) / l.wall.Seconds() }

func newLine(b *testing.B, durable, unguarded bool) *line {
	b.Helper()
	o, err := build(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	o.WithoutPipeline = true
	options := cloud.Options{Unguarded: unguarded}
	if durable {
		options.Dir = b.TempDir()
	}
	c, err := cloud.New(b.Context(), options)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	s, err := ensure(b.Context(), c, o)
	if err != nil {
		b.Fatal(err)
	}
	url, err := s.Endpoint(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return &line{client: &drive.Client{URL: url, HTTP: &http.Client{Transport: c.Transport()}}}
}

func (l *line) run(b *testing.B) {
	b.Helper()
	const orders = 100
	start, used := time.Now(), processorTime(b)
	sum, err := l.client.Burst(b.Context(), drive.Burst{
		Count: orders, Concurrency: 16, Wait: true, Make: func(int) (order.Request, string) { return request("tok_visa"), "" },
	})
	l.wall += time.Since(start)
	l.cpu += processorTime(b) - used
	l.orders += orders
	if err != nil || sum.Count(order.Confirmed) != orders {
		b.Fatalf("%d of %d confirmed, %v", sum.Count(order.Confirmed), orders, err)
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
