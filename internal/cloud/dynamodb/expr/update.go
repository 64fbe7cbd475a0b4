package expr

import (
	"cmp"
	"slices"
	"strings"

	"miniforge/internal/cloud/dynamodb/attr"
)

// An Update is a change of an item.
type Update struct{ actions []action }

// An action is one clause of an update.
type action struct {
	section string // SET, REMOVE, ADD, DELETE
	path    Path
	value   node // nil for REMOVE
}

// Update reads an update expression.
func (s *Scope) Update(text string) (*Update, error) {
	const k = UpdateExpression
	u, err := parsedUpdate(text)
	if err != nil {
		return nil, err
	}
	if err := s.resolveUpdate(k, u); err != nil {
		return nil, err
	}
	if err := k.disjoint(u.Paths()); err != nil {
		return nil, err
	}
	return u, u.checkOperands(k)
}

// Paths are all paths that the update changes.
func (u *Update) Paths() []Path {
	out := make([]Path, len(u.actions))
	for i, a := range u.actions {
		out[i] = a.path
	}
	return out
}

func update(p *parser) *Update {
	u := &Update{}
	for p.peek().kind != end {
		section := strings.ToUpper(p.peek().text)
		switch section {
		case "SET", "REMOVE", "ADD", "DELETE":
		default:
			p.fail()
		}
		p.i++
		if slices.ContainsFunc(u.actions, func(a action) bool { return a.section == section }) {
			panic(syntaxError{p.kind.invalid("The \"%s\" section can only be used once in an update expression;", section)})
		}
		u.actions = append(u.actions, p.action(section))
		for p.accept(",") {
			u.actions = append(u.actions, p.action(section))
		}
	}
	return u
}

func (p *parser) action(section string) action {
	a := action{section: section, path: p.path()}
	switch section {
	case "SET":
		p.expect("=")
		a.value = p.sum()
	case "ADD", "DELETE":
		t := p.peek()
		if t.kind != valueRef {
			p.fail()
		}
		p.i++
		a.value = &literal{name: t.text}
	}
	return a
}

// sum reads what SET assigns: one operand, or two added or subtracted.
func (p *parser) sum() node {
	x := p.operand(p.unit(0))
	if !p.is("+") && !p.is("-") {
		return x
	}
	minus := p.next().text == "-"
	return &sum{minus: minus, args: []node{x, p.operand(p.unit(0))}}
}

func (u *Update) checkNames(k Kind) error {
	for _, a := range u.actions {
		if err := unreservedPath(k, a.path); err != nil {
			return err
		}
		if a.value != nil {
			if err := unreserved(k, a.value); err != nil {
				return err
			}
		}
	}
	return u.each(func(a action, n node) error {
		f, ok := n.(*function)
		if !ok || updateFunctions[f.name] > 0 {
			return nil
		}
		if conditionFunctions[f.name] > 0 {
			return k.invalid("The function is not allowed in an update expression; function: %s", f.name)
		}
		return k.invalid("Invalid function name; function: %s", f.name)
	})
}

// each visits all parts of what is assigned.
func (u *Update) each(f func(action, node) error) error {
	for _, a := range u.actions {
		if a.value == nil {
			continue
		}
		if err := walk(a.value, func(n node) error { return f(a, n) }); err != nil {
			return err
		}
	}
	return nil
}

func (s *Scope) resolveUpdate(k Kind, u *Update) error {
	for _, a := range u.actions {
		if err := s.resolvePath(k, a.path); err != nil {
			return err
		}
		if a.value != nil {
			if err := s.resolve(k, a.value); err != nil {
				return err
			}
		}
	}
	return nil
}

var typeNames = map[string]string{
	"S": "STRING", "N": "NUMBER", "B": "BINARY", "SS": "STRING_SET", "NS": "NUMBER_SET", "BS": "BINARY_SET",
	"M": "MAP", "L": "LIST", "NULL": "NULL", "BOOL": "BOOLEAN",
}

func (u *Update) checkOperands(k Kind) error {
	return u.each(func(a action, n node) error {
		switch n := n.(type) {
		case *literal:
			t := attr.Type(n.value)
			set := t == "SS" || t == "NS" || t == "BS"
			if a.section == "ADD" && !set && t != "N" || a.section == "DELETE" && !set {
				return k.invalid("Incorrect operand type for operator or function; operator: %s, operand type: %s", a.section, typeNames[t])
			}
		case *sum:
			op := "+"
			if n.minus {
				op = "-"
			}
			return literalsOf(k, n, op, "N")
		case *function:
			return n.checkUpdate(k)
		}
		return nil
	})
}

func (f *function) checkUpdate(k Kind) error {
	if err := operandCounts(k, f); err != nil {
		return err
	}
	if f.name == "list_append" {
		return literalsOf(k, f, f.name, "L")
	}
	if _, ok := f.args[0].(*reference); !ok {
		return k.invalid("Operator or function requires a document path; operator or function: %s", f.name)
	}
	return nil
}

// literalsOf refuses given operands of another type than op takes.
func literalsOf(k Kind, n node, op, want string) error {
	for _, c := range n.children() {
		if t := known(c); t != "" && t != want {
			return wrongType(k, op, t)
		}
	}
	return nil
}

var sectionRank = map[string]int{"SET": 0, "ADD": 1, "DELETE": 2, "REMOVE": 3}

// order puts actions into the order in which they are applied: what is set
// first, by ascending index, because elements beyond a list's end are
// appended; what is removed last, by descending index, because removing moves
// those that follow.
func (u *Update) order() []action {
	out := slices.Clone(u.actions)
	slices.SortStableFunc(out, func(a, b action) int {
		if c := sectionRank[a.section] - sectionRank[b.section]; c != 0 {
			return c
		}
		n := common(a.path, b.path)
		if n == len(a.path) || n == len(b.path) || !a.path[n].List {
			return 0
		}
		c := cmp.Compare(a.path[n].Index, b.path[n].Index)
		if a.section == "REMOVE" {
			return -c
		}
		return c
	})
	return out
}
