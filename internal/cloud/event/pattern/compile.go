package pattern

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"strings"
)

// An InvalidError says why a text is no pattern, as EventBridge words it.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return "Event pattern is not valid. Reason: " + e.Reason }

func invalid(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...)}
}

const maxDepth = 100 // bounds nesting, so that no pattern can exhaust the stack

// Compile reads a pattern. Errors are [*InvalidError].
func Compile(source string) (*Pattern, error) {
	d := json.NewDecoder(strings.NewReader(source))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, invalid("%s", err.Error())
	}
	if _, err := d.Token(); err != io.EOF { //nolint:errorlint // Token returns it as it is
		return nil, invalid("Unexpected text after the pattern")
	}
	obj, ok := v.(map[string]any)
	if !ok {
		return nil, invalid("Filter is not an object")
	}
	root, err := compileObject(obj, 0)
	if err != nil {
		return nil, err
	}
	return &Pattern{root}, nil
}

func compileObject(obj map[string]any, depth int) (*node, error) {
	if len(obj) == 0 && depth == 0 {
		return &node{}, nil // SNS and Lambda take {} for "everything"
	}
	if len(obj) == 0 {
		return nil, invalid("Empty objects are not allowed")
	}
	if depth > maxDepth {
		return nil, invalid("Too many levels")
	}
	n := &node{members: map[string]field{}}
	for name, v := range obj {
		if name == "$or" {
			group, err := compileOr(v, depth)
			if err != nil {
				return nil, err
			}
			n.or = append(n.or, group)
			continue
		}
		f, err := compileField(name, v, depth)
		if err != nil {
			return nil, err
		}
		n.members[name] = f
	}
	return n, nil
}

func compileOr(v any, depth int) ([]*node, error) {
	list, ok := v.([]any)
	if !ok || len(list) < 2 {
		return nil, invalid("$or must be an array of at least 2 objects")
	}
	var group []*node
	for _, e := range list {
		obj, ok := e.(map[string]any)
		if !ok {
			return nil, invalid("$or must be an array of at least 2 objects")
		}
		n, err := compileObject(obj, depth+1)
		if err != nil {
			return nil, err
		}
		group = append(group, n)
	}
	return group, nil
}

func compileField(name string, v any, depth int) (field, error) {
	switch v := v.(type) {
	case map[string]any:
		inner, err := compileObject(v, depth+1)
		return field{inner: inner}, err
	case []any:
		if len(v) == 0 {
			return field{}, invalid("Empty arrays are not allowed")
		}
		var f field
		for _, e := range v {
			obj, ok := e.(map[string]any)
			if !ok {
				if _, nested := e.([]any); nested {
					return f, invalid("Match value must be String, number, true, false, or null")
				}
				f.anyOf = append(f.anyOf, exact(e))
				continue
			}
			m, absent, err := compileMatcher(obj)
			if err != nil {
				return f, err
			}
			f.absent = f.absent || absent
			f.anyOf = append(f.anyOf, m)
		}
		return f, nil
	}
	return field{}, invalid("%q must be an object or an array", name)
}

// compileMatcher reads one of the special matchers, such as {"prefix": "a"}.
func compileMatcher(obj map[string]any) (m matcher, absent bool, err error) {
	if len(obj) != 1 {
		return nil, false, invalid("Only one key allowed in match expression")
	}
	for name, v := range obj {
		switch name {
		case "exists":
			b, ok := v.(bool)
			if !ok {
				return nil, false, invalid("exists match pattern must be either true or false.")
			}
			return func(any) bool { return b }, !b, nil
		case "anything-but":
			m, err = compileNot(v)
		case "numeric":
			m, err = compileNumeric(v)
		case "cidr":
			m, err = compileCIDR(v)
		default:
			m, err = compileText(name, v)
		}
	}
	return m, false, err
}

