package order

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits of a request.
const (
	MaxBody     = 64 << 10 // bytes
	MaxName     = 200      // characters
	MaxEmail    = 254      // characters, as RFC 5321 has it
	MaxItems    = 20
	MaxQuantity = 1000
	MaxToken    = 64  // characters
	MaxKey      = 255 // characters
)

// KeyHeader is the request header with the idempotency key.
const KeyHeader = "Idempotency-Key"

// Request is the body of POST /orders.
type Request struct {
	Customer Customer `json:"customer"`
	Items    []Item   `json:"items"`
	Payment  Payment  `json:"payment"`
}

// Hash identifies what is ordered: equal requests have equal hashes, whatever
// the white space and the order of members in which they were sent.
func (r Request) Hash() string {
	text, err := json.Marshal(r)
	if err != nil { // strings and integers always marshal
		panic(fmt.Sprintf("marshal request: %v", err))
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// ParseRequest reads and checks the body of POST /orders. Its error is always
// a *Problem, and names every member at fault, not just the first.
func ParseRequest(body []byte) (Request, error) {
	if len(body) > MaxBody {
		return Request{}, TooLarge()
	}
	value, err := decode(body)
	if err != nil {
		return Request{}, BadRequest(FieldError{"", err.Error()})
	}
	var p parser
	r := p.request(value)
	if len(p.errs) > 0 {
		return Request{}, BadRequest(p.errs...)
	}
	return r, nil
}

// Validate checks a request made in this program by the same rules. Its error
// is a *Problem.
func (r Request) Validate() error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("marshal request: %w", err)
	}
	_, err = ParseRequest(text)
	return err
}

// CheckKey checks an Idempotency-Key. Its error is a *Problem.
func CheckKey(key string) error {
	switch {
	case key == "":
		return BadRequest(FieldError{KeyHeader, "must not be empty"})
	case len(key) > MaxKey:
		return BadRequest(FieldError{KeyHeader, fmt.Sprintf("must have at most %d characters", MaxKey)})
	}
	for _, c := range []byte(key) {
		if c < ' ' || c > '~' {
			return BadRequest(FieldError{KeyHeader, "must consist of printable ASCII characters"})
		}
	}
	return nil
}

// decode reads exactly one JSON value.
func decode(body []byte) (any, error) {
	if !utf8.Valid(body) {
		return nil, errors.New("must be valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // a float64 would round a quantity before it could be checked
	var value any
	if err := d.Decode(&value); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("must be a JSON object, but the body is empty")
		}
		return nil, errors.New("must be valid JSON: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("must be one JSON object with nothing after it")
	}
	return value, nil
}

func validEmail(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || strings.Contains(domain, "@") || !strings.Contains(domain, ".") ||
		strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(domain, "..") {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) })
}

// ValidSKU reports whether s has the shape of a stock keeping unit:
// ^[A-Z0-9][A-Z0-9-]{1,63}$.
func ValidSKU(s string) bool {
	if len(s) < 2 || len(s) > 64 || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
