package fault

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/aws/smithy-go"
)

// maxSchedule bounds a schedule that is sent, in bytes.
const maxSchedule = 1 << 20

// Admin serves the administration of an engine: GET tells its [Status], POST
// adds the [Schedule] in the body, DELETE takes all rules away, or that of
// ?name=, and tells the status before. Errors are {"error": "..."}.
// allow judges each request first, with its body.
func Admin(e *Engine, allow func(r *http.Request, body []byte) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSchedule))
		if err != nil {
			answer(w, http.StatusRequestEntityTooLarge, message{"the schedule is larger than 1 MiB, or was cut off"})
			return
		}
		if err := allow(r, body); err != nil {
			text := "the request is not signed by the root user"
			if api, ok := errors.AsType[smithy.APIError](err); ok {
				text = api.ErrorCode() + ": " + api.ErrorMessage()
			}
			answer(w, http.StatusForbidden, message{text})
			return
		}
		status, out := e.administer(r, body)
		answer(w, status, out)
	})
}

type message struct {
	Error string `json:"error"`
}

func (e *Engine) administer(r *http.Request, body []byte) (int, any) {
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		s, err := Parse(body)
		if err == nil {
			err = e.Add(s)
		}
		if err != nil {
			return http.StatusBadRequest, message{err.Error()}
		}
	case http.MethodDelete:
		name := r.URL.Query().Get("name")
		if name == "" {
			return http.StatusOK, e.Clear()
		}
		if err := e.Remove(name); err != nil {
			return http.StatusNotFound, message{err.Error()}
		}
	default:
		return http.StatusMethodNotAllowed, message{"there are GET, POST and DELETE"}
	}
	return http.StatusOK, e.Status()
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
}
