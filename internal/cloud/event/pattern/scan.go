package pattern

import (
	"encoding/json"
	"strings"
)

// The kinds of tokens; brackets and braces are their own.
const (
	tokField  = 'f' // the name of a member
	tokString = 's'
	tokNumber = 'n'
	tokTrue   = 't'
	tokFalse  = 'F'
	tokNull   = '0'
)

// A scanner reads the tokens of a text that is known to be valid JSON. It
// knows where it stands as AWS's own parser does, because error messages say so.
type scanner struct {
	src  string
	i    int    // where the next token is looked for
	at   int    // where a message about the token says that it is
	end  int    // after a string's closing quote
	kind byte   // of the token
	raw  string // the token as it is written
}

// next moves to the next token.
func (s *scanner) next() byte {
	s.i += len(s.src[s.i:]) - len(strings.TrimLeft(s.src[s.i:], " \t\r\n,:"))
	rest := s.src[s.i:]
	switch rest[0] {
	case '{', '}', '[', ']':
		s.set(rest[0], 1)
	case 't':
		s.set(tokTrue, len("true"))
	case 'f':
		s.set(tokFalse, len("false"))
	case 'n':
		s.set(tokNull, len("null"))
	case '"':
		s.quoted(rest)
	default:
		n := strings.IndexAny(rest, " \t\r\n,]}")
		if n < 0 {
			n = len(rest)
		}
		s.set(tokNumber, n)
	}
	return s.kind
}

func (s *scanner) set(kind byte, n int) {
	s.kind, s.raw = kind, s.src[s.i:s.i+n]
	s.i += n
	s.at, s.end = s.i, s.i
}

// quoted takes a string or a name. AWS's parser reads strings lazily: about one
// whose text was not asked for yet, it is said to stand behind the opening
// quote; and about a name, behind the first token of its value.
func (s *scanner) quoted(rest string) {
	n := 1
	for rest[n] != '"' {
		if rest[n] == '\\' {
			n++
		}
		n++
	}
	open := s.i + 1
	s.set(tokString, n+1)
	s.at = open
	after := strings.TrimLeft(s.src[s.i:], " \t\r\n")
	if !strings.HasPrefix(after, ":") {
		return
	}
	value := scanner{src: s.src, i: len(s.src) - len(after)}
	if value.peek() == '"' {
		s.kind, s.at = tokField, value.i+1
		return
	}
	value.next()
	s.kind, s.at = tokField, value.at
}

// peek moves before the next token and returns its first character.
func (s *scanner) peek() byte {
	s.i += len(s.src[s.i:]) - len(strings.TrimLeft(s.src[s.i:], " \t\r\n,:"))
	return s.src[s.i]
}

// text is the token as a message shows it: a string without its quotes.
func (s *scanner) text() string {
	if s.kind != tokString && s.kind != tokField {
		return s.raw
	}
	if s.kind == tokString {
		s.at = s.end
	}
	var t string
	_ = json.Unmarshal([]byte(s.raw), &t) // a string of valid JSON is one
	return t
}

// value is the token as a matcher compares it: see [Decode].
func (s *scanner) value() any {
	switch s.kind {
	case tokTrue, tokFalse:
		return s.kind == tokTrue
	case tokNull:
		return nil
	case tokNumber:
		return json.Number(s.raw)
	}
	return s.text()
}

func (s *scanner) isLeaf() bool {
	switch s.kind {
	case tokString, tokNumber, tokTrue, tokFalse, tokNull:
		return true
	}
	return false
}
