package fault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/fault"
	"miniforge/internal/cloud/wire"
)

func engine(t *testing.T, o fault.Options, seed uint64, rules ...fault.Rule) *fault.Engine {
	t.Helper()
	e := fault.New(o)
	if err := e.Add(fault.Schedule{Seed: seed, Rules: rules}); err != nil {
		t.Fatal(err)
	}
	return e
}

// call sends one call through the engine and tells what the caller got, and
// whether the service saw it.
func call(ctx context.Context, e *fault.Engine, c wire.Call) (got string, done bool) {
	run := e.Intercept(func(context.Context, *wire.Call) (any, error) { done = true; return "ok", nil })
	_, err := run(ctx, &c)
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode(), done
	}
	return fmt.Sprint(err), done
}

var update = wire.Call{
	Service: "dynamodb", Op: "UpdateItem", Principal: authz.Principal{ARN: "arn:aws:sts::1:assumed-role/payment/x"},
	Access: []authz.Access{{Action: "dynamodb:UpdateItem", Resource: "arn:aws:dynamodb:us-east-1:1:table/orders"}},
}

func TestRulesApplyWhereTheySay(t *testing.T) {
	for _, tc := range []struct {
		name string
		rule fault.Rule
		want string
		done bool
	}{
		{"everywhere", fault.Rule{Kind: fault.Throttle}, "ThrottlingException", false},
		{"service", fault.Rule{Kind: fault.Error, Service: "dynamodb"}, "InternalServerError", false},
		{"another service", fault.Rule{Kind: fault.Error, Service: "sqs"}, "<nil>", true},
		{"operation by pattern", fault.Rule{Kind: fault.Denied, Operation: "Update*"}, "AccessDeniedException", false},
		{"another operation", fault.Rule{Kind: fault.Denied, Operation: "Get*"}, "<nil>", true},
		{"caller, over slashes", fault.Rule{Kind: fault.Throttle, Principal: "*:assumed-role/pay*"}, "ThrottlingException", false},
		{"another caller", fault.Rule{Kind: fault.Throttle, Principal: "*root"}, "<nil>", true},
		{"resource", fault.Rule{Kind: fault.Throttle, Resource: "*table/orders"}, "ThrottlingException", false},
		{"another resource", fault.Rule{Kind: fault.Throttle, Resource: "*table/inventory"}, "<nil>", true},
		{"after the effect", fault.Rule{Kind: fault.Error, Point: fault.After}, "InternalServerError", true},
		{"a code of its own", fault.Rule{Kind: fault.Error, Code: "Boom"}, "Boom", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, done := call(t.Context(), engine(t, fault.Options{}, 1, tc.rule), update)
			if got != tc.want || done != tc.done {
				t.Errorf("got %s, carried out: %v; want %s, %v", got, done, tc.want, tc.done)
			}
		})
	}
}

// TestWording: by these codes SDKs and Step Functions decide what to retry.
func TestWording(t *testing.T) {
	for _, tc := range []struct {
		service                    string
		throttle, failure, refusal string
	}{
		{"dynamodb", "ThrottlingException", "InternalServerError", "AccessDeniedException"},
		{"lambda", "TooManyRequestsException", "ServiceException", "AccessDeniedException"},
		{"sns", "Throttled", "InternalError", "AuthorizationError"},
		{"sqs", "RequestThrottled", "InternalFailure", "AccessDeniedException"},
		{"s3", "SlowDown", "InternalError", "AccessDenied"},
		{"kms", "ThrottlingException", "KMSInternalException", "AccessDeniedException"},
		{"events", "ThrottlingException", "InternalException", "AccessDeniedException"},
		{"states", "ThrottlingException", "InternalFailure", "AccessDeniedException"},
	} {
		for kind, want := range map[fault.Kind]string{fault.Throttle: tc.throttle, fault.Error: tc.failure, fault.Denied: tc.refusal} {
			got, _ := call(t.Context(), engine(t, fault.Options{}, 1, fault.Rule{Kind: kind}), wire.Call{Service: tc.service})
			if got != want {
				t.Errorf("%s by %s: %s, want %s", kind, tc.service, got, want)
			}
		}
	}
}

