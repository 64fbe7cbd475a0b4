//go:build unix

package codebuild

import (
	"os/exec"
	"syscall"
)

// group puts a program and all that it starts into a process group, which is
// killed as a whole.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
