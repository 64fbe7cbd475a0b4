package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// flags make the binaries small and free of what differs between machines:
// paths, build ids, the state of the working tree. Function URLs over net/rpc
// belong to the retired go1.x runtime.
var flags = []string{"-trimpath", "-buildvcs=false", "-tags=lambda.norpc", "-ldflags=-s -w -buildid="}

type toolchain struct {
	path    string
	version string // "go1.26.8"
}

// findToolchain asks the go command which toolchain the module's go.mod
// selects: that is what decides the bytes of a binary.
func findToolchain(ctx context.Context, source string) (toolchain, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return toolchain{}, fmt.Errorf("build functions: %w", ErrNoToolchain)
	}
	out, err := run(ctx, source, nil, path, "env", "GOVERSION")
	if err != nil {
		return toolchain{}, fmt.Errorf("ask toolchain for its version: %w", err)
	}
	return toolchain{path: path, version: strings.TrimSpace(string(out))}, nil
}

// compile builds the functions into dir, each under its own name. One go
// command builds them all: it shares the work on common packages and bounds
// its own parallelism.
func (t toolchain) compile(ctx context.Context, o Options, functions []string, dir string) error {
	args := append([]string{"build"}, flags...)
	args = append(args, "-o", dir+string(filepath.Separator))
	for _, f := range functions {
		args = append(args, "./handlers/"+f)
	}
	// What the user's environment says about builds must not change the bytes.
	env := []string{"CGO_ENABLED=0", "GOOS=" + o.GOOS, "GOARCH=" + o.GOARCH, "GOFLAGS=", "GOWORK=off", "GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT="}
	if _, err := run(ctx, o.Source, env, t.path, args...); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("compile functions: %w", context.Cause(ctx))
		}
		return fmt.Errorf("%w: %w", ErrCompile, err)
	}
	return nil
}

// run runs a command; its error says what the command wrote to standard error.
func run(ctx context.Context, dir string, env []string, path string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Run(); err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = errors.New(text)
		}
		return nil, err
	}
	return stdout.Bytes(), nil
}
