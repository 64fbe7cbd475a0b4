package pattern

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// An InvalidError says why a text is no pattern, in the words of AWS.
type InvalidError struct {
	Reason string
	// Syntax says that the text is not even JSON.
	Syntax bool
	// Line and Column, both from 1, are where; 0 where AWS does not say.
	Line, Column int

	source string
}

// Error is the message as EventBridge gives it.
func (e *InvalidError) Error() string {
	return "Event pattern is not valid. Reason: " + e.Reason + e.Where()
}

// shownSource is how much of a source a message quotes, in characters.
const shownSource = 500

// Where is the place as AWS appends it to a reason; "" if it is not known.
func (e *InvalidError) Where() string {
	if e.Line == 0 {
		return ""
	}
	source, cut := e.source, ""
	if r := []rune(source); len(r) > shownSource {
		source, cut = string(r[:shownSource]), fmt.Sprintf("[truncated %d chars]", len(r)-shownSource)
	}
	return fmt.Sprintf("\n at [Source: (String)\"%s\"%s; line: %d, column: %d]", source, cut, e.Line, e.Column)
}

// invalidAt makes an error about the character before offset.
func invalidAt(source string, offset int, format string, args ...any) *InvalidError {
	before := source[:offset]
	line := strings.Count(before, "\n") + 1
	column := len(utf16.Encode([]rune(before[strings.LastIndexByte(before, '\n')+1:]))) + 1
	return &InvalidError{Reason: fmt.Sprintf(format, args...), Line: line, Column: column, source: source}
}

const anyValue = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"

// checkSyntax refuses what is not one JSON text.
func checkSyntax(source string) error {
	var v json.RawMessage
	err := json.Unmarshal([]byte(source), &v)
	if err == nil {
		return nil
	}
	bad, ok := errors.AsType[*json.SyntaxError](err)
	if !ok || bad.Offset < 1 || bad.Offset > int64(len(source)) || strings.Contains(bad.Error(), "unexpected end") {
		e := invalidAt(source, len(source), "Unexpected end-of-input")
		e.Syntax = true
		return e
	}
	e := syntaxError(source, int(bad.Offset)-1)
	e.Syntax = true
	return e
}

// syntaxError words what is wrong with the character at offset.
func syntaxError(source string, offset int) *InvalidError {
	start := offset // of the word that the character is in
	for start > 0 && isWord(rune(source[start-1])) {
		start--
	}
	before := strings.TrimRight(source[:start], " \t\r\n")
	wantsName := strings.HasSuffix(before, "{")
	if r, _ := utf8.DecodeRuneInString(source[start:]); isWord(r) && !unicode.IsDigit(r) && !wantsName {
		end := start + strings.IndexFunc(source[start:]+" ", func(r rune) bool { return !isWord(r) })
		return invalidAt(source, end, "Unrecognized token '%s': was expecting %s", source[start:end], anyValue)
	}
	r, _ := utf8.DecodeRuneInString(source[offset:])
	want := "was expecting comma to separate Object entries"
	switch {
	case wantsName:
		want = "was expecting double-quote to start field name"
	case before == "" || strings.HasSuffix(before, ":") || strings.HasSuffix(before, "["), strings.HasSuffix(before, ","):
		want = "expected a valid value " + anyValue
	}
	return invalidAt(source, offset, "Unexpected character ('%c' (code %d)): %s", r, r, want)
}

func isWord(r rune) bool {
	return r == '_' || r == '$' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}
