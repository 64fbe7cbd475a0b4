package asl

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// plainly is Decode as the standard library and the rule of numbers say it.
func plainly(text string) (any, bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	return ruled(v), true
}

func ruled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = ruled(x)
		}
	case []any:
		for i, x := range v {
			v[i] = ruled(x)
		}
	case json.Number:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil && v != "-0" {
			return i
		}
		if f, err := v.Float64(); err == nil {
			if same, _ := json.Marshal(f); string(same) == v.String() {
				return f
			}
		}
	}
	return v
}

// alike fails unless Decode takes a text as the standard library does.
func alike(t interface{ Fatalf(string, ...any) }, text string) {
	want, taken := plainly(text)
	got, err := Decode(text)
	if taken != (err == nil) {
		t.Fatalf("%q: taken by the standard library: %t; error: %v", text, taken, err)
	}
	// Encode tells 0 from -0, which are equal.
	if taken && (!reflect.DeepEqual(got, want) || !bytes.Equal(Encode(got), Encode(want))) {
		t.Fatalf("%q:\ngot  %#v\nwant %#v", text, got, want)
	}
	r := reader{text: text}
	if v, ok := r.document(); ok && (!taken || !reflect.DeepEqual(v, want)) {
		t.Fatalf("%q: read as %#v", text, v)
	}
}

// texts draws JSON as people and programs write it, and what is nearly JSON.
func texts(depth int) *rapid.Generator[string] {
	plain := rapid.OneOf(
		rapid.Map(values(0), EncodeToString),
		rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,8})?([eE][-+]?[0-9]{1,3})?`),
		rapid.StringMatching(`"([a-z\x01\x7fé𝄞]|\\["\\/bfnrtux]|\\u[0-9a-fD]{4}|\\ud83d\\ude00){0,5}"`),
		rapid.StringMatching(`[-+0-9.eE]{1,6}`),
		rapid.SampledFrom([]string{
			"", "nul", "nulll", "True", "-", "1.", ".5", "01", "-01", "1e", "1e+", "+1", "NaN", `"`, `"\`, `"\"`, `"\u12`, `"a`, "\"a\xffb\"", "\"\xed\xa0\x80\"",
			`"\ud800"`, `"\udc00\ud800"`, "\"\t\"", "\"\\\t\"", "\"\u2028\"", "9223372036854775807", "9223372036854775808", "-0", "-0.0", "1E400", "1e-400", "\ufeff1", "1\x00",
		}),
	)
	if depth == 0 {
		return plain
	}
	inner := texts(depth - 1)
	return rapid.Custom(func(t *rapid.T) string {
		space := rapid.SampledFrom([]string{"", "", "", " ", "\r\n\t", "\v", "\u00a0"})
		s := func() string { return space.Draw(t, "space") }
		comma := rapid.SampledFrom([]string{",", ",", ",", ",", ",", "", ",,", ":"})
		var b strings.Builder
		kind := rapid.IntRange(0, 2).Draw(t, "kind")
		b.WriteString(s() + []string{"", "[", "{"}[kind])
		for i := range rapid.IntRange(0, 4).Draw(t, "size") {
			if i > 0 {
				b.WriteString(s() + comma.Draw(t, "comma"))
			}
			if kind == 2 {
				b.WriteString(s() + rapid.SampledFrom([]string{`"a"`, `"b"`, `"\u0061"`, `"é"`, `""`, `1`}).Draw(t, "name") + s() + ":")
			}
			b.WriteString(s() + inner.Draw(t, "value"))
			if kind == 0 {
				break
			}
		}
		b.WriteString(s() + []string{"", "]", "}"}[kind] + s() + rapid.SampledFrom([]string{"", "", "", "", "]", "x", "1", ","}).Draw(t, "rest"))
		return b.String()
	})
}

func TestDecodeIsThatOfTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { alike(t, texts(3).Draw(t, "text")) })
	rapid.Check(t, func(t *rapid.T) { alike(t, EncodeToString(values(3).Draw(t, "value"))) })
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		``, ` { "a" : [ 1, -2.5e3, "x\u00e9\ud83d\ude00é" ], "a" : null } `, `[true,false,[],{},""]`, "\"a\xff\"", `1 2`, `[1,]`, `{"a"}`, `-0`, `1.0`, `12345678901234567890`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { alike(t, s) })
}

// However long or deep a text is, it is read as ever.
func TestDecodeOfLongAndDeepTexts(t *testing.T) {
	alike(t, `{"a":"`+strings.Repeat("x", maxShared)+`","b":[1.50,"y"]}`)
	for _, depth := range []int{quickDepth, quickDepth + 1, MaxDepth, MaxDepth + 1} {
		alike(t, strings.Repeat("[", depth)+strings.Repeat("]", depth))
		alike(t, strings.Repeat(`{"a":`, depth)+"1"+strings.Repeat("}", depth))
	}
}

// The common case needs no help.
func TestReaderReadsWhatIsCommon(t *testing.T) {
	for _, s := range []string{order, " [1, -2.5, \"caf\u00e9\", {\"a\\n\": null}]\n"} {
		r := reader{text: s}
		if _, ok := r.document(); !ok {
			t.Errorf("gives up on %s", s)
		}
	}
}

const order = `{"order_id":"ord_01","items":[{"sku":"MF-DRAGON-01","quantity":2}],"payment":{"token":"tok_visa"},"created_at":"2026-01-02T03:04:05.678Z"}`

func BenchmarkDecode(b *testing.B) {
	raw := []byte(order)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// What is not too deep can be read, and what is cannot.
func TestTooDeepIsWhatCannotBeRead(t *testing.T) {
	long := `"` + strings.Repeat(`\"[{`, MaxDepth) + `"` // brackets of a text do not count
	for _, depth := range []int{1, MaxDepth - 1, MaxDepth, MaxDepth + 1} {
		for _, leaf := range []string{"1", long, "[]"} {
			text := strings.Repeat(`[0,{"]":`, depth/2) + leaf + strings.Repeat("}]", depth/2)
			if _, err := Decode(text); TooDeep([]byte(text)) != (err != nil) {
				t.Errorf("%d levels around %.5s: too deep: %t, %v", depth/2*2, leaf, TooDeep([]byte(text)), err)
			}
		}
	}
}
