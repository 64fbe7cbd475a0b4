package authz

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParsePolicy looks for documents that make the parser or the evaluator panic.
func FuzzParsePolicy(f *testing.F) {
	f.Add(`{"Version":"2012-10-17","Statement":[`+allowSend+`,`+denyAll+`]}`, "sqs:SendMessage", queue)
	f.Add(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":["*"]},"NotAction":"s3:${a, 'b'}*","NotResource":["arn:*?"],"Condition":{"ForAllValues:ArnLike":{"a":["*:*",true,1]}}}}`, "s3:x", "arn:::")
	f.Add(`{"Statement":{"Effect":"Deny","NotPrincipal":{"Service":"a.b"},"Action":"*","Resource":"*","Condition":{"IpAddress":{"k":"::1/0"},"DateEquals":{"k":"2020"},"NumericLessThan":{"k":1}}}}`, "", "")
	f.Fuzz(func(t *testing.T, document, action, resource string) {
		p, err := Parse(document)
		if err != nil {
			return
		}
		for _, k := range []Kind{IdentityPolicy, ResourcePolicy, TrustPolicy} {
			_ = p.Check(k)
		}
		p.Principals()
		for _, who := range []Principal{user, session, root, topic, foreign, {}} {
			r := Request{Principal: &who, Action: action, Resource: resource, Context: Keys{"k": {resource}, "a": {action, resource}}, Identity: []*Policy{p}, Policy: p}
			first := Evaluate(&r)
			if again := Evaluate(&r); first != again {
				t.Errorf("one request, two decisions: %+v, %+v", first, again)
			}
		}
	})
}

// FuzzEvaluate checks decisions against the statements that they rest on: who
// is let in is let in by one that allows, a denial names one that denies, and
// nothing is stronger than a deny.
func FuzzEvaluate(f *testing.F) {
	f.Add(allowSend, to(`{"AWS":"111122223333"}`), allowAll, allowAll, "sqs:SendMessage", queue, "v", uint8(0))
	f.Add(allowAll, `{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/ann","111122223333"]},"NotAction":"sqs:*","Resource":"*"}`, denyAll, "", "s3:GetObject", "arn:aws:s3:::b/k", "", uint8(1))
	f.Add(`{"Effect":"Allow","Action":"sqs:*","NotResource":"*:${k,'q'}","Condition":{"ForAnyValue:StringNotLike":{"k":"a*"}}}`, to(`"*"`), "", allowSend, "sqs:SendMessage", queue, "b", uint8(2))
	f.Add("", to(`{"Service":"sns.amazonaws.com"}`), "", "", "sqs:SendMessage", queue, "", uint8(3))
	f.Add("", "", "", "", "kms:Decrypt", "arn:aws:kms:us-east-1:111122223333:key/k", "", uint8(4))
	who := []*Principal{&user, &session, &root, &topic, &foreign, {Type: Anonymous}}
	deny, err := Parse(`{"Version":"2012-10-17","Statement":` + denyAll + `}`)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, identity, resource, boundary, narrowed, action, arn, value string, flags uint8) {
		r := Request{Principal: who[int(flags)%len(who)], Action: action, Resource: arn, Context: Keys{"k": {value}, "several": {value, arn}}}
		r.Foreign, r.Guarded = flags&64 != 0, flags&128 != 0
		one := func(statements string) []*Policy {
			p, err := Parse(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)
			if statements == "" || err != nil {
				return nil
			}
			return []*Policy{p}
		}
		r.Identity, r.Session = one(identity), one(narrowed)
		if b := one(boundary); b != nil {
			r.Boundary = b[0]
		}
		if p := one(resource); p != nil {
			r.Policy = p[0]
		}
		d := Evaluate(&r)
		if d.Allowed && d.Explicit {
			t.Fatalf("allowed and denied: %+v", d)
		}
		allowing, denying := statements(&r)
		if d.Allowed && !allowing && r.Principal.Type != Root {
			t.Errorf("allowed by no statement: %+v", d)
		}
		if d.Explicit != denying {
			t.Errorf("explicit %t, but denied by a statement %t", d.Explicit, denying)
		}
		r.Granted = true
		if granted := Evaluate(&r); d.Allowed && !granted.Allowed || granted.Explicit != d.Explicit {
			t.Errorf("%+v, with a grant %+v", d, granted)
		}
		if r.Principal.Type == User || r.Principal.Type == AssumedRole {
			r.Session = append(r.Session, deny)
			if last := Evaluate(&r); last.Allowed || !last.Explicit {
				t.Errorf("denied, yet %+v", last)
			}
		}
	})
}

