package codepipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/codepipeline/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Tasks of a run: its work, and its deadline.
const (
	actionKind   = "codepipeline.action"
	deadlineKind = "codepipeline.deadline"
)

// errGone says that a run is under way no more: stopped, timed out, deleted.
var errGone = errors.New("the action is no longer in progress")

// A job is one run with all that its provider needs.
type job struct {
	*Service
	ref   runRef
	x     execution
	run   run
	decl  types.ActionDeclaration
	store types.ArtifactStore
	as    wire.As // in the action's role
}

// An outcome is what came of a job.
type outcome struct {
	summary  string
	external string
	url      string
	vars     map[string]string
	revision *types.ArtifactRevision
	// again has the job go on after that time; the rest is empty.
	again time.Duration
}

// A failure is an action that failed, as its errorDetails tell.
type failure struct{ code, message string }

func (f *failure) Error() string { return f.code + ": " + f.message }

// Codes of errorDetails.
const (
	jobFailed     = "JobFailed"
	configuration = "ConfigurationError"
	permission    = "PermissionError"
	unavailable   = "RevisionUnavailable"
	timedOut      = "ActionTimedOut"
	internal      = "InternalError"
)

func failed(code, format string, args ...any) *failure {
	return &failure{code, fmt.Sprintf(format, args...)}
}

// refused makes a failure of a call that a service refused: what was tried,
// and the service's own words. Faults of a service stay errors, to be tried again.
func refused(what string, err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || passing(api) {
		return err
	}
	code, c := configuration, api.ErrorCode()
	if strings.Contains(c, "AccessDenied") || strings.Contains(c, "NotAuthorized") {
		code = permission
	}
	return failed(code, "%s: %s (Error Code: %s)", what, api.ErrorMessage(), c)
}

// passing tells errors that time alone may cure: faults, and too many requests.
func passing(err smithy.APIError) bool {
	c := err.ErrorCode()
	return err.ErrorFault() == smithy.FaultServer || strings.Contains(c, "Throttl") || c == "TooManyRequestsException" || c == "SlowDown"
}

func sessionName(pipeline string) string { return cut(pipeline, 64) }

// find reads a job's rows; ok is false when they are no more.
func (s *Service) find(ref runRef) (j *job, ok bool, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		x, err := loadExecution(tx, ref.Region, ref.Pipeline, ref.Execution)
		if _, gone := errors.AsType[*types.PipelineExecutionNotFoundException](err); gone {
			return nil
		}
		if err != nil {
			return err
		}
		d, err := declaration(tx, ref.Region, ref.Pipeline, x.Version)
		if err != nil {
			return err
		}
		r := x.run(ref.Run)
		if r == nil {
			return nil
		}
		j = &job{Service: s, ref: ref, x: x, run: *r, store: *storeOf(d, x.Region)}
		for _, st := range d.Stages {
			for _, a := range st.Actions {
				if *st.Name == r.Stage && *a.Name == r.Action {
					j.decl, ok = a, true
				}
			}
		}
		return nil
	})
	return j, ok, err
}

// act does the work of a run, or goes on with it.
func (s *Service) act(ctx context.Context, t event.Task) event.Result {
	var ref runRef
	if err := json.Unmarshal(t.Body, &ref); err != nil {
		s.Log.Error("action cannot be read", "error", err)
		return event.Done()
	}
	j, ok, err := s.find(ref)
	if err != nil {
		s.Log.Error("action cannot be read", "pipeline", ref.Pipeline, "error", err)
		return event.Retry(time.Second)
	}
	if !ok {
		return event.Done()
	}
	p := s.provider(j.run.Type)
	out, err := j.carryOut(ctx, p)
	if ctx.Err() != nil {
		return event.Retry(0)
	}
	switch {
	case errors.Is(err, errGone):
		j.drop(ctx, p)
		return event.Done()
	case err == nil && out == nil:
		return event.Done()
	case err == nil && out.again > 0:
		return event.Retry(out.again)
	}
	return j.end(ctx, out, err)
}

// drop ends what an action left behind elsewhere, as far as this try knows.
func (j *job) drop(ctx context.Context, p *provider) {
	if p.abandon == nil {
		return
	}
	if j.as.Region == "" && j.assume(ctx) != nil {
		return
	}
	p.abandon(ctx, j)
}

func (j *job) carryOut(ctx context.Context, p *provider) (*outcome, error) {
	if j.run.Status != types.ActionExecutionStatusInProgress {
		return nil, errGone
	}
	if err := j.assume(ctx); err != nil {
		return nil, err
	}
	return p.run(ctx, j)
}

// assume takes on the action's role.
func (j *job) assume(ctx context.Context) (err error) {
	j.as, err = wire.AssumeRole(ctx, j.Caller, "codepipeline", j.arn(j.x.Region, j.x.Pipeline), j.run.Role, sessionName(j.x.Pipeline), j.x.Region)
	api, ok := errors.AsType[smithy.APIError](err)
	if ok && !passing(api) {
		return failed(permission, "The provided role cannot be assumed: '%s' (Error Code: %s)", api.ErrorMessage(), api.ErrorCode())
	}
	return err
}

