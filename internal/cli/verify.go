package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"miniforge/internal/check"
	"miniforge/internal/report"
	"miniforge/internal/target"
	"miniforge/internal/ui"
	"miniforge/internal/verify"
)

type verifyOptions struct {
	format, out string
	workers     int
	patience    time.Duration
	orders      int
	clients     int
	seed        uint64
	duration    time.Duration
}

func (a *app) verifyCommand() *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify [SUITE...]",
		Short: "Prove that the system works: " + strings.Join(verify.Suites(), ", "),
		Long: `Asks each resource for the properties it should have, sends orders of its own through the
system, and holds what became of them to the rules. Exit code 5 means that a check failed.
Without names, all suites run but two that disturb others for a while: pipeline, which delivers
functions of its own, and resilience, which makes the local cloud fail.`,
		ValidArgs: verify.Suites(),
	}
	c.Args = func(c *cobra.Command, names []string) error {
		for i, name := range names {
			if !slices.Contains(verify.Suites(), name) {
				return usageError(c, fmt.Errorf("unknown suite %q; there are %s", ui.Clean(name), strings.Join(verify.Suites(), ", ")))
			}
			if slices.Contains(names[:i], name) {
				return usageError(c, fmt.Errorf("suite %q is named twice", name))
			}
		}
		return nil
	}
	c.RunE = a.result(func(ctx context.Context, names []string) (Result, error) {
		if o.out != "" && o.format == "" {
			o.format = "json"
		}
		if o.format != "" && !slices.Contains(formats(), o.format) {
			return nil, usageError(c, fmt.Errorf("format %q: there are %s", ui.Clean(o.format), strings.Join(formats(), ", ")))
		}
		if o.format != "" && o.out == "" {
			return nil, usageError(c, errors.New("--format needs --report, the file to write"))
		}
		if o.workers < 1 {
			return nil, usageError(c, fmt.Errorf("workers %d is not positive", o.workers))
		}
		if o.orders < 1 || o.clients < 1 {
			return nil, usageError(c, fmt.Errorf("%d orders from %d clients: both must be positive", o.orders, o.clients))
		}
		if o.duration < time.Second {
			return nil, usageError(c, fmt.Errorf("duration %s is less than a second", o.duration))
		}
		if !c.Flags().Changed("seed") {
			o.seed = uint64(rand.Uint32()) //nolint:gosec // any will do; the report tells it
		}
		return a.verify(ctx, o, names)
	})
	f := c.Flags()
	f.StringVar(&o.out, "report", "", "also write the report to this file")
	f.StringVar(&o.format, "format", "", "format of that file: "+strings.Join(formats(), ", ")+" (default json)")
	f.IntVar(&o.workers, "workers", 4, "checks that run at once")
	f.DurationVar(&o.patience, "patience", time.Minute, "how long to wait for what should happen by itself")
	f.IntVar(&o.orders, "orders", 10, "concurrency: orders in all, a quarter in each situation, but ten at least if there are so many")
	f.IntVar(&o.clients, "clients", 10, "concurrency: clients that place them at once")
	f.Uint64Var(&o.seed, "seed", 0, "resilience: seed of the faults, to run them again (default random)")
	f.DurationVar(&o.duration, "duration", 10*time.Second, "resilience: how long faults strike")
	return c
}

func formats() []string {
	var names []string
	for _, f := range report.Formats() {
		names = append(names, f.Name)
	}
	return names
}

// tidyTime bounds the tidying up after a verification, also after Ctrl-C.
const tidyTime = time.Minute

func (a *app) verify(ctx context.Context, o verifyOptions, names []string) (_ Result, err error) {
	t, s, err := a.stack(ctx, target.StartKnown)
	if err != nil {
		return nil, err
	}
	if _, err := s.Endpoint(ctx); err != nil {
		return nil, err
	}
	vo := verify.Options{HTTP: t.HTTP, Patience: o.patience, Orders: o.orders, Clients: o.clients, Faults: faultsOf(t), Seed: o.seed, Duration: o.duration}
	if vo.Files, err = a.filesOf(t); err != nil {
		return nil, err
	}
	run := verify.New(s, vo)
	suites, err := run.Suites(names...)
	if err != nil {
		return nil, err
	}
	defer func() {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
		defer cancel()
		if cerr := run.Close(tidy); cerr != nil {
			err = errors.Join(err, fmt.Errorf("tidy up after verification: %w", cerr))
		}
	}()
	began := time.Now()
	results := check.Run(ctx, suites, check.Options{Workers: o.workers, Progress: a.showChecks(suites)})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r := verifyResult{report.New(report.Target{
		Stack: a.name, Endpoint: t.Name(), Account: t.Account, Region: t.Region, Version: version(),
	}, began, results)}
	if o.out != "" {
		if err := a.writeReport(o, r.Report); err != nil {
			return r, err
		}
	}
	if !r.OK {
		next := ""
		if slices.ContainsFunc(results, func(x check.Result) bool { return x.Suite == "resilience" && !x.OK() }) {
			next = "replay the faults: " + vo.Replay() + a.sameStack()
		}
		return r, fail(exitChecks, next, errors.New("verification failed: "+r.Summary()))
	}
	return r, nil
}

// filesOf is where the target keeps its data, if that can be looked at.
func (a *app) filesOf(t *target.Target) (fs.FS, error) {
	if t.Kind != target.Local || t.Local.Ephemeral {
		return nil, nil //nolint:nilnil // there are none, which is no error
	}
	folder, err := a.folder()
	if err != nil {
		return nil, err
	}
	return os.DirFS(string(folder)), nil
}

func (a *app) showChecks(suites []check.Suite) func(check.Result) {
	total := 0
	var titles []string
	for _, s := range suites {
		total += len(s.Checks)
		titles = append(titles, s.Name)
	}
	p := a.show()
	p.Title("Verifying "+strings.Join(titles, ", "), total)
	return func(r check.Result) {
		id := r.Suite + "/" + r.ID
		switch r.Outcome {
		case "":
			p.Start(id)
		case check.Pass:
			p.End(id, ui.Changed, "pass")
		case check.Skip, check.NotProven:
			p.End(id, ui.Skipped, string(r.Outcome)+" "+r.Reason)
		default:
			p.End(id, ui.Failed, string(r.Outcome)+" "+r.Reason)
		}
	}
}

func (a *app) writeReport(o verifyOptions, r report.Report) error {
	var b bytes.Buffer
	if err := report.Write(&b, o.format, r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	path := o.out
	if !filepath.IsAbs(path) {
		path = filepath.Join(a.env.Dir, path)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil { //nolint:gosec // a report is for others to read
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

type verifyResult struct{ report.Report }

// Text implements Result.
func (r verifyResult) Text(p *ui.Page) {
	_ = report.Text(p, r.Report) // the page keeps the error
}
