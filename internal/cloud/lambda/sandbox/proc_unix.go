//go:build unix && !linux

package sandbox

import "syscall"

func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func launcherThread() {} // nothing ends with a thread here, nor is the scheduler told

// peakMemory is not told of running processes here.
func peakMemory(int) int64 { return 0 }
