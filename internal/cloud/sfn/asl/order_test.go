package asl

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// Wildcards and descents over objects select in the order of names: a workflow
// must not depend on chance.
func TestWildcardOrder(t *testing.T) {
	data, err := Decode([]byte(`{"o":{"f":6,"a":1,"e":5,"b":2,"d":4,"c":3},"p":{"o2":{"f":6,"a":1}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"$.o.*": `[1,2,3,4,5,6]`, "$..a": `[1,1]`, "$..f": `[6,6]`, "$.o['c','a']": `[3,1]`, "$.o[?(@ > 3)]": `[4,5,6]`,
		"$.*.o2.a": `[1]`, "$.p..*": `[{"a":1,"f":6},1,6]`,
	} {
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(path, err)
		}
		for range 20 {
			v, _ := p.get(&Env{}, data)
			if got := EncodeToString(v); got != want {
				t.Errorf("%s gives %s, want %s", path, got, want)
				break
			}
		}
	}
}

// Filters meet data of any type: whatever they find, they do not panic.
func TestArbitraryFilters(t *testing.T) {
	operand := rapid.SampledFrom([]string{"@", "@.a", "@.a.b", "@['a']", "@[0]", "@[*]", "@..a", "$", "$.a", "1", "-1.5", "'x'", "true", "null", "[1,2]", "/x/", "length(@.a)", "count(@)", "match(@.a, 'x')", "search(@, 'x')"})
	operator := rapid.SampledFrom([]string{"==", "!=", "<", ">", "<=", ">=", "&&", "||", "+", "-", "*", "/", "in", "empty", "has", "exists", "=~"})
	leaf := rapid.SampledFrom([]any{nil, true, int64(0), int64(7), 1.5, "x", "", []any{}, map[string]any{}, json.Number("1e999")})
	rapid.Check(t, func(t *rapid.T) {
		path := "$.l[?(" + operand.Draw(t, "left") + " " + operator.Draw(t, "operator") + " " + operand.Draw(t, "right") + ")]"
		p, err := ParsePath(path)
		if err != nil {
			return
		}
		list := []any{}
		for _, v := range rapid.SliceOfN(leaf, 1, 4).Draw(t, "list") {
			list = append(list, v, map[string]any{"a": v}, []any{v}, map[string]any{"a": map[string]any{"b": v}})
		}
		if v, ok := p.get(&Env{}, map[string]any{"l": list, "a": leaf.Draw(t, "a")}); !ok || v == nil {
			t.Fatal("a filter always gives a list")
		}
	})
}
