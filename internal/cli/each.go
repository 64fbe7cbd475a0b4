package cli

import "sync"

// each calls f for every i below n, at most so many at once, and returns when
// all calls have.
func each(n, workers int, f func(i int)) {
	var wg sync.WaitGroup
	free := make(chan struct{}, workers)
	for i := range n {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			f(i)
		})
	}
	wg.Wait()
}
