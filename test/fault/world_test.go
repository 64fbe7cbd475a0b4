//go:build !race

// Package fault runs the whole program under seeded schedules of faults, and
// proves that verification would notice what they can break: known-bad
// variants of the workflow and the functions must fail it.
//
// The race detector would see nothing here: what may race is another process.
package fault

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
)

var (
	seeds    = flag.Int("seeds", 10, "how many schedules of faults are run")
	first    = flag.Uint64("first", 1, "seed of the first schedule")
	duration = flag.Duration("duration", 2*time.Second, "how long each schedule strikes")
	worlds   = flag.Int("worlds", 3, "clouds that run schedules at the same time")
	slow     = flag.Bool("slow", false, "also try variants after which tidying up takes a minute")
	patience = flag.Duration("patience", time.Minute, "how long orders may take to end after a schedule")
)

// root is the checkout.
var root = filepath.Join("..", "..")

// build makes the program, once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "miniforge-fault-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "miniforge")
	cmd := exec.Command("go", "build", "-o", program, "./cmd/miniforge")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	return program, nil
})

func TestMain(m *testing.M) {
	flag.Parse()
	// What runs here waits most of the time, for what was made to fail.
	_ = flag.Set("test.parallel", strconv.Itoa(*worlds))
	code := m.Run()
	for _, w := range made {
		_, _, _ = w.run(context.Background(), "cloud", "stop")
		_ = os.RemoveAll(w.state)
	}
	if program, err := build(); err == nil {
		_ = os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

// A world is a cloud of its own with a stack in it.
type world struct {
	t       *testing.T // that uses it now
	program string
	state   string
}

// The worlds of this run. They are used by one test after the other: a
// schedule must leave nothing behind.
var (
	making sync.Mutex
	made   []*world
	free   = make(chan *world, 1000)
)

// take gives a world to a test until its end.
func take(t *testing.T) *world {
	t.Helper()
	var w *world
	select {
	case w = <-free:
		w.t = t
	default:
		w = newWorld(t)
	}
	t.Cleanup(func() { free <- w })
	return w
}

// newWorld makes one. One at a time: the first builds the functions, and the
// others find them built.
func newWorld(t *testing.T) *world {
	t.Helper()
	making.Lock()
	defer making.Unlock()
	program, err := build()
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	state, err := os.MkdirTemp("", "miniforge-fault-") //nolint:usetesting // it outlives this test
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, program: program, state: state}
	if len(made) > 0 {
		if err := os.CopyFS(filepath.Join(state, "cache"), os.DirFS(filepath.Join(made[0].state, "cache"))); err != nil {
			t.Fatal(err)
		}
	}
	made = append(made, w)
	w.must("up", "--without", "pipeline")
	return w
}

// run runs a command; it returns what it wrote, and how it ended.
func (w *world) run(ctx context.Context, args ...string) (out []byte, exit int, err error) {
	c := exec.CommandContext(ctx, w.program, args...)
	c.Dir = root
	c.Env = append(os.Environ(), "MINIFORGE_STATE_DIR="+w.state, "AWS_ENDPOINT_URL=", "MINIFORGE_TARGET=")
	out, err = c.CombinedOutput()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return out, ended.ExitCode(), nil
	}
	return out, 0, err
}

func (w *world) must(args ...string) []byte {
	w.t.Helper()
	out, exit, err := w.run(w.t.Context(), args...)
	if err != nil || exit != 0 {
		w.t.Fatalf("miniforge %s: exit %d, %v\n%s", strings.Join(args, " "), exit, err, out)
	}
	return out
}

// report is what the tests read of a report.
type report struct {
	OK      bool `json:"ok"`
	Results []struct {
		ID      string `json:"id"`
		Outcome string `json:"outcome"`
		Reason  string `json:"reason"`
		Claims  []struct {
			What, Want, Got string
			OK              bool
		} `json:"claims"`
	} `json:"results"`
}

// failed tells which checks did not hold, and why.
func (r report) failed() map[string]string {
	failed := map[string]string{}
	for _, x := range r.Results {
		if x.Outcome != "fail" && x.Outcome != "broken" {
			continue
		}
		text := x.Outcome + " " + x.Reason
		for _, c := range x.Claims {
			if !c.OK {
				text += "\n  " + c.What + ": want " + c.Want + ", got " + c.Got
			}
		}
		failed[strings.TrimPrefix(x.ID, "resilience.")] = text
	}
	return failed
}

// resilience runs the suite. It fails the test when the suite could not run; OK
// of the report is what it found out, clean that it could tidy up as well.
func (w *world) resilience(seed uint64, d, patience time.Duration) (r report, text string, clean bool) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "report.json")
	out, exit, err := w.run(w.t.Context(), "verify", "resilience", "--quiet", "--seed", strconv.FormatUint(seed, 10), "--duration", d.String(),
		"--patience", patience.String(), "--report", file)
	data, readErr := os.ReadFile(file)
	if readErr == nil {
		readErr = json.Unmarshal(data, &r)
	}
	if err != nil || readErr != nil {
		w.t.Fatalf("verify resilience --seed %d: exit %d, %v, %v\n%s", seed, exit, err, readErr, out)
	}
	return r, string(out), r.OK == (exit == 0)
}

// complaints are the last warnings and errors in the cloud's own log.
func (w *world) complaints() string {
	data, err := os.ReadFile(filepath.Join(w.state, "cloud.log"))
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-50):], "")
}

// config reaches the world's cloud as any SDK does.
func (w *world) config() aws.Config {
	w.t.Helper()
	var env struct {
		Data struct {
			Endpoint string `json:"AWS_ENDPOINT_URL"`
			ID       string `json:"AWS_ACCESS_KEY_ID"`
			Secret   string `json:"AWS_SECRET_ACCESS_KEY"`
			Region   string `json:"AWS_REGION"`
		} `json:"data"`
	}
	if err := json.Unmarshal(w.must("cloud", "env", "-o", "json"), &env); err != nil {
		w.t.Fatal(err)
	}
	e := env.Data
	return aws.Config{Region: e.Region, BaseEndpoint: &e.Endpoint, Credentials: credentials.NewStaticCredentialsProvider(e.ID, e.Secret, "")}
}

// goTool runs the go command in the checkout.
func goTool(t *testing.T, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir = root
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
