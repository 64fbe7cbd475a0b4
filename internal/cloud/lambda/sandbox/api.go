//go:build unix

package sandbox

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const base = "/2018-06-01/runtime"

// handler is the Runtime API of one process, for who knows its token: other
// users of the machine, and pages in a browser, reach the port as well, and
// would take invocations from the function or answer in its place.
func (p *process) handler() http.Handler {
	m := http.NewServeMux()
	own := "/" + p.token + base
	m.HandleFunc("GET "+own+"/invocation/next", p.next)
	m.HandleFunc("POST "+own+"/invocation/{id}/response", p.response)
	m.HandleFunc("POST "+own+"/invocation/{id}/error", p.failed)
	m.HandleFunc("POST "+own+"/init/error", p.initError)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if subtle.ConstantTimeCompare([]byte(token), []byte(p.token)) != 1 {
			refuse(w, http.StatusForbidden, "Forbidden", "This is another function's Runtime API: use AWS_LAMBDA_RUNTIME_API as it is, path and all")
			return
		}
		m.ServeHTTP(w, r)
	})
}

// next hands out the next invocation, whenever it comes.
func (p *process) next(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	if !p.isReady {
		p.isReady = true
		close(p.ready)
	}
	p.mu.Unlock()
	var j *job
	select {
	case j = <-p.work:
	case <-r.Context().Done():
		return
	}
	p.mu.Lock()
	p.current = j
	p.mu.Unlock()
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(j.Payload)))
	h.Set("Lambda-Runtime-Aws-Request-Id", j.RequestID)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(j.deadline.UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", j.FunctionARN)
	if j.TraceID != "" {
		h.Set("Lambda-Runtime-Trace-Id", j.TraceID)
	}
	if j.ClientContext != "" {
		h.Set("Lambda-Runtime-Client-Context", j.ClientContext)
	}
	_, _ = w.Write(j.Payload) // a runtime that is gone is seen by its exit
}

// take ends the current invocation if it is the one that id names.
func (p *process) take(id string) *job {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.current
	if j == nil || j.RequestID != id {
		return nil
	}
	p.current = nil
	return j
}

func (p *process) response(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxResponse+1))
	j := p.take(r.PathValue("id"))
	switch {
	case j == nil:
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
	case err != nil:
		j.result <- Result{Failure: &Failure{Type: "Runtime.TruncatedResponse", Message: "the response could not be read: " + err.Error()}}
		refuse(w, http.StatusInternalServerError, "TruncatedResponse", "Response could not be read")
	case len(body) > MaxResponse:
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "Exceeded maximum allowed payload size ("+strconv.Itoa(MaxResponse)+" bytes).")
		j.result <- Result{Failure: &Failure{Type: TooLarge, Message: fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", MaxResponse)}}
	default:
		// The answer goes to the caller first: it is what somebody waits for.
		j.result <- Result{Payload: body}
		accept(w)
	}
}

func (p *process) failed(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, MaxResponse)) // what came of it is the document
	j := p.take(r.PathValue("id"))
	if j == nil {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return
	}
	j.result <- Result{Payload: body, Failed: true, ErrorType: r.Header.Get("Lambda-Runtime-Function-Error-Type")}
	accept(w)
}

func (p *process) initError(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, MaxResponse))
	f := &Failure{Type: r.Header.Get("Lambda-Runtime-Function-Error-Type"), Message: "initialisation failed", Payload: body}
	var doc struct{ ErrorMessage, ErrorType string }
	if json.Unmarshal(body, &doc) == nil && doc.ErrorMessage != "" {
		f.Message = doc.ErrorMessage
		if f.Type == "" {
			f.Type = doc.ErrorType
		}
	}
	if f.Type == "" {
		f.Type = InitErrorType
	}
	p.mu.Lock()
	p.init = f
	p.mu.Unlock()
	accept(w)
	// Runtimes exit by themselves after this; one that does not is ended.
	time.AfterFunc(time.Second, p.kill)
}

func accept(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write([]byte(`{"status":"OK"}`))
}

func refuse(w http.ResponseWriter, status int, kind, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"errorMessage": text, "errorType": kind})
}
