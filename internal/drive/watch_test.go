package drive_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"miniforge/internal/drive"
	"miniforge/internal/order"
)

// TestWatchReadsSeldom has many wait for their orders at once: the number of
// reads follows from the time, not from how many they are.
func TestWatchReadsSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const orders = 200
		start, reads := time.Now(), 0
		w := drive.NewWatch(func(_ context.Context, ids []string) ([]order.View, error) {
			reads++
			time.Sleep(5 * time.Millisecond)
			var found []order.View
			for _, id := range ids {
				o := order.View{ID: id, Status: order.Submitted}
				if time.Since(start) > time.Second {
					o.Status = order.Confirmed
				}
				found = append(found, o)
			}
			return found, nil
		})
		ctx, stop := context.WithCancel(t.Context())
		var running, waiting sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		for i := range orders {
			waiting.Go(func() {
				if v, err := w.Await(t.Context(), fmt.Sprint("ord_", i)); err != nil || v.Status != order.Confirmed {
					t.Errorf("%s, %v", v.Status, err)
				}
			})
		}
		waiting.Wait()
		if took := time.Since(start); reads > 60 || took > 1100*time.Millisecond {
			t.Errorf("%d reads in %s", reads, took)
		}
		before := reads
		time.Sleep(time.Minute)
		if reads > before+1 {
			t.Errorf("%d reads while nobody waited", reads-before)
		}
		stop()
		running.Wait()
	})
}

// TestWatchForgetsASlowRead has one read hang for long: the next ones come as
// soon as if it had not.
func TestWatchForgetsASlowRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hangs = 5 * time.Second
		start, reads := time.Now(), 0
		w := drive.NewWatch(func(_ context.Context, ids []string) ([]order.View, error) {
			if reads++; reads == 1 {
				time.Sleep(hangs)
				return nil, nil
			}
			return []order.View{{ID: ids[0], Status: order.Confirmed}}, nil
		})
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { w.Run(ctx) })
		if _, err := w.Await(t.Context(), "ord_1"); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > hangs+200*time.Millisecond {
			t.Errorf("told after %s, %s after the read that hung", took, took-hangs)
		}
		stop()
		running.Wait()
	})
}

func TestWatchTellsWhyItDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := drive.NewWatch(func(context.Context, []string) ([]order.View, error) { return nil, errors.New("throttled") })
		running, stop := context.WithCancel(t.Context())
		go w.Run(running)
		defer stop()
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("patience is over"))
		defer cancel()
		_, err := w.Await(ctx, "ord_1")
		if err == nil || !strings.Contains(err.Error(), "patience is over") || !strings.Contains(err.Error(), "throttled") {
			t.Errorf("error = %v", err)
		}
	})
}
