package expr

import (
	"slices"

	"miniforge/internal/cloud/memo"
)

// The same few expressions come again and again, with other values. What was
// parsed of them, and found to be in order as far as names and values do not
// matter, is kept. Each request puts its names and values into a copy.
var (
	conditions = memo.Map[source, node]{Most: mostKept}
	updates    = memo.Map[source, *Update]{Most: mostKept}
	mentions   = memo.Map[source, []string]{Most: mostKept}
)

// A source is an expression as it came.
type source struct {
	kind Kind
	text string
}

// What is kept: so many expressions of each sort, of so many bytes at most.
const (
	mostKept = 500
	maxKept  = 512
)

// kept is what read makes of an expression, now or before.
func kept[V any](m *memo.Map[source, V], k Kind, text string, read func() (V, error)) (V, error) {
	if len(text) > maxKept {
		return read()
	}
	return m.GetAt(0, source{k, text}, read)
}

// parsedCondition is the tree of a condition, for the caller to fill in.
func parsedCondition(k Kind, text string) (node, error) {
	n, err := kept(&conditions, k, text, func() (node, error) {
		n, p, err := parse(k, text, condition)
		if err != nil {
			return nil, err
		}
		return n, checkForm(k, p, n)
	})
	if err != nil {
		return nil, err
	}
	return clone(n), nil
}

// parsedUpdate is an update, for the caller to fill in.
func parsedUpdate(text string) (*Update, error) {
	const k = UpdateExpression
	u, err := kept(&updates, k, text, func() (*Update, error) {
		u, p, err := parse(k, text, update)
		if err != nil {
			return nil, err
		}
		if p.doubled {
			return nil, k.invalid("The expression has redundant parentheses;")
		}
		return u, u.checkNames(k)
	})
	if err != nil {
		return nil, err
	}
	c := &Update{slices.Clone(u.actions)}
	for i := range c.actions {
		a := &c.actions[i]
		a.path = slices.Clone(a.path)
		if a.value != nil {
			a.value = clone(a.value)
		}
	}
	return c, nil
}

// clone copies a tree down to what resolve changes.
func clone(n node) node {
	switch n := n.(type) {
	case *logic:
		return &logic{n.op, cloneAll(n.args)}
	case *compare:
		return &compare{n.op, cloneAll(n.args)}
	case *function:
		return &function{n.name, cloneAll(n.args)}
	case *sum:
		return &sum{n.minus, cloneAll(n.args)}
	case *reference:
		return &reference{slices.Clone(n.path)}
	case *literal:
		return &literal{n.name, n.value}
	}
	return n
}

func cloneAll(args []node) []node {
	out := make([]node, len(args))
	for i, a := range args {
		out[i] = clone(a)
	}
	return out
}
