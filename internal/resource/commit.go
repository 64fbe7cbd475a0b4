package resource

import (
	"cmp"
	"crypto/sha1" //nolint:gosec // git's name of a blob, no protection
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Limits of CodeCommit on one commit through its API.
//
// https://docs.aws.amazon.com/codecommit/latest/userguide/limits.html
const (
	maxCommitFiles = 100     // files put and deleted
	maxFileBytes   = 6 << 20 // of one file
	maxCommitBytes = 7 << 20 // of all files together
)

// ErrTooLarge means that a file exceeds what a commit may hold.
var ErrTooLarge = errors.New("too large for CodeCommit")

// A File is one file to be pushed.
type File struct {
	Path       string // with slashes, relative to the root
	Content    []byte
	Executable bool
}

// blob is the id that git gives to the content.
func (f File) blob() string {
	h := sha1.New() //nolint:gosec // see above
	fmt.Fprintf(h, "blob %d\x00", len(f.Content))
	h.Write(f.Content)
	return hex.EncodeToString(h.Sum(nil))
}

// An entry is what a tree says of a file.
type entry struct {
	blob       string
	executable bool
}

// A treeChange leads from one tree to another.
type treeChange struct {
	put     []File   // by path
	deleted []string // in order
}

// A commit is a part of a change that CodeCommit takes at once.
type commit struct {
	put    []File
	delete []string
}

// compareFiles finds what has to change so that the tree there holds exactly
// the wanted files.
func compareFiles(want []File, there map[string]entry) (treeChange, error) {
	var c treeChange
	stale := maps.Clone(there)
	for _, f := range want {
		if len(f.Content) > maxFileBytes {
			return c, fmt.Errorf("%s has %d bytes, a file may have %d: %w", f.Path, len(f.Content), maxFileBytes, ErrTooLarge)
		}
		if there[f.Path] != (entry{f.blob(), f.Executable}) {
			c.put = append(c.put, f)
		}
		delete(stale, f.Path)
	}
	slices.SortFunc(c.put, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	c.deleted = slices.Sorted(maps.Keys(stale))
	return c, nil
}

func (c treeChange) changed() (paths []string) {
	for _, f := range c.put {
		paths = append(paths, f.Path)
	}
	return paths
}

// commits splits the change by the limits. Deletions come first, in commits of
// their own if there are many: a file may take the place of a folder.
func (c treeChange) commits() []commit {
	var all []commit
	var now commit
	bytes := 0
	next := func() {
		if len(now.put)+len(now.delete) > 0 {
			all = append(all, now)
		}
		now, bytes = commit{}, 0
	}
	for _, path := range c.deleted {
		if len(now.delete) == maxCommitFiles {
			next()
		}
		now.delete = append(now.delete, path)
	}
	for _, f := range c.put {
		if len(now.put)+len(now.delete) == maxCommitFiles || bytes+len(f.Content) > maxCommitBytes {
			next()
		}
		now.put = append(now.put, f)
		bytes += len(f.Content)
	}
	next()
	return all
}
