// Package cloud is the AWS-compatible cloud that is embedded in the binary:
// the composition root of its services. Only this package knows all of them.
package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"miniforge/internal/cloud/apigw"
	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/codecommit"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/fault"
	"miniforge/internal/cloud/iam"
	"miniforge/internal/cloud/lambda"
	"miniforge/internal/cloud/latency"
	"miniforge/internal/cloud/memo"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/sts"
	"miniforge/internal/cloud/wire"
)

const dataFile = "cloud.db"

// Options configure a [Cloud]. The zero value is a cloud in memory.
type Options struct {
	// Dir holds the cloud's data: the store, the master key, the functions'
	// code. Empty: everything is in memory or in a temporary folder, and
	// forgotten by Close.
	Dir string
	// Account, Region and root credentials; what is empty is taken from the
	// data or made at the first start.
	Account, Region                      string
	RootAccessKeyID, RootSecretAccessKey string
	// Endpoint is the URL under which functions reach the cloud. Empty: that
	// of Serve's listener, or of one that the cloud opens when first needed.
	Endpoint string
	Version  string // told by the health check
	Logger   *slog.Logger

	// Faults are injected from the start. FaultState, if there is any, is what
	// Kill was given, and goes before.
	Faults     fault.Schedule
	FaultState []byte
	// Latency has calls, deliveries and changes take their time; nil: none.
	Latency *latency.Model
	// Audit, if set, is told of every permission that a caller was judged by,
	// from outside and between services. It is called by many goroutines and
	// must not wait for anything.
	Audit func(Judgement)
	// Unguarded lets everybody do everything, so that a benchmark can tell what
	// judging costs. No command sets it.
	Unguarded bool
	// Kill ends the process at once and starts it again, with the state as
	// FaultState. nil: there are no faults of that kind.
	Kill func(state []byte)
}

// A Cloud is a running cloud.
type Cloud struct {
	Identity

	opts Options
	log  *slog.Logger
	db   store.DB
	mux  *wire.Mux
	apis *apigw.Service // serves the HTTP APIs' own requests
	iam  *iam.Service   // knows users' keys
	sts  *sts.Service   // knows sessions

	functions    *lambda.Service     // serves functions' code
	repositories *codecommit.Service // serves git
	faults       *fault.Engine
	judge        *authz.Engine
	policies     memo.Map[string, string] // of resources, by ARN
	temp         string                   // to be removed by Close

	stop       context.CancelFunc
	background *errgroup.Group

	mu       sync.Mutex
	endpoint string
	own      *http.Server // for functions, when Serve was not called
}

// New opens the data and starts all services. Work that an earlier process
// left goes on at once.
func New(ctx context.Context, o Options) (_ *Cloud, err error) {
	c := &Cloud{opts: o, log: o.Logger, endpoint: o.Endpoint}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	keepDescriptors()
	defer func() {
		if err != nil {
			err = errors.Join(err, c.release())
		}
	}()
	master, err := c.open()
	if err != nil {
		return nil, fmt.Errorf("start cloud: %w", err)
	}
	if c.Identity, err = identify(ctx, c.db, o); err != nil {
		return nil, fmt.Errorf("start cloud: %w", err)
	}
	if err := c.compose(master); err != nil {
		return nil, fmt.Errorf("start cloud: %w", err)
	}
	return c, nil
}

