package cloud

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"miniforge/internal/cloud/apigw"
	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/fault"
	"miniforge/internal/cloud/lambda/sandbox"
	"miniforge/internal/cloud/wire"
)

// FaultPath is where faults are added (POST), listed (GET) and cleared
// (DELETE). Requests are signed by the root user for service FaultService:
// whoever can make the cloud fail can make it lie.
const (
	FaultPath    = "/_miniforge/fault"
	FaultService = "miniforge"
)

// makeFaults makes the engine, with the rules that the cloud is started with.
// After the restart that a rule caused, it goes on where the schedule was.
func (c *Cloud) makeFaults(q *event.Queue) error {
	o := fault.Options{Log: c.log, Jump: q.Jump}
	if c.opts.Dir != "" {
		o.Kill = c.opts.Kill // what is in memory would be lost
	}
	c.faults = fault.New(o)
	q.Decorate(c.faults.Tasks())
	var err error
	switch {
	case len(c.opts.FaultState) > 0:
		err = c.faults.Resume(c.opts.FaultState)
	case len(c.opts.Faults.Rules) > 0:
		err = c.faults.Add(c.opts.Faults)
	}
	if err != nil {
		return fmt.Errorf("inject faults: %w", err)
	}
	return nil
}

// Faults is the engine that makes this cloud fail on purpose.
func (c *Cloud) Faults() *fault.Engine { return c.faults }

// faultAdmin serves FaultPath.
func (c *Cloud) faultAdmin() http.Handler {
	return fault.Admin(c.faults, func(r *http.Request, body []byte) error {
		p, err := c.mux.Verify(r, body, FaultService)
		if err == nil && p.Type != authz.Root {
			err = wire.Errorf("AccessDeniedException", "only the account's root user may inject faults")
		}
		return err
	})
}

// route names a request to an HTTP API: "POST /orders".
func route(r *http.Request) string {
	path := strings.TrimPrefix(r.URL.Path, apigw.BasePath)
	if _, below, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/"); ok {
		return r.Method + " /" + below
	}
	return r.Method + " /"
}

// A faultyLauncher starts functions that fail when the engine says so.
type faultyLauncher struct {
	sandbox.Launcher
	faults *fault.Engine
}

// Launch implements [sandbox.Launcher].
func (l faultyLauncher) Launch(ctx context.Context, s sandbox.Spec) (sandbox.Sandbox, error) {
	box, err := l.Launcher.Launch(ctx, s)
	if err != nil {
		return nil, err
	}
	return faultyBox{box, l.faults}, nil
}

// Close ends what the launcher itself holds.
func (l faultyLauncher) Close() {
	if c, ok := l.Launcher.(interface{ Close() }); ok {
		c.Close()
	}
}

type faultyBox struct {
	sandbox.Sandbox
	faults *fault.Engine
}

// Invoke implements [sandbox.Sandbox]. A process that is to die or to hang is
// ended for good: the next invocation gets another.
func (b faultyBox) Invoke(in sandbox.Invocation) sandbox.Result {
	f := b.faults.Function(in.FunctionARN, in.Payload)
	in.Payload = f.Payload
	start := time.Now()
	if f.End != "" && f.Point != fault.After {
		return b.end(f, in, sandbox.Result{}, start)
	}
	r := b.Sandbox.Invoke(in)
	if f.Again && r.Failure == nil {
		r = b.Sandbox.Invoke(in)
	}
	if f.End != "" && r.Failure == nil {
		return b.end(f, in, r, start)
	}
	return r
}

// end is the end of an invocation whose answer is lost.
func (b faultyBox) end(f fault.Invocation, in sandbox.Invocation, r sandbox.Result, start time.Time) sandbox.Result {
	failure := &sandbox.Failure{Type: sandbox.ExitError, Message: "Runtime exited with error: signal: killed"}
	if f.End == fault.Timeout {
		limit := in.Timeout
		if f.Limit > 0 && f.Limit < limit {
			limit = f.Limit
		}
		t := time.NewTimer(limit - time.Since(start))
		defer t.Stop()
		select {
		case <-t.C:
		case <-b.Ended():
		}
		failure = &sandbox.Failure{Type: sandbox.TimedOut, Message: fmt.Sprintf("Task timed out after %.2f seconds", in.Timeout.Seconds())}
	}
	b.Close()
	return sandbox.Result{Failure: failure, Duration: time.Since(start), MaxMemory: r.MaxMemory}
}
