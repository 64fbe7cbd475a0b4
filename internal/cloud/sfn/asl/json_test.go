package asl

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// values draws what Decode can make, and texts that it cannot.
func values(depth int) *rapid.Generator[any] {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z<>&"\\]{0,12}`), rapid.SampledFrom([]string{"", "\u2028", "a\xffb", "\x7f", "é", "\n"}))
	plain := rapid.OneOf(
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), toAny[bool]), rapid.Map(rapid.Int64(), toAny[int64]), rapid.Map(text, toAny[string]),
		rapid.Map(rapid.Float64Range(-1e30, 1e30), toAny[float64]), rapid.Map(rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64), toAny[float64]),
		rapid.Map(rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1e-6, 9.9e-7, 1e-9, 1e-10, 1e20, 1e21, 1e22, 5e-324, math.MaxFloat64}), toAny[float64]), rapid.Map(rapid.SampledFrom([]json.Number{"1.0", "-0", "12345678901234567890"}), toAny[json.Number]),
		rapid.Just[any](map[string]any(nil)), rapid.Just[any]([]any(nil)), rapid.Just[any](map[string]string{"k": "<v>"}), rapid.Just[any](42),
	)
	if depth == 0 {
		return plain
	}
	inner := values(depth - 1)
	return rapid.OneOf(plain, rapid.Map(rapid.SliceOfN(inner, 0, 5), toAny[[]any]), rapid.Map(rapid.MapOfN(text, inner, 0, 20), toAny[map[string]any]))
}

func toAny[V any](v V) any { return v }

func TestEncodeIsThatOfTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := values(3).Draw(t, "value")
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		if got := Encode(v); string(got)+"\n" != want.String() {
			t.Fatalf("got  %s\nwant %s", got, want.Bytes())
		}
		if got := EncodeToString(v); got+"\n" != want.String() {
			t.Fatalf("as a string: %s", got)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	v, err := Decode(order)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		Encode(v)
	}
}
