package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"miniforge/internal/check"
	"miniforge/internal/order"
)

// badInput is what happens to requests that are none.
func (r *Run) badInput() []check.Check {
	checks := []check.Check{
		{ID: "input.no-such-order", Title: "An order that does not exist is not found", Run: r.noSuchOrder},
		{ID: "input.no-such-route", Title: "A route that does not exist is not found", Run: r.noSuchRoute},
		{ID: "input.bad-key", Title: "An idempotency key that is too long is refused", Run: r.badKey},
	}
	for _, bad := range badRequests() {
		checks = append(checks, check.Check{
			ID: "input." + bad.id, Title: "Refused, and nothing stored: " + bad.title,
			Run: func(ctx context.Context, t *check.T) error { return r.refused(ctx, t, bad) },
		})
	}
	return checks
}

// badRequest is a body that must be refused.
type badRequest struct {
	id, title string
	body      string
	status    int
	fields    []string // those that the answer must name, exactly
}

// valid is a request with one hole, to be filled well or badly.
const valid = `{"customer":{"name":"A","email":"a@b.example"},"items":[{"sku":"MF-DRAGON-01","quantity":%s}],"payment":{"token":"tok_visa"}}`

func badRequests() []badRequest {
	items := func(list string) string {
		return `{"customer":{"name":"A","email":"a@b.example"},"items":` + list + `,"payment":{"token":"tok_visa"}}`
	}
	bad := func(id, title, body string, fields ...string) badRequest {
		return badRequest{id, title, body, http.StatusBadRequest, fields}
	}
	long := strings.Repeat(`{"sku":"MF-DRAGON-01","quantity":1},`, order.MaxItems) + `{"sku":"MF-DRAGON-01","quantity":1}`
	return []badRequest{
		bad("empty", "an empty body", "", ""),
		bad("not-json", "a body that is not JSON", "{", ""),
		bad("trailing", "a body with something after it", fmt.Sprintf(valid, "1")+"{}", ""),
		bad("not-an-object", "an array", "[]", ""),
		bad("empty-object", "an object without members", "{}", "customer", "items", "payment"),
		bad("wrong-types", "members of wrong types", `{"customer":"A","items":{},"payment":[]}`, "customer", "items", "payment"),
		bad("null-members", "members that are null", `{"customer":null,"items":null,"payment":null}`, "customer", "items", "payment"),
		bad("unknown-members", "members that do not exist", strings.Replace(fmt.Sprintf(valid, "1"), `"token"`, `"cvc":"123","token"`, 1), "payment.cvc"),
		bad("blank-fields", "fields that are blank", `{"customer":{"name":"","email":"nobody"},"items":[{"sku":"","quantity":1}],"payment":{"token":""}}`,
			"customer.name", "customer.email", "items[0].sku", "payment.token"),
		bad("no-items", "an order for nothing", items("[]"), "items"),
		bad("many-items", "an order of too many lines", items("["+long+"]"), "items"),
		bad("same-sku-twice", "the same miniature in two lines", items(`[{"sku":"MF-GOLEM-02","quantity":1},{"sku":"MF-GOLEM-02","quantity":1}]`), "items[1].sku"),
		bad("odd-sku", "a SKU in the wrong shape", items(`[{"sku":"mf dragon","quantity":1}]`), "items[0].sku"),
		bad("zero", "a quantity of zero", fmt.Sprintf(valid, "0"), "items[0].quantity"),
		bad("negative", "a negative quantity", fmt.Sprintf(valid, "-1"), "items[0].quantity"),
		bad("fraction", "half a miniature", fmt.Sprintf(valid, "0.5"), "items[0].quantity"),
		bad("huge", "a quantity beyond all numbers", fmt.Sprintf(valid, "1e400"), "items[0].quantity"),
		bad("text-quantity", "a quantity as text", fmt.Sprintf(valid, `"1"`), "items[0].quantity"),
		bad("long-name", "a name that is too long", strings.Replace(fmt.Sprintf(valid, "1"), `"A"`, `"`+strings.Repeat("ä", order.MaxName+1)+`"`, 1), "customer.name"),
		{"too-large", "a body that is too large", strings.Repeat(" ", order.MaxBody) + fmt.Sprintf(valid, "1"), http.StatusRequestEntityTooLarge, nil},
	}
}

// refused sends a bad request under a key, so that it is known which order it
// would have placed.
func (r *Run) refused(ctx context.Context, t *check.T, bad badRequest) error {
	c, err := r.lab.connect(ctx)
	if err != nil {
		return err
	}
	key := r.lab.newKey()
	r.lab.track(order.IDForKey(key)) // should it be stored after all
	a, err := c.Do(ctx, http.MethodPost, "/orders", http.Header{order.KeyHeader: {key}, "Content-Type": {"application/json"}}, []byte(bad.body))
	if err != nil {
		return err
	}
	check.Equal(t, "status", bad.status, a.Status)
	p, ok := a.Problem()
	if t.Claim("answer", order.ProblemType, a.Header.Get("Content-Type")+" "+string(a.Body), ok) && bad.fields != nil {
		got := []string{}
		for _, e := range p.Errors {
			got = append(got, e.Field)
		}
		slices.Sort(got)
		want := slices.Sorted(slices.Values(bad.fields))
		t.Claim("fields that it names", fmt.Sprintf("%q", want), fmt.Sprintf("%q", got), slices.Equal(want, got))
	}
	_, err = r.lab.order(ctx, order.IDForKey(key))
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	check.Equal(t, "an order was stored", false, err == nil)
	return nil
}

func (r *Run) noSuchOrder(ctx context.Context, t *check.T) error {
	c, err := r.lab.connect(ctx)
	if err != nil {
		return err
	}
	for _, id := range []string{order.IDForKey(r.lab.newKey()), "nonsense", "%2e%2e%2f"} {
		a, err := c.Do(ctx, http.MethodGet, "/orders/"+id, nil, nil)
		if err != nil {
			return err
		}
		check.Equal(t, "status of GET /orders/"+id, http.StatusNotFound, a.Status)
	}
	return nil
}

func (r *Run) noSuchRoute(ctx context.Context, t *check.T) error {
	c, err := r.lab.connect(ctx)
	if err != nil {
		return err
	}
	for _, route := range [][2]string{{http.MethodGet, "/"}, {http.MethodDelete, "/orders"}, {http.MethodPost, "/order"}} {
		a, err := c.Do(ctx, route[0], route[1], nil, nil)
		if err != nil {
			return err
		}
		check.Equal(t, "status of "+route[0]+" "+route[1], http.StatusNotFound, a.Status)
	}
	return nil
}

func (r *Run) badKey(ctx context.Context, t *check.T) error {
	_, err := r.lab.placeAs(ctx, request("tok_visa", order.Item{SKU: "MF-DRAGON-01", Quantity: 1}), strings.Repeat("k", order.MaxKey+1))
	return claimRefused(t, err, http.StatusBadRequest, order.KeyHeader)
}
