package jsontext

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// TestStringsAreThoseOfTheStandardLibrary compares with encoding/json, and what
// was there before stays.
func TestStringsAreThoseOfTheStandardLibrary(t *testing.T) {
	odd := rapid.SampledFrom([]string{"", "\u2028", "\u2029", "a\xffb", "é", "\xe2\x80", "\ufffd", "\x7f", "😀", "\x80<"})
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z<>&"\\\x00-\x1f\x7f]{0,12}`), odd).Draw(t, "string") + odd.Draw(t, "end")
		for _, escapeHTML := range []bool{true, false} {
			want := bytes.NewBufferString("before")
			e := json.NewEncoder(want)
			e.SetEscapeHTML(escapeHTML)
			if err := e.Encode(s); err != nil {
				t.Fatal(err)
			}
			if got := AppendString([]byte("before"), s, escapeHTML); string(got)+"\n" != want.String() {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
		}
	})
}

func BenchmarkAppendString(b *testing.B) {
	const document = `{"order_id":"ord_01m8hes3ehy521fb5em8r371pr","items":[{"sku":"MF-DRAGON-01","quantity":2}],"name":"Ada"}`
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendString(buf[:0], document, true)
	}
}
