package cli

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sfntypes "github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/dlq"
	"miniforge/internal/graph"
	"miniforge/internal/order"
	"miniforge/internal/ui"
)

func text(r Result) string {
	var b bytes.Buffer
	r.Text(ui.NewPage(&b, false, 80))
	return b.String()
}

const oneOrder = `{"customer":{"name":"Ada","email":"ada@example.com"},"items":[{"sku":"MF-DRAGON-01","quantity":2}],"payment":{"token":"tok_visa"}}`

func TestReadOrders(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "orders.json"), []byte(oneOrder), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, path, stdin string
		want              int
		wrong             string
	}{
		{name: "a file, relative to the working directory", path: "orders.json", want: 1},
		{name: "one order", path: "-", stdin: oneOrder, want: 1},
		{name: "one a line", path: "-", stdin: oneOrder + "\n" + oneOrder + "\n", want: 2},
		{name: "an array", path: "-", stdin: "[" + oneOrder + "," + oneOrder + "," + oneOrder + "]", want: 3},
		{name: "nothing", path: "-", stdin: " \n", wrong: "there is none"},
		{name: "an empty array", path: "-", stdin: "[]", wrong: "there is none"},
		{name: "no JSON", path: "-", stdin: "order please", wrong: "invalid character"},
		{name: "cut off", path: "-", stdin: oneOrder[:40], wrong: "unexpected EOF"},
		{name: "the second is bad", path: "-", stdin: oneOrder + `{"customer":{}}`, wrong: "order 2: "},
		{name: "an unknown member", path: "-", stdin: strings.Replace(oneOrder, `"payment"`, `"gift":true,"payment"`, 1), wrong: "gift"},
		{name: "no such file", path: "none.json", wrong: "none.json"},
	} {
		a := &app{env: Env{Stdin: strings.NewReader(tc.stdin), Dir: dir}}
		got, err := a.readOrders(tc.path)
		if tc.wrong == "" && (err != nil || len(got) != tc.want) || tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)) {
			t.Errorf("%s: %d orders, %v; want %d, %q", tc.name, len(got), err, tc.want, tc.wrong)
		}
	}
}

