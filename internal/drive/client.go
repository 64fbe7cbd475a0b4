// Package drive places orders with a running system over HTTP, one or
// thousands, and follows them to their end.
package drive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"miniforge/internal/order"
)

// Client talks to the HTTP API of one stack.
type Client struct {
	// URL is that of the API, without a slash at its end.
	URL string
	// HTTP is used for all requests.
	HTTP *http.Client
}

// maxAnswer bounds how much of an answer is read: the largest order is some
// kilobytes.
const maxAnswer = 1 << 20

// Answer is an HTTP answer as it came.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Took   time.Duration
}

// Accepted is an order that the API took.
type Accepted struct {
	order.Receipt
	// RequestID is API Gateway's id of the request, as in its access log.
	RequestID string
	Took      time.Duration // of the request that was answered so
	Tries     int           // requests that it took, with those that were not answered
}

// Place places an order, under an idempotency key unless that is empty. A
// refusal is returned as the *order.Problem that the API answered.
func (c *Client) Place(ctx context.Context, r order.Request, key string) (Accepted, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return Accepted{}, fmt.Errorf("place order: %w", err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if key != "" {
		header.Set(order.KeyHeader, key)
	}
	a, err := c.Do(ctx, http.MethodPost, "/orders", header, body)
	if err != nil {
		return Accepted{}, fmt.Errorf("place order: %w", err)
	}
	accepted := Accepted{Took: a.Took, Tries: 1, RequestID: a.Header.Get("Apigw-Requestid")}
	if err := a.decode(http.StatusAccepted, &accepted.Receipt); err != nil {
		return Accepted{}, fmt.Errorf("place order: %w", err)
	}
	return accepted, nil
}

// Get reads an order. If there is none, the error is a *order.Problem of
// status 404.
func (c *Client) Get(ctx context.Context, id string) (order.View, error) {
	var v order.View
	a, err := c.Do(ctx, http.MethodGet, "/orders/"+id, nil, nil)
	if err == nil {
		err = a.decode(http.StatusOK, &v)
	}
	if err != nil {
		return order.View{}, fmt.Errorf("get order %s: %w", id, err)
	}
	return v, nil
}

// Do sends a request as it is given, good or bad.
func (c *Client) Do(ctx context.Context, method, path string, header http.Header, body []byte) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("make request: %w", err)
	}
	maps.Copy(req.Header, header)
	start := time.Now()
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("read answer: %w", err)
	}
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: text, Took: time.Since(start)}, nil
}

// StatusError is an answer that says neither yes nor, as the API would, no:
// API Gateway's own errors look like this.
type StatusError struct {
	Status int
	Body   string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the API answered %d %s: %s", e.Status, http.StatusText(e.Status), strings.TrimSpace(e.Body))
}

// Temporary reports whether the same request may succeed later.
func (e *StatusError) Temporary() bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= http.StatusInternalServerError
}

// Problem is the problem that the answer describes, if it does.
func (a Answer) Problem() (*order.Problem, bool) {
	if !strings.HasPrefix(a.Header.Get("Content-Type"), order.ProblemType) {
		return nil, false
	}
	var p order.Problem
	err := json.Unmarshal(a.Body, &p)
	return &p, err == nil && p.Status != 0
}

func (a Answer) decode(status int, into any) error {
	if a.Status != status {
		return a.refusal()
	}
	if err := json.Unmarshal(a.Body, into); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// refusal is the error that an answer of another status than wanted stands for.
func (a Answer) refusal() error {
	var err error
	if p, ok := a.Problem(); ok {
		err = p
	} else {
		body := string(a.Body)
		err = &StatusError{a.Status, body[:min(len(body), 500)]}
	}
	if after := retryAfter(a.Header.Get("Retry-After"), time.Now()); after > 0 {
		return &busyError{err, after}
	}
	return err
}

// busyError is a refusal that says when to come again.
type busyError struct {
	error
	after time.Duration
}

func (e *busyError) Unwrap() error { return e.error }

// retryAfter reads the header of RFC 9110, section 10.2.3: seconds, or a time.
// What is neither asks for nothing.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// pauseAfter is how long to wait before the next try: as long as the API asked
// to and a little more, lest all who were sent away come back at once; or own,
// if that is longer.
func pauseAfter(err error, own time.Duration) time.Duration {
	if busy, ok := errors.AsType[*busyError](err); ok {
		jitter := rand.N(busy.after/4 + 1) //nolint:gosec // spreads load, keeps no secret
		return max(own, busy.after+jitter)
	}
	return own
}

// temporary reports whether err is worth another try with the same key.
func temporary(err error) bool {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.Temporary()
	}
	if p, ok := errors.AsType[*order.Problem](err); ok {
		return p.Status == http.StatusTooManyRequests || p.Status >= http.StatusInternalServerError
	}
	return err != nil // the connection failed
}
