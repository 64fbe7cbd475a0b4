package authz

import (
	"bytes"
	"encoding/base64"
	"math/big"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// A Context gives the condition keys of a request. Keys are asked for in lower
// case; false means that the request has no such key.
type Context interface {
	Lookup(key string) (values []string, ok bool)
}

// Keys is a Context of fixed values. Its keys are in lower case.
type Keys map[string][]string

// Lookup implements [Context].
func (k Keys) Lookup(key string) ([]string, bool) {
	v, ok := k[key]
	return v, ok
}

// A test compares one value of a request with one of the policy.
type test func(value string, p *pattern, c Context) bool

// A quantifier says how the values of a key with several are judged.
type quantifier uint8

const (
	single quantifier = iota
	forAny
	forAll
)

// A condition is one operator on one key.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
type condition struct {
	operator   string // as written
	key        string // in lower case
	name       string // of the key, as written
	test       test
	null       bool // Null: the values say whether the key is absent
	negated    bool
	ifExists   bool
	quantifier quantifier
	values     []pattern
}

// operators are the positive forms; "Not" in the name negates.
var operators = map[string]struct {
	test    test
	negated bool
}{
	"StringEquals":              {stringEquals, false},
	"StringNotEquals":           {stringEquals, true},
	"StringEqualsIgnoreCase":    {stringEqualsFold, false},
	"StringNotEqualsIgnoreCase": {stringEqualsFold, true},
	"StringLike":                {stringLike, false},
	"StringNotLike":             {stringLike, true},
	"NumericEquals":             {numeric(func(c int) bool { return c == 0 }), false},
	"NumericNotEquals":          {numeric(func(c int) bool { return c == 0 }), true},
	"NumericLessThan":           {numeric(func(c int) bool { return c < 0 }), false},
	"NumericLessThanEquals":     {numeric(func(c int) bool { return c <= 0 }), false},
	"NumericGreaterThan":        {numeric(func(c int) bool { return c > 0 }), false},
	"NumericGreaterThanEquals":  {numeric(func(c int) bool { return c >= 0 }), false},
	"DateEquals":                {date(func(c int) bool { return c == 0 }), false},
	"DateNotEquals":             {date(func(c int) bool { return c == 0 }), true},
	"DateLessThan":              {date(func(c int) bool { return c < 0 }), false},
	"DateLessThanEquals":        {date(func(c int) bool { return c <= 0 }), false},
	"DateGreaterThan":           {date(func(c int) bool { return c > 0 }), false},
	"DateGreaterThanEquals":     {date(func(c int) bool { return c >= 0 }), false},
	"Bool":                      {boolean, false},
	"BinaryEquals":              {binary, false},
	"IpAddress":                 {address, false},
	"NotIpAddress":              {address, true},
	"ArnEquals":                 {arnLike, false}, // the same as ArnLike, by its documentation
	"ArnLike":                   {arnLike, false},
	"ArnNotEquals":              {arnLike, true},
	"ArnNotLike":                {arnLike, true},
}

func compileCondition(operator, key string, values []string, variables bool) (condition, bool) {
	c := condition{operator: operator, key: strings.ToLower(key), name: key}
	name := operator
	if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
		c.quantifier, name = forAll, rest
	} else if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
		c.quantifier, name = forAny, rest
	}
	if rest, ok := strings.CutSuffix(name, "IfExists"); ok {
		c.ifExists, name = true, rest
	}
	if name == "Null" {
		c.null = true
		if c.ifExists {
			return c, false
		}
	} else {
		op, ok := operators[name]
		if !ok {
			return c, false
		}
		c.test, c.negated = op.test, op.negated
	}
	for _, v := range values {
		p := compilePattern(v, v, variables)
		if strings.HasPrefix(name, "Arn") && !p.dynamic {
			p.parts = splitARN(p.tokens)
		}
		c.values = append(c.values, p)
	}
	return c, true
}

// holds judges the condition.
func (c *condition) holds(ctx Context) bool {
	values, ok := ctx.Lookup(c.key)
	ok = ok && len(values) > 0
	if c.null {
		for i := range c.values {
			if strings.EqualFold(c.values[i].source, strconv.FormatBool(!ok)) {
				return true
			}
		}
		return false
	}
	switch {
	case !ok:
		// An absent key does not match; "not equal" to it is true. ForAnyValue
		// needs a value, ForAllValues has nothing to object to.
		return c.ifExists || c.quantifier == forAll || c.negated && c.quantifier != forAny
	case c.quantifier == forAll || c.quantifier == single && c.negated:
		for _, v := range values {
			if c.one(v, ctx) == c.negated {
				return false
			}
		}
		return true
	default:
		for _, v := range values {
			if c.one(v, ctx) != c.negated {
				return true
			}
		}
		return false
	}
}

