package pattern

const maxDepth = 100 // bounds nesting, so that no pattern can exhaust the stack

// Compile reads a pattern; {} is one that every event matches. Errors are
// [*InvalidError].
func Compile(source string) (*Pattern, error) {
	if err := checkSyntax(source); err != nil {
		return nil, err
	}
	c := compiler{scanner{src: source}}
	if c.next() != '{' {
		return nil, c.bad("Filter is not an object")
	}
	if c.peek() == '}' {
		return &Pattern{&node{}}, nil
	}
	root, err := c.object(0)
	if err != nil {
		return nil, err
	}
	return &Pattern{root}, nil
}

// A compiler reads the tokens of a pattern from left to right and stops at the
// first that does not belong there, as AWS does.
type compiler struct{ scanner }

// bad is an error about the token.
func (c *compiler) bad(format string, args ...any) error {
	return invalidAt(c.src, c.at, format, args...)
}

// object reads the members after an opening brace, up to the closing one.
func (c *compiler) object(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, c.bad("Too many levels")
	}
	n := &node{members: map[string]field{}}
	for c.next() != '}' {
		name := c.text()
		if _, twice := n.members[name]; twice {
			return nil, c.bad("Path `%s` cannot be allowed multiple times", name)
		}
		if name == "$or" {
			group, err := c.alternatives(depth)
			if err != nil {
				return nil, err
			}
			n.or = append(n.or, group)
			continue
		}
		f, err := c.field(name, depth)
		if err != nil {
			return nil, err
		}
		n.members[name] = f
	}
	if len(n.members) == 0 && len(n.or) == 0 {
		return nil, c.bad("Empty objects are not allowed")
	}
	return n, nil
}

// alternatives reads what follows "$or".
func (c *compiler) alternatives(depth int) (group []*node, err error) {
	if c.next() != '[' {
		return nil, c.bad("$or must be an array of at least 2 objects")
	}
	for c.next() == '{' {
		n, err := c.object(depth + 1)
		if err != nil {
			return nil, err
		}
		group = append(group, n)
	}
	if c.kind != ']' || len(group) < 2 {
		return nil, c.bad("$or must be an array of at least 2 objects")
	}
	return group, nil
}

// field reads what a pattern says of one member.
func (c *compiler) field(name string, depth int) (f field, err error) {
	switch c.next() {
	case '{':
		f.inner, err = c.object(depth + 1)
		return f, err
	case '[':
	default:
		return f, c.bad("%q must be an object or an array", name)
	}
	for c.next() != ']' {
		m, absent := matcher(nil), false
		switch {
		case c.kind == '{':
			m, absent, err = c.expression()
		case c.isLeaf():
			m = exact(c.value())
		default:
			err = c.bad("Match value must be String, number, true, false, or null")
		}
		if err != nil {
			return f, err
		}
		f.absent = f.absent || absent
		f.anyOf = append(f.anyOf, m)
	}
	if len(f.anyOf) == 0 {
		return f, c.bad("Empty arrays are not allowed")
	}
	return f, nil
}

// expression reads a special matcher such as {"prefix": "a"} to its end.
// absent says that it asks for a member that is not there.
func (c *compiler) expression() (m matcher, absent bool, err error) {
	if c.next() != tokField {
		return nil, false, c.bad("Match expression name not found")
	}
	switch name := c.text(); name {
	case "exists":
		if k := c.next(); k != tokTrue && k != tokFalse {
			return nil, false, c.bad("exists match pattern must be either true or false.")
		}
		there := c.kind == tokTrue
		m, absent = func(any) bool { return there }, !there
	case "anything-but":
		m, err = c.anythingBut()
	case "numeric":
		m, err = c.numeric()
	case "cidr":
		m, err = c.cidr()
	case "prefix", "suffix":
		m, err = c.affix(name)
	case "equals-ignore-case", "wildcard", "exactly":
		m, err = c.compare(name)
	default:
		err = c.bad("Unrecognized match type %s", name)
	}
	if err != nil {
		return nil, false, err
	}
	if c.next() != '}' {
		return nil, false, c.bad("Only one key allowed in match expression")
	}
	return m, absent, nil
}

// affix reads the text of a prefix or suffix, or its variant without case.
func (c *compiler) affix(name string) (matcher, error) {
	if c.next() != '{' {
		return c.comparison(name, name)
	}
	if c.next() != tokField || c.text() != "equals-ignore-case" {
		return nil, c.bad("Unsupported %s match pattern: %s", name, c.text())
	}
	c.next()
	m, err := c.comparison(name+" without case", "equals-ignore-case")
	if err == nil && c.next() != '}' {
		err = c.bad("Only one key allowed in match expression")
	}
	return m, err
}

// compare reads the text of a matcher that compares texts.
func (c *compiler) compare(name string) (matcher, error) {
	c.next()
	return c.comparison(name, name)
}

// comparison makes a matcher of kind of the token, which must be a string.
func (c *compiler) comparison(kind, name string) (matcher, error) {
	if c.kind != tokString {
		return nil, c.bad("%s match pattern must be a string", name)
	}
	m, err := comparison(kind, c.text())
	if err != nil {
		return nil, err
	}
	return m, nil
}

// anythingBut reads a value, a list of values, or a text matcher whose text
// may be a list too.
func (c *compiler) anythingBut() (matcher, error) {
	switch c.next() {
	case tokString, tokNumber:
		return not([]matcher{exact(c.value())}), nil
	case '[':
		return c.noneOf("anything but", tokNumber, func() (matcher, error) { return exact(c.value()), nil })
	case '{':
	default:
		return nil, c.bad("Value of anything-but must be an array or single string/number value.")
	}
	if c.next() != tokField {
		return nil, c.bad("Anything-but expression name not found")
	}
	name := c.text()
	switch name {
	case "prefix", "suffix", "equals-ignore-case", "wildcard":
	default:
		return nil, c.bad("Unsupported anything-but pattern: %s", name)
	}
	one := func() (matcher, error) {
		if (name == "prefix" || name == "suffix") && c.text() == "" {
			return nil, c.bad("Null prefix/suffix not allowed")
		}
		return c.comparison(name, name)
	}
	var m matcher
	var err error
	if c.next() == '[' {
		m, err = c.noneOf("anything-but/"+name, tokString, one)
	} else if m, err = one(); err == nil {
		m = not([]matcher{m})
	}
	if err == nil && c.next() != '}' {
		err = c.bad("Only one key allowed in match expression")
	}
	return m, err
}

// noneOf reads the rest of a list of strings and, where also says so, numbers.
func (c *compiler) noneOf(what string, also byte, one func() (matcher, error)) (matcher, error) {
	var all []matcher
	for c.next() != ']' {
		if c.kind != tokString && c.kind != also {
			refused := "number|start|null|boolean"
			if also == tokNumber {
				refused = "start|null|boolean"
			}
			return nil, c.bad("Inside %s list, %s is not supported.", what, refused)
		}
		m, err := one()
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if len(all) == 0 {
		return nil, c.bad("Empty arrays are not allowed")
	}
	return not(all), nil
}
