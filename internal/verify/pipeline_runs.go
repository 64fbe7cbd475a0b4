package verify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	"github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"miniforge/internal/delivery"
	"miniforge/internal/order"
	"miniforge/internal/stack"
)

// A courier delivers changes of its own through the pipeline, and takes them
// back. It works on what the repository holds: no checkout is needed.
type courier struct {
	lab   *lab
	stack *stack.Stack

	mu       sync.Mutex
	original []byte          // appspec.yml, while it is changed
	probes   map[string]bool // files that were added and are still there
	pushed   bool            // something was delivered and not put back yet
}

// live is what is behind the alias of a function.
type live struct{ version, sha, weights, last string }

// A run is one delivery, and what served after it.
type run struct {
	commit    string
	execution delivery.Execution
	failures  []delivery.Failure
	after     map[string]live
	took      time.Duration
}

// A series is all deliveries of one verification.
type series struct {
	before                              map[string]live
	delivered, broken, hooked, restored run
	flow                                flow
}

// probePath is the file that a delivery adds to a function.
func probePath(function string) string { return "handlers/" + function + "/verify_probe.go" }

// probeSource changes the bytes of a function and nothing that it does.
func probeSource(mark string) []byte {
	return fmt.Appendf(nil, `package main

import "os"

// Added by miniforge verify, which takes it away again.
func init() {
	if os.Getenv("MINIFORGE_PROBE") == %q {
		os.Exit(0)
	}
}
`, mark)
}

// series delivers four times, and leaves everything as it was.
func (c *courier) series(ctx context.Context) (*series, error) {
	s := &series{}
	var err error
	// The pipeline's first execution, or somebody's, has to end first.
	if err := c.quiet(ctx); err != nil {
		return nil, err
	}
	if s.before, err = c.lives(ctx); err != nil {
		return nil, err
	}
	put := map[string][]byte{}
	for _, f := range stack.FunctionNames() {
		put[probePath(f)] = probeSource(c.lab.run)
	}
	stop := c.lab.stream(ctx, &s.flow)
	s.delivered, err = c.deliver(ctx, "Verification: change every function", put, nil)
	if flowing := stop(); err != nil || flowing != nil {
		return nil, errors.Join(err, flowing)
	}
	s.broken, err = c.deliver(ctx, "Verification: break a function", map[string][]byte{probePath(stack.OrderIntake): []byte("package main\n\nfunc broken( {\n")}, nil)
	if err != nil {
		return nil, err
	}
	if s.hooked, err = c.failHook(ctx); err != nil {
		return nil, err
	}
	s.restored, err = c.restore(ctx)
	return s, err
}

// failHook delivers one changed function with a hook that cannot succeed, as
// there is no such function.
func (c *courier) failHook(ctx context.Context) (run, error) {
	file, err := c.stack.Clients.CodeCommit.GetFile(ctx, &codecommit.GetFileInput{
		RepositoryName: aws.String(c.stack.Repository()), FilePath: aws.String(appspec), CommitSpecifier: aws.String(stack.Branch),
	})
	if err != nil {
		return run{}, fmt.Errorf("read %s: %w", appspec, err)
	}
	c.mu.Lock()
	c.original = file.FileContent
	c.mu.Unlock()
	hook := fmt.Appendf(nil, "%s\nHooks:\n  - BeforeAllowTraffic: %sverify-%s\n", file.FileContent, c.stack.HookPrefix(), c.lab.run)
	return c.deliver(ctx, "Verification: fail a hook", map[string][]byte{
		appspec: hook, probePath(stack.OrderIntake): probeSource(c.lab.run), probePath(stack.InventoryChecker): probeSource(c.lab.run + "-hooked"),
	}, nil)
}

const appspec = "appspec.yml"

// restore takes back what was pushed, and delivers that. Without anything to
// take back it does nothing.
func (c *courier) restore(ctx context.Context) (run, error) {
	c.mu.Lock()
	put, remove := map[string][]byte{}, []string{}
	if c.original != nil {
		put[appspec] = c.original
	}
	for path := range c.probes {
		remove = append(remove, path)
	}
	pushed := c.pushed
	c.mu.Unlock()
	if !pushed {
		return run{}, nil
	}
	r, err := c.deliver(ctx, "Verification: put everything back", put, remove)
	if err == nil && !r.execution.Succeeded() {
		return r, nil // claimed as what it is; close tries again
	}
	if err == nil {
		c.mu.Lock()
		c.original, c.probes, c.pushed = nil, nil, false
		c.mu.Unlock()
	}
	return r, err
}

// close puts back what a series that was cut short left.
func (c *courier) close(ctx context.Context) error {
	r, err := c.restore(ctx)
	if err == nil && r.execution.ID != "" && !r.execution.Succeeded() {
		err = fmt.Errorf("execution %s is %s", r.execution.ID, r.execution.Status)
	}
	if err != nil {
		return fmt.Errorf("put the functions' sources back (miniforge deploy does it as well): %w", err)
	}
	return nil
}

// deliver commits changes, runs the pipeline, and looks at what serves then.
func (c *courier) deliver(ctx context.Context, message string, put map[string][]byte, remove []string) (run, error) {
	began := time.Now()
	var r run
	var err error
	if r.commit, err = c.commit(ctx, message, put, remove); err != nil {
		return r, err
	}
	pipeline := c.stack.Delivery()
	id, err := pipeline.Start(ctx)
	if err != nil {
		return r, err
	}
	if r.execution, err = pipeline.Follow(ctx, id, func(delivery.Action) {}); err != nil {
		return r, fmt.Errorf("follow %q: %w", message, err)
	}
	r.took = time.Since(began)
	r.failures = pipeline.Failures(ctx, r.execution)
	r.after, err = c.lives(ctx)
	return r, err
}

