package crash

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A flaky endpoint fails now and then, as endpoints do that are busy: it
// throttles, it has no capacity, or the connection breaks, before the call had
// an effect or when only its answer is lost.
type flaky struct {
	http.RoundTripper
	share float64 // of calls that fail

	mu     sync.Mutex
	random *rand.Rand
	failed map[string]int
}

func newFlaky(a *account, seed uint64, share float64) *flaky {
	return &flaky{RoundTripper: a.Transport(), share: share, failed: map[string]int{}, random: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // a test's randomness
}

var mishaps = []string{"throttled", "unavailable", "reset before", "reset after"}

func (f *flaky) mishap() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.random.Float64() >= f.share {
		return ""
	}
	kind := mishaps[f.random.IntN(len(mishaps))]
	f.failed[kind]++
	return kind
}

func (f *flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	reset := &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
	switch f.mishap() {
	case "throttled":
		return throttled(r), nil
	case "unavailable":
		return answer(r, http.StatusServiceUnavailable, "text/html", "<html>Service Unavailable</html>"), nil
	case "reset before":
		return nil, reset
	case "reset after":
		resp, err := f.RoundTripper.RoundTrip(r)
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, reset
	}
	return f.RoundTripper.RoundTrip(r)
}

// throttled is how the service that was asked says that it is too much.
func throttled(r *http.Request) *http.Response {
	service := ""
	if _, scope, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		if parts := strings.Split(scope, "/"); len(parts) > 3 {
			service = parts[3]
		}
	}
	switch service {
	case "s3":
		return answer(r, http.StatusServiceUnavailable, "application/xml", `<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
	case "iam", "sns", "sts":
		return answer(r, http.StatusBadRequest, "text/xml", `<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`)
	default:
		resp := answer(r, http.StatusTooManyRequests, "application/json", `{"__type":"ThrottlingException","message":"Rate exceeded"}`)
		resp.Header.Set("X-Amzn-Errortype", "ThrottlingException")
		return resp
	}
}

func answer(r *http.Request, status int, contentType, body string) *http.Response {
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// TestFlakyEndpoint has up and down meet an endpoint that fails every seventh
// call: they must not give up before their deadline, nor make anything twice.
func TestFlakyEndpoint(t *testing.T) {
	ref := newAccount(t)
	ref.count(up)
	built := ref.inventory()
	ref.count(down)
	gone := ref.inventory()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			a := newAccount(t)
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
			defer cancel()
			f := newFlaky(a, seed, 1.0/7)
			if err := up(ctx, a.stack(f)); err != nil {
				t.Errorf("up: %v", err)
			}
			if diff := cmp.Diff(built, a.inventory()); diff != "" {
				t.Errorf("after up (-want +got):\n%s", diff)
			}
			if err := down(ctx, a.stack(f)); err != nil {
				t.Errorf("down: %v", err)
			}
			if diff := cmp.Diff(gone, a.inventory()); diff != "" {
				t.Errorf("after down (-want +got):\n%s", diff)
			}
			for _, kind := range mishaps {
				if f.failed[kind] == 0 {
					t.Errorf("no call was %s: the test proves too little", kind)
				}
			}
		})
	}
}
