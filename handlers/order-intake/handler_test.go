package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

const body = `{"customer":{"name":"Ada","email":"ada@example.com"},"items":[{"sku":"MF-DRAGON-01","quantity":2}],"payment":{"token":"tok_visa"}}`

// table is a table of orders that takes conditional puts.
type table struct {
	mu    sync.Mutex
	items map[string]orderdb.Item
	err   error
	terse bool // does not return the item that a condition failed on
}

func (d *table) PutItem(_ context.Context, in *dynamodb.PutItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return nil, d.err
	}
	if *in.ConditionExpression != "attribute_not_exists(order_id)" {
		return nil, errors.New("unexpected condition")
	}
	id := in.Item["order_id"].(*types.AttributeValueMemberS).Value
	if old, ok := d.items[id]; ok {
		if d.terse {
			old = nil
		}
		return nil, &types.ConditionalCheckFailedException{Item: old}
	}
	d.items[id] = in.Item
	return &dynamodb.PutItemOutput{}, nil
}

func (d *table) GetItem(_ context.Context, in *dynamodb.GetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &dynamodb.GetItemOutput{Item: d.items[in.Key["order_id"].(*types.AttributeValueMemberS).Value]}, d.err
}

type harness struct {
	*intake
	table *table
	log   *strings.Builder
}

func newHarness() harness {
	h := harness{table: &table{items: map[string]orderdb.Item{}}, log: &strings.Builder{}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h.intake = &intake{
		db: h.table, table: "orders", log: slog.New(slog.NewJSONHandler(h.log, nil)),
		now: func() time.Time { now = now.Add(time.Second); return now },
	}
	return h
}

// post sends a body; a key of "-" means none.
func (h harness) post(t *testing.T, body, key string) response {
	t.Helper()
	r := request{RouteKey: "POST /orders", Body: body, Headers: map[string]string{}}
	if key != "-" {
		r.Headers["idempotency-key"] = key
	}
	return h.send(t, r)
}

func (h harness) send(t *testing.T, r request) response {
	t.Helper()
	out, err := h.handle(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func receipt(t *testing.T, r response) order.Receipt {
	t.Helper()
	var out order.Receipt
	if r.StatusCode != http.StatusAccepted || json.Unmarshal([]byte(r.Body), &out) != nil {
		t.Fatalf("answer %d %s, want a receipt", r.StatusCode, r.Body)
	}
	return out
}

func TestOrderIsStoredAndShown(t *testing.T) {
	h := newHarness()
	answer := h.post(t, body, "-")
	got := receipt(t, answer)
	if got.Status != order.Submitted || got.Links.Self != "/orders/"+got.ID || answer.Headers["location"] != got.Links.Self {
		t.Errorf("receipt %+v, header %v", got, answer.Headers)
	}
	var stored order.Order
	if err := orderdb.Unmarshal(h.table.items[got.ID], &stored); err != nil {
		t.Fatal(err)
	}
	if len(stored.Timeline) != 1 || stored.Timeline[0].Status != order.Submitted || stored.Customer.Email != "ada@example.com" {
		t.Errorf("stored %+v", stored)
	}
	shown := h.send(t, request{RouteKey: "GET /orders/{order_id}", PathParameters: map[string]string{"order_id": got.ID}})
	var view order.View
	if err := json.Unmarshal([]byte(shown.Body), &view); err != nil || shown.StatusCode != http.StatusOK {
		t.Fatalf("answer %d %s", shown.StatusCode, shown.Body)
	}
	if diff := cmp.Diff(stored.View(), view); diff != "" {
		t.Errorf("view (-want +got):\n%s", diff)
	}
	for _, secret := range []string{"Ada", "ada@", "tok_visa"} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log tells %q: %s", secret, h.log)
		}
	}
	if !strings.Contains(h.log.String(), got.ID) {
		t.Errorf("the log does not name the order: %s", h.log)
	}
}

func TestIdempotencyKey(t *testing.T) {
	for _, terse := range []bool{false, true} {
		h := newHarness()
		h.table.terse = terse
		first := receipt(t, h.post(t, body, "k1"))
		if again := receipt(t, h.post(t, " "+body, "k1")); again != first {
			t.Errorf("repeated: %+v, first %+v", again, first)
		}
		other := h.post(t, strings.Replace(body, ":2", ":3", 1), "k1")
		if other.StatusCode != http.StatusConflict || other.Headers["content-type"] != order.ProblemType {
			t.Errorf("another body under the key: %d %v", other.StatusCode, other.Headers)
		}
		if second := receipt(t, h.post(t, body, "k2")); second.ID == first.ID {
			t.Error("another key, same order")
		}
		if len(h.table.items) != 2 {
			t.Errorf("%d orders stored, want 2", len(h.table.items))
		}
	}
}

func TestRepeatedRequestTellsTheStatusReached(t *testing.T) {
	h := newHarness()
	first := receipt(t, h.post(t, body, "k"))
	h.table.items[first.ID]["status"] = orderdb.S("CONFIRMED")
	if again := receipt(t, h.post(t, body, "k")); again.Status != order.Confirmed {
		t.Errorf("status %s, want CONFIRMED", again.Status)
	}
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		name   string
		send   func(*testing.T, harness) response
		status int
		fields []string
	}{
		{"bad body", func(t *testing.T, h harness) response { return h.post(t, "{}", "-") }, 400, []string{"customer", "items", "payment"}},
		{"bad body and bad key", func(t *testing.T, h harness) response { return h.post(t, strings.Replace(body, ":2", ":0", 1), "ü") }, 400, []string{"Idempotency-Key", "items[0].quantity"}},
		{"empty key", func(t *testing.T, h harness) response { return h.post(t, body, "") }, 400, []string{"Idempotency-Key"}},
		{"large body", func(t *testing.T, h harness) response { return h.post(t, strings.Repeat(" ", 1<<16)+body, "-") }, 413, nil},
		{"large body and bad key", func(t *testing.T, h harness) response { return h.post(t, strings.Repeat(" ", 1<<16)+body, "") }, 413, nil},
		{"bad base64", func(t *testing.T, h harness) response {
			return h.send(t, request{RouteKey: "POST /orders", Body: "%%%", IsBase64Encoded: true})
		}, 400, []string{""}},
		{"unknown order", func(t *testing.T, h harness) response {
			return h.send(t, request{RouteKey: "GET /orders/{order_id}", PathParameters: map[string]string{"order_id": "ord_unknown"}})
		}, 404, nil},
		{"no order id", func(t *testing.T, h harness) response { return h.send(t, request{RouteKey: "GET /orders/{order_id}"}) }, 404, nil},
		{"unknown route", func(t *testing.T, h harness) response { return h.send(t, request{RouteKey: "PUT /orders"}) }, 404, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness()
			answer := c.send(t, h)
			var p order.Problem
			if err := json.Unmarshal([]byte(answer.Body), &p); err != nil || answer.StatusCode != c.status || p.Status != c.status ||
				answer.Headers["content-type"] != order.ProblemType {
				t.Fatalf("answer %d %v %s, want a problem of status %d", answer.StatusCode, answer.Headers, answer.Body, c.status)
			}
			var fields []string
			for _, e := range p.Errors {
				fields = append(fields, e.Field)
			}
			if diff := cmp.Diff(c.fields, fields); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if len(h.table.items) > 0 {
				t.Errorf("stored %v", h.table.items)
			}
		})
	}
}

