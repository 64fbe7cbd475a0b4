package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"miniforge/internal/order"
)

// eventsAPI is what the processor asks of EventBridge.
type eventsAPI interface {
	PutEvents(context.Context, *eventbridge.PutEventsInput, ...func(*eventbridge.Options)) (*eventbridge.PutEventsOutput, error)
}

var _ eventsAPI = (*eventbridge.Client)(nil)

// maxEntries is how many events PutEvents takes.
const maxEntries = 10

type processor struct {
	bus     eventsAPI
	busName string
	log     *slog.Logger
}

// announcement is an event with the stream record it comes from.
type announcement struct {
	sequence string
	orderID  string
	entry    types.PutEventsRequestEntry
}

// handle announces the orders of one batch of stream records. It reports the
// records that were not announced, so that Lambda repeats the batch from the
// first of them; orders announced twice are claimed once by the workflow.
func (h *processor) handle(ctx context.Context, batch events.DynamoDBEvent) (events.DynamoDBEventResponse, error) {
	var failed []events.DynamoDBBatchItemFailure
	var pending []announcement
	for _, record := range batch.Records {
		a, wanted, err := h.announcement(record)
		switch {
		case err != nil:
			h.log.ErrorContext(ctx, "record is not an order", "event_id", record.EventID, "error", err)
			failed = append(failed, events.DynamoDBBatchItemFailure{ItemIdentifier: record.Change.SequenceNumber})
		case wanted:
			pending = append(pending, a)
		}
	}
	for chunk := range slices.Chunk(pending, maxEntries) {
		for _, sequence := range h.put(ctx, chunk) {
			failed = append(failed, events.DynamoDBBatchItemFailure{ItemIdentifier: sequence})
		}
	}
	// Never nil: Lambda takes "batchItemFailures": null for success as well,
	// other readers of the answer may not.
	return events.DynamoDBEventResponse{BatchItemFailures: append([]events.DynamoDBBatchItemFailure{}, failed...)}, nil
}

// announcement makes the event for a record; wanted is false for a record that
// is not a new order. The mapping filters those out already, but a filter that
// was changed by hand must not start a second fulfilment.
func (h *processor) announcement(record events.DynamoDBEventRecord) (a announcement, wanted bool, err error) {
	image := record.Change.NewImage
	if record.EventName != string(events.DynamoDBOperationTypeInsert) {
		return a, false, nil
	}
	var o order.Order
	plain, err := members(image)
	if err != nil {
		return a, false, fmt.Errorf("read new image: %w", err)
	}
	text, err := json.Marshal(plain)
	if err != nil {
		return a, false, fmt.Errorf("read new image: %w", err)
	}
	if err := json.Unmarshal(text, &o); err != nil {
		return a, false, fmt.Errorf("read new image: %w", err)
	}
	if o.Status != order.Submitted {
		return a, false, nil
	}
	if !order.ValidID(o.ID) || len(o.Items) == 0 {
		return a, false, fmt.Errorf("order %q has %d items", o.ID, len(o.Items))
	}
	detail, err := json.Marshal(o.Placed())
	if err != nil {
		return a, false, fmt.Errorf("marshal event of order %s: %w", o.ID, err)
	}
	return announcement{
		sequence: record.Change.SequenceNumber, orderID: o.ID,
		entry: types.PutEventsRequestEntry{
			EventBusName: &h.busName, Source: aws.String(order.Source), DetailType: aws.String(order.DetailType),
			Detail: aws.String(string(detail)), Time: &o.CreatedAt.Time, Resources: []string{record.EventSourceArn},
		},
	}, true, nil
}

// put sends one call's worth of events and returns the sequence numbers of the
// records whose event was not accepted.
func (h *processor) put(ctx context.Context, chunk []announcement) (failed []string) {
	in := &eventbridge.PutEventsInput{}
	for _, a := range chunk {
		in.Entries = append(in.Entries, a.entry)
	}
	out, err := h.bus.PutEvents(ctx, in)
	for i, a := range chunk {
		switch {
		case err != nil:
			h.log.ErrorContext(ctx, "order not announced", "order_id", a.orderID, "error", err)
		case i >= len(out.Entries) || out.Entries[i].EventId == nil:
			code, message := "NoEntry", ""
			if i < len(out.Entries) {
				code, message = aws.ToString(out.Entries[i].ErrorCode), aws.ToString(out.Entries[i].ErrorMessage)
			}
			h.log.ErrorContext(ctx, "order not announced", "order_id", a.orderID, "code", code, "error", message)
		default:
			h.log.InfoContext(ctx, "order announced", "order_id", a.orderID, "event_id", *out.Entries[i].EventId)
			continue
		}
		failed = append(failed, a.sequence)
	}
	return failed
}

func members(image map[string]events.DynamoDBAttributeValue) (map[string]any, error) {
	m := make(map[string]any, len(image))
	for name, value := range image {
		v, err := plain(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		m[name] = v
	}
	return m, nil
}

// plain is the JSON form of an attribute value. It asks for the type first, as
// the accessors panic on any other.
func plain(value events.DynamoDBAttributeValue) (any, error) {
	switch value.DataType() {
	case events.DataTypeNull:
		return nil, nil
	case events.DataTypeBoolean:
		return value.Boolean(), nil
	case events.DataTypeNumber:
		return json.Number(value.Number()), nil
	case events.DataTypeString:
		return value.String(), nil
	case events.DataTypeList:
		list := make([]any, len(value.List()))
		for i, e := range value.List() {
			var err error
			if list[i], err = plain(e); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return list, nil
	case events.DataTypeMap:
		return members(value.Map())
	default:
		return nil, fmt.Errorf("unexpected attribute type %d", value.DataType())
	}
}
