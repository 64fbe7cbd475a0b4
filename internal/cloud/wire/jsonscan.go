package wire

import (
	"encoding/json"
	"unicode/utf8"
)

// A jsonScanner reads the parts of JSON that is known to be valid, so that it
// need not look for what else could be there. What it returns is a part of b
// where that is possible: it is copied by who keeps it.
type jsonScanner struct {
	b []byte
	i int
}

func (d *jsonScanner) space() {
	for d.i < len(d.b) {
		switch d.b[d.i] {
		case ' ', '\t', '\n', '\r':
			d.i++
		default:
			return
		}
	}
}

func (d *jsonScanner) peek() byte {
	d.space()
	return d.b[d.i]
}

// more goes to the next member of an object or element of a list, or past its end.
func (d *jsonScanner) more(end byte) bool {
	switch d.peek() {
	case end:
		d.i++
		return false
	case ',':
		d.i++
		d.space()
	}
	return true
}

// key reads the name of a member, with the colon after it.
func (d *jsonScanner) key() []byte {
	s := d.str()
	d.space()
	d.i++ // ':'
	return s
}

// str reads a string.
func (d *jsonScanner) str() []byte {
	d.space()
	text := d.b[d.i+1:]
	if n := unescaped(text); text[n] == '"' && utf8.Valid(text[:n]) {
		d.i += n + 2
		return text[:n]
	}
	var s string
	_ = json.Unmarshal(d.raw(), &s) // valid: checked as a whole before
	return []byte(s)
}

// unescaped is how many bytes at the beginning of a string stand for themselves.
func unescaped(b []byte) int {
	for i, ch := range b {
		if ch == '"' || ch == '\\' {
			return i
		}
	}
	return len(b)
}

// raw returns the text of the scalar at the position and moves past it.
func (d *jsonScanner) raw() []byte {
	d.space()
	start := d.i
	if d.b[d.i] == '"' {
		for d.i++; d.b[d.i] != '"'; d.i++ {
			if d.b[d.i] == '\\' {
				d.i++
			}
		}
		d.i++
		return d.b[start:d.i]
	}
	for d.i < len(d.b) && !endsScalar(d.b[d.i]) {
		d.i++
	}
	return d.b[start:d.i]
}

func endsScalar(ch byte) bool {
	switch ch {
	case ',', ']', '}', ' ', '\t', '\r', '\n', ':':
		return true
	}
	return false
}

// skip moves past one value of any kind.
func (d *jsonScanner) skip() {
	for depth := 0; ; {
		switch d.peek() {
		case '{', '[':
			depth++
			d.i++
		case '}', ']':
			depth--
			d.i++
		case ',', ':':
			d.i++
		default:
			d.raw()
		}
		if depth == 0 {
			return
		}
	}
}
