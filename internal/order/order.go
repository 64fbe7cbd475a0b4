// Package order is the domain of Miniforge: preorders of limited-edition
// miniatures, the stock they draw on, and the rules that hold between the two.
//
// It knows nothing of AWS. The functions under handlers/ and the workflow in
// asl/ carry these rules out on DynamoDB; package verify holds them to it.
package order

import (
	"slices"
	"strings"
	"time"
)

// Source and DetailType are those of the event that starts the fulfilment of
// an order. The event's detail is a Placed.
const (
	Source     = "miniforge.orders"
	DetailType = "OrderPlaced"
)

// Order is one preorder, with the member names under which it is stored.
type Order struct {
	ID        string   `json:"order_id"`
	Status    State    `json:"status"`
	CreatedAt Time     `json:"created_at"`
	UpdatedAt Time     `json:"updated_at"`
	Customer  Customer `json:"customer"`
	Items     []Item   `json:"items"`
	Payment   Payment  `json:"payment"`
	Timeline  []Change `json:"timeline"`

	// RequestHash is that of the request which placed the order. It tells a
	// repeated request from another one under the same idempotency key.
	RequestHash    string `json:"request_hash"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`

	// ExecutionARN names the one workflow execution that claimed the order.
	ExecutionARN string `json:"execution_arn,omitempty"`

	// Attempts counts the payment attempts which the gateway did not answer,
	// as far as they are recorded.
	Attempts int `json:"charge_attempts,omitempty"`
	// Charge is the one charge, if there was one, also after it was refunded.
	Charge *Charge `json:"charge,omitempty"`
	// ChargeVoidedAt, once set, bars any later charge: an attempt whose outcome
	// was unknown cannot take effect after the order has been compensated.
	ChargeVoidedAt *Time `json:"charge_voided_at,omitempty"`

	// Failure is set when the order is given up, which is before its stock is
	// released and its status becomes Failed.
	Failure        *Failure `json:"failure,omitempty"`
	NotifiedAt     *Time    `json:"notified_at,omitempty"`
	DeadLetteredAt *Time    `json:"dead_lettered_at,omitempty"`
}

// Customer is who ordered. It never appears in logs or public views.
type Customer struct {
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Item is one line of an order.
type Item struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// Payment says how the order is paid: by a token that the payment gateway
// issued to the customer.
type Payment struct {
	Token string `json:"token"`
}

// Change is one entry of an order's timeline.
type Change struct {
	Status State  `json:"status"`
	At     Time   `json:"at"`
	Detail string `json:"detail,omitempty"`
}

// Redriven begins the detail of the change by which an order that had failed
// was put back to Submitted, to be fulfilled anew.
const Redriven = "redriven"

// follows reports whether c may come after before in a timeline: as the next
// state, or because the order was redriven.
func (c Change) follows(before Change) bool {
	again := c.Status == Submitted && before.Status != Confirmed && strings.HasPrefix(c.Detail, Redriven)
	return (before.Status.CanBecome(c.Status) || again) && !c.At.Before(before.At.Time)
}

// Charge is a charge recorded by the payment gateway.
type Charge struct {
	ID         string `json:"id"`
	At         Time   `json:"at"`
	Attempts   int    `json:"attempts"`
	RefundedAt *Time  `json:"refunded_at,omitempty"`
}

// Failure says why an order failed.
type Failure struct {
	Code   FailureCode `json:"code"`
	Reason string      `json:"reason"`
}

// FailureCode is the machine-readable reason of a Failed order.
type FailureCode string

// The reasons for which an order fails.
const (
	InsufficientStock  FailureCode = "INSUFFICIENT_STOCK"
	UnknownSKU         FailureCode = "UNKNOWN_SKU"
	PaymentDeclined    FailureCode = "PAYMENT_DECLINED"
	PaymentUnavailable FailureCode = "PAYMENT_UNAVAILABLE"
	Internal           FailureCode = "INTERNAL"
)

// FailureCodes lists them all.
func FailureCodes() []FailureCode {
	return []FailureCode{InsufficientStock, UnknownSKU, PaymentDeclined, PaymentUnavailable, Internal}
}

// Transient reports whether the reason may have passed. The other reasons are
// decisions, of the shop or of the customer's bank.
func (c FailureCode) Transient() bool { return c == PaymentUnavailable || c == Internal }

// Placed is the detail of the OrderPlaced event and the input of the workflow.
type Placed struct {
	ID        string   `json:"order_id"`
	Items     []Item   `json:"items"`
	Payment   Payment  `json:"payment"`
	Customer  Customer `json:"customer"`
	CreatedAt Time     `json:"created_at"`
}

// New is the order that a valid request places at the given time.
func New(id, idempotencyKey string, r Request, at time.Time) Order {
	now := At(at)
	return Order{
		ID: id, Status: Submitted, CreatedAt: now, UpdatedAt: now,
		Customer: r.Customer, Items: slices.Clone(r.Items), Payment: r.Payment,
		Timeline:    []Change{{Status: Submitted, At: now}},
		RequestHash: r.Hash(), IdempotencyKey: idempotencyKey,
	}
}

// Placed is the event detail that announces o.
func (o Order) Placed() Placed {
	return Placed{ID: o.ID, Items: o.Items, Payment: o.Payment, Customer: o.Customer, CreatedAt: o.CreatedAt}
}

// Charged reports whether the customer's money has been taken and kept.
func (o Order) Charged() bool { return o.Charge != nil && o.Charge.RefundedAt == nil }

// View is what the API tells about an order. Whoever knows the id may read it,
// so it holds nothing of the customer and nothing of the payment token.
type View struct {
	ID         string   `json:"order_id"`
	Status     State    `json:"status"`
	CreatedAt  Time     `json:"created_at"`
	UpdatedAt  Time     `json:"updated_at"`
	Items      []Item   `json:"items"`
	Timeline   []Change `json:"timeline"`
	Failure    *Failure `json:"failure,omitempty"`
	Charge     *Charge  `json:"charge,omitempty"`
	NotifiedAt *Time    `json:"notified_at,omitempty"`
	Links      Links    `json:"links"`
}

// Links are the addresses belonging to an order, relative to the API.
type Links struct {
	Self string `json:"self"`
}

// View is the public face of o.
func (o Order) View() View {
	return View{
		ID: o.ID, Status: o.Status, CreatedAt: o.CreatedAt, UpdatedAt: o.UpdatedAt,
		Items: o.Items, Timeline: o.Timeline, Failure: o.Failure, Charge: o.Charge,
		NotifiedAt: o.NotifiedAt, Links: LinksOf(o.ID),
	}
}

// Receipt is the answer to an accepted order.
type Receipt struct {
	ID     string `json:"order_id"`
	Status State  `json:"status"`
	Links  Links  `json:"links"`
}

// LinksOf are the links of the order with this id.
func LinksOf(id string) Links { return Links{Self: "/orders/" + id} }
