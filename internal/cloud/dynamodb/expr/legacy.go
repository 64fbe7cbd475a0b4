package expr

import (
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
)

// The parameters that came before expressions mean the same things in another
// notation: they become the same trees.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/LegacyConditionalParameters.html

func invalidValue(format string, args ...any) error {
	return invalid("One or more parameter values were invalid: "+format, args...)
}

// Attributes is the projection of the legacy parameter AttributesToGet.
func Attributes(names []string) (*Projection, error) {
	var all []Path
	for i, n := range names {
		if slices.Contains(names[:i], n) {
			return nil, invalidValue("Duplicate value in attribute name: %s", n)
		}
		all = append(all, Path{{Name: n}})
	}
	return NewProjection(all), nil
}

// Expected is the condition of the legacy parameters Expected and ConditionalOperator.
func Expected(expected map[string]types.ExpectedAttributeValue, op types.ConditionalOperator) (Condition, error) {
	if err := checkOperator(op, len(expected)); err != nil {
		return Condition{}, err
	}
	var parts []node
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		n, err := expect(name, expected[name])
		if err != nil {
			return Condition{}, err
		}
		parts = append(parts, n)
	}
	return join(op, parts), nil
}

// Filter is the condition of the legacy parameters QueryFilter and ScanFilter.
func Filter(filter map[string]types.Condition, op types.ConditionalOperator) (Condition, error) {
	if err := checkOperator(op, len(filter)); err != nil {
		return Condition{}, err
	}
	var parts []node
	for _, name := range slices.Sorted(maps.Keys(filter)) {
		n, err := comparison(name, filter[name].ComparisonOperator, filter[name].AttributeValueList)
		if err != nil {
			return Condition{}, err
		}
		parts = append(parts, n)
	}
	return join(op, parts), nil
}

func checkOperator(op types.ConditionalOperator, n int) error {
	switch {
	case op != "" && n == 0:
		return invalid("ConditionalOperator cannot be used without Filter or Expected")
	case op != "" && n == 1:
		return invalid("ConditionalOperator can only be used when Filter or Expected has two or more elements")
	}
	return nil
}

func join(op types.ConditionalOperator, parts []node) Condition {
	if len(parts) == 0 {
		return Condition{}
	}
	if op == "" {
		op = types.ConditionalOperatorAnd
	}
	n := parts[0]
	for _, p := range parts[1:] {
		n = &logic{op: string(op), args: []node{n, p}}
	}
	return Condition{n}
}

func expect(name string, e types.ExpectedAttributeValue) (node, error) {
	if e.ComparisonOperator != "" {
		switch {
		case e.Exists != nil:
			return nil, invalidValue("Exists and ComparisonOperator cannot be used together for Attribute: %s", name)
		case e.Value != nil && e.AttributeValueList != nil:
			return nil, invalidValue("Value and AttributeValueList cannot be used together for Attribute: %s", name)
		}
		values := e.AttributeValueList
		if e.Value != nil {
			values = []attr.Value{e.Value}
		}
		return comparison(name, e.ComparisonOperator, values)
	}
	exists := e.Exists == nil || *e.Exists
	switch {
	case e.AttributeValueList != nil:
		return nil, invalidValue("AttributeValueList can only be used with a ComparisonOperator for Attribute: %s", name)
	case !exists && e.Value != nil:
		return nil, invalidValue("Value cannot be used when Exists is false for Attribute: %s", name)
	case exists && e.Value == nil:
		shown := "null"
		if e.Exists != nil {
			shown = "true"
		}
		return nil, invalidValue("Value must be provided when Exists is %s for Attribute: %s", shown, name)
	case !exists:
		return comparison(name, types.ComparisonOperatorNull, nil)
	}
	return comparison(name, types.ComparisonOperatorEq, []attr.Value{e.Value})
}

var legacyCompare = map[types.ComparisonOperator]string{
	types.ComparisonOperatorEq: "=", types.ComparisonOperatorNe: "<>", types.ComparisonOperatorLt: "<", types.ComparisonOperatorLe: "<=",
	types.ComparisonOperatorGt: ">", types.ComparisonOperatorGe: ">=", types.ComparisonOperatorBetween: "BETWEEN", types.ComparisonOperatorIn: "IN",
}

var legacyFunction = map[types.ComparisonOperator]string{
	types.ComparisonOperatorNull: "attribute_not_exists", types.ComparisonOperatorNotNull: "attribute_exists",
	types.ComparisonOperatorBeginsWith: "begins_with", types.ComparisonOperatorContains: "contains", types.ComparisonOperatorNotContains: "contains",
}

