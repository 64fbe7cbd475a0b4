package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"miniforge/internal/artifact"
	"miniforge/internal/delivery"
	"miniforge/internal/drive"
	"miniforge/internal/graph"
	"miniforge/internal/order"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

type upOptions struct {
	plan, wait, replace bool
	source              string
	without             []string
}

// withoutPipeline is the only part of the stack that may be left out.
const withoutPipeline = "pipeline"

func (a *app) upCommand() *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use:   "up",
		Short: "Create or repair every resource, and put the stock on the shelf",
		Long: `Packages the functions and makes every resource exist as declared, in the order of
their dependencies and in parallel where that allows. What already is as declared is
left alone: a second run changes nothing. A run that was killed may be repeated.`,
		Args: args(cobra.NoArgs),
	}
	c.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		for _, part := range o.without {
			if part != withoutPipeline {
				return nil, usageError(c, fmt.Errorf("--without %q: only %q may be left out", ui.Clean(part), withoutPipeline))
			}
		}
		if err := a.checkLatency(c); err != nil {
			return nil, err
		}
		return a.up(ctx, o)
	})
	f := c.Flags()
	f.BoolVar(&o.plan, "plan", false, "say what would be changed, and change nothing")
	f.BoolVar(&o.wait, "wait", false, "wait until the API answers with the function behind it")
	f.BoolVar(&o.replace, "replace", false, "delete and recreate what cannot be changed in place; its data is lost")
	f.StringVar(&o.source, "source", "", "checkout with the functions' sources (default: the one around the working directory)")
	a.latency.register(f)
	f.Uint64Var(&a.latency.seed, "seed", 0, "what --latency draws by: the same seed, the same times")
	f.StringSliceVar(&o.without, "without", nil, "leave a part out: pipeline (what there is of it stays as it is)")
	return c
}

func (a *app) up(ctx context.Context, o upOptions) (Result, error) {
	began := time.Now()
	t, err := a.open(ctx, target.StartAlways)
	if err != nil {
		return nil, err
	}
	if t.Kind == target.Local && !a.latency.fits(t.Local) {
		return nil, misfit(t.Local)
	}
	if !o.plan {
		lock, err := a.lock(t, "up")
		if err != nil {
			return nil, err
		}
		defer lock.Unlock() //nolint:errcheck // the process's end unlocks as well
	}
	so, err := a.builtStack(ctx, t, o)
	if err != nil {
		return nil, err
	}
	s, err := stack.New(t.Config, so)
	if err != nil {
		return nil, err
	}
	r := upResult{Stack: a.name, Place: placeOf(t), Plan: o.plan, flags: a.sameStack()}
	if o.plan {
		err = a.planUp(ctx, s, &r)
	} else {
		err = a.ensure(ctx, s, t, o, &r)
	}
	if so.WithoutPipeline && err == nil {
		// Where nothing delivers, nothing can be found out: that is why it may be left out.
		if last, lastErr := s.Delivery().Last(ctx); lastErr == nil {
			r.Kept = keptPipeline(s, last)
		}
	}
	r.Took = time.Since(began)
	return r, err
}

func keptPipeline(s *stack.Stack, last *delivery.Execution) string {
	text := "pipeline " + s.Pipeline() + " exists and was left as it is"
	if last != nil {
		text += "; its last execution: " + last.Status
	}
	return text
}

// builtStack declares the stack with the functions' code, and with the sources
// that its pipeline is to build.
func (a *app) builtStack(ctx context.Context, t *target.Target, o upOptions) (stack.Options, error) {
	so := a.stackOptions(t)
	so.WithoutPipeline = len(o.without) > 0
	source, err := a.source(o.source)
	if err != nil {
		return so, err
	}
	packages, err := a.build(ctx, t, source)
	if err != nil {
		return so, err
	}
	so.Packages = map[string][]byte{}
	for _, p := range packages {
		so.Toolchain = p.Toolchain
		if so.Packages[p.Function], err = p.Bytes(); err != nil {
			return so, err
		}
	}
	if !so.WithoutPipeline {
		so.Sources, err = filesOf(source)
	}
	return so, err
}

// filesOf is what the pipeline builds from.
func filesOf(source string) ([]resource.File, error) {
	sources, err := artifact.Sources(source)
	if err != nil {
		return nil, err
	}
	files := make([]resource.File, len(sources))
	for i, s := range sources {
		files[i] = resource.File(s)
	}
	return files, nil
}

// source is the checkout with the functions' sources: the one that was named,
// by flag or environment, or the one around the working directory.
func (a *app) source(given string) (string, error) {
	return artifact.FindSource(cmp.Or(given, a.env.Getenv("MINIFORGE_SOURCE"), a.env.Dir))
}

