package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"miniforge/internal/target/local"
	"miniforge/internal/ui"
)

func (a *app) cloudCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "cloud",
		Short: "Run the AWS-compatible cloud that is embedded in this program",
		Long: `The cloud of the local target: one process for each state folder, on the loopback
interface only. What it acknowledged survives its process, and a crash of it.`,
	},
		a.cloudStartCommand(), a.cloudStopCommand(), a.cloudStatusCommand(),
		a.cloudEnvCommand(), a.cloudLogsCommand(), a.cloudResetCommand(), a.cloudFaultCommand(),
	)
}

type cloudStartOptions struct {
	background, ephemeral, auto bool
	port, readyFD               int
	account, region             string
	faults                      faultFlags
	latency                     latencyFlags
}

func (a *app) cloudStartCommand() *cobra.Command {
	var o cloudStartOptions
	c := &cobra.Command{
		Use:   "start",
		Short: "Start the cloud, in the foreground unless told otherwise",
		Long: `Starts the cloud of the state folder. Account, region, root credentials and port are
made at the first start and kept. MINIFORGE_ROOT_ACCESS_KEY_ID and
MINIFORGE_ROOT_SECRET_ACCESS_KEY set the root credentials.`,
		Args: args(cobra.NoArgs),
	}
	c.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		if !c.Flags().Changed("port") {
			o.port = local.AnyPort
		} else if o.port < 0 || o.port > 65535 {
			return nil, usageError(c, fmt.Errorf("port %d is not between 0 and 65535", o.port))
		}
		o.latency.seed = o.faults.seed
		if err := o.latency.check(); err != nil {
			return nil, usageError(c, err)
		}
		if c.Flags().Changed("region") { // the global flag: here it is the cloud's default
			o.region = a.region
		}
		return a.cloudStart(ctx, o)
	})
	f := c.Flags()
	o.faults.register(f)
	o.latency.register(f)
	f.BoolVar(&o.background, "background", false, "return once the cloud answers")
	f.BoolVar(&o.ephemeral, "ephemeral", false, "keep everything in memory")
	f.IntVar(&o.port, "port", local.DefaultPort, "port on 127.0.0.1; 0 for any free one")
	f.StringVar(&o.account, "account", "", "account id, 12 digits")
	f.BoolVar(&o.auto, "auto", false, "the last stack takes the cloud along")
	f.IntVar(&o.readyFD, "ready-fd", 0, "file descriptor on which to say that the cloud is ready")
	for _, internal := range []string{"auto", "ready-fd"} {
		f.Lookup(internal).Hidden = true
	}
	return c
}

func (a *app) cloudStart(ctx context.Context, o cloudStartOptions) (Result, error) {
	folder, err := a.folder()
	if err != nil {
		return nil, err
	}
	if o.background {
		return a.cloudStartBackground(ctx, folder, o)
	}
	var parent *local.Announcer
	if o.readyFD > 2 {
		parent = local.NewAnnouncer(o.readyFD)
	}
	schedule, state, err := a.readFaults(folder, o.faults)
	if err != nil {
		return nil, errors.Join(err, parent.Announce(err))
	}
	err = folder.Serve(ctx, local.Options{
		Faults: schedule, FaultState: state, Kill: a.killCloud(folder, o),
		Latency: o.latency.running(), Seed: o.latency.seed, Port: o.port, Account: o.account, Region: o.region, Ephemeral: o.ephemeral, Auto: o.auto, Version: version(),
		RootAccessKeyID:     a.env.Getenv("MINIFORGE_ROOT_ACCESS_KEY_ID"),
		RootSecretAccessKey: a.env.Getenv("MINIFORGE_ROOT_SECRET_ACCESS_KEY"),
		Logger:              slog.New(slog.NewTextHandler(a.env.Stderr, nil)),
	}, func(s local.State) {
		if err := parent.Announce(nil); err != nil {
			slog.New(slog.NewTextHandler(a.env.Stderr, nil)).Warn("the process that started the cloud is gone", "error", err)
		}
		if parent == nil && !a.quiet {
			_ = a.emit(cloudResult{State: s, Running: true}, cloudResult{State: s, Running: true}.Text)
		}
	})
	if aerr := parent.Announce(err); aerr != nil {
		err = errors.Join(err, aerr)
	}
	if err == nil && parent != nil {
		return nil, nil //nolint:nilnil // nobody reads the result of a cloud in the background
	}
	return nil, err
}

