package expr

import (
	"maps"
	"slices"

	"miniforge/internal/cloud/dynamodb/attr"
)

var (
	errPath    = invalid("The document path provided in the update expression is invalid for update")
	errOperand = invalid("An operand in the update expression has an incorrect data type")
	errMissing = invalid("The provided expression refers to an attribute that does not exist in the item")
)

// Apply returns the changed item. All operands are those of the item before;
// old itself stays as it is.
func (u *Update) Apply(old attr.Item) (attr.Item, error) {
	item := make(attr.Item, len(old)+1)
	maps.Copy(item, old)
	var own []string // attributes of which item has a copy, as something in them changes
	for _, a := range u.order() {
		top := a.path.Top()
		if v, ok := item[top]; ok && len(a.path) > 1 && !slices.Contains(own, top) {
			item[top], own = attr.Clone(v), append(own, top)
		}
		if err := a.apply(old, item); err != nil {
			return nil, err
		}
	}
	return item, nil
}

func (a action) apply(old, item attr.Item) error {
	switch a.section {
	case "REMOVE":
		return remove(item, a.path)
	case "SET":
		v, err := evaluate(a.value, old)
		if err != nil {
			return err
		}
		return set(item, a.path, attr.Clone(v))
	}
	have, given := a.path.Get(old), a.value.(*literal).value
	var v attr.Value
	var err error
	if a.section == "ADD" {
		v, err = add(have, given)
	} else {
		v, err = subtract(have, given)
	}
	switch {
	case err != nil:
		return err
	case v == nil && have == nil: // nothing to delete from; but the path must be one
		_, err := parent(item, a.path)
		return err
	case v == nil:
		return remove(item, a.path)
	}
	return set(item, a.path, v)
}

// parent is what the last step of a path leads from: *attr.M or *attr.L.
func parent(item attr.Item, p Path) (attr.Value, error) {
	if len(p) == 1 {
		return &attr.M{Value: item}, nil
	}
	v := p[:len(p)-1].Get(item)
	switch v.(type) {
	case *attr.M:
		if !p[len(p)-1].List {
			return v, nil
		}
	case *attr.L:
		if p[len(p)-1].List {
			return v, nil
		}
	}
	return nil, errPath
}

func set(item attr.Item, p Path, v attr.Value) error {
	at, err := parent(item, p)
	if err != nil {
		return err
	}
	last := p[len(p)-1]
	switch at := at.(type) {
	case *attr.M:
		at.Value[last.Name] = v
	case *attr.L:
		if last.Index < len(at.Value) {
			at.Value[last.Index] = v
		} else {
			at.Value = append(at.Value, v)
		}
	}
	return nil
}

func remove(item attr.Item, p Path) error {
	at, err := parent(item, p)
	if err != nil {
		return err
	}
	last := p[len(p)-1]
	switch at := at.(type) {
	case *attr.M:
		delete(at.Value, last.Name)
	case *attr.L:
		if last.Index < len(at.Value) {
			at.Value = slices.Delete(at.Value, last.Index, last.Index+1)
		}
	}
	return nil
}

// evaluate is the value that SET assigns.
func evaluate(n node, item attr.Item) (attr.Value, error) {
	switch n := n.(type) {
	case *literal:
		return n.value, nil
	case *reference:
		if v := n.path.Get(item); v != nil {
			return v, nil
		}
		return nil, errMissing
	case *function:
		if n.name == "if_not_exists" {
			if v := n.args[0].(*reference).path.Get(item); v != nil {
				return v, nil
			}
			return evaluate(n.args[1], item)
		}
	}
	x, y, err := both(n.children(), item)
	if err != nil {
		return nil, err
	}
	if s, ok := n.(*sum); ok {
		return arithmetic(x, y, s.minus)
	}
	a, ok := x.(*attr.L)
	b, isList := y.(*attr.L)
	if !ok || !isList {
		return nil, errOperand
	}
	return &attr.L{Value: slices.Concat(a.Value, b.Value)}, nil
}

func both(args []node, item attr.Item) (x, y attr.Value, err error) {
	if x, err = evaluate(args[0], item); err != nil {
		return nil, nil, err
	}
	y, err = evaluate(args[1], item)
	return x, y, err
}

func arithmetic(x, y attr.Value, minus bool) (attr.Value, error) {
	a, ok := x.(*attr.N)
	b, both := y.(*attr.N)
	if !ok || !both {
		return nil, errOperand
	}
	m, err := attr.ParseNumber(a.Value)
	if err != nil {
		return nil, err
	}
	n, err := attr.ParseNumber(b.Value)
	if err != nil {
		return nil, err
	}
	if minus {
		n = n.Negate()
	}
	r, err := m.Add(n)
	return &attr.N{Value: r.String()}, err
}

// add is what ADD makes of an attribute: a sum, or a union of sets.
func add(have, given attr.Value) (attr.Value, error) {
	switch g := given.(type) {
	case *attr.N:
		if have == nil {
			return g, nil
		}
		return arithmetic(have, g, false)
	case *attr.SS:
		if h, ok := have.(*attr.SS); ok {
			return &attr.SS{Value: union(h.Value, g.Value, same)}, nil
		}
	case *attr.NS:
		if h, ok := have.(*attr.NS); ok {
			return &attr.NS{Value: union(h.Value, g.Value, same)}, nil
		}
	case *attr.BS:
		if h, ok := have.(*attr.BS); ok {
			return &attr.BS{Value: union(h.Value, g.Value, slices.Equal[[]byte])}, nil
		}
	case *attr.L: // only by the legacy parameter
		if h, ok := have.(*attr.L); ok {
			return &attr.L{Value: slices.Concat(h.Value, g.Value)}, nil
		}
	}
	if have != nil {
		return nil, errOperand
	}
	return given, nil
}

// subtract is what DELETE leaves of a set; nil if nothing is left.
func subtract(have, given attr.Value) (attr.Value, error) {
	if have == nil {
		return nil, nil
	}
	switch g := given.(type) {
	case *attr.SS:
		if h, ok := have.(*attr.SS); ok {
			if left := without(h.Value, g.Value, same); len(left) > 0 {
				return &attr.SS{Value: left}, nil
			}
			return nil, nil
		}
	case *attr.NS:
		if h, ok := have.(*attr.NS); ok {
			if left := without(h.Value, g.Value, same); len(left) > 0 {
				return &attr.NS{Value: left}, nil
			}
			return nil, nil
		}
	case *attr.BS:
		if h, ok := have.(*attr.BS); ok {
			if left := without(h.Value, g.Value, slices.Equal[[]byte]); len(left) > 0 {
				return &attr.BS{Value: left}, nil
			}
			return nil, nil
		}
	}
	return nil, errOperand
}

func same(a, b string) bool { return a == b }

func without[E any](have, drop []E, equal func(E, E) bool) []E {
	var out []E
	for _, e := range have {
		if !slices.ContainsFunc(drop, func(d E) bool { return equal(e, d) }) {
			out = append(out, e)
		}
	}
	return out
}

func union[E any](have, more []E, equal func(E, E) bool) []E {
	return append(slices.Clone(have), without(more, have, equal)...)
}
