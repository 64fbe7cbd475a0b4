package asl_test

import (
	"bytes"
	"testing"
	"time"

	"miniforge/internal/cloud/sfn/asl"
)

// FuzzMachine: any definition is refused with a diagnostic, or its states can
// be gone through with any data.
func FuzzMachine(f *testing.F) {
	for _, s := range [][2]string{
		{`{"StartAt":"A","States":{"A":{"Type":"Choice","Choices":[{"And":[{"Variable":"$.a","StringMatches":"x*"},{"Not":{"Variable":"$.l[0]","NumericGreaterThan":1e3}}],"Next":"M"}],"Default":"M"},"M":{"Type":"Map","ItemsPath":"$.l","MaxConcurrency":2,"ToleratedFailurePercentagePath":"$.n","ItemSelector":{"i.$":"$$.Map.Item.Index"},"ItemProcessor":{"StartAt":"P","States":{"P":{"Type":"Pass","End":true}}},"End":true}}}`, `{"a":"xy","l":[1],"n":9}`},
		{`{"StartAt":"A","States":{"A":{"Type":"Wait","TimestampPath":"$.t","Next":"T"},"T":{"Type":"Task","Resource":"arn:aws:states:::sqs:sendMessage","Parameters":{"x.$":"States.Format('{}',$.a)"},"TimeoutSecondsPath":"$.n","Retry":[{"ErrorEquals":["States.ALL"],"MaxDelaySeconds":5,"JitterStrategy":"FULL"}],"Catch":[{"ErrorEquals":["X"],"ResultPath":"$.e","Next":"F"}],"ResultSelector":{"r.$":"$"},"End":true},"F":{"Type":"Fail","CausePath":"States.Format('{}', $.a)"}}}`, `{"t":"2026-01-01T00:00:00Z","a":1.5,"n":3}`},
		{`{"StartAt":"A","States":{"A":{"Type":"Pass","Parameters":{"a.$":"States.ArrayRange(1, $.n, 2)","b.$":"States.JsonMerge($.m, $.m, false)","c.$":"$..x[?(@.y > 3 && @.z == 'a')][-1:]","d.$":"States.Base64Decode($.s)"},"ResultPath":"$.r[0].q","OutputPath":"$.r","End":true}}}`, `{"n":9,"m":{},"s":"AA==","r":[{}]}`},
		{`{"StartAt":"A","States":{"A":{"Type":"Parallel","Branches":[{"StartAt":"B","States":{"B":{"Type":"Succeed"}}}],"End":true}}}`, `[]`},
		{`{"StartAt":"A","States":{"A":{"Type":"Wait","SecondsPath":"$.n","End":true}}}`, `{"n":1e300}`},
	} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, definition, input []byte) {
		m, problems := asl.Parse(definition)
		if m == nil && len(problems) == 0 {
			t.Fatal("refused without a reason")
		}
		data, err := asl.Decode(input)
		if m == nil || err != nil {
			return
		}
		for _, d := range problems {
			if d.String() == "" {
				t.Error("an empty diagnostic")
			}
		}
		m.Walk(func(s *asl.State) { through(s, data) })
	})
}

// through uses what a state says, as an execution does; its errors are part of
// the language.
func through(s *asl.State, data any) {
	e := env()
	in, err := s.Input(e, data)
	if err != nil {
		return
	}
	_, _ = s.Choose(e, in)
	_, _ = s.WaitUntil(e, in, time.Unix(0, 0))
	_, _ = s.Failure(e, in)
	_, _ = s.Timeout(e, in)
	_, _ = s.Heartbeat(e, in)
	_, _ = s.Concurrency(e, in)
	_, _ = s.Tolerates(e, in, 1, 2)
	if items, err := s.Items(e, in); err == nil {
		for i, item := range items {
			_, _ = s.ItemInput(e.WithItem(i, item), in, item)
		}
	}
	result := s.Pass(in)
	s.Inspect(e, data, &result)
	if out, err := s.Output(e, data, result); err == nil {
		if _, err := asl.Decode(asl.Encode(out)); err != nil {
			panic("output is not JSON: " + err.Error())
		}
		if s.Keeps() && !bytes.Equal(asl.Encode(out), asl.Encode(data)) {
			panic("the output is not the input")
		}
	}
	if i := s.FindRetrier("States.TaskFailed"); i >= 0 {
		s.Retry[i].Delay(3, e.Random)
	}
	if c := s.FindCatcher("X"); c != nil {
		_, _ = c.Caught(data, &asl.Error{Name: "X", Cause: "c"})
	}
}
