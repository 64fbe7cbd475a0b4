package logs

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// A node is a condition: an and, an or, or a comparison of one field.
type node interface {
	// holds judges the values that lookup finds for a field; none if it is absent.
	holds(lookup func(field string) []any) bool
}

type (
	both    struct{ left, right node }
	oneOf   struct{ left, right node }
	compare struct {
		field, op, text string
		number          float64
		numeric         bool
		regex           *regexp.Regexp
	}
)

func (n both) holds(f func(string) []any) bool  { return n.left.holds(f) && n.right.holds(f) }
func (n oneOf) holds(f func(string) []any) bool { return n.left.holds(f) || n.right.holds(f) }

func (n *compare) holds(lookup func(string) []any) bool {
	values := lookup(n.field)
	switch n.op {
	case "NOT EXISTS":
		return len(values) == 0
	case "EXISTS":
		return len(values) > 0
	}
	return slices.ContainsFunc(values, n.one)
}

func (n *compare) one(v any) bool {
	switch n.op {
	case "IS NULL":
		return v == nil
	case "IS TRUE":
		return v == true
	case "IS FALSE":
		return v == false
	case "=":
		return n.equal(v)
	case "!=":
		return !n.equal(v)
	}
	x, ok := number(v)
	if !ok || !n.numeric {
		return false
	}
	switch n.op {
	case "<":
		return x < n.number
	case "<=":
		return x <= n.number
	case ">":
		return x > n.number
	}
	return x >= n.number
}

func (n *compare) equal(v any) bool {
	switch x := v.(type) {
	case string:
		return n.regex.MatchString(x)
	case float64:
		if n.numeric {
			return x == n.number
		}
		return n.regex.MatchString(strconv.FormatFloat(x, 'f', -1, 64))
	case bool:
		return n.regex.MatchString(strconv.FormatBool(x))
	}
	return false
}

func number(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case string:
		f, err := strconv.ParseFloat(x, 64)
		return f, err == nil
	}
	return 0, false
}

// A parser reads the conditions of both structured kinds of patterns:
// a && (b || c). && binds tighter.
type parser struct {
	rest  string
	depth int
	// field reads the left side of a comparison.
	field func(*parser) (string, error)
}

// maxDepth bounds nesting: a pattern has at most 1024 characters anyway.
const maxDepth = 100

func (p *parser) space() { p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace) }

func (p *parser) take(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *parser) or() (node, error) {
	left, err := p.and()
	for err == nil && p.take("||") {
		var right node
		right, err = p.and()
		left = oneOf{left, right}
	}
	return left, err
}

func (p *parser) and() (node, error) {
	left, err := p.primary()
	for err == nil && p.take("&&") {
		var right node
		right, err = p.primary()
		left = both{left, right}
	}
	return left, err
}

func (p *parser) primary() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errPattern
	}
	defer func() { p.depth-- }()
	if p.take("(") {
		n, err := p.or()
		if err == nil && !p.take(")") {
			err = errPattern
		}
		return n, err
	}
	field, err := p.field(p)
	if err != nil {
		return nil, err
	}
	n := &compare{field: field}
	for _, word := range [][]string{{"IS", "NULL"}, {"IS", "TRUE"}, {"IS", "FALSE"}, {"NOT", "EXISTS"}, {"EXISTS"}} {
		if p.words(word) {
			n.op = strings.Join(word, " ")
			return n, nil
		}
	}
	for _, op := range []string{"!=", "<=", ">=", "=", "<", ">"} {
		if p.take(op) {
			n.op = op
			return n, p.value(n)
		}
	}
	return nil, errPattern
}

// words takes keywords, in any case.
func (p *parser) words(words []string) bool {
	before := p.rest
	for _, w := range words {
		p.space()
		if len(p.rest) < len(w) || !strings.EqualFold(p.rest[:len(w)], w) {
			p.rest = before
			return false
		}
		p.rest = p.rest[len(w):]
	}
	return true
}

// value reads the right side of a comparison.
func (p *parser) value(n *compare) (err error) {
	p.space()
	switch {
	case strings.HasPrefix(p.rest, `"`):
		if n.text, p.rest, err = quoted(p.rest); err != nil {
			return err
		}
	case strings.HasPrefix(p.rest, "%"):
		source, rest, ok := strings.Cut(p.rest[1:], "%")
		if n.regex, err = regexp.Compile(source); err != nil || !ok || n.op != "=" && n.op != "!=" {
			return errPattern
		}
		p.rest = rest
		return nil
	default:
		end := strings.IndexFunc(p.rest, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`&|)}],`, r) })
		if end < 0 {
			end = len(p.rest)
		}
		if n.text, p.rest = p.rest[:end], p.rest[end:]; n.text == "" {
			return errPattern
		}
		f, err := strconv.ParseFloat(n.text, 64)
		n.number, n.numeric = f, err == nil
	}
	if !n.numeric && n.op != "=" && n.op != "!=" {
		return errPattern // order is of numbers only
	}
	n.regex = wildcard(n.text)
	return nil
}