func TestFailsSoOftenAndThenNot(t *testing.T) {
	e := engine(t, fault.Options{}, 1, fault.Rule{Kind: fault.Throttle, Skip: 1, Count: 2})
	var got []string
	for range 5 {
		code, _ := call(t.Context(), e, update)
		got = append(got, code)
	}
	if diff := cmp.Diff([]string{"<nil>", "ThrottlingException", "ThrottlingException", "<nil>", "<nil>"}, got); diff != "" {
		t.Error(diff)
	}
	s := e.Status()
	if s.Rules[0].Asked != 5 || s.Rules[0].Injected != 2 || s.Injected[fault.Throttle] != 2 || len(s.Log) != 2 || s.Log[1].Turn != 3 {
		t.Errorf("status %+v", s)
	}
	if s := e.Clear(); s.Injected[fault.Throttle] != 2 {
		t.Errorf("clearing tells %v", s.Injected)
	}
	if code, _ := call(t.Context(), e, update); code != "<nil>" {
		t.Errorf("cleared, and yet %s", code)
	}
}

func TestAppliesInItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, fault.Options{}, 1, fault.Rule{Kind: fault.Throttle, From: fault.Duration(time.Second), For: fault.Duration(time.Second)})
		var got []bool
		for range 4 {
			_, done := call(t.Context(), e, update)
			got = append(got, !done)
			time.Sleep(700 * time.Millisecond)
		}
		if diff := cmp.Diff([]bool{false, false, true, false}, got); diff != "" {
			t.Errorf("at 0, 0.7, 1.4 and 2.1 s: %s", diff)
		}
	})
}

// TestReplays holds the promise of the seed: a rule's choices depend on how
// often it was asked, and on nothing else.
func TestReplays(t *testing.T) {
	run := func(seed uint64, noise int) (hits string) {
		e := engine(t, fault.Options{}, seed, fault.Rule{Kind: fault.Slow, Delay: 1, Service: "sqs", Probability: 0.5}, fault.Rule{Kind: fault.Throttle, Service: "dynamodb", Probability: 0.5})
		for range 64 {
			for range noise {
				call(t.Context(), e, wire.Call{Service: "sqs", Op: "SendMessage"})
			}
			if _, done := call(t.Context(), e, update); done {
				hits += "."
			} else {
				hits += "x"
			}
		}
		return hits
	}
	if a, b := run(7, 0), run(7, 3); a != b {
		t.Errorf("the same seed among other calls:\n%s\n%s", a, b)
	}
	if a, b := run(7, 0), run(8, 0); a == b {
		t.Errorf("another seed makes the same choices: %s", a)
	}
	if n := strings.Count(run(7, 0), "x"); n < 16 || n > 48 {
		t.Errorf("a probability of one half struck %d of 64", n)
	}
}

func TestSlowCallsEndWithTheirCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, fault.Options{}, 1, fault.Rule{Kind: fault.Slow, Delay: fault.Duration(time.Minute)})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, done := call(ctx, e, update); done || time.Since(start) != time.Second {
			t.Errorf("carried out: %v, after %v", done, time.Since(start))
		}
	})
}

func TestKillGoesOnWhereItWas(t *testing.T) {
	var state []byte
	o := fault.Options{Kill: func(s []byte) { state = s }}
	e := engine(t, o, 5, fault.Rule{Kind: fault.Kill}, fault.Rule{Kind: fault.Throttle, Name: "t", Skip: 2, Count: 1})
	call(t.Context(), e, update)
	if state == nil {
		t.Fatal("not killed")
	}
	state, killed := nil, state
	next := fault.New(o)
	if err := next.Resume(killed); err != nil {
		t.Fatal(err)
	}
	before, after := e.Status(), next.Status()
	if diff := cmp.Diff(before.Rules, after.Rules); diff != "" {
		t.Errorf("rules (-killed +resumed):\n%s", diff)
	}
	call(t.Context(), next, update)
	if code, _ := call(t.Context(), next, update); code != "ThrottlingException" || state != nil {
		t.Errorf("third call: %s; killed again: %v", code, state != nil)
	}
}

// TestAScheduleThatEndsStaysEnded clears the rules while the cloud is being
// killed: either the clearing counts, or nobody is told that it did.
func TestAScheduleThatEndsStaysEnded(t *testing.T) {
	var e *fault.Engine
	cleared := make(chan struct{})
	early := false
	e = engine(t, fault.Options{Kill: func([]byte) {
		go func() {
			defer close(cleared)
			e.Clear()
		}()
		select {
		case <-cleared:
			early = true
		case <-time.After(20 * time.Millisecond): // as long as a process takes to die
		}
	}}, 5, fault.Rule{Kind: fault.Kill})
	call(t.Context(), e, update)
	<-cleared
	if early {
		t.Error("rules were cleared after they had been saved for the next process, which will have them again")
	}
}

