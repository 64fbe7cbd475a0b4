package expr

import (
	"strconv"
	"strings"
)

// A parser reads one expression by recursive descent. A syntax error ends it
// by a panic that parse recovers: no other panic passes.
type parser struct {
	kind   Kind
	text   string
	tokens []token
	i      int
	// doubled says that parentheses stand directly inside others.
	doubled bool
}

type syntaxError struct{ error }

// parse reads a whole expression by rule.
func parse[T any](k Kind, text string, rule func(*parser) T) (out T, p *parser, err error) {
	if strings.Trim(text, " \t\r\n") == "" {
		return out, nil, k.invalid("The expression can not be empty;")
	}
	if len(text) > maxLength {
		return out, nil, k.invalid("Expression size has exceeded the maximum allowed size; expression size: %d", len(text))
	}
	p = &parser{kind: k, text: text, tokens: lex(text)}
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(syntaxError)
			if !ok {
				panic(r)
			}
			err = e.error
		}
	}()
	out = rule(p)
	if p.peek().kind != end {
		p.fail()
	}
	return out, p, nil
}

func (p *parser) peek() token { return p.tokens[p.i] }

func (p *parser) next() token {
	t := p.tokens[p.i]
	if t.kind != end {
		p.i++
	}
	return t
}

// fail ends parsing at the token that is next: AWS shows it with its neighbours.
func (p *parser) fail() {
	t := p.peek()
	from, to := t.from, t.to
	if p.i > 0 {
		from = p.tokens[p.i-1].from
	}
	if p.i+1 < len(p.tokens) {
		if n := p.tokens[p.i+1]; n.kind != end {
			to = n.to
		}
	}
	near := strings.TrimSpace(p.text[from:to])
	panic(syntaxError{p.kind.invalid("Syntax error; token: \"%s\", near: \"%s\"", t.text, near)})
}

func (p *parser) is(s string) bool {
	t := p.peek()
	return t.kind == symbol && t.text == s
}

func (p *parser) accept(s string) bool {
	if p.is(s) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(s string) {
	if !p.accept(s) {
		p.fail()
	}
}

// keyword accepts a word of the language, in any case.
func (p *parser) keyword(w string) bool {
	t := p.peek()
	if t.kind == word && strings.EqualFold(t.text, w) {
		p.i++
		return true
	}
	return false
}

// isOperator are words that can be no names.
func isOperator(s string) bool {
	switch strings.ToUpper(s) {
	case "AND", "OR", "NOT", "IN", "BETWEEN":
		return true
	}
	return false
}

// maxDeep bounds nesting of parentheses and functions: AWS allows 300 operators
// in an expression.
const maxDeep = 300

// condition reads an expression that is true or false.
func condition(p *parser) node {
	n := p.or(0)
	if !boolean(n) {
		p.fail()
	}
	return n
}

func (p *parser) or(depth int) node {
	return p.chain(depth, "OR", p.and)
}

func (p *parser) and(depth int) node {
	return p.chain(depth, "AND", p.not)
}

// chain reads what is joined by one operator; all joined parts must be conditions.
func (p *parser) chain(depth int, op string, part func(int) node) node {
	n := part(depth)
	for {
		at := p.i
		if !p.keyword(op) {
			return n
		}
		if !boolean(n) {
			p.i = at
			p.fail()
		}
		r := part(depth)
		if !boolean(r) {
			p.fail()
		}
		n = &logic{op: op, args: []node{n, r}}
	}
}

func (p *parser) not(depth int) node {
	if depth > maxDeep {
		p.fail()
	}
	if p.keyword("NOT") {
		n := p.not(depth + 1)
		if !boolean(n) {
			p.fail()
		}
		return &logic{op: "NOT", args: []node{n}}
	}
	return p.comparison(depth)
}

// comparison reads an operand and what it is compared with. An operand alone
// is returned as it is: the parentheses around it may belong to a comparison.
func (p *parser) comparison(depth int) node {
	x := p.unit(depth)
	t := p.peek()
	switch {
	case t.kind == symbol && (t.text == "=" || t.text[0] == '<' || t.text[0] == '>'):
		p.operand(x)
		p.i++
		return &compare{op: t.text, args: []node{x, p.operand(p.unit(depth))}}
	case t.kind == word && strings.EqualFold(t.text, "BETWEEN"):
		p.operand(x)
		p.i++
		lo := p.operand(p.unit(depth))
		if !p.keyword("AND") {
			p.fail()
		}
		return &compare{op: "BETWEEN", args: []node{x, lo, p.operand(p.unit(depth))}}
	case t.kind == word && strings.EqualFold(t.text, "IN"):
		p.operand(x)
		p.i++
		p.expect("(")
		args := []node{x, p.operand(p.unit(depth))}
		for p.accept(",") {
			args = append(args, p.operand(p.unit(depth)))
		}
		p.expect(")")
		return &compare{op: "IN", args: args}
	}
	return x
}

// operand refuses a condition where a value must stand.
func (p *parser) operand(n node) node {
	switch n.(type) {
	case *logic, *compare:
		p.fail()
	}
	return n
}

// unit reads an operand or anything in parentheses.
func (p *parser) unit(depth int) node {
	if depth > maxDeep {
		p.fail()
	}
	if !p.accept("(") {
		return p.simple(depth)
	}
	inner := p.is("(")
	before := p.i
	n := p.or(depth + 1)
	if inner && p.closes(before) {
		p.doubled = true
	}
	p.expect(")")
	return n
}

// closes tells whether the parenthesis opened at token i was closed by the last token.
func (p *parser) closes(i int) bool {
	open := 0
	for ; i < p.i; i++ {
		switch {
		case p.tokens[i].kind == symbol && p.tokens[i].text == "(":
			open++
		case p.tokens[i].kind == symbol && p.tokens[i].text == ")":
			open--
		}
		if open == 0 {
			return i == p.i-1
		}
	}
	return false
}

// simple reads a path, a value or a function.
func (p *parser) simple(depth int) node {
	t := p.peek()
	switch {
	case t.kind == valueRef:
		p.i++
		return &literal{name: t.text}
	case t.kind == word && !isOperator(t.text) && p.tokens[p.i+1].kind == symbol && p.tokens[p.i+1].text == "(":
		p.i += 2
		f := &function{name: t.text}
		for {
			f.args = append(f.args, p.operand(p.unit(depth+1)))
			if !p.accept(",") {
				break
			}
		}
		p.expect(")")
		return f
	}
	return &reference{path: p.path()}
}

func (p *parser) path() Path {
	path := Path{p.step()}
	for {
		switch {
		case p.accept("."):
			path = append(path, p.step())
		case p.accept("["):
			t := p.peek()
			n, err := strconv.Atoi(t.text)
			if t.kind != digits || err != nil {
				p.fail()
			}
			p.i++
			p.expect("]")
			path = append(path, Step{Index: n, List: true})
		default:
			return path
		}
	}
}

func (p *parser) step() Step {
	t := p.peek()
	if t.kind != nameRef && (t.kind != word || isOperator(t.text)) {
		p.fail()
	}
	p.i++
	return Step{Name: t.text}
}
