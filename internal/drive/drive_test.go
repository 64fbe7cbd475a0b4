package drive_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"miniforge/internal/drive"
	"miniforge/internal/order"
)

// shop is the API of a system that confirms an order some time after it was
// placed. It is called without a socket, so that its time can be virtual.
type shop struct {
	takes   time.Duration
	stumble int    // this many requests answer 429 first
	after   string // their Retry-After
	mu      sync.Mutex
	orders  map[string]order.Order
	posts   int
	gets    int
}

func (s *shop) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serve(w, r)
	return w.Result(), nil
}

func (s *shop) serve(w *httptest.ResponseRecorder, r *http.Request) {
	if s.stumble > 0 {
		s.stumble--
		if s.after != "" {
			w.Header().Set("Retry-After", s.after)
		}
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"message":"Too Many Requests"}`)
		return
	}
	if r.Method == http.MethodPost {
		s.posts++
		body, _ := io.ReadAll(r.Body)
		in, err := order.ParseRequest(body)
		if p, ok := errors.AsType[*order.Problem](err); ok {
			answer(w, p.Status, order.ProblemType, p)
			return
		}
		id := order.NewID(time.Now())
		if key := r.Header.Get(order.KeyHeader); key != "" {
			id = order.IDForKey(key)
		}
		if _, known := s.orders[id]; !known {
			s.orders[id] = order.New(id, "", in, time.Now())
		}
		w.Header().Set("Apigw-Requestid", "req-1")
		answer(w, http.StatusAccepted, "application/json", order.Receipt{ID: id, Status: order.Submitted, Links: order.LinksOf(id)})
		return
	}
	s.gets++
	o, known := s.orders[strings.TrimPrefix(r.URL.Path, "/orders/")]
	if !known {
		answer(w, http.StatusNotFound, order.ProblemType, order.NotFound())
		return
	}
	if time.Since(o.CreatedAt.Time) >= s.takes {
		now := order.At(time.Now())
		o.Status, o.NotifiedAt = order.Confirmed, &now
		o.Timeline = append(o.Timeline, order.Change{Status: order.Confirmed, At: now})
	}
	answer(w, http.StatusOK, "application/json", o.View())
}

func answer(w *httptest.ResponseRecorder, status int, contentType string, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(err) // the bodies are those of package order
	}
}

func open(takes time.Duration) (*shop, *drive.Client) {
	s := &shop{takes: takes, orders: map[string]order.Order{}}
	return s, &drive.Client{URL: "http://shop.test", HTTP: &http.Client{Transport: s}}
}

func one() order.Request {
	return order.Request{
		Customer: order.Customer{Name: "Ada", Email: "ada@example.com"},
		Items:    []order.Item{{SKU: "MF-DRAGON-01", Quantity: 1}}, Payment: order.Payment{Token: "tok_visa"},
	}
}

func TestPlace(t *testing.T) {
	_, c := open(0)
	a, err := c.Place(t.Context(), one(), "k")
	if err != nil || a.ID != order.IDForKey("k") || a.Status != order.Submitted || a.RequestID != "req-1" {
		t.Errorf("%+v, %v", a, err)
	}
	bad := one()
	bad.Items = nil
	_, err = c.Place(t.Context(), bad, "")
	if p, ok := errors.AsType[*order.Problem](err); !ok || p.Errors[0].Field != "items" {
		t.Errorf("a bad order: error %v, want the API's problem", err)
	}
	_, err = c.Get(t.Context(), "ord_none")
	if p, ok := errors.AsType[*order.Problem](err); !ok || p.Status != 404 {
		t.Errorf("no order: error %v, want the API's problem", err)
	}
}

func TestAwaitTellsEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := open(time.Minute)
		a, err := c.Place(t.Context(), one(), "k")
		if err != nil {
			t.Fatal(err)
		}
		var seen []order.State
		v, err := c.Await(t.Context(), a.ID, func(v order.View) { seen = append(seen, v.Status) })
		if err != nil || v.Status != order.Confirmed {
			t.Fatalf("%+v, %v", v, err)
		}
		if diff := cmp.Diff([]order.State{order.Submitted, order.Confirmed}, seen); diff != "" {
			t.Errorf("seen (-want +got):\n%s", diff)
		}
		if s.gets > 150 {
			t.Errorf("%d polls in a minute", s.gets)
		}
	})
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := open(time.Hour)
		a, _ := c.Place(t.Context(), one(), "k")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("patience is over"))
		defer cancel()
		v, err := c.Await(ctx, a.ID, nil)
		if err == nil || !strings.Contains(err.Error(), "patience is over") || !strings.Contains(err.Error(), "SUBMITTED") || v.Status != order.Submitted {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

func TestAwaitDoesNotWaitForWhatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := open(0)
		if _, err := c.Await(t.Context(), "ord_none", nil); err == nil || s.gets != 1 {
			t.Errorf("error %v after %d polls", err, s.gets)
		}
	})
}

func TestAwaitOutlastsThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := open(0)
		a, _ := c.Place(t.Context(), one(), "k")
		s.stumble = 5
		if v, err := c.AwaitSettled(t.Context(), a.ID); err != nil || v.Status != order.Confirmed {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// TestRetryAfterIsHonoured counts requests: who is told when to come again must
// not ask before.
func TestRetryAfterIsHonoured(t *testing.T) {
	cases := []struct {
		name, after string
		least, most time.Duration
	}{
		{"seconds", "7", 14 * time.Second, 18 * time.Second},
		{"a date", "Sat, 01 Jan 2000 00:00:20 GMT", 20 * time.Second, 30 * time.Second}, // bubbles begin at midnight
		{"zero", "0", 0, time.Second},
		{"nonsense", "soon", 0, time.Second},
		{"negative", "-5", 0, time.Second},
	}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			s, client := open(0)
			s.stumble, s.after = 2, c.after
			start := time.Now()
			a, err := client.PlacePatiently(t.Context(), one(), "k", 3)
			if took := time.Since(start); err != nil || a.Tries != 3 || took < c.least || took > c.most {
				t.Errorf("%s: placed after %s and %d tries, %v", c.name, took, a.Tries, err)
			}
			s.stumble = 2
			start = time.Now()
			_, err = client.Await(t.Context(), a.ID, nil)
			if took := time.Since(start); err != nil || took > c.most || took < c.least && c.name != "a date" {
				t.Errorf("%s: awaited for %s, %v", c.name, took, err)
			}
		})
	}
}

func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := open(2 * time.Second)
		told := 0
		s, err := c.Burst(t.Context(), drive.Burst{
			Count: 20, Concurrency: 5, Wait: true,
			Make:     func(i int) (order.Request, string) { return one(), fmt.Sprint("k", i/2) }, // pairs
			Progress: func(drive.Fate) { told++ },
		})
		if err != nil || s.Accepted() != 20 || s.Count(order.Confirmed) != 20 || told != 20 {
			t.Fatalf("%d accepted, %d confirmed, told of %d, %v", s.Accepted(), s.Count(order.Confirmed), told, err)
		}
		if s.Fates[6].ID != s.Fates[7].ID || s.Fates[6].ID == s.Fates[8].ID || s.Fates[7].Index != 7 {
			t.Errorf("fates %+v", s.Fates[6:9])
		}
		if s.Complete.Count != 20 || s.Complete.Max < 2*time.Second || s.Took < 4*time.Second || s.Took > 10*time.Second {
			t.Errorf("took %s, to the end %+v", s.Took, s.Complete)
		}
		if s.Rate() <= 0 {
			t.Errorf("rate %v", s.Rate())
		}
	})
}

func TestBurstTriesAgainOnlyWithAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			key      string
			tries    int
			accepted int
		}{{"k", 5, 1}, {"k", 2, 0}, {"", 5, 0}} {
			s, client := open(0)
			s.stumble = 3
			got, err := client.Burst(t.Context(), drive.Burst{
				Count: 1, Tries: c.tries, Make: func(int) (order.Request, string) { return one(), c.key },
			})
			if err != nil || got.Accepted() != c.accepted || (got.Fates[0].Err == nil) != (c.accepted == 1) {
				t.Errorf("key %q, %d tries: %+v, %v", c.key, c.tries, got.Fates[0], err)
			}
		}
	})
}

func TestBurstStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := open(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s, err := c.Burst(ctx, drive.Burst{Count: 50, Concurrency: 2, Wait: true, Make: func(i int) (order.Request, string) { return one(), fmt.Sprint(i) }})
		if !errors.Is(err, context.DeadlineExceeded) || s.Accepted() > 4 {
			t.Errorf("%d accepted, %v", s.Accepted(), err)
		}
		for _, f := range s.Fates {
			if f.Err == nil {
				t.Errorf("order %d has no error", f.Index)
			}
		}
	})
}

func TestBurstOfNothing(t *testing.T) {
	_, c := open(0)
	s, err := c.Burst(t.Context(), drive.Burst{Make: func(int) (order.Request, string) { return one(), "" }})
	if err != nil || s.Accept.String() != "none measured" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := c.Burst(t.Context(), drive.Burst{Count: 1}); err == nil {
		t.Error("a burst of unmade orders is no error")
	}
}