// one tells whether a value matches any of the policy's, not yet negated.
func (c *condition) one(v string, ctx Context) bool {
	for i := range c.values {
		if c.test(v, &c.values[i], ctx) {
			return true
		}
	}
	return false
}

func stringEquals(v string, p *pattern, c Context) bool     { return p.exact(v, c, false) }
func stringEqualsFold(v string, p *pattern, c Context) bool { return p.exact(v, c, true) }
func stringLike(v string, p *pattern, c Context) bool       { return p.match(v, c) }

// boolean and the operators below take the policy's values as they are:
// variables mean something to string and ARN operators only.
func boolean(v string, p *pattern, _ Context) bool {
	return strings.EqualFold(v, p.source) // true and false are the only values that keys have
}

func numeric(ok func(cmp int) bool) test {
	return func(v string, p *pattern, _ Context) bool {
		x, okX := number(v)
		y, okY := number(p.source)
		return okX && okY && ok(x.Cmp(y))
	}
}

// number reads a decimal number exactly. Long ones and exponents are not
// numbers: 1e999999999 would take all memory.
func number(s string) (*big.Rat, bool) {
	if len(s) > 64 || strings.ContainsAny(s, "eEpP/_xX") {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

func date(ok func(cmp int) bool) test {
	return func(v string, p *pattern, _ Context) bool {
		x, okX := instant(v)
		y, okY := instant(p.source)
		return okX && okY && ok(x.Compare(y))
	}
}

var dateFormats = []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02", "2006-01", "2006"}

// instant reads the W3C profile of ISO 8601, or seconds since 1970.
func instant(s string) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && len(s) > 4 {
		return time.Unix(n, 0), true
	}
	for _, f := range dateFormats {
		if t, err := time.Parse(f, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func binary(v string, p *pattern, _ Context) bool {
	x, errX := base64.StdEncoding.DecodeString(v)
	y, errY := base64.StdEncoding.DecodeString(p.source)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func address(v string, p *pattern, _ Context) bool {
	a, err := netip.ParseAddr(v)
	if err != nil {
		return false
	}
	if one, err := netip.ParseAddr(p.source); err == nil {
		return one.Unmap() == a.Unmap()
	}
	block, err := netip.ParsePrefix(p.source)
	return err == nil && block.Contains(a.Unmap())
}

// arnLike compares the six parts of ARNs one by one, so that a wildcard never
// reaches over a colon but in the last.
func arnLike(v string, p *pattern, c Context) bool {
	tokens, ok := p.expand(c)
	if !ok {
		return false
	}
	want := p.parts
	if want == nil {
		want = splitARN(tokens)
	}
	got, isARN := arnParts(v)
	if !isARN || len(want) != len(got) {
		// A lone "*" is no ARN, but is commonly written for any.
		return len(tokens) == 1 && tokens[0].kind == anyTextToken && strings.HasPrefix(v, "arn:")
	}
	for i := range got {
		if !glob(want[i], got[i]) {
			return false
		}
	}
	return true
}

// arnParts splits at the first five colons; false if there are fewer.
func arnParts(s string) (parts [6]string, ok bool) {
	for i := range len(parts) - 1 {
		if parts[i], s, ok = strings.Cut(s, ":"); !ok {
			return parts, false
		}
	}
	parts[len(parts)-1] = s
	return parts, true
}

// splitARN splits at the first five colons.
func splitARN(tokens []token) [][]token {
	parts := [][]token{nil}
	for _, t := range tokens {
		if t.kind != literalToken {
			parts[len(parts)-1] = append(parts[len(parts)-1], t)
			continue
		}
		for i, s := range strings.SplitN(t.text, ":", 7-len(parts)) {
			if i > 0 {
				parts = append(parts, nil)
			}
			if s != "" {
				parts[len(parts)-1] = append(parts[len(parts)-1], token{kind: literalToken, text: s})
			}
		}
	}
	return parts
}
