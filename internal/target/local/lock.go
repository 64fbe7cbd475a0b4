package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// A HeldError says who holds a lock that was wanted.
type HeldError struct{ Holder string } // "process 4711 (miniforge up, since 14:03:20)"

// Error implements error.
func (e *HeldError) Error() string { return "held by " + e.Holder }

// A Lock is exclusive among processes, and is dropped with its process.
type Lock struct{ file *flock.Flock }

// Lock takes the lock of that name for a task at once, or fails with a
// *HeldError. What the task is shows in the message that others get.
func (f Folder) Lock(name, task string) (*Lock, error) {
	if err := os.MkdirAll(f.join("locks"), 0o700); err != nil {
		return nil, f.unusable(err)
	}
	return f.lock(filepath.Join("locks", name+".lock"), task)
}

func (f Folder) lock(name, task string) (*Lock, error) {
	l := flock.New(f.join(name), flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	got, err := l.TryLock()
	if err != nil {
		return nil, f.unusable(err)
	}
	if !got {
		_ = l.Close()
		return nil, &HeldError{f.holder(name)}
	}
	text := fmt.Sprintf("%d %s, since %s\n", os.Getpid(), task, time.Now().Format(time.TimeOnly))
	if err := os.WriteFile(f.join(name), []byte(text), 0o600); err != nil {
		return nil, errors.Join(f.unusable(err), l.Unlock())
	}
	return &Lock{l}, nil
}

// lockPause is how long to wait before looking at a lock again.
const lockPause = 20 * time.Millisecond

// wait takes a lock that others hold for moments only.
func (f Folder) wait(ctx context.Context, name string) (*Lock, error) {
	l := flock.New(f.join(name), flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	if _, err := l.TryLockContext(ctx, lockPause); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("wait for %s: %w", f.join(name), context.Cause(ctx))
		}
		return nil, f.unusable(err)
	}
	return &Lock{l}, nil
}

// Unlock gives the lock back. The file stays: removing it would let two
// processes hold locks on two files of one name.
func (l *Lock) Unlock() error { return l.file.Unlock() }

func (f Folder) holder(name string) string {
	pid, rest, _ := f.readHolder(name)
	if pid == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d (%s)", pid, rest)
}

func (f Folder) readHolder(name string) (pid int, task string, err error) {
	data, err := os.ReadFile(f.join(name))
	if err != nil {
		return 0, "", err
	}
	first, rest, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	pid, err = strconv.Atoi(first)
	return pid, rest, err
}

const cloudLock = "cloud.pid"

// namelessTime is how long a lock may be held by a process that has not written
// its number yet, which takes it no time on a machine that is not overloaded.
const namelessTime = 5 * time.Second

// serving returns the process id of the cloud that serves the folder, or 0. It
// takes the lock for a moment to find out; whoever starts a cloud waits longer
// than that. Nor does it mind another that does so at the same time, or a cloud
// that is just starting: it looks again.
func (f Folder) serving() (int, error) {
	if _, err := os.Stat(f.join(cloudLock)); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	for deadline := time.Now().Add(namelessTime); ; time.Sleep(lockPause) {
		l := flock.New(f.join(cloudLock), flock.SetFlag(os.O_RDWR))
		got, err := l.TryLock()
		if err != nil {
			return 0, f.unusable(err)
		}
		if got {
			return 0, l.Unlock()
		}
		_ = l.Close()
		pid, _, err := f.readHolder(cloudLock)
		switch {
		case err == nil && pid > 1:
			return pid, nil
		case time.Now().After(deadline):
			return 0, fmt.Errorf("%w: %s is locked, and does not tell by which process", ErrDamaged, f.join(cloudLock))
		}
	}
}
