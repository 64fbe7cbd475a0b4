// Package sandbox runs functions: native processes that speak the Lambda
// Runtime API, one invocation at a time each, kept warm in a pool.
//
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
package sandbox

import (
	"context"
	"fmt"
	"time"
)

// A Spec is what a sandbox runs.
type Spec struct {
	// Dir is the folder of the unpacked code: the working folder and
	// LAMBDA_TASK_ROOT.
	Dir string
	// Command is the program and its arguments.
	Command []string
	// Env is the whole environment, "NAME=value"; the address of the Runtime
	// API is added. Nothing is inherited.
	Env []string
	// Line is called for each line that the process writes, in order.
	Line func(string)
	// InitTimeout bounds the time until the process asks for work.
	InitTimeout time.Duration
}

// An Invocation is one event for a function.
type Invocation struct {
	RequestID     string
	FunctionARN   string // as it was invoked, with the qualifier
	Payload       []byte
	Timeout       time.Duration
	ClientContext string // JSON; may be empty
	TraceID       string // X-Amzn-Trace-Id; may be empty
}

// A Result is how an invocation ended. Without Failure, the function returned
// Payload; with ErrorType, the function reported an error, whose document Payload is.
type Result struct {
	Payload   []byte
	ErrorType string // as the runtime reported it; "" where it was none
	Failed    bool   // the function ended with an error
	Failure   *Failure
	Duration  time.Duration
	MaxMemory int64 // bytes, the most the process has used so far; 0: unknown
}

// A Failure is an end that the function did not report itself.
type Failure struct {
	// Type is AWS's name: "Runtime.ExitError", "Sandbox.Timedout", "Function.ResponseSizeTooLarge".
	Type    string
	Message string
	// Payload is the error document that the runtime reported during its
	// initialisation; nil where there is none.
	Payload []byte
}

func (f *Failure) Error() string { return f.Type + ": " + f.Message }

// Types of failures.
const (
	ExitError     = "Runtime.ExitError"
	TimedOut      = "Sandbox.Timedout"
	TooLarge      = "Function.ResponseSizeTooLarge"
	InvalidEntry  = "Runtime.InvalidEntrypoint"
	InitErrorType = "Runtime.Unknown"
)

func timedOut(after time.Duration) *Failure {
	return &Failure{Type: TimedOut, Message: fmt.Sprintf("Task timed out after %.2f seconds", after.Seconds())}
}

// A Sandbox is a started function that waits for work.
type Sandbox interface {
	// Invoke runs one invocation; there is only one at a time.
	Invoke(in Invocation) Result
	// Ended is closed when the sandbox can take no further invocation.
	Ended() <-chan struct{}
	// Close ends the sandbox and everything it started, and waits for that.
	Close()
}

// A Launcher starts sandboxes.
type Launcher interface {
	// Launch starts one and waits until it is ready. A function that cannot
	// be started or fails while it initialises is a [*Failure].
	Launch(ctx context.Context, s Spec) (Sandbox, error)
}

// MaxResponse is the most that a function may return: 6 MB and some overhead,
// as on AWS.
const MaxResponse = 6*1024*1024 + 100
