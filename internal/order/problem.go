package order

import (
	"fmt"
	"net/http"
	"strings"
)

// ProblemType is the media type of a Problem (RFC 9457).
const ProblemType = "application/problem+json"

// Problem is a refusal as RFC 9457 describes one, with the fields at fault.
type Problem struct {
	Type   string       `json:"type"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Detail string       `json:"detail,omitempty"`
	Errors []FieldError `json:"errors,omitempty"`
}

// FieldError is what is wrong with one member of a request.
type FieldError struct {
	// Field is the path of the member: "customer.email", "items[0].quantity";
	// it is empty where the body as a whole is meant.
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Error makes a Problem usable as an error.
func (p *Problem) Error() string {
	parts := make([]string, 0, len(p.Errors))
	for _, e := range p.Errors {
		parts = append(parts, strings.TrimSpace(e.Field+" "+e.Message))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("%s: %s", p.Title, p.Detail)
	}
	return fmt.Sprintf("%s: %s", p.Title, strings.Join(parts, "; "))
}

func newProblem(kind, title string, status int, detail string, errs ...FieldError) *Problem {
	return &Problem{Type: "urn:miniforge:problem:" + kind, Title: title, Status: status, Detail: detail, Errors: errs}
}

// BadRequest refuses a request with the fields at fault.
func BadRequest(errs ...FieldError) *Problem {
	return newProblem("invalid-order", "The order is not valid", http.StatusBadRequest, "", errs...)
}

// KeyReused refuses another order under an idempotency key already used.
func KeyReused() *Problem {
	return newProblem("idempotency-key-reused", "The idempotency key was used for another order", http.StatusConflict,
		"Send the original request again, or choose another Idempotency-Key.",
		FieldError{KeyHeader, "was already used with another body"})
}

// NotFound says that there is no such order.
func NotFound() *Problem {
	return newProblem("order-not-found", "There is no such order", http.StatusNotFound, "")
}

// TooLarge refuses a body of more than MaxBody bytes.
func TooLarge() *Problem {
	return newProblem("body-too-large", "The request is too large", http.StatusRequestEntityTooLarge,
		fmt.Sprintf("An order takes at most %d bytes.", MaxBody))
}

// Unavailable says that the request could not be carried out and may be
// repeated; it tells nothing of the reason, which is in the log.
func Unavailable() *Problem {
	return newProblem("unavailable", "The order could not be processed", http.StatusServiceUnavailable,
		"Nothing is known to have been stored. Repeat the request with the same Idempotency-Key.")
}
