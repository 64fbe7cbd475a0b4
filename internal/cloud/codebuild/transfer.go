package codebuild

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"miniforge/internal/cloud/wire"
)

// maxUnpacked bounds what a source archive may unpack to.
const maxUnpacked = 2 << 30

// unzip unpacks an archive below a folder, and nowhere else: the root confines
// every path, links included.
func unzip(archive []byte, dir string) error {
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return fmt.Errorf("read source archive: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(maxUnpacked)
	for _, f := range z.File {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("source archive: %q leads out of the folder", f.Name)
		}
		if err := unzipFile(root, f, &left); err != nil {
			return fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	return nil
}

func unzipFile(root *os.Root, f *zip.File, left *int64) error {
	name := filepath.FromSlash(strings.TrimSuffix(f.Name, "/"))
	mode := f.Mode()
	if mode.IsDir() {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	if mode&fs.ModeSymlink != 0 {
		to, err := io.ReadAll(io.LimitReader(r, 4096))
		if err != nil {
			return err
		}
		if path.IsAbs(string(to)) || !filepath.IsLocal(path.Join(path.Dir(f.Name), string(to))) {
			return errors.New("the link leads out of the folder")
		}
		return root.Symlink(string(to), name)
	}
	w, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode.Perm()|0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(r, *left+1))
	if *left -= n; err == nil && *left < 0 {
		err = fmt.Errorf("the archive unpacks to more than %d bytes", maxUnpacked)
	}
	return errors.Join(err, w.Close())
}

// download reads an object of S3, given as bucket/key or ARN.
func (x *execution) download(ctx context.Context, location string) ([]byte, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(location, "arn:aws:s3:::"), "/")
	out, err := wire.Do[s3.GetObjectOutput](ctx, x.s.Caller, x.as, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

func (x *execution) upload(ctx context.Context, bucket, key string, body []byte, encrypted bool) error {
	in := &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}
	if encrypted {
		in.ServerSideEncryption, in.SSEKMSKeyId = s3types.ServerSideEncryptionAwsKms, x.b.EncryptionKey
	}
	_, err := x.s.Caller.Call(ctx, x.as, in)
	return err
}

// match finds the files below a folder that the patterns of a buildspec name:
// * stands for any characters of one name, ** for any folders. Pipes and
// devices, which may never end, are passed over; a link that leads out of the
// folder is an error.
func match(dir string, include, exclude []string) (files []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	in, out := compile(include), compile(exclude)
	err = fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !matches(in, p) || matches(out, p) {
			return err
		}
		info, err := root.Stat(filepath.FromSlash(p))
		if err != nil {
			return fail("CLIENT_ERROR", "artifact %s cannot be read: %v", p, err)
		}
		if info.Mode().IsRegular() {
			files = append(files, p)
		}
		return nil
	})
	return files, err
}

// leadsOut tells whether a name, which may be a link, is outside of a folder.
func leadsOut(dir, name string) (bool, error) {
	if !filepath.IsLocal(name) {
		return true, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, err
	}
	defer root.Close()
	_, err = root.Stat(name)
	return err != nil && !errors.Is(err, fs.ErrNotExist), nil
}

func matches(patterns []*regexp.Regexp, p string) bool {
	return slices.ContainsFunc(patterns, func(r *regexp.Regexp) bool { return r.MatchString(p) })
}

func compile(patterns []string) (all []*regexp.Regexp) {
	for _, p := range patterns {
		text := regexp.QuoteMeta(path.Clean(p))
		for _, r := range [][2]string{{`\*\*/`, "\x00"}, {`\*\*`, "\x01"}, {`\*`, `[^/]*`}, {`\?`, `[^/]`}, {"\x00", `(?:.*/)?`}, {"\x01", `.*`}} {
			text = strings.ReplaceAll(text, r[0], r[1])
		}
		all = append(all, regexp.MustCompile("^"+text+"$"))
	}
	return all
}

// zipTime is the fixed time of all files in all archives: the same files give
// the same bytes.
var zipTime = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// zipFiles packs files of a folder, in order, with their modes. Artifacts are
// read once, by the next stage, and often are archives already: the fastest
// level of compression is enough.
func zipFiles(dir string, files []string, flat bool) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for _, name := range slices.Sorted(slices.Values(files)) {
		info, content, err := readFile(dir, name)
		if err != nil {
			return nil, err
		}
		header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: zipTime}
		if flat {
			header.Name = path.Base(name)
		}
		header.SetMode(info.Mode().Perm())
		w, err := z.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(content); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// readFile reads a file through the folder's root, so that no link leads out.
func readFile(dir, name string) (fs.FileInfo, []byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	content, err := io.ReadAll(f)
	return info, content, err
}
