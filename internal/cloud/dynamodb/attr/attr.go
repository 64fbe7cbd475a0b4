// Package attr is DynamoDB's data model: attribute values, their rules, sizes,
// order, exact decimal numbers, and the form in which items and keys are stored.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
package attr

import (
	"bytes"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// A Value is one attribute value: the SDK's own union.
type Value = types.AttributeValue

// An Item is a map from attribute names to values.
type Item = map[string]types.AttributeValue

//nolint:revive // they are documented together
type ( // The variants of a [Value], by their short names on the wire.
	S    = types.AttributeValueMemberS
	N    = types.AttributeValueMemberN
	B    = types.AttributeValueMemberB
	SS   = types.AttributeValueMemberSS
	NS   = types.AttributeValueMemberNS
	BS   = types.AttributeValueMemberBS
	M    = types.AttributeValueMemberM
	L    = types.AttributeValueMemberL
	Null = types.AttributeValueMemberNULL
	Bool = types.AttributeValueMemberBOOL
)

// Type is the short name of v's type ("S", "NS", "BOOL"); "" if v is nil.
func Type(v Value) string {
	switch v.(type) {
	case *S:
		return "S"
	case *N:
		return "N"
	case *B:
		return "B"
	case *SS:
		return "SS"
	case *NS:
		return "NS"
	case *BS:
		return "BS"
	case *M:
		return "M"
	case *L:
		return "L"
	case *Null:
		return "NULL"
	case *Bool:
		return "BOOL"
	}
	return ""
}

// Equal tells whether two checked values (see [Check]) are the same. Sets have
// no order.
func Equal(a, b Value) bool {
	switch a := a.(type) {
	case *S:
		b, ok := b.(*S)
		return ok && a.Value == b.Value
	case *N:
		b, ok := b.(*N)
		return ok && a.Value == b.Value
	case *B:
		b, ok := b.(*B)
		return ok && bytes.Equal(a.Value, b.Value)
	case *SS:
		b, ok := b.(*SS)
		return ok && sameSet(a.Value, b.Value)
	case *NS:
		b, ok := b.(*NS)
		return ok && sameSet(a.Value, b.Value)
	case *BS:
		b, ok := b.(*BS)
		return ok && sameSet(texts(a.Value), texts(b.Value))
	case *M:
		b, ok := b.(*M)
		return ok && EqualItems(a.Value, b.Value)
	case *L:
		b, ok := b.(*L)
		return ok && slices.EqualFunc(a.Value, b.Value, Equal)
	case *Null:
		_, ok := b.(*Null)
		return ok
	case *Bool:
		b, ok := b.(*Bool)
		return ok && a.Value == b.Value
	}
	return a == nil && b == nil
}

// EqualItems tells whether two items have the same attributes.
func EqualItems(a, b Item) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		w, ok := b[k]
		if !ok || !Equal(v, w) {
			return false
		}
	}
	return true
}

func sameSet(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	in := make(map[string]bool, len(a))
	for _, s := range a {
		in[s] = true
	}
	for _, s := range b {
		if !in[s] {
			return false
		}
	}
	return true
}

func texts(bs [][]byte) []string {
	out := make([]string, len(bs))
	for i, b := range bs {
		out[i] = string(b)
	}
	return out
}

// Compare orders two scalars of one type: strings and binaries bytewise,
// numbers by value. ok is false for anything else.
func Compare(a, b Value) (c int, ok bool) {
	switch a := a.(type) {
	case *S:
		if b, is := b.(*S); is {
			return strings.Compare(a.Value, b.Value), true
		}
	case *B:
		if b, is := b.(*B); is {
			return bytes.Compare(a.Value, b.Value), true
		}
	case *N:
		if b, is := b.(*N); is {
			return compareNumbers(a.Value, b.Value)
		}
	}
	return 0, false
}

func compareNumbers(a, b string) (int, bool) {
	x, err := ParseNumber(a)
	if err != nil {
		return 0, false
	}
	y, err := ParseNumber(b)
	return x.Compare(y), err == nil
}

// Clone copies a value, so that a change of one does not show in the other.
// Scalars and sets, which are replaced and never changed, are shared.
func Clone(v Value) Value {
	switch v := v.(type) {
	case *M:
		return &M{Value: CloneItem(v.Value)}
	case *L:
		out := make([]Value, len(v.Value))
		for i, e := range v.Value {
			out[i] = Clone(e)
		}
		return &L{Value: out}
	}
	return v
}

// CloneItem copies an item; see [Clone].
func CloneItem(item Item) Item {
	out := make(Item, len(item))
	for k, v := range item {
		out[k] = Clone(v)
	}
	return out
}

// MaxItem is the largest size of an item in bytes.
const MaxItem = 400 << 10

// ItemSize is an item's size in bytes as limits and capacity count it: names and values.
//
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
func ItemSize(item Item) int {
	n := 0
	for k, v := range item {
		n += len(k) + Size(v)
	}
	return n
}

// Size is a value's size in bytes, without its name.
func Size(v Value) int {
	switch v := v.(type) {
	case *S:
		return len(v.Value)
	case *N:
		return numberSize(v.Value)
	case *B:
		return len(v.Value)
	case *Null, *Bool:
		return 1
	}
	n := 0
	switch v := v.(type) {
	case *SS:
		for _, s := range v.Value {
			n += len(s)
		}
	case *NS:
		for _, s := range v.Value {
			n += numberSize(s)
		}
	case *BS:
		for _, b := range v.Value {
			n += len(b)
		}
	case *M:
		n = 3 + len(v.Value) + ItemSize(v.Value)
	case *L:
		n = 3 + len(v.Value)
		for _, e := range v.Value {
			n += Size(e)
		}
	}
	return n
}

// numberSize is about a byte for two significant digits, one for the exponent
// and one for a minus.
func numberSize(s string) int {
	d, err := ParseNumber(s)
	if err != nil || len(d.digits) == 0 {
		return 1
	}
	n := 1 + (len(d.digits)+1)/2
	if d.neg {
		n++
	}
	return n
}
