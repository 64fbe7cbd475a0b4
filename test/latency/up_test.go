// Package latency brings the system up and takes it down on a cloud that takes
// its time as AWS does, in the time of a bubble: what passes there is waiting
// alone, so that how long a walk takes depends on the graph and on the draws,
// not on the machine.
package latency

import (
	"archive/zip"
	"bytes"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"go.uber.org/goleak"

	"miniforge/internal/cloud"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/graph"
	"miniforge/internal/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// most is how much longer than its critical path an up may take.
const most = 1.15

// TestLifeCycle does what the commands do: up, up again, down, and a look for
// what is left. Without the pipeline, whose builds are processes: they do not
// live in bubbles.
func TestLifeCycle(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("seed-%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { lifeCycle(t, seed) })
		})
	}
}

func lifeCycle(t *testing.T, seed uint64) {
	model, err := latency.New("aws", seed)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cloud.New(t.Context(), cloud.Options{Latency: model, Endpoint: "http://cloud.test"}) // a listener would stop the bubble's time
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	cfg := aws.Config{
		Region: c.Region, BaseEndpoint: aws.String("http://cloud.test"), HTTPClient: &http.Client{Transport: c.Transport()},
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	}
	began := time.Now()
	if _, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Fatal(err)
	}
	s, err := stack.New(cfg, options(t, c))
	if err != nil {
		t.Fatal(err)
	}
	steps, path := up(t, s)
	took := time.Since(began)
	if ratio := float64(took) / float64(path.Took); ratio > most {
		t.Errorf("up took %s, %.2f of its critical path, %s: %v", took, ratio, path.Took, path.IDs)
	} else {
		t.Logf("up took %s, %.3f of its critical path: %v", took, ratio, path.IDs)
	}
	if !slices.ContainsFunc(steps, func(s graph.Step) bool { return s.Attempts > 1 }) {
		t.Error("nothing had to be tried again: roles were in effect at once")
	}
	steps, _ = up(t, s)
	for _, step := range steps {
		if step.Changed() {
			t.Errorf("a second up changed %s: %v", step.ID, step.Drift)
		}
	}
	down(t, s)
}

// options declare the stack with archives that nobody runs.
func options(t *testing.T, c *cloud.Cloud) stack.Options {
	o := stack.Options{
		Names:    stack.Names{Name: "late", Account: c.Account, Region: c.Region},
		Platform: runtime.GOOS, WithoutPipeline: true, Packages: map[string][]byte{},
	}
	for _, name := range stack.FunctionNames() {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		f, err := z.Create("bootstrap")
		if err == nil {
			_, err = f.Write([]byte(name))
		}
		if err == nil {
			err = z.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		o.Packages[name] = b.Bytes()
	}
	return o
}

func up(t *testing.T, s *stack.Stack) ([]graph.Step, graph.CriticalPath) {
	t.Helper()
	g, err := s.Graph()
	if err != nil {
		t.Fatal(err)
	}
	steps, err := g.Ensure(t.Context(), graph.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Seed(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.KnownEndpoint(); err != nil {
		t.Fatal(err)
	}
	return steps, g.CriticalPath(steps)
}

func down(t *testing.T, s *stack.Stack) {
	t.Helper()
	g, err := s.Graph()
	if err == nil {
		_, err = g.Destroy(t.Context(), graph.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	left, err := s.Sweep(t.Context())
	if err != nil || !left.Clean() {
		t.Errorf("left over: %v, %v", left.Left, err)
	}
}
