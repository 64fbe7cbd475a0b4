package expr

import (
	"slices"
	"strings"

	"miniforge/internal/cloud/dynamodb/attr"
)

// operands of the functions of conditions.
var conditionFunctions = map[string]int{
	"attribute_exists": 1, "attribute_not_exists": 1, "attribute_type": 2, "begins_with": 2, "contains": 2, "size": 1,
}

var updateFunctions = map[string]int{"if_not_exists": 2, "list_append": 2}

// checkForm checks a condition as a whole, in the order in which AWS finds
// faults. After that come the comparisons in it: see checkParts.
func checkForm(k Kind, p *parser, n node) error {
	if p.doubled {
		return k.invalid("The expression has redundant parentheses;")
	}
	for _, check := range []func(Kind, node) error{knownFunctions, wellUsedFunctions, unreserved} {
		if err := check(k, n); err != nil {
			return err
		}
	}
	return nil
}

// checkParts goes down to the single comparisons and functions.
func (s *Scope) checkParts(k Kind, n node) error {
	if l, ok := n.(*logic); ok {
		for _, a := range l.args {
			if err := s.checkParts(k, a); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.resolve(k, n); err != nil {
		return err
	}
	for _, check := range []func(Kind, node) error{operandCounts, distinctOperands, operandTypes} {
		if err := check(k, n); err != nil {
			return err
		}
	}
	return nil
}

func knownFunctions(k Kind, n node) error {
	return walk(n, func(n node) error {
		f, ok := n.(*function)
		if !ok || conditionFunctions[f.name] > 0 {
			return nil
		}
		if updateFunctions[f.name] > 0 {
			return k.invalid("The function is not allowed in a %s expression; function: %s", strings.ToLower(strings.TrimSuffix(string(k), "Expression")), f.name)
		}
		return k.invalid("Invalid function name; function: %s", f.name)
	})
}

// wellUsedFunctions: only size is an operand, and size is no condition.
func wellUsedFunctions(k Kind, n node) error {
	misused := func(f *function) error {
		return k.invalid("The function is not allowed to be used this way in an expression; function: %s", f.name)
	}
	if f, ok := n.(*function); ok && f.name == "size" {
		return misused(f)
	}
	_, joins := n.(*logic)
	for _, c := range n.children() {
		if joins {
			if err := wellUsedFunctions(k, c); err != nil {
				return err
			}
			continue
		}
		if err := walk(c, func(n node) error {
			if f, ok := n.(*function); ok && f.name != "size" {
				return misused(f)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func operandCounts(k Kind, n node) error {
	return walk(n, func(n node) error {
		if f, ok := n.(*function); ok && len(f.args) != max(conditionFunctions[f.name], updateFunctions[f.name]) {
			return k.invalid("Incorrect number of operands for operator or function; operator or function: %s, number of operands: %d", f.name, len(f.args))
		}
		return nil
	})
}

func distinctOperands(k Kind, n node) error {
	return walk(n, func(n node) error {
		op := ""
		switch n := n.(type) {
		case *compare:
			op = n.op
		case *function:
			op = n.name
		}
		args := n.children()
		if op == "" || len(args) != 2 {
			return nil
		}
		a, isPath := args[0].(*reference)
		b, both := args[1].(*reference)
		if isPath && both && slices.Equal(a.path, b.path) {
			return k.invalid("The first operand must be distinct from the remaining operands for this operator or function; operator: %s, first operand: %v", op, a.path)
		}
		return nil
	})
}

func wrongType(k Kind, op, t string) error {
	return k.invalid("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", op, t)
}

// known is the type of an operand, if that is known without an item.
func known(n node) string {
	switch n := n.(type) {
	case *literal:
		return attr.Type(n.value)
	case *function:
		if n.name == "size" {
			return "N"
		}
	}
	return ""
}

const attributeTypes = "{B,NULL,SS,BOOL,L,BS,N,NS,S,M}"

func operandTypes(k Kind, n node) error {
	return walk(n, func(n node) error {
		switch n := n.(type) {
		case *compare:
			return n.checkTypes(k)
		case *function:
			return n.checkTypes(k)
		}
		return nil
	})
}

func (c *compare) checkTypes(k Kind) error {
	switch c.op {
	case "<", "<=", ">", ">=", "BETWEEN":
		for _, a := range c.args {
			if t := known(a); t != "" && t != "S" && t != "N" && t != "B" {
				return k.invalid("Incorrect operand type for operator or function; operator or function: %s, operand type: %s", c.op, t)
			}
		}
	}
	if c.op != "BETWEEN" {
		return nil
	}
	lo, ok := c.args[1].(*literal)
	hi, both := c.args[2].(*literal)
	if !ok || !both {
		return nil
	}
	bounds := "lower bound operand: AttributeValue: " + shown(lo.value) + ", upper bound operand: AttributeValue: " + shown(hi.value)
	order, same := attr.Compare(lo.value, hi.value)
	switch {
	case !same:
		return k.invalid("The BETWEEN operator requires same data type for lower and upper bounds; %s", bounds)
	case order > 0:
		return k.invalid("The BETWEEN operator requires upper bound to be greater than or equal to lower bound; %s", bounds)
	}
	return nil
}

func (f *function) checkTypes(k Kind) error {
	switch f.name {
	case "attribute_exists", "attribute_not_exists":
		if _, ok := f.args[0].(*reference); !ok {
			return k.invalid("Operator or function requires a document path; operator or function: %s", f.name)
		}
	case "begins_with":
		for _, a := range f.args {
			if t := known(a); t != "" && t != "S" && t != "B" {
				return wrongType(k, f.name, t)
			}
		}
	case "size":
		if t := known(f.args[0]); t == "N" || t == "BOOL" || t == "NULL" {
			return wrongType(k, f.name, t)
		}
	case "attribute_type":
		l, ok := f.args[1].(*literal)
		if !ok {
			t := known(f.args[1])
			if t == "" {
				t = "{NS,SS,L,BS,N,M,B,BOOL,NULL,S}"
			}
			return wrongType(k, f.name, t)
		}
		s, ok := l.value.(*attr.S)
		if !ok {
			return wrongType(k, f.name, attr.Type(l.value))
		}
		if !strings.Contains(strings.NewReplacer("{", ",", "}", ",").Replace(attributeTypes), ","+s.Value+",") {
			return k.invalid("Invalid attribute type name found; type: %s, valid types: %s", s.Value, attributeTypes)
		}
	}
	return nil
}
