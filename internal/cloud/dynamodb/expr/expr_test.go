package expr

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/dynamodb/attr"
)

func str(s string) attr.Value { return &attr.S{Value: s} }
func num(s string) attr.Value { return &attr.N{Value: s} }

func list(v ...attr.Value) attr.Value { return &attr.L{Value: v} }

var names = map[string]string{"#a": "a", "#b": "b", "#dot": "a.b", "#size": "size", "#i": "[3]"}

var given = attr.Item{
	":a": str("a"), ":n": num("1"), ":two": num("2"), ":b": &attr.B{Value: []byte("a")}, ":bool": &attr.Bool{Value: true}, ":null": &attr.Null{Value: true},
	":ss": &attr.SS{Value: []string{"a", "b"}}, ":ns": &attr.NS{Value: []string{"1"}}, ":m": &attr.M{Value: attr.Item{}}, ":l": list(str("x")), ":type": str("SS"),
}

// scoped makes a scope with all names and values, whether used or not.
func scoped(t *testing.T) *Scope {
	t.Helper()
	s, err := NewScope(names, given)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func text(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorMessage()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

var example = attr.Item{
	"a": str("abc"), "n": num("10"), "tags": &attr.SS{Value: []string{"a", "b"}}, "ns": &attr.NS{Value: []string{"1", "2"}},
	"m": &attr.M{Value: attr.Item{"x": num("1"), "deep": &attr.M{Value: attr.Item{"l": list(str("p"), list(num("7")))}}}}, "l": list(str("x"), num("1")),
	"bin": &attr.B{Value: []byte("abc")}, "nul": &attr.Null{Value: true}, "yes": &attr.Bool{Value: true}, "a.b": str("dotted"),
}

func TestConditions(t *testing.T) {
	for e, want := range map[string]bool{
		"n = :n": false, "n <> :n": true, "n > :n": true, "n >= :n": true, "n < :n": false, ":n < n": true, "n between :n and n": true, "n BETWEEN :two AND :two": false,
		"n in (:a, :n, n)": true, "a in (:n)": false, "attribute_exists(m.x)": true, "attribute_exists(m.y)": false, "attribute_not_exists(m.x.y)": true,
		"attribute_type(tags, :type)": true, "attribute_type(a, :type)": false, "begins_with(a, :a)": true, "begins_with(bin, :b)": true, "begins_with(n, :a)": false,
		"contains(a, :a)": true, "contains(tags, :a)": true, "contains(ns, :n)": true, "contains(l, :n)": true, "contains(l, :a)": false, "contains(nope, :a)": false,
		"size(a) = size(tags)": false, "size(tags) = :two": true, "size(n) = :n": false, "size(m) = :two": true, "m.deep.l[1][0] > :n": true, "l[0] = :a": false, "l[9] = :a": false,
		"nope = :a": false, "nope <> :a": true, "nope < :a": false, "a = :n": false, "a < :n": false, "yes = :bool": true, "nul = :null": true, "#dot = :a": false,
		"not n = :n": true, "NOT NOT n = :n": false, "n = :n or n > :n": true, "n = :n and n > :n or yes = :bool": true, "n = :n and (n > :n or yes = :bool)": false,
		"not (n = :n or n > :n)": false, "(n) > (:n)": true, "(n > :n)": true, "((n) > :n)": true, "tags = :ss": true, "attribute_exists(#a) AND\n\tn>:n": true,
	} {
		c, err := scoped(t).Condition(ConditionExpression, e)
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		if got := c.Holds(example); got != want {
			t.Errorf("%s is %v, want %v", e, got, want)
		}
	}
}

func TestConditionErrors(t *testing.T) {
	for e, want := range map[string]string{
		"":                                 "The expression can not be empty;",
		"  \n":                             "The expression can not be empty;",
		"a":                                `Syntax error; token: "<EOF>", near: "a"`,
		"a = ":                             `Syntax error; token: "<EOF>", near: "="`,
		"a = :a and":                       `Syntax error; token: "<EOF>", near: "and"`,
		"a AND b = :a":                     `Syntax error; token: "AND", near: "a AND b"`,
		"a > 4":                            `Syntax error; token: "4", near: "> 4"`,
		"ADD a :a":                         `Syntax error; token: "a", near: "ADD a :a"`,
		"a = :a )":                         `Syntax error; token: ")", near: ":a )"`,
		"(a = :a":                          `Syntax error; token: "<EOF>", near: ":a"`,
		"a == :a":                          `Syntax error; token: "=", near: "== :a"`,
		"a.__b = :a":                       `Syntax error; token: "_", near: ".__"`,
		"a in ()":                          `Syntax error; token: ")", near: "()"`,
		"a[b] = :a":                        `Syntax error; token: "b", near: "[b]"`,
		"(a = :a) = :a":                    `Syntax error; token: "=", near: ") = :a"`,
		"((a = :a))":                       "The expression has redundant parentheses;",
		"a=:a AND ((a=:a AND (a=:a)))":     "The expression has redundant parentheses;",
		"whatever(:things) > a":            "Invalid function name; function: whatever",
		"attRIbute_exIsts((views))":        "Invalid function name; function: attRIbute_exIsts",
		"if_not_exists(a, :a) = :a":        "The function is not allowed in a condition expression; function: if_not_exists",
		"attribute_not_exists(things) > a": "The function is not allowed to be used this way in an expression; function: attribute_not_exists",
		"size(contains(a, :a)) > a":        "The function is not allowed to be used this way in an expression; function: contains",
		"size(things)":                     "The function is not allowed to be used this way in an expression; function: size",
		"a in (:a, attribute_exists(x))":   "The function is not allowed to be used this way in an expression; function: attribute_exists",
		"attribute_exists(views)":          "Attribute name is a reserved keyword; reserved keyword: views",
		":a < abOrT":                       "Attribute name is a reserved keyword; reserved keyword: abOrT",
		"x.status = :a":                    "Attribute name is a reserved keyword; reserved keyword: status",
		"#nope.x > a":                      "An expression attribute name used in the document path is not defined; attribute name: #nope",
		":nope > a":                        "An expression attribute value used in expression is not defined; attribute value: :nope",
		"attribute_type(things)":           "Incorrect number of operands for operator or function; operator or function: attribute_type, number of operands: 1",
		"begins_with(things, size(a), a)":  "Incorrect number of operands for operator or function; operator or function: begins_with, number of operands: 3",
		"a = :a AND #a = a":                "The first operand must be distinct from the remaining operands for this operator or function; operator: =, first operand: [a]",
		"begins_with(a.b[1], a.b[1])":      "The first operand must be distinct from the remaining operands for this operator or function; operator: begins_with, first operand: [a, b, [1]]",
		"attribute_exists(:a)":             "Operator or function requires a document path; operator or function: attribute_exists",
		"begins_with(a, :n)":               "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
		"begins_with(a, size(a))":          "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
		"size(:bool) > a":                  "Incorrect operand type for operator or function; operator or function: size, operand type: BOOL",
		"attribute_type(a, :n)":            "Incorrect operand type for operator or function; operator or function: attribute_type, operand type: N",
		"attribute_type(a, :a)":            "Invalid attribute type name found; type: a, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
		"a > :bool":                        "Incorrect operand type for operator or function; operator or function: >, operand type: BOOL",
		"a between :two and :n":            "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: AttributeValue: {N:2}, upper bound operand: AttributeValue: {N:1}",
		"a between :a and :n":              "The BETWEEN operator requires same data type for lower and upper bounds; lower bound operand: AttributeValue: {S:a}, upper bound operand: AttributeValue: {N:1}",
		"a = :a and " + strings.Repeat("x", 4096): "Expression size has exceeded the maximum allowed size; expression size: 4107",
	} {
		_, err := scoped(t).Condition(ConditionExpression, e)
		if got := text(err); got != "Invalid ConditionExpression: "+want {
			t.Errorf("%s\ngot  %s\nwant Invalid ConditionExpression: %s", e, got, want)
		}
	}
}

func TestDeepExpressionsEnd(t *testing.T) {
	for name, e := range map[string]string{
		"parentheses": strings.Repeat("(", 2000) + "a = :a" + strings.Repeat(")", 2000), "not": strings.Repeat("NOT ", 1000) + "a = :a",
		"functions": strings.Repeat("size(", 700) + "a" + strings.Repeat(")", 700) + " > :n",
	} {
		if _, err := scoped(t).Condition(ConditionExpression, e); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestKeyConditions(t *testing.T) {
	for e, want := range map[string]string{
		"a = :a":                           "a = [a]",
		":a = a AND n BETWEEN :n AND :two": "a = [a]; n BETWEEN [1 2]",
		"(:n < n) and (#a = :a)":           "n > [1]; a = [a]",
		"a = :a and begins_with(b, :a)":    "a = [a]; begins_with",
		"a = :a or n = :n":                 "Invalid operator used in KeyConditionExpression: OR",
		"not a = :a":                       "Invalid operator used in KeyConditionExpression: NOT",
		"a <> :a":                          "Invalid operator used in KeyConditionExpression: <>",
		"a in (:a)":                        "Invalid operator used in KeyConditionExpression: IN",
		"attribute_exists(a)":              "Invalid operator used in KeyConditionExpression: attribute_exists",
		"size(a) = :n":                     "KeyConditionExpressions cannot contain nested operations",
		"a.b = :a":                         "KeyConditionExpressions cannot have conditions on nested attributes",
		":a = :n":                          "Invalid condition in KeyConditionExpression: No key attribute specified",
		"a = n":                            "Invalid condition in KeyConditionExpression: Multiple attribute names used in one condition",
		"begins_with(:a, a)":               "Invalid condition in KeyConditionExpression: begins_with operator must have the key attribute as its first operand",
		"a = :a and a = :n":                "KeyConditionExpressions must only contain one condition per key",
		"a = :a and n = :n and b = :a":     "Conditions can be of length 1 or 2 only",
		"a = ":                             `Invalid KeyConditionExpression: Syntax error; token: "<EOF>", near: "="`,
	} {
		tests, err := scoped(t).KeyCondition(e)
		got := text(err)
		if err == nil {
			got = shownTests(tests)
		}
		if !strings.HasPrefix(got, want) {
			t.Errorf("%s\ngot  %s\nwant %s", e, got, want)
		}
	}
}

func shownTests(tests []KeyTest) string {
	var parts []string
	for _, k := range tests {
		var values []string
		for _, v := range k.Values {
			values = append(values, strings.TrimSuffix(shown(v)[3:], "}"))
		}
		if k.Op == "begins_with" {
			parts = append(parts, k.Op+" "+k.Name)
			continue
		}
		parts = append(parts, k.Name+" "+k.Op+" ["+strings.Join(values, " ")+"]")
	}
	return strings.Join(parts, "; ")
}

func TestProjections(t *testing.T) {
	for e, want := range map[string]attr.Item{
		"a, nope":                 {"a": str("abc")},
		"m.deep.l[1], m.x":        {"m": &attr.M{Value: attr.Item{"x": num("1"), "deep": &attr.M{Value: attr.Item{"l": list(list(num("7")))}}}}},
		"l[1], l[0], l[7]":        {"l": list(str("x"), num("1"))},
		"l[1]":                    {"l": list(num("1"))},
		"m.x.y, a[0], #dot, tags": {"a.b": str("dotted"), "tags": example["tags"]},
	} {
		p, err := scoped(t).Projection(e)
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		if got := p.Apply(example); !attr.EqualItems(got, want) {
			t.Errorf("%s: got %v, want %v", e, got, want)
		}
	}
	for e, want := range map[string]string{
		"":               "The expression can not be empty;",
		"a,,b":           `Syntax error; token: ",", near: ",,b"`,
		"a-b":            `Syntax error; token: "-", near: "a-b"`,
		"(a)":            `Syntax error; token: "(", near: "(a"`,
		":a":             `Syntax error; token: ":a", near: ":a"`,
		"a, abORt":       "Attribute name is a reserved keyword; reserved keyword: abORt",
		"a, #nope":       "An expression attribute name used in the document path is not defined; attribute name: #nope",
		"a, #a[1]":       "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, [1]]",
		"a.b, #a[1]":     "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, b], path two: [a, [1]]",
		"a[3].b, a.#i.b": "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, [3], b], path two: [a, [3], b]",
	} {
		_, err := scoped(t).Projection(e)
		if got := text(err); got != "Invalid ProjectionExpression: "+want {
			t.Errorf("%s\ngot  %s\nwant Invalid ProjectionExpression: %s", e, got, want)
		}
	}
}

func TestUpdates(t *testing.T) {
	old := attr.Item{
		"n": num("5"), "l": list(num("0"), num("1"), num("2"), num("3")), "m": &attr.M{Value: attr.Item{"x": num("1")}},
		"ss": &attr.SS{Value: []string{"a", "c"}}, "one": &attr.SS{Value: []string{"a"}}, "a": str("x"),
	}
	for e, want := range map[string]attr.Item{ // what differs; nil: removed
		"SET a = :a, n = n + :n": {"a": str("a"), "n": num("6")},
		"set n = n - :two":       {"n": num("3")},
		"SET n = m.x, m.x = n":   {"n": num("1"), "m": &attr.M{Value: attr.Item{"x": num("5")}}},
		"SET z = if_not_exists(z, :n), n = if_not_exists(n, :n)": {"z": num("1")},
		"SET z = if_not_exists(z, :n) + n":                       {"z": num("6")},
		"SET l = list_append(:l, l)":                             {"l": list(str("x"), num("0"), num("1"), num("2"), num("3"))},
		"SET z = list_append(if_not_exists(z, :l), :l)":          {"z": list(str("x"), str("x"))},
		"SET l[9] = :two, l[7] = :n, l[0] = :a":                  {"l": list(str("a"), num("1"), num("2"), num("3"), num("1"), num("2"))},
		"REMOVE l[0], l[2], l[9], nope":                          {"l": list(num("1"), num("3"))},
		"SET l[1] = :a REMOVE l[0]":                              {"l": list(str("a"), num("2"), num("3"))},
		"REMOVE m.x, m.nope":                                     {"m": &attr.M{Value: attr.Item{}}},
		"ADD n :n, z :two, ss :ss, y :ss":                        {"n": num("6"), "z": num("2"), "ss": &attr.SS{Value: []string{"a", "b", "c"}}, "y": given[":ss"]},
		"DELETE ss :ss, one :ss, nope :ss":                       {"ss": &attr.SS{Value: []string{"c"}}, "one": nil},
		"SET m.#dot = :a ADD m.y :n":                             {"m": &attr.M{Value: attr.Item{"x": num("1"), "a.b": str("a"), "y": num("1")}}},
		"REMOVE a DELETE ss :ss SET z = (:n) ADD n :n":           {"a": nil, "ss": &attr.SS{Value: []string{"c"}}, "z": num("1"), "n": num("6")},
	} {
		u, err := scoped(t).Update(e)
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		before := attr.CloneItem(old)
		got, err := u.Apply(old)
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		full := attr.CloneItem(old)
		for k, v := range want {
			if full[k] = v; v == nil {
				delete(full, k)
			}
		}
		if !attr.EqualItems(got, full) {
			t.Errorf("%s\ngot  %v\nwant %v", e, attr.AppendSorted(nil, got), attr.AppendSorted(nil, full))
		}
		if !attr.EqualItems(old, before) {
			t.Errorf("%s changed the item that it was given", e)
		}
	}
}

func TestUpdateErrors(t *testing.T) {
	for e, want := range map[string]string{
		"":                             "The expression can not be empty;",
		"INVALID SYNTAX HERE":          `Syntax error; token: "INVALID", near: "INVALID SYNTAX"`,
		"ADD hits : incr":              `Syntax error; token: ":", near: "hits : incr"`,
		"set {0 = :a":                  `Syntax error; token: "{", near: "set {0"`,
		"SET a = :a,":                  `Syntax error; token: "<EOF>", near: ","`,
		"SET a = :a + :n + :n":         `Syntax error; token: "+", near: ":n + :n"`,
		"SET a = VALUE 1":              `Syntax error; token: "1", near: "VALUE 1"`,
		"ADD a b":                      `Syntax error; token: "b", near: "a b"`,
		"SET a = :a SET b = :a":        `The "SET" section can only be used once in an update expression;`,
		"SET abort = :a":               "Attribute name is a reserved keyword; reserved keyword: abort",
		"SET a = whatever(:a)":         "Invalid function name; function: whatever",
		"SET a = size(b)":              "The function is not allowed in an update expression; function: size",
		"SET #nope = :a":               "An expression attribute name used in the document path is not defined; attribute name: #nope",
		"SET a = :nope":                "An expression attribute value used in expression is not defined; attribute value: :nope",
		"SET a = :a REMOVE a.b":        "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [a], path two: [a, b]",
		"remove a.c set a[1] = :n":     "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [a, c], path two: [a, [1]]",
		"add a.b :a":                   "Incorrect operand type for operator or function; operator: ADD, operand type: STRING",
		"add a.b :l":                   "Incorrect operand type for operator or function; operator: ADD, operand type: LIST",
		"delete a.b :n":                "Incorrect operand type for operator or function; operator: DELETE, operand type: NUMBER",
		"set a = if_not_exists(c)":     "Incorrect number of operands for operator or function; operator or function: if_not_exists, number of operands: 1",
		"set a = if_not_exists(:a, c)": "Operator or function requires a document path; operator or function: if_not_exists",
		"set a = list_append(:a, a)":   "Incorrect operand type for operator or function; operator or function: list_append, operand type: S",
		"set a = a + :ss":              "Incorrect operand type for operator or function; operator or function: +, operand type: SS",
		"set a = :a - :n":              "Incorrect operand type for operator or function; operator or function: -, operand type: S",
	} {
		_, err := scoped(t).Update(e)
		if got := text(err); got != "Invalid UpdateExpression: "+want {
			t.Errorf("%s\ngot  %s\nwant Invalid UpdateExpression: %s", e, got, want)
		}
	}
}

func TestUpdatesThatDoNotFitTheItem(t *testing.T) {
	const (
		path    = "The document path provided in the update expression is invalid for update"
		operand = "An operand in the update expression has an incorrect data type"
		missing = "The provided expression refers to an attribute that does not exist in the item"
	)
	for e, want := range map[string]string{
		"SET nope.x = :a": path, "SET a.x = :a": path, "SET a[0] = :a": path, "SET m[0] = :a": path, "REMOVE nope.x": path, "ADD nope.x :n": path, "DELETE nope.x :ss": path,
		"SET z = nope": missing, "SET z = nope + :n": missing, "SET z = a + :n": operand, "SET z = list_append(a, :l)": operand, "ADD a :n": operand, "ADD tags :ns": operand, "DELETE a :ss": operand,
	} {
		u, err := scoped(t).Update(e)
		if err != nil {
			t.Errorf("%s: %v", e, err)
			continue
		}
		if _, err := u.Apply(example); text(err) != want {
			t.Errorf("%s\ngot  %s\nwant %s", e, text(err), want)
		}
	}
}

func TestPlaceholders(t *testing.T) {
	for _, c := range []struct {
		name   string
		names  map[string]string
		values attr.Item
		want   string
	}{
		{"no names", map[string]string{}, nil, "ExpressionAttributeNames must not be empty"},
		{"no values", nil, attr.Item{}, "ExpressionAttributeValues must not be empty"},
		{"name without sign", map[string]string{"a": "a"}, nil, `ExpressionAttributeNames contains invalid key: Syntax error; key: "a"`},
		{"value without sign", nil, attr.Item{"b": str("")}, `ExpressionAttributeValues contains invalid key: Syntax error; key: "b"`},
		{"bad value", nil, attr.Item{":b": nil}, "ExpressionAttributeValues contains invalid value: Supplied AttributeValue is empty, must contain exactly one of the supported datatypes for key :b"},
		{"unused name", map[string]string{"#a": "a", "#b": "b", "#c": "c"}, nil, "Value provided in ExpressionAttributeNames unused in expressions: keys: {#b, #c}"},
		{"unused value", map[string]string{"#a": "a"}, attr.Item{":x": str("")}, "Value provided in ExpressionAttributeValues unused in expressions: keys: {:x}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := NewScope(c.names, c.values)
			if err == nil {
				if _, err = s.Projection("#a"); err == nil {
					err = s.Done()
				}
			}
			if text(err) != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestTopNames(t *testing.T) {
	got := TopNames("SET #a.b = if_not_exists(x.y[1], :v) + n REMOVE l[0]", map[string]string{"#a": "real"})
	if strings.Join(got, " ") != "real x n l" {
		t.Errorf("got %v", got)
	}
}