func TestParseItem(t *testing.T) {
	for in, want := range map[string]order.Item{
		"MF-DRAGON-01": {SKU: "MF-DRAGON-01", Quantity: 1}, "MF-GOLEM-02=3": {SKU: "MF-GOLEM-02", Quantity: 3}, "X=-1": {SKU: "X", Quantity: -1},
	} {
		if got, err := parseItem(in); got != want || err != nil {
			t.Errorf("parseItem(%q) = %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"X=", "X=two", "X=1=2", "X=99999999999999999999"} {
		if got, err := parseItem(in); err == nil {
			t.Errorf("parseItem(%q) = %+v, want an error", in, got)
		}
	}
}

func TestUpText(t *testing.T) {
	steps := []graph.Step{
		{ID: "kms/a", Action: graph.Keep},
		{ID: "sqs/b", Action: graph.Create},
		{ID: "sqs/c", Action: graph.Update, Drift: []graph.Diff{{Field: "VisibilityTimeout", Want: "30", Got: "1\x1b[2J"}}},
		{ID: "iam/d", Action: graph.Create, Err: errors.New("denied\nsecond line")},
		{ID: "lambda/e", Action: graph.Blocked, Err: graph.ErrBlocked},
	}
	got := text(upResult{Stack: "shop", Plan: true, Steps: steps})
	want := `+ sqs/b
~ sqs/c
    VisibilityTimeout: 1\x1b[2J -> 30
+ iam/d
    denied
! lambda/e
    blocked
Plan for shop: 1 to create, 1 to update, 1 to keep, 1 blocked, 1 failed
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	got = text(upResult{Stack: "shop", Steps: steps[:2], API: "http://x", flags: " --name shop", Took: 1500 * time.Millisecond})
	want = `Stack shop: 1 created, 1 unchanged in 1.5s
API: http://x

next:
  miniforge order submit --item MF-DRAGON-01 --watch --name shop
  miniforge verify --name shop
  miniforge down --name shop
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
}

func TestWaitingForTheSameIsNoNews(t *testing.T) {
	attempt := func(id string) error {
		return &graph.NotYet{Err: errors.New("create x: operation error Lambda: Create, https response error StatusCode: 400, RequestID: " + id + ", InvalidParameterValueException: no role\nmore")}
	}
	want := "not yet: create x: operation error Lambda: Create, InvalidParameterValueException: no role"
	for _, id := range []string{"1", "2-b"} {
		if got := waitingFor(attempt(id)); got != want {
			t.Errorf("waiting for %q, want %q", got, want)
		}
	}
}

func TestPatience(t *testing.T) {
	a := &app{}
	ctx, cancel := a.patient(t.Context())
	defer cancel()
	if _, ends := ctx.Deadline(); !ends {
		t.Error("a walk without --timeout never ends")
	}
	a.timeout = time.Second
	mine, cancel := a.patient(t.Context())
	defer cancel()
	if _, ends := mine.Deadline(); ends {
		t.Error("the user's own time-out, which the command has already, is replaced")
	}
}

func TestExpected(t *testing.T) {
	r := watchResult{Orders: []order.View{{Status: order.Confirmed}, {Status: order.Failed}}}
	if err := r.expected(""); err != nil {
		t.Errorf("without an expectation: %v", err)
	}
	err := r.expected("CONFIRMED")
	if err == nil || judge(err).code != exitChecks {
		t.Errorf("one of two failed: %v, want exit code %d", err, exitChecks)
	}
	r.Orders[1].Status = order.Confirmed
	if err := r.expected("CONFIRMED"); err != nil {
		t.Errorf("both as expected: %v", err)
	}
}

func TestDeadLettersText(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	letters := []dlq.Letter{
		{MessageID: "1", Source: dlq.Workflow, OrderID: "ord_1", Code: "INTERNAL", Reason: "broken\x1b[2J", Where: "execution x", At: at},
		{MessageID: "2", Source: dlq.Rule, OrderID: "ord_2", Code: "SDK_CLIENT_ERROR", Reason: "denied", Where: "rule r to t", Attempts: 25, At: at},
		{MessageID: "3", Source: dlq.Unknown, Body: "who am I", At: at},
		{MessageID: "4", Source: dlq.Workflow, OrderID: "ord_3", Code: "INTERNAL", At: at},
	}
	got := text(dlqResult{Total: 9, Messages: letters, Failures: failuresOf(letters)})
	for _, want := range []string{"who am I", "25", `broken\x1b[2J`, "2 from workflow: INTERNAL", "1 from unknown: no code", "4 of about 9"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got := text(dlqResult{}); !strings.Contains(got, "is empty") {
		t.Errorf("nothing: %q", got)
	}
}

func TestFailureCodes(t *testing.T) {
	if codes, err := failureCodes([]string{"INTERNAL", "INSUFFICIENT_STOCK"}); err != nil || len(codes) != 2 {
		t.Errorf("%v, %v", codes, err)
	}
	if _, err := failureCodes([]string{"OOPS"}); err == nil || !strings.Contains(err.Error(), "PAYMENT_DECLINED") {
		t.Errorf("error = %v, want one that lists the codes", err)
	}
}

func TestStepOf(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := aws.Time(began.Add(40 * time.Millisecond))
	for _, tc := range []struct {
		event sfntypes.HistoryEvent
		want  string
	}{
		{
			sfntypes.HistoryEvent{Id: 1, Type: sfntypes.HistoryEventTypeTaskStateEntered, Timestamp: at, StateEnteredEventDetails: &sfntypes.StateEnteredEventDetails{Name: aws.String("Claim")}},
			"   +40ms  Claim  entered\n",
		},
		{
			sfntypes.HistoryEvent{Id: 2, Type: sfntypes.HistoryEventTypeTaskFailed, Timestamp: at, TaskFailedEventDetails: &sfntypes.TaskFailedEventDetails{Error: aws.String("PaymentDeclined"), Cause: aws.String("no money")}},
			"   +40ms  TaskFailed  PaymentDeclined: no money\n",
		},
		{sfntypes.HistoryEvent{Id: 3, Type: sfntypes.HistoryEventTypeExecutionStarted, Timestamp: at}, "   +40ms  ExecutionStarted\n"},
	} {
		var b bytes.Buffer
		stepOf(tc.event, began).text(ui.NewPage(&b, false, 80))
		if b.String() != tc.want {
			t.Errorf("%s: %q, want %q", tc.event.Type, b.String(), tc.want)
		}
	}
}

func TestStatusCounts(t *testing.T) {
	var r statusResult
	for _, s := range []graph.Step{
		{ID: "a", Action: graph.Keep}, {ID: "b", Action: graph.Create}, {ID: "c", Action: graph.Update}, {ID: "d", Action: graph.Replace},
		{ID: "e", Action: graph.Foreign, Err: graph.ErrForeign}, {ID: "f", Action: graph.Keep, Err: errors.New("denied")},
	} {
		r.add(s)
	}
	var states []string
	for _, one := range r.Resources {
		states = append(states, one.State)
	}
	if diff := cmp.Diff([]string{"present", "absent", "drifted", "drifted", "foreign", "unknown"}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if r.Present != 3 || r.Absent != 1 || r.Drifted != 2 || r.Foreign != 1 || r.Unknown != 1 {
		t.Errorf("counts %+v", r)
	}
}

func TestEachIsBounded(t *testing.T) {
	done := make(chan int, 10)
	running := make(chan struct{}, 3) // more than three would block for ever
	each(10, 3, func(i int) {
		select {
		case running <- struct{}{}:
		default:
			t.Error("more than three at once")
		}
		<-running
		done <- i
	})
	if len(done) != 10 {
		t.Errorf("%d of 10 calls were made", len(done))
	}
}
