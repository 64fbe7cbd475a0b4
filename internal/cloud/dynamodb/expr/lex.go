package expr

// A kind is what a token is.
type kind int

const (
	end      kind = iota // of the expression
	word                 // name, keyword or function
	nameRef              // #name
	valueRef             // :value
	digits
	symbol // ( ) [ ] , . + - = < > <= >= <>
	stray  // what no expression may hold
)

type token struct {
	kind     kind
	text     string
	from, to int // in the expression
}

// lex splits an expression into tokens; the last one is the end.
func lex(s string) []token {
	out := make([]token, 0, len(s)/4+2) // a token and what is between them, roughly
	for i := 0; ; {
		for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\n' || s[i] == '\r') {
			i++
		}
		if i == len(s) {
			return append(out, token{end, "<EOF>", i, i})
		}
		from := i
		k := stray
		switch c := s[i]; {
		case letter(c):
			k, i = word, run(s, i)
		case (c == '#' || c == ':') && i+1 < len(s) && part(s[i+1]):
			k = nameRef
			if c == ':' {
				k = valueRef
			}
			i = run(s, i+1)
		case c >= '0' && c <= '9':
			k = digits
			for i < len(s) && s[i] >= '0' && s[i] <= '9' {
				i++
			}
		case i+1 < len(s) && (s[i:i+2] == "<=" || s[i:i+2] == ">=" || s[i:i+2] == "<>"):
			k, i = symbol, i+2
		default:
			switch c {
			case '(', ')', '[', ']', ',', '.', '+', '-', '=', '<', '>':
				k = symbol
			}
			i++
		}
		out = append(out, token{k, s[from:i], from, i})
	}
}

func run(s string, i int) int {
	for i < len(s) && part(s[i]) {
		i++
	}
	return i
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

func part(c byte) bool { return letter(c) || c >= '0' && c <= '9' || c == '_' }
