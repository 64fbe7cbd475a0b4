package attr

import (
	"bytes"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestNumberForms(t *testing.T) {
	for in, want := range map[string]string{
		"3": "3", "-7.1234": "-7.1234", "-17e5": "-1700000", "-17.4E37": "-174000000000000000000000000000000000000", "+3": "3", ".123": "0.123",
		"0001.23": "1.23", "1e+5": "100000", "0e1000": "0", "-0": "0", "0.0": "0", "100": "100", "1.": "1", "5e-3": "0.005", "-": "", "": "", "1e": "", "e5": "",
		"NaN": "", "Infinity": "", " 1": "", "1 ": "", "--1": "", "1.2.3": "", ".": "", "1e99999999999999999999": "", "0e99999999999999999999": "0",
		strings.Repeat("9", 38): strings.Repeat("9", 38), "1e125": "1" + strings.Repeat("0", 125), "1e-130": "0." + strings.Repeat("0", 129) + "1",
	} {
		got := ""
		if n, err := ParseNumber(in); err == nil {
			got = n.String()
		}
		if got != want {
			t.Errorf("ParseNumber(%q) = %q, want %q", in, got, want)
		}
	}
}

// decimals generates legal numbers.
var decimals = rapid.Custom(func(t *rapid.T) string {
	digits := rapid.StringMatching(`-?[0-9]{1,30}(\.[0-9]{1,8})?`).Draw(t, "digits")
	return digits + rapid.SampledFrom([]string{"", "e0", "e5", "e-7", "E+60", "e-90"}).Draw(t, "exponent")
})

func rational(t *rapid.T, s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("math/big does not read %q", s)
	}
	return r
}

func TestNumbersAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := decimals.Draw(t, "a"), decimals.Draw(t, "b")
		x, err := ParseNumber(a)
		if err != nil {
			t.Fatal(err)
		}
		y, err := ParseNumber(b)
		if err != nil {
			t.Fatal(err)
		}
		ra, rb := rational(t, a), rational(t, b)
		if rational(t, x.String()).Cmp(ra) != 0 {
			t.Errorf("%s became %s", a, x)
		}
		if got, want := x.Compare(y), ra.Cmp(rb); got != want {
			t.Errorf("%s compared with %s is %d, want %d", a, b, got, want)
		}
		if got, want := bytes.Compare(x.appendOrdered(nil), y.appendOrdered(nil)), ra.Cmp(rb); got != want {
			t.Errorf("stored keys of %s and %s compare as %d, want %d", a, b, got, want)
		}
		if sum, err := x.Add(y); err == nil && rational(t, sum.String()).Cmp(new(big.Rat).Add(ra, rb)) != 0 {
			t.Errorf("%s + %s = %s", a, b, sum)
		}
	})
}

func TestSumsOutOfRange(t *testing.T) {
	for name, c := range map[string][2]string{"too large": {"9e125", "9e125"}, "too many digits": {"1e50", "1"}} {
		x, _ := ParseNumber(c[0])
		y, _ := ParseNumber(c[1])
		if s, err := x.Add(y); err == nil {
			t.Errorf("%s: %s + %s = %s, want an error", name, c[0], c[1], s)
		}
	}
}

// anyValue generates values of every type.
var anyValue = valuesOf(3)

func valuesOf(depth int) *rapid.Generator[Value] {
	text := rapid.StringMatching(`[a-c\x00\xff]{0,4}`)
	all := []*rapid.Generator[Value]{
		rapid.Map(text, func(s string) Value { return &S{Value: s} }),
		rapid.Map(decimals, func(s string) Value { n, _ := ParseNumber(s); return &N{Value: n.String()} }),
		rapid.Map(text, func(s string) Value { return &B{Value: []byte(s)} }),
		rapid.Just[Value](&Null{Value: true}),
		rapid.Map(rapid.Bool(), func(b bool) Value { return &Bool{Value: b} }),
		rapid.Map(rapid.SliceOfNDistinct(text, 1, 3, rapid.ID), func(s []string) Value { return &SS{Value: s} }),
		rapid.Map(rapid.SliceOfNDistinct(rapid.IntRange(0, 99), 1, 3, rapid.ID), func(s []int) Value {
			n := &NS{}
			for _, i := range s {
				n.Value = append(n.Value, big.NewInt(int64(i)).String())
			}
			return n
		}),
	}
	if depth > 0 {
		inner := valuesOf(depth - 1)
		all = append(all,
			rapid.Map(rapid.SliceOfN(inner, 0, 3), func(l []Value) Value { return &L{Value: l} }),
			rapid.Map(rapid.MapOfN(text, inner, 0, 3), func(m map[string]Value) Value { return &M{Value: m} }))
	}
	return rapid.OneOf(all...)
}

func TestItemsSurviveStorage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		item := rapid.MapOfN(rapid.StringMatching(`[a-z]{1,5}`), anyValue, 0, 5).Draw(t, "item")
		b := Append(nil, item)
		got, rest, err := Decode(append(b, "rest"...))
		if err != nil || rest != "rest" || !EqualItems(item, got) {
			t.Errorf("decoded %v, rest %q, error %v", got, rest, err)
		}
		if !EqualItems(item, CloneItem(item)) {
			t.Error("a clone differs")
		}
		if bytes.Equal(AppendSorted(nil, item), AppendSorted(nil, Item{"other": &S{}})) {
			t.Error("digests of different items are equal")
		}
		if n := rapid.IntRange(0, max(0, len(b)-1)).Draw(t, "cut"); n > 0 {
			if _, _, err := Decode(b[:n]); err == nil {
				t.Error("a cut item decodes")
			}
		}
	})
}

func TestDamagedItemsAreRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, _, _ = Decode(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) // must not panic
	})
}

func TestKeysKeepOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a\x00\x01\xff]{0,5}`)
		a, b := text.Draw(t, "a"), text.Draw(t, "b")
		x, y := AppendOrdered(nil, &S{Value: a}), AppendOrdered(nil, &S{Value: b})
		// Whatever follows must not change the order.
		x, y = append(x, text.Draw(t, "after a")...), append(y, text.Draw(t, "after b")...)
		if want := strings.Compare(a, b); want != 0 && bytes.Compare(x, y) != want {
			t.Errorf("keys of %q and %q compare as %d, want %d", a, b, bytes.Compare(x, y), want)
		}
		if p := AppendPrefix(nil, &S{Value: b}); strings.HasPrefix(a, b) != bytes.HasPrefix(AppendOrdered(nil, &S{Value: a}), p) {
			t.Errorf("prefix %q of %q is not one of its key", b, a)
		}
	})
}

func TestSizes(t *testing.T) {
	for name, c := range map[string]struct {
		v    Value
		want int
	}{
		"string": {&S{Value: "äb"}, 3}, "number": {&N{Value: "12345"}, 4}, "negative": {&N{Value: "-1"}, 3}, "zero": {&N{Value: "0"}, 1}, "null": {&Null{Value: true}, 1},
		"list": {&L{Value: []Value{&S{Value: "ab"}, &Bool{}}}, 3 + 2 + 3}, "map": {&M{Value: Item{"k": &S{Value: "v"}}}, 3 + 1 + 2}, "set": {&SS{Value: []string{"a", "bc"}}, 3},
	} {
		if got := Size(c.v); got != c.want {
			t.Errorf("%s: size %d, want %d", name, got, c.want)
		}
	}
}
