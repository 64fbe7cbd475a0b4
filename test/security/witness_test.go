package security

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"miniforge/internal/access"
	"miniforge/internal/cloud"
	"miniforge/internal/cloud/authz"
)

// TestTheSystemMissesEveryAction takes every statement away once more, and asks
// the cloud to judge again what the system did: for every action that was
// allowed there must be a call of the system that is refused now. What no call
// needs has to have a reason in [asked], and must be good for a call at least.
func TestTheSystemMissesEveryAction(t *testing.T) {
	w := newWorld(t)
	w.lives()
	calls := recorded.all()
	given := map[string]bool{} // reasons that were needed
	for _, p := range w.policies() {
		all := statementsOf(t, p)
		if before := w.refusedNow(calls); len(before) > 0 {
			t.Fatalf("%s: with all policies in place %s is refused", p, before[0].Access.Action)
		}
		for i, s := range all {
			if err := w.put(p, lifeline(p, all, i)); err != nil {
				t.Fatal(err)
			}
			missed := w.refusedNow(calls)
			overTCP := w.overTCP(s)
			for _, action := range actionsOf(t, s) {
				if s["Effect"] == "Deny" {
					if !overTCP {
						t.Errorf("%s: what does not come over TLS is refused without the statement, too", p)
					}
					continue
				}
				key := w.short(p) + " " + action
				needed := slices.ContainsFunc(missed, func(j cloud.Judgement) bool { return matches(action, j.Access.Action) })
				if reason := asked[key]; needed && reason != "" && !(*exhaustive && rare[key]) {
					t.Errorf("%s: the system does ask for it, although it is said not to: %s", key, reason)
				} else if !needed && reason == "" {
					t.Errorf("%s: no call of the system is refused without it", key)
				}
				if !needed && p.Kind == access.Role && s["Condition"] == nil && w.mayStill(p, s, action, calls) {
					t.Errorf("%s: it is allowed even without the statement", key)
				}
				given[key] = given[key] || !needed
			}
			if err := w.put(p, all); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(asked)) {
		if !given[key] && !(*exhaustive && rare[key]) {
			t.Errorf("%s: a reason for what nothing allows", key)
		}
	}
}

// refusedNow judges again what was allowed.
func (w *world) refusedNow(calls []cloud.Judgement) (refused []cloud.Judgement) {
	w.Helper()
	for _, j := range calls {
		if shared.cloud.Judge(w.Context(), j.Principal, j.Region, j.Access) != nil {
			refused = append(refused, j)
		}
	}
	return refused
}

// mayStill tells whether a role may do what a statement allows.
func (w *world) mayStill(p access.Policy, s statement, action string, calls []cloud.Judgement) bool {
	w.Helper()
	i := slices.IndexFunc(calls, func(j cloud.Judgement) bool { return j.Principal.RoleARN == w.stack.RoleARN(p.Name) })
	if i < 0 {
		w.Fatalf("role %s does nothing at all", p.Name)
	}
	for _, permission := range permissionsOf(w.T, s) {
		a := authz.Access{Action: action, Resource: strings.ReplaceAll(permission.Resource, "*", "x")}
		if permission.Action == action && shared.cloud.Judge(w.Context(), calls[i].Principal, calls[i].Region, a) == nil {
			return true
		}
	}
	return false
}

// overTCP tells whether a call that did not come over TLS is allowed now.
func (w *world) overTCP(s statement) bool {
	w.Helper()
	resource := permissionsOf(w.T, s)[0]
	action := resource.Action
	if a, ok := map[string]string{"sqs:*": "sqs:SendMessage", "s3:*": "s3:ListBucket"}[action]; ok {
		action = a
	}
	c := shared.cloud
	return c.Judge(w.Context(), authz.Principal{Type: authz.Root, ARN: "arn:aws:iam::" + c.Account + ":root", ID: c.Account, Account: c.Account}, c.Region,
		authz.Access{Action: action, Resource: resource.Resource, Context: map[string][]string{"aws:SecureTransport": {"false"}}}) == nil
}

func actionsOf(t *testing.T, s statement) []string {
	t.Helper()
	actions := map[string]bool{}
	for _, p := range permissionsOf(t, s) {
		actions[p.Action] = true
	}
	return slices.Sorted(maps.Keys(actions))
}

func matches(pattern, action string) bool {
	ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(action))
	return ok && err == nil
}

// short names a policy without the stack's name: "role workflow".
func (w *world) short(p access.Policy) string {
	return strings.Replace(p.String(), w.stack.Name+"-", "", 1)
}

// TestOrdersStopWithout removes, one by one, the statements without which
// orders cannot pass, and has orders try: the cloud must refuse the very call
// that the statement was for, and orders pass again when it is back.
func TestOrdersStopWithout(t *testing.T) {
	w := newWorld(t)
	w.lives()
	stopped := 0
	for _, p := range w.policies() {
		all := statementsOf(t, p)
		for i, s := range all {
			if !w.concernsOrders(p, s) {
				continue
			}
			stopped++
			actions := actionsOf(t, s)
			n := recorded.refusals()
			if err := w.put(p, lifeline(p, all, i)); err != nil {
				t.Fatal(err)
			}
			w.order("tok_visa")
			w.order("tok_declined")
			noticed := w.within(10*time.Second, recorded.refused(n, func(j cloud.Judgement) bool {
				return slices.ContainsFunc(actions, func(a string) bool { return matches(a, j.Access.Action) }) &&
					(p.Kind != access.Role || j.Principal.RoleARN == w.stack.RoleARN(p.Name))
			}))
			if err := w.put(p, all); err != nil {
				t.Fatal(err)
			}
			if !noticed {
				t.Errorf("%s, statement %d (%s): two orders did not miss it", w.short(p), i+1, strings.Join(actions, ", "))
			}
		}
	}
	if stopped < 15 {
		t.Errorf("only %d statements were tried", stopped)
	}
	if !w.passes() {
		t.Error("an order does not pass although everything is as it was")
	}
}

// concernsOrders tells whether each order needs a statement: it belongs to what
// orders pass through, and is not for what happens only now and then.
func (w *world) concernsOrders(p access.Policy, s statement) bool {
	if s["Effect"] == "Deny" || p.Part == access.TrustPart {
		return false // sessions of roles are kept for hours
	}
	for _, key := range []any{s["Sid"], actionsOf(w.T, s)[0]} {
		if seldom[fmt.Sprint(w.short(p), " ", key)] != "" {
			return false
		}
	}
	n := w.stack.Names
	switch p.Kind {
	case access.Role:
		return slices.Contains(append(n.Functions(), n.WorkflowRole(), n.RuleRole()), p.Name)
	case access.Key:
		return s["Sid"] == "TopicDeliversToEncryptedQueues"
	case access.Queue:
		return p.Name == n.Notifications()
	}
	return p.Kind == access.Function || p.Kind == access.LogDelivery
}
