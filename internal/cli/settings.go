package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"miniforge/internal/stack"
	"miniforge/internal/target"
)

// globals are the global flags.
type globals struct {
	target, name, region, profile, output, config string
	quiet, noColor, yes                           bool
	timeout                                       time.Duration

	fromSDK bool // the target comes from AWS_ENDPOINT_URL
}

func (a *app) globalFlags(f *pflag.FlagSet) {
	f.StringVar(&a.target, "target", target.Local, "local, aws, or the URL of an AWS-compatible endpoint")
	f.StringVar(&a.name, "name", stack.DefaultName, "name of the stack")
	f.StringVar(&a.region, "region", "", "AWS region")
	f.StringVar(&a.profile, "profile", "", "profile of the AWS configuration")
	f.StringVarP(&a.output, "output", "o", "text", "text or json")
	f.StringVar(&a.config, "config", "", "configuration file (default: miniforge/config.yaml in the XDG config home)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "show no progress")
	f.BoolVar(&a.noColor, "no-color", false, "use no colour")
	f.BoolVarP(&a.yes, "yes", "y", false, "confirm what destructive commands ask")
	f.DurationVar(&a.timeout, "timeout", 0, "give up after this time, such as 90s (0: never)")
}

// environment names the variables of global flags, the first that is set wins.
// The profile, and the region of one, are left to the SDK's own chain.
var environment = map[string][]string{
	"target":   {"MINIFORGE_TARGET", "AWS_ENDPOINT_URL"},
	"name":     {"MINIFORGE_NAME"},
	"region":   {"MINIFORGE_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"},
	"profile":  {"MINIFORGE_PROFILE"},
	"output":   {"MINIFORGE_OUTPUT"},
	"quiet":    {"MINIFORGE_QUIET"},
	"no-color": {"MINIFORGE_NO_COLOR"},
	"yes":      {"MINIFORGE_YES"},
	"timeout":  {"MINIFORGE_TIMEOUT"},
}

// settle gives every global flag its value: flag, environment, file, default,
// in this order; and remembers which command runs.
func (a *app) settle(c *cobra.Command, _ []string) error {
	a.command = c
	given := func(name string) bool { return c.Flags().Changed(name) }
	var wanted []string
	for name := range environment {
		if !given(name) {
			wanted = append(wanted, name)
		}
	}
	slices.Sort(wanted)
	file, path, err := a.readConfig(given("config"))
	if err != nil {
		return usageError(c, err)
	}
	for _, name := range wanted {
		if err := a.settleOne(c.Flags(), name, file, path); err != nil {
			return usageError(c, err)
		}
	}
	if a.output != "text" && a.output != "json" {
		bad := a.output
		a.output = "text"
		return usageError(c, fmt.Errorf("output %q: want text or json", bad))
	}
	if err := target.Parse(a.target); err != nil {
		return usageError(c, err)
	}
	if err := (stack.Names{Name: a.name, Account: "000000000000", Region: cmp.Or(a.region, "us-east-1")}).Validate(); err != nil {
		return usageError(c, err)
	}
	if a.timeout < 0 {
		return usageError(c, fmt.Errorf("timeout %s is negative", a.timeout))
	}
	return nil
}

func (a *app) settleOne(flags *pflag.FlagSet, name string, file map[string]string, path string) error {
	value, source := "", ""
	for _, variable := range environment[name] {
		if v := a.env.Getenv(variable); v != "" {
			value, source = v, variable
			break
		}
	}
	if source == "" {
		v, is := file[name]
		if !is {
			return nil
		}
		value, source = v, path
	}
	if err := flags.Lookup(name).Value.Set(value); err != nil {
		return fmt.Errorf("%s: %s: %w", source, name, err)
	}
	a.fromSDK = a.fromSDK || source == "AWS_ENDPOINT_URL"
	return nil
}

// readConfig reads the configuration file. Only one that was asked for must exist.
func (a *app) readConfig(asked bool) (values map[string]string, path string, err error) {
	if path = a.config; path == "" {
		path, asked = a.env.Getenv("MINIFORGE_CONFIG"), a.env.Getenv("MINIFORGE_CONFIG") != ""
	}
	if path == "" {
		home := a.env.Getenv("XDG_CONFIG_HOME")
		if !filepath.IsAbs(home) {
			home = filepath.Join(a.env.Getenv("HOME"), ".config")
		}
		path = filepath.Join(home, "miniforge", "config.yaml")
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
		return nil, path, nil
	case err != nil:
		return nil, path, fmt.Errorf("read configuration: %w", err)
	}
	var raw map[string]any
	if err := yaml.Unmarshal(data, &raw); err != nil {
		return nil, path, fmt.Errorf("read configuration %s: %w", path, err)
	}
	values = map[string]string{}
	for key, v := range raw {
		if _, is := environment[key]; !is {
			known := make([]string, 0, len(environment))
			for k := range environment {
				known = append(known, k)
			}
			slices.Sort(known)
			return nil, path, fmt.Errorf("read configuration %s: unknown setting %q; there are %s", path, key, strings.Join(known, ", "))
		}
		values[key] = fmt.Sprint(v)
	}
	return values, path, nil
}
