package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/order"
	"miniforge/internal/orderdb"
)

// shelf serves at most one key a call for its first lazy calls.
type shelf struct {
	stock []order.Stock
	lazy  int
	err   error
}

func (s *shelf) BatchGetItem(_ context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	if s.err != nil {
		return nil, s.err
	}
	asked := in.RequestItems["inventory"]
	if !*asked.ConsistentRead {
		return nil, errors.New("not a consistent read")
	}
	out := &dynamodb.BatchGetItemOutput{Responses: map[string][]orderdb.Item{}}
	for i, key := range asked.Keys {
		if s.lazy > 0 && i > 0 {
			rest := asked
			rest.Keys = asked.Keys[i:]
			out.UnprocessedKeys = map[string]types.KeysAndAttributes{"inventory": rest}
			break
		}
		for _, stock := range s.stock {
			if key["sku"].(*types.AttributeValueMemberS).Value == stock.SKU {
				item, err := orderdb.Marshal(stock)
				if err != nil {
					return nil, err
				}
				out.Responses["inventory"] = append(out.Responses["inventory"], item)
			}
		}
	}
	s.lazy--
	return out, nil
}

func stock() []order.Stock {
	held, _ := order.Stocked("MF-RELIC-04", "Relic", 1).Reserve("ord_held", 1)
	return []order.Stock{order.Stocked("MF-DRAGON-01", "Dragon", 10), order.Stocked("MF-SOLDOUT-05", "Wyvern", 0), held}
}

func TestAnswers(t *testing.T) {
	dragons := func(n int) order.Item { return order.Item{SKU: "MF-DRAGON-01", Quantity: n} }
	cases := []struct {
		name    string
		orderID string
		items   []order.Item
		want    string
	}{
		{"enough", "ord_1", []order.Item{dragons(10)},
			`{"available":true,"reason":"","explanation":"","lines":[{"sku":"MF-DRAGON-01","quantity":10,"available":10}]}`},
		{"too many", "ord_1", []order.Item{dragons(11)},
			`{"available":false,"reason":"INSUFFICIENT_STOCK","explanation":"MF-DRAGON-01: 11 ordered, 10 available.","lines":[{"sku":"MF-DRAGON-01","quantity":11,"available":10}]}`},
		{"unknown", "ord_1", []order.Item{{SKU: "MF-NONE", Quantity: 1}},
			`{"available":false,"reason":"UNKNOWN_SKU","explanation":"There is no miniature MF-NONE.","lines":[{"sku":"MF-NONE","quantity":1,"available":0}]}`},
		{"the first reason counts", "ord_1", []order.Item{dragons(1), {SKU: "MF-SOLDOUT-05", Quantity: 1}, {SKU: "MF-NONE", Quantity: 1}},
			`{"available":false,"reason":"INSUFFICIENT_STOCK","explanation":"MF-SOLDOUT-05: 1 ordered, 0 available.","lines":[{"sku":"MF-DRAGON-01","quantity":1,"available":10},{"sku":"MF-SOLDOUT-05","quantity":1,"available":0},{"sku":"MF-NONE","quantity":1,"available":0}]}`},
		{"held by the order itself", "ord_held", []order.Item{{SKU: "MF-RELIC-04", Quantity: 1}},
			`{"available":true,"reason":"","explanation":"","lines":[{"sku":"MF-RELIC-04","quantity":1,"available":0}]}`},
		{"held by another order", "ord_other", []order.Item{{SKU: "MF-RELIC-04", Quantity: 1}},
			`{"available":false,"reason":"INSUFFICIENT_STOCK","explanation":"MF-RELIC-04: 1 ordered, 0 available.","lines":[{"sku":"MF-RELIC-04","quantity":1,"available":0}]}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := &checker{db: &shelf{stock: stock()}, table: "inventory", log: slog.New(slog.DiscardHandler)}
			got, err := h.handle(t.Context(), Query{c.orderID, c.items})
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := json.Marshal(got); string(text) != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
		})
	}
}

func TestKeysLeftOverAreAskedForAgain(t *testing.T) {
	cases := []struct {
		name string
		lazy int
		ok   bool
	}{{"twice lazy", 2, true}, {"for ever lazy", 1000, false}}
	for _, c := range cases {
		synctest.Test(t, func(t *testing.T) {
			items := []order.Item{{SKU: "MF-DRAGON-01", Quantity: 1}, {SKU: "MF-SOLDOUT-05", Quantity: 1}, {SKU: "MF-RELIC-04", Quantity: 1}, {SKU: "MF-A", Quantity: 1}, {SKU: "MF-B", Quantity: 1}, {SKU: "MF-C", Quantity: 1}}
			h := &checker{db: &shelf{stock: stock(), lazy: c.lazy}, table: "inventory", log: slog.New(slog.DiscardHandler)}
			got, err := h.handle(t.Context(), Query{"ord_1", items})
			if (err == nil) != c.ok || c.ok && len(got.Lines) != len(items) {
				t.Errorf("%s: answer %+v, error %v", c.name, got, err)
			}
		})
	}
}

func TestNoAnswerIsAnError(t *testing.T) {
	cases := []struct {
		name  string
		shelf shelf
		items []order.Item
	}{
		{"the table cannot be read", shelf{err: errors.New("unreachable")}, []order.Item{{SKU: "MF-A", Quantity: 1}}},
		{"an order for nothing", shelf{}, nil},
	}
	for _, c := range cases {
		h := &checker{db: &c.shelf, table: "inventory", log: slog.New(slog.DiscardHandler)}
		if got, err := h.handle(t.Context(), Query{"ord_1", c.items}); err == nil {
			t.Errorf("%s: answer %+v", c.name, got)
		}
	}
}
