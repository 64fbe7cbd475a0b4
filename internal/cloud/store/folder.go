package store

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// SyncDir brings the names in a folder to the disk: a file that was made or
// renamed is there after a power cut only if its folder was flushed, too.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // a file system that has no such thing
	}
	return errors.Join(err, d.Close())
}

func syncFolderOf(file string) error { return SyncDir(filepath.Dir(file)) }
