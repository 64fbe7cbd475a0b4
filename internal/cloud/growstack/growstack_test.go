package growstack

import "testing"

func TestStaysOnTheStack(t *testing.T) {
	if n := testing.AllocsPerRun(10, Grow); n != 0 {
		t.Errorf("Grow makes %v allocations: its room is on the heap, which helps nobody", n)
	}
}

// BenchmarkGoroutine starts goroutines that go as deep as a call through the
// services does.
func BenchmarkGoroutine(b *testing.B) {
	for name, before := range map[string]func(){"plain": func() {}, "grown": Grow} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				done := make(chan byte)
				go func() {
					before()
					done <- deep(40)
				}()
				<-done
			}
		})
	}
}

//go:noinline
func deep(frames int) byte {
	var local [256]byte
	if frames > 0 {
		local[frames] = deep(frames - 1)
	}
	return local[frames] + 1
}
