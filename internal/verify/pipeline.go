package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"miniforge/internal/check"
	"miniforge/internal/delivery"
	"miniforge/internal/order"
	"miniforge/internal/stack"
)

// pipeline is the suite of how changed sources reach the functions. Those of
// its checks that deliver look at one series of deliveries, which runs when
// the first of them asks for it: one that changes every function while orders
// flow, one that does not compile, one whose hook fails, and one that puts
// everything back.
func (r *Run) pipeline() check.Suite {
	run := once(r.courier.series)
	there := once(r.hasPipeline)
	needs := func(c check.Check) check.Check {
		f := c.Run
		c.Run = func(ctx context.Context, t *check.T) error {
			if _, err := there(ctx); err != nil {
				return err
			}
			return f(ctx, t)
		}
		return c
	}
	on := func(id, title string, f func(context.Context, *check.T, *series) error) check.Check {
		return check.Check{ID: "pipeline." + id, Title: title, Run: func(ctx context.Context, t *check.T) error {
			s, err := run(ctx)
			if err != nil {
				return err
			}
			return f(ctx, t, s)
		}}
	}
	checks := append(r.pipelineConfiguration(),
		on("delivers", "Changed sources go through Source, Build and Deploy", r.claimDelivered),
		on("shifts", "Every function with new code has a new version behind its alias, and is not weighted", r.claimShifted),
		on("flows", "Orders flow before, during and after the shift without one error", r.claimFlowed),
		on("broken-build", "Sources that do not compile fail in Build, with the compiler's words, and change nothing that serves", r.claimBrokenBuild),
		on("failing-hook", "A deployment whose hook fails is rolled back, and changes nothing that serves", r.claimFailingHook),
		on("unchanged", "A function whose code did not change gets no new version", r.claimUnchanged),
		on("restores", "Sources that are taken back are delivered like any others", r.claimRestored),
	)
	for i := range checks {
		checks[i] = needs(checks[i])
	}
	return check.Suite{Name: "pipeline", Title: "Changed sources reach the functions through the pipeline, and nothing else does", Checks: checks}
}

// hasPipeline skips the suite for a stack that was made without its pipeline.
func (r *Run) hasPipeline(ctx context.Context) (bool, error) {
	_, err := r.stack.Delivery().Last(ctx)
	if errors.Is(err, delivery.ErrNoPipeline) {
		return false, fmt.Errorf("%w: the stack was made without its pipeline", check.ErrSkip)
	}
	return err == nil, err
}

func (r *Run) claimDelivered(_ context.Context, t *check.T, s *series) error {
	d := s.delivered
	check.Equal(t, "execution", "Succeeded", d.execution.Status)
	check.Equal(t, "commit that was delivered", d.commit, d.execution.Commit)
	check.Equal(t, "stages", "Source Succeeded, Build Succeeded, Deploy Succeeded", stagesOf(d.execution))
	t.Figure("seconds from push to live", d.took.Seconds(), "s")
	claimNoFailure(t, d)
	return nil
}

// claimNoFailure shows why an execution failed that should not have.
func claimNoFailure(t *check.T, d run) {
	var why []string
	for _, f := range d.failures {
		why = append(why, f.ID()+": "+f.Reason+": "+strings.Join(f.Lines, " "))
	}
	t.None("failures", why)
}

func stagesOf(e delivery.Execution) string {
	var list []string
	for _, a := range e.Actions {
		list = append(list, a.Stage+" "+a.Status)
	}
	return strings.Join(list, ", ")
}

func (r *Run) claimShifted(_ context.Context, t *check.T, s *series) error {
	for _, f := range stack.FunctionNames() {
		before, after := s.before[f], s.delivered.after[f]
		t.Claim("version of "+f, "a later one than "+before.version, after.version, newer(before.version, after.version))
		t.Claim("code of "+f, "another than before", after.sha, after.sha != before.sha)
		check.Equal(t, "weights of "+f, "none", after.weights)
	}
	return nil
}

func (r *Run) claimFlowed(_ context.Context, t *check.T, s *series) error {
	t.None("errors", s.flow.errs)
	t.Claim("orders", "at least 10", fmt.Sprint(len(s.flow.ends)), len(s.flow.ends) >= 10)
	ends := map[order.State]int{}
	for _, o := range s.flow.ends {
		ends[o.Status]++
	}
	check.Equal(t, "orders CONFIRMED", len(s.flow.ends), ends[order.Confirmed])
	t.Figure("orders during the delivery", float64(len(s.flow.ends)), "")
	return nil
}

func (r *Run) claimBrokenBuild(_ context.Context, t *check.T, s *series) error {
	check.Equal(t, "execution", "Failed", s.broken.execution.Status)
	check.Equal(t, "stages", "Source Succeeded, Build Failed", stagesOf(s.broken.execution))
	var said []string
	for _, f := range s.broken.failures {
		said = append(said, f.Lines...)
	}
	t.Contains("log", probePath(stack.OrderIntake), strings.Join(said, "\n"))
	r.claimServesAs(t, s.delivered.after, s.broken.after)
	return nil
}

func (r *Run) claimFailingHook(_ context.Context, t *check.T, s *series) error {
	check.Equal(t, "execution", "Failed", s.hooked.execution.Status)
	check.Equal(t, "stages", "Source Succeeded, Build Succeeded, Deploy Failed", stagesOf(s.hooked.execution))
	var said []string
	for _, f := range s.hooked.failures {
		said = append(said, f.Lines...)
	}
	t.Contains("log", r.stack.Function(stack.InventoryChecker), strings.Join(said, "\n"))
	r.claimServesAs(t, s.delivered.after, s.hooked.after)
	return nil
}

func (r *Run) claimUnchanged(_ context.Context, t *check.T, s *series) error {
	for _, f := range stack.FunctionNames() {
		if f == stack.InventoryChecker { // the only one that the failing hook's sources changed
			continue
		}
		check.Equal(t, "last version of "+f, s.delivered.after[f].last, s.hooked.after[f].last)
	}
	return nil
}

func (r *Run) claimRestored(_ context.Context, t *check.T, s *series) error {
	check.Equal(t, "execution", "Succeeded", s.restored.execution.Status)
	claimNoFailure(t, s.restored)
	for _, f := range stack.FunctionNames() {
		check.Equal(t, "code of "+f, s.before[f].sha, s.restored.after[f].sha)
		check.Equal(t, "weights of "+f, "none", s.restored.after[f].weights)
	}
	return nil
}

// claimServesAs claims that the same code serves as before.
func (r *Run) claimServesAs(t *check.T, before, after map[string]live) {
	for _, f := range slices.Sorted(maps.Keys(before)) {
		check.Equal(t, "live version of "+f, before[f].version, after[f].version)
		check.Equal(t, "weights of "+f, "none", after[f].weights)
	}
}
