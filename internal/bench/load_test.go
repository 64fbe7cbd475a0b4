package bench_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"miniforge/internal/bench"
)

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := func(ctx context.Context, clock *bench.Clock, client, round int) error {
			err := clock.Time(ctx, "put", func(context.Context) error { time.Sleep(10 * time.Millisecond); return nil })
			if err != nil {
				return err
			}
			return clock.Time(ctx, "get", func(context.Context) error {
				time.Sleep(15 * time.Millisecond)
				if client == 0 && round == 3 {
					return errors.New("throttled")
				}
				return nil
			})
		}
		results, err := bench.Run(t.Context(), 4, 990*time.Millisecond, script)
		if err != nil || len(results) != 2 || results[0].Operation != "put" || results[1].Operation != "get" {
			t.Fatalf("%+v, %v", results, err)
		}
		put, get := results[0], results[1]
		if put.Latency.Count != 160 || put.PerSecond < 159 || put.PerSecond > 160 || put.Errors != 0 || put.Latency.Max > 11*time.Millisecond {
			t.Errorf("put %+v", put)
		}
		if get.Errors != 1 || get.Error != "throttled" || get.Latency.Count != 159 {
			t.Errorf("get %+v", get)
		}
	})
}

// TestWhatHasBegunIsMeasured has operations that take longer than the load.
func TestWhatHasBegunIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results, err := bench.Run(t.Context(), 2, 30*time.Millisecond, func(ctx context.Context, clock *bench.Clock, _, _ int) error {
			return clock.Time(ctx, "wait", func(ctx context.Context) error {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Second):
					return nil
				}
			})
		})
		if err != nil || len(results) != 1 || results[0].Latency.Count != 2 || results[0].PerSecond != 2 {
			t.Errorf("%+v, %v", results, err)
		}
	})
}

// TestEveryClientTakesPart has a load end before its clients have begun.
func TestEveryClientTakesPart(t *testing.T) {
	for range 20 {
		results, err := bench.Run(t.Context(), 8, time.Nanosecond, func(ctx context.Context, clock *bench.Clock, _, _ int) error {
			return clock.Time(ctx, "put", func(context.Context) error { return nil })
		})
		if err != nil || len(results) != 1 || results[0].Latency.Count < 8 {
			t.Fatalf("%+v, %v", results, err)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("ctrl-c")
		time.AfterFunc(time.Second, func() { cancel(stopped) })
		start := time.Now()
		results, err := bench.Run(ctx, 2, time.Hour, func(ctx context.Context, clock *bench.Clock, _, _ int) error {
			return clock.Time(ctx, "wait", func(ctx context.Context) error {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(300 * time.Millisecond):
					return nil
				}
			})
		})
		if !errors.Is(err, stopped) || time.Since(start) > 2*time.Second || len(results) != 1 || results[0].Latency.Count != 6 || results[0].Errors != 0 {
			t.Errorf("%+v, %v", results, err)
		}
	})
}

// TestFailuresAreNotHammered has an operation fail at once.
func TestFailuresAreNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results, err := bench.Run(t.Context(), 1, time.Minute, func(ctx context.Context, clock *bench.Clock, _, _ int) error {
			return clock.Time(ctx, "put", func(context.Context) error { return errors.New("refused") })
		})
		if err != nil || results[0].Errors > 80 || results[0].Latency.Count != 0 {
			t.Errorf("%+v, %v", results, err)
		}
	})
	if _, err := bench.Run(t.Context(), 0, time.Second, nil); err == nil {
		t.Error("no clients are no error")
	}
}
