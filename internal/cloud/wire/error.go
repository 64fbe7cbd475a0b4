package wire

import (
	"fmt"

	"github.com/aws/smithy-go"
)

// An Error is an AWS error that the SDK has no type for. Where the SDK has
// one, services return that.
type Error struct {
	Code    string
	Message string
	Status  int // HTTP; 0 means 400, or 500 for a server fault
	Server  bool
}

var _ smithy.APIError = (*Error)(nil)

// Errorf makes a client error with status 400.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return "api error " + e.Code + ": " + e.Message }

// ErrorCode returns the code on the wire.
func (e *Error) ErrorCode() string { return e.Code }

// ErrorMessage returns the text for people.
func (e *Error) ErrorMessage() string { return e.Message }

// ErrorFault tells whose fault it is.
func (e *Error) ErrorFault() smithy.ErrorFault {
	if e.Server {
		return smithy.FaultServer
	}
	return smithy.FaultClient
}
