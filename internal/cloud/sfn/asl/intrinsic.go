package asl

import (
	"fmt"
	"strconv"
	"strings"
)

// maxNesting is how deep calls of intrinsic functions may be nested.
const maxNesting = 10

// A call is a call of an intrinsic function. Arguments are values, or the
// constants string, float64, int64, bool and nil.
type call struct {
	text string
	name string
	args []any
}

func parseCall(s string) (value, error) {
	p := callParser{s: s}
	c, err := p.call(1)
	if err != nil {
		return nil, err
	}
	if p.space(); p.i != len(s) {
		return nil, fmt.Errorf("text after the call at %d", p.i)
	}
	return c, nil
}

// eval implements value.
func (c *call) eval(e *Env, data any, field string) (any, error) {
	args := make([]any, len(c.args))
	for i, a := range c.args {
		if v, ok := a.(value); ok {
			var err error
			if a, err = v.eval(e, data, field); err != nil {
				return nil, err
			}
		}
		args[i] = a
	}
	v, err := functions[c.name].apply(e, args)
	if err != nil {
		return nil, fail(ErrIntrinsic, "The function '%s' had the following error: %s", c.text, err)
	}
	return v, nil
}

// A callParser reads a call by recursive descent.
type callParser struct {
	s string
	i int
}

func (p *callParser) space() {
	for p.i < len(p.s) && (p.s[p.i] == ' ' || p.s[p.i] == '\t' || p.s[p.i] == '\n' || p.s[p.i] == '\r') {
		p.i++
	}
}

func (p *callParser) call(depth int) (*call, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("more than %d nested calls", maxNesting)
	}
	begin := p.i
	open := strings.IndexByte(p.s[p.i:], '(')
	if open < 0 {
		return nil, fmt.Errorf("a call needs parentheses")
	}
	c := &call{name: strings.TrimSpace(p.s[p.i : p.i+open])}
	f, ok := functions[c.name]
	if !ok {
		return nil, fmt.Errorf("unknown function %s", c.name)
	}
	p.i += open + 1
	if p.space(); p.i < len(p.s) && p.s[p.i] == ')' {
		p.i++
	} else if err := p.arguments(c, depth); err != nil {
		return nil, err
	}
	if len(c.args) < f.min || f.max >= 0 && len(c.args) > f.max {
		return nil, fmt.Errorf("wrong number of arguments for %s", c.name)
	}
	c.text = p.s[begin:p.i]
	return c, nil
}

func (p *callParser) arguments(c *call, depth int) error {
	for {
		p.space()
		a, err := p.argument(depth)
		if err != nil {
			return err
		}
		c.args = append(c.args, a)
		p.space()
		if p.i >= len(p.s) {
			return fmt.Errorf("missing ')'")
		}
		p.i++
		switch p.s[p.i-1] {
		case ')':
			return nil
		case ',':
		default:
			return fmt.Errorf("unexpected %q at %d", p.s[p.i-1], p.i-1)
		}
	}
}

func (p *callParser) argument(depth int) (any, error) {
	rest := p.s[p.i:]
	switch {
	case strings.HasPrefix(rest, "'"):
		return p.quoted()
	case strings.HasPrefix(rest, "$"):
		n := pathEnd(rest)
		path, err := ParsePath(strings.TrimSpace(rest[:n]))
		p.i += n
		return path, err
	case strings.HasPrefix(rest, "States."):
		return p.call(depth + 1)
	}
	n := strings.IndexAny(rest, ",) \t\r\n")
	if n < 0 {
		return nil, fmt.Errorf("missing ')'")
	}
	p.i += n
	switch word := rest[:n]; word {
	case "true", "false":
		return word == "true", nil
	case "null":
		return nil, nil
	default:
		v, err := Decode(word)
		if _, number := float(v); err != nil || !number {
			return nil, fmt.Errorf("%q is no argument", word)
		}
		return v, nil
	}
}

// quoted reads a string in single quotes; a backslash escapes the next character.
func (p *callParser) quoted() (string, error) {
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; c {
		case '\'':
			p.i++
			return b.String(), nil
		case '\\':
			p.i++
			if p.i == len(p.s) {
				return "", fmt.Errorf("string without end")
			}
			// The braces of States.Format stay escaped: it reads them itself.
			if e := p.s[p.i]; e == '{' || e == '}' {
				b.WriteByte('\\')
			}
			b.WriteByte(p.s[p.i])
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("string without end")
}

// pathEnd finds where a path ends that is an argument: at a comma or
// parenthesis outside of brackets, parentheses and quotes.
func pathEnd(s string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '[' || c == '(':
			depth++
		case (c == ']' || c == ')') && depth > 0:
			depth--
		case (c == ',' || c == ')') && depth == 0:
			return i
		}
	}
	return len(s)
}

// format is States.Format: each {} takes the next argument; \{ \} \\ stand for themselves.
func format(_ *Env, args []any) (any, error) {
	pattern, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("the template must be a string")
	}
	args = args[1:]
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern) && strings.IndexByte(`{}\`, pattern[i+1]) >= 0:
			i++
			b.WriteByte(pattern[i])
		case strings.HasPrefix(pattern[i:], "{}"):
			if len(args) == 0 {
				return nil, fmt.Errorf("the template has more placeholders than there are arguments")
			}
			s, err := formatted(args[0])
			if err != nil {
				return nil, err
			}
			b.WriteString(s)
			args = args[1:]
			i++
		case pattern[i] == '{' || pattern[i] == '}':
			return nil, fmt.Errorf("unescaped '%c' at %s", pattern[i], strconv.Itoa(i))
		default:
			b.WriteByte(pattern[i])
		}
	}
	if len(args) > 0 {
		return nil, fmt.Errorf("there are more arguments than placeholders in the template")
	}
	return b.String(), nil
}

func formatted(v any) (string, error) {
	switch v.(type) {
	case map[string]any, []any:
		return "", fmt.Errorf("arguments must be strings, numbers, booleans or null")
	}
	return text(v), nil
}
