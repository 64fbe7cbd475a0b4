package expr

import "strings"

// TopNames are the names of the top-level attributes that an expression of any
// kind mentions, as far as it can be read: for judging access to it, before it
// is checked.
func TopNames(text string, names map[string]string) []string {
	var out []string
	tokens := lex(text)
	for i, t := range tokens {
		inside := i > 0 && tokens[i-1].text == "."
		called := i+1 < len(tokens) && tokens[i+1].text == "("
		switch {
		case inside, section(tokens, i):
		case t.kind == nameRef && names[t.text] != "":
			out = append(out, names[t.text])
		case t.kind == word && !called && !isReserved(t.text): // SET, ADD, AND and the like are reserved, too
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
