package main

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

const id = "ord_1"

type harness struct {
	*payments
	table *table
	log   *strings.Builder
}

// newHarness has one order in a state.
func newHarness(t *testing.T, status order.State) harness {
	t.Helper()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	o := order.New(id, "", order.Request{Payment: order.Payment{Token: "tok_visa"}}, now)
	o.Status = status
	item, err := orderdb.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	h := harness{table: &table{items: map[string]orderdb.Item{id: item}}, log: &strings.Builder{}}
	h.payments = &payments{
		db: h.table, table: "orders", log: slog.New(slog.NewJSONHandler(h.log, nil)),
		now: func() time.Time { now = now.Add(time.Second); return now }, hang: maxTimeout,
	}
	return h
}

func (h harness) charge(t *testing.T, token string) (Outcome, error) {
	t.Helper()
	return h.handle(t.Context(), Task{Action: "charge", OrderID: id, Token: token})
}

func (h harness) refundIt(t *testing.T) (Outcome, error) {
	t.Helper()
	return h.handle(t.Context(), Task{Action: "refund", OrderID: id})
}

func (h harness) order(t *testing.T) (o order.Order) {
	t.Helper()
	if err := orderdb.Unmarshal(h.table.items[id], &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// errorType is the name under which Lambda reports an error to the workflow.
func errorType(err error) string {
	if err == nil {
		return ""
	}
	return reflect.TypeOf(err).Name()
}

func TestTokens(t *testing.T) {
	cases := []struct {
		token   string
		errors  []string // of successive attempts
		charged bool
	}{
		{"tok_visa", []string{"", ""}, true},
		{"tok_flaky", []string{"GatewayUnavailable", "", ""}, true},
		{"tok_declined", []string{"PaymentDeclined", "PaymentDeclined"}, false},
		{"tok_down", []string{"GatewayUnavailable", "GatewayUnavailable", "GatewayUnavailable"}, false},
		{"tok_unknown", []string{"PaymentDeclined"}, false},
		{"", []string{"PaymentDeclined"}, false},
	}
	for _, c := range cases {
		t.Run(c.token, func(t *testing.T) {
			h := newHarness(t, order.Reserved)
			for i, want := range c.errors {
				out, err := h.charge(t, c.token)
				if errorType(err) != want {
					t.Errorf("attempt %d: error %v, want %q", i+1, err, want)
				}
				if err == nil && out != (Outcome{"charged", order.ChargeID(id)}) {
					t.Errorf("attempt %d: %+v", i+1, out)
				}
			}
			if got := h.order(t).Charged(); got != c.charged {
				t.Errorf("charged: %v", got)
			}
			if c.token != "" && strings.Contains(h.log.String(), c.token) {
				t.Errorf("the log tells the token: %s", h.log)
			}
		})
	}
}

func TestFlakyCountsBothAttempts(t *testing.T) {
	h := newHarness(t, order.Reserved)
	_, _ = h.charge(t, "tok_flaky")
	if _, err := h.charge(t, "tok_flaky"); err != nil {
		t.Fatal(err)
	}
	if got := h.order(t).Charge.Attempts; got != 2 {
		t.Errorf("attempts %d, want 2", got)
	}
}

func TestTimeoutOutlastsEveryFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, order.Reserved)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // as Lambda gives it
		defer cancel()
		start := time.Now()
		_, err := h.handle(ctx, Task{Action: "charge", OrderID: id, Token: "tok_timeout"})
		if took := time.Since(start); took < maxTimeout || err == nil {
			t.Errorf("answered %v after %s", err, took)
		}
	})
}

func TestChargeIsRecordedOnce(t *testing.T) {
	h := newHarness(t, order.Reserved)
	if _, err := h.charge(t, "tok_visa"); err != nil {
		t.Fatal(err)
	}
	first := h.order(t)
	if _, err := h.charge(t, "tok_visa"); err != nil {
		t.Fatal(err)
	}
	if again := h.order(t); *again.Charge != *first.Charge {
		t.Errorf("charge %+v became %+v", first.Charge, again.Charge)
	}
}

