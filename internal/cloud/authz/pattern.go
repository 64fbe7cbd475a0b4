package authz

import (
	"strings"
	"unicode/utf8"
)

// A pattern is text with wildcards and policy variables, compiled for matching.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
type pattern struct {
	source  string // as it was written
	text    string // likewise, with ${*}, ${?} and ${$} replaced by the characters that they stand for
	literal string // the whole text, if plain; what stands before the "*", if prefix
	plain   bool
	prefix  bool // one "*", at the end
	tokens  []token
	dynamic bool      // has variables
	parts   [][]token // of an ARN operator's value, if it is not dynamic; see splitARN
}

type tokenKind uint8

const (
	literalToken  tokenKind = iota
	anyTextToken            // *
	anyRuneToken            // ?
	variableToken           // ${...}
)

type token struct {
	kind     tokenKind
	text     string // of a literal; key of a variable, in lower case
	fallback string // of a variable
	has      bool   // the variable has a fallback
}

// compilePattern compiles text; source is what it was written as.
func compilePattern(text, source string, variables bool) pattern {
	p := pattern{source: source, tokens: tokenize(text, variables)}
	for _, t := range p.tokens {
		p.dynamic = p.dynamic || t.kind == variableToken
	}
	p.text = plainText(p.tokens)
	switch n := len(p.tokens); {
	case n == 0:
		p.plain = true
	case n == 1 && p.tokens[0].kind == literalToken:
		p.plain, p.literal = true, p.tokens[0].text
	case n == 1 && p.tokens[0].kind == anyTextToken:
		p.prefix = true
	case n == 2 && p.tokens[0].kind == literalToken && p.tokens[1].kind == anyTextToken:
		p.prefix, p.literal = true, p.tokens[0].text
	}
	return p
}

func tokenize(text string, variables bool) (out []token) {
	add := func(t token) {
		n := len(out)
		if n > 0 && t.kind == literalToken && out[n-1].kind == literalToken {
			out[n-1].text += t.text
			return
		}
		out = append(out, t)
	}
	for text != "" {
		if variables && strings.HasPrefix(text, "${") {
			if name, rest, ok := strings.Cut(text[2:], "}"); ok {
				add(variable(name))
				text = rest
				continue
			}
		}
		switch text[0] {
		case '*':
			add(token{kind: anyTextToken})
		case '?':
			add(token{kind: anyRuneToken})
		default:
			n := strings.IndexAny(text[1:], "*?$") + 1
			if n == 0 {
				n = len(text)
			}
			add(token{kind: literalToken, text: text[:n]})
			text = text[n:]
			continue
		}
		text = text[1:]
	}
	return out
}

// variable compiles what stands between "${" and "}": a condition key, with a
// default after a comma, or a character that would else be special.
func variable(s string) token {
	switch s {
	case "*", "?", "$":
		return token{kind: literalToken, text: s}
	}
	name, fallback, has := strings.Cut(s, ",")
	if has {
		fallback = strings.TrimSpace(fallback)
		if n := len(fallback); n >= 2 && fallback[0] == '\'' && fallback[n-1] == '\'' {
			fallback = fallback[1 : n-1]
		}
	}
	return token{kind: variableToken, text: strings.ToLower(strings.TrimSpace(name)), fallback: fallback, has: has}
}

// expand replaces variables by their values, in which nothing is special. A
// variable without a single value and without a default matches nothing.
func (p *pattern) expand(c Context) ([]token, bool) {
	if !p.dynamic {
		return p.tokens, true
	}
	out := make([]token, len(p.tokens))
	for i, t := range p.tokens {
		if t.kind == variableToken {
			v, ok := c.Lookup(t.text)
			switch {
			case ok && len(v) == 1:
				t = token{kind: literalToken, text: v[0]}
			case t.has:
				t = token{kind: literalToken, text: t.fallback}
			default:
				return nil, false
			}
		}
		out[i] = t
	}
	return out, true
}

// match tells whether all of s matches.
func (p *pattern) match(s string, c Context) bool {
	switch {
	case p.plain:
		return s == p.literal
	case p.prefix:
		return strings.HasPrefix(s, p.literal)
	}
	tokens, ok := p.expand(c)
	return ok && glob(tokens, s)
}

// exact compares s with the text in which wildcards are ordinary characters.
func (p *pattern) exact(s string, c Context, fold bool) bool {
	text := p.text
	if p.dynamic {
		tokens, ok := p.expand(c)
		if !ok {
			return false
		}
		text = plainText(tokens)
	}
	return s == text || fold && strings.EqualFold(s, text)
}

// plainText is what tokens say where wildcards are ordinary characters.
func plainText(tokens []token) string {
	var b strings.Builder
	for _, t := range tokens {
		switch t.kind {
		case anyTextToken:
			b.WriteByte('*')
		case anyRuneToken:
			b.WriteByte('?')
		default:
			b.WriteString(t.text)
		}
	}
	return b.String()
}

// glob matches with backtracking to the last "*" only, which is enough and
// keeps the time proportional to len(tokens) * len(s).
func glob(tokens []token, s string) bool {
	i, star, mark := 0, -1, 0
	at := 0
	for {
		if i == len(tokens) && at == len(s) {
			return true
		}
		if i < len(tokens) {
			switch t := tokens[i]; t.kind {
			case anyTextToken:
				star, mark = i, at
				i++
				continue
			case anyRuneToken:
				if at < len(s) {
					_, n := utf8.DecodeRuneInString(s[at:])
					i, at = i+1, at+n
					continue
				}
			default:
				if strings.HasPrefix(s[at:], t.text) {
					i, at = i+1, at+len(t.text)
					continue
				}
			}
		}
		if star < 0 || mark >= len(s) {
			return false
		}
		mark++
		i, at = star+1, mark
	}
}
