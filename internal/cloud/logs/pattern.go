package logs

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A pattern decides which messages a search finds: terms, a JSON selector in
// braces, or fields in brackets.
//
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
type pattern struct {
	all, any, none []term
	json           node
	fields         *fieldPattern
}

// A term is a text or a regular expression that a message contains.
type term struct {
	text  string
	regex *regexp.Regexp
}

func (t *term) in(message string) bool {
	if t.regex != nil {
		return t.regex.MatchString(message)
	}
	return strings.Contains(message, t.text)
}

var errPattern = invalid("Invalid filter pattern")

// parsePattern reads a filter pattern; the empty one matches every message.
func parsePattern(text string) (*pattern, error) {
	text = strings.TrimSpace(text)
	switch {
	case !utf8.ValidString(text):
		return nil, errPattern
	case strings.HasPrefix(text, "{"):
		n, err := parseJSONPattern(text)
		return &pattern{json: n}, err
	case strings.HasPrefix(text, "["):
		f, err := parseFieldPattern(text)
		return &pattern{fields: f}, err
	}
	return parseTerms(text)
}

func (p *pattern) match(message string) bool {
	switch {
	case p.json != nil:
		return matchJSON(p.json, message)
	case p.fields != nil:
		return p.fields.match(message)
	}
	for i := range p.none {
		if p.none[i].in(message) {
			return false
		}
	}
	for i := range p.all {
		if !p.all[i].in(message) {
			return false
		}
	}
	for i := range p.any {
		if p.any[i].in(message) {
			return true
		}
	}
	return len(p.any) == 0
}

func parseTerms(text string) (*pattern, error) {
	p := &pattern{}
	for rest := text; ; {
		rest = strings.TrimLeftFunc(rest, unicode.IsSpace)
		if rest == "" {
			return p, nil
		}
		list := &p.all
		switch rest[0] {
		case '?':
			list, rest = &p.any, rest[1:]
		case '-':
			list, rest = &p.none, rest[1:]
		}
		t, after, err := parseTerm(rest)
		if err != nil {
			return nil, err
		}
		*list, rest = append(*list, t), after
	}
}

// parseTerm reads one term: "quoted", %regular expression%, or a bare word,
// which holds only letters, digits and underscores.
func parseTerm(s string) (t term, rest string, err error) {
	switch {
	case strings.HasPrefix(s, `"`):
		t.text, rest, err = quoted(s)
		return t, rest, err
	case strings.HasPrefix(s, "%"):
		source, rest, ok := strings.Cut(s[1:], "%")
		if !ok {
			return t, "", errPattern
		}
		if t.regex, err = regexp.Compile(source); err != nil {
			return t, "", errPattern
		}
		return t, rest, nil
	}
	end := strings.IndexFunc(s, unicode.IsSpace)
	if end < 0 {
		end = len(s)
	}
	word := s[:end]
	if word == "" || strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' }) {
		return t, "", errPattern
	}
	return term{text: word}, s[end:], nil
}

// quoted reads a string in double quotes, in which \" stands for one.
func quoted(s string) (text, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			if s[i] != '"' && s[i] != '\\' {
				b.WriteByte('\\')
			}
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errPattern
}

// wildcard makes a matcher of a text in which * stands for anything.
func wildcard(text string) *regexp.Regexp {
	parts := strings.Split(text, "*")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return regexp.MustCompile(`^(?s:` + strings.Join(parts, ".*") + `)$`)
}
