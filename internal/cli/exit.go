package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"miniforge/internal/artifact"
	"miniforge/internal/delivery"
	"miniforge/internal/graph"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/target/local"
)

// The exit codes are part of the interface: docs/exit-codes.md.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2   // the command line, the environment or the configuration is wrong
	exitConfirm     = 3   // a destructive command was not confirmed
	exitEndpoint    = 4   // the endpoint or the credentials do not work
	exitChecks      = 5   // the system is not as it should be
	exitLeft        = 6   // something is left over
	exitTimeout     = 124 // as of timeout(1)
	exitInterrupted = 130 // as a shell has it for SIGINT
)

var (
	errTimeout  = errors.New("time is up (--timeout)")
	errDeclined = errors.New("not confirmed")
)

// A failure is an error with its exit code and with advice.
type failure struct {
	code  int
	err   error
	usage string // how the command is called
	next  string // what to do
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap lets errors.Is see the reason.
func (f *failure) Unwrap() error { return f.err }

func usageError(c *cobra.Command, err error) error {
	return &failure{code: exitUsage, err: err, usage: c.UseLine()}
}

func fail(code int, next string, err error) error {
	return &failure{code: code, err: err, next: next}
}

// judge finds the exit code of an error and what to advise.
func judge(err error) *failure {
	if f, is := errors.AsType[*failure](err); is {
		return &failure{code: f.code, err: err, usage: f.usage, next: f.next}
	}
	f := &failure{code: exitFailed, err: err}
	for _, k := range known {
		if errors.Is(err, k.err) {
			f.code, f.next = k.code, k.next
			break
		}
	}
	return f
}

// known are the errors of other packages that mean more than a failure.
var known = []struct {
	err  error
	code int
	next string
}{
	{errTimeout, exitTimeout, "the command may be repeated: it goes on where it stopped"},
	{context.Canceled, exitInterrupted, ""},
	{target.ErrTarget, exitUsage, ""},
	{target.ErrUnreachable, exitEndpoint, "check --target and the network"},
	{target.ErrCredentials, exitEndpoint, ""},
	{local.ErrNeverStarted, exitEndpoint, "run: miniforge up"},
	{local.ErrNotRunning, exitEndpoint, "run: miniforge cloud start --background"},
	{local.ErrDamaged, exitEndpoint, ""},
	{local.ErrRunning, exitFailed, ""},
	{stack.ErrNoEndpoint, exitFailed, "run: miniforge up"},
	{delivery.ErrNoPipeline, exitFailed, "run: miniforge up"},
	{artifact.ErrNoSource, exitFailed, "name the checkout by --source"},
	{graph.ErrForeign, exitFailed, "choose another --name, or remove what is in the way yourself"},
	{graph.ErrReplace, exitFailed, "repeat with --replace, if what the resource holds may be lost"},
}

// cause replaces what a cancelled context made of an error by why it was
// cancelled, and says of an SDK's error whose fault it is.
func (a *app) cause(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if why := context.Cause(ctx); why != nil {
		if errors.Is(why, errTimeout) {
			return fmt.Errorf("%w after %s", errTimeout, a.timeout)
		}
		return context.Canceled
	}
	if a.opened != nil {
		return target.Explain(a.opened.Name(), err)
	}
	return err
}
