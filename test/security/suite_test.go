package security

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"miniforge/internal/check"
	"miniforge/internal/cloud"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
	"miniforge/internal/verify"
)

// TestSuitePasses runs suite security on a cloud that enforces everything, and
// leaves nothing behind.
func TestSuitePasses(t *testing.T) {
	w := newWorld(t)
	suites, err := w.run.Suites("security")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range check.Run(t.Context(), suites, check.Options{Workers: 4}) {
		if r.Outcome != check.Pass {
			t.Errorf("%s: %s %s %v", r.ID, r.Outcome, r.Reason, complaints(r))
		}
	}
	if err := w.run.Close(t.Context()); err != nil {
		t.Error(err)
	}
	w.holdsNoGuests()
}

// holdsNoGuests claims that no role or user is there that the stack does not
// declare.
func (w *world) holdsNoGuests() {
	w.Helper()
	path := w.stack.RolePath()
	roles, err := w.stack.Clients.IAM.ListRoles(w.Context(), &iam.ListRolesInput{PathPrefix: &path})
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range roles.Roles {
		if !slices.Contains(w.stack.Roles(), *r.RoleName) {
			w.Errorf("role %s was left", *r.RoleName)
		}
	}
	users, err := w.stack.Clients.IAM.ListUsers(w.Context(), &iam.ListUsersInput{})
	if err != nil {
		w.Fatal(err)
	}
	for _, u := range users.Users {
		w.Errorf("user %s was left", *u.UserName)
	}
}

// TestNothingIsProvenWithoutEnforcement runs the suite on a cloud that judges
// nobody: what depends on enforcement is not proven then, and never passed.
func TestNothingIsProvenWithoutEnforcement(t *testing.T) {
	o, err := build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.WithoutPipeline = true
	c, err := cloud.New(t.Context(), cloud.Options{Unguarded: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := ensure(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, stack: s, run: verify.New(s, verify.Options{HTTP: &http.Client{Transport: c.Transport()}})}
	suites, err := w.run.Suites("security")
	if err != nil {
		t.Fatal(err)
	}
	depends := regexp.MustCompile(`^(enforcement|roles|deputies)\.`)
	proven := 0
	for _, r := range check.Run(t.Context(), suites, check.Options{Workers: 4}) {
		switch {
		case !r.OK():
			t.Errorf("%s: %s %s %v", r.ID, r.Outcome, r.Reason, complaints(r))
		case depends.MatchString(r.ID) && r.Outcome != check.NotProven:
			t.Errorf("%s: %s, want not proven", r.ID, r.Outcome)
		case r.Outcome == check.Pass:
			proven++
		}
	}
	if proven == 0 {
		t.Error("nothing passed, not even what is only read")
	}
	if err := w.run.Close(t.Context()); err != nil {
		t.Error(err)
	}
	w.holdsNoGuests()
}

// TestRolesAreHeldToTheirRow widens a role and narrows it: both ways of asking
// name the role, the action and the resource.
func TestRolesAreHeldToTheirRow(t *testing.T) {
	w := newWorld(t)
	w.asks(verify.Options{Patience: time.Second}) // what is denied stays denied
	role := w.stack.Function(stack.InventoryChecker)
	t.Cleanup(func() {
		if err := w.run.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	for name, tt := range map[string]struct{ effect, action, resource, want string }{
		"more": {"Allow", "iam:ListRoles", "*", "forbidden"},
		"less": {"Deny", "dynamodb:BatchGetItem", w.stack.TableARN(w.stack.Inventory()), "declared"},
	} {
		t.Run(name, func(t *testing.T) {
			p := resource.Policy{{Effect: tt.effect, Action: []string{tt.action}, Resource: []string{tt.resource}}}
			_, err := w.stack.Clients.IAM.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{
				RoleName: &role, PolicyName: aws.String("changed"), PolicyDocument: aws.String(p.String()),
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_, err := w.stack.Clients.IAM.DeleteRolePolicy(context.WithoutCancel(t.Context()), &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: aws.String("changed")})
				if err != nil {
					t.Error(err)
				}
			})
			for _, id := range []string{"roles.simulated/" + role, "roles.tried/" + role} {
				r := check.Do(t.Context(), w.checks[id])
				cell := "role " + role + ": " + tt.action + " on " + tt.resource
				if text := strings.Join(complaints(r), "\n"); r.Outcome != check.Fail || !strings.Contains(text, cell) || !strings.Contains(text, tt.want) {
					t.Errorf("%s: %s %s %s; want a failure that names %s", id, r.Outcome, r.Reason, text, cell)
				}
			}
		})
	}
}
