package sandbox

import (
	"log/slog"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFunctionsAreBatchProcesses shows that the policy reaches them, and no other thread.
func TestFunctionsAreBatchProcesses(t *testing.T) {
	l := NewProcesses(slog.New(slog.DiscardHandler))
	defer l.Close()
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = attributes()
	if err := l.spawn(cmd); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for what, c := range map[string]struct {
		pid  int
		want uint32
	}{"function": {cmd.Process.Pid, unix.SCHED_BATCH}, "this thread": {0, unix.SCHED_NORMAL}} {
		if attr, err := unix.SchedGetAttr(c.pid, 0); err != nil || attr.Policy != c.want {
			t.Errorf("%s: %+v, %v, want policy %d", what, attr, err, c.want)
		}
	}
}
