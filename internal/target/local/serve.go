package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"miniforge/internal/cloud/fault"
)

// Options say what cloud to serve.
type Options struct {
	// Port to listen on: 0 for any free one, AnyPort for that of the last run
	// or the default, or another one where that is taken.
	Port int
	// What is empty stays as it was, or is made at the first start.
	Account, Region                      string
	RootAccessKeyID, RootSecretAccessKey string
	Ephemeral                            bool // keep everything in memory
	Auto                                 bool // see State
	Version                              string
	Logger                               *slog.Logger
	// Latency names the model of how long things take, drawn by Seed; see
	// package latency. Both end with the process.
	Latency string
	Seed    uint64
	// Faults, FaultState and Kill are those of cloud.Options.
	Faults     fault.Schedule
	FaultState []byte
	Kill       func(state []byte)
}

// AnyPort as Options.Port asks for no port in particular.
const AnyPort = -1

// Serve runs the folder's cloud in this process until ctx ends. It calls ready
// once the cloud answers. Its errors wrap ErrRunning, ErrPortTaken, ErrFolder,
// ErrDamaged, or come from the cloud.
func (f Folder) Serve(ctx context.Context, o Options, ready func(State)) (err error) {
	tuneGC()
	if err := f.Make(); err != nil {
		return err
	}
	last, err := f.Load()
	if err != nil && !errors.Is(err, ErrNeverStarted) {
		return err
	}
	lock, err := f.lockCloud(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	listener, err := listen(ctx, o.Port, last.Port)
	if err != nil {
		return err
	}
	defer listener.Close() // again after Serve: for the errors before it
	endpoint := "http://" + listener.Addr().String()
	cloud, state, err := open(ctx, f, o, endpoint)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cloud.Close()) }()
	state.PID, state.Endpoint, state.Port = os.Getpid(), endpoint, listener.Addr().(*net.TCPAddr).Port
	state.StartedAt, state.Version, state.Ephemeral, state.Auto = time.Now().UTC(), o.Version, o.Ephemeral, o.Auto
	state.Latency, state.Seed = o.Latency, o.Seed
	// The listener is open: who reads the file now and connects is answered.
	if err := f.save(state); err != nil {
		return err
	}
	defer func() {
		state.PID = 0
		err = errors.Join(err, f.save(state))
	}()
	ready(state)
	return cloud.Serve(ctx, listener)
}

// The cloud keeps little, some 30 MiB, and makes much that is gone at once: its
// collector runs a quarter as often as by default, for a fifteenth of the
// processor, up to memoryGoal; from there on as often as it must.
const (
	gcPercent  = 400
	memoryGoal = 512 << 20
)

func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryGoal)
	}
}

// lockCloud waits a moment, as others take the lock to see whether it is held.
func (f Folder) lockCloud(ctx context.Context) (*Lock, error) {
	for deadline := time.Now().Add(200 * time.Millisecond); ; {
		lock, err := f.lock(cloudLock, "miniforge cloud")
		held, is := errors.AsType[*HeldError](err)
		if !is {
			return lock, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: %s; see miniforge cloud status, or end it by miniforge cloud stop", ErrRunning, held.Holder)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// listen opens the port asked for, or else the one of the last run, or any.
func listen(ctx context.Context, port, last int) (net.Listener, error) {
	try := func(port int) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	asked := port != AnyPort
	if !asked {
		port = cmp.Or(last, DefaultPort)
	}
	l, err := try(port)
	switch {
	case err == nil:
		return l, nil
	case asked && errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on port %d: %w: choose another by --port, or leave it out for a free one", port, ErrPortTaken)
	case asked:
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	if l, err = try(0); err != nil {
		return nil, fmt.Errorf("listen on a free port: %w", err)
	}
	return l, nil
}
