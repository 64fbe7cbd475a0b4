package codecommit

import (
	"archive/zip"
	"bytes"
	"context"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Archive zips the files of a commit, as a pipeline's source action does: the
// same commit gives the same bytes. It needs codecommit:UploadArchive, which
// AWS's API lists in policies only.
func (s *Service) Archive(ctx context.Context, as wire.As, name, commit string) ([]byte, error) {
	access := authz.Access{Action: "codecommit:UploadArchive", Resource: s.arn(as.Region, name)}
	if err := s.Authorize(ctx, as.Principal, as.Region, access); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err := s.DB.View(func(tx *store.Tx) error {
		r, err := find(tx, as.Region, name)
		if err != nil {
			return err
		}
		o := objectsIn(tx, r.ID)
		if _, err := commitOf(o, commit); err != nil {
			return err
		}
		return o.zip(&b, plumbing.NewHash(commit))
	})
	return b.Bytes(), err
}

// zipped is the fixed time of all files in all archives.
var zipped = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

func (o *objectStore) zip(b *bytes.Buffer, commit plumbing.Hash) error {
	all, err := o.commitFiles(commit)
	if err != nil {
		return err
	}
	z := zip.NewWriter(b)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		f := all[p]
		if f.Mode == filemode.Submodule {
			continue // its files belong to another repository
		}
		header := &zip.FileHeader{Name: p, Method: zip.Deflate, Modified: zipped}
		header.SetMode(fileModes[f.Mode])
		w, err := z.CreateHeader(header)
		if err != nil {
			return err
		}
		obj, err := o.EncodedObject(plumbing.BlobObject, f.Hash)
		if err != nil {
			return err
		}
		content, err := contentOf(obj)
		if err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return z.Close()
}

var fileModes = map[filemode.FileMode]fs.FileMode{filemode.Regular: 0o644, filemode.Deprecated: 0o644, filemode.Executable: 0o755, filemode.Symlink: fs.ModeSymlink | 0o777}
