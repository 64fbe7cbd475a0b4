package cloud

import (
	"context"

	"miniforge/internal/cloud/lambda/sandbox"
	"miniforge/internal/cloud/latency"
)

// A slowLauncher starts functions as slowly as the model has it.
type slowLauncher struct {
	faultyLauncher
	model *latency.Model
}

// Launch implements [sandbox.Launcher].
func (l slowLauncher) Launch(ctx context.Context, s sandbox.Spec) (sandbox.Sandbox, error) {
	if err := l.model.Start(ctx); err != nil {
		return nil, err
	}
	return l.faultyLauncher.Launch(ctx, s)
}
