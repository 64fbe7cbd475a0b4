package cli

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/spf13/cobra"

	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/target/local"
	"miniforge/internal/ui"
)

// app is one run of the program: the global flags, and what commands reach
// through them.
type app struct {
	env Env
	globals

	command   *cobra.Command // the one that runs
	latency   latencyFlags   // of a cloud that it starts
	data      Result         // for the envelope
	streaming bool           // lines of JSON were written
	opened    *target.Target
	live      *ui.Progress
}

func (a *app) json() bool { return a.output == "json" }

// page is standard output for people.
func (a *app) page() *ui.Page {
	width, _, terminal := a.env.Terminal(a.env.Stdout)
	return ui.NewPage(a.env.Stdout, terminal && a.colour(), width)
}

// colour reports whether terminals get colour: see https://no-color.org.
func (a *app) colour() bool {
	return !a.noColor && a.env.Getenv("NO_COLOR") == "" && a.env.Getenv("TERM") != "dumb"
}

// show begins to show progress on standard error: live on a terminal, line by
// line otherwise. endProgress ends it.
func (a *app) show() *ui.Progress {
	if a.live != nil {
		return a.live
	}
	_, _, terminal := a.env.Terminal(a.env.Stderr)
	o := ui.ProgressOptions{Mode: ui.Plain, Colour: terminal && a.colour()}
	switch {
	case a.quiet:
		o.Mode = ui.Silent
	case terminal && a.env.Getenv("CI") == "" && a.env.Getenv("TERM") != "dumb":
		o.Mode = ui.Live
	}
	o.Size = func() (int, int) {
		if w, h, ok := a.env.Terminal(a.env.Stderr); ok {
			return w, h
		}
		return 80, 24
	}
	a.live = ui.NewProgress(a.env.Stderr, o)
	return a.live
}

func (a *app) endProgress() {
	if a.live != nil {
		a.live.Close()
		a.live = nil
	}
}

// folder is the state folder.
func (a *app) folder() (local.Folder, error) { return local.FindFolder(a.env.Getenv) }

// open reaches the target.
func (a *app) open(ctx context.Context, start target.Start) (*target.Target, error) {
	folder, err := a.folder()
	if err != nil && a.target == target.Local {
		return nil, err
	}
	t, err := target.Open(ctx, target.Options{
		Target: a.redirected(ctx, folder), Region: a.region, Profile: a.profile, Folder: folder, Start: start,
		Command: a.cloudCommandLine(), Getenv: a.env.Getenv,
	})
	a.opened = t
	return t, err
}

// redirected is the target, but local where AWS_ENDPOINT_URL leads there: that
// is what "miniforge cloud env" sets, and up and down should know their cloud.
func (a *app) redirected(ctx context.Context, folder local.Folder) string {
	if !a.fromSDK || folder == "" {
		return a.target
	}
	if s, err := folder.Running(ctx); err == nil && s.Endpoint == a.target {
		return target.Local
	}
	return a.target
}

// cloudCommandLine starts the local cloud in the background.
func (a *app) cloudCommandLine() []string {
	return append(append(a.cloudInBackground(), "--auto"), a.latency.arguments()...)
}

// cloudInBackground is how this program is started again. Whatever limits the
// time of commands must not limit that of the cloud.
func (a *app) cloudInBackground() []string {
	return []string{a.env.Executable, "cloud", "start", "--timeout=0", fmt.Sprintf("--ready-fd=%d", local.ReadyFD)}
}

// stack reaches the target and declares the stack there, without code.
func (a *app) stack(ctx context.Context, start target.Start) (*target.Target, *stack.Stack, error) {
	t, err := a.open(ctx, start)
	if err != nil {
		return nil, nil, err
	}
	s, err := stack.New(t.Config, a.stackOptions(t))
	return t, s, err
}

// stackOptions declare the stack without code.
func (a *app) stackOptions(t *target.Target) stack.Options {
	return stack.Options{Names: a.names(t), Architecture: t.Architecture, Platform: t.GOOS}
}

func (a *app) names(t *target.Target) stack.Names {
	return stack.Names{Name: a.name, Account: t.Account, Region: t.Region}
}

// lock keeps other runs from changing the same stack at the same time.
func (a *app) lock(t *target.Target, task string) (*local.Lock, error) {
	folder, err := a.folder()
	if err != nil {
		return nil, err
	}
	where := fnv.New32a()
	_, _ = fmt.Fprint(where, t.Name()) // a hash takes everything
	name := fmt.Sprintf("%s-%s-%s-%08x", a.name, t.Account, t.Region, where.Sum32())
	lock, err := folder.Lock(name, "miniforge "+task)
	if err != nil {
		return nil, fail(exitFailed, "wait until it has ended", fmt.Errorf("change stack %s: %w", a.name, err))
	}
	return lock, nil
}

// place says in a few words where a stack is.
func place(t *target.Target) string {
	return fmt.Sprintf("account %s, region %s, %s", t.Account, t.Region, t.Name())
}
