package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"miniforge/internal/delivery"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
	"miniforge/internal/target"
	"miniforge/internal/ui"
)

type deployOptions struct {
	message, source string
	wait            bool
}

// maxMessage is CodeCommit's limit on the message of a commit, in bytes.
const maxMessage = 256 << 10

func (a *app) deployCommand() *cobra.Command {
	var o deployOptions
	c := &cobra.Command{
		Use:   "deploy",
		Short: "Deliver changed sources through the pipeline to the functions",
		Long: `Pushes what changed to the repository, starts the pipeline, and follows it stage by stage
until every alias is where it should be. Nothing changed: says so. A build that fails
leaves the aliases where they were; a deployment that fails is rolled back.`,
		Args: args(cobra.NoArgs),
	}
	c.RunE = a.result(func(ctx context.Context, _ []string) (Result, error) {
		if len(o.message) > maxMessage {
			return nil, usageError(c, fmt.Errorf("the message has %d bytes, a commit's may have %d", len(o.message), maxMessage))
		}
		return a.deploy(ctx, o)
	})
	f := c.Flags()
	f.StringVarP(&o.message, "message", "m", "Deliver changed sources", "message of the commit")
	f.StringVar(&o.source, "source", "", "checkout with the functions' sources (default: the one around the working directory)")
	f.BoolVar(&o.wait, "wait", true, "follow the execution until it has ended")
	return c
}

func (a *app) deploy(ctx context.Context, o deployOptions) (Result, error) {
	began := time.Now()
	source, err := a.source(o.source)
	if err != nil {
		return nil, err
	}
	files, err := filesOf(source)
	if err != nil {
		return nil, err
	}
	t, err := a.open(ctx, target.StartKnown)
	if err != nil {
		return nil, err
	}
	lock, err := a.lock(t, "deploy")
	if err != nil {
		return nil, err
	}
	defer lock.Unlock() //nolint:errcheck // the process's end unlocks as well
	so := a.stackOptions(t)
	so.Sources = files
	s, err := stack.New(t.Config, so)
	if err != nil {
		return nil, err
	}
	r := deployResult{Stack: a.name, Place: placeOf(t), Functions: []shift{}, Failures: []delivery.Failure{}}
	if err := a.deliver(ctx, s, o, &r); err != nil && r.Execution.ID == "" {
		return nil, err // nothing was started
	} else if err != nil {
		r.Took = time.Since(began)
		return r, err
	}
	r.Took = time.Since(began)
	return r, nil
}

// deliver pushes, starts and follows.
func (a *app) deliver(ctx context.Context, s *stack.Stack, o deployOptions, r *deployResult) error {
	before, err := versions(ctx, s)
	if err != nil {
		return err
	}
	d, err := s.Deliver(ctx, func(ctx context.Context) (resource.Pushed, error) { return a.push(ctx, s, o.message) })
	r.Pushed, r.Execution, r.Unchanged = d.Pushed, d.Execution, d.Unchanged
	if err != nil {
		return err
	}
	r.Functions = shifts(before, before)
	if r.Unchanged {
		return nil
	}
	pipeline := s.Delivery()
	if !o.wait {
		return nil
	}
	if r.Execution, err = a.follow(ctx, pipeline, r.Execution.ID); err != nil {
		return fmt.Errorf("follow execution %s, which goes on: %w", r.Execution.ID, err)
	}
	r.Followed = true
	after, err := versions(ctx, s)
	if err != nil {
		return err
	}
	r.Functions = shifts(before, after)
	if r.Execution.Succeeded() {
		return nil
	}
	r.Failures = pipeline.Failures(ctx, r.Execution)
	return r.failed()
}

// push sends what changed, as progress.
func (a *app) push(ctx context.Context, s *stack.Stack, message string) (resource.Pushed, error) {
	p := a.show()
	p.Title("Pushing sources to "+s.Repository(), 1)
	p.Start("push")
	pushed, err := s.Push(ctx, message)
	switch {
	case err != nil:
		p.End("push", ui.Failed, firstLine(err))
	case pushed.Commits == 0:
		p.End("push", ui.Unchanged, "nothing changed")
	default:
		p.End("push", ui.Changed, fmt.Sprintf("%s: %s", shortCommit(pushed.Commit), filesText(pushed)))
	}
	return pushed, err
}

// follow shows each action as a task.
func (a *app) follow(ctx context.Context, pipeline *delivery.Pipeline, id string) (delivery.Execution, error) {
	p := a.show()
	p.Title("Execution "+id, 3)
	return pipeline.Follow(ctx, id, func(action delivery.Action) {
		p.Start(action.ID())
		switch {
		case action.Running() && action.Phase != "":
			p.Note(action.ID(), strings.ToLower(strings.ReplaceAll(action.Phase, "_", " ")))
		case action.Running():
		case action.Status == "Succeeded":
			p.End(action.ID(), ui.Changed, "succeeded")
		case action.Status == "Failed":
			p.End(action.ID(), ui.Failed, cmp.Or(action.Reason, "failed"))
		default:
			p.End(action.ID(), ui.Skipped, strings.ToLower(action.Status))
		}
	})
}

