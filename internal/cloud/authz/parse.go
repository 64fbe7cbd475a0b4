package authz

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Policy is a compiled policy document. It never changes.
type Policy struct {
	Version    string // "2012-10-17", or "2008-10-17" if the document names none
	ID         string
	Statements []Statement
}

// A Statement is one compiled statement of a policy.
type Statement struct {
	Sid        string
	Allow      bool // Effect
	Start, End int  // offsets in the document

	principals    *principals // nil: the element is absent
	notPrincipals bool
	actions       []pattern
	notActions    bool
	resources     []pattern // nil: the element is absent
	notResources  bool
	conditions    []condition
}

// A ParseError says why a text is not a policy document, in the words of IAM.
type ParseError struct {
	Reason string
	Line   int // from 1; 0 where no place can be named
	Column int
}

func (e *ParseError) Error() string {
	if e.Line == 0 {
		return "parse policy: " + e.Reason
	}
	return fmt.Sprintf("parse policy: line %d, column %d: %s", e.Line, e.Column, e.Reason)
}

// Parse compiles a policy document. It checks the grammar, not what one kind
// of policy must or must not contain: see [Policy.Check]. The error is a
// [*ParseError].
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
func Parse(document string) (*Policy, error) {
	root, err := decode(document)
	if err != nil {
		return nil, err
	}
	p := &Policy{Version: "2008-10-17"}
	c := compiler{}
	var statements any
	for _, m := range root.members {
		switch m.name {
		case "Version":
			p.Version = c.text(m)
			if p.Version != "2012-10-17" && p.Version != "2008-10-17" {
				c.fail("The policy must contain a valid version string")
			}
		case "Id":
			p.ID = c.text(m)
		case "Statement":
			statements = m.value
		default:
			c.fail(syntaxText)
		}
	}
	c.variables = p.Version == "2012-10-17"
	switch s := statements.(type) {
	case object:
		p.Statements = []Statement{c.statement(s)}
	case []any:
		for _, x := range s {
			o, ok := x.(object)
			if !ok {
				c.fail(syntaxText)
			}
			p.Statements = append(p.Statements, c.statement(o))
		}
	default:
		c.fail(syntaxText)
	}
	if c.err != nil {
		return nil, c.err
	}
	return p, nil
}

const syntaxText = "Syntax errors in policy."

// An object is a JSON object with its members in order; encoding/json would
// take the last of two members of one name silently.
type object struct {
	members    []member
	start, end int // offsets in the document
}

type member struct {
	name  string
	value any // string, json.Number, bool, nil, []any, object
}

// maxDepth bounds the nesting of documents; none that means anything is deeper than 5.
const maxDepth = 10

func decode(document string) (object, error) {
	d := json.NewDecoder(strings.NewReader(document))
	d.UseNumber()
	v, err := value(d, 0)
	if err == nil {
		if _, extra := d.Token(); extra != io.EOF {
			err = errors.New("text after the document")
		}
	}
	o, ok := v.(object)
	if err == nil && ok {
		return o, nil
	}
	e := &ParseError{Reason: "This policy contains invalid Json"}
	if json.Valid([]byte(document)) {
		e.Reason = syntaxText
	}
	before := document[:min(int(d.InputOffset()), len(document))]
	e.Line = strings.Count(before, "\n") + 1
	e.Column = len(before) - strings.LastIndexByte(before, '\n')
	return object{}, e
}

func value(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, errors.New("too deep")
	}
	switch t {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := value(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	case json.Delim('{'):
		o := object{start: int(d.InputOffset()) - 1}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := value(d, depth+1)
			if err != nil {
				return nil, err
			}
			for _, m := range o.members {
				if m.name == k {
					return o, errors.New("member twice")
				}
			}
			o.members = append(o.members, member{k.(string), v})
		}
		_, err := d.Token()
		o.end = int(d.InputOffset())
		return o, err
	}
	return t, nil
}

// A compiler turns parsed JSON into statements and keeps the first error.
type compiler struct {
	variables bool // policy variables are in force
	err       *ParseError
}

func (c *compiler) fail(format string, args ...any) {
	if c.err == nil {
		c.err = &ParseError{Reason: fmt.Sprintf(format, args...)}
	}
}

func (c *compiler) text(m member) string {
	s, ok := m.value.(string)
	if !ok {
		c.fail(syntaxText)
	}
	return s
}

// texts reads a string or a list of them; scalars of other kinds are taken in conditions.
func (c *compiler) texts(v any, scalars bool) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case bool, json.Number:
		if scalars {
			return []string{fmt.Sprint(v)}
		}
	case []any:
		out := make([]string, 0, len(v))
		for _, x := range v {
			if _, nested := x.([]any); nested {
				c.fail(syntaxText)
				return nil
			}
			out = append(out, c.texts(x, scalars)...)
		}
		return out
	}
	c.fail(syntaxText)
	return nil
}

func (c *compiler) statement(o object) (s Statement) {
	effect := ""
	s.Start, s.End = o.start, o.end
	for _, m := range o.members {
		switch m.name {
		case "Sid":
			s.Sid = c.text(m)
		case "Effect":
			effect = c.text(m)
		case "Principal", "NotPrincipal":
			c.once(s.principals != nil)
			s.principals, s.notPrincipals = c.principals(m.value), m.name == "NotPrincipal"
		case "Action", "NotAction":
			c.once(s.actions != nil)
			s.notActions = m.name == "NotAction"
			s.actions = c.actions(c.texts(m.value, false))
		case "Resource", "NotResource":
			c.once(s.resources != nil)
			s.notResources = m.name == "NotResource"
			s.resources = c.patterns(c.texts(m.value, false))
		case "Condition":
			s.conditions = c.conditions(m.value)
		default:
			c.fail(syntaxText)
		}
	}
	switch effect {
	case "Allow", "Deny":
		s.Allow = effect == "Allow"
	case "":
		c.fail("Missing required field Effect")
	default:
		c.fail(syntaxText)
	}
	if s.actions == nil {
		c.fail("Missing required field Action")
	}
	return s
}

// once refuses an element that is there in both its forms, such as Action and NotAction.
func (c *compiler) once(already bool) {
	if already {
		c.fail(syntaxText)
	}
}

func (c *compiler) actions(all []string) []pattern {
	out := make([]pattern, 0, len(all))
	for _, a := range all {
		out = append(out, compilePattern(strings.ToLower(a), a, false))
	}
	return out
}

func (c *compiler) patterns(all []string) []pattern {
	out := make([]pattern, 0, len(all))
	for _, r := range all {
		out = append(out, compilePattern(r, r, c.variables))
	}
	return out
}

func (c *compiler) conditions(v any) (out []condition) {
	o, ok := v.(object)
	if !ok {
		c.fail(syntaxText)
		return nil
	}
	for _, op := range o.members {
		keys, ok := op.value.(object)
		if !ok {
			c.fail(syntaxText)
			continue
		}
		for _, k := range keys.members {
			cond, ok := compileCondition(op.name, k.name, c.texts(k.value, true), c.variables)
			if !ok {
				c.fail("Invalid Condition type : %s.", op.name)
				continue
			}
			out = append(out, cond)
		}
	}
	return out
}

// Normal returns a document in one form, so that two that mean the same text
// but for white space compare equal. What is no JSON is returned unchanged.
func Normal(document string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(document)) != nil {
		return document
	}
	return b.String()
}
