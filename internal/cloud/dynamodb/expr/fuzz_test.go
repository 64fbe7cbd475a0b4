package expr

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
	"pgregory.net/rapid"

	"miniforge/internal/cloud/dynamodb/attr"
)

// TestAnyTextIsReadOrRefused puts together expressions of all kinds of
// tokens: each is refused with a ValidationException, or can be evaluated.
func TestAnyTextIsReadOrRefused(t *testing.T) {
	tokens := rapid.SampledFrom([]string{
		"a", "m", "l", "n", "tags", "m.x", "l[0]", "l[9]", "m.deep.l[1][0]", "#a", "#dot", "#nope", ":a", ":n", ":ss", ":l", ":nope", "=", "<>", "<", ">=", "+", "-", "(", ")", ",", ".", "[", "]", "0",
		"AND", "OR", "NOT", "IN", "BETWEEN", "SET", "REMOVE", "ADD", "DELETE", "size(", "contains(", "attribute_exists(", "begins_with(", "attribute_type(", "if_not_exists(", "list_append(", "_", "ü", "\x00", "'", "a b",
	})
	refused := func(t *rapid.T, err error) bool {
		api, ok := errors.AsType[smithy.APIError](err)
		if err != nil && (!ok || api.ErrorCode() != "ValidationException") {
			t.Fatalf("error %v is no ValidationException", err)
		}
		return err != nil
	}
	rapid.Check(t, func(t *rapid.T) {
		e := strings.Join(rapid.SliceOfN(tokens, 1, 9).Draw(t, "tokens"), " ")
		s, err := NewScope(names, given)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := s.Condition(FilterExpression, e); !refused(t, err) {
			c.Holds(example)
			c.Holds(nil)
		}
		if p, err := s.Projection(e); !refused(t, err) {
			p.Apply(example)
		}
		_, err = s.KeyCondition(e)
		refused(t, err)
		if u, err := s.Update(rapid.SampledFrom([]string{"", "SET a = ", "SET l[1] = ", "ADD ", "REMOVE "}).Draw(t, "begin") + e); !refused(t, err) {
			before := attr.CloneItem(example)
			_, err := u.Apply(example)
			refused(t, err)
			if !attr.EqualItems(before, example) {
				t.Fatal("the item that was given has changed")
			}
		}
		TopNames(e, names)
	})
}