// compileText reads the matchers that compare texts.
func compileText(name string, v any) (matcher, error) {
	if fold, ok := v.(map[string]any); ok && len(fold) == 1 && (name == "prefix" || name == "suffix") {
		s, isText := fold["equals-ignore-case"].(string)
		if !isText {
			return nil, invalid("Unsupported anything-but pattern: %s", name)
		}
		s = strings.ToLower(s)
		if name == "prefix" {
			return text(func(l string) bool { return strings.HasPrefix(strings.ToLower(l), s) }), nil
		}
		return text(func(l string) bool { return strings.HasSuffix(strings.ToLower(l), s) }), nil
	}
	s, ok := v.(string)
	switch {
	case name != "prefix" && name != "suffix" && name != "equals-ignore-case" && name != "wildcard":
		return nil, invalid("Unrecognized match type %s", name)
	case !ok:
		return nil, invalid("%s match pattern must be a string", name)
	}
	switch name {
	case "prefix":
		return text(func(l string) bool { return strings.HasPrefix(l, s) }), nil
	case "suffix":
		return text(func(l string) bool { return strings.HasSuffix(l, s) }), nil
	case "equals-ignore-case":
		return text(func(l string) bool { return strings.EqualFold(l, s) }), nil
	}
	if strings.Contains(strings.ReplaceAll(s, `\*`, ""), "**") {
		return nil, invalid("Consecutive wildcard characters at pos %d", strings.Index(s, "**"))
	}
	return text(wildcard(s)), nil
}

// compileNot reads anything-but: a value, a list of values, or a text matcher.
func compileNot(v any) (matcher, error) {
	var all []matcher
	add := func(e any) error {
		if _, isText := e.(string); !isText {
			if _, isNumber := e.(json.Number); !isNumber {
				return invalid("Inside anything-but list, start|null|boolean is not supported.")
			}
		}
		all = append(all, exact(e))
		return nil
	}
	switch v := v.(type) {
	case []any:
		if len(v) == 0 {
			return nil, invalid("Empty arrays are not allowed")
		}
		for _, e := range v {
			if err := add(e); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if len(v) != 1 {
			return nil, invalid("Only one key allowed in match expression")
		}
		for name, inner := range v {
			list, ok := inner.([]any)
			if !ok {
				list = []any{inner}
			}
			for _, e := range list {
				m, err := compileText(name, e)
				if err != nil {
					return nil, err
				}
				all = append(all, m)
			}
		}
	default:
		if err := add(v); err != nil {
			return nil, err
		}
	}
	return not(all), nil
}

// compileNumeric reads pairs of operator and number: [">", 0, "<=", 5].
func compileNumeric(v any) (matcher, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list)%2 != 0 || len(list) > 4 {
		return nil, invalid("Value of numeric must be an array of one or two pairs of operator and number.")
	}
	var tests []func(*big.Rat) bool
	for i := 0; i < len(list); i += 2 {
		op, isText := list[i].(string)
		n, isNumber := list[i+1].(json.Number)
		if !isText || !isNumber {
			return nil, invalid("Value of %v must be numeric.", list[i])
		}
		limit, valid := number(n)
		holds, known := comparisons[op]
		if !valid || !known {
			return nil, invalid("Unrecognized numeric range operator: %s", op)
		}
		tests = append(tests, func(x *big.Rat) bool { return holds(x.Cmp(limit)) })
	}
	return func(leaf any) bool {
		n, ok := leaf.(json.Number)
		if !ok {
			return false
		}
		x, valid := number(n)
		for _, t := range tests {
			if !valid || !t(x) {
				return false
			}
		}
		return true
	}, nil
}

var comparisons = map[string]func(cmp int) bool{
	"=":  func(c int) bool { return c == 0 },
	"<":  func(c int) bool { return c < 0 },
	"<=": func(c int) bool { return c <= 0 },
	">":  func(c int) bool { return c > 0 },
	">=": func(c int) bool { return c >= 0 },
}

// number reads a JSON number exactly; one with an absurd exponent is none, so
// that it cannot cost memory.
func number(n json.Number) (*big.Rat, bool) {
	s := n.String()
	if i := strings.IndexAny(s, "eE"); i >= 0 && len(s)-i > 5 {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

func compileCIDR(v any) (matcher, error) {
	s, ok := v.(string)
	if !ok {
		return nil, invalid("cidr match pattern must be a string")
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return nil, invalid("Malformed CIDR: %s", s)
	}
	return cidr(p.Masked()), nil
}
