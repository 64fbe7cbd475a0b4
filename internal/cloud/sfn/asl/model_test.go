package asl

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// What a reference path has set, it gets; all else is as it was.
func TestSetThenGet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c d"}), 1, 4).Draw(t, "way")
		p, err := ParseReference("$['" + strings.Join(names, "']['") + "']")
		if err != nil {
			t.Fatal(err)
		}
		data := map[string]any{"keep": int64(1), "a": map[string]any{"keep": int64(2)}}
		before := EncodeToString(data)
		out, err := p.set(data, "new")
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.get(&Env{}, out); !ok || got != "new" {
			t.Fatalf("got %v from %s", got, Encode(out))
		}
		if out.(map[string]any)["keep"] != int64(1) || EncodeToString(data) != before {
			t.Fatalf("more has changed: %s, input %s", Encode(out), Encode(data))
		}
	})
}

// StringMatches agrees with the regular expression that its pattern stands for.
func TestGlobIsItsExpression(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune("ab*\\")), 0, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		s, pattern := text.Draw(t, "s"), text.Draw(t, "pattern")
		var e strings.Builder
		for i := 0; i < len(pattern); i++ {
			switch {
			case pattern[i] == '\\' && i+1 < len(pattern):
				i++
				e.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
			case pattern[i] == '*':
				e.WriteString(".*")
			default:
				e.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
			}
		}
		if want := regexp.MustCompile("^" + e.String() + "$").MatchString(s); glob(s, pattern) != want {
			t.Fatalf("%q against %q: want %v", s, pattern, want)
		}
	})
}

// Cutting a list in parts loses nothing.
func TestPartitionKeepsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list []any
		for _, i := range rapid.SliceOf(rapid.Int64()).Draw(t, "list") {
			list = append(list, i)
		}
		n := rapid.Int64Range(1, 5).Draw(t, "size")
		v, err := arrayPartition(nil, []any{append([]any{}, list...), n})
		if err != nil {
			t.Fatal(err)
		}
		var joined []any
		for _, part := range v.([]any) {
			if p := part.([]any); len(p) == 0 || int64(len(p)) > n {
				t.Fatalf("a part of %d", len(p))
			}
			joined = append(joined, part.([]any)...)
		}
		if !equal(joined, list) {
			t.Fatalf("%v became %v", list, joined)
		}
	})
}

// Whatever stands in a state's fields, reading never panics, and what is
// refused is refused with a reason.
func TestArbitraryDefinitions(t *testing.T) {
	fields := rapid.SampledFrom([]string{
		"Type", "Next", "End", "Resource", "Parameters", "Retry", "Catch", "ErrorEquals", "Choices", "And", "Not", "Variable", "StringEquals",
		"IsNull", "Branches", "ItemProcessor", "ItemsPath", "StartAt", "States", "ResultPath", "Seconds", "TimestampPath", "x.$", "MaxConcurrency", "ProcessorConfig",
	})
	leaf := rapid.OneOf(
		rapid.Just(any(nil)), rapid.Just(any(true)), rapid.Just(any(int64(-1))), rapid.Just(any(1.5)),
		rapid.Map(rapid.SampledFrom([]string{"Task", "Map", "Choice", "Parallel", "Wait", "$.a", "$..", "$", "A", "States.UUID()", "", "arn:aws:states:::a:b", "States.ALL"}), func(s string) any { return s }),
	)
	var value func(depth int) *rapid.Generator[any]
	value = func(depth int) *rapid.Generator[any] {
		if depth == 0 {
			return leaf
		}
		return rapid.OneOf(leaf,
			rapid.Map(rapid.SliceOfN(value(depth-1), 0, 3), func(a []any) any { return a }),
			rapid.Map(rapid.MapOfN(fields, value(depth-1), 0, 6), func(m map[string]any) any { return m }))
	}
	rapid.Check(t, func(t *rapid.T) {
		state := rapid.MapOfN(fields, value(4), 0, 8).Draw(t, "state")
		state["Type"] = rapid.SampledFrom([]any{"Task", "Map", "Choice", "Parallel", "Wait", "Pass", "Fail", "Succeed"}).Draw(t, "type")
		if m, found := ParseState(Encode(state)); m == nil && len(found) == 0 {
			t.Fatal("refused without a reason")
		}
		whole := map[string]any{"StartAt": "A", "States": map[string]any{"A": state}}
		if m, found := Parse(Encode(whole)); m == nil && len(found) == 0 {
			t.Fatal("refused without a reason")
		}
	})
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		names []string
		err   string
		want  bool
	}{
		{[]string{"X"}, "X", true},
		{[]string{"Y"}, "X", false},
		{[]string{ErrAll}, "X", true},
		{[]string{ErrAll}, ErrTimeout, true},
		{[]string{ErrAll}, ErrDataLimit, false},
		{[]string{ErrAll}, ErrRuntime, false},
		{[]string{ErrRuntime}, ErrRuntime, true},
		{[]string{ErrTaskFailed}, "X", true},
		{[]string{ErrTaskFailed}, ErrTimeout, false},
		{[]string{ErrTimeout}, ErrHeartbeatTimeout, true},
		{[]string{ErrHeartbeatTimeout}, ErrTimeout, false},
	} {
		if got := matches(c.names, c.err); got != c.want {
			t.Errorf("%v on %s: %v", c.names, c.err, got)
		}
	}
}