// commit makes one commit on the branch and remembers what has to be taken
// back, also if its answer is lost.
func (c *courier) commit(ctx context.Context, message string, put map[string][]byte, remove []string) (string, error) {
	api, name := c.stack.Clients.CodeCommit, aws.String(c.stack.Repository())
	branch, err := api.GetBranch(ctx, &codecommit.GetBranchInput{RepositoryName: name, BranchName: aws.String(stack.Branch)})
	if err != nil {
		return "", fmt.Errorf("read branch: %w", err)
	}
	in := &codecommit.CreateCommitInput{
		RepositoryName: name, BranchName: aws.String(stack.Branch), ParentCommitId: branch.Branch.CommitId, CommitMessage: &message,
		AuthorName: aws.String("Miniforge Verification"), Email: aws.String("verify@miniforge.invalid"),
	}
	c.mu.Lock()
	c.pushed = true
	for path, content := range put {
		in.PutFiles = append(in.PutFiles, types.PutFileEntry{FilePath: &path, FileContent: content, FileMode: types.FileModeTypeEnumNormal})
		if path != appspec {
			if c.probes == nil {
				c.probes = map[string]bool{}
			}
			c.probes[path] = true
		}
	}
	c.mu.Unlock()
	for _, path := range remove {
		_, err := api.GetFile(ctx, &codecommit.GetFileInput{RepositoryName: name, FilePath: &path, CommitSpecifier: branch.Branch.CommitId})
		if _, absent := errors.AsType[*types.FileDoesNotExistException](err); absent {
			continue // a commit that failed, or a deploy that was quicker
		}
		in.DeleteFiles = append(in.DeleteFiles, types.DeleteFileEntry{FilePath: &path})
	}
	out, err := api.CreateCommit(ctx, in)
	if _, same := errors.AsType[*types.NoChangeException](err); same {
		return aws.ToString(branch.Branch.CommitId), nil
	} else if err != nil {
		return "", fmt.Errorf("commit %q: %w", message, err)
	}
	return aws.ToString(out.CommitId), nil
}

// quiet waits until no execution is running.
func (c *courier) quiet(ctx context.Context) error {
	last, err := c.stack.Delivery().Last(ctx)
	if err != nil || last == nil || !last.Running() {
		return err
	}
	_, err = c.stack.Delivery().Follow(ctx, last.ID, func(delivery.Action) {})
	return err
}

// lives reads what serves.
func (c *courier) lives(ctx context.Context) (map[string]live, error) {
	all := map[string]live{}
	for _, f := range stack.FunctionNames() {
		name := aws.String(c.stack.Function(f))
		alias, err := c.stack.Clients.Lambda.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: name, Name: aws.String(stack.LiveAlias)})
		if err != nil {
			return nil, fmt.Errorf("read alias of %s: %w", f, err)
		}
		code, err := c.stack.Clients.Lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: name, Qualifier: alias.FunctionVersion})
		if err != nil {
			return nil, fmt.Errorf("read live version of %s: %w", f, err)
		}
		l := live{version: aws.ToString(alias.FunctionVersion), sha: aws.ToString(code.CodeSha256), weights: "none"}
		if w := alias.RoutingConfig; w != nil && len(w.AdditionalVersionWeights) > 0 {
			l.weights = fmt.Sprint(w.AdditionalVersionWeights)
		}
		pages := lambda.NewListVersionsByFunctionPaginator(c.stack.Clients.Lambda, &lambda.ListVersionsByFunctionInput{FunctionName: name})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("list versions of %s: %w", f, err)
			}
			for _, v := range page.Versions {
				if newer(l.last, aws.ToString(v.Version)) {
					l.last = aws.ToString(v.Version)
				}
			}
		}
		all[f] = l
	}
	return all, nil
}

// newer reports whether a version is later than another. $LATEST is none.
func newer(than, version string) bool {
	a, _ := strconv.Atoi(than)
	b, _ := strconv.Atoi(version)
	return b > a
}

// A flow is what became of orders that were placed one after the other.
type flow struct {
	ends []order.Order
	errs []string
}

// pace is the time between two orders of a flow.
const pace = 50 * time.Millisecond

// stream places orders until the function that it returns is called, which
// then follows all of them to their end.
func (l *lab) stream(ctx context.Context, f *flow) (stop func() error) {
	stopping, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- l.keepPlacing(ctx, f, stopping) }()
	return func() error {
		close(stopping)
		return <-done
	}
}

// keepPlacing places twenty orders a second, whether or not those before have
// been answered, and waits for their ends.
func (l *lab) keepPlacing(ctx context.Context, f *flow, stopping <-chan struct{}) error {
	sku, err := l.newSKU(ctx, 1_000_000)
	if err != nil {
		<-stopping
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for flowing := true; flowing; {
		wg.Go(func() {
			o, err := l.fulfil(ctx, request("tok_visa", order.Item{SKU: sku, Quantity: 1}))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				f.errs = append(f.errs, err.Error())
				return
			}
			f.ends = append(f.ends, o)
		})
		select {
		case <-stopping:
			flowing = false
		case <-ctx.Done():
			flowing = false
		case <-tick.C:
		}
	}
	wg.Wait()
	return nil
}
