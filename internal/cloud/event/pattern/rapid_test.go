package pattern

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// event draws an object of some depth whose leaves are texts and numbers.
func event(t *rapid.T, depth int) map[string]any {
	obj := map[string]any{}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-e]{1,3}`), 1, 4, rapid.ID[string]).Draw(t, "names") {
		switch k := rapid.IntRange(0, 3).Draw(t, "kind"); {
		case k == 0 && depth > 0:
			obj[name] = event(t, depth-1)
		case k == 1:
			obj[name] = rapid.IntRange(-50, 50).Draw(t, "number")
		default:
			obj[name] = rapid.StringMatching(`[a-c]{2,6}`).Draw(t, "text")
		}
	}
	return obj
}

// describe makes a pattern that the event matches. If spoil, one leaf is
// described wrongly: spoilt tells whether that was done.
func describe(t *rapid.T, obj map[string]any, spoil bool) (pattern map[string]any, spoilt bool) {
	pattern = map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		switch v := obj[name].(type) {
		case map[string]any:
			inner, done := describe(t, v, spoil && !spoilt)
			pattern[name], spoilt = inner, spoilt || done
		case string:
			pattern[name] = []any{describeText(t, v, spoil && !spoilt)}
			spoilt = spoilt || spoil
		case int:
			pattern[name] = []any{describeNumber(t, v, spoil && !spoilt)}
			spoilt = spoilt || spoil
		}
	}
	return pattern, spoilt
}

func describeText(t *rapid.T, v string, wrong bool) any {
	if wrong {
		return rapid.SampledFrom([]any{
			v + "x", map[string]any{"prefix": "x" + v}, map[string]any{"suffix": v + "x"}, map[string]any{"anything-but": v}, map[string]any{"exists": false},
			map[string]any{"wildcard": v + "*x"}, map[string]any{"numeric": []any{">", -1000}}, map[string]any{"anything-but": map[string]any{"prefix": []string{v[:1]}}},
			map[string]any{"equals-ignore-case": v[1:]}, 1, nil, map[string]any{"cidr": "0.0.0.0/0"},
		}).Draw(t, "wrong")
	}
	i := rapid.IntRange(0, len(v)).Draw(t, "at")
	return rapid.SampledFrom([]any{
		v, map[string]any{"prefix": v[:i]}, map[string]any{"suffix": v[i:]}, map[string]any{"anything-but": []any{v + "x", 1}}, map[string]any{"exists": true},
		map[string]any{"wildcard": v[:i] + "*"}, map[string]any{"wildcard": v[:i] + "*" + v[i:]}, map[string]any{"equals-ignore-case": strings.ToUpper(v)},
		map[string]any{"anything-but": map[string]any{"suffix": "x"}}, map[string]any{"suffix": map[string]any{"equals-ignore-case": strings.ToUpper(v[i:])}},
	}).Draw(t, "right")
}

func describeNumber(t *rapid.T, v int, wrong bool) any {
	if wrong {
		return rapid.SampledFrom([]any{
			v + 1, fmt.Sprint(v), map[string]any{"numeric": []any{">", v}}, map[string]any{"numeric": []any{">=", v + 1, "<", v + 9}}, map[string]any{"anything-but": v}, map[string]any{"prefix": ""},
		}).Draw(t, "wrong")
	}
	return rapid.SampledFrom([]any{
		v, json.Number(fmt.Sprintf("%d.0", v)), map[string]any{"numeric": []any{"=", v}}, map[string]any{"numeric": []any{">=", v, "<", v + 1}}, map[string]any{"anything-but": []any{fmt.Sprint(v)}},
	}).Draw(t, "right")
}

// What describes an event in any of the language's ways matches it, and one
// wrong word about it does not.
func TestDescriptionsMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := event(t, 3)
		spoil := rapid.Bool().Draw(t, "spoil")
		d, spoilt := describe(t, e, spoil)
		source, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Compile(string(source))
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Match(text)
		if err != nil || got == spoilt {
			t.Errorf("%s on %s: %v, %v", source, text, got, err)
		}
	})
}

// Wildcards mean what the same regular expression means.
func TestWildcardsAreRegularExpressions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.StringMatching(`[ab]{1,3}`), 1, 4).Draw(t, "parts")
		s := rapid.StringMatching(`[ab]{0,12}`).Draw(t, "text")
		m, err := wildcard(strings.Join(parts, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if want := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(s); m(s) != want {
			t.Errorf("%q on %q: %v", parts, s, !want)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	p, err := Compile(`{"source":["miniforge.orders"],"detail-type":["OrderPlaced"]}`)
	if err != nil {
		b.Fatal(err)
	}
	v, err := Decode([]byte(`{"source":"miniforge.orders","detail-type":"OrderPlaced","detail":{"order_id":"ord_1","items":[{"sku":"MF-DRAGON-01","quantity":1}]}}`))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !p.MatchValue(v) {
			b.Fatal("no match")
		}
	}
}
