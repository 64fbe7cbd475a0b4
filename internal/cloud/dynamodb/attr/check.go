package attr

import (
	"encoding/base64"
	"strings"

	"miniforge/internal/cloud/wire"
)

// maxNesting is how deep lists and maps may lie in one another.
const maxNesting = 32

func invalid(format string, args ...any) error {
	return wire.Errorf("ValidationException", format, args...)
}

func invalidValue(format string, args ...any) error {
	return invalid("One or more parameter values were invalid: "+format, args...)
}

// Check validates a value as it came in a request and returns it with numbers
// in their canonical form. The argument is not changed.
func Check(v Value) (Value, error) { return check(v, 0) }

// CheckItem is [Check] for all attributes of an item.
func CheckItem(item Item) (Item, error) { return checkMap(item, 0) }

func checkMap(item Item, depth int) (Item, error) {
	out := make(Item, len(item))
	for k, v := range item {
		c, err := check(v, depth)
		if err != nil {
			return nil, err
		}
		out[k] = c
	}
	return out, nil
}

func check(v Value, depth int) (Value, error) {
	if depth > maxNesting {
		return nil, invalid("Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported limit")
	}
	switch v := v.(type) {
	case *S, *B, *Bool:
		return v, nil
	case *N:
		n, err := ParseNumber(v.Value)
		if err != nil {
			return nil, err
		}
		return number(v, n), nil
	case *Null:
		if !v.Value {
			return nil, invalidValue("Null attribute value types must have the value of true")
		}
		return v, nil
	case *SS, *NS, *BS:
		return checkSet(v)
	case *M:
		m, err := checkMap(v.Value, depth+1)
		return &M{Value: m}, err
	case *L:
		out := make([]Value, len(v.Value))
		for i, e := range v.Value {
			c, err := check(e, depth+1)
			if err != nil {
				return nil, err
			}
			out[i] = c
		}
		return &L{Value: out}, nil
	}
	return nil, invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
}

// number is v, or a value with the canonical text if v has another.
func number(v *N, n Number) *N {
	if s := n.String(); s != v.Value {
		return &N{Value: s}
	}
	return v
}

func checkSet(v Value) (Value, error) {
	switch v := v.(type) {
	case *SS:
		if len(v.Value) == 0 {
			return nil, invalidValue("An string set  may not be empty")
		}
		if duplicates(v.Value) {
			return nil, invalidValue("Input collection [%s] contains duplicates.", strings.Join(v.Value, ", "))
		}
	case *NS:
		if len(v.Value) == 0 {
			return nil, invalidValue("An number set  may not be empty")
		}
		out := make([]string, len(v.Value))
		for i, s := range v.Value {
			n, err := ParseNumber(s)
			if err != nil {
				return nil, err
			}
			out[i] = n.String()
		}
		if duplicates(out) {
			return nil, invalid("Input collection contains duplicates")
		}
		return &NS{Value: out}, nil
	case *BS:
		if len(v.Value) == 0 {
			return nil, invalidValue("Binary sets should not be empty")
		}
		if duplicates(texts(v.Value)) {
			shown := make([]string, len(v.Value))
			for i, b := range v.Value {
				shown[i] = base64.StdEncoding.EncodeToString(b)
			}
			return nil, invalidValue("Input collection [%s]of type BS contains duplicates.", strings.Join(shown, ", "))
		}
	}
	return v, nil
}

func duplicates(s []string) bool {
	seen := make(map[string]bool, len(s))
	for _, e := range s {
		if seen[e] {
			return true
		}
		seen[e] = true
	}
	return false
}
