package lambda

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/wire"

	"miniforge/internal/cloud/store"
)

// Limits of a package in bytes.
const (
	maxZipped   = 52_428_800
	maxUnzipped = 262_144_000
	maxFiles    = 100_000
)

// A codeStore keeps packages and their unpacked files, by content: in folder
// <sha256>, package.zip and the folder task.
type codeStore struct {
	dir string
	// use is held for reading while a package is put and its version is
	// committed, and for writing while unused packages are removed.
	use sync.RWMutex
}

const packageFile = "package.zip"

// A source is where a package comes from: in the request, or in S3.
type source struct {
	zip                  []byte
	bucket, key, version *string
}

// fetch reads a package; from S3 in the name of the caller.
func (s *Service) fetch(ctx context.Context, src source) ([]byte, error) {
	switch {
	case src.zip != nil && (src.bucket != nil || src.key != nil):
		return nil, badValue("Please do not provide other FunctionCode parameters when providing a ZipFile.")
	case src.zip != nil:
		if len(src.zip) > maxZipped {
			return nil, tooLarge(fmt.Sprintf("Zipped size must be smaller than %d bytes", maxZipped))
		}
		return src.zip, nil
	case src.bucket == nil || src.key == nil:
		return nil, badValue("Please provide a source for function code.")
	}
	out, err := wire.Do[s3.GetObjectOutput](ctx, s.Caller, wire.CallOf(ctx).As("lambda"), &s3.GetObjectInput{Bucket: src.bucket, Key: src.key, VersionId: src.version})
	if err != nil {
		var api smithy.APIError
		if !errors.As(err, &api) {
			return nil, fmt.Errorf("read package from S3: %w", err)
		}
		if api.ErrorCode() == "AccessDenied" {
			return nil, &wire.Error{Code: "AccessDeniedException", Message: "Your access has been denied by S3, please make sure your request credentials have permission to GetObject for " +
				*src.bucket + "/" + *src.key + ". S3 Error Code: AccessDenied. S3 Error Message: Access Denied", Status: http.StatusForbidden}
		}
		return nil, badValue("Error occurred while GetObject. S3 Error Code: " + api.ErrorCode() + ". S3 Error Message: " + api.ErrorMessage())
	}
	defer func() { _ = out.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(out.Body, maxUnzipped+1))
	if err != nil {
		return nil, fmt.Errorf("read package from S3: %w", err)
	}
	return b, nil
}

func tooLarge(text string) error {
	return &wire.Error{Code: "RequestEntityTooLargeException", Message: text, Status: http.StatusRequestEntityTooLarge}
}

// codeSha256 is the hash by which Lambda knows a package.
func codeSha256(code string) string {
	b, _ := hex.DecodeString(code) // made by put
	return base64.StdEncoding.EncodeToString(b)
}

// inspect checks a package and returns its hash in hex.
func inspect(pkg []byte) (*zip.Reader, string, error) {
	broken := badValue("Could not unzip uploaded file. Please check your file, then try to upload again.")
	r, err := zip.NewReader(bytes.NewReader(pkg), int64(len(pkg)))
	if err != nil {
		return nil, "", broken
	}
	var total uint64
	for _, f := range r.File {
		if !filepath.IsLocal(strings.TrimSuffix(f.Name, "/")) || strings.Contains(f.Name, "\\") || f.Mode()&(fs.ModeDevice|fs.ModeNamedPipe|fs.ModeSocket) != 0 {
			return nil, "", broken
		}
		total += f.UncompressedSize64
		if total > maxUnzipped || f.UncompressedSize64 > maxUnzipped {
			return nil, "", badValue(fmt.Sprintf("Unzipped size must be smaller than %d bytes", maxUnzipped))
		}
	}
	if len(r.File) == 0 || len(r.File) > maxFiles {
		return nil, "", badValue("Uploaded file must be a non-empty zip")
	}
	sum := sha256.Sum256(pkg)
	return r, hex.EncodeToString(sum[:]), nil
}

// put keeps a package, durably, unless it is there already.
func (c *codeStore) put(pkg []byte) (hash string, err error) {
	r, hash, err := inspect(pkg)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(c.dir, hash)); err == nil {
		return hash, nil
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return "", fmt.Errorf("make folder for code: %w", err)
	}
	temp, err := os.MkdirTemp(c.dir, "new-")
	if err != nil {
		return "", fmt.Errorf("make folder for code: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }() // gone already if all went well
	if err := writeFile(filepath.Join(temp, packageFile), bytes.NewReader(pkg), 0o600); err != nil {
		return "", fmt.Errorf("keep package: %w", store.NoRoom(err))
	}
	if err := unzip(r, filepath.Join(temp, "task")); err != nil {
		return "", err
	}
	for _, dir := range []string{filepath.Join(temp, "task"), temp} {
		if err := store.SyncDir(dir); err != nil {
			return "", fmt.Errorf("keep package: %w", err)
		}
	}
	if err := os.Rename(temp, filepath.Join(c.dir, hash)); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(filepath.Join(c.dir, hash)); there != nil {
			return "", fmt.Errorf("keep package: %w", err)
		}
	}
	if err := store.SyncDir(c.dir); err != nil {
		return "", fmt.Errorf("keep package: %w", err)
	}
	return hash, nil
}

// unzip unpacks a package that was inspected. It goes through an os.Root, so
// that links inside of the package cannot lead out of the folder.
func unzip(r *zip.Reader, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("unpack code: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack code: %w", err)
	}
	defer func() { _ = root.Close() }()
	budget := int64(maxUnzipped)
	for _, f := range r.File {
		n, err := unzipFile(root, f, budget)
		if full, ok := errors.AsType[*store.FullError](store.NoRoom(err)); ok {
			return full // the package is not to blame
		}
		if err != nil {
			return badValue("Could not unzip uploaded file. Please check your file, then try to upload again.")
		}
		if budget -= n; budget < 0 {
			return badValue(fmt.Sprintf("Unzipped size must be smaller than %d bytes", maxUnzipped))
		}
	}
	return nil
}

func unzipFile(root *os.Root, f *zip.File, budget int64) (int64, error) {
	if before, ok := strings.CutSuffix(f.Name, "/"); ok {
		return 0, root.MkdirAll(before, 0o700)
	}
	if dir := filepath.Dir(f.Name); dir != "." {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return 0, err
		}
	}
	in, err := f.Open()
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }()
	if f.Mode()&fs.ModeSymlink != 0 {
		text, err := io.ReadAll(io.LimitReader(in, 4096))
		if err != nil {
			return 0, err
		}
		return 0, root.Symlink(string(text), f.Name)
	}
	out, err := root.OpenFile(f.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600|f.Mode().Perm()&0o100)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, io.LimitReader(in, budget+1))
	return n, errors.Join(err, out.Sync(), out.Close())
}

func writeFile(path string, r io.Reader, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// task is the folder of the unpacked code.
func (c *codeStore) task(hash string) string { return filepath.Join(c.dir, hash, "task") }

// remove deletes packages that used does not name.
func (c *codeStore) remove(candidates []string, used func() (map[string]bool, error)) error {
	c.use.Lock()
	defer c.use.Unlock()
	keep, err := used()
	if err != nil {
		return err
	}
	for _, hash := range candidates {
		if !keep[hash] {
			err = errors.Join(err, os.RemoveAll(filepath.Join(c.dir, hash)))
		}
	}
	return err
}