func (a *app) cloudStartBackground(ctx context.Context, folder local.Folder, o cloudStartOptions) (Result, error) {
	if s, err := folder.Running(ctx); err == nil && !o.fits(s) {
		return cloudResult{State: s, Running: true}, misfit(s)
	}
	command := a.cloudInBackground()
	if o.port != local.AnyPort {
		command = append(command, fmt.Sprintf("--port=%d", o.port))
	}
	if o.ephemeral {
		command = append(command, "--ephemeral")
	}
	if o.account != "" {
		command = append(command, "--account="+o.account)
	}
	if o.region != "" {
		command = append(command, "--region="+o.region)
	}
	if o.faults.file != "" {
		// Read here too: what is wrong with it shows without a detour.
		if _, _, err := a.readFaults(folder, o.faults); err != nil {
			return nil, err
		}
		command = append(command, "--fault="+a.path(o.faults.file), fmt.Sprintf("--seed=%d", o.faults.seed))
	}
	command = append(command, o.latency.arguments()...)
	s, err := folder.Start(ctx, command)
	if err != nil {
		return nil, err
	}
	return cloudResult{State: s, Running: true}, nil
}

// fits reports whether the cloud that runs is the one asked for.
func (o cloudStartOptions) fits(s local.State) bool {
	return (o.port == local.AnyPort || o.port == s.Port) && (o.account == "" || o.account == s.Account) &&
		(o.region == "" || o.region == s.Region) && o.ephemeral == s.Ephemeral && o.latency.fits(s)
}

func (a *app) cloudStopCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stop",
		Short: "Stop the cloud; what it holds is kept",
		Args:  args(cobra.NoArgs),
		RunE: a.result(func(ctx context.Context, _ []string) (Result, error) {
			folder, err := a.folder()
			if err != nil {
				return nil, err
			}
			stopped, err := folder.Stop(ctx)
			return cloudStopResult{Stopped: stopped}, err
		}),
	}
}

type cloudStopResult struct {
	Stopped bool `json:"stopped"`
}

// Text implements Result.
func (r cloudStopResult) Text(p *ui.Page) {
	if r.Stopped {
		p.Line("The cloud has stopped.")
		return
	}
	p.Line("No cloud was running.")
}

func (a *app) cloudStatusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Tell whether the cloud runs, and where",
		Args:  args(cobra.NoArgs),
		RunE: a.result(func(ctx context.Context, _ []string) (Result, error) {
			folder, err := a.folder()
			if err != nil {
				return nil, err
			}
			s, err := folder.Running(ctx)
			if errors.Is(err, local.ErrNotRunning) || errors.Is(err, local.ErrNeverStarted) {
				s.PID = 0
				return cloudResult{State: s, Folder: string(folder)}, nil
			}
			return cloudResult{State: s, Running: err == nil, Folder: string(folder)}, err
		}),
	}
}

// cloudResult is a cloud's state without its secret.
type cloudResult struct {
	State   local.State
	Running bool
	Folder  string
}

// MarshalJSON implements json.Marshaler.
func (r cloudResult) MarshalJSON() ([]byte, error) {
	return marshal(struct {
		Running   bool      `json:"running"`
		PID       int       `json:"pid,omitempty"`
		Endpoint  string    `json:"endpoint,omitempty"`
		Account   string    `json:"account,omitempty"`
		Region    string    `json:"region,omitempty"`
		Ephemeral bool      `json:"ephemeral"`
		Latency   string    `json:"latency,omitempty"`
		Seed      uint64    `json:"seed,omitempty"`
		StartedAt time.Time `json:"started_at,omitzero"`
		Version   string    `json:"version,omitempty"`
		Folder    string    `json:"folder,omitempty"`
	}{r.Running, r.State.PID, r.State.Endpoint, r.State.Account, r.State.Region, r.State.Ephemeral, r.State.Latency, r.State.Seed, r.State.StartedAt, r.State.Version, r.Folder})
}

