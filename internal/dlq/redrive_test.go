package dlq_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"miniforge/internal/dlq"
	"miniforge/internal/order"
	"miniforge/internal/verify"
)

func one(sku string) []order.Item { return []order.Item{{SKU: sku, Quantity: 1}} }

// failedWith is how the workflow leaves an order that failed: refunded,
// announced, dead-lettered.
func failedWith(code order.FailureCode) func(*order.Order) {
	return func(o *order.Order) {
		at := order.At(o.CreatedAt.Add(time.Second))
		o.Status, o.Failure, o.NotifiedAt, o.DeadLetteredAt = order.Failed, &order.Failure{Code: code, Reason: "because"}, &at, &at
		if code.Transient() {
			o.Charge = &order.Charge{ID: order.ChargeID(o.ID), At: at, Attempts: 1, RefundedAt: &at}
			o.ChargeVoidedAt = &at
		}
	}
}

func charged(state order.State) func(*order.Order) {
	return func(o *order.Order) {
		o.Status, o.Charge = state, &order.Charge{ID: order.ChargeID(o.ID), At: o.CreatedAt, Attempts: 1}
	}
}

// TestRedrive has one order in each state that a dead letter can tell of, and
// redrives them all: each ends as it should, and all invariants hold.
func TestRedrive(t *testing.T) {
	w := newWorld(t)
	w.failed(w.has("ord_transient", one("MF-DRAGON-01"), failedWith(order.PaymentUnavailable), false), order.PaymentUnavailable)
	w.failed(w.has("ord_declined", one("MF-DRAGON-01"), failedWith(order.PaymentDeclined), false), order.PaymentDeclined)
	w.failed(w.has("ord_stuck", []order.Item{{SKU: "MF-PALADIN-03", Quantity: 2}, {SKU: "MF-RELIC-04", Quantity: 1}}, charged(order.Reserved), true), order.Internal)
	w.failed(w.has("ord_unsettled", one("MF-PALADIN-03"), charged(order.Confirmed), true), order.Internal)
	waiting := func(o *order.Order) { o.ExecutionARN = "" }
	w.has("ord_event", one("MF-DRAGON-01"), waiting, false)
	w.letter(`{"source":"miniforge.orders","detail":{"order_id":"ord_event"}}`, map[string]string{"RULE_ARN": "arn:r", "ERROR_CODE": "X"})
	batched := w.has("ord_batch", one("MF-GOLEM-02"), waiting, false)
	at := batched.CreatedAt.UTC().Format(time.RFC3339)
	w.letter(`{"requestContext":{"condition":"RetryAttemptsExhausted"},"DDBStreamBatchInfo":{"shardId":"s","approximateArrivalOfFirstRecord":"`+at+`","approximateArrivalOfLastRecord":"`+at+`"}}`, nil)
	w.letter(`{"order_id":"ord_told","status":"CONFIRMED"}`, map[string]string{"RequestID": "q", "ErrorCode": "403"})
	later := w.has("ord_later", one("MF-DRAGON-01"), failedWith(order.Internal), false)
	later.ExecutionARN += "er"
	w.failed(later, order.Internal)
	w.failed(order.Order{ID: "ord_gone", ExecutionARN: w.oldRun()}, order.Internal)
	w.letter("who am I", nil)

	dry := w.redrive(dlq.Options{DryRun: true})
	want := map[string]dlq.Action{
		"ord_transient/workflow": dlq.Rerun, "ord_declined/workflow": dlq.Refuse, "ord_stuck/workflow": dlq.Recover, "ord_unsettled/workflow": dlq.Complete,
		"ord_event/rule": dlq.Announce, "/stream": dlq.Announce, "ord_told/subscription": dlq.Forward, "ord_later/workflow": dlq.Discard,
		"ord_gone/workflow": dlq.Refuse, "/unknown": dlq.Refuse,
	}
	if diff := cmp.Diff(want, actions(dry)); diff != "" {
		t.Fatalf("dry run (-want +got):\n%s", diff)
	}
	if left := w.letters(); len(left) != len(want) {
		t.Errorf("after a dry run there are %v", left)
	}
	real := w.redrive(dlq.Options{})
	got := actions(real)
	if got["ord_event/rule"] == dlq.Discard { // the batch's letter came first, and announced this order as well
		got["ord_event/rule"] = dlq.Announce
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("redrive (-want +got):\n%s", diff)
	}
	left := w.letters()
	slices.Sort(left)
	if diff := cmp.Diff([]string{"/unknown", "ord_declined/workflow", "ord_gone/workflow"}, left); diff != "" {
		t.Errorf("letters left (-want +got):\n%s", diff)
	}
	ids := []string{"ord_transient", "ord_stuck", "ord_unsettled", "ord_event", "ord_batch"}
	orders := w.settled(append(ids, "ord_declined", "ord_later")...)
	for _, id := range ids {
		if o := orders[id]; o.Status != order.Confirmed {
			t.Errorf("order %s is %s: %+v", id, o.Status, o.Failure)
		}
	}
	if path := orders["ord_transient"].Timeline; len(path) != 5 || path[2].Detail != "redriven after PAYMENT_UNAVAILABLE; charge "+order.ChargeID("ord_transient")+" was refunded" {
		t.Errorf("its timeline: %+v", path)
	}
	ledger, err := verify.ReadLedger(t.Context(), w.s.Clients, w.s.Names)
	if err != nil {
		t.Fatal(err)
	}
	if v := order.Violations(ledger.Orders, ledger.Stock); len(v) > 0 {
		t.Errorf("violations: %v", v)
	}
	for _, s := range ledger.Stock {
		if want := map[string]int{"MF-PALADIN-03": 3, "MF-RELIC-04": 1}[s.SKU]; want > 0 && s.Sold != want {
			t.Errorf("sold of %s: %d, want %d", s.SKU, s.Sold, want)
		}
	}
}

