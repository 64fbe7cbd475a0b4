package order_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"miniforge/internal/order"
)

const good = `{"customer":{"name":"Ada","email":"ada@example.com"},"items":[{"sku":"MF-DRAGON-01","quantity":2}],"payment":{"token":"tok_visa"}}`

func goodRequest() order.Request {
	return order.Request{
		Customer: order.Customer{Name: "Ada", Email: "ada@example.com"},
		Items:    []order.Item{{SKU: "MF-DRAGON-01", Quantity: 2}},
		Payment:  order.Payment{Token: "tok_visa"},
	}
}

func TestParseRequestTakesAGoodOne(t *testing.T) {
	got, err := order.ParseRequest([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(goodRequest(), got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestParseRequestNamesEveryBadField(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	many := strings.Repeat(`{"sku":"AB","quantity":1},`, order.MaxItems) + `{"sku":"AC","quantity":1}`
	cases := []struct {
		name   string
		body   string
		fields []string
	}{
		{"empty body", "", []string{""}},
		{"white space only", " \n", []string{""}},
		{"not JSON", "{", []string{""}},
		{"not UTF-8", with("Ada", "\xff"), []string{""}},
		{"two values", good + good, []string{""}},
		{"garbage after the value", good + "x", []string{""}},
		{"not an object", "[]", []string{""}},
		{"null", "null", []string{""}},
		{"no members", "{}", []string{"customer", "items", "payment"}},
		{"unknown members, in order", with(`"payment"`, `"b":1,"a":2,"payment"`), []string{"a", "b"}},
		{"unknown member of the customer", with(`"name"`, `"phone":"1","name"`), []string{"customer.phone"}},
		{"unknown member of an item", with(`"sku"`, `"price":1,"sku"`), []string{"items[0].price"}},
		{"name missing", with(`"name":"Ada",`, ""), []string{"customer.name"}},
		{"name not a text", with(`"Ada"`, "1"), []string{"customer.name"}},
		{"name blank", with("Ada", "  "), []string{"customer.name"}},
		{"name with a control character", with("Ada", `A\u0000da`), []string{"customer.name"}},
		{"name too long", with("Ada", strings.Repeat("ö", 201)), []string{"customer.name"}},
		{"email without at", with("ada@example.com", "ada.example.com"), []string{"customer.email"}},
		{"email without domain", with("ada@example.com", "ada@"), []string{"customer.email"}},
		{"email with two ats", with("ada@example.com", "a@b@example.com"), []string{"customer.email"}},
		{"email with a space", with("ada@example.com", "a da@example.com"), []string{"customer.email"}},
		{"email too long", with("ada@example.com", strings.Repeat("a", 250)+"@b.co"), []string{"customer.email"}},
		{"items not an array", with(`[{"sku":"MF-DRAGON-01","quantity":2}]`, `{}`), []string{"items"}},
		{"no items", with(`{"sku":"MF-DRAGON-01","quantity":2}`, ``), []string{"items"}},
		{"too many items", with(`{"sku":"MF-DRAGON-01","quantity":2}`, many), []string{"items"}},
		{"item not an object", with(`{"sku":"MF-DRAGON-01","quantity":2}`, `1`), []string{"items[0]"}},
		{"the same SKU twice", with(`{"sku"`, `{"sku":"MF-DRAGON-01","quantity":1},{"sku"`), []string{"items[1].sku"}},
		{"SKU in small letters", with("MF-DRAGON-01", "mf-dragon-01"), []string{"items[0].sku"}},
		{"SKU of one character", with("MF-DRAGON-01", "A"), []string{"items[0].sku"}},
		{"SKU beginning with a hyphen", with("MF-DRAGON-01", "-A"), []string{"items[0].sku"}},
		{"SKU too long", with("MF-DRAGON-01", strings.Repeat("A", 65)), []string{"items[0].sku"}},
		{"quantity missing", with(`,"quantity":2`, ``), []string{"items[0].quantity"}},
		{"quantity zero", with(`:2`, `:0`), []string{"items[0].quantity"}},
		{"quantity negative", with(`:2`, `:-1`), []string{"items[0].quantity"}},
		{"quantity too large", with(`:2`, `:1001`), []string{"items[0].quantity"}},
		{"quantity beyond 64 bits", with(`:2`, `:99999999999999999999`), []string{"items[0].quantity"}},
		{"quantity a fraction", with(`:2`, `:1.5`), []string{"items[0].quantity"}},
		{"quantity a text", with(`:2`, `:"2"`), []string{"items[0].quantity"}},
		{"token empty", with("tok_visa", ""), []string{"payment.token"}},
		{"token too long", with("tok_visa", strings.Repeat("t", 65)), []string{"payment.token"}},
		{
			"mistakes in several places", `{"customer":{"name":"","email":"x"},"items":[{"sku":"x","quantity":0}],"payment":{}}`,
			[]string{"customer.name", "customer.email", "items[0].sku", "items[0].quantity", "payment.token"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := order.ParseRequest([]byte(c.body))
			p, ok := errors.AsType[*order.Problem](err)
			if !ok || p.Status != 400 {
				t.Fatalf("error = %v, want a problem of status 400", err)
			}
			got := []string{}
			for _, e := range p.Errors {
				got = append(got, e.Field)
				if e.Message == "" {
					t.Errorf("field %q: no message", e.Field)
				}
			}
			if diff := cmp.Diff(c.fields, got); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseRequestAtTheLimits(t *testing.T) {
	r := goodRequest()
	r.Customer.Name = strings.Repeat("ö", order.MaxName)
	r.Payment.Token = strings.Repeat("t", order.MaxToken)
	r.Items = nil
	for i := range order.MaxItems {
		r.Items = append(r.Items, order.Item{SKU: fmt.Sprintf("%s%02d", strings.Repeat("A", 62), i), Quantity: order.MaxQuantity})
	}
	if err := r.Validate(); err != nil {
		t.Errorf("a request at all limits: %v", err)
	}
	body := []byte(good + strings.Repeat(" ", order.MaxBody-len(good)))
	if _, err := order.ParseRequest(body); err != nil {
		t.Errorf("a body of %d bytes: %v", len(body), err)
	}
	_, err := order.ParseRequest(append(body, ' '))
	if p, ok := errors.AsType[*order.Problem](err); !ok || p.Status != 413 {
		t.Errorf("a body of %d bytes: error = %v, want a problem of status 413", len(body)+1, err)
	}
}

func TestHashFollowsTheContent(t *testing.T) {
	same := []string{
		good,
		" " + strings.ReplaceAll(good, ",", " ,\n"),
		`{"payment":{"token":"tok_visa"},"items":[{"quantity":2,"sku":"MF-DRAGON-01"}],"customer":{"email":"ada@example.com","name":"\u0041da"}}`,
	}
	for _, body := range same {
		r, err := order.ParseRequest([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if r.Hash() != goodRequest().Hash() {
			t.Errorf("hash of %s differs", body)
		}
	}
	other := goodRequest()
	other.Items[0].Quantity++
	if other.Hash() == goodRequest().Hash() {
		t.Error("another quantity has the same hash")
	}
}

func TestCheckKey(t *testing.T) {
	cases := []struct {
		name, key string
		ok        bool
	}{
		{"usual", "5b1e-42", true},
		{"longest", strings.Repeat("k", 255), true},
		{"too long", strings.Repeat("k", 256), false},
		{"empty", "", false},
		{"not ASCII", "schlüssel", false},
		{"control character", "a\tb", false},
	}
	for _, c := range cases {
		if err := order.CheckKey(c.key); (err == nil) != c.ok {
			t.Errorf("%s: error = %v", c.name, err)
		}
	}
}

func TestAnyBodyIsJudged(t *testing.T) {
	// Whatever is sent, the answer is a valid request or a problem, never a panic.
	rapid.Check(t, func(t *rapid.T) {
		body := []byte(good)
		for range rapid.IntRange(1, 4).Draw(t, "edits") {
			at := rapid.IntRange(0, len(body)-1).Draw(t, "at")
			body[at] = rapid.SampledFrom([]byte(`{}[]":,019.-eA x`+"\x00\xff")).Draw(t, "byte")
		}
		r, err := order.ParseRequest(body)
		if err == nil {
			if again := r.Validate(); again != nil {
				t.Fatalf("taken, but not valid: %v", again)
			}
			return
		}
		p, ok := errors.AsType[*order.Problem](err)
		if !ok || p.Status != 400 || len(p.Errors) == 0 {
			t.Fatalf("error = %v", err)
		}
	})
}
