package order

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// parser walks a decoded body and collects what is wrong with it. It works on
// the generic form, because encoding/json stops at the first mistake and does
// not say where an unknown member was.
type parser struct{ errs []FieldError }

func (p *parser) failf(field, format string, args ...any) {
	p.errs = append(p.errs, FieldError{field, fmt.Sprintf(format, args...)})
}

func (p *parser) request(value any) Request {
	m, ok := p.object("", value, "customer", "items", "payment")
	if !ok {
		return Request{}
	}
	return Request{
		Customer: p.customer(m),
		Items:    p.items(m),
		Payment:  p.payment(m),
	}
}

func (p *parser) customer(m map[string]any) Customer {
	value, ok := p.member(m, "", "customer")
	if !ok {
		return Customer{}
	}
	if m, ok = p.object("customer", value, "name", "email"); !ok {
		return Customer{}
	}
	var c Customer
	if s, ok := p.text(m, "customer", "name", MaxName); ok {
		c.Name = s
		switch {
		case strings.TrimSpace(s) == "":
			p.failf("customer.name", "must not be blank")
		case strings.ContainsFunc(s, unicode.IsControl):
			p.failf("customer.name", "must not contain control characters")
		}
	}
	if s, ok := p.text(m, "customer", "email", MaxEmail); ok {
		c.Email = s
		if !validEmail(s) {
			p.failf("customer.email", "must be an e-mail address")
		}
	}
	return c
}

func (p *parser) payment(m map[string]any) Payment {
	value, ok := p.member(m, "", "payment")
	if !ok {
		return Payment{}
	}
	if m, ok = p.object("payment", value, "token"); !ok {
		return Payment{}
	}
	token, _ := p.text(m, "payment", "token", MaxToken)
	return Payment{Token: token}
}

func (p *parser) items(m map[string]any) []Item {
	value, ok := p.member(m, "", "items")
	if !ok {
		return nil
	}
	list, ok := value.([]any)
	switch {
	case !ok:
		p.failf("items", "must be an array")
		return nil
	case len(list) == 0:
		p.failf("items", "must have at least one item")
	case len(list) > MaxItems:
		p.failf("items", "must have at most %d items", MaxItems)
		return nil
	}
	items := make([]Item, 0, len(list))
	for i, value := range list {
		item := p.item(fmt.Sprintf("items[%d]", i), value)
		if item.SKU != "" && slices.ContainsFunc(items, func(o Item) bool { return o.SKU == item.SKU }) {
			p.failf(fmt.Sprintf("items[%d].sku", i), "must not be ordered twice: add the quantities up")
		}
		items = append(items, item)
	}
	return items
}

func (p *parser) item(at string, value any) Item {
	m, ok := p.object(at, value, "sku", "quantity")
	if !ok {
		return Item{}
	}
	var item Item
	if s, ok := p.text(m, at, "sku", 64); ok {
		item.SKU = s
		if !ValidSKU(s) {
			p.failf(at+".sku", "must be 2 to 64 capital letters, digits and hyphens, not starting with a hyphen")
		}
	}
	if value, ok := p.member(m, at, "quantity"); ok {
		item.Quantity = p.quantity(at+".quantity", value)
	}
	return item
}

func (p *parser) quantity(at string, value any) int {
	number, ok := value.(json.Number)
	if !ok {
		p.failf(at, "must be a number")
		return 0
	}
	n, err := strconv.Atoi(number.String())
	if err != nil || n < 1 || n > MaxQuantity {
		p.failf(at, "must be a whole number from 1 to %d", MaxQuantity)
		return 0
	}
	return n
}

// object checks that value is an object of known members.
func (p *parser) object(at string, value any, known ...string) (map[string]any, bool) {
	m, ok := value.(map[string]any)
	if !ok {
		p.failf(at, "must be an object")
		return nil, false
	}
	var unknown []string
	for name := range m {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown) // maps have no order, answers must
	for _, name := range unknown {
		p.failf(join(at, name), "is not a known member")
	}
	return m, true
}

// member is a required member; null counts as absent.
func (p *parser) member(m map[string]any, at, name string) (any, bool) {
	value := m[name]
	if value == nil {
		p.failf(join(at, name), "is required")
	}
	return value, value != nil
}

func (p *parser) text(m map[string]any, at, name string, most int) (string, bool) {
	value, ok := p.member(m, at, name)
	if !ok {
		return "", false
	}
	s, ok := value.(string)
	switch n := utf8.RuneCountInString(s); {
	case !ok:
		p.failf(join(at, name), "must be a string")
	case n == 0:
		p.failf(join(at, name), "must not be empty")
	case n > most:
		p.failf(join(at, name), "must have at most %d characters", most)
	default:
		return s, true
	}
	return "", false
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