func TestWhatTheCloudCannotDoIsRefused(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Kill, fault.Clock} {
		err := fault.New(fault.Options{}).Add(fault.Schedule{Rules: []fault.Rule{{Kind: kind, Delay: 1}}})
		if err == nil || !strings.Contains(err.Error(), "this cloud") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestHTTP(t *testing.T) {
	for _, tc := range []struct {
		name   string
		rule   fault.Rule
		status int
		done   bool
	}{
		{"none", fault.Rule{Kind: fault.Throttle, Operation: "GET *"}, 202, true},
		{"throttled", fault.Rule{Kind: fault.Throttle, Operation: "POST /orders"}, 429, false},
		{"failed", fault.Rule{Kind: fault.Error}, 500, false},
		{"answer lost", fault.Rule{Kind: fault.Error, Point: fault.After}, 500, true},
		{"denied", fault.Rule{Kind: fault.Denied}, 403, false},
	} {
		tc.rule.Service = "execute-api"
		done := false
		h := engine(t, fault.Options{}, 1, tc.rule).HTTP(func(r *http.Request) string { return r.Method + " " + r.URL.Path },
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { done = true; w.WriteHeader(http.StatusAccepted) }))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders", nil))
		if w.Code != tc.status || done != tc.done {
			t.Errorf("%s: %d, carried out: %v; want %d, %v", tc.name, w.Code, done, tc.status, tc.done)
		}
	}
}

func TestFunctions(t *testing.T) {
	const arn = "arn:aws:lambda:us-east-1:1:function:payment:live"
	e := engine(
		t, fault.Options{}, 1,
		fault.Rule{Kind: fault.Crash, Point: fault.After, Resource: "*payment*", Count: 1},
		fault.Rule{Kind: fault.Duplicate, Skip: 1, Count: 1},
		fault.Rule{Kind: fault.Reorder},
	)
	if f := e.Function(arn, []byte("{}")); f.End != fault.Crash || f.Point != fault.After || f.Again {
		t.Errorf("first %+v", f)
	}
	if f := e.Function(arn, []byte("{}")); f.End != "" || !f.Again {
		t.Errorf("second %+v", f)
	}
	record := func(key, n string) string {
		return `{"eventID":"` + n + `","eventSource":"aws:dynamodb","dynamodb":{"Keys":{"id":{"S":"` + key + `"}}}}`
	}
	event := func(records ...string) string { return `{"Records":[` + strings.Join(records, ",") + `]}` }
	one := event(record("a", "1"), record("a", "2"))
	if f := e.Function(arn, []byte(one)); string(f.Payload) != one {
		t.Errorf("the records of one item were reordered: %s", f.Payload)
	}
	f := e.Function(arn, []byte(event(record("a", "1"), record("b", "2"), record("a", "3"))))
	if want := event(record("b", "2"), record("a", "1"), record("a", "3")); string(f.Payload) != want {
		t.Errorf("got  %s\nwant %s", f.Payload, want)
	}
	if s := e.Status(); s.Injected[fault.Reorder] != 1 {
		t.Errorf("counted %v; want the one reordering that happened", s.Injected)
	}
}

func TestDeliveries(t *testing.T) {
	e := engine(
		t, fault.Options{}, 1,
		fault.Rule{Kind: fault.Duplicate, Service: "sns", Operation: "deliver", Count: 1},
		fault.Rule{Kind: fault.Delay, Service: "events", Delay: fault.Duration(time.Second)},
	)
	ran := 0
	h := e.Tasks()(func(context.Context, event.Task) event.Result { ran++; return event.Done() })
	if r := h(t.Context(), event.Task{Kind: "sns.deliver", ID: "1"}); r != event.Again(0) || ran != 1 {
		t.Errorf("a duplicate delivery: %v, ran %d times", r, ran)
	}
	if r := h(t.Context(), event.Task{Kind: "sns.deliver", ID: "1"}); r != event.Done() || ran != 2 {
		t.Errorf("its second time: %v, ran %d times", r, ran)
	}
	if r := h(t.Context(), event.Task{Kind: "events.deliver", ID: "1"}); r != event.Again(time.Second) || ran != 2 {
		t.Errorf("a late delivery: %v, ran %d times", r, ran)
	}
	if r := h(t.Context(), event.Task{Kind: "events.deliver", ID: "1"}); r != event.Done() || ran != 3 {
		t.Errorf("when it is due: %v, ran %d times; it must not be late for ever", r, ran)
	}
}

