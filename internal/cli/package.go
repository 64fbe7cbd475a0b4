package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"miniforge/internal/artifact"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

type packageOptions struct{ out, source, goos, goarch string }

func (a *app) packageCommand() *cobra.Command {
	var o packageOptions
	c := &cobra.Command{
		Use:   "package",
		Short: "Build the functions' archives: same sources, same bytes",
		Args:  args(cobra.NoArgs),
	}
	c.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		if o.goos == "" {
			o.goos = "linux"
			if a.target == target.Local {
				o.goos = runtime.GOOS // there functions are processes of this machine
			}
		}
		if o.goarch == "" {
			o.goarch = "amd64"
			if a.target == target.Local {
				o.goarch = runtime.GOARCH
			}
		}
		if !slices.Contains([]string{"amd64", "arm64"}, o.goarch) {
			return nil, usageError(c, fmt.Errorf("architecture %q: want amd64 or arm64", o.goarch))
		}
		return a.package_(ctx, o)
	})
	f := c.Flags()
	f.StringVar(&o.out, "out", "dist", "folder for the archives")
	f.StringVar(&o.source, "source", "", "checkout with the functions' sources (default: the one around the working directory)")
	f.StringVar(&o.goos, "goos", "", "operating system (default: that of the target)")
	f.StringVar(&o.goarch, "goarch", "", "amd64 or arm64 (default: that of the target)")
	return c
}

func (a *app) package_(ctx context.Context, o packageOptions) (Result, error) { //nolint:revive // package is a keyword
	if o.out == "" {
		return nil, fail(exitUsage, "", errors.New("the folder for the archives is empty"))
	}
	if !filepath.IsAbs(o.out) {
		o.out = filepath.Join(a.env.Dir, o.out)
	}
	list, err := a.buildInto(ctx, artifact.Options{Source: o.source, Out: o.out, GOOS: o.goos, GOARCH: o.goarch})
	if err != nil {
		return nil, err
	}
	return packageResult{list}, nil
}

type packageResult struct {
	Packages []artifact.Package `json:"packages"`
}

// Text implements Result.
func (r packageResult) Text(p *ui.Page) {
	rows := make([][]string, len(r.Packages))
	for i, a := range r.Packages {
		rows[i] = []string{a.Function, fmt.Sprintf("%.1f MB", float64(a.Size)/1e6), a.SHA256, a.Path}
	}
	p.Table([]string{"FUNCTION", "SIZE", "SHA-256", "ARCHIVE"}, rows)
}
