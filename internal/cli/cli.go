// Package cli is the command line: one file a command, each with its options,
// its constructor, its run function and its result. Writing results, turning
// errors into exit codes, and reaching the target are done once, here.
package cli

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"miniforge/internal/ui"
)

// Env is the world outside, as main sees it: nothing else in this package
// reads the process's arguments, environment or streams.
type Env struct {
	Args           []string
	Getenv         func(string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal tells whether a stream is a terminal, and of what size.
	Terminal func(stream any) (width, height int, ok bool)
	// Executable starts this program again, as the local cloud in the background.
	Executable string
	// Dir is the working directory, where the sources of functions are looked for.
	Dir string
}

// Main runs one command and returns its exit code. It writes nothing but to
// the streams of env. When ctx ends, it stops as after Ctrl-C.
func Main(ctx context.Context, env Env) int {
	a := &app{env: env}
	root := a.root()
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	return a.report(err)
}

func (a *app) root() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "miniforge",
		Short: "An event-driven preorder system on AWS: create, drive, prove, remove",
		Long: `Miniforge provisions an event-driven preorder system through raw AWS calls, drives
it with orders, proves that it works, and removes it without a trace: in the cloud
embedded in this program (the default), at any AWS-compatible URL, or on AWS.`,
		Example: `  miniforge up
  miniforge order submit --item MF-DRAGON-01 --watch
  miniforge verify
  miniforge down`,
		SilenceUsage: true, SilenceErrors: true,
	},
		a.upCommand(), a.downCommand(), a.statusCommand(), a.packageCommand(), a.deployCommand(),
		a.orderCommand(), a.executionsCommand(), a.stockCommand(), a.dlqCommand(),
		a.verifyCommand(), a.benchCommand(), a.doctorCommand(), a.cloudCommand(), a.versionCommand(),
	)
	a.globalFlags(root.PersistentFlags())
	root.PersistentPreRunE = a.settle
	root.SetFlagErrorFunc(usageError)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd(a.env.Args...)
	a.lateCommands(root)
	return root
}

// lateCommands gives cobra's own commands this tool's exit codes and keeps them
// from needing the configuration.
func (a *app) lateCommands(root *cobra.Command) {
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			group(c)
			c.PersistentPreRunE = func(*cobra.Command, []string) error { return nil }
		case "help":
			c.PersistentPreRunE = func(*cobra.Command, []string) error { return nil }
		}
	}
}

// group makes a command of its subcommands: alone it prints its help, and
// anything else is a usage error.
func group(c *cobra.Command, children ...*cobra.Command) *cobra.Command {
	c.AddCommand(children...)
	c.Use += " COMMAND"
	c.DisableFlagsInUseLine = true
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		err := fmt.Errorf("unknown command %q for %q", ui.Clean(args[0]), c.CommandPath())
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w; did you mean %q?", err, near[0])
		}
		return usageError(c, err)
	}
	c.SuggestionsMinimumDistance = 2
	return c
}

// args makes what cobra says about positional arguments a usage error.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usageError(c, err)
		}
		return nil
	}
}

// version is the module's version, or the revision that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
