package cli

import (
	"context"
	"runtime"

	"github.com/spf13/cobra"

	"miniforge/internal/ui"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  args(cobra.NoArgs),
		RunE: a.result(func(context.Context, []string) (Result, error) {
			return versionResult{version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}, nil
		}),
	}
}

type versionResult struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Text implements Result.
func (r versionResult) Text(p *ui.Page) { p.Line("miniforge", r.Version, r.Go, r.Platform) }