func actions(outcomes map[string]dlq.Outcome) map[string]dlq.Action {
	got := map[string]dlq.Action{}
	for id, o := range outcomes {
		got[id] = o.Plan.Action
	}
	return got
}

// TestDecisionsAreRedrivenByName runs orders again that failed for want of
// stock, one at a time, and twice the same letter.
func TestDecisionsAreRedrivenByName(t *testing.T) {
	w := newWorld(t)
	for _, id := range []string{"ord_a", "ord_b", "ord_c"} {
		o := w.has(id, one("MF-DRAGON-01"), failedWith(order.InsufficientStock), false)
		w.failed(o, order.InsufficientStock)
		if id == "ord_c" {
			w.failed(o, order.InsufficientStock) // the workflow sends at least once
		}
	}
	if got := w.redrive(dlq.Options{}, order.PaymentDeclined); len(got) != 3 || len(w.letters()) != 4 {
		t.Errorf("not named: %+v", actions(got))
	}
	if got := w.redrive(dlq.Options{Max: 1}, order.InsufficientStock); len(got) != 1 || len(w.letters()) != 3 {
		t.Errorf("at most one: %v", got)
	}
	start := time.Now()
	w.redrive(dlq.Options{Rate: 4}, order.InsufficientStock)
	if took := time.Since(start); took < 500*time.Millisecond {
		t.Errorf("three letters at four a second took %s", took)
	}
	if left := w.letters(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	for id, o := range w.settled("ord_a", "ord_b", "ord_c") {
		if o.Status != order.Confirmed || len(o.Timeline) != 5 {
			t.Errorf("%s: %s %+v", id, o.Status, o.Timeline)
		}
	}
}

// TestWhatIsNotTakenOverStays has no workflow to take an order over.
func TestWhatIsNotTakenOverStays(t *testing.T) {
	w := newWorld(t)
	w.failed(w.has("ord_a", one("MF-DRAGON-01"), failedWith(order.Internal), false), order.Internal)
	w.disableRule()
	q, err := dlq.Open(t.Context(), w.s.Clients.SQS, w.s.DeadLetters(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	r := &dlq.Redriver{Stack: w.s, Patience: 300 * time.Millisecond}
	outcomes, err := r.Run(t.Context(), q, dlq.Options{})
	if err != nil || len(outcomes) != 1 || outcomes[0].Deleted || outcomes[0].Error == "" {
		t.Fatalf("%+v, %v", outcomes, err)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := w.order("ord_a"); o.Status != order.Submitted || o.ExecutionARN != "" || o.Failure != nil {
		t.Errorf("order %+v", o)
	}
	w.enableRule()
	if got := actions(w.redrive(dlq.Options{})); got["ord_a/workflow"] != dlq.Announce {
		t.Errorf("the second time: %v", got)
	}
	if o := w.settled("ord_a")["ord_a"]; o.Status != order.Confirmed {
		t.Errorf("order is %s", o.Status)
	}
}
