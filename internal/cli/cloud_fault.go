package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"miniforge/internal/cloud/fault"
	"miniforge/internal/target"
	"miniforge/internal/target/local"
	"miniforge/internal/ui"
	"miniforge/internal/verify"
)

// faultFlags are those of "cloud start" that are about faults.
type faultFlags struct {
	file   string
	seed   uint64
	resume bool
}

func (o *faultFlags) register(f *pflag.FlagSet) {
	f.StringVar(&o.file, "fault", "", "inject the faults of this schedule (YAML or JSON; see docs/faults.md)")
	f.Uint64Var(&o.seed, "seed", 0, "seed of the schedule, instead of the one in it, and of --latency")
	f.BoolVar(&o.resume, "resume-faults", false, "go on with the schedule that killed the cloud")
	f.Lookup("resume-faults").Hidden = true
}

// readFaults reads the schedule that a cloud is started with, or what is left
// of the one that killed it.
func (a *app) readFaults(folder local.Folder, o faultFlags) (s fault.Schedule, state []byte, err error) {
	if o.resume {
		state, err = folder.TakeFaultState()
		return s, state, err
	}
	if o.file == "" {
		return s, nil, nil
	}
	s, err = a.schedule(o.file)
	if o.seed != 0 {
		s.Seed = o.seed
	}
	return s, nil, err
}

// killCloud returns how a fault of that kind ends this process.
func (a *app) killCloud(folder local.Folder, o cloudStartOptions) func([]byte) {
	return func(state []byte) {
		command := []string{a.env.Executable, "cloud", "start", "--timeout=0", "--quiet", "--resume-faults"}
		if o.auto {
			command = append(command, "--auto")
		}
		command = append(command, o.latency.arguments()...)
		err := folder.Replace(command, state)
		panic(fmt.Sprintf("the cloud was to be killed and started again: %v", err))
	}
}

// path is a file that the user named.
func (a *app) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(a.env.Dir, name)
}

// schedule reads a schedule from a file, or from standard input for "-".
func (a *app) schedule(name string) (fault.Schedule, error) {
	var data []byte
	var err error
	if name == "-" {
		data, err = io.ReadAll(a.env.Stdin)
	} else {
		data, err = os.ReadFile(a.path(name))
	}
	if err != nil {
		return fault.Schedule{}, fmt.Errorf("read fault schedule: %w", err)
	}
	s, err := fault.Parse(data)
	if err != nil {
		return s, fail(exitUsage, "see docs/faults.md", fmt.Errorf("%s: %w", ui.Clean(name), err))
	}
	return s, nil
}

func (a *app) cloudFaultCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "fault",
		Short: "Make the running cloud fail on purpose",
		Long: `Faults live as long as the cloud's process. A cloud that is started again has none,
unless it is started with --fault; only a fault that kills the cloud itself survives that.`,
	}, a.faultAddCommand(), a.faultListCommand(), a.faultClearCommand())
}

func (a *app) faultAddCommand() *cobra.Command {
	var r fault.Rule
	var seed uint64
	c := &cobra.Command{
		Use:   "add [FILE | --kind KIND]",
		Short: "Add the rules of a schedule, or one rule by flags",
		Example: `  miniforge cloud fault add schedule.yaml
  miniforge cloud fault add --kind throttle --service dynamodb --operation UpdateItem --count 3
  miniforge cloud fault add --kind crash --point after --resource '*payment-processor*' --probability 0.2`,
		Args: args(cobra.MaximumNArgs(1)),
	}
	c.RunE = a.result(func(ctx context.Context, names []string) (Result, error) {
		s := fault.Schedule{Rules: []fault.Rule{r}}
		switch {
		case (len(names) == 1) == (r.Kind != ""):
			return nil, usageError(c, errors.New("name a file, or the kind of one rule"))
		case len(names) == 1:
			var err error
			if s, err = a.schedule(names[0]); err != nil {
				return nil, err
			}
		}
		if seed != 0 {
			s.Seed = seed
		}
		return a.faults(ctx, func(l local.State) (fault.Status, error) { return l.AddFaults(ctx, s) })
	})
	registerRule(c.Flags(), &r)
	c.Flags().Uint64Var(&seed, "seed", 0, "seed of the random choices")
	return c
}

// registerRule adds a flag for each field of a rule.
func registerRule(f *pflag.FlagSet, r *fault.Rule) {
	var kinds []string
	for _, k := range fault.Kinds() {
		kinds = append(kinds, string(k))
	}
	f.StringVar((*string)(&r.Kind), "kind", "", "what happens: "+strings.Join(kinds, ", "))
	f.StringVar(&r.Name, "rule", "", "name of the rule")
	f.StringVar(&r.Service, "service", "", "of this service (pattern)")
	f.StringVar(&r.Operation, "operation", "", "of this operation (pattern)")
	f.StringVar(&r.Principal, "principal", "", "by this caller (pattern)")
	f.StringVar(&r.Resource, "resource", "", "on this ARN (pattern)")
	f.StringVar((*string)(&r.Point), "point", "", "before or after the side effect")
	f.DurationVar((*time.Duration)(&r.From), "from", 0, "begin so much later")
	f.DurationVar((*time.Duration)(&r.For), "for", 0, "end after that time")
	f.IntVar(&r.Skip, "skip", 0, "leave the first so many alone")
	f.IntVar(&r.Count, "count", 0, "at most so many times")
	f.Float64Var(&r.Probability, "probability", 0, "how likely each time, from 0 to 1 (default always)")
	f.DurationVar((*time.Duration)(&r.Delay), "delay", 0, "how long (slow, delay, timeout), how far (clock)")
	f.StringVar(&r.Code, "code", "", "error code, instead of the service's own")
	f.StringVar(&r.Message, "message", "", "error message, instead of the service's own")
}

