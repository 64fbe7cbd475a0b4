package security

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"miniforge/internal/access"
	"miniforge/internal/check"
)

// TestEveryStatementIsMissed removes every statement of every policy, each by
// itself: verification must fail, and name what is missing.
func TestEveryStatementIsMissed(t *testing.T) {
	w := newWorld(t)
	statements := 0
	for _, p := range w.policies() {
		all := statementsOf(t, p)
		for i, s := range all {
			statements++
			name := fmt.Sprintf("%s, statement %d", p, i+1)
			if err := w.put(p, lifeline(p, all, i)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r := w.judge(p.Holder)
			if err := w.put(p, all); err != nil {
				t.Fatalf("%s: put back: %v", name, err)
			}
			said := strings.Join(complaints(r), "\n")
			if r.Outcome != check.Fail {
				t.Errorf("%s was removed: %s %s", name, r.Outcome, r.Reason)
				continue
			}
			for _, permission := range permissionsOf(t, s) {
				if !strings.Contains(said, permission.Action+" on "+permission.Resource) && permission.Resource != "" || !strings.Contains(said, permission.Action) || !strings.Contains(said, p.Name) {
					t.Errorf("%s was removed: nothing says that %s of %s is missing:\n%s", name, permission, p, said)
				}
			}
		}
		if r := w.judge(p.Holder); r.Outcome != check.Pass {
			t.Fatalf("%s was put back: %s %s %v", p, r.Outcome, r.Reason, complaints(r))
		}
	}
	if statements < 60 {
		t.Errorf("there were only %d statements", statements)
	}
}

// lifeline is the policy less one statement. That which lets the account manage
// the key is cut down to putting it back: without it nobody ever could.
func lifeline(p access.Policy, all []statement, i int) []statement {
	if p.Kind != access.Key || all[i]["Sid"] != "AccountDecidesByIAM" {
		return without(all, i)
	}
	cut := slices.Clone(all)
	cut[i] = statement{
		"Effect": "Allow", "Principal": all[i]["Principal"], "Resource": "*",
		"Action": []string{"kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy"},
	}
	return cut
}

// TestEveryWildcardIsTooMuch adds "*" to what every statement allows: to its
// actions, its resources, and whom it names. Verification must fail each time.
func TestEveryWildcardIsTooMuch(t *testing.T) {
	w := newWorld(t)
	for _, p := range w.policies() {
		all := statementsOf(t, p)
		for i, s := range all {
			for _, element := range []string{"Action", "Resource", "Principal"} {
				if !widens(p, s, element) {
					continue
				}
				name := fmt.Sprintf("%s, statement %d, %s", p, i+1, element)
				pattern := "*"
				if p.Part == access.TrustPart && element == "Action" {
					pattern = "sts:*"
				}
				if err := w.put(p, with(all, i, element, pattern)); err != nil {
					t.Errorf("%s: the cloud refuses it, so that it need not be tried: %v", name, err)
					continue
				}
				r := w.judge(p.Holder)
				if said := strings.Join(complaints(r), "\n"); r.Outcome != check.Fail || !strings.Contains(said, "*") || !strings.Contains(said, p.Name) {
					t.Errorf("%s has a *: %s %s %s", name, r.Outcome, r.Reason, said)
				}
			}
		}
		if err := w.put(p, all); err != nil {
			t.Fatalf("%s: put back: %v", p, err)
		}
		if r := w.judge(p.Holder); r.Outcome != check.Pass {
			t.Fatalf("%s was put back: %s %s %v", p, r.Outcome, r.Reason, complaints(r))
		}
	}
}

// widens tells whether "*" can be added to an element. What is "*" already
// cannot: everything on the key is on the key, and the log delivery of Step
// Functions knows no resources. A permission of a function is always on its
// alias.
func widens(p access.Policy, s statement, element string) bool {
	old, ok := s[element]
	switch {
	case !ok || old == "*" || fmt.Sprint(old) == "[*]":
		return false
	case p.Kind == access.Function:
		return element != "Resource"
	}
	return true
}
