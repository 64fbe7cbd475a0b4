// Package handler is what the functions of the order system have in common:
// a quick start on the Lambda runtime.
package handler

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
)

// Process is what a function's process is given.
type Process struct {
	Config aws.Config
	Log    *slog.Logger
	Env    map[string]string // the variables asked for
}

// Start reads the configuration of a function's process and those environment
// variables without which the function cannot work.
func Start(ctx context.Context, variables ...string) (Process, error) {
	frugal()
	env := make(map[string]string, len(variables))
	for _, name := range variables {
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			return Process{}, fmt.Errorf("read environment: %s is not set; `miniforge up` repairs the function", name)
		}
		env[name] = value
	}
	cfg, err := config.LoadDefaultConfig(ctx, config.WithHTTPClient(awshttp.NewBuildableClient()))
	if err != nil {
		return Process{}, fmt.Errorf("load configuration: %w", err)
	}
	// Lambda reads standard output, a line an event.
	return Process{Config: cfg, Log: slog.New(slog.NewJSONHandler(os.Stdout, nil)), Env: env}, nil
}

// frugal fits the Go runtime to a function of 128 or 256 MB, which has a tenth
// of a processor, does one thing at a time, and keeps a few megabytes: a second
// processor would only wake up to find nothing to do, and the default collector
// would run after every few invocations.
func frugal() {
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(96 << 20) // from there on it runs as often as it must
}

// Fail reports why a function cannot start, and ends its process, which Lambda
// reports as Runtime.ExitError.
func Fail(err error) {
	slog.New(slog.NewJSONHandler(os.Stdout, nil)).Error("start function", "error", err)
	os.Exit(1)
}
