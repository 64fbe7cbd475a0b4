package codebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// A shell runs a build's commands one after the other: the folder that one
// changes to and the variables that it exports are those of the next. It is an
// interpreter of its own, so that builds need no shell on the machine.
type shell struct {
	runner *interp.Runner
	out    io.Writer
}

func newShell(dir string, env []string, out io.Writer) (*shell, error) {
	r, err := interp.New(
		interp.Env(expand.ListEnviron(env...)), interp.Dir(dir), interp.StdIO(nil, out, out),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return runProgram }),
	)
	if err != nil {
		return nil, fmt.Errorf("start shell: %w", err)
	}
	return &shell{runner: r, out: out}, nil
}

// run runs a command; its error tells the exit status.
func (s *shell) run(ctx context.Context, command string) error {
	parsed, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(command), "")
	if err != nil {
		_, _ = fmt.Fprintln(s.out, err) // a log takes everything
		return interp.ExitStatus(2)
	}
	return s.runner.Run(ctx, parsed)
}

// set gives a variable to all commands to come.
func (s *shell) set(ctx context.Context, name, value string) error {
	quoted, err := syntax.Quote(value, syntax.LangBash)
	if err != nil {
		return err
	}
	return s.run(ctx, "export "+name+"="+quoted)
}

// value is what a variable holds now.
func (s *shell) value(name string) string { return s.runner.Vars[name].String() }

func exitStatus(err error) int {
	if status, ok := errors.AsType[interp.ExitStatus](err); ok {
		return int(status)
	}
	return 1
}

// killDelay is how long a program that was interrupted may take to end.
const killDelay = 2 * time.Second

// runProgram runs a program in a group of its own, of which nothing is left
// when the build is stopped.
func runProgram(ctx context.Context, args []string) error {
	h := interp.HandlerCtx(ctx)
	path, err := interp.LookPathDir(h.Dir, h.Env, args[0])
	if err != nil {
		_, _ = fmt.Fprintf(h.Stderr, "%s: command not found\n", args[0])
		return interp.ExitStatus(127)
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Args, cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = args, h.Dir, h.Stdin, h.Stdout, h.Stderr
	for name, v := range h.Env.Each {
		if v.Exported && v.Kind == expand.String {
			cmd.Env = append(cmd.Env, name+"="+v.String())
		}
	}
	group(cmd)
	cmd.WaitDelay = killDelay
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit):
		if code := exit.ExitCode(); code > 0 {
			return interp.ExitStatus(uint8(code))
		}
		return interp.ExitStatus(137) // ended by a signal
	case errors.Is(err, os.ErrPermission):
		_, _ = fmt.Fprintf(h.Stderr, "%s: permission denied\n", args[0])
		return interp.ExitStatus(126)
	}
	_, _ = fmt.Fprintf(h.Stderr, "%s: %v\n", args[0], err)
	return interp.ExitStatus(127)
}