func (a *app) faultListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the rules in force, and how often each has struck",
		Args:  args(cobra.NoArgs),
		RunE: a.result(func(ctx context.Context, _ []string) (Result, error) {
			return a.faults(ctx, func(l local.State) (fault.Status, error) { return l.Faults(ctx) })
		}),
	}
}

func (a *app) faultClearCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clear [RULE]",
		Short: "Take all rules away, or one, and tell what they did",
		Args:  args(cobra.MaximumNArgs(1)),
		RunE: a.result(func(ctx context.Context, names []string) (Result, error) {
			name := ""
			if len(names) == 1 {
				name = names[0]
			}
			return a.faults(ctx, func(l local.State) (fault.Status, error) { return l.ClearFaults(ctx, name) })
		}),
	}
}

// faults does something with the faults of the running cloud.
func (a *app) faults(ctx context.Context, do func(local.State) (fault.Status, error)) (Result, error) {
	folder, err := a.folder()
	if err != nil {
		return nil, err
	}
	s, err := folder.Running(ctx)
	if err != nil {
		return nil, err
	}
	status, err := do(s)
	if err != nil {
		return nil, err
	}
	return faultResult{status}, nil
}

type faultResult struct{ fault.Status }

// Text implements Result.
func (r faultResult) Text(p *ui.Page) {
	if len(r.Rules) == 0 {
		p.Line(p.Dim("○"), "No faults are injected.")
	}
	for _, rule := range r.Rules {
		p.Line(p.Bold(rule.Name), fmt.Sprintf(" struck %d of %d", rule.Injected, rule.Asked), p.Dim(" "+describe(rule.Rule)))
	}
	var kinds []string
	for k, n := range r.Injected {
		kinds = append(kinds, fmt.Sprintf("%s %d", k, n))
	}
	slices.Sort(kinds)
	if len(kinds) == 0 {
		kinds = []string{"nothing"}
	}
	if len(r.Rules) > 0 || len(r.Injected) > 0 {
		p.Line(p.Dim(fmt.Sprintf("seed %d; injected so far: %s", r.Seed, strings.Join(kinds, ", "))))
	}
}

// describe tells a rule's conditions in the words of its flags.
func describe(r fault.Rule) string {
	parts := []string{string(r.Kind)}
	add := func(name, value string) {
		if value != "" && value != "0s" && value != "0" {
			parts = append(parts, name+" "+ui.Clean(value))
		}
	}
	add("service", r.Service)
	add("operation", r.Operation)
	add("principal", r.Principal)
	add("resource", r.Resource)
	add("point", string(r.Point))
	add("from", time.Duration(r.From).String())
	add("for", time.Duration(r.For).String())
	add("skip", fmt.Sprint(r.Skip))
	add("count", fmt.Sprint(r.Count))
	add("probability", fmt.Sprint(r.Probability))
	add("delay", time.Duration(r.Delay).String())
	add("code", r.Code)
	return strings.Join(parts, ", ")
}

// faultsOf is what verification injects faults with; nil where the target has
// no such thing.
func faultsOf(t *target.Target) verify.Faults {
	if t.Kind != target.Local {
		return nil
	}
	return cloudFaults{t.Local}
}

type cloudFaults struct{ cloud local.State }

// Begin implements verify.Faults.
func (c cloudFaults) Begin(ctx context.Context, seed uint64, d time.Duration) error {
	status, err := c.cloud.Faults(ctx)
	if err != nil {
		return err
	}
	if len(status.Rules) > 0 {
		return fail(exitFailed, "run: miniforge cloud fault clear", fmt.Errorf("the cloud has %d fault rules already", len(status.Rules)))
	}
	_, err = c.cloud.AddFaults(ctx, fault.Generate(seed, d).Only(status.Kinds))
	return err
}

// restartTime is how long a cloud that killed itself may be away.
const restartTime = 15 * time.Second

// End implements verify.Faults. The cloud may be on its way back from a fault
// that killed it.
func (c cloudFaults) End(ctx context.Context) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, restartTime)
	defer cancel()
	for {
		status, err := c.cloud.ClearFaults(ctx, "")
		if err == nil {
			injected := map[string]int{}
			for kind, n := range status.Injected {
				injected[string(kind)] = n
			}
			return injected, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}