func TestOnlyReservedOrdersAreCharged(t *testing.T) {
	for _, status := range []order.State{order.Submitted, order.Confirmed, order.Failed} {
		h := newHarness(t, status)
		if _, err := h.charge(t, "tok_visa"); errorType(err) != "OrderNotChargeable" {
			t.Errorf("%s: error %v", status, err)
		}
	}
	h := newHarness(t, order.Reserved)
	delete(h.table.items, id)
	if _, err := h.charge(t, "tok_visa"); errorType(err) != "OrderNotChargeable" || len(h.table.items) > 0 {
		t.Errorf("no order: error %v, table %v", err, h.table.items)
	}
	h = newHarness(t, order.Reserved)
	h.table.items[id]["failure"] = orderdb.S("given up")
	if _, err := h.charge(t, "tok_visa"); err == nil {
		t.Error("an order that was given up was charged")
	}
}

func TestRefund(t *testing.T) {
	h := newHarness(t, order.Reserved)
	if _, err := h.charge(t, "tok_visa"); err != nil {
		t.Fatal(err)
	}
	var first order.Order
	for i := range 3 {
		out, err := h.refundIt(t)
		if err != nil || out != (Outcome{"refunded", order.ChargeID(id)}) {
			t.Fatalf("refund %d: %+v, %v", i+1, out, err)
		}
		if o := h.order(t); i == 0 {
			first = o
		} else if o.Charge.RefundedAt.Time != first.Charge.RefundedAt.Time || o.ChargeVoidedAt.Time != first.ChargeVoidedAt.Time {
			t.Errorf("refund %d changed the first", i+1)
		}
	}
	if h.order(t).Charged() {
		t.Error("still charged")
	}
}

// TestZombieCannotCharge is the payment whose function was given up on, and
// which comes back to life after the compensation.
func TestZombieCannotCharge(t *testing.T) {
	h := newHarness(t, order.Reserved)
	for range 2 {
		if out, err := h.refundIt(t); err != nil || out.Status != "nothing_to_refund" {
			t.Fatalf("refund: %+v, %v", out, err)
		}
	}
	if _, err := h.charge(t, "tok_visa"); errorType(err) != "OrderNotChargeable" {
		t.Errorf("zombie: error %v", err)
	}
	if h.order(t).Charge != nil {
		t.Error("the zombie charged")
	}
}

func TestRefundOfWhatIsNotThere(t *testing.T) {
	h := newHarness(t, order.Reserved)
	delete(h.table.items, id)
	if out, err := h.refundIt(t); err != nil || out.Status != "nothing_to_refund" || len(h.table.items) > 0 {
		t.Errorf("%+v, %v, table %v", out, err, h.table.items)
	}
	h = newHarness(t, order.Confirmed)
	if _, err := h.refundIt(t); errorType(err) != "OrderNotChargeable" {
		t.Errorf("a confirmed order: error %v", err)
	}
	if h.order(t).ChargeVoidedAt != nil {
		t.Error("a confirmed order was voided")
	}
}

// TestRacesEndConsistently lets charges and refunds race: whoever wins, the
// order never ends voided and still charged.
func TestRacesEndConsistently(t *testing.T) {
	for range 50 {
		h := newHarness(t, order.Reserved)
		h.payments.log = slog.New(slog.DiscardHandler)
		h.payments.now = time.Now
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _, _ = h.handle(t.Context(), Task{Action: "charge", OrderID: id, Token: "tok_visa"}) })
			wg.Go(func() {
				if _, err := h.handle(t.Context(), Task{Action: "refund", OrderID: id}); err != nil {
					t.Errorf("refund: %v", err)
				}
			})
		}
		wg.Wait()
		if o := h.order(t); o.Charged() || o.ChargeVoidedAt == nil {
			t.Fatalf("charge %+v, voided %v", o.Charge, o.ChargeVoidedAt)
		}
	}
}

func TestOtherFailures(t *testing.T) {
	h := newHarness(t, order.Reserved)
	if _, err := h.handle(t.Context(), Task{Action: "steal", OrderID: id}); errorType(err) != "UnknownAction" {
		t.Errorf("error %v", err)
	}
	h.table.err = errors.New("unreachable")
	for _, task := range []Task{{Action: "charge", Token: "tok_visa"}, {Action: "charge", Token: "tok_flaky"}, {Action: "refund"}} {
		if _, err := h.handle(t.Context(), task); !errors.Is(err, h.table.err) || errorType(err) != "StoreUnavailable" {
			t.Errorf("%+v: error %v", task, err)
		}
	}
}

var _ ordersAPI = (*table)(nil)

// UpdateItem applies an update to the one table of the tests.
func (d *table) UpdateItem(_ context.Context, in *dynamodb.UpdateItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return nil, d.err
	}
	return d.update(in)
}
