package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

// stockAPI is what the checker asks of DynamoDB.
type stockAPI interface {
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
}

var _ stockAPI = (*dynamodb.Client)(nil)

type checker struct {
	db    stockAPI
	table string
	log   *slog.Logger
}

// Query is the checker's input.
type Query struct {
	OrderID string       `json:"order_id"`
	Items   []order.Item `json:"items"`
}

// Answer is its output. A "no" is an answer, not an error: nothing is gained
// by asking again.
type Answer struct {
	Available bool `json:"available"`
	// Reason is empty or a failure code of package order.
	Reason order.FailureCode `json:"reason"`
	// Explanation is the reason for people.
	Explanation string `json:"explanation"`
	Lines       []Line `json:"lines"`
}

// Line is what there is of one ordered SKU.
type Line struct {
	SKU       string `json:"sku"`
	Quantity  int    `json:"quantity"`
	Available int    `json:"available"`
}

// handle answers from a consistent read. The answer can be outdated when it
// arrives; the reservation that follows is what decides.
func (h *checker) handle(ctx context.Context, q Query) (Answer, error) {
	stock, err := h.stock(ctx, q)
	if err != nil {
		h.log.ErrorContext(ctx, "stock not read", "order_id", q.OrderID, "error", err)
		return Answer{}, StoreUnavailable{q.OrderID, err}
	}
	a := Answer{Available: true, Lines: make([]Line, 0, len(q.Items))}
	for _, item := range q.Items {
		s, known := stock[item.SKU]
		a.Lines = append(a.Lines, Line{item.SKU, item.Quantity, s.Available})
		_, held := s.Holds[q.OrderID] // by an earlier try of this very order
		switch {
		case !known:
			a.refuse(order.UnknownSKU, "There is no miniature "+item.SKU+".")
		case s.Available < item.Quantity && !held:
			a.refuse(order.InsufficientStock, fmt.Sprintf("%s: %d ordered, %d available.", item.SKU, item.Quantity, s.Available))
		}
	}
	h.log.InfoContext(ctx, "stock checked", "order_id", q.OrderID, "available", a.Available, "reason", a.Reason)
	return a, nil
}

// refuse keeps the first reason found.
func (a *Answer) refuse(code order.FailureCode, explanation string) {
	if a.Available {
		a.Available, a.Reason, a.Explanation = false, code, explanation
	}
}

// StoreUnavailable may pass: the stock could not be read. Its type name is the
// error name that the workflow retries, as Lambda reports an error by its type.
type StoreUnavailable struct {
	OrderID string
	Err     error
}

func (e StoreUnavailable) Error() string { return "order " + e.OrderID + ": " + e.Err.Error() }

// Unwrap is the reason.
func (e StoreUnavailable) Unwrap() error { return e.Err }

// tries bounds how often keys that DynamoDB left over are asked for again. An
// order's items are a few kilobytes, far from where it leaves any, unless it is
// throttling.
const tries = 4

func (h *checker) stock(ctx context.Context, q Query) (map[string]order.Stock, error) {
	keys := make([]orderdb.Item, 0, len(q.Items))
	for _, item := range q.Items {
		keys = append(keys, orderdb.Key(orderdb.StockKey, item.SKU))
	}
	if len(keys) == 0 {
		return nil, errors.New("read stock: the order has no items")
	}
	found := make(map[string]order.Stock, len(keys))
	pause := 50 * time.Millisecond
	for try := 0; len(keys) > 0; try++ {
		if try == tries {
			return nil, fmt.Errorf("read stock: %d of %d items were not served after %d tries", len(keys), len(q.Items), tries)
		}
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("read stock: %w", ctx.Err())
			case <-time.After(pause << try):
			}
		}
		rest, err := h.read(ctx, keys, found)
		if err != nil {
			return nil, err
		}
		keys = rest
	}
	return found, nil
}

// read adds what is stored under the keys to found and returns the keys that
// DynamoDB did not get round to.
func (h *checker) read(ctx context.Context, keys []orderdb.Item, found map[string]order.Stock) ([]orderdb.Item, error) {
	out, err := h.db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{h.table: {Keys: keys, ConsistentRead: aws.Bool(true)}},
	})
	if err != nil {
		return nil, fmt.Errorf("read stock: %w", err)
	}
	for _, item := range out.Responses[h.table] {
		var s order.Stock
		if err := orderdb.Unmarshal(item, &s); err != nil {
			return nil, fmt.Errorf("read stock: %w", err)
		}
		found[s.SKU] = s
	}
	return out.UnprocessedKeys[h.table].Keys, nil
}
