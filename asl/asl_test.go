package asl_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"miniforge/asl"
)

func values() map[string]string {
	v := map[string]string{}
	for _, name := range asl.Placeholders() {
		v[name] = "value-of-" + name
	}
	return v
}

func TestRender(t *testing.T) {
	text, err := asl.Render(values())
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid([]byte(text)) {
		t.Error("the definition is not JSON")
	}
	for name, value := range values() {
		if !strings.Contains(text, value) {
			t.Errorf("${%s} is used nowhere", name)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	cases := []struct {
		name   string
		change func(map[string]string)
	}{
		{"a missing value", func(v map[string]string) { delete(v, "OrdersTable") }},
		{"an empty value", func(v map[string]string) { v["OrdersTable"] = "" }},
		{"an unknown name", func(v map[string]string) { v["OrderTable"] = "x" }},
		{"a value that ends the string", func(v map[string]string) { v["OrdersTable"] = `x"` }},
		{"a value that is a placeholder", func(v map[string]string) { v["OrdersTable"] = "${InventoryTable}" }},
	}
	for _, c := range cases {
		v := values()
		c.change(v)
		if _, err := asl.Render(v); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
}

// state is what the tests look at in a state.
type state struct {
	Type           string
	Resource       string
	Next           string
	Default        string
	End            bool
	TimeoutSeconds int
	Parameters     map[string]any
	Retry          []retrier
	Catch          []struct {
		ErrorEquals []string
		Next        string
	}
	Choices       []struct{ Next string }
	ItemProcessor *machine
	Branches      []machine
}

type retrier struct {
	ErrorEquals    []string
	MaxAttempts    int
	JitterStrategy string
}

type machine struct {
	StartAt string
	States  map[string]state
}

// machines walks the workflow and the machines inside it.
func machines(t *testing.T, visit func(path string, m machine)) {
	t.Helper()
	text, err := asl.Render(values())
	if err != nil {
		t.Fatal(err)
	}
	var m machine
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	var walk func(string, machine)
	walk = func(path string, m machine) {
		visit(path, m)
		for name, s := range m.States {
			if s.ItemProcessor != nil {
				walk(path+name+"/", *s.ItemProcessor)
			}
			for i, b := range s.Branches {
				walk(fmt.Sprintf("%s%s[%d]/", path, name, i), b)
			}
		}
	}
	walk("", m)
}

// follow lists the states that may come after s.
func follow(s state) []string {
	next := []string{s.Next, s.Default}
	for _, c := range s.Catch {
		next = append(next, c.Next)
	}
	for _, c := range s.Choices {
		next = append(next, c.Next)
	}
	return slices.DeleteFunc(next, func(n string) bool { return n == "" })
}

func TestEveryStateIsReachedAndLeadsOn(t *testing.T) {
	machines(t, func(path string, m machine) {
		reached := map[string]bool{}
		var reach func(string)
		reach = func(name string) {
			s, ok := m.States[name]
			if !ok {
				t.Errorf("%s%s does not exist", path, name)
				return
			}
			if reached[name] {
				return
			}
			reached[name] = true
			next := follow(s)
			if ends := s.End || s.Type == "Succeed" || s.Type == "Fail"; !ends && len(next) == 0 {
				t.Errorf("%s%s leads nowhere", path, name)
			}
			for _, n := range next {
				reach(n)
			}
		}
		reach(m.StartAt)
		for name := range m.States {
			if !reached[name] {
				t.Errorf("%s%s is never reached", path, name)
			}
		}
	})
}

func TestTasksAreGuarded(t *testing.T) {
	const conditionFailed = "DynamoDB.ConditionalCheckFailedException"
	machines(t, func(path string, m machine) {
		for name, s := range m.States {
			if s.Type != "Task" {
				continue
			}
			if s.TimeoutSeconds == 0 {
				t.Errorf("%s%s has no timeout", path, name)
			}
			if len(s.Retry) == 0 {
				t.Errorf("%s%s is not retried", path, name)
			}
			for _, r := range s.Retry {
				if r.MaxAttempts > 0 && r.JitterStrategy != "FULL" {
					t.Errorf("%s%s retries %v without jitter", path, name, r.ErrorEquals)
				}
				if r.MaxAttempts > 0 && slices.Contains(r.ErrorEquals, conditionFailed) {
					t.Errorf("%s%s retries a condition that failed", path, name)
				}
			}
			if !strings.HasSuffix(s.Resource, "dynamodb:updateItem") {
				continue
			}
			if s.Parameters["ConditionExpression"] == nil {
				t.Errorf("%s%s writes unconditionally", path, name)
			}
			everything := slices.ContainsFunc(s.Retry, func(r retrier) bool { return slices.Contains(r.ErrorEquals, "States.ALL") })
			spared := slices.ContainsFunc(s.Retry, func(r retrier) bool {
				return r.MaxAttempts == 0 && slices.Contains(r.ErrorEquals, conditionFailed)
			})
			if everything && !spared {
				t.Errorf("%s%s retries everything, also a condition that failed", path, name)
			}
		}
	})
}

// TestConfirmAndGiveUpExcludeEachOther holds the two writes that decide about
// an order to the conditions that make one of them impossible after the other.
func TestConfirmAndGiveUpExcludeEachOther(t *testing.T) {
	conditions := map[string]string{}
	machines(t, func(path string, m machine) {
		for name, s := range m.States {
			conditions[name], _ = s.Parameters["ConditionExpression"].(string)
		}
	})
	for _, part := range []string{"attribute_not_exists(failure)", "attribute_not_exists(charge_voided_at)", "attribute_exists(charge)", "execution_arn = :me"} {
		if !strings.Contains(conditions["MarkConfirmed"], part) {
			t.Errorf("MarkConfirmed does not ask for %s", part)
		}
	}
	if want := "execution_arn = :me AND (#status = :submitted OR #status = :reserved)"; conditions["GiveUp"] != want {
		t.Errorf("GiveUp asks for %s, want %s", conditions["GiveUp"], want)
	}
}
