package verify

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"miniforge/internal/check"
	"miniforge/internal/order"
	"miniforge/internal/stack"
)

// away is an endpoint that refuses every connection.
type away struct{}

var errAway = errors.New("connection refused")

func (away) RoundTrip(*http.Request) (*http.Response, error) { return nil, errAway }

func newRun(t *testing.T) *Run {
	t.Helper()
	cfg := aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String("http://nowhere.test"), HTTPClient: &http.Client{Transport: away{}},
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
	s, err := stack.New(cfg, stack.Options{Names: stack.Names{Name: "test", Account: "000000000000", Region: "us-east-1"}})
	if err != nil {
		t.Fatal(err)
	}
	return New(s, Options{HTTP: &http.Client{Transport: away{}}, Patience: 10 * time.Millisecond})
}

func TestSuitesAreWellDeclared(t *testing.T) {
	suites, err := newRun(t).Suites(Suites()...)
	if err != nil || len(suites) != len(Suites()) {
		t.Fatalf("%d suites, %v", len(suites), err)
	}
	shape := regexp.MustCompile(`^[a-z]+\.[A-Za-z0-9/:_.@-]+$`)
	seen := map[string]bool{}
	for _, s := range suites {
		for _, c := range s.Checks {
			if seen[c.ID] || !shape.MatchString(c.ID) || c.Title == "" || c.Run == nil {
				t.Errorf("check %q, titled %q", c.ID, c.Title)
			}
			seen[c.ID] = true
		}
	}
	if len(seen) < 80 {
		t.Errorf("only %d checks", len(seen))
	}
}

func TestSuitesByName(t *testing.T) {
	r := newRun(t)
	if suites, err := r.Suites(); err != nil || len(suites) != len(Peaceful()) {
		t.Errorf("none named: %d suites, %v; want the peaceful ones", len(suites), err)
	}
	if suites, err := r.Suites("smoke"); err != nil || len(suites) != 1 || suites[0].Name != "smoke" {
		t.Errorf("%v, %v", suites, err)
	}
	for _, names := range [][]string{{"smok"}, {"smoke", "smoke"}} {
		if _, err := r.Suites(names...); err == nil {
			t.Errorf("%v: no error", names)
		}
	}
}

// TestNothingPassesOnADeadEndpoint runs everything where nothing answers: that
// is broken, and never a pass and never a fault of the system. Where there are
// no faults to inject and no files to look at, there is nothing to be broken.
//
// In a bubble, a busy machine does not use up patience.
func TestNothingPassesOnADeadEndpoint(t *testing.T) { synctest.Test(t, nothingPasses) }

func nothingPasses(t *testing.T) {
	r := newRun(t)
	suites, err := r.Suites(Suites()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, result := range check.Run(t.Context(), suites, check.Options{Workers: 8}) {
		if (result.Suite == "resilience" || result.ID == "ciphertext.at-rest") && result.Outcome == check.Skip {
			continue
		}
		if result.Outcome != check.Broken || !strings.Contains(result.Reason, errAway.Error()) {
			t.Errorf("%s: %s %s %v", result.ID, result.Outcome, result.Reason, result.Claims)
		}
	}
}

// TestBadRequestsAreBad holds the requests that are sent to the API against
// the domain's own rules.
func TestBadRequestsAreBad(t *testing.T) {
	for _, bad := range badRequests() {
		_, err := order.ParseRequest([]byte(bad.body))
		p, ok := errors.AsType[*order.Problem](err)
		if !ok || p.Status != bad.status {
			t.Errorf("%s: %v", bad.id, err)
		}
	}
}
