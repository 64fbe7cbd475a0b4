package authz

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestWildcardsAgreeWithRegexp compares the matcher with the one of regexp.
func TestWildcardsAgreeWithRegexp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ab:é*?]{0,12}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[ab:é]{0,12}`).Draw(t, "text")
		quoted := regexp.QuoteMeta(text)
		quoted = strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(quoted)
		p := compilePattern(text, text, true)
		if got, want := p.match(s, Keys{}), regexp.MustCompile(`^(?s:`+quoted+`)$`).MatchString(s); got != want {
			t.Fatalf("%q on %q: %t, want %t", text, s, got, want)
		}
	})
}

// TestPreparedARNsAgreeWithSplitOnes compares the operator's two ways: with the
// parts of a value that were split before, and with those split when needed.
func TestPreparedARNsAgreeWithSplitOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arn := rapid.StringMatching(`(arn:|a)?([a*?]{0,2}:){0,6}[a*?:]{0,3}`)
		text, s := arn.Draw(t, "pattern"), arn.Draw(t, "text")
		c, ok := compileCondition("ArnLike", "k", []string{text}, true)
		if !ok || c.values[0].parts == nil {
			t.Fatalf("%q is not prepared", text)
		}
		split := c.values[0]
		split.parts = nil
		if got, want := arnLike(s, &c.values[0], Keys{}), arnLike(s, &split, Keys{}); got != want {
			t.Fatalf("%q on %q: %t prepared, %t split", text, s, got, want)
		}
		parts, ok := arnParts(s)
		if want := strings.SplitN(s, ":", 6); ok != (len(want) == 6) || ok && !slices.Equal(parts[:], want) {
			t.Fatalf("%q has parts %q, want %q", s, parts, want)
		}
		if account := rapid.StringMatching(`\d{0,2}`).Draw(t, "account"); !isRoot("arn:aws:iam::"+account+":root", account) || isRoot(s, account) {
			t.Fatalf("account %q is not known by its root user, or by %q", account, s)
		}
	})
}

// A rule is a statement as the model has it.
type rule struct {
	Effect   string
	Action   string
	Resource string
}

var rules = rapid.Custom(func(t *rapid.T) rule {
	return rule{
		rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, "effect"),
		rapid.SampledFrom([]string{"*", "sqs:*", "sqs:SendMessage", "sqs:ReceiveMessage", "s3:*"}).Draw(t, "action"),
		rapid.SampledFrom([]string{"*", queue, "arn:aws:sqs:us-east-1:111122223333:*", "arn:aws:sqs:us-east-1:111122223333:r"}).Draw(t, "resource"),
	}
})

func compiled(t *rapid.T, all []rule) *Policy {
	doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Parse(string(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// says is the model: the effects of the rules that match, worked out naively.
func says(all []rule, action, resource string) (allow, deny bool) {
	match := func(pattern, s string) bool {
		return pattern == s || strings.HasSuffix(pattern, "*") && strings.HasPrefix(s, strings.TrimSuffix(pattern, "*"))
	}
	for _, r := range all {
		if match(r.Action, action) && match(r.Resource, resource) {
			allow, deny = allow || r.Effect == "Allow", deny || r.Effect == "Deny"
		}
	}
	return allow, deny
}

// TestPoliciesAgreeWithTheModel checks what AWS states of identity policies,
// boundaries and session policies: a deny in any wins, all must allow.
func TestPoliciesAgreeWithTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rules, 0, 4)
		identity, boundary, narrowed := list.Draw(t, "identity"), list.Draw(t, "boundary"), list.Draw(t, "session")
		bounded, isNarrowed := rapid.Bool().Draw(t, "bounded"), rapid.Bool().Draw(t, "narrowed")
		action := rapid.SampledFrom([]string{"sqs:SendMessage", "sqs:ReceiveMessage", "s3:GetObject"}).Draw(t, "action")
		resource := rapid.SampledFrom([]string{queue, "arn:aws:sqs:us-east-1:111122223333:r", "arn:aws:s3:::b/k"}).Draw(t, "resource")

		r := Request{Principal: &session, Action: action, Resource: resource, Context: Keys{}, Identity: []*Policy{compiled(t, identity)}}
		want, denied := says(identity, action, resource)
		and := func(rs []rule) {
			allow, deny := says(rs, action, resource)
			want, denied = want && allow, denied || deny
		}
		if bounded {
			r.Boundary = compiled(t, boundary)
			and(boundary)
		}
		if isNarrowed {
			r.Session = []*Policy{compiled(t, narrowed)}
			and(narrowed)
		}
		d := Evaluate(&r)
		if d.Allowed != (want && !denied) || d.Explicit != denied {
			t.Fatalf("got %+v, want allowed %t, explicit %t", d, want && !denied, denied)
		}
	})
}

// TestMoreStatementsNeverUndoADeny checks that no policy can overrule a deny.
func TestMoreStatementsNeverUndoADeny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rules, 1, 5).Draw(t, "rules")
		more := rapid.SliceOfN(rules, 0, 5).Draw(t, "more")
		r := Request{Principal: &user, Action: "sqs:SendMessage", Resource: queue, Context: Keys{}, Identity: []*Policy{compiled(t, all)}}
		before := Evaluate(&r)
		r.Identity = append(r.Identity, compiled(t, more))
		if after := Evaluate(&r); before.Explicit && !after.Explicit {
			t.Fatalf("denied before, then %+v", after)
		}
	})
}
