package expr

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"miniforge/internal/cloud/dynamodb/attr"
)

// A Condition is true or false of an item. The zero value is always true.
type Condition struct{ root node }

// Condition reads a condition or filter expression.
func (s *Scope) Condition(k Kind, text string) (Condition, error) {
	n, err := parsedCondition(k, text)
	if err != nil {
		return Condition{}, err
	}
	return Condition{n}, s.checkParts(k, n)
}

// Holds evaluates the condition; an item that does not exist is nil.
func (c Condition) Holds(item attr.Item) bool { return c.root == nil || holds(c.root, item) }

// Paths are all paths that the condition looks at.
func (c Condition) Paths() []Path {
	if c.root == nil {
		return nil
	}
	return paths(c.root)
}

func paths(n node) []Path {
	var out []Path
	_ = walk(n, func(n node) error {
		if r, ok := n.(*reference); ok {
			out = append(out, r.path)
		}
		return nil
	})
	return out
}

func holds(n node, item attr.Item) bool {
	switch n := n.(type) {
	case *logic:
		switch n.op {
		case "AND":
			return holds(n.args[0], item) && holds(n.args[1], item)
		case "OR":
			return holds(n.args[0], item) || holds(n.args[1], item)
		}
		return !holds(n.args[0], item)
	case *compare:
		args := make([]attr.Value, len(n.args))
		for i, a := range n.args {
			args[i] = operand(a, item)
		}
		return compares(n.op, args)
	case *function:
		return n.holds(item)
	}
	return false
}

// operand is the value of an operand; nil if it has none.
func operand(n node, item attr.Item) attr.Value {
	switch n := n.(type) {
	case *literal:
		return n.value
	case *reference:
		return n.path.Get(item)
	case *function: // size
		if k, ok := size(operand(n.args[0], item)); ok {
			return &attr.N{Value: strconv.Itoa(k)}
		}
	}
	return nil
}

func compares(op string, args []attr.Value) bool {
	x := args[0]
	switch op {
	case "=":
		return x != nil && attr.Equal(x, args[1])
	case "<>":
		return x == nil || args[1] == nil || !attr.Equal(x, args[1])
	case "IN":
		return x != nil && slices.ContainsFunc(args[1:], func(v attr.Value) bool { return attr.Equal(x, v) })
	case "BETWEEN":
		lo, ok := attr.Compare(x, args[1])
		hi, both := attr.Compare(x, args[2])
		return ok && both && lo >= 0 && hi <= 0
	}
	c, ok := attr.Compare(x, args[1])
	if !ok {
		return false
	}
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func (f *function) holds(item attr.Item) bool {
	v := operand(f.args[0], item)
	switch f.name {
	case "attribute_exists":
		return v != nil
	case "attribute_not_exists":
		return v == nil
	case "attribute_type":
		return v != nil && attr.Type(v) == f.args[1].(*literal).value.(*attr.S).Value
	}
	w := operand(f.args[1], item)
	if f.name == "begins_with" {
		return beginsWith(v, w)
	}
	return contains(v, w)
}

func beginsWith(v, w attr.Value) bool {
	switch v := v.(type) {
	case *attr.S:
		w, ok := w.(*attr.S)
		return ok && strings.HasPrefix(v.Value, w.Value)
	case *attr.B:
		w, ok := w.(*attr.B)
		return ok && bytes.HasPrefix(v.Value, w.Value)
	}
	return false
}

// contains looks for a part of a string or binary, or an element of a set or list.
func contains(v, w attr.Value) bool {
	switch v := v.(type) {
	case *attr.S:
		w, ok := w.(*attr.S)
		return ok && strings.Contains(v.Value, w.Value)
	case *attr.B:
		w, ok := w.(*attr.B)
		return ok && bytes.Contains(v.Value, w.Value)
	case *attr.SS:
		w, ok := w.(*attr.S)
		return ok && slices.Contains(v.Value, w.Value)
	case *attr.NS:
		w, ok := w.(*attr.N)
		return ok && slices.Contains(v.Value, w.Value)
	case *attr.BS:
		w, ok := w.(*attr.B)
		return ok && slices.ContainsFunc(v.Value, func(b []byte) bool { return bytes.Equal(b, w.Value) })
	case *attr.L:
		return w != nil && slices.ContainsFunc(v.Value, func(e attr.Value) bool { return attr.Equal(e, w) })
	}
	return false
}

// size is what the function of that name says; not of numbers and the like.
func size(v attr.Value) (int, bool) {
	switch v := v.(type) {
	case *attr.S:
		return utf8.RuneCountInString(v.Value), true
	case *attr.B:
		return len(v.Value), true
	case *attr.SS:
		return len(v.Value), true
	case *attr.NS:
		return len(v.Value), true
	case *attr.BS:
		return len(v.Value), true
	case *attr.M:
		return len(v.Value), true
	case *attr.L:
		return len(v.Value), true
	}
	return 0, false
}

// shown is a scalar as messages show it: {S:abc}.
func shown(v attr.Value) string {
	var text string
	switch v := v.(type) {
	case *attr.S:
		text = v.Value
	case *attr.N:
		text = v.Value
	case *attr.B:
		text = base64.StdEncoding.EncodeToString(v.Value)
	case *attr.Bool:
		text = strconv.FormatBool(v.Value)
	default:
		text = fmt.Sprint(v)
	}
	return "{" + attr.Type(v) + ":" + text + "}"
}
