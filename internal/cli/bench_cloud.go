package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"miniforge/internal/bench/services"
	"miniforge/internal/target"
	"miniforge/internal/target/local"
)

// cloudFigures are those of the embedded cloud by itself.
type cloudFigures struct {
	// FirstStart is the time to the first answer of a cloud that makes its
	// folder, Start that of one that finds it.
	FirstStart time.Duration `json:"first_start_ns"`
	Start      time.Duration `json:"start_ns"`
	// IdleBytes is the resident memory of a cloud that has nothing to do; 0 if
	// the system does not tell.
	IdleBytes int64 `json:"idle_bytes,omitempty"`
}

func (f cloudFigures) memory() string {
	if f.IdleBytes == 0 {
		return ""
	}
	return fmt.Sprintf(", %.1f MiB idle", float64(f.IdleBytes)/(1<<20))
}

// settleTime is how long a cloud is left alone before its memory is read.
const settleTime = time.Second

// benchCloud starts a cloud in a folder of its own, twice. The one in use would
// have to be stopped for that.
func (a *app) benchCloud(ctx context.Context, t *target.Target, r *benchResult) (err error) {
	if t.Kind != target.Local {
		return fmt.Errorf("%w: only the embedded cloud can be started", services.ErrSkipped)
	}
	dir, err := os.MkdirTemp("", "miniforge-bench-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	folder := local.Folder(dir)
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
		defer cancel()
		_, serr := folder.Stop(stop)
		err = errors.Join(err, serr, os.RemoveAll(dir))
	}()
	command := append(a.cloudInBackground(), "--port=0")
	start := func() (time.Duration, local.State, error) {
		began := time.Now()
		state, err := folder.Start(ctx, command)
		return time.Since(began), state, err
	}
	var f cloudFigures
	if f.FirstStart, _, err = start(); err != nil {
		return err
	}
	if _, err := folder.Stop(ctx); err != nil {
		return err
	}
	var state local.State
	if f.Start, state, err = start(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(settleTime):
	}
	f.IdleBytes = residentMemory(state.PID)
	r.Cloud = &f
	return nil
}

// residentMemory is that of a process, where /proc tells it.
func residentMemory(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}