// versions are those behind the aliases, in the order of stack.FunctionNames.
func versions(ctx context.Context, s *stack.Stack) ([]string, error) {
	var list []string
	for _, f := range stack.FunctionNames() {
		alias, err := s.Clients.Lambda.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: aws.String(s.Function(f)), Name: aws.String(stack.LiveAlias)})
		if err != nil {
			return nil, fmt.Errorf("read alias of %s: %w", f, err)
		}
		list = append(list, aws.ToString(alias.FunctionVersion))
	}
	return list, nil
}

func shifts(before, after []string) []shift {
	list := make([]shift, len(before))
	for i, f := range stack.FunctionNames() {
		list[i] = shift{Function: f, From: before[i], To: after[i]}
	}
	return list
}

type deployResult struct {
	Stack string `json:"stack"`
	Place
	Pushed resource.Pushed `json:"pushed"`
	// Unchanged means that there was nothing to push and nothing to deliver.
	Unchanged bool               `json:"unchanged"`
	Execution delivery.Execution `json:"execution"`
	Followed  bool               `json:"followed"`  // until its end
	Functions []shift            `json:"functions"` // what is behind their aliases
	Failures  []delivery.Failure `json:"failures"`
	Took      time.Duration      `json:"took_ns"`
}

// A shift is what a delivery did to the alias of a function.
type shift struct {
	Function string `json:"function"`
	From     string `json:"from"`
	To       string `json:"to"`
}

// failed is the error of an execution that ended, and not well.
func (r *deployResult) failed() error {
	var where []string
	for _, f := range r.Failures {
		where = append(where, f.Stage+": "+cmp.Or(f.Reason, "failed"))
	}
	moved := 0
	for _, f := range r.Functions {
		if f.From != f.To {
			moved++
		}
	}
	next := "what serves did not change; mend the sources and deploy again"
	switch {
	case r.Execution.Status == "Superseded":
		return fail(exitFailed, "run deploy again to follow the newer one", errors.New("a newer execution has superseded this one"))
	case moved > 0:
		next = fmt.Sprintf("%d functions were shifted before; mend the sources and deploy again", moved)
	}
	if len(where) == 0 {
		where = append(where, "execution "+r.Execution.ID)
	}
	return fail(exitFailed, next, fmt.Errorf("the pipeline ended as %s: %s", strings.ToLower(r.Execution.Status), strings.Join(where, "; ")))
}

// Text implements Result.
func (r deployResult) Text(p *ui.Page) {
	for _, f := range r.Failures {
		p.Line(p.Bad(f.ID()+" failed:"), ui.Clean(f.Reason))
		for _, l := range f.Lines {
			p.Line("  ", ui.Clean(l))
		}
		if f.Stream != "" {
			p.Line(p.Dim("  log: " + f.Group + " " + f.Stream))
		}
	}
	switch {
	case r.Unchanged:
		p.Line(p.Bold("Nothing changed:"), "commit", shortCommit(r.Pushed.Commit), "is live.")
	case !r.Followed:
		p.Line(p.Bold("Execution "+r.Execution.ID), "delivers commit", shortCommit(r.Pushed.Commit)+";", "miniforge deploy follows it, miniforge status tells how it ended.")
		return
	case r.Execution.Succeeded():
		p.Line(p.Bold("Delivered"), "commit", shortCommit(r.Pushed.Commit)+",", filesText(r.Pushed), p.Dim("in "+ui.Duration(r.Took)))
	}
	rows := make([][]string, 0, len(r.Functions))
	for _, f := range r.Functions {
		change := p.Dim("unchanged")
		if f.From != f.To {
			change = p.Good(f.From + " -> " + f.To)
		}
		rows = append(rows, []string{f.Function, f.To, change})
	}
	p.Line()
	p.Table([]string{"FUNCTION", "LIVE VERSION", "CHANGE"}, rows)
}

func shortCommit(id string) string { return id[:min(len(id), 10)] }

// filesText is "2 files changed, 1 removed".
func filesText(p resource.Pushed) string {
	if len(p.Changed)+len(p.Deleted) == 0 {
		return "no files changed"
	}
	text := fmt.Sprintf("%d files changed", len(p.Changed))
	if len(p.Changed) == 1 {
		text = p.Changed[0] + " changed"
	}
	if len(p.Deleted) > 0 {
		text += fmt.Sprintf(", %d removed", len(p.Deleted))
	}
	return text
}
