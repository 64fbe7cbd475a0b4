package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/order"
)

// bus takes events, except those of the orders that it is told to refuse.
type bus struct {
	calls   [][]types.PutEventsRequestEntry
	refuse  map[string]bool
	failing int // this many calls fail altogether
}

func (b *bus) PutEvents(_ context.Context, in *eventbridge.PutEventsInput, _ ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error) {
	if b.failing > 0 {
		b.failing--
		return nil, errors.New("unreachable")
	}
	b.calls = append(b.calls, in.Entries)
	out := &eventbridge.PutEventsOutput{}
	for i, e := range in.Entries {
		var p order.Placed
		_ = json.Unmarshal([]byte(*e.Detail), &p)
		if b.refuse[p.ID] {
			out.FailedEntryCount++
			out.Entries = append(out.Entries, types.PutEventsResultEntry{ErrorCode: aws.String("ThrottlingException")})
			continue
		}
		out.Entries = append(out.Entries, types.PutEventsResultEntry{EventId: aws.String(fmt.Sprint("event-", i))})
	}
	return out, nil
}

const record = `{"eventID":"%[1]d","eventName":"%[2]s","eventSource":"aws:dynamodb","eventSourceARN":"arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/1",
"dynamodb":{"SequenceNumber":"seq-%[1]d","Keys":{"order_id":{"S":"ord_%[1]d"}},"NewImage":{"order_id":{"S":"ord_%[1]d"},"status":{"S":"%[3]s"},
"created_at":{"S":"2026-01-02T03:04:05.678Z"},"updated_at":{"S":"2026-01-02T03:04:05.678Z"},
"customer":{"M":{"name":{"S":"Ada"},"email":{"S":"ada@example.com"}}},"items":{"L":[{"M":{"sku":{"S":"MF-DRAGON-01"},"quantity":{"N":"2"}}}]},
"payment":{"M":{"token":{"S":"tok_visa"}}},"timeline":{"L":[]},"request_hash":{"S":"abc"}},"StreamViewType":"NEW_AND_OLD_IMAGES"}}`

func placed(n int) string { return fmt.Sprintf(record, n, "INSERT", "SUBMITTED") }

// run decodes the records as the Lambda runtime does and handles them.
func run(t *testing.T, b *bus, records ...string) (failed []string, log string) {
	t.Helper()
	var batch events.DynamoDBEvent
	if err := json.Unmarshal([]byte(`{"Records":[`+strings.Join(records, ",")+`]}`), &batch); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	h := &processor{bus: b, busName: "orders-bus", log: slog.New(slog.NewJSONHandler(&lines, nil))}
	out, err := h.handle(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(out)
	if err != nil || !strings.HasPrefix(string(text), `{"batchItemFailures":[`) {
		t.Errorf("answer %s", text)
	}
	failed = []string{}
	for _, f := range out.BatchItemFailures {
		failed = append(failed, f.ItemIdentifier)
	}
	return failed, lines.String()
}

func TestNewOrderIsAnnounced(t *testing.T) {
	b := &bus{}
	failed, log := run(t, b, placed(1))
	if len(failed) > 0 || len(b.calls) != 1 {
		t.Fatalf("failed %v after %d calls", failed, len(b.calls))
	}
	e := b.calls[0][0]
	if *e.Source != "miniforge.orders" || *e.DetailType != "OrderPlaced" || *e.EventBusName != "orders-bus" {
		t.Errorf("event %s %s on %s", *e.Source, *e.DetailType, *e.EventBusName)
	}
	want := `{"order_id":"ord_1","items":[{"sku":"MF-DRAGON-01","quantity":2}],"payment":{"token":"tok_visa"},` +
		`"customer":{"name":"Ada","email":"ada@example.com"},"created_at":"2026-01-02T03:04:05.678Z"}`
	if diff := cmp.Diff(want, *e.Detail); diff != "" {
		t.Errorf("detail (-want +got):\n%s", diff)
	}
	for _, secret := range []string{"Ada", "ada@", "tok_visa"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log tells %q: %s", secret, log)
		}
	}
}

func TestManyOrdersGoInCallsOfTen(t *testing.T) {
	b := &bus{}
	var records []string
	for i := range 23 {
		records = append(records, placed(i))
	}
	failed, _ := run(t, b, records...)
	sizes := []int{}
	for _, c := range b.calls {
		sizes = append(sizes, len(c))
	}
	if diff := cmp.Diff([]int{10, 10, 3}, sizes); diff != "" || len(failed) > 0 {
		t.Errorf("failed %v; sizes of calls (-want +got):\n%s", failed, diff)
	}
}

func TestOnlyNewOrdersAreAnnounced(t *testing.T) {
	b := &bus{}
	removed := `{"eventName":"REMOVE","dynamodb":{"SequenceNumber":"seq-9"}}`
	failed, _ := run(t, b, fmt.Sprintf(record, 1, "MODIFY", "SUBMITTED"), fmt.Sprintf(record, 2, "INSERT", "CONFIRMED"), removed)
	if len(failed) > 0 || len(b.calls) > 0 {
		t.Errorf("failed %v after %d calls, want nothing done", failed, len(b.calls))
	}
}

func TestFailuresNameTheirRecords(t *testing.T) {
	broken := strings.Replace(placed(7), `{"N":"2"}`, `{"N":"two"}`, 1)
	set := strings.Replace(placed(8), `"timeline":{"L":[]}`, `"timeline":{"SS":["a"]}`, 1)
	half := `{"eventName":"INSERT","dynamodb":{"SequenceNumber":"seq-6","NewImage":{"order_id":{"S":"ord_6"},"status":{"S":"SUBMITTED"}}}}`
	var many []string
	for i := range 12 {
		many = append(many, placed(i))
	}
	cases := []struct {
		name    string
		bus     bus
		records []string
		failed  []string
	}{
		{"an entry is refused", bus{refuse: map[string]bool{"ord_2": true}}, []string{placed(1), placed(2), placed(3)}, []string{"seq-2"}},
		{"a call fails", bus{failing: 1}, many, []string{"seq-0", "seq-1", "seq-2", "seq-3", "seq-4", "seq-5", "seq-6", "seq-7", "seq-8", "seq-9"}},
		{"a record is no order", bus{}, []string{placed(1), broken, set, half}, []string{"seq-7", "seq-8", "seq-6"}},
		{"an empty batch", bus{}, nil, []string{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			failed, _ := run(t, &c.bus, c.records...)
			if diff := cmp.Diff(c.failed, failed); diff != "" {
				t.Errorf("failed (-want +got):\n%s", diff)
			}
		})
	}
}
