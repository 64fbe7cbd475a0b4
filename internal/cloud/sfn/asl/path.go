package asl

import (
	"fmt"
	"maps"
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
		found := []any{root}
		for _, f := range p.expr {
			var next []any
			for _, node := range found {
				next = pick(next, node, f)
			}
			found = next
		}
		return append([]any{}, found...), true
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

// pick appends what a fragment selects in node, members of objects in the order
// of their names: jp would go by Go's order of maps, which is none, and a
// workflow must not depend on chance.
func pick(to []any, node any, f jp.Frag) []any {
	switch f := f.(type) {
	case jp.Wildcard:
		return append(to, children(node)...)
	case jp.Descent:
		to = append(to, node)
		for _, c := range children(node) {
			to = pick(to, c, f)
		}
		return to
	case *jp.Filter:
		for _, c := range children(node) {
			if holds(f, c) {
				to = append(to, c)
			}
		}
		return to
	}
	return append(to, jp.Expr{f}.Get(node)...) // members and elements, in the order that they are named in
}

// holds tells whether a filter selects a node. jp panics where a filter compares
// objects or arrays, or divides by zero; such a comparison does not hold. It
// must not get through: an execution runs in a goroutine of its own, and a panic
// there would end the process, again after each restart.
func holds(f *jp.Filter, node any) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return f.Match(node)
}

// children are the members of an object or the elements of an array.
func children(node any) []any {
	switch node := node.(type) {
	case []any:
		return node
	case map[string]any:
		all := make([]any, 0, len(node))
		for _, k := range slices.Sorted(maps.Keys(node)) {
			all = append(all, node[k])
		}
		return all
	}
	return nil
}

// set returns data with v in the place that the reference path names. Objects
// on the way are made; an index must be that of an existing element. Objects
// and arrays on the way are copied, all else is shared: data stays as it is.
func (p Path) set(data, v any) (any, error) { return put(data, p.expr, v) }

func put(at any, way jp.Expr, v any) (any, error) {
	if len(way) == 0 {
		return v, nil
	}
	switch f := way[0].(type) {
	case jp.Child:
		m, ok := at.(map[string]any)
		if !ok && at != nil {
			return nil, fmt.Errorf("'%s' is not in an object", string(f))
		}
		next, err := put(m[string(f)], way[1:], v)
		if err != nil {
			return nil, err
		}
		changed := make(map[string]any, len(m)+1)
		maps.Copy(changed, m)
		changed[string(f)] = next
		return changed, nil
	case jp.Nth:
		a, ok := at.([]any)
		if !ok || int(f) < 0 || int(f) >= len(a) {
			return nil, fmt.Errorf("there is no element %d", int(f))
		}
		next, err := put(a[int(f)], way[1:], v)
		if err != nil {
			return nil, err
		}
		changed := slices.Clone(a)
		changed[int(f)] = next
		return changed, nil
	}
	return nil, fmt.Errorf("not a reference path")
}