// open makes the folder ready and opens the store.
func (c *Cloud) open() (master []byte, err error) {
	if c.opts.Dir == "" {
		c.db = store.Memory()
		c.temp, err = os.MkdirTemp("", "miniforge-cloud-")
		if err != nil {
			return nil, fmt.Errorf("make temporary folder: %w", err)
		}
		return masterKey("")
	}
	if err := os.MkdirAll(c.opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	if master, err = masterKey(c.opts.Dir); err != nil {
		return nil, err
	}
	seal, err := newAEAD(master)
	if err != nil {
		return nil, err
	}
	c.db, err = store.Open(filepath.Join(c.opts.Dir, dataFile), seal)
	return master, err
}

// dir is where files of the given kind are kept.
func (c *Cloud) dir(kind string) string {
	if c.opts.Dir == "" {
		return filepath.Join(c.temp, kind)
	}
	return filepath.Join(c.opts.Dir, kind)
}

// start runs the queue and the services' background work until Close.
func (c *Cloud) start(q *event.Queue, runs ...func(context.Context) error) {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.background = &errgroup.Group{}
	for _, run := range append(runs, q.Run) {
		c.background.Go(func() error {
			err := run(ctx)
			if err != nil && ctx.Err() == nil {
				c.log.Error("background work ended", "error", err)
			}
			return err
		})
	}
}

// ServeHTTP serves all services, the HTTP APIs and the health check.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == HealthPath:
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(health{"ok", c.opts.Version, os.Getpid()}); err != nil {
			c.log.Debug("health check was not answered", "error", err)
		}
	case r.URL.Path == FaultPath:
		c.faultAdmin().ServeHTTP(w, r)
	case strings.HasPrefix(r.URL.Path, apigw.BasePath):
		c.opts.Latency.HTTP(c.faults.HTTP(route, c.apis)).ServeHTTP(w, r)
	case strings.HasPrefix(r.URL.Path, codecommit.GitPath):
		c.repositories.ServeGit(w, r)
	case strings.HasPrefix(r.URL.Path, lambda.CodePath):
		c.functions.ServeCode(w, r)
	default:
		c.mux.ServeHTTP(w, r)
	}
}

type health struct {
	Status  string `json:"status"`
	Version string `json:"version"`
	PID     int    `json:"pid"`
}

// HealthPath answers 200 as soon as the cloud serves; it needs no signature.
const HealthPath = "/_miniforge/health"

// Serve serves on l, which must be bound to a loopback address, until ctx ends
// and requests under way have been answered.
func (c *Cloud) Serve(ctx context.Context, l net.Listener) error {
	if a, ok := l.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		return fmt.Errorf("serve cloud: %s is not a loopback address: the cloud serves this machine only", l.Addr())
	}
	c.mu.Lock()
	if c.endpoint == "" {
		c.endpoint = "http://" + l.Addr().String()
	}
	c.mu.Unlock()
	return c.serve(ctx, c.server(), l)
}

// drainTime bounds how long a stopping server waits for requests under way: no
// longer than the longest call, a long poll of 20 s, is worth waiting for.
const drainTime = 2 * time.Second

func (c *Cloud) server() *http.Server {
	return &http.Server{
		Handler: c.guard(c), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
}

func (c *Cloud) serve(ctx context.Context, s *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(bound(l, maxConnections)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve cloud: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := s.Shutdown(drain); err != nil {
		_ = s.Close() // what is still open after the drain time is cut off
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve cloud: %w", err)
	}
	return nil
}

// Endpoint is the URL under which functions reach the cloud; a listener is
// opened for them when there is none.
func (c *Cloud) Endpoint() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.endpoint != "" {
		return c.endpoint, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen for functions: %w", err)
	}
	c.own = c.server()
	c.endpoint = "http://" + l.Addr().String()
	c.background.Go(func() error {
		if err := c.own.Serve(bound(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return c.endpoint, nil
}

// Close ends all background work, functions included, and closes the store.
func (c *Cloud) Close() error { return c.release() }

func (c *Cloud) release() error {
	var err error
	if c.stop != nil {
		c.stop()
		c.mu.Lock()
		if c.own != nil {
			_ = c.own.Close()
		}
		c.mu.Unlock()
		err = c.background.Wait()
	}
	if c.db != nil {
		err = errors.Join(err, c.db.Close())
	}
	if c.temp != "" {
		err = errors.Join(err, os.RemoveAll(c.temp))
	}
	return err
}
