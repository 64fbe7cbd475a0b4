package wire

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestStringsAgreeWithEncodingJSON compares both ways: what is written of any
// text, and what is read of it.
func TestStringsAgreeWithEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching("[a<>&\"\\\\\u2028\u2029\ufffdé\x00-\x1f\x7f]*"),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
		got := appendString(nil, s)
		if text := bytes.TrimSuffix(want.Bytes(), []byte("\n")); !bytes.Equal(got, text) {
			t.Fatalf("%q is written as %s, want %s", s, got, text)
		}
		d := jsonScanner{b: got}
		if back := string(d.str()); back != s && utf8.ValidString(s) || d.i != len(got) {
			t.Fatalf("%s is read as %q, want %q", got, back, s)
		}
	})
}