// arguments checks how many values a legacy operator has, and of which types.
func arguments(op types.ComparisonOperator, values []attr.Value) ([]attr.Value, error) {
	want := 1
	switch op {
	case "":
		return nil, invalid("1 validation error detected: Value null at 'comparisonOperator' failed to satisfy constraint: Member must not be null")
	case types.ComparisonOperatorNull, types.ComparisonOperatorNotNull:
		want = 0
	case types.ComparisonOperatorBetween:
		want = 2
	case types.ComparisonOperatorIn:
		want = max(1, len(values))
	}
	if legacyCompare[op] == "" && legacyFunction[op] == "" {
		return nil, invalid("1 validation error detected: Value '%s' at 'comparisonOperator' failed to satisfy constraint: Member must satisfy enum value set: "+
			"[IN, NULL, BETWEEN, LT, NOT_CONTAINS, EQ, GT, NOT_NULL, NE, LE, BEGINS_WITH, GE, CONTAINS]", op)
	}
	if len(values) != want {
		return nil, invalidValue("Invalid number of argument(s) for the %s ComparisonOperator", op)
	}
	out := make([]attr.Value, len(values))
	for i, v := range values {
		c, err := attr.Check(v)
		if err != nil {
			return nil, err
		}
		out[i] = c
	}
	for _, v := range out[min(1, len(out)):] {
		if attr.Type(v) != attr.Type(out[0]) {
			return nil, invalidValue("AttributeValues inside AttributeValueList must be of same type")
		}
	}
	return out, legacyTypes(op, out)
}

func legacyTypes(op types.ComparisonOperator, values []attr.Value) error {
	for _, v := range values {
		t := attr.Type(v)
		scalar := t == "S" || t == "N" || t == "B"
		ok := true
		switch op {
		case types.ComparisonOperatorLt, types.ComparisonOperatorLe, types.ComparisonOperatorGt, types.ComparisonOperatorGe,
			types.ComparisonOperatorBetween, types.ComparisonOperatorIn:
			ok = scalar
		case types.ComparisonOperatorBeginsWith:
			ok = t == "S" || t == "B"
		case types.ComparisonOperatorContains, types.ComparisonOperatorNotContains:
			ok = scalar || t == "BOOL" || t == "NULL"
		}
		if !ok {
			return invalidValue("ComparisonOperator %s is not valid for %s AttributeValue type", op, t)
		}
	}
	if len(values) == 2 && op == types.ComparisonOperatorBetween {
		if c, _ := attr.Compare(values[0], values[1]); c > 0 {
			return invalid("The BETWEEN condition was provided a range where the lower bound is greater than the upper bound")
		}
	}
	return nil
}

func comparison(name string, op types.ComparisonOperator, values []attr.Value) (node, error) {
	values, err := arguments(op, values)
	if err != nil {
		return nil, err
	}
	args := []node{&reference{path: Path{{Name: name}}}}
	for _, v := range values {
		args = append(args, &literal{value: v})
	}
	if c := legacyCompare[op]; c != "" {
		return &compare{op: c, args: args}, nil
	}
	n := &function{name: legacyFunction[op], args: args}
	if op != types.ComparisonOperatorNotContains {
		return n, nil
	}
	// Unlike NOT contains(), the old operator needs the attribute to be there.
	return &logic{op: "AND", args: []node{&function{name: "attribute_exists", args: args[:1]}, &logic{op: "NOT", args: []node{n}}}}, nil
}

// KeyConditions are the key tests of the legacy parameter of that name.
func KeyConditions(conditions map[string]types.Condition) ([]KeyTest, error) {
	if n := len(conditions); n != 1 && n != 2 {
		return nil, invalid("Conditions can be of length 1 or 2 only")
	}
	var tests []KeyTest
	for _, name := range slices.Sorted(maps.Keys(conditions)) {
		c := conditions[name]
		values, err := arguments(c.ComparisonOperator, c.AttributeValueList)
		if err != nil {
			return nil, err
		}
		op := legacyCompare[c.ComparisonOperator]
		if c.ComparisonOperator == types.ComparisonOperatorBeginsWith {
			op = "begins_with"
		}
		if op == "" || op == "<>" || op == "IN" {
			return nil, invalid("Attempted conditional constraint is not an indexable operation")
		}
		tests = append(tests, KeyTest{Name: name, Op: op, Values: values})
	}
	return tests, nil
}

// Updates is the update of the legacy parameter AttributeUpdates.
func Updates(updates map[string]types.AttributeValueUpdate) (*Update, error) {
	u := &Update{}
	for _, name := range slices.Sorted(maps.Keys(updates)) {
		a := updates[name]
		act := action{section: "SET", path: Path{{Name: name}}}
		if a.Value == nil {
			if a.Action != types.AttributeActionDelete {
				return nil, invalidValue("Only DELETE action is allowed when no attribute value is specified")
			}
			act.section = "REMOVE"
			u.actions = append(u.actions, act)
			continue
		}
		v, err := attr.Check(a.Value)
		if err != nil {
			return nil, err
		}
		act.value = &literal{value: v}
		t := attr.Type(v)
		set := t == "SS" || t == "NS" || t == "BS"
		switch a.Action {
		case types.AttributeActionDelete:
			if !set {
				return nil, invalidValue("DELETE action with value is not supported for the type %s", t)
			}
			act.section = "DELETE"
		case types.AttributeActionAdd:
			if !set && t != "N" && t != "L" {
				return nil, invalidValue("ADD action is not supported for the type %s", t)
			}
			act.section = "ADD"
		}
		u.actions = append(u.actions, act)
	}
	return u, nil
}