func TestDelay(t *testing.T) {
	r := Retrier{Interval: 3 * time.Second, Backoff: 2, MaxDelay: 10 * time.Second}
	for n, want := range []time.Duration{3 * time.Second, 6 * time.Second, 10 * time.Second, 10 * time.Second} {
		if got := r.Delay(n, nil); got != want {
			t.Errorf("after %d retries %v", n, got)
		}
	}
	r.FullJitter = true
	if got := r.Delay(1, func() float64 { return 0.5 }); got != 3*time.Second {
		t.Errorf("with jitter %v", got)
	}
	if got := (&Retrier{Interval: time.Second, Backoff: 10}).Delay(400, nil); got <= 0 {
		t.Errorf("overflow: %v", got)
	}
}

// A state that keeps its input has it as output, and others do not say so.
func TestKeeps(t *testing.T) {
	data, err := Decode(`{"a":1,"b":{"c":[2]}}`)
	if err != nil {
		t.Fatal(err)
	}
	for definition, want := range map[string]bool{
		`{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","ResultPath":null,"End":true}`:                    true,
		`{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","InputPath":"$.b","ResultPath":null,"End":true}`:  true,
		`{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","ResultPath":null,"OutputPath":"$","End":true}`:   true,
		`{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","ResultPath":null,"OutputPath":"$.b","End":true}`: false,
		`{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","ResultPath":null,"OutputPath":null,"End":true}`:  false,
		`{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","ResultPath":"$.b","End":true}`:                   false,
		`{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","End":true}`:                                      false,
		`{"Type":"Pass","Parameters":{"x":1},"End":true}`:                                                               false,
		`{"Type":"Succeed"}`:                                                                              true,
		`{"Type":"Succeed","InputPath":"$.b"}`:                                                            false,
		`{"Type":"Wait","Seconds":1,"InputPath":null,"End":true}`:                                         false,
		`{"Type":"Choice","Choices":[{"Variable":"$.a","IsPresent":true,"Next":"X"}]}`:                    true,
		`{"Type":"Choice","OutputPath":"$.b","Choices":[{"Variable":"$.a","IsPresent":true,"Next":"X"}]}`: false,
	} {
		m, problems := ParseState([]byte(definition))
		if m == nil {
			t.Fatalf("%s: %v", definition, problems)
		}
		s := m.States[SingleState]
		in, err := s.Input(&Env{}, data)
		if err != nil {
			t.Fatal(err)
		}
		var result any = "other"
		if s.Type == "Succeed" || s.Type == "Choice" || s.Type == "Wait" {
			result = in
		}
		out, err := s.Output(&Env{}, data, result)
		if err != nil {
			t.Fatal(err)
		}
		if same := reflect.DeepEqual(out, data); s.Keeps() != want || same != want {
			t.Errorf("%s: keeps: %t; the output is the input: %t", definition, s.Keeps(), same)
		}
	}
}
