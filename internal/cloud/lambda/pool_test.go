package lambda

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"miniforge/internal/cloud/lambda/sandbox"
)

// stillBox is a sandbox that does nothing until it is closed.
type stillBox struct{ ended chan struct{} }

func (b *stillBox) Invoke(sandbox.Invocation) sandbox.Result { return sandbox.Result{} }
func (b *stillBox) Ended() <-chan struct{}                   { return b.ended }
func (b *stillBox) Close()                                   {}

func still() *instance {
	log := &logStream{stop: make(chan struct{}), done: make(chan struct{})}
	close(log.done)
	return &instance{Sandbox: &stillBox{}, log: log, expires: time.Now().Add(time.Hour)}
}

// TestPoolGrowsAsItPays has many callers at once keep an instance for some
// time, again and again, where a start takes 50 ms.
func TestPoolGrowsAsItPays(t *testing.T) {
	const starts, callers = 50 * time.Millisecond, 64
	for _, tt := range []struct {
		name        string
		turn        time.Duration
		least, most int
		within      time.Duration // of ten turns of each caller
	}{
		{"turns much shorter than a start are waited for", time.Millisecond, 1, 12, time.Second},
		{"turns as long as a start are shared", starts, 20, callers, 4 * time.Second},
		{"long turns get an instance each", 10 * time.Second, callers, callers, 105 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				life, stop := context.WithCancel(t.Context())
				p := newPool(life, 1000)
				var mu sync.Mutex
				started := 0
				start := func(context.Context) (*instance, error) {
					time.Sleep(starts)
					mu.Lock()
					defer mu.Unlock()
					started++
					return still(), nil
				}
				began := time.Now()
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						for range 10 {
							i, err := p.acquire(t.Context(), "f", start)
							if err != nil {
								t.Error(err)
								return
							}
							time.Sleep(tt.turn)
							p.release(i)
						}
					})
				}
				all.Wait()
				if took := time.Since(began); started < tt.least || started > tt.most || took > tt.within {
					t.Errorf("%d instances were started, in %s; want %d to %d, within %s", started, took, tt.least, tt.most, tt.within)
				}
				stop()
				p.close()
			})
		})
	}
}

// TestPoolWhenTurnsGetLong lets instances that used to be quick hang: who waits
// gets a new one after some starts' time.
func TestPoolWhenTurnsGetLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, stop := context.WithCancel(t.Context())
		p := newPool(life, 1000)
		start := func(context.Context) (*instance, error) {
			time.Sleep(50 * time.Millisecond)
			return still(), nil
		}
		for range 50 {
			i, err := p.acquire(t.Context(), "f", start)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			p.release(i)
		}
		hanging, _ := p.acquire(t.Context(), "f", start)
		began := time.Now()
		i, err := p.acquire(t.Context(), "f", start)
		if took := time.Since(began); err != nil || took > 300*time.Millisecond {
			t.Errorf("got %v, %v after %s", i, err, took)
		}
		p.release(i)
		p.release(hanging)
		stop()
		p.close()
	})
}
