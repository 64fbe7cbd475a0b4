package logs

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
)

// parseJSONPattern reads { $.field = "value" && ... }.
func parseJSONPattern(text string) (node, error) {
	p := &parser{rest: text[1:], field: selector}
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if !p.take("}") || strings.TrimSpace(p.rest) != "" {
		return nil, errPattern
	}
	return n, nil
}

// selector reads $.a.b[0]['c'] and returns it as it stands; path takes it apart.
func selector(p *parser) (string, error) {
	p.space()
	if !strings.HasPrefix(p.rest, "$") {
		return "", errPattern
	}
	inside := false
	end := len(p.rest)
	for i, r := range p.rest {
		if inside = (inside || r == '[') && r != ']'; !inside && (unicode.IsSpace(r) || strings.ContainsRune("=!<>)&|}", r)) {
			end = i
			break
		}
	}
	s := p.rest[:end]
	p.rest = p.rest[end:]
	if _, ok := path(s); !ok {
		return "", errPattern
	}
	return s, nil
}

// path takes a selector apart into names, indexes and "*".
func path(s string) (steps []string, ok bool) {
	s = s[1:]
	for s != "" {
		switch s[0] {
		case '.':
			s = s[1:]
			end := strings.IndexAny(s, ".[")
			if end < 0 {
				end = len(s)
			}
			if end == 0 {
				return nil, false
			}
			steps, s = append(steps, "."+s[:end]), s[end:]
		case '[':
			inner, rest, found := strings.Cut(s[1:], "]")
			if !found || inner == "" {
				return nil, false
			}
			if q := strings.Trim(inner, `'"`); q != inner {
				inner = "." + q
			} else if _, err := strconv.ParseUint(inner, 10, 31); err != nil && inner != "*" {
				return nil, false
			}
			steps, s = append(steps, inner), rest
		default:
			return nil, false
		}
	}
	return steps, len(steps) > 0
}

// matchJSON judges a message; one that is not a JSON object never matches.
func matchJSON(n node, message string) bool {
	var doc any
	if err := json.Unmarshal([]byte(message), &doc); err != nil {
		return false
	}
	if _, object := doc.(map[string]any); !object {
		return false
	}
	return n.holds(func(field string) []any {
		steps, _ := path(field) // parsed before
		return find([]any{doc}, steps)
	})
}

func find(values []any, steps []string) []any {
	for _, s := range steps {
		var next []any
		for _, v := range values {
			next = append(next, step(v, s)...)
		}
		values = next
	}
	return values
}

func step(v any, s string) []any {
	if name, ok := strings.CutPrefix(s, "."); ok {
		m, _ := v.(map[string]any)
		if name == "*" {
			var all []any
			for _, x := range m {
				all = append(all, x)
			}
			return all
		}
		if x, ok := m[name]; ok {
			return []any{x}
		}
		return nil
	}
	list, _ := v.([]any)
	if s == "*" {
		return list
	}
	if i, err := strconv.Atoi(s); err == nil && i < len(list) {
		return list[i : i+1]
	}
	return nil
}
