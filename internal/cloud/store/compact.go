package store

import (
	"errors"
	"io/fs"
	"os"

	"go.etcd.io/bbolt"
)

const (
	// compactFrom is the size of a tree from which on it is worth to be compacted.
	compactFrom = 16 << 20
	// compactStep is how much a transaction copies.
	compactStep = 4 << 20
)

// compact writes a tree of at least from bytes of which most is free anew: bbolt uses free pages
// again, and never gives them back. The copy takes the file's place, whole and
// on the disk, or is thrown away: a power cut leaves the one or the other.
// Where there is no room for a copy, the tree stays as it is.
func compact(b *bbolt.DB, file string, from int64) (*bbolt.DB, error) {
	temp := file + ".compact"
	// What a power cut left. b is locked: nobody else is at it.
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, b.Close())
	}
	free, size, err := usage(b)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if size < from || free < size/2 {
		return b, nil
	}
	err = copyTree(temp, b)
	if err == nil {
		err = os.Rename(temp, file)
	}
	if err != nil {
		// A copy that is not needed: the next start tries again.
		_ = os.Remove(temp)
		if err = NoRoom(err); isFull(err) {
			return b, nil
		}
		return nil, errors.Join(err, b.Close())
	}
	if err := errors.Join(syncFolderOf(file), b.Close()); err != nil {
		return nil, err
	}
	return lockTree(file)
}

// usage is how much of the tree's file is free, and how large it is.
func usage(b *bbolt.DB) (free, size int64, err error) {
	err = b.View(func(tx *bbolt.Tx) error {
		size = tx.Size()
		return nil
	})
	return int64(b.Stats().FreePageN) * int64(b.Info().PageSize), size, err
}

func copyTree(to string, from *bbolt.DB) error {
	dst, err := bbolt.Open(to, 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoSync: true})
	if err != nil {
		return err
	}
	err = bbolt.Compact(dst, from, compactStep)
	if err == nil {
		err = dst.Sync() // all at once
	}
	return errors.Join(err, dst.Close())
}