func TestParse(t *testing.T) {
	want := fault.Schedule{Seed: 7, Rules: []fault.Rule{
		{Name: "throttle-dynamodb", Kind: fault.Throttle, Service: "dynamodb", From: fault.Duration(1500 * time.Millisecond), Count: 3},
		{Name: "throttle-dynamodb-2", Kind: fault.Throttle, Service: "dynamodb", Probability: 0.25},
	}}
	for name, text := range map[string]string{
		"YAML": "seed: 7\nrules:\n  - {kind: throttle, service: dynamodb, from: 1.5s, count: 3}\n  - kind: throttle\n    service: dynamodb\n    probability: 0.25\n",
		"JSON": `{"seed":7,"rules":[{"kind":"throttle","service":"dynamodb","from":"1.5s","count":3},{"kind":"throttle","service":"dynamodb","probability":0.25}]}`,
	} {
		got, err := fault.Parse([]byte(text))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		again, err := json.Marshal(got)
		if back, perr := fault.Parse(again); err != nil || perr != nil || !cmp.Equal(back, want) {
			t.Errorf("%s: written and read again: %v, %v", name, back, perr)
		}
	}
	for text, part := range map[string]string{
		"":                                       "no rules",
		"rules: 3":                               "read fault schedule",
		"rules: [{kind: throttle, servce: sqs}]": "servce",
		"rules: [{kind: explode}]":               `"explode"`,
		"rules: [{kind: slow}]":                  "needs its delay",
		"rules: [{kind: slow, delay: soon}]":     `"soon"`,
		"rules: [{kind: throttle, probability: 2}]":             "between 0 and 1",
		"rules: [{kind: throttle, probability: .nan}]":          "between 0 and 1",
		"rules: [{kind: throttle, count: -1}]":                  "negative",
		"rules: [{kind: slow, delay: 1s, point: after}]":        "no after",
		"rules: [{kind: throttle, point: behind}]":              `"behind"`,
		"rules: [{kind: throttle, service: '[a'}]":              "pattern",
		"rules: [{kind: kill, name: a}, {kind: kill, name: a}]": `named "a"`,
	} {
		if _, err := fault.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: %v; want %q in it", text, err, part)
		}
	}
}

func TestAdmin(t *testing.T) {
	e := fault.New(fault.Options{})
	h := fault.Admin(e, func(r *http.Request, body []byte) error {
		if r.Header.Get("Who") != "root" {
			return wire.Errorf("SignatureDoesNotMatch", "no")
		}
		return nil
	})
	for _, tc := range []struct {
		who, method, target, body string
		status                    int
		part                      string
	}{
		{"", "GET", "/", "", 403, "SignatureDoesNotMatch"},
		{"", "POST", "/", `{"rules":[{"kind":"throttle"}]}`, 403, "SignatureDoesNotMatch"},
		{"root", "GET", "/", "", 200, `"rules":[]`},
		{"root", "POST", "/", `{"rules":[{"kind":"throttle"}]}`, 200, `"name":"throttle"`},
		{"root", "POST", "/", `{"rules":[{"kind":"throttle"}]}`, 400, "already"},
		{"root", "POST", "/", `nonsense`, 400, "error"},
		{"root", "POST", "/", strings.Repeat(" ", 1<<20+1), 413, "1 MiB"},
		{"root", "DELETE", "/?name=other", "", 404, "other"},
		{"root", "DELETE", "/?name=throttle", "", 200, `"rules":[]`},
		{"root", "DELETE", "/", "", 200, `"rules":[]`},
		{"root", "PUT", "/", "", 405, "POST"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), tc.method, tc.target, bytes.NewReader([]byte(tc.body)))
		r.Header.Set("Who", tc.who)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.part) {
			t.Errorf("%s %s %.40s: %d %s; want %d with %s", tc.method, tc.target, tc.body, w.Code, w.Body, tc.status, tc.part)
		}
	}
}

func TestGenerate(t *testing.T) {
	seen := map[fault.Kind]bool{}
	for seed := range uint64(200) {
		s := fault.Generate(seed, time.Minute)
		if diff := cmp.Diff(s, fault.Generate(seed, time.Minute)); diff != "" {
			t.Fatalf("seed %d makes two schedules:\n%s", seed, diff)
		}
		if err := fault.New(fault.Options{Kill: func([]byte) {}, Jump: func(time.Duration) {}}).Add(s); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		for _, r := range s.Rules {
			seen[r.Kind] = true
			if end := time.Duration(r.From + r.For); end > time.Minute {
				t.Errorf("seed %d: rule %s goes on until %v", seed, r.Name, end)
			}
			if r.Principal == "" && r.Service == "dynamodb" {
				t.Errorf("seed %d: rule %s strikes whoever watches", seed, r.Name)
			}
		}
		if only := s.Only([]fault.Kind{fault.Throttle}); len(only.Rules) == 0 || len(only.Rules) == len(s.Rules) {
			t.Errorf("seed %d: %d of %d rules are throttles", seed, len(only.Rules), len(s.Rules))
		}
	}
	if len(seen) != len(fault.Kinds()) {
		t.Errorf("200 seeds use %v alone", seen)
	}
}
