package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

// ordersAPI is what the intake asks of DynamoDB.
type ordersAPI interface {
	PutItem(context.Context, *dynamodb.PutItemInput, ...func(*dynamodb.Options)) (*dynamodb.PutItemOutput, error)
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
}

var _ ordersAPI = (*dynamodb.Client)(nil)

type intake struct {
	db    ordersAPI
	table string
	log   *slog.Logger
	now   func() time.Time
}

type (
	request  = events.APIGatewayV2HTTPRequest
	response = events.APIGatewayV2HTTPResponse
)

// handle answers one HTTP request (payload format 2.0). It never returns an
// error: API Gateway would turn it into a bare 500.
func (h *intake) handle(ctx context.Context, r request) (response, error) {
	switch r.RouteKey {
	case "POST /orders":
		return h.answer(h.place(ctx, r)), nil
	case "GET /orders/{order_id}":
		return h.answer(h.show(ctx, r.PathParameters["order_id"])), nil
	default: // a route added to the API by hand
		return h.answer(nil, order.NotFound()), nil
	}
}

// reply is what place and show answer when they do not fail.
type reply struct {
	status int
	header map[string]string
	body   any
}

func (h *intake) place(ctx context.Context, r request) (*reply, error) {
	body, err := bodyOf(r)
	if err != nil {
		return nil, err
	}
	wanted, err := order.ParseRequest(body)
	key, hasKey := r.Headers["idempotency-key"]
	if hasKey {
		err = merge(err, order.CheckKey(key))
	}
	if err != nil {
		return nil, err
	}
	now := h.now()
	id := order.NewID(now)
	if hasKey {
		id = order.IDForKey(key)
	}
	o := order.New(id, key, wanted, now)
	stored, repeated, err := h.put(ctx, o)
	if err != nil {
		return nil, err
	}
	if stored.RequestHash != o.RequestHash {
		return nil, order.KeyReused()
	}
	out := &reply{status: http.StatusAccepted, header: map[string]string{"location": order.LinksOf(id).Self}}
	out.body = order.Receipt{ID: id, Status: stored.Status, Links: order.LinksOf(id)}
	// One line an order is what an operator searches for by its id.
	h.log.InfoContext(ctx, "order accepted", "order_id", id, "repeated", repeated)
	return out, nil
}

// put stores o unless there is an order of its id, and returns what is stored,
// and whether it was before. Whoever loses a race for a key learns here what
// the winner stored.
func (h *intake) put(ctx context.Context, o order.Order) (stored order.Order, repeated bool, err error) {
	item, err := orderdb.Marshal(o)
	if err != nil {
		return stored, false, fmt.Errorf("store order %s: %w", o.ID, err)
	}
	_, err = h.db.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &h.table, Item: item,
		ConditionExpression:                 aws.String("attribute_not_exists(order_id)"),
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	exists, taken := errors.AsType[*types.ConditionalCheckFailedException](err)
	switch {
	case taken && len(exists.Item) > 0:
		if err := orderdb.Unmarshal(exists.Item, &stored); err != nil {
			return stored, false, fmt.Errorf("read order %s: %w", o.ID, err)
		}
		return stored, true, nil
	case taken: // an endpoint that does not return the item
		stored, err = h.get(ctx, o.ID)
		return stored, true, err
	case err != nil:
		return stored, false, fmt.Errorf("store order %s: %w", o.ID, err)
	}
	return o, false, nil
}

func (h *intake) show(ctx context.Context, id string) (*reply, error) {
	if !order.ValidID(id) {
		return nil, order.NotFound()
	}
	o, err := h.get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusOK, body: o.View()}, nil
}

func (h *intake) get(ctx context.Context, id string) (order.Order, error) {
	// Consistent: whoever was given an id must find the order.
	out, err := h.db.GetItem(ctx, &dynamodb.GetItemInput{
		TableName: &h.table, Key: orderdb.Key(orderdb.OrderKey, id), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return order.Order{}, fmt.Errorf("read order %s: %w", id, err)
	}
	if len(out.Item) == 0 {
		return order.Order{}, order.NotFound()
	}
	var o order.Order
	if err := orderdb.Unmarshal(out.Item, &o); err != nil {
		return order.Order{}, fmt.Errorf("read order %s: %w", id, err)
	}
	return o, nil
}

// answer turns a reply or an error into an HTTP response.
func (h *intake) answer(out *reply, err error) response {
	contentType := "application/json"
	if err != nil {
		problem, refused := errors.AsType[*order.Problem](err)
		if !refused {
			h.log.Error("request failed", "error", err)
			problem = order.Unavailable()
		}
		contentType = order.ProblemType
		out = &reply{status: problem.Status, body: problem}
	}
	text, err := json.Marshal(out.body)
	if err != nil { // all bodies are plain structs
		h.log.Error("marshal answer", "error", err)
		return response{StatusCode: http.StatusInternalServerError}
	}
	header := map[string]string{"content-type": contentType, "cache-control": "no-store"}
	maps.Copy(header, out.header)
	return response{StatusCode: out.status, Headers: header, Body: string(text)}
}

// bodyOf is the body as it was sent: API Gateway encodes what it does not take
// for text.
func bodyOf(r request) ([]byte, error) {
	if !r.IsBase64Encoded {
		return []byte(r.Body), nil
	}
	body, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Body))
	if err != nil {
		return nil, order.BadRequest(order.FieldError{Message: "must be valid base64"})
	}
	return body, nil
}

// merge joins two refusals, so that one answer names all that is wrong.
func merge(body, key error) error {
	b, isBody := errors.AsType[*order.Problem](body)
	k, isKey := errors.AsType[*order.Problem](key)
	switch {
	case !isKey:
		return body
	case !isBody:
		return key
	case b.Status != k.Status:
		return body
	}
	return order.BadRequest(append(k.Errors, b.Errors...)...)
}
