// Command miniforge provisions, drives, verifies and removes an event-driven
// preorder system on AWS, or on the AWS-compatible cloud inside it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"miniforge/internal/cli"
	"miniforge/internal/ui"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	executable, _ := os.Executable()
	dir, _ := os.Getwd()
	os.Exit(cli.Main(ctx, cli.Env{
		Args: os.Args[1:], Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal: ui.TerminalSize, Executable: executable, Dir: dir,
	}))
}
