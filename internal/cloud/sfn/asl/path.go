package asl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ohler55/ojg/jp"
)

// A Path is a JSONPath into a state's input ("$...") or into the context
// object ("$$...").
type Path struct {
	text    string
	context bool
	expr    jp.Expr // without the root
	many    bool    // may select several values: the result is an array
}

// ParsePath reads a path. AWS's subset has members, indexes, wildcards,
// descents, slices, unions and filters, but no functions.
func ParsePath(s string) (Path, error) {
	p := Path{text: s}
	rest := s
	if strings.HasPrefix(s, "$$") {
		p.context, rest = true, s[1:]
	}
	if !strings.HasPrefix(rest, "$") {
		return p, fmt.Errorf("a path begins with '$'")
	}
	expr, err := jp.ParseString(rest)
	if err != nil {
		return p, fmt.Errorf("read path: %w", err)
	}
	for i, f := range expr {
		switch f.(type) {
		case jp.Root:
			if i > 0 {
				return p, fmt.Errorf("'$' inside of a path")
			}
		case jp.Child, jp.Nth, jp.Bracket:
		case jp.Wildcard, jp.Descent, jp.Slice, jp.Union, *jp.Filter:
			p.many = true
		default:
			return p, fmt.Errorf("'%s' is not supported", f.Append(nil, false, false))
		}
	}
	p.expr = slices.DeleteFunc(expr, func(f jp.Frag) bool {
		switch f.(type) {
		case jp.Root, jp.Bracket:
			return true
		}
		return false
	})
	return p, nil
}

// ParseReference reads a reference path: one that names exactly one place, and
// of the input.
func ParseReference(s string) (Path, error) {
	p, err := ParsePath(s)
	switch {
	case err != nil:
		return p, err
	case p.many:
		return p, fmt.Errorf("a reference path names one place only")
	case p.context:
		return p, fmt.Errorf("a reference path cannot lead into the context object")
	}
	return p, nil
}

// String returns the path as it was written.
func (p Path) String() string { return p.text }

// get selects from data or, for a path that begins with "$$", from context.
func (p Path) get(e *Env, data any) (v any, ok bool) {
	root := data
	if p.context {
		root = e.context()
	}
	if p.many {
		found := p.expr.Get(root)
		if found == nil {
			found = []any{}
		}
		return found, true
	}
	// Not by jp: it does not tell a member that is null from one that is missing.
	for _, f := range p.expr {
		switch f := f.(type) {
		case jp.Child:
			m, isObject := root.(map[string]any)
			if root, ok = m[string(f)]; !isObject || !ok {
				return nil, false
			}
		case jp.Nth:
			a, isArray := root.([]any)
			i := int(f)
			if i < 0 {
				i += len(a)
			}
			if !isArray || i < 0 || i >= len(a) {
				return nil, false
			}
			root = a[i]
		}
	}
	return root, true
}

// set returns data with v in the place that the reference path names. Objects
// on the way are made; an index must be that of an existing element.
func (p Path) set(data, v any) (any, error) {
	if len(p.expr) == 0 {
		return v, nil
	}
	return put(clone(data), p.expr, v)
}

func put(at any, way jp.Expr, v any) (any, error) {
	if len(way) == 0 {
		return v, nil
	}
	switch f := way[0].(type) {
	case jp.Child:
		if at == nil {
			at = map[string]any{}
		}
		m, ok := at.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("'%s' is not in an object", string(f))
		}
		next, err := put(m[string(f)], way[1:], v)
		if err != nil {
			return nil, err
		}
		m[string(f)] = next
		return m, nil
	case jp.Nth:
		a, ok := at.([]any)
		if !ok || int(f) < 0 || int(f) >= len(a) {
			return nil, fmt.Errorf("there is no element %d", int(f))
		}
		next, err := put(a[int(f)], way[1:], v)
		if err != nil {
			return nil, err
		}
		a[int(f)] = next
		return a, nil
	}
	return nil, fmt.Errorf("not a reference path")
}
