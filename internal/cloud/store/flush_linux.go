package store

import (
	"os"
	"syscall"
)

// flush brings a file's data to the disk, and of its metadata only what is
// needed to read it: that saves a write to the file system's journal.
func flush(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
