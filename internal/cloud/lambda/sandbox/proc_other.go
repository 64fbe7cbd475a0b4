//go:build !unix

package sandbox

import (
	"context"
	"log/slog"
)

// Processes launches native processes, which needs a Unix system.
type Processes struct{}

var _ Launcher = (*Processes)(nil)

// NewProcesses makes a launcher that can launch nothing.
func NewProcesses(*slog.Logger) *Processes { return &Processes{} }

// Close does nothing.
func (*Processes) Close() {}

// Launch implements [Launcher].
func (*Processes) Launch(context.Context, Spec) (Sandbox, error) {
	return nil, &Failure{Type: InvalidEntry, Message: "functions need a Unix system"}
}
