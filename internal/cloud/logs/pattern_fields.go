package logs

import (
	"strings"
	"unicode"
)

// A fieldPattern names the space-separated fields of a message, from the
// left, and, after an ellipsis, from the right: [ip, ..., status = 4*, size].
type fieldPattern struct {
	left, right []field
	open        bool // there is an ellipsis
}

type field struct {
	name  string
	holds node // nil: anything
}

func parseFieldPattern(text string) (*fieldPattern, error) {
	p := &parser{rest: text[1:], field: fieldName}
	f := &fieldPattern{}
	for {
		switch {
		case p.take("..."):
			if f.open {
				return nil, errPattern
			}
			f.open = true
		default:
			one, err := parseField(p)
			if err != nil {
				return nil, err
			}
			if f.open {
				f.right = append(f.right, one)
			} else {
				f.left = append(f.left, one)
			}
		}
		if p.take("]") {
			break
		}
		if !p.take(",") {
			return nil, errPattern
		}
	}
	if strings.TrimSpace(p.rest) != "" {
		return nil, errPattern
	}
	return f, nil
}

// parseField reads a name alone or conditions on it.
func parseField(p *parser) (f field, err error) {
	before := p.rest
	if f.name, err = fieldName(p); err != nil && !strings.HasPrefix(strings.TrimSpace(before), "(") {
		return f, err
	}
	p.space()
	if err == nil && (strings.HasPrefix(p.rest, ",") || strings.HasPrefix(p.rest, "]")) {
		return f, nil
	}
	p.rest = before
	f.holds, err = p.or()
	return f, err
}

func fieldName(p *parser) (string, error) {
	p.space()
	end := strings.IndexFunc(p.rest, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' })
	if end <= 0 {
		return "", errPattern
	}
	name := p.rest[:end]
	p.rest = p.rest[end:]
	return name, nil
}

func (f *fieldPattern) match(message string) bool {
	words := splitFields(message)
	n := len(f.left) + len(f.right)
	if len(words) < n || len(words) > n && !f.open {
		return false
	}
	return matchFields(f.left, words) && matchFields(f.right, words[len(words)-len(f.right):])
}

func matchFields(fields []field, words []string) bool {
	for i, f := range fields {
		if f.holds != nil && !f.holds.holds(func(string) []any { return []any{words[i]} }) {
			return false
		}
	}
	return true
}

// splitFields splits at blanks, but not inside quotes and brackets.
func splitFields(message string) (words []string) {
	for rest := strings.TrimSpace(message); rest != ""; rest = strings.TrimLeftFunc(rest, unicode.IsSpace) {
		if closing, ok := map[byte]string{'"': `"`, '[': "]"}[rest[0]]; ok {
			if i := strings.Index(rest[1:], closing); i >= 0 {
				words, rest = append(words, rest[1:1+i]), rest[i+2:]
				continue
			}
		}
		end := strings.IndexFunc(rest, unicode.IsSpace)
		if end < 0 {
			end = len(rest)
		}
		words, rest = append(words, rest[:end]), rest[end:]
	}
	return words
}
