// Package pattern matches JSON events with EventBridge's event patterns. Event
// source mappings and SNS filter policies use the same language.
//
// https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
package pattern

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// A Pattern is a compiled pattern. It is safe for concurrent use.
type Pattern struct{ root *node }

// A node is an object of the pattern: all members must hold, and one of each
// group of alternatives.
type node struct {
	members map[string]field
	or      [][]*node // each list: at least one must hold
}

// A field is what a pattern says of one member of the event.
type field struct {
	inner  *node     // an object: the event's member must be one that matches
	anyOf  []matcher // an array: one of them must hold
	absent bool      // one of them is exists:false
}

// A matcher judges one leaf of the event: a string, json.Number, bool or nil.
type matcher func(leaf any) bool

// Match tells whether an event, a JSON document, matches.
func (p *Pattern) Match(event []byte) (bool, error) {
	v, err := Decode(event)
	if err != nil {
		return false, err
	}
	return p.MatchValue(v), nil
}

// Decode reads JSON as MatchValue wants it: numbers keep their digits.
func Decode(event []byte) (any, error) {
	d := json.NewDecoder(strings.NewReader(string(event)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	return v, nil
}

// MatchValue matches a decoded event: see [Decode].
func (p *Pattern) MatchValue(event any) bool { return p.root.match(event) }

// MayMatch tells whether an event with the given members can match, whatever
// its other members are: a cheap question before the whole event is made.
func (p *Pattern) MayMatch(members map[string]any) bool {
	for name, v := range members {
		if f, asked := p.root.members[name]; asked && !f.match(v, true) {
			return false
		}
	}
	return true
}

func (n *node) match(event any) bool {
	// An array of objects matches if one of them does; an empty one is as good as absent.
	if list, ok := event.([]any); ok && len(list) > 0 {
		return slices.ContainsFunc(list, n.match)
	}
	obj, ok := event.(map[string]any)
	if !ok {
		obj = nil // every member is absent, which exists:false may ask for
	}
	for name, f := range n.members {
		v, present := obj[name]
		if !f.match(v, present) {
			return false
		}
	}
	for _, group := range n.or {
		if !oneOf(group, event) {
			return false
		}
	}
	return true
}

func oneOf(group []*node, event any) bool {
	for _, alternative := range group {
		if alternative.match(event) {
			return true
		}
	}
	return false
}

func (f field) match(v any, present bool) bool {
	if f.inner != nil {
		return f.inner.match(v)
	}
	leaves := 0
	for leaf := range leavesOf(v, present) {
		leaves++
		for _, m := range f.anyOf {
			if m(leaf) {
				return true
			}
		}
	}
	return f.absent && leaves == 0
}

// leavesOf yields what matchers judge of a member: its value or, of an array,
// the values in it. An object is none.
func leavesOf(v any, present bool) iter.Seq[any] {
	return func(yield func(any) bool) {
		if present {
			eachLeaf(v, yield)
		}
	}
}

func eachLeaf(v any, yield func(any) bool) bool {
	switch v := v.(type) {
	case map[string]any:
		return true
	case []any:
		for _, e := range v {
			if !eachLeaf(e, yield) {
				return false
			}
		}
		return true
	}
	return yield(v)
}

func exact(want any) matcher {
	if n, ok := want.(json.Number); ok {
		w, valid := number(n)
		return func(leaf any) bool {
			l, ok := leaf.(json.Number)
			if !ok {
				return false
			}
			g, numeric := number(l)
			return l == n || valid && numeric && g.Cmp(w) == 0
		}
	}
	return func(leaf any) bool { return leaf == want }
}

func text(f func(string) bool) matcher {
	return func(leaf any) bool {
		s, ok := leaf.(string)
		return ok && f(s)
	}
}

func not(all []matcher) matcher {
	return func(leaf any) bool {
		for _, m := range all {
			if m(leaf) {
				return false
			}
		}
		return true
	}
}

// comparison is the matcher of a kind that compares texts.
func comparison(kind, want string) (matcher, error) {
	lower := strings.ToLower(want)
	switch kind {
	case "prefix":
		return text(func(s string) bool { return strings.HasPrefix(s, want) }), nil
	case "suffix":
		return text(func(s string) bool { return strings.HasSuffix(s, want) }), nil
	case "prefix without case":
		return text(func(s string) bool { return strings.HasPrefix(strings.ToLower(s), lower) }), nil
	case "suffix without case":
		return text(func(s string) bool { return strings.HasSuffix(strings.ToLower(s), lower) }), nil
	case "equals-ignore-case":
		return text(func(s string) bool { return strings.EqualFold(s, want) }), nil
	case "wildcard":
		return wildcard(want)
	}
	return exact(want), nil
}

// wildcard matches "*" with any characters; a backslash takes a following star
// or backslash as it is. Positions in messages count the opening quote.
func wildcard(pattern string) (matcher, error) {
	var parts []string
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			if i++; i == len(pattern) || pattern[i] != '*' && pattern[i] != '\\' {
				return nil, &InvalidError{Reason: fmt.Sprintf("Invalid escape character at pos %d", i)}
			}
			b.WriteByte(pattern[i])
		case c == '*':
			if strings.HasPrefix(pattern[i+1:], "*") {
				return nil, &InvalidError{Reason: fmt.Sprintf("Consecutive wildcard characters at pos %d", i+1)}
			}
			parts = append(parts, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	parts = append(parts, b.String())
	return text(func(s string) bool { return glob(parts, s) }), nil
}

// glob matches literal parts with anything between them. Taking the first
// place of each is enough, as only the last is bound to the end.
func glob(parts []string, s string) bool {
	if len(parts) == 1 {
		return s == parts[0]
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}
