package expr

import "miniforge/internal/cloud/dynamodb/attr"

// A node is a part of an expression: one of the types below.
type node interface{ children() []node }

type (
	// A logic joins conditions: AND, OR, NOT.
	logic struct {
		op   string
		args []node
	}
	// A compare is one of = <> < <= > >= BETWEEN IN, on operands.
	compare struct {
		op   string
		args []node
	}
	// A function is a condition or, like size, an operand.
	function struct {
		name string
		args []node
	}
	// A reference is an operand found in the item.
	reference struct{ path Path }
	// A literal is an operand given with the request.
	literal struct {
		name  string
		value attr.Value
	}
	// A sum is a + b or, with minus, a - b: only in updates.
	sum struct {
		minus bool
		args  []node
	}
)

func (n *logic) children() []node     { return n.args }
func (c *compare) children() []node   { return c.args }
func (f *function) children() []node  { return f.args }
func (n *sum) children() []node       { return n.args }
func (n *reference) children() []node { return nil }
func (n *literal) children() []node   { return nil }

// boolean tells whether n can stand for true or false, by its form. Whether a
// function may is checked later: AWS has a message of its own for that.
func boolean(n node) bool {
	switch n.(type) {
	case *logic, *compare, *function:
		return true
	}
	return false
}

// walk calls f for n and all below it, from left to right, until an error.
func walk(n node, f func(node) error) error {
	if err := f(n); err != nil {
		return err
	}
	for _, c := range n.children() {
		if err := walk(c, f); err != nil {
			return err
		}
	}
	return nil
}

// resolve puts names and values in the place of placeholders.
func (s *Scope) resolve(k Kind, n node) error {
	return walk(n, func(n node) error {
		switch n := n.(type) {
		case *reference:
			return s.resolvePath(k, n.path)
		case *literal:
			v, ok := s.values[n.name]
			if !ok {
				return k.invalid("An expression attribute value used in expression is not defined; attribute value: %s", n.name)
			}
			s.usedValues[n.name] = true
			n.value = v
		}
		return nil
	})
}

func (s *Scope) resolvePath(k Kind, p Path) error {
	for i := range p {
		name := p[i].Name
		if p[i].List || name == "" || name[0] != '#' {
			continue
		}
		real, ok := s.names[name]
		if !ok {
			return k.invalid("An expression attribute name used in the document path is not defined; attribute name: %s", name)
		}
		s.usedNames[name] = true
		p[i].Name = real
	}
	return nil
}

// unreserved refuses names that need a placeholder. It must run before they
// are resolved.
func unreserved(k Kind, n node) error {
	return walk(n, func(n node) error {
		if r, ok := n.(*reference); ok {
			return unreservedPath(k, r.path)
		}
		return nil
	})
}

func unreservedPath(k Kind, p Path) error {
	for _, s := range p {
		if !s.List && isReserved(s.Name) {
			return k.invalid("Attribute name is a reserved keyword; reserved keyword: %s", s.Name)
		}
	}
	return nil
}
