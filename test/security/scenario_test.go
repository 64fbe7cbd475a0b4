package security

import (
	"context"
	"flag"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"miniforge/internal/access"
	"miniforge/internal/check"
	"miniforge/internal/cloud"
	"miniforge/internal/delivery"
	"miniforge/internal/drive"
	"miniforge/internal/order"
	"miniforge/internal/stack"
)

var exhaustive = flag.Bool("exhaustive", false, "deliver, too, each time that something is missing: takes minutes")

// patience is how long anything that must happen may take on a busy machine.
const patience = 2 * time.Minute

// lives has the system do all that it does on good and on bad days, so that
// what it asks for is recorded.
func (w *world) lives() {
	w.Helper()
	if !shared.lived {
		w.verifies("integration")
		w.givesUp()
		w.delivers()
		if *exhaustive {
			w.verifies("pipeline")
		}
	}
	shared.lived = true
}

// verifies runs a suite, which must pass.
func (w *world) verifies(suite string) {
	w.Helper()
	suites, err := w.run.Suites(suite)
	if err != nil {
		w.Fatal(err)
	}
	for _, r := range check.Run(w.Context(), suites, check.Options{Workers: 8}) {
		if !r.OK() {
			w.Errorf("%s: %s %s %v", r.ID, r.Outcome, r.Reason, complaints(r))
		}
	}
	if err := w.run.Close(w.Context()); err != nil {
		w.Error(err)
	}
}

// givesUp has the topic, the rule and the stream's mapping each give up on
// something, which then goes to the dead-letter queue: for this each is denied
// what it does on good days.
func (w *world) givesUp() {
	w.Helper()
	w.mappingRetries(0)
	defer w.mappingRetries(10)
	for _, what := range []struct {
		holder access.Holder
		action string // what is denied
		giver  string // who then sends to the dead-letter queue
	}{
		{access.Holder{Kind: access.Queue, Name: w.stack.Notifications()}, "sqs:SendMessage", "sns.amazonaws.com"},
		{access.Holder{Kind: access.Role, Name: w.stack.RuleRole()}, "states:StartExecution", "events.amazonaws.com"},
		{access.Holder{Kind: access.Role, Name: w.stack.Function(stack.StreamProcessor)}, "events:PutEvents", w.stack.RoleARN(w.stack.Function(stack.StreamProcessor))},
	} {
		p, all, i := w.find(what.holder, what.action)
		if err := w.put(p, without(all, i)); err != nil {
			w.Fatal(err)
		}
		w.order("tok_visa")
		w.eventually(what.giver+" sends to the dead-letter queue", patience, recorded.saw(func(j cloud.Judgement) bool {
			return (j.Principal.Service == what.giver || j.Principal.RoleARN == what.giver) &&
				j.Access.Action == "sqs:SendMessage" && strings.HasSuffix(j.Access.Resource, w.stack.DeadLetters())
		}))
		if err := w.put(p, all); err != nil {
			w.Fatal(err)
		}
	}
}

// find finds the statement of a holder that allows something.
func (w *world) find(h access.Holder, action string) (access.Policy, []statement, int) {
	w.Helper()
	policies, err := access.Read(w.Context(), w.stack, h)
	if err != nil {
		w.Fatal(err)
	}
	for _, p := range policies {
		all := statementsOf(w.T, p)
		for i, s := range all {
			for _, permission := range permissionsOf(w.T, s) {
				if permission.Action == action {
					return p, all, i
				}
			}
		}
	}
	w.Fatalf("nothing allows %s to %s", action, h)
	return access.Policy{}, nil, 0
}

// mappingRetries sets how often the stream's records are tried again.
func (w *world) mappingRetries(n int32) {
	w.Helper()
	c := w.stack.Clients.Lambda
	list, err := c.ListEventSourceMappings(w.Context(), &lambda.ListEventSourceMappingsInput{FunctionName: aws.String(w.stack.AliasARN(stack.StreamProcessor))})
	if err != nil || len(list.EventSourceMappings) != 1 {
		w.Fatalf("%v, %v", list, err)
	}
	if _, err := c.UpdateEventSourceMapping(w.Context(), &lambda.UpdateEventSourceMappingInput{
		UUID: list.EventSourceMappings[0].UUID, MaximumRetryAttempts: &n,
	}); err != nil {
		w.Fatal(err)
	}
}

// delivers waits for the pipeline's first execution, which its creation
// started. It finds a function whose code is another, and deploys that.
func (w *world) delivers() {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Minute)
	defer cancel()
	first, err := w.stack.Delivery().Last(ctx)
	if err != nil || first == nil {
		w.Fatalf("the pipeline did not start by itself: %v", err)
	}
	e, err := w.stack.Delivery().Follow(ctx, first.ID, func(delivery.Action) {})
	if err != nil || !e.Succeeded() {
		w.Fatalf("delivery: %+v, %v, %v", e, err, w.stack.Delivery().Failures(ctx, e))
	}
}

func (w *world) client() *drive.Client {
	w.Helper()
	url, err := w.stack.Endpoint(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return &drive.Client{URL: url, HTTP: &http.Client{Transport: shared.cloud.Transport()}}
}

func request(token string) order.Request {
	return order.Request{
		Customer: order.Customer{Name: "Ada", Email: "ada@example.com"}, Payment: order.Payment{Token: token},
		Items: []order.Item{{SKU: "MF-DRAGON-01", Quantity: 1}},
	}
}

// order places an order, and asks for it. Whether it is taken, and told of,
// depends on what is missing.
func (w *world) order(token string) {
	w.Helper()
	taken, err := w.client().Place(w.Context(), request(token), "")
	if err == nil {
		_, err = w.client().Get(w.Context(), taken.ID)
	}
	if err != nil {
		w.Logf("an order could not be placed, or not be looked at: %v", err)
	}
}

// passes tells whether an order is confirmed.
func (w *world) passes() bool {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	taken, err := w.client().Place(ctx, request("tok_visa"), "")
	if err != nil {
		w.Log(err)
		return false
	}
	o, err := w.client().Await(ctx, taken.ID, nil)
	return err == nil && o.Status == order.Confirmed
}

// eventually waits until something holds.
func (w *world) eventually(what string, within time.Duration, holds func() bool) {
	w.Helper()
	if !w.within(within, holds) {
		w.Fatalf("not within %s: %s", within, what)
	}
}

func (w *world) within(limit time.Duration, holds func() bool) bool {
	w.Helper()
	deadline := time.After(limit)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			return false
		case <-tick.C:
		}
	}
	return true
}

// saw tells whether something was asked for and allowed.
func (r *record) saw(is func(cloud.Judgement) bool) func() bool {
	return func() bool { return slices.ContainsFunc(r.all(), is) }
}

// refused tells whether something was denied since the n-th denial.
func (r *record) refused(n int, is func(cloud.Judgement) bool) func() bool {
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.ContainsFunc(r.denied[n:], is)
	}
}

func (r *record) refusals() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.denied)
}

// TestLife is here to say first what is wrong with the scenario itself.
func TestLife(t *testing.T) { newWorld(t).lives() }
