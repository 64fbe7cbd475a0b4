package expr

import "miniforge/internal/cloud/dynamodb/attr"

// A KeyTest is what a query asks of one key attribute.
type KeyTest struct {
	Name   string
	Op     string // "=", "<", "<=", ">", ">=", "BETWEEN", "begins_with"
	Values []attr.Value
}

// KeyCondition reads a key condition expression: one test, or two joined by AND.
func (s *Scope) KeyCondition(text string) ([]KeyTest, error) {
	const k = KeyConditionExpression
	n, err := parsedCondition(k, text)
	if err != nil {
		return nil, err
	}
	if err := s.checkParts(k, n); err != nil {
		return nil, err
	}
	var tests []KeyTest
	for _, part := range conjuncts(n) {
		t, err := keyTest(part)
		if err != nil {
			return nil, err
		}
		for _, other := range tests {
			if other.Name == t.Name {
				return nil, invalid("KeyConditionExpressions must only contain one condition per key")
			}
		}
		tests = append(tests, t)
	}
	if len(tests) > 2 {
		return nil, invalid("Conditions can be of length 1 or 2 only")
	}
	return tests, nil
}

func conjuncts(n node) []node {
	if l, ok := n.(*logic); ok && l.op == "AND" {
		return append(conjuncts(l.args[0]), conjuncts(l.args[1])...)
	}
	return []node{n}
}

var mirrored = map[string]string{"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

func keyTest(n node) (KeyTest, error) {
	var t KeyTest
	switch n := n.(type) {
	case *logic:
		return t, invalid("Invalid operator used in KeyConditionExpression: %s", n.op)
	case *function:
		t.Op = n.name
	case *compare:
		t.Op = n.op
	}
	if mirrored[t.Op] == "" && t.Op != "BETWEEN" && t.Op != "begins_with" {
		return t, invalid("Invalid operator used in KeyConditionExpression: %s", t.Op)
	}
	at := -1
	for i, a := range n.children() {
		switch a := a.(type) {
		case *function:
			return t, invalid("KeyConditionExpressions cannot contain nested operations")
		case *reference:
			if at >= 0 {
				return t, invalid("Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition")
			}
			if len(a.path) > 1 {
				return t, invalid("KeyConditionExpressions cannot have conditions on nested attributes")
			}
			at = i
			t.Name = a.path.Top()
		case *literal:
			t.Values = append(t.Values, a.value)
		}
	}
	switch {
	case at < 0:
		return t, invalid("Invalid condition in KeyConditionExpression: No key attribute specified")
	case at > 0 && mirrored[t.Op] == "":
		return t, invalid("Invalid condition in KeyConditionExpression: %s operator must have the key attribute as its first operand", t.Op)
	case at > 0:
		t.Op = mirrored[t.Op]
	}
	return t, nil
}