// statements tells whether any statement in force allows, or denies.
func statements(r *Request) (allowing, denying bool) {
	note := func(p *Policy, resource, gives bool) {
		if p == nil {
			return
		}
		for _, s := range p.Matching(r, resource) {
			allowing, denying = allowing || s.Allow && gives, denying || !s.Allow
		}
	}
	note(r.Policy, true, true)
	if r.Principal.Type != User && r.Principal.Type != AssumedRole {
		return allowing, denying
	}
	for _, p := range r.Identity {
		note(p, false, true)
	}
	note(r.Boundary, false, false)
	for _, p := range r.Session {
		note(p, false, false)
	}
	return allowing, denying
}

// FuzzPattern compares the matcher with a plain one.
func FuzzPattern(f *testing.F) {
	f.Add("a*b?c", "a1b2c")
	f.Add("**?*", "")
	f.Add("arn:aws:s3:::${k}/*", "arn:aws:s3:::v*/x")
	f.Add("${*}${?}${$}${none, 'd'}", "*?$d")
	f.Add("${none}*", "x")
	f.Add("${", "${")
	f.Add("é?*", "éü\xff")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if strings.Count(pattern, "*") > 4 || len(pattern) > 40 || len(text) > 60 {
			return // the plain matcher takes exponential time
		}
		c := Keys{"k": {"v*"}, "two": {"a", "b"}}
		p := compilePattern(pattern, pattern, true)
		if got, want := p.match(text, c), plainMatch(pattern, text, c); got != want {
			t.Errorf("%q on %q: %t, want %t", pattern, text, got, want)
		}
	})
}

// plainMatch follows the documentation word by word.
func plainMatch(pattern, text string, c Context) bool {
	if pattern == "" {
		return text == ""
	}
	if strings.HasPrefix(pattern, "${") {
		if name, rest, ok := strings.Cut(pattern[2:], "}"); ok {
			v, found := plainVariable(name, c)
			after, starts := strings.CutPrefix(text, v)
			if !found { // the whole pattern matches nothing
				return false
			}
			return starts && plainMatch(rest, after, c)
		}
	}
	switch pattern[0] {
	case '*':
		for i := 0; i <= len(text); i++ {
			if plainMatch(pattern[1:], text[i:], c) {
				return true
			}
		}
		return false
	case '?':
		_, n := utf8.DecodeRuneInString(text)
		return text != "" && plainMatch(pattern[1:], text[n:], c)
	}
	return text != "" && text[0] == pattern[0] && plainMatch(pattern[1:], text[1:], c)
}

func plainVariable(name string, c Context) (string, bool) {
	if name == "*" || name == "?" || name == "$" {
		return name, true
	}
	key, fallback, has := strings.Cut(name, ",")
	if v, ok := c.Lookup(strings.ToLower(strings.TrimSpace(key))); ok && len(v) == 1 {
		return v[0], true
	}
	fallback = strings.TrimSpace(fallback)
	if len(fallback) > 1 && strings.HasPrefix(fallback, "'") && strings.HasSuffix(fallback, "'") {
		fallback = fallback[1 : len(fallback)-1]
	}
	return fallback, has
}