// maxFaults is how often a run is tried again when a service is at fault.
const maxFaults = 5

// end settles a run by what came of it.
func (j *job) end(ctx context.Context, out *outcome, cause error) event.Result {
	f, isFailure := errors.AsType[*failure](cause)
	if cause != nil && !isFailure {
		if err := j.note(ctx, func(r *run) { r.Faults++ }); err == nil && j.run.Faults < maxFaults {
			j.Log.Warn("action is tried again", "pipeline", j.x.Pipeline, "action", j.run.Action, "error", cause)
			return event.Retry(time.Second << j.run.Faults)
		}
		f = failed(internal, "%s", cause.Error())
	}
	err := j.settle(ctx, j.ref, func(r *run) {
		if f != nil {
			r.fail(f.code, f.message)
			return
		}
		r.succeed(*out)
	})
	switch {
	case err == nil, errors.Is(err, errGone):
		return event.Done()
	case ctx.Err() == nil:
		j.Log.Error("action's end cannot be kept", "pipeline", j.x.Pipeline, "action", j.run.Action, "error", err)
	}
	return event.Retry(time.Second)
}

func (r *run) succeed(out outcome) {
	r.Status, r.Summary, r.Vars, r.Revision = types.ActionExecutionStatusSucceeded, out.summary, out.vars, out.revision
	if out.external != "" {
		r.External = out.external
	}
	if out.url != "" {
		r.URL = out.url
	}
}

// alter changes a run that is in progress; otherwise it returns errGone.
func (s *Service) alter(tx *store.Tx, ref runRef, f func(*passage, *execution, *run) error) error {
	p, ok, err := pipelines.Get(tx, pipelineKey(ref.Region, ref.Pipeline))
	if err != nil || !ok {
		return errors.Join(err, errGone)
	}
	return s.change(tx, &p, func(g *passage) error {
		x, err := g.execution(ref.Execution)
		if _, gone := errors.AsType[*types.PipelineExecutionNotFoundException](err); gone {
			return errGone
		}
		if err != nil {
			return err
		}
		r := x.run(ref.Run)
		if r == nil || r.Status != types.ActionExecutionStatusInProgress {
			return errGone
		}
		r.Updated, x.Updated = g.now, g.now
		return f(g, x, r)
	})
}

// note keeps what a provider must know after a restart.
func (j *job) note(ctx context.Context, f func(*run)) error {
	return j.DB.Update(ctx, func(tx *store.Tx) error { return j.noteIn(tx, f) })
}

func (j *job) noteIn(tx *store.Tx, f func(*run)) error {
	return j.alter(tx, j.ref, func(_ *passage, _ *execution, r *run) error {
		f(r)
		j.run = *r
		return nil
	})
}

// memo keeps one value for after a restart.
func (j *job) memo(ctx context.Context, name, value string) error {
	return j.note(ctx, func(r *run) {
		if r.Memo == nil {
			r.Memo = map[string]string{}
		}
		r.Memo[name] = value
	})
}

// settle ends a run, and has the execution go on.
func (s *Service) settle(ctx context.Context, ref runRef, f func(*run)) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error { return s.settleIn(tx, ref, f) })
}

func (s *Service) settleIn(tx *store.Tx, ref runRef, f func(*run)) error {
	if err := errors.Join(s.Tasks.Finish(tx, deadlineKind, ref.Run), s.Tasks.Finish(tx, actionKind, ref.Run), jobs.Delete(tx, ref.Run)); err != nil {
		return err
	}
	return s.alter(tx, ref, func(g *passage, x *execution, r *run) error {
		f(r)
		state := "SUCCEEDED"
		if r.Status != types.ActionExecutionStatusSucceeded {
			state = "FAILED"
		}
		if err := g.tellAction(x, r, state); err != nil {
			return err
		}
		return g.advance(x)
	})
}

// expire fails a run that takes too long. Its work, if it still goes on,
// notices, and ends what it left behind.
func (s *Service) expire(ctx context.Context, t event.Task) event.Result {
	var ref runRef
	if err := json.Unmarshal(t.Body, &ref); err != nil {
		return event.Done()
	}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if err := jobs.Delete(tx, ref.Run); err != nil {
			return err
		}
		return s.alter(tx, ref, func(g *passage, x *execution, r *run) error {
			r.fail(timedOut, "The action timed out: it was not done after "+g.now.Sub(r.Started).Round(time.Second).String())
			if err := g.tellAction(x, r, "FAILED"); err != nil {
				return err
			}
			return g.advance(x)
		})
	})
	if err != nil && !errors.Is(err, errGone) {
		return event.Retry(time.Second)
	}
	return event.Done()
}
