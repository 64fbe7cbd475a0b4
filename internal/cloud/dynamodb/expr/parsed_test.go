package expr

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"miniforge/internal/cloud/dynamodb/attr"
)

// Requests with one text and values and names of their own, at once, do not
// see each other's.
func TestRequestsShareNoValues(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			want := num(fmt.Sprint(i))
			item := attr.Item{fmt.Sprint("x", i): want}
			s, err := NewScope(map[string]string{"#x": fmt.Sprint("x", i)}, attr.Item{":v": want})
			if err != nil {
				t.Error(err)
				return
			}
			c, err := s.Condition(ConditionExpression, "#x = :v AND NOT (#x <> :v)")
			if err != nil || !c.Holds(item) {
				t.Errorf("condition %d does not hold, error %v", i, err)
			}
			u, err := s.Update("SET made = :v, #x = #x + :v")
			if err != nil {
				t.Error(err)
				return
			}
			got, err := u.Apply(item)
			if want := (attr.Item{"made": want, fmt.Sprint("x", i): num(fmt.Sprint(2 * i))}); err != nil || !attr.EqualItems(got, want) {
				t.Errorf("update %d made %v, error %v", i, got, err)
			}
			if got := TopNames("SET made = :v, #x = #x + :v", map[string]string{"#x": "real"}); strings.Join(got, " ") != "made real real" {
				t.Errorf("top names %q", got)
			}
		})
	}
	wg.Wait()
}

// What is kept of an expression is as good as the expression itself: read
// again, or too long to be kept, it gives the same answer or the same refusal.
func TestKeptIsAsGoodAsNew(t *testing.T) {
	tokens := rapid.SampledFrom([]string{
		"a", "m.x", "l[0]", "#a", "#dot", "#nope", ":a", ":n", ":ss", ":nope", "=", "<>", "<", "+", "(", ")", ",", "AND", "OR", "NOT", "IN", "size(", "contains(",
		"attribute_exists(", "begins_with(", "if_not_exists(", "list_append(", "_", "user",
	})
	padding := strings.Repeat(" ", maxKept)
	rapid.Check(t, func(t *rapid.T) {
		e := strings.Join(rapid.SliceOfN(tokens, 1, 7).Draw(t, "tokens"), " ")
		begin := rapid.SampledFrom([]string{"SET a = ", "SET l[1] = ", "ADD ", "REMOVE "}).Draw(t, "begin")
		read := func(pad string) string {
			s, err := NewScope(names, given)
			if err != nil {
				t.Fatal(err)
			}
			c, refused := s.Condition(ConditionExpression, e+pad)
			_, noKey := s.KeyCondition(e + pad)
			out := fmt.Sprint(text(refused), refused == nil && c.Holds(example), text(noKey), TopNames(e+pad, names))
			u, err := s.Update(begin + e + pad)
			if out += text(err); err == nil {
				item, err := u.Apply(example)
				out += fmt.Sprintf("%x %s", attr.AppendSorted(nil, item), text(err))
			}
			return out + text(s.Done())
		}
		first := read("")
		if again := read(""); again != first {
			t.Errorf("%q: read again %s, at first %s", e, again, first)
		}
		if long := read(padding); long != first {
			t.Errorf("%q: read whole %s, at first %s", e, long, first)
		}
	})
}
