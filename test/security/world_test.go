// Package security takes away each permission that the system has, one at a
// time, and gives it more than it has: verification must notice both, and the
// system must miss what is taken away.
package security

import (
	"archive/zip"
	"bytes"
	"context"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"miniforge/internal/access"
	"miniforge/internal/artifact"
	"miniforge/internal/check"
	"miniforge/internal/cloud"
	"miniforge/internal/graph"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
	"miniforge/internal/verify"
)

// A world is the whole system, pipeline included, on a cloud of its own.
type world struct {
	*testing.T
	stack *stack.Stack
	run   *verify.Run
	// transport leads to the stack's own API, too.
	transport http.RoundTripper
	// checks are those of suite security, by id.
	checks map[string]check.Check
}

// shared is the world of this process. Tests leave it as they found it.
var shared struct {
	sync.Mutex
	cloud *cloud.Cloud
	stack *stack.Stack
	err   error
	lived bool
	other []byte // code of a function that is not that of the sources
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if shared.cloud != nil {
		_ = shared.cloud.Close()
	}
	os.Exit(code)
}

// newWorld brings the system up at its first call.
func newWorld(t *testing.T) *world {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.stack == nil && shared.err == nil {
		shared.cloud, shared.stack, shared.err = up(context.WithoutCancel(t.Context()))
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	w := &world{T: t, stack: shared.stack, transport: shared.cloud.Transport()}
	w.asks(verify.Options{})
	return w
}

// asks prepares the checks.
func (w *world) asks(o verify.Options) {
	w.Helper()
	o.HTTP = &http.Client{Transport: w.transport}
	w.run, w.checks = verify.New(w.stack, o), map[string]check.Check{}
	suites, err := w.run.Suites("security")
	if err != nil {
		w.Fatal(err)
	}
	for _, c := range suites[0].Checks {
		w.checks[c.ID] = c
	}
}

// up makes a cloud, and the whole stack in it.
func up(ctx context.Context) (*cloud.Cloud, *stack.Stack, error) {
	o, err := build(ctx)
	if err != nil {
		return nil, nil, err
	}
	// The first delivery is to find a function whose code is another.
	if shared.other, err = commented(o.Packages[stack.InventoryChecker]); err != nil {
		return nil, nil, err
	}
	o.Packages[stack.InventoryChecker] = shared.other
	c, err := cloud.New(ctx, cloud.Options{Audit: recorded.add})
	if err != nil {
		return nil, nil, err
	}
	s, err := ensure(ctx, c, o)
	return c, s, err
}

// build makes what a stack is made of.
func build(ctx context.Context) (stack.Options, error) {
	source := filepath.Join("..", "..")
	o := stack.Options{Platform: runtime.GOOS, Packages: map[string][]byte{}}
	if runtime.GOARCH == "arm64" {
		o.Architecture = "arm64"
	}
	out, err := os.MkdirTemp("", "miniforge-security-")
	if err != nil {
		return o, err
	}
	defer os.RemoveAll(out)
	built, err := artifact.Build(ctx, artifact.Options{Source: source, Out: out, GOOS: runtime.GOOS, GOARCH: runtime.GOARCH})
	if err != nil {
		return o, err
	}
	for _, p := range built {
		if o.Packages[p.Function], err = p.Bytes(); err != nil {
			return o, err
		}
	}
	sources, err := artifact.Sources(source)
	for _, f := range sources {
		o.Sources = append(o.Sources, resource.File(f))
	}
	return o, err
}

// ensure makes the stack in a cloud.
func ensure(ctx context.Context, c *cloud.Cloud, o stack.Options) (*stack.Stack, error) {
	o.Names = stack.Names{Name: "test", Account: c.Account, Region: c.Region}
	s, err := stack.New(aws.Config{
		Region: c.Region, BaseEndpoint: aws.String("http://cloud.test"), HTTPClient: &http.Client{Transport: c.Transport()},
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	}, o)
	if err != nil {
		return nil, err
	}
	g, err := s.Graph()
	if err == nil {
		_, err = g.Ensure(ctx, graph.Options{})
	}
	if err == nil {
		_, err = s.Seed(ctx)
	}
	return s, err
}

// commented is the same archive, by other bytes.
func commented(archive []byte) ([]byte, error) {
	old, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range old.File {
		if err := z.Copy(f); err != nil {
			return nil, err
		}
	}
	if err := z.SetComment("the same, and yet another"); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}

// policies are all that there are: what the cloud lists, not what is declared.
func (w *world) policies() []access.Policy {
	w.Helper()
	holders, err := access.Holders(w.Context(), w.stack)
	if err != nil {
		w.Fatal(err)
	}
	var all []access.Policy
	for _, h := range holders {
		policies, err := access.Read(w.Context(), w.stack, h)
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, policies...)
	}
	return all
}

// judge runs the check of a holder.
func (w *world) judge(h access.Holder) check.Result {
	w.Helper()
	id := "permissions." + string(h.Kind) + "/" + h.Name
	if h.Kind == access.LogDelivery {
		id = "permissions.log-delivery/" + h.Name
	}
	c, ok := w.checks[id]
	if !ok {
		w.Fatalf("no check %s: what is it that has a policy there?", id)
	}
	return check.Do(w.Context(), c)
}

// complaints are the claims that did not hold, as texts.
func complaints(r check.Result) (texts []string) {
	for _, c := range r.Failed() {
		texts = append(texts, c.String())
	}
	return texts
}

func TestAllIsAsDeclared(t *testing.T) {
	w := newWorld(t)
	for _, p := range w.policies() {
		r := w.judge(p.Holder)
		if r.Outcome != check.Pass {
			t.Errorf("%s: %s %s %v", p, r.Outcome, r.Reason, complaints(r))
		}
	}
	for _, id := range []string{"permissions.holders", "permissions.grants"} {
		if r := check.Do(t.Context(), w.checks[id]); r.Outcome != check.Pass {
			t.Errorf("%s: %s %s %v", id, r.Outcome, r.Reason, complaints(r))
		}
	}
}
