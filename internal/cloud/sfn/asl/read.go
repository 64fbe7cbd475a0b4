package asl

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Decode reads one JSON text. Numbers become int64 or float64, as paths and
// comparisons need them; those that either would change in writing stay a
// [json.Number], so that what only passes through keeps its digits.
func Decode[T ~string | ~[]byte](raw T) (any, error) {
	r := reader{text: string(raw)}
	if v, ok := r.document(); ok {
		return v, nil
	}
	return decodeSlowly(r.text)
}

// decodeSlowly is Decode by [encoding/json]. It has the word on what is refused
// and with which message.
func decodeSlowly(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("read JSON: text after the value")
	}
	return numbers(v), nil
}

func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = numbers(x)
		}
	case []any:
		for i, x := range v {
			v[i] = numbers(x)
		}
	case json.Number:
		return number(v.String())
	}
	return v
}

// number is the value of a number's text.
func number(s string) any {
	if !strings.ContainsAny(s, ".eE") && s != "-0" {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i
		}
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		var digits [32]byte
		if string(appendFloat(digits[:0], f)) == s {
			return f
		}
	}
	return json.Number(s)
}

// MaxDepth is how deep arrays and objects may be nested for [Decode], as for
// [encoding/json].
const MaxDepth = 10_000

// TooDeep tells whether what [Encode] wrote is nested too deeply to be read by
// [Decode].
func TooDeep(raw []byte) bool {
	// What is opened is closed: a short text cannot be. Of a long one, which is
	// rare, nothing else can be wrong.
	return len(raw) > 2*MaxDepth && !json.Valid(raw)
}

const (
	// maxShared is how long a text may be whose parts the values are: a value
	// that is kept holds on to all of it.
	maxShared = 4 << 10
	// quickDepth is how deep they may be nested for a reader.
	quickDepth = 500
)

// A reader reads JSON by recursive descent, without reflection and without the
// second walk that the numbers would need. It takes no text that
// [encoding/json] refuses; on some that it takes, which are rare, it gives up.
// Its methods return false for that.
type reader struct {
	text  string
	i     int
	depth int
}

func (r *reader) document() (v any, ok bool) {
	r.space()
	if v, ok = r.value(); !ok {
		return nil, false
	}
	r.space()
	return v, r.i == len(r.text)
}

func (r *reader) space() {
	for r.i < len(r.text) {
		switch r.text[r.i] {
		case ' ', '\n', '\t', '\r':
			r.i++
		default:
			return
		}
	}
}

// next skips c and the white space after it, if c is next.
func (r *reader) next(c byte) bool {
	if r.i == len(r.text) || r.text[r.i] != c {
		return false
	}
	r.i++
	r.space()
	return true
}

func (r *reader) value() (v any, ok bool) {
	if r.i == len(r.text) {
		return nil, false
	}
	switch r.text[r.i] {
	case '{', '[':
		return r.nested()
	case '"':
		return r.string()
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'n':
		return nil, r.word("null")
	}
	return r.number()
}

// nested reads an object or an array.
func (r *reader) nested() (v any, ok bool) {
	if r.depth++; r.depth > quickDepth {
		return nil, false
	}
	if r.next('{') {
		v, ok = r.object()
	} else {
		r.next('[')
		v, ok = r.array()
	}
	r.depth--
	return v, ok
}

func (r *reader) word(w string) bool {
	if !strings.HasPrefix(r.text[r.i:], w) {
		return false
	}
	r.i += len(w)
	return true
}

// object reads what follows "{".
func (r *reader) object() (any, bool) {
	m := map[string]any{}
	if r.next('}') {
		return m, true
	}
	for {
		name, ok := r.string()
		if r.space(); !ok || !r.next(':') {
			return nil, false
		}
		v, ok := r.value()
		if !ok {
			return nil, false
		}
		m[name] = v
		r.space()
		if r.next('}') {
			return m, true
		}
		if !r.next(',') {
			return nil, false
		}
	}
}

// array reads what follows "[".
func (r *reader) array() (any, bool) {
	a := []any{}
	if r.next(']') {
		return a, true
	}
	for {
		v, ok := r.value()
		if !ok {
			return nil, false
		}
		a = append(a, v)
		r.space()
		if r.next(']') {
			return a, true
		}
		if !r.next(',') {
			return nil, false
		}
	}
}

// string reads a string; [encoding/json] does so where it is not what it looks like.
func (r *reader) string() (string, bool) {
	if r.i == len(r.text) || r.text[r.i] != '"' {
		return "", false
	}
	begin := r.i
	escaped, ascii := false, true
	for r.i++; r.i < len(r.text); r.i++ {
		switch c := r.text[r.i]; {
		case c == '"':
			r.i++
			s := r.text[begin+1 : r.i-1]
			if !escaped && (ascii || utf8.ValidString(s)) {
				return r.kept(s), true
			}
			err := json.Unmarshal([]byte(r.text[begin:r.i]), &s)
			return s, err == nil
		case c == '\\':
			escaped = true
			r.i++
		case c < ' ':
			return "", false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", false
}

// kept is a part of the text as a value may hold it.
func (r *reader) kept(s string) string {
	if len(r.text) > maxShared {
		return strings.Clone(s)
	}
	return s
}

func (r *reader) number() (any, bool) {
	begin := r.i
	r.sign("-")
	if !r.word("0") && !r.digits() {
		return nil, false
	}
	if r.word(".") && !r.digits() {
		return nil, false
	}
	if r.word("e") || r.word("E") {
		r.sign("+-")
		if !r.digits() {
			return nil, false
		}
	}
	return number(r.kept(r.text[begin:r.i])), true
}

// sign skips one of the signs.
func (r *reader) sign(signs string) {
	if r.i < len(r.text) && strings.IndexByte(signs, r.text[r.i]) >= 0 {
		r.i++
	}
}

// digits skips one or more digits.
func (r *reader) digits() bool {
	begin := r.i
	for r.i < len(r.text) && r.text[r.i] >= '0' && r.text[r.i] <= '9' {
		r.i++
	}
	return r.i > begin
}
