package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/delivery"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
)

// A checkout is sources of which the Build stage takes no time: it copies
// archives, and the program of the Deploy stage is there already.
type checkout struct{ program, appspec string }

func newCheckout(t *testing.T) checkout {
	t.Helper()
	c := checkout{program: filepath.Join(t.TempDir(), "miniforge-deploy")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", c.program, "./cmd/miniforge-deploy")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	appspec, err := os.ReadFile(filepath.Join(build.Dir, "appspec.yml"))
	if err != nil {
		t.Fatal(err)
	}
	c.appspec = string(appspec)
	return c
}

// changed is the function that an edition of the sources changes.
const changed = "payment-processor"

func (c checkout) files(edition int) []resource.File {
	files := []resource.File{
		{Path: "appspec.yml", Content: []byte(c.appspec)},
		{Path: "miniforge-deploy", Content: []byte("#!/bin/sh\nexec " + c.program + ` "$@"` + "\n"), Executable: true},
		{Path: "buildspec.yml", Content: []byte(`version: 0.2
phases:
  build:
    commands:
      - mkdir dist
      - cp appspec.yml miniforge-deploy *.zip dist/
artifacts:
  base-directory: dist
  files: ['**/*']
`)},
	}
	for _, f := range stack.FunctionNames() {
		code := archive("0")
		if f == changed {
			code = archive(fmt.Sprint(edition))
		}
		files = append(files, resource.File{Path: f + ".zip", Content: code})
	}
	return files
}

// deploy is what the command of this name does between its locks.
func deploy(ctx context.Context, s *stack.Stack) error {
	d, err := s.Deliver(ctx, func(ctx context.Context) (resource.Pushed, error) { return s.Push(ctx, "an edition") })
	if err != nil || d.Unchanged {
		return err
	}
	e, err := s.Delivery().Follow(ctx, d.Execution.ID, func(delivery.Action) {})
	if err == nil && !e.Succeeded() {
		err = fmt.Errorf("execution %s: %s: %+v", e.ID, e.Status, s.Delivery().Failures(ctx, e))
	}
	return err
}

// A state is what deliveries have made of a stack.
type state struct {
	Versions   []string // function, version behind its alias, and how many there are
	Commits    int
	Executions []string // how they ended, the last one first
	Inventory  []string
}

func (a *account) state() state {
	a.t.Helper()
	s := a.stack(a.Transport())
	var x state
	if err := errors.Join(x.functions(a.t.Context(), s), x.commits(a.t.Context(), s), x.executions(a.t.Context(), s)); err != nil {
		a.t.Fatal(err)
	}
	for _, line := range a.inventory() {
		if !strings.HasPrefix(line, "function ") { // whose versions are counted above
			x.Inventory = append(x.Inventory, line)
		}
	}
	return x
}

func (x *state) functions(ctx context.Context, s *stack.Stack) error {
	for _, f := range stack.FunctionNames() {
		alias, err := s.Clients.Lambda.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: aws.String(s.Function(f)), Name: aws.String(stack.LiveAlias)})
		if err != nil {
			return err
		}
		versions, err := s.Clients.Lambda.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: aws.String(s.Function(f))})
		if err != nil {
			return err
		}
		x.Versions = append(x.Versions, fmt.Sprintf("%s: %s of %d", f, *alias.FunctionVersion, len(versions.Versions)-1)) // one is $LATEST
	}
	return nil
}

func (x *state) commits(ctx context.Context, s *stack.Stack) error {
	branch, err := s.Clients.CodeCommit.GetBranch(ctx, &codecommit.GetBranchInput{RepositoryName: aws.String(s.Repository()), BranchName: aws.String(stack.Branch)})
	if err != nil {
		return err
	}
	for id := *branch.Branch.CommitId; id != ""; x.Commits++ {
		c, err := s.Clients.CodeCommit.GetCommit(ctx, &codecommit.GetCommitInput{RepositoryName: aws.String(s.Repository()), CommitId: &id})
		if err != nil {
			return err
		}
		id = strings.Join(c.Commit.Parents, "")
	}
	return nil
}

func (x *state) executions(ctx context.Context, s *stack.Stack) error {
	list, err := s.Clients.CodePipeline.ListPipelineExecutions(ctx, &codepipeline.ListPipelineExecutionsInput{PipelineName: aws.String(s.Pipeline())})
	if err != nil {
		return err
	}
	for _, e := range list.PipelineExecutionSummaries {
		x.Executions = append(x.Executions, string(e.Status))
	}
	return nil
}

// next is the state after one more undisturbed delivery.
func (x state) next() state {
	var version, of int
	n := x
	n.Versions = slices.Clone(x.Versions)
	i := slices.IndexFunc(n.Versions, func(v string) bool { return strings.HasPrefix(v, changed) })
	if _, err := fmt.Sscanf(n.Versions[i], changed+": %d of %d", &version, &of); err != nil {
		panic(err) // its own text
	}
	n.Versions[i] = fmt.Sprintf("%s: %d of %d", changed, version+1, of+1)
	n.Commits++
	n.Executions = append([]string{"Succeeded"}, x.Executions...)
	return n
}

// TestDeployIsCutAnywhere kills deploy at one call after the other, and runs it
// again: the sources are delivered once, by one commit and one execution, as if
// nothing had happened.
func TestDeployIsCutAnywhere(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	a := newAccount(t)
	edition := 0
	a.sources = c.files(edition)
	a.must("up", up)
	a.must("the delivery that comes with the pipeline", deploy)
	step := func(what string, run func()) {
		t.Helper()
		want := a.state().next()
		edition++
		a.sources = c.files(edition)
		run()
		if diff := cmp.Diff(want, a.state()); diff != "" {
			t.Fatalf("after %s (-want +got):\n%s", what, diff)
		}
	}
	calls := 0
	step("a deploy that nobody disturbs", func() { calls = a.count(deploy) })
	a.must("deploy without changes", deploy)
	t.Logf("deploy makes %d calls", calls)
	// Behind these calls it only waits, asking the same again and again.
	const work = 12
	for _, after := range []bool{false, true} {
		for n := 1; n <= min(calls, work); n++ {
			if !*everyCall && (n%3 == 0) == after {
				continue
			}
			step(fmt.Sprintf("a deploy that was killed at call %d, after its effect %v", n, after), func() {
				a.cut(deploy, n, after)
				a.must("deploy after a killed deploy", deploy)
			})
		}
	}
}
