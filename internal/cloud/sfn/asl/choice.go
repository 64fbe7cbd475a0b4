package asl

import (
	"slices"
	"strings"
	"time"
)

// A rule is one condition of a Choice state.
type rule struct {
	and, or  []rule
	not      *rule
	variable Path
	operator string // without "Path"
	operand  any
	path     *Path // for operators that end in "Path"
}

// test decides a rule.
func (r *rule) test(e *Env, data any) (bool, error) {
	switch {
	case r.and != nil:
		for i := range r.and {
			if ok, err := r.and[i].test(e, data); !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	case r.or != nil:
		for i := range r.or {
			if ok, err := r.or[i].test(e, data); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	case r.not != nil:
		ok, err := r.not.test(e, data)
		return !ok, err
	}
	return r.compare(e, data)
}

func (r *rule) compare(e *Env, data any) (bool, error) {
	v, found := r.variable.get(e, data)
	if r.variable.many {
		if list, _ := v.([]any); len(list) == 0 {
			found = false
		}
	}
	if r.operator == "IsPresent" {
		return found == r.operand.(bool), nil
	}
	if !found {
		return false, fail(ErrRuntime, "Invalid path '%s': The choice state's condition path references an invalid value.", r.variable.text)
	}
	want := r.operand
	if r.path != nil {
		w, err := r.path.eval(e, data, "")
		if err != nil {
			return false, err
		}
		want = w
	}
	return comparisons[r.operator].test(v, want), nil
}

// A comparison tells whether a variable's value is as wanted; values of another
// type than the operator's never are.
type comparison struct {
	kind string // of the operand: String, Numeric, Timestamp, Boolean, presence
	test func(v, want any) bool
}

var comparisons = makeComparisons()

func makeComparisons() map[string]comparison {
	all := map[string]comparison{
		"StringMatches": {"String", func(v, want any) bool {
			s, ok1 := v.(string)
			p, ok2 := want.(string)
			return ok1 && ok2 && glob(s, p)
		}},
		"BooleanEquals": {"Boolean", func(v, want any) bool {
			a, ok1 := v.(bool)
			b, ok2 := want.(bool)
			return ok1 && ok2 && a == b
		}},
		"IsPresent":   {"presence", nil},
		"IsNull":      is(func(v any) bool { return v == nil }),
		"IsString":    is(func(v any) bool { _, ok := v.(string); return ok }),
		"IsBoolean":   is(func(v any) bool { _, ok := v.(bool); return ok }),
		"IsNumeric":   is(func(v any) bool { _, ok := float(v); return ok }),
		"IsTimestamp": is(func(v any) bool { _, ok := timestamp(v); return ok }),
	}
	for name, holds := range map[string]func(order int) bool{
		"Equals":            func(o int) bool { return o == 0 },
		"LessThan":          func(o int) bool { return o < 0 },
		"GreaterThan":       func(o int) bool { return o > 0 },
		"LessThanEquals":    func(o int) bool { return o <= 0 },
		"GreaterThanEquals": func(o int) bool { return o >= 0 },
	} {
		for kind, order := range map[string]func(a, b any) (int, bool){"String": strings2, "Numeric": numbers2, "Timestamp": times2} {
			all[kind+name] = comparison{kind, func(v, want any) bool {
				o, ok := order(v, want)
				return ok && holds(o)
			}}
		}
	}
	return all
}

func is(has func(v any) bool) comparison {
	return comparison{"presence", func(v, want any) bool { return has(v) == want.(bool) }}
}

func strings2(a, b any) (int, bool) {
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	return strings.Compare(x, y), ok1 && ok2
}

func numbers2(a, b any) (int, bool) {
	i, ok1 := a.(int64)
	j, ok2 := b.(int64)
	if ok1 && ok2 { // exactly, also beyond 2^53
		return cmp(i < j, i > j), true
	}
	x, ok1 := float(a)
	y, ok2 := float(b)
	return cmp(x < y, x > y), ok1 && ok2
}

func times2(a, b any) (int, bool) {
	x, ok1 := timestamp(a)
	y, ok2 := timestamp(b)
	return x.Compare(y), ok1 && ok2
}

func cmp(less, greater bool) int {
	switch {
	case less:
		return -1
	case greater:
		return 1
	}
	return 0
}

// timestamp reads RFC 3339 in upper case, as the language asks for.
func timestamp(v any) (time.Time, bool) {
	s, ok := v.(string)
	if !ok || s != strings.ToUpper(s) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	return t, err == nil
}

// A token is a character of a pattern, or a "*" that stands for any text.
type token struct {
	char byte
	star bool
}

// glob matches s with a pattern in which "*" is any text and "\" escapes.
func glob(s, pattern string) bool {
	var p []token
	for i := 0; i < len(pattern); i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
			p = append(p, token{char: pattern[i]})
			continue
		}
		p = append(p, token{pattern[i], pattern[i] == '*'})
	}
	// One mark to go back to is enough: the last star can always take more.
	i, j, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case j < len(p) && p[j].star:
			star, mark, j = j, i, j+1
		case j < len(p) && p[j].char == s[i]:
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = mark, star+1
		default:
			return false
		}
	}
	return !slices.ContainsFunc(p[j:], func(t token) bool { return !t.star })
}
