package check

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options tune a run. The zero value runs one check at a time.
type Options struct {
	// Workers is how many checks of a suite run at once.
	Workers int
	// Timeout ends a check that takes longer; 0 means no limit.
	Timeout time.Duration
	// Progress, if set, is told of every check: without an Outcome when it
	// starts, with one when it has ended. Calls come one at a time.
	Progress func(Result)
}

// Run runs suites one after the other and returns the results in the order in
// which the checks are declared.
func Run(ctx context.Context, suites []Suite, o Options) []Result {
	results := []Result{}
	for _, s := range suites {
		results = append(results, runSuite(ctx, s, o)...)
	}
	return results
}

func runSuite(ctx context.Context, s Suite, o Options) []Result {
	results := make([]Result, len(s.Checks))
	var mu sync.Mutex
	tell := func(r Result) {
		mu.Lock()
		defer mu.Unlock()
		if o.Progress != nil {
			o.Progress(r)
		}
	}
	phase := func(last bool) {
		var eg errgroup.Group
		eg.SetLimit(max(o.Workers, 1))
		for i, c := range s.Checks {
			if c.Last != last {
				continue
			}
			eg.Go(func() error {
				tell(Result{Suite: s.Name, ID: c.ID, Title: c.Title, Claims: []Claim{}})
				results[i] = do(ctx, s.Name, c, o.Timeout)
				tell(results[i])
				return nil
			})
		}
		_ = eg.Wait() // no function fails: outcomes are results
	}
	phase(false)
	phase(true)
	return results
}

// Do runs one check.
func Do(ctx context.Context, c Check) Result { return do(ctx, "", c, 0) }

func do(ctx context.Context, suite string, c Check, timeout time.Duration) Result {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("the check did not end within %s", timeout))
		defer cancel()
	}
	var t T
	start := time.Now()
	err := call(ctx, c, &t)
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Result{Suite: suite, ID: c.ID, Title: c.Title, Claims: append([]Claim{}, t.claims...), Measurements: t.measurements, Took: time.Since(start)}
	r.Outcome, r.Reason = judge(ctx, r, err)
	return r
}

func judge(ctx context.Context, r Result, err error) (Outcome, string) {
	switch {
	case errors.Is(err, ErrSkip):
		return Skip, trim(err, ErrSkip)
	case errors.Is(err, ErrNotProven):
		return NotProven, trim(err, ErrNotProven)
	case err != nil && len(r.Failed()) > 0:
		return Fail, err.Error() // what it found before it could not go on counts
	case err != nil:
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			return Broken, fmt.Sprintf("%v (%v)", err, cause)
		}
		return Broken, err.Error()
	case len(r.Claims) == 0:
		return Broken, "the check claimed nothing"
	case len(r.Failed()) > 0:
		return Fail, ""
	}
	return Pass, ""
}

// call turns a panic of a check into an error. A check reads what a foreign
// endpoint answers; one that answers nonsense must not cost the whole report.
func call(ctx context.Context, c Check, t *T) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return c.Run(ctx, t)
}

// trim takes the sentinel's words off a reason: the outcome says them already.
func trim(err, sentinel error) string {
	text := strings.TrimSuffix(strings.TrimPrefix(err.Error(), sentinel.Error()+": "), ": "+sentinel.Error())
	if text == sentinel.Error() {
		return ""
	}
	return text
}
