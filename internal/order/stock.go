package order

import (
	"errors"
	"maps"
)

// Stock is what there is of one SKU. Its methods are the model of what the
// workflow does by conditional updates: each may be repeated without effect.
type Stock struct {
	SKU       string         `json:"sku"`
	Name      string         `json:"name"`
	Stocked   int            `json:"stocked"`   // ever put on the shelf
	Available int            `json:"available"` // not promised to anybody
	Sold      int            `json:"sold"`      // to confirmed orders
	Holds     map[string]int `json:"holds"`     // order id -> quantity reserved for it
}

// ErrInsufficientStock is returned by Reserve if less is available than asked.
var ErrInsufficientStock = errors.New("insufficient stock")

// Reserve moves quantity from what is available to a hold of the order.
func (s Stock) Reserve(orderID string, quantity int) (Stock, error) {
	if _, held := s.Holds[orderID]; held {
		return s, nil
	}
	if s.Available < quantity {
		return s, ErrInsufficientStock
	}
	s.Available -= quantity
	s.Holds = cloneHolds(s.Holds)
	s.Holds[orderID] = quantity
	return s, nil
}

// Confirm turns the order's hold into a sale.
func (s Stock) Confirm(orderID string) Stock {
	quantity, held := s.Holds[orderID]
	if !held {
		return s
	}
	s.Sold += quantity
	return s.drop(orderID)
}

// Release gives the order's hold back.
func (s Stock) Release(orderID string) Stock {
	quantity, held := s.Holds[orderID]
	if !held {
		return s
	}
	s.Available += quantity
	return s.drop(orderID)
}

// Held is the sum of all holds.
func (s Stock) Held() int {
	sum := 0
	for _, quantity := range s.Holds {
		sum += quantity
	}
	return sum
}

func (s Stock) drop(orderID string) Stock {
	s.Holds = cloneHolds(s.Holds)
	delete(s.Holds, orderID)
	return s
}

// cloneHolds never returns nil, as an update needs the stored map to exist.
func cloneHolds(holds map[string]int) map[string]int {
	c := make(map[string]int, len(holds)+1)
	maps.Copy(c, holds)
	return c
}

// Stocked is the stock of a SKU of which nothing has been ordered yet.
func Stocked(sku, name string, quantity int) Stock {
	return Stock{SKU: sku, Name: name, Stocked: quantity, Available: quantity, Holds: map[string]int{}}
}

// Catalogue is the stock that a new stack is seeded with.
func Catalogue() []Stock {
	return []Stock{
		Stocked("MF-DRAGON-01", "Ember Dragon", 100_000),
		Stocked("MF-GOLEM-02", "Runestone Golem", 100_000),
		Stocked("MF-PALADIN-03", "Dawn Paladin", 1000),
		Stocked("MF-RELIC-04", "The Last Relic", 1),
		Stocked("MF-SOLDOUT-05", "Founders' Wyvern", 0),
	}
}
