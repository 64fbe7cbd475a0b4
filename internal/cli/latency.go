package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"miniforge/internal/cloud/latency"
	"miniforge/internal/target"
	"miniforge/internal/target/local"
	"miniforge/internal/ui"
)

// latencyFlags say how long things take in the local cloud, where a command
// starts it. Nothing said is whatever a cloud that runs does, and no time in
// one that is started.
type latencyFlags struct {
	model string
	seed  uint64
}

func (o *latencyFlags) register(f *pflag.FlagSet) {
	f.StringVar(&o.model, "latency", "", "how long calls, deliveries and changes take in the local cloud: "+strings.Join(latency.Names(), ", "))
}

func (o *latencyFlags) check() error {
	_, err := latency.New(o.model, o.seed)
	return err
}

// arguments have "cloud start" do as the flags say.
func (o *latencyFlags) arguments() []string {
	if o.model == "" {
		return nil
	}
	return []string{"--latency=" + o.model, fmt.Sprintf("--seed=%d", o.seed)}
}

// running is the model of a cloud that is started.
func (o *latencyFlags) running() string {
	if o.model == latency.None {
		return ""
	}
	return o.model
}

// fits reports whether a cloud that runs does as the flags say.
func (o *latencyFlags) fits(s local.State) bool {
	switch o.model {
	case "":
		return true
	case latency.None:
		return s.Latency == ""
	}
	return s.Latency == o.model && (o.seed == 0 || o.seed == s.Seed)
}

// misfit says that a cloud that runs does not do as asked for.
func misfit(s local.State) error {
	return fail(exitFailed, "stop it by: miniforge cloud stop", fmt.Errorf("%w as process %d, and not as asked for", local.ErrRunning, s.PID))
}

// checkLatency checks the flags of a command that may start the local cloud.
func (a *app) checkLatency(c *cobra.Command) error {
	err := a.latency.check()
	if err == nil && a.latency.model != "" && a.target != target.Local {
		err = fmt.Errorf("--latency is of the local cloud: %s takes the time it takes", ui.Clean(a.target))
	}
	if err != nil {
		return usageError(c, err)
	}
	return nil
}