// Text implements Result.
func (r cloudResult) Text(p *ui.Page) {
	switch {
	case r.Running:
		p.Line(p.Good("●"), p.Bold(r.State.Endpoint), fmt.Sprintf(" account %s, region %s, process %d", r.State.Account, r.State.Region, r.State.PID))
		if r.State.Latency != "" {
			p.Line(p.Dim(fmt.Sprintf("  takes its time as %s does, by seed %d", r.State.Latency, r.State.Seed)))
		}
		p.Line(p.Dim(`  other tools: eval "$(miniforge cloud env)"`))
	case r.State.Port == 0:
		p.Line(p.Dim("○"), "The cloud has never been started.")
	default:
		p.Line(p.Dim("○"), "The cloud is stopped; it keeps account", r.State.Account, "and will listen at", r.State.Endpoint)
	}
	if r.Folder != "" {
		p.Line(p.Dim("  state folder: " + r.Folder))
	}
}

func (a *app) cloudEnvCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "env",
		Short: "Print the environment by which the aws CLI and any SDK use the cloud",
		Example: `  eval "$(miniforge cloud env)"
  aws dynamodb list-tables`,
		Args: args(cobra.NoArgs),
		RunE: a.result(func(ctx context.Context, _ []string) (Result, error) {
			folder, err := a.folder()
			if err != nil {
				return nil, err
			}
			s, err := folder.Running(ctx)
			if err != nil {
				return nil, err
			}
			return cloudEnvResult{s.Endpoint, s.AccessKeyID, s.SecretAccessKey, cmp.Or(a.region, s.Region)}, nil
		}),
	}
}

type cloudEnvResult struct {
	Endpoint        string `json:"AWS_ENDPOINT_URL"`
	AccessKeyID     string `json:"AWS_ACCESS_KEY_ID"`
	SecretAccessKey string `json:"AWS_SECRET_ACCESS_KEY"`
	Region          string `json:"AWS_REGION"`
}

// Text writes a script for any POSIX shell.
func (r cloudEnvResult) Text(p *ui.Page) {
	for _, v := range [][2]string{
		{"AWS_ENDPOINT_URL", r.Endpoint}, {"AWS_ACCESS_KEY_ID", r.AccessKeyID}, {"AWS_SECRET_ACCESS_KEY", r.SecretAccessKey},
		{"AWS_REGION", r.Region}, {"AWS_DEFAULT_REGION", r.Region},
	} {
		p.Printf("export %s='%s'\n", v[0], strings.ReplaceAll(v[1], "'", `'\''`))
	}
	// A profile or a session of real AWS would win over, or mix with, the above.
	p.Line("unset AWS_PROFILE AWS_SESSION_TOKEN")
}

func (a *app) cloudLogsCommand() *cobra.Command {
	var follow bool
	c := &cobra.Command{
		Use:   "logs",
		Short: "Print the log of the cloud in the background",
		Args:  args(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			folder, err := a.folder()
			if err != nil {
				return err
			}
			return a.cause(c.Context(), a.copyLog(c.Context(), folder.Log(), follow))
		},
	}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as the log grows, until Ctrl-C")
	return c
}

// copyLog writes the log as it is; following looks for more four times a second.
func (a *app) copyLog(ctx context.Context, path string, follow bool) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fail(exitFailed, "", errors.New("there is no log: no cloud has been started in the background"))
	} else if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer f.Close()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.Copy(a.env.Stdout, f); err != nil {
			return fmt.Errorf("copy log: %w", err)
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // how following is meant to end
		case <-tick.C:
		}
	}
}

func (a *app) cloudResetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reset",
		Short: "Stop the cloud and forget everything it holds",
		Args:  args(cobra.NoArgs),
		RunE: a.result(func(ctx context.Context, _ []string) (Result, error) {
			folder, err := a.folder()
			if err != nil {
				return nil, err
			}
			if err := a.confirm(ctx, fmt.Sprintf("Forget the cloud in %s, with all its stacks, data and credentials", folder)); err != nil {
				return nil, err
			}
			return cloudResetResult{string(folder)}, folder.Reset(ctx)
		}),
	}
}

type cloudResetResult struct {
	Folder string `json:"folder"`
}

// Text implements Result.
func (r cloudResetResult) Text(p *ui.Page) { p.Line("The cloud in", r.Folder, "is forgotten.") }
