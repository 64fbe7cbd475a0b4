package pattern

import (
	"encoding/json"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
)

// number reads a JSON number exactly; one with an absurd exponent is none, so
// that it cannot cost memory.
func number(n json.Number) (*big.Rat, bool) {
	s := n.String()
	if i := strings.IndexAny(s, "eE"); i >= 0 && len(s)-i > 5 {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// A bound is one end of a range of numbers.
type bound struct {
	limit *big.Rat
	holds func(cmp int) bool
}

var comparisons = map[string]func(cmp int) bool{
	"=":  func(c int) bool { return c == 0 },
	"<":  func(c int) bool { return c < 0 },
	"<=": func(c int) bool { return c <= 0 },
	">":  func(c int) bool { return c > 0 },
	">=": func(c int) bool { return c >= 0 },
}

// numeric reads a range: ["=", 5], [">", 0], ["<", 5] or [">", 0, "<=", 5].
func (c *compiler) numeric() (matcher, error) {
	if c.next() != '[' {
		return nil, c.bad("Value of numeric must be an array.")
	}
	if c.next() != tokString {
		return nil, c.bad("Invalid member in numeric match: %s", c.text())
	}
	op := c.text()
	if comparisons[op] == nil {
		c.next() // AWS looks at the number before it judges the operator
		return nil, c.bad("Unrecognized numeric range operator: %s", op)
	}
	first, err := c.bound(op)
	if err != nil {
		return nil, err
	}
	if c.next() == ']' {
		return within(first), nil
	}
	if !strings.HasPrefix(op, ">") {
		return nil, c.bad("Too many elements in numeric expression")
	}
	if c.kind != tokString {
		return nil, c.bad("Bad value in numeric range: %s", c.text())
	}
	top := c.text()
	if !strings.HasPrefix(top, "<") || comparisons[top] == nil {
		return nil, c.bad("Bad numeric range operator: %s", top)
	}
	second, err := c.bound(top)
	if err != nil {
		return nil, err
	}
	if c.next() != ']' {
		return nil, c.bad("Too many terms in numeric range expression")
	}
	if first.limit.Cmp(second.limit) >= 0 {
		return nil, c.bad("Bottom must be less than top")
	}
	return within(first, second), nil
}

// bound reads the number after an operator.
func (c *compiler) bound(op string) (bound, error) {
	name := op
	if op == "=" {
		name = "equals"
	}
	if c.next() != tokNumber {
		return bound{}, c.bad("Value of %s must be numeric", name)
	}
	n, ok := number(json.Number(c.raw))
	if !ok {
		return bound{}, c.bad("Value of %s must be numeric", name)
	}
	return bound{n, comparisons[op]}, nil
}

func within(bounds ...bound) matcher {
	return func(leaf any) bool {
		n, ok := leaf.(json.Number)
		if !ok {
			return false
		}
		x, ok := number(n)
		if !ok {
			return false
		}
		for _, b := range bounds {
			if !b.holds(x.Cmp(b.limit)) {
				return false
			}
		}
		return true
	}
}

// cidr reads a range of IP addresses.
func (c *compiler) cidr() (matcher, error) {
	if c.next() != tokString {
		return nil, c.bad("prefix match pattern must be a string") // AWS says so about cidr, too
	}
	address, bits, ok := strings.Cut(c.text(), "/")
	if !ok || strings.Contains(bits, "/") {
		return nil, &InvalidError{Reason: "Malformed CIDR, one '/' required"}
	}
	n, err := strconv.Atoi(bits)
	if err != nil {
		return nil, &InvalidError{Reason: "Malformed CIDR, mask bits must be an integer"}
	}
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Zone() != "" {
		return nil, &InvalidError{Reason: "Nonstandard IP address: " + address}
	}
	p, err := ip.Prefix(n)
	if err != nil {
		return nil, &InvalidError{Reason: "Malformed CIDR, too many mask bits"}
	}
	return text(func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && p.Contains(a)
	}), nil
}
