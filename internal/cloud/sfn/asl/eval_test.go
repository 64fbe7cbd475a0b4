package asl_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"miniforge/internal/cloud/sfn/asl"
)

func env() *asl.Env {
	return &asl.Env{
		Context: func() any { return map[string]any{"Execution": map[string]any{"Name": "run"}} },
		UUID:    func() string { return "u" },
		Random:  func() float64 { return 0.5 },
	}
}

// eval renders {"v.$": expression}.
func eval(t testing.TB, expression, data string) (string, error) {
	t.Helper()
	d, err := asl.Decode([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	bad := ""
	template := asl.ParseTemplate(map[string]any{"v.$": expression}, func(at, m string) { bad += at + " " + m })
	if bad != "" {
		t.Fatal(bad)
	}
	v, err := template.Eval(env(), d)
	if err != nil {
		return "", err
	}
	return string(asl.Encode(v.(map[string]any)["v"])), nil
}

func TestEval(t *testing.T) {
	for _, c := range []struct{ name, expression, data, want string }{
		{"root", "$", `{"a":1}`, `{"a":1}`},
		{"member", "$.a.b", `{"a":{"b":null}}`, `null`},
		{"brackets", "$['a b'][0]", `{"a b":[7]}`, `7`},
		{"from the end", "$.a[-1]", `{"a":[1,2]}`, `2`},
		{"wildcard", "$.a[*].x", `{"a":[{"x":1},{"x":2},{}]}`, `[1,2]`},
		{"wildcard finds nothing", "$.a[*].y", `{"a":[{"x":1}]}`, `[]`},
		{"slice", "$.a[0:2]", `{"a":[1,2,3]}`, `[1,2]`},
		{"filter", "$.a[?(@.x > 1)].x", `{"a":[{"x":1},{"x":2}]}`, `[2]`},
		{"filter that compares objects", "$.a[?(@ != @)]", `{"a":[{"x":1}]}`, `[]`},
		{"descent", "$..x", `{"a":{"x":1}}`, `[1]`},
		{"context", "$$.Execution.Name", `{}`, `"run"`},
		{"big integer", "$.n", `{"n":9007199254740993}`, `9007199254740993`},
		{"long fraction", "$.n", `{"n":1.10}`, `1.10`},
		{"format", "States.Format('{} is {}, \\{\\}', $.a, 3.5)", `{"a":"x"}`, `"x is 3.5, {}"`},
		{"format of an apostrophe", `States.Format('it\'s {}', null)`, `{}`, `"it's null"`},
		{"nested", "States.ArrayGetItem(States.StringSplit($.s, '-'), 1)", `{"s":"a-b--c"}`, `"b"`},
		{"partition", "States.ArrayPartition($.a, 2)", `{"a":[1,2,3]}`, `[[1,2],[3]]`},
		{"contains", "States.ArrayContains($.a, 2.0)", `{"a":[1,2,3]}`, `true`},
		{"range", "States.ArrayRange(1, 9, 4)", `{}`, `[1,5,9]`},
		{"range down", "States.ArrayRange(3, 1, -1)", `{}`, `[3,2,1]`},
		{"length", "States.ArrayLength($.a)", `{"a":[1,2,3]}`, `3`},
		{"unique", "States.ArrayUnique($.a)", `{"a":[1,"1",1,{"b":2},{"b":2}]}`, `[1,"1",{"b":2}]`},
		{"encode", "States.Base64Encode('Data to encode')", `{}`, `"RGF0YSB0byBlbmNvZGU="`},
		{"decode", "States.Base64Decode('RGVjb2RlZCBkYXRh')", `{}`, `"Decoded data"`},
		{"hash", "States.Hash('input data', 'SHA-1')", `{}`, `"aaff4a450a104cd177d28d18d74485e8cae074b7"`},
		{"merge", "States.JsonMerge($.a, $.b, false)", `{"a":{"x":1,"y":{"p":1}},"b":{"y":{"q":2}}}`, `{"x":1,"y":{"q":2}}`},
		{"random", "States.MathRandom(1, 999)", `{}`, `500`},
		{"add", "States.MathAdd($.a, -1)", `{"a":111}`, `110`},
		{"to JSON", "States.StringToJson($.s)", `{"s":"{\"a\":[1]}"}`, `{"a":[1]}`},
		{"to string", "States.JsonToString($)", `{"a":"<b>"}`, `"{\"a\":\"<b>\"}"`},
		{"array", "States.Array('a', 1, true, $.x)", `{"x":null}`, `["a",1,true,null]`},
		{"uuid", "States.UUID()", `{}`, `"u"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := eval(t, c.expression, c.data)
			if err != nil || got != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
}

func TestEvalFails(t *testing.T) {
	for _, c := range []struct{ name, expression, data, want string }{
		{"missing", "$.b", `{"a":1}`, `States.Runtime: The JSONPath '$.b' specified for the field 'v.$' could not be found in the input '{"a":1}'`},
		{"index too high", "$.a[1]", `{"a":[0]}`, "States.Runtime"},
		{"too few arguments", "States.Format('{} {}', 1)", `{}`, "States.IntrinsicFailure"},
		{"object formatted", "States.Format('{}', $)", `{}`, "States.IntrinsicFailure"},
		{"endless range", "States.ArrayRange(0, 5000, 1)", `{}`, "1000 elements"},
		{"no step", "States.ArrayRange(0, 5, 0)", `{}`, "zero"},
		{"no chunk", "States.ArrayPartition($, 0)", `[1]`, "positive"},
		{"deep merge", "States.JsonMerge($, $, true)", `{}`, "shallow"},
		{"unknown hash", "States.Hash('x', 'CRC')", `{}`, "algorithm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := eval(t, c.expression, c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestChoice(t *testing.T) {
	for _, c := range []struct {
		name, rule, data string
		want             bool
	}{
		{"string equals", `"Variable":"$.a","StringEquals":"x"`, `{"a":"x"}`, true},
		{"another type", `"Variable":"$.a","StringEquals":"1"`, `{"a":1}`, false},
		{"string less", `"Variable":"$.a","StringLessThan":"b"`, `{"a":"a"}`, true},
		{"by path", `"Variable":"$.a","NumericGreaterThanEqualsPath":"$.b"`, `{"a":2,"b":2.0}`, true},
		{"big numbers", `"Variable":"$.a","NumericLessThan":9007199254740993`, `{"a":9007199254740992}`, true},
		{"time", `"Variable":"$.a","TimestampLessThan":"2026-01-01T00:00:00Z"`, `{"a":"2025-12-31T23:59:59.5Z"}`, true},
		{"time in another zone", `"Variable":"$.a","TimestampEquals":"2026-01-01T00:00:00Z"`, `{"a":"2026-01-01T01:00:00+01:00"}`, true},
		{"boolean", `"Variable":"$.a","BooleanEquals":false`, `{"a":false}`, true},
		{"glob", `"Variable":"$.a","StringMatches":"log-*.txt"`, `{"a":"log-1.txt"}`, true},
		{"escaped star", `"Variable":"$.a","StringMatches":"a\\*"`, `{"a":"ab"}`, false},
		{"present", `"Variable":"$.a","IsPresent":true`, `{"a":null}`, true},
		{"absent", `"Variable":"$.b.c","IsPresent":false`, `{"a":null}`, true},
		{"null", `"Variable":"$.a","IsNull":true`, `{"a":null}`, true},
		{"is string", `"Variable":"$.a","IsString":false`, `{"a":1}`, true},
		{"is numeric", `"Variable":"$.a","IsNumeric":true`, `{"a":1.5}`, true},
		{"is timestamp", `"Variable":"$.a","IsTimestamp":true`, `{"a":"2026-01-01t00:00:00z"}`, false},
		{"and", `"And":[{"Variable":"$.a","IsPresent":true},{"Variable":"$.a","NumericEquals":1}]`, `{"a":1}`, true},
		{"and stops early", `"And":[{"Variable":"$.b","IsPresent":true},{"Variable":"$.b","NumericEquals":1}]`, `{}`, false},
		{"or", `"Or":[{"Variable":"$.a","NumericEquals":2},{"Variable":"$.a","NumericEquals":1}]`, `{"a":1}`, true},
		{"not", `"Not":{"Variable":"$.a","NumericEquals":2}`, `{"a":1}`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, found := asl.Parse([]byte(`{"StartAt":"C","States":{"C":{"Type":"Choice","Choices":[{` + c.rule + `,"Next":"Yes"}],"Default":"No"},"Yes":{"Type":"Succeed"},"No":{"Type":"Succeed"}}}`))
			if m == nil {
				t.Fatal(found)
			}
			data, err := asl.Decode([]byte(c.data))
			if err != nil {
				t.Fatal(err)
			}
			next, err := m.States["C"].Choose(env(), data)
			if err != nil || (next == "Yes") != c.want {
				t.Errorf("went to %s, %v", next, err)
			}
		})
	}
}

// Whatever is written and read again is the same.
func TestDecodeEncodeKeepsValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := map[string]any{
			"i": rapid.Int64().Draw(t, "i"), "f": rapid.Float64().Draw(t, "f"), "s": rapid.String().Draw(t, "s"),
			"a": []any{rapid.Bool().Draw(t, "b"), nil},
		}
		once := asl.Encode(v)
		back, err := asl.Decode(once)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(asl.Encode(back)); got != string(once) {
			t.Fatalf("%s became %s", once, got)
		}
	})
}

// Bad input never panics, neither in reading nor in evaluating.
func TestArbitraryExpressions(t *testing.T) {
	part := rapid.SampledFrom([]string{"$", ".a", "[0]", "[*]", "..", "States.Format(", "'", "{}", ")", ",", " 1", "States.Array(", "[?(@.a==1)]", "\\", "[", "]", "$$", "null"})
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOfN(part, 0, 8).Draw(t, "parts"), "")
		template := asl.ParseTemplate(map[string]any{"v.$": s}, func(string, string) {})
		if _, err := template.Eval(env(), map[string]any{"a": []any{int64(1)}}); err != nil && err.Error() == "" {
			t.Fatal("an error says nothing")
		}
	})
}
