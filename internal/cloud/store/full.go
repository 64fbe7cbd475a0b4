package store

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/aws/smithy-go"
	bolterrors "go.etcd.io/bbolt/errors"
)

// A FullError means that there is no room for a write. Nothing of it has
// happened, and the store takes writes again as soon as there is room. Callers
// of the cloud get it as it is: a server's fault, worth another try.
type FullError struct{ Err error }

var _ smithy.APIError = (*FullError)(nil)

func (e *FullError) Error() string { return e.ErrorMessage() + ": " + e.Err.Error() }

func (e *FullError) Unwrap() error { return e.Err }

// ErrorCode returns the code on the wire.
func (*FullError) ErrorCode() string { return "ServiceUnavailable" }

// ErrorMessage returns the text for people.
func (*FullError) ErrorMessage() string {
	return "no room is left on the disk that holds the cloud's state; free some, and try again"
}

// ErrorFault tells that the caller is not to blame.
func (*FullError) ErrorFault() smithy.ErrorFault { return smithy.FaultServer }

// NoRoom returns err, as a [FullError] if it says that a disk or a quota is used up.
func NoRoom(err error) error {
	if _, known := errors.AsType[*FullError](err); known || err == nil {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, bolterrors.ErrMaxSizeReached) {
		return &FullError{err}
	}
	return err
}

func isFull(err error) bool {
	_, full := errors.AsType[*FullError](err)
	return full
}

// writeError says what a batch that could not be written failed of.
func writeError(err error) error { return fmt.Errorf("write to the store: %w", err) }
