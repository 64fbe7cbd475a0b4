package security

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
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

// outcomes are those that are no pass: this cloud has no files.
var outcomes = map[string]check.Outcome{"ciphertext.at-rest": check.Skip}

// TestSuitePasses runs suite security on a cloud that enforces everything, and
// leaves nothing behind.
func TestSuitePasses(t *testing.T) {
	w := newWorld(t)
	suites, err := w.run.Suites("security")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range check.Run(t.Context(), suites, check.Options{Workers: 4}) {
		if want := outcomes[r.ID]; r.Outcome != cmp.Or(want, check.Pass) {
			t.Errorf("%s: %s %s %v", r.ID, r.Outcome, r.Reason, complaints(r))
		}
	}
	w.closes()
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
// What it keeps is encrypted nevertheless.
func TestNothingIsProvenWithoutEnforcement(t *testing.T) {
	w, dir := newUnguarded(t)
	suites, err := w.run.Suites("security")
	if err != nil {
		t.Fatal(err)
	}
	depends := regexp.MustCompile(`^(enforcement|roles|functions|deputies)\.`)
	atRest := false
	for _, r := range check.Run(t.Context(), suites, check.Options{Workers: 4}) {
		switch {
		case !r.OK():
			t.Errorf("%s: %s %s %v", r.ID, r.Outcome, r.Reason, complaints(r))
		case depends.MatchString(r.ID) && r.Outcome != check.NotProven:
			t.Errorf("%s: %s, want not proven", r.ID, r.Outcome)
		case r.ID == "ciphertext.at-rest":
			atRest = r.Outcome == check.Pass
		}
	}
	if !atRest {
		t.Error("what is at rest was not looked at")
	}
	w.closes()
	w.holdsNoGuests()

	// The control: a cloud that writes down what it is sent.
	log, err := os.Create(filepath.Join(dir, "requests.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	w.run = verify.New(w.stack, verify.Options{HTTP: &http.Client{Transport: talkative{w.transport, log}}, Files: os.DirFS(dir)})
	suites, err = w.run.Suites("security")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(suites[0].Checks, func(c check.Check) bool { return c.ID == "ciphertext.at-rest" })
	r := check.Do(t.Context(), suites[0].Checks[i])
	for _, what := range []string{"requests.log: name", "requests.log: address", "requests.log: payment token"} {
		if text := strings.Join(complaints(r), "\n"); r.Outcome != check.Fail || !strings.Contains(text, what) {
			t.Errorf("%s %s %s; want it to find %s", r.Outcome, r.Reason, text, what)
		}
	}
	w.closes()
}

// newUnguarded is a world of its own, on disk, that judges nobody.
func newUnguarded(t *testing.T) (w *world, dir string) {
	t.Helper()
	o, err := build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.WithoutPipeline = true
	dir = t.TempDir()
	c, err := cloud.New(t.Context(), cloud.Options{Unguarded: true, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s, err := ensure(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	w = &world{T: t, stack: s, transport: c.Transport()}
	w.run = verify.New(s, verify.Options{HTTP: &http.Client{Transport: w.transport}, Files: os.DirFS(dir)})
	return w, dir
}

// closes ends a verification.
func (w *world) closes() {
	w.Helper()
	if err := w.run.Close(context.WithoutCancel(w.Context())); err != nil {
		w.Error(err)
	}
}

// talkative writes down the bodies of requests.
type talkative struct {
	http.RoundTripper
	log io.Writer
}

// RoundTrip implements [http.RoundTripper].
func (t talkative) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = t.log.Write(body)
		}
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return t.RoundTripper.RoundTrip(r)
}

// TestRolesAreHeldToTheirRow widens a role and narrows it: both ways of asking
// name the role, the action and the resource.
func TestRolesAreHeldToTheirRow(t *testing.T) {
	w := newWorld(t)
	w.asks(verify.Options{Patience: time.Second}) // what is denied stays denied
	role := w.stack.Function(stack.InventoryChecker)
	t.Cleanup(w.closes)
	for name, tt := range map[string]struct{ effect, action, resource, want string }{
		"more": {"Allow", "iam:ListRoles", "*", "want denied"},
		"less": {"Deny", "dynamodb:BatchGetItem", w.stack.TableARN(w.stack.Inventory()), "want allowed"},
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