// sameStack is what has to be added to other commands so that they find this
// stack: the flags given here. Environment and file will be there as well.
func (a *app) sameStack() string {
	var flags strings.Builder
	for _, name := range []string{"target", "name", "region", "profile"} {
		if f := a.command.Flags().Lookup(name); f.Changed {
			flags.WriteString(" --" + name + " " + f.Value.String())
		}
	}
	return flags.String()
}

func (a *app) planUp(ctx context.Context, s *stack.Stack, r *upResult) error {
	g, err := s.Graph()
	if err != nil {
		return err
	}
	r.Steps, err = g.Inspect(ctx, a.walk(g, looking))
	return err
}

func (a *app) ensure(ctx context.Context, s *stack.Stack, t *target.Target, o upOptions, r *upResult) error {
	g, err := s.Graph()
	if err != nil {
		return err
	}
	walk := a.walk(g, "Creating stack "+a.name)
	walk.Replace = o.replace
	ctx, cancel := a.patient(ctx)
	defer cancel()
	if r.Steps, err = g.Ensure(ctx, walk); err != nil {
		return err
	}
	r.Critical = g.CriticalPath(r.Steps)
	if r.Seeded, err = s.Seed(ctx); err != nil {
		return err
	}
	if r.API, err = s.KnownEndpoint(); err != nil || !o.wait {
		return err
	}
	return a.awaitAPI(ctx, &drive.Client{URL: r.API, HTTP: t.HTTP})
}

// awaitAPI asks for an order that does not exist until the function says so:
// then the API, its permission, the function and its table work together.
func (a *app) awaitAPI(ctx context.Context, c *drive.Client) error {
	p := a.show()
	p.Title("Waiting for the API", 1)
	p.Start("api")
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		_, err := c.Get(ctx, order.NewID(time.Now()))
		if problem, is := errors.AsType[*order.Problem](err); is && problem.Status == 404 {
			p.End("api", ui.Changed, "answers")
			return nil
		}
		if err != nil {
			p.Note("api", err.Error())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API: %w", errors.Join(err, context.Cause(ctx)))
		case <-time.After(pause):
		}
	}
}

// build makes the functions' archives for the target's platform.
func (a *app) build(ctx context.Context, t *target.Target, source string) ([]artifact.Package, error) {
	folder, err := a.folder()
	if err != nil {
		return nil, err
	}
	out := filepath.Join(folder.Cache("functions"), t.GOOS+"-"+t.GOARCH)
	return a.buildInto(ctx, artifact.Options{Source: source, Out: out, GOOS: t.GOOS, GOARCH: t.GOARCH})
}

func (a *app) buildInto(ctx context.Context, o artifact.Options) (_ []artifact.Package, err error) {
	if o.Source, err = a.source(o.Source); err != nil {
		return nil, err
	}
	p := a.show()
	p.Title("Packaging the functions", len(artifact.Functions()))
	o.Progress = func(e artifact.Event) {
		id := "function/" + e.Function
		switch {
		case !e.Done:
			p.Start(id)
		case e.Cached:
			p.End(id, ui.Unchanged, "unchanged")
		default:
			p.End(id, ui.Changed, "built")
		}
	}
	return artifact.Build(ctx, o)
}

type upResult struct {
	Stack string `json:"stack"`
	Place
	Plan  bool         `json:"plan"`
	Steps []graph.Step `json:"steps"`
	// Critical is the chain of steps that the run could not be faster than.
	Critical graph.CriticalPath `json:"critical_path,omitzero"`
	Seeded   int                `json:"seeded"`
	API      string             `json:"api,omitempty"`
	// Kept tells of a pipeline that was left out, and exists.
	Kept string        `json:"kept,omitempty"`
	Took time.Duration `json:"took_ns"`

	flags string // that lead other commands to the same stack
}

// longRun is how long a run takes for which people ask what took so long.
const longRun = 10 * time.Second

// Text implements Result.
func (r upResult) Text(p *ui.Page) {
	if r.Plan {
		printSteps(p, r.Steps, false)
		p.Line(p.Bold("Plan for "+r.Stack+":"), counts(r.Steps, planned))
	} else {
		p.Line(p.Bold("Stack "+r.Stack+":"), counts(r.Steps, past), p.Dim("in "+ui.Duration(r.Took)))
		if r.Took >= longRun {
			p.Line(p.Dim(fmt.Sprintf("the longest chain took %s: %s", ui.Duration(r.Critical.Took), strings.Join(r.Critical.IDs, ", "))))
		}
	}
	if r.Kept != "" {
		p.Line(p.Warn("note:"), r.Kept)
	}
	if r.API == "" {
		return
	}
	p.Line("API:", p.Bold(r.API))
	p.Line()
	p.Line(p.Dim("next:"))
	p.Line("  miniforge order submit --item MF-DRAGON-01 --watch" + r.flags)
	p.Line("  miniforge verify" + r.flags)
	p.Line("  miniforge down" + r.flags)
}