func TestBase64Body(t *testing.T) {
	h := newHarness()
	r := request{RouteKey: "POST /orders", Body: base64.StdEncoding.EncodeToString([]byte(body)), IsBase64Encoded: true}
	receipt(t, h.send(t, r))
}

func TestTableFailureIsNotTold(t *testing.T) {
	h := newHarness()
	h.table.err = errors.New("secret detail")
	for _, answer := range []response{
		h.post(t, body, "k"),
		h.send(t, request{RouteKey: "GET /orders/{order_id}", PathParameters: map[string]string{"order_id": "ord_a"}}),
	} {
		if answer.StatusCode != http.StatusServiceUnavailable || strings.Contains(answer.Body, "secret") {
			t.Errorf("answer %d %s", answer.StatusCode, answer.Body)
		}
	}
	if !strings.Contains(h.log.String(), "secret detail") {
		t.Errorf("the log does not say why: %s", h.log)
	}
}

func TestRaceForAKeyHasOneWinner(t *testing.T) {
	h := newHarness()
	h.now = func() time.Time { return time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC) }
	h.intake.log = slog.New(slog.DiscardHandler)
	var wg sync.WaitGroup
	ids := make([]string, 16)
	for i := range ids {
		wg.Go(func() {
			out, _ := h.handle(t.Context(), request{RouteKey: "POST /orders", Body: body, Headers: map[string]string{"idempotency-key": "k"}})
			var r order.Receipt
			_ = json.Unmarshal([]byte(out.Body), &r)
			ids[i] = r.ID
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id == "" || id != ids[0] {
			t.Errorf("ids %v, want one", ids)
		}
	}
}
