package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	tagging "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi"
	tagtypes "github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"
	"github.com/spf13/cobra"

	"miniforge/internal/graph"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/target/local"
	"miniforge/internal/ui"
)

func (a *app) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "Delete everything that up made, and prove that nothing is left",
		Long: `Deletes the stack's resources in the reverse order of their dependencies, then looks for
leftovers by name, by tag and by path. Exit code 6 means that something is left; it is
listed. What AWS keeps on purpose, such as keys pending deletion, is listed apart.`,
		Args: args(cobra.NoArgs),
		RunE: a.result(func(ctx context.Context, _ []string) (Result, error) { return a.down(ctx) }),
	}
}

func (a *app) down(ctx context.Context) (Result, error) {
	began := time.Now()
	r := downResult{Stack: a.name, Left: []stack.Leftover{}, Kept: []stack.Kept{}, Unproven: []string{}, Steps: []graph.Step{}}
	t, s, err := a.stack(ctx, target.StartKnown)
	if errors.Is(err, local.ErrNeverStarted) {
		return r, nil // without a cloud there is no stack
	}
	if err != nil {
		return nil, err
	}
	r.Place = placeOf(t)
	lock, err := a.lock(t, "down")
	if err != nil {
		return nil, err
	}
	defer lock.Unlock() //nolint:errcheck // the process's end unlocks as well
	if err := a.destroy(ctx, t, s, &r); err != nil && len(r.Steps) == 0 {
		return nil, err // nothing was done
	} else if err != nil {
		return r, err
	}
	r.Took = time.Since(began)
	if len(r.Left) > 0 {
		return r, fail(exitLeft, "repeat miniforge down; what stays must be removed by hand", fmt.Errorf("%d resources of stack %s are left", len(r.Left), a.name))
	}
	r.CloudStopped, err = a.leave(ctx, t)
	return r, err
}

// lateRounds is how often a stack is deleted again in which something appeared
// while it was being deleted: what a run that was killed had asked for may
// arrive after it.
const lateRounds = 3

// destroy deletes what there is, after asking, and sweeps.
func (a *app) destroy(ctx context.Context, t *target.Target, s *stack.Stack, r *downResult) error {
	g, err := s.Graph()
	if err != nil {
		return err
	}
	for range lateRounds {
		if err := a.destroyFound(ctx, t, g, r); err != nil {
			return err
		}
		probes, probesErr := s.RemoveProbes(ctx)
		r.Probes = append(r.Probes, probes...)
		p := a.show()
		p.Title("Looking for leftovers", 0)
		p.Start("sweep")
		left, err := s.Sweep(ctx)
		if err != nil {
			return fmt.Errorf("look for leftovers: %w", err)
		}
		p.End("sweep", ui.Unchanged, fmt.Sprintf("%d left", len(left.Left)))
		r.Left, r.Kept, r.Unproven = left.Left, left.Kept, left.Unproven
		if probesErr != nil {
			r.Unproven = append(r.Unproven, "what a verification may have left: "+probesErr.Error())
		}
		if !slices.ContainsFunc(left.Left, func(l stack.Leftover) bool { return l.Declared }) {
			break
		}
	}
	return nil
}

func (a *app) destroyFound(ctx context.Context, t *target.Target, g *graph.Graph, r *downResult) error {
	found, err := g.Inspect(ctx, a.walk(g, looking))
	if err != nil {
		return err
	}
	count := 0
	for _, step := range found {
		if step.Action != graph.Create && step.Action != graph.Foreign {
			count++
		}
	}
	if count == 0 {
		return nil
	}
	if len(r.Steps) == 0 { // else it was allowed before
		if err := a.confirm(ctx, fmt.Sprintf("Delete stack %s, %d resources in %s", a.name, count, place(t))); err != nil {
			return err
		}
	}
	walk, cancel := a.patient(ctx)
	defer cancel()
	steps, err := g.Destroy(walk, a.walk(g, "Deleting stack "+a.name))
	r.add(steps)
	return err
}

// leave stops a local cloud that was started for a stack, once it has none.
func (a *app) leave(ctx context.Context, t *target.Target) (bool, error) {
	if t.Kind != target.Local || !t.Local.Auto {
		return false, nil
	}
	if others, err := otherStacks(ctx, t.Config, a.name); err != nil || others {
		return false, err
	}
	folder, err := a.folder()
	if err != nil {
		return false, err
	}
	return folder.Stop(ctx)
}

// otherStacks reports whether anything is tagged as part of another stack. Keys
// do not count: they stay, pending deletion, after their stack.
func otherStacks(ctx context.Context, cfg aws.Config, name string) (bool, error) {
	pages := tagging.NewGetResourcesPaginator(tagging.NewFromConfig(cfg), &tagging.GetResourcesInput{
		TagFilters: []tagtypes.TagFilter{{Key: aws.String(resource.StackTag)}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return false, fmt.Errorf("look for other stacks: %w", err)
		}
		for _, m := range page.ResourceTagMappingList {
			for _, tag := range m.Tags {
				if aws.ToString(tag.Key) == resource.StackTag && aws.ToString(tag.Value) != name && !strings.Contains(aws.ToString(m.ResourceARN), ":kms:") {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

type downResult struct {
	Stack string `json:"stack"`
	Place
	Steps        []graph.Step     `json:"steps"`
	Left         []stack.Leftover `json:"left"`
	Kept         []stack.Kept     `json:"kept"`
	Unproven     []string         `json:"unproven"`
	Probes       []string         `json:"probes,omitempty"` // left by a verification that was killed, and removed
	CloudStopped bool             `json:"cloud_stopped"`
	Took         time.Duration    `json:"took_ns"`
}

// add takes in what became of the resources in one more round.
func (r *downResult) add(steps []graph.Step) {
	if len(r.Steps) == 0 {
		r.Steps = steps
		return
	}
	for _, s := range steps {
		if s.Changed() || s.Err != nil {
			r.Steps = append(r.Steps, s)
		}
	}
}

// Text implements Result.
func (r downResult) Text(p *ui.Page) {
	changed := make([]graph.Step, 0, len(r.Steps))
	for _, s := range r.Steps {
		if s.Changed() || s.Err != nil {
			changed = append(changed, s)
		}
	}
	p.Line(p.Bold("Stack "+r.Stack+":"), counts(changed, past), p.Dim("in "+ui.Duration(r.Took)))
	if len(r.Left) == 0 && r.Took > 0 {
		p.Line(p.Good("Nothing is left."))
	}
	for _, what := range r.Probes {
		p.Line(p.Dim("removed what a verification had left: " + ui.Clean(what)))
	}
	for _, l := range r.Left {
		p.Line(p.Bad("left"), ui.Clean(l.ID), p.Dim("found "+l.Found))
	}
	for _, k := range r.Kept {
		until := ""
		if !k.Until.IsZero() {
			until = " until " + k.Until.Format(time.DateOnly)
		}
		p.Line(p.Dim("kept by AWS" + until + ": " + ui.Clean(k.ARN) + " (" + k.Reason + ")"))
	}
	for _, u := range r.Unproven {
		p.Line(p.Warn("not looked at:"), ui.Clean(u))
	}
	if r.CloudStopped {
		p.Line("The local cloud has stopped.")
	}
}
