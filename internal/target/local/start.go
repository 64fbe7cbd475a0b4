package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// ReadyFD is the file descriptor on which a cloud that Start has started says
// that it is ready, or why it is not.
const ReadyFD = 3

// startTime bounds how long a cloud may take to answer. It needs milliseconds;
// the rest is for machines under load and for large data.
const startTime = time.Minute

// stopTime bounds how long a cloud may take to end by itself.
const stopTime = 10 * time.Second

// readiness is the one message on ReadyFD.
type readiness struct {
	Error string `json:"error,omitempty"`
}

// A StartError is the reason that a cloud in the background gave.
type StartError struct{ Reason string }

// Error implements error.
func (e *StartError) Error() string { return e.Reason }

// Start returns the state of the folder's cloud. If that does not run, it runs
// the command (a path and its arguments), which must end up in Serve, in the
// background: detached from this process and its terminal.
func (f Folder) Start(ctx context.Context, command []string) (State, error) {
	if err := f.Make(); err != nil {
		return State{}, err
	}
	// One at a time: whoever comes second finds the first one's cloud.
	turn, err := f.wait(ctx, "start.lock")
	if err != nil {
		return State{}, err
	}
	defer turn.Unlock() //nolint:errcheck // the process's end unlocks as well
	state, free, err := f.settle(ctx)
	if !free {
		return state, err
	}
	if err := f.spawn(ctx, command); err != nil {
		// Whoever was quicker, such as a cloud that a fault has killed and
		// that starts again by itself, is what was asked for.
		if other, free, settled := f.settle(ctx); settled == nil && !free {
			return other, nil
		}
		return state, fmt.Errorf("start local cloud: %w", err)
	}
	return f.Running(ctx)
}

// endTime bounds how long a process that does not answer is given to end: one
// that was killed holds its lock until the kernel has taken it apart.
const endTime = 5 * time.Second

// settle finds out whether the folder's cloud runs, or may be started (free).
func (f Folder) settle(ctx context.Context) (state State, free bool, err error) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(endTime); ; {
		state, err = f.Running(ctx)
		if err == nil || !errors.Is(err, ErrNotRunning) && !errors.Is(err, ErrNeverStarted) {
			return state, false, err
		}
		pid, err := f.serving()
		switch {
		case err != nil:
			return state, false, err
		case pid == 0:
			return state, true, nil
		case time.Now().After(deadline):
			return state, false, fmt.Errorf("%w as process %d, but does not answer; see %s, or end it by miniforge cloud stop", ErrRunning, pid, f.Log())
		}
		select {
		case <-ctx.Done():
			return state, false, context.Cause(ctx)
		case <-again.C:
		}
	}
}

// spawn runs the command and returns once it has said that it is ready.
func (f Folder) spawn(ctx context.Context, command []string) error {
	log, err := f.openLog()
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // it outlives the context on purpose
	cmd.Args[0] = "miniforge"                       // as it shows in the list of processes
	cmd.Env = append(os.Environ(), "MINIFORGE_STATE_DIR="+string(f))
	cmd.Dir = string(f) // a cloud must not keep the caller's folder from being unmounted
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close() // the child's copy alone keeps the pipe open
	if err != nil {
		return fmt.Errorf("run %s: %w", command[0], err)
	}
	if err := f.awaitReady(ctx, r); err != nil {
		// Until it was ready nobody knew of it: nothing is lost.
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	return cmd.Process.Release()
}

// awaitReady reads the child's message. The read ends with the child, with
// the context, or with the time.
func (f Folder) awaitReady(ctx context.Context, r *os.File) error {
	deadline := time.Now().Add(startTime)
	if err := r.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Now()) })
	defer stop()
	data, err := io.ReadAll(io.LimitReader(r, 64<<10))
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer within %s; see %s", startTime, f.Log())
	case err != nil:
		return fmt.Errorf("read from cloud: %w", err)
	case len(data) == 0:
		return fmt.Errorf("it ended at once; the end of %s says: %s", f.Log(), f.logTail())
	}
	var said readiness
	if err := json.Unmarshal(data, &said); err != nil {
		return fmt.Errorf("read from cloud: %w", err)
	}
	if said.Error != "" {
		return &StartError{said.Error}
	}
	return nil
}

// An Announcer tells the process that started this one, if one did, that its
// cloud is ready, or why it is not.
type Announcer struct{ pipe *os.File }

// NewAnnouncer announces on an inherited file descriptor. It keeps the
// descriptor from processes that this one starts: they would hold it open.
func NewAnnouncer(fd int) *Announcer {
	syscall.CloseOnExec(fd)
	return &Announcer{os.NewFile(uintptr(fd), "ready")}
}

// Announce sends the message; further calls do nothing. A nil Announcer is one
// that nobody listens to.
func (a *Announcer) Announce(failure error) error {
	if a == nil || a.pipe == nil {
		return nil
	}
	var said readiness
	if failure != nil {
		said.Error = failure.Error()
	}
	err := errors.Join(json.NewEncoder(a.pipe).Encode(said), a.pipe.Close())
	a.pipe = nil
	return err
}

// maxLog is the size from which the log begins anew, with the old one kept.
const maxLog = 16 << 20

func (f Folder) openLog() (*os.File, error) {
	if info, err := os.Stat(f.Log()); err == nil && info.Size() > maxLog {
		if err := os.Rename(f.Log(), f.Log()+".1"); err != nil {
			return nil, f.unusable(err)
		}
	}
	log, err := os.OpenFile(f.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, f.unusable(err)
	}
	return log, nil
}

// logTail is the log's last line.
func (f Folder) logTail() string {
	data, err := os.ReadFile(f.Log())
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return strings.TrimSpace(string(lines[len(lines)-1]))
}

// Stop ends the folder's cloud, whichever process started it, and waits until
// it has ended. It reports whether there was one. What it acknowledged is kept.
func (f Folder) Stop(ctx context.Context) (bool, error) {
	pid, err := f.serving()
	if pid == 0 || err != nil {
		return false, err
	}
	// The lock's holder wrote the id: it cannot be another process's.
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return false, fmt.Errorf("stop process %d: %w", pid, err)
	}
	gone, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	if f.awaitEnd(gone) == nil {
		return true, nil
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	// It is durable: even a hard end loses nothing that was acknowledged.
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, fmt.Errorf("kill process %d: %w", pid, err)
	}
	return true, f.awaitEnd(ctx)
}

// awaitEnd returns when nobody serves the folder any more.
func (f Folder) awaitEnd(ctx context.Context) error {
	lock, err := f.wait(ctx, cloudLock)
	if err != nil {
		return err
	}
	return lock.Unlock()
}

// Reset stops the cloud and forgets it: data, credentials, port and log.
func (f Folder) Reset(ctx context.Context) error {
	if _, err := f.Stop(ctx); err != nil {
		return err
	}
	for _, name := range []string{"data", "cloud.json", "cloud.log", "cloud.log.1"} {
		if err := os.RemoveAll(f.join(name)); err != nil {
			return f.unusable(err)
		}
	}
	return nil
}
