package asl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A value is something that yields data: a path or a call of an intrinsic function.
type value interface {
	eval(e *Env, data any, field string) (any, error)
}

// A Template is a payload template: JSON in which members whose name ends in
// ".$" take their value from a path or an intrinsic function.
type Template struct {
	node any // *object, list, or a constant
}

// An object has something dynamic in it. Its members are in the order in which
// they are made, which is seen in whose error is told.
type object struct {
	fixed   []fixed
	dynamic []dynamic
}

type fixed struct {
	name string
	node any
}

type dynamic struct {
	name  string
	field string // with ".$"
	value value
}

// A list is an array that has something dynamic in it.
type list []any

// ParseTemplate compiles a payload template. report hears of each member that
// is wrong, by its place below the template ("/a/b.$").
func ParseTemplate(v any, report func(place, message string)) Template {
	return Template{compile(v, "", report)}
}

func compile(v any, place string, report func(place, message string)) any {
	switch v := v.(type) {
	case []any:
		nodes := make(list, len(v))
		for i, x := range v {
			nodes[i] = compile(x, fmt.Sprintf("%s[%d]", place, i), report)
		}
		if slices.ContainsFunc(nodes, changes) {
			return nodes
		}
	case map[string]any:
		o := &object{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			name, isDynamic := strings.CutSuffix(k, ".$")
			if !isDynamic {
				o.fixed = append(o.fixed, fixed{k, compile(v[k], place+"/"+k, report)})
				continue
			}
			s, isString := v[k].(string)
			val, err := parseValue(s)
			if !isString || err != nil {
				report(place+"/"+k, fmt.Sprintf("The value for the field '%s' must be a valid JSONPath or a valid intrinsic function call", k))
				continue
			}
			o.dynamic = append(o.dynamic, dynamic{name, k, val})
		}
		slices.SortFunc(o.dynamic, func(a, b dynamic) int { return strings.Compare(a.name, b.name) })
		if len(o.dynamic) > 0 || slices.ContainsFunc(o.fixed, func(f fixed) bool { return changes(f.node) }) {
			return o
		}
	}
	return v
}

// changes tells whether a node is no constant.
func changes(node any) bool {
	switch node.(type) {
	case *object, list:
		return true
	}
	return false
}

// parseValue reads a path or a call of an intrinsic function.
func parseValue(s string) (value, error) {
	if strings.HasPrefix(s, "States.") {
		return parseCall(s)
	}
	p, err := ParsePath(s)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Eval makes the payload. A path that finds nothing is a States.Runtime error,
// a function that cannot be carried out States.IntrinsicFailure.
func (t Template) Eval(e *Env, data any) (any, error) { return render(t.node, e, data) }

func render(n any, e *Env, data any) (any, error) {
	switch n := n.(type) {
	case list:
		out := make([]any, len(n))
		for i, x := range n {
			v, err := render(x, e, data)
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	case *object:
		out := make(map[string]any, len(n.fixed)+len(n.dynamic))
		for _, f := range n.fixed {
			v, err := render(f.node, e, data)
			if err != nil {
				return nil, err
			}
			out[f.name] = v
		}
		for _, d := range n.dynamic {
			v, err := d.value.eval(e, data, d.field)
			if err != nil {
				return nil, err
			}
			out[d.name] = v
		}
		return out, nil
	}
	return n, nil
}

// eval implements value. field is the template's member that asks.
func (p Path) eval(e *Env, data any, field string) (any, error) {
	if v, ok := p.get(e, data); ok {
		return v, nil
	}
	in := data
	if p.context {
		in = e.context()
	}
	if field == "" {
		return nil, fail(ErrRuntime, "Invalid path '%s': The choice state's condition path references an invalid value.", p.text)
	}
	return nil, fail(ErrRuntime, "The JSONPath '%s' specified for the field '%s' could not be found in the input '%s'", p.text, field, Encode(in))
}
