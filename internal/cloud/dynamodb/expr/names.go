package expr

import "strings"

// TopNames are the names of the top-level attributes that an expression of any
// kind mentions, as far as it can be read: for judging access to it, before it
// is checked.
func TopNames(text string, names map[string]string) []string {
	all, _ := kept(&mentions, "", text, func() ([]string, error) { return mentioned(text), nil })
	out := make([]string, 0, len(all))
	for _, name := range all {
		if name[0] == '#' {
			name = names[name]
		}
		if name != "" {
			out = append(out, name)
		}
	}
	return out
}

// mentioned are the names and placeholders of top-level attributes in an expression.
func mentioned(text string) (out []string) {
	tokens := lex(text)
	for i, t := range tokens {
		inside := i > 0 && tokens[i-1].text == "."
		called := i+1 < len(tokens) && tokens[i+1].text == "("
		switch {
		case inside, section(tokens, i):
		case t.kind == nameRef, t.kind == word && !called && !isReserved(t.text): // SET, ADD, AND and the like are reserved, too
			out = append(out, t.text)
		}
	}
	return out
}

// section tells whether a word is REMOVE, the one keyword that is not
// reserved, and not an attribute of that name.
func section(tokens []token, i int) bool {
	return strings.EqualFold(tokens[i].text, "REMOVE") && i+1 < len(tokens) && (tokens[i+1].kind == word || tokens[i+1].kind == nameRef)
}
