package logs

import "testing"

func TestPatterns(t *testing.T) {
	const doc = `{"level":"ERROR","n":404,"user":{"id":"u-1","tags":["x","y"]},"ok":true,"none":null}`
	const access = `127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /a.html HTTP/1.0" 404 1534`
	for _, c := range []struct {
		pattern, message string
		want             bool
	}{
		{"", "anything", true},
		{"ERROR", "an ERROR here", true},
		{"ERROR", "an error here", false},
		{"ERROR here", "here is an ERROR", true},
		{"ERROR there", "here is an ERROR", false},
		{`"an ERROR"`, "an ERROR here", true},
		{`"an ERROR"`, "an  ERROR here", false},
		{"?WARN ?ERROR", "an ERROR", true},
		{"?WARN ?ERROR", "fine", false},
		{"ERROR -expected", "an expected ERROR", false},
		{"ERROR -expected", "an ERROR", true},
		{"%E[A-Z]+R%", "an ERROR", true},
		{"%^E%", "an ERROR", false},
		{`{ $.level = "ERROR" }`, doc, true},
		{`{ $.level = ERR* }`, doc, true},
		{`{ $.level != "ERROR" }`, doc, false},
		{`{ $.n >= 400 && $.n < 500 }`, doc, true},
		{`{ $.n > 404 }`, doc, false},
		{`{ $.n = 404.0 }`, doc, true},
		{`{ $.user.id = "u-1" && ($.n = 1 || $.ok IS TRUE) }`, doc, true},
		{`{ $.user.tags[1] = "y" }`, doc, true},
		{`{ $.user.tags[*] = "z" }`, doc, false},
		{`{ $['user']['id'] = "u-1" }`, doc, true},
		{`{ $.none IS NULL }`, doc, true},
		{`{ $.missing NOT EXISTS }`, doc, true},
		{`{ $.level NOT EXISTS }`, doc, false},
		{`{ $.level = %^ERR% }`, doc, true},
		{`{ $.level = "ERROR" }`, "no JSON", false},
		{"[ip, id, user, time, request, status = 4*, size]", access, true},
		{"[ip, id, user, time, request, status = 2*, size]", access, false},
		{"[..., status = 404 || status = 500, size > 1000]", access, true},
		{"[ip, user]", access, false},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Errorf("%s: %v", c.pattern, err)
			continue
		}
		if got := p.match(c.message); got != c.want {
			t.Errorf("%s on %s: got %v", c.pattern, c.message, got)
		}
	}
}

func TestInvalidPatterns(t *testing.T) {
	for _, text := range []string{`"open`, "%(%", "a.b", "{ $.x }", "{ $.x = }", "{ $.x = 1", "{ x = 1 }", `{ $.x > "a" }`, "{ ($.x = 1 }", "[a, ..., b, ...]", "[a", "{ $.a[b] = 1 }", "?", "{ $.a = \xff }", "[a = \xff*]"} {
		if _, err := parsePattern(text); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add(`{ $.a[0] = "x" && ($.b IS NULL || $.c > 1) }`, `{"a":["x"]}`)
	f.Add(`[a, ..., b = 4*]`, `x "y z" 404`)
	f.Add(`?a -"b" %c%`, `abc`)
	f.Fuzz(func(_ *testing.T, pattern, message string) {
		if p, err := parsePattern(pattern); err == nil {
			p.match(message) // must not panic
		}
	})
}
