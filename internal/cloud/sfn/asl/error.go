package asl

import "fmt"

// The error names that the language defines.
const (
	ErrAll              = "States.ALL"
	ErrTimeout          = "States.Timeout"
	ErrHeartbeatTimeout = "States.HeartbeatTimeout"
	ErrTaskFailed       = "States.TaskFailed"
	ErrPermissions      = "States.Permissions"
	ErrResultPath       = "States.ResultPathMatchFailure"
	ErrParameterPath    = "States.ParameterPathFailure"
	ErrBranchFailed     = "States.BranchFailed"
	ErrNoChoice         = "States.NoChoiceMatched"
	ErrIntrinsic        = "States.IntrinsicFailure"
	ErrTolerance        = "States.ExceedToleratedFailureThreshold"
	ErrDataLimit        = "States.DataLimitExceeded"
	ErrRuntime          = "States.Runtime"
)

// An Error is a failure that retriers and catchers see.
type Error struct{ Name, Cause string }

func (e *Error) Error() string { return e.Name + ": " + e.Cause }

func fail(name, format string, args ...any) *Error {
	return &Error{Name: name, Cause: fmt.Sprintf(format, args...)}
}

// An Env is what evaluation needs besides the data.
type Env struct {
	// Context makes the context object; called only if something asks for it.
	Context func() any
	// UUID and Random (from 0 up to 1) feed States.UUID and States.MathRandom.
	UUID   func() string
	Random func() float64

	made any
}

func (e *Env) context() any {
	if e.made == nil && e.Context != nil {
		e.made = e.Context()
	}
	return e.made
}
