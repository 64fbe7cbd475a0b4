//go:build unix

package cloud

import (
	"os"
	"strconv"
	"syscall"
)

// keepDescriptors has the files that the process was started with, by a shell
// or a lock that held them open, end with it: functions and builds would
// inherit them. Go closes its own for them already.
func keepDescriptors() {
	all, err := os.ReadDir("/dev/fd")
	if err != nil {
		return // there is none to list; the usual three are replaced for every child
	}
	for _, e := range all {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 2 {
			syscall.CloseOnExec(n)
		}
	}
}
