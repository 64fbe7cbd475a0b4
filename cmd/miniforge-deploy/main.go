// Command miniforge-deploy does the work of the delivery pipeline, inside its
// builds: "package DIR" writes the functions' archives into a folder, and
// "rollout DIR" puts the archives of a folder live. The Build stage builds it
// from the sources that it delivers.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"miniforge/internal/artifact"
	"miniforge/internal/rollout"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The build's log has times of its own.
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	err := run(ctx, log, os.Args[1:])
	stop()
	if err != nil {
		// Not as an attribute: a compiler's errors are lines, and shall stay so.
		fmt.Fprintln(os.Stderr, "miniforge-deploy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, log *slog.Logger, args []string) error {
	if len(args) == 2 && args[0] == "package" {
		return pack(ctx, log, args[1])
	}
	if len(args) == 2 && args[0] == "rollout" {
		return roll(ctx, log, args[1])
	}
	return errors.New("usage: miniforge-deploy package|rollout DIR")
}

// pack builds the archives from the sources in the working directory.
func pack(ctx context.Context, log *slog.Logger, dir string) error {
	goos, err := variable("FUNCTION_GOOS")
	if err != nil {
		return err
	}
	goarch, err := variable("FUNCTION_GOARCH")
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "package-")
	if err != nil {
		return fmt.Errorf("make build folder: %w", err)
	}
	defer os.RemoveAll(work)
	packages, err := artifact.Build(ctx, artifact.Options{Source: ".", Out: work, GOOS: goos, GOARCH: goarch})
	if err != nil {
		return err
	}
	for _, p := range packages {
		zip, err := p.Bytes()
		if err != nil {
			return err
		}
		if err := os.WriteFile(archive(dir, p.Function), zip, 0o644); err != nil { //nolint:gosec // an artifact is for others to read
			return fmt.Errorf("write package of %s: %w", p.Function, err)
		}
		log.Info("built", "function", p.Function, "code_sha256", p.SHA256, "bytes", p.Size)
	}
	return nil
}

// roll puts the archives in a folder live, in the stack that the project's
// variables name.
func roll(ctx context.Context, log *slog.Logger, dir string) error {
	env := map[string]string{}
	for _, name := range []string{"DEPLOY_STACK", "DEPLOY_ALIAS", "DEPLOY_APPLICATION", "DEPLOY_CONFIG"} {
		value, err := variable(name)
		if err != nil {
			return err
		}
		env[name] = value
	}
	template, err := os.ReadFile(filepath.Join(dir, "appspec.yml")) //nolint:gosec // the caller names the folder
	if err != nil {
		return fmt.Errorf("read template of deployments: %w", err)
	}
	var functions []rollout.Function
	for _, f := range artifact.Functions() {
		zip, err := os.ReadFile(archive(dir, f))
		if err != nil {
			return fmt.Errorf("read package of %s: %w", f, err)
		}
		functions = append(functions, rollout.Function{Name: env["DEPLOY_STACK"] + "-" + f, Alias: env["DEPLOY_ALIAS"], Zip: zip})
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("load configuration: %w", err)
	}
	r := rollout.Rollout{
		Lambda: lambda.NewFromConfig(cfg), CodeDeploy: codedeploy.NewFromConfig(cfg),
		Application: env["DEPLOY_APPLICATION"], Config: env["DEPLOY_CONFIG"], Template: rollout.Template(template), Log: log,
	}
	_, err = r.Run(ctx, functions)
	return err
}

func archive(dir, function string) string { return filepath.Join(dir, function+".zip") }

func variable(name string) (string, error) {
	if value := os.Getenv(name); value != "" {
		return value, nil
	}
	return "", fmt.Errorf("%s is not set: the project's variables name it; miniforge up repairs them", name)
}
