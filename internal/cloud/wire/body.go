package wire

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
)

// How much of requests is kept in memory. A body of up to smallBody is bounded
// by the number of connections alone; larger ones share largeBodies, and who
// comes when that is used up is told to come back instead of being queued.
const (
	smallBody   = 1 << 20
	largeBodies = 512 << 20
	defaultBody = 8 << 20
)

// bodyLimits are what services take in one request where that is not
// defaultBody: AWS's limit of the payload, with room for its encoding.
var bodyLimits = map[string]int64{
	"codecommit": 32 << 20, // CreateCommit: 20 MB of files, in Base64
	"dynamodb":   16 << 20, // BatchWriteItem and BatchGetItem
	"lambda":     70167211, // a package of 50 MB, in Base64
	"s3":         128 << 20,
}

// limit is the number of bytes that a request may have. Who did not even name
// the key that the request is signed by is given little: it will be refused.
func (m *Mux) limit(s *signature, a *API) int64 {
	if m.opts.MaxBody > 0 {
		return m.opts.MaxBody
	}
	if !s.scoped() {
		return smallBody
	}
	if n, ok := bodyLimits[a.Service]; ok {
		return n
	}
	return defaultBody
}

// readBody reads the body of a request to the given API. free gives back what
// the body takes of the memory for large ones, and is called in any case.
func (m *Mux) readBody(w http.ResponseWriter, r *http.Request, s *signature, a *API) (body []byte, free func(), err error) {
	limit := m.limit(s, a)
	need := r.ContentLength
	if need < 0 {
		need = limit // it is not known before it is read
	}
	free = func() {}
	switch {
	case need > limit:
		return nil, free, tooLarge(a, limit)
	case need > smallBody && !m.large.TryAcquire(need):
		return nil, free, &Error{Code: a.slowDown(), Message: "Please reduce your request rate.", Status: http.StatusServiceUnavailable, Server: true}
	case need > smallBody:
		free = func() { m.large.Release(need) }
	}
	body, err = readAll(http.MaxBytesReader(w, r.Body, limit), r.ContentLength)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, free, tooLarge(a, limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, free, &Error{Code: "RequestTimeout", Message: "Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.", Status: http.StatusBadRequest}
	}
	if err != nil {
		return nil, free, &Error{Code: "IncompleteBody", Message: "The request body terminated unexpectedly", Status: http.StatusBadRequest}
	}
	return body, free, nil
}

// announced bounds the room that is made for a body because it is announced:
// who announces much and sends nothing is to hold little.
const announced = 16 << 10

// readAll is io.ReadAll, with room from the start for a short body of a known
// length and a byte in which to find its end; -1: the length is not known.
func readAll(r io.Reader, length int64) ([]byte, error) {
	if length < 0 || length > announced {
		return io.ReadAll(r)
	}
	b := make([]byte, 0, length+1)
	for {
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err
		case len(b) == cap(b): // it is longer than it said
			b = slices.Grow(b, 512)
		}
	}
}

// slowDown is the code by which a service says that it has too much to do.
func (a *API) slowDown() string {
	if a.Protocol == RESTXML {
		return "SlowDown"
	}
	return "ServiceUnavailable"
}

func tooLarge(a *API, limit int64) error {
	if a.Protocol == RESTXML {
		return &Error{Code: "EntityTooLarge", Message: "Your proposed upload exceeds the maximum allowed size", Status: http.StatusBadRequest}
	}
	return &Error{Code: "RequestEntityTooLargeException", Message: fmt.Sprintf("Request must be smaller than %d bytes", limit), Status: http.StatusRequestEntityTooLarge}
}
