package wire

import (
	"regexp"
	"regexp/syntax"
	"unicode/utf8"
)

// A matcher is the pattern of a rule; a [*regexp.Regexp] is one.
type matcher interface{ MatchString(s string) bool }

// compile makes the matcher of texts that a pattern matches as a whole.
func compile(pattern string) matcher {
	if c, ok := parseCharset(pattern); ok {
		return c
	}
	return regexp.MustCompile(`^(?s:` + pattern + `)$`)
}

// A charset matches texts of certain characters alone. Most patterns of AWS say
// no more, "[a-zA-Z0-9_.-]+", and are asked for each request.
type charset struct {
	ascii  [utf8.RuneSelf]bool
	ranges []rune // pairs of first and last
	empty  bool   // the empty text matches, too
}

// parseCharset understands one class of characters with a "*" or a "+" behind it.
func parseCharset(pattern string) (*charset, bool) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || re.Op != syntax.OpStar && re.Op != syntax.OpPlus || re.Sub[0].Op != syntax.OpCharClass {
		return nil, false
	}
	c := &charset{ranges: re.Sub[0].Rune, empty: re.Op == syntax.OpStar}
	for ch := range rune(len(c.ascii)) {
		c.ascii[ch] = c.within(ch)
	}
	return c, true
}

func (c *charset) within(ch rune) bool {
	for i := 0; i < len(c.ranges); i += 2 {
		if c.ranges[i] <= ch && ch <= c.ranges[i+1] {
			return true
		}
	}
	return false
}

// MatchString implements [matcher].
func (c *charset) MatchString(s string) bool {
	for _, ch := range s {
		if ch < utf8.RuneSelf && !c.ascii[ch] || ch >= utf8.RuneSelf && !c.within(ch) {
			return false
		}
	}
	return s != "" || c.empty
}
