//go:build unix

package cloud

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/codecommit"
	committypes "github.com/aws/aws-sdk-go-v2/service/codecommit/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// TestNamesLeadNowhere: what callers name and pack stays inside of the state
// folder, of which others on the machine can read nothing, whatever the umask.
func TestNamesLeadNowhere(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(outside, "a", "b", "state")
	c, err := New(t.Context(), Options{Dir: state})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("bucket keys", func(t *testing.T) { keysLeadNowhere(t, c, canary) })
	t.Run("paths of repositories", func(t *testing.T) { pathsLeadNowhere(t, c, canary) })
	t.Run("packages of functions", func(t *testing.T) { packagesLeadNowhere(t, c, canary) })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(canary); err != nil || string(text) != "untouched" {
		t.Errorf("the file outside: %q, %v", text, err)
	}
	files := 0
	err = filepath.WalkDir(outside, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if in, err := filepath.Rel(state, p); err != nil || strings.HasPrefix(in, "..") {
			if !strings.HasPrefix(state, p) && p != canary {
				t.Errorf("%s was made outside of the state folder", p)
			}
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files++
		if d.Type()&fs.ModeSymlink == 0 && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v", p, info.Mode())
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files, %v", files, err)
	}
}

func keysLeadNowhere(t *testing.T, c *Cloud, canary string) {
	t.Helper()
	client := s3.NewFromConfig(c.config(""), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: new("keys")}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"../../canary", "../../../../canary", canary, "a/../../b", "./x", "a\\..\\b", "%2e%2e/x", strings.Repeat("k", 1024), "a//b/", "..", "a\x00b"} {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("keys"), Key: &key, Body: strings.NewReader(key)}); err != nil {
			t.Errorf("put %.30q: %v", key, err)
			continue
		}
		out, err := client.GetObject(t.Context(), &s3.GetObjectInput{Bucket: new("keys"), Key: &key})
		if err != nil {
			t.Errorf("get %.30q: %v", key, err)
			continue
		}
		if text, err := io.ReadAll(out.Body); err != nil || string(text) != key {
			t.Errorf("get %.30q: %.30q, %v", key, text, err)
		}
	}
	long := new(strings.Repeat("k", 1025))
	_, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: new("keys"), Key: long, Body: strings.NewReader("x")})
	refusedAs(t, "a long key", err, "KeyTooLongError")
	_, err = client.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: new("keys"), Key: long, CopySource: new("keys/..")})
	refusedAs(t, "a long key of a copy", err, "KeyTooLongError")
	_, err = client.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: new("keys"), Key: long})
	refusedAs(t, "a long key of an upload", err, "KeyTooLongError")
	for _, bucket := range []string{"../keys", "..", "a/b", "a\x00b", "KEYS"} {
		if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err == nil {
			t.Errorf("bucket %q was made", bucket)
		}
	}
}

func pathsLeadNowhere(t *testing.T, c *Cloud, canary string) {
	t.Helper()
	client := codecommit.NewFromConfig(c.config(""))
	if _, err := client.CreateRepository(t.Context(), &codecommit.CreateRepositoryInput{RepositoryName: new("paths")}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"../canary", "a/../../canary", canary, ".git/config", "a/.GIT/config", "git~1/config", "a\x00b", "a\\..\\b", ".", "a/./b", "a//b", strings.Repeat("p/", 3000) + "p"} {
		_, err := client.CreateCommit(t.Context(), &codecommit.CreateCommitInput{RepositoryName: new("paths"), BranchName: new("main"), PutFiles: []committypes.PutFileEntry{{FilePath: &p, FileContent: []byte("x")}}})
		refusedAs(t, p, err, "InvalidPathException")
		_, err = client.PutFile(t.Context(), &codecommit.PutFileInput{RepositoryName: new("paths"), BranchName: new("main"), FilePath: &p, FileContent: []byte("x")})
		refusedAs(t, p, err, "InvalidPathException")
	}
	for name, code := range map[string]string{"../x": "ValidationException", "a/b": "ValidationException", "a\x00b": "ValidationException", "a.git": "InvalidRepositoryNameException"} {
		_, err := client.CreateRepository(t.Context(), &codecommit.CreateRepositoryInput{RepositoryName: &name})
		refusedAs(t, name, err, code)
	}
}

func packagesLeadNowhere(t *testing.T, c *Cloud, canary string) {
	t.Helper()
	const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	role, err := iam.NewFromConfig(c.config("")).CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: new("f"), AssumeRolePolicyDocument: new(trust)})
	if err != nil {
		t.Fatal(err)
	}
	client := lambda.NewFromConfig(c.config(""))
	create := func(ctx context.Context, name string, pkg []byte) error {
		_, err := client.CreateFunction(ctx, &lambda.CreateFunctionInput{FunctionName: &name, Role: role.Role.Arn, Runtime: "provided.al2023", Handler: new("bootstrap"), Code: &lambdatypes.FunctionCode{ZipFile: pkg}})
		return err
	}
	const link = fs.ModeSymlink
	for name, pkg := range map[string][]byte{
		"up":                 packed(t, file{"../canary", "x", 0}),
		"up-inside":          packed(t, file{"a/../../canary", "x", 0}),
		"absolute":           packed(t, file{canary, "x", 0}),
		"backslash":          packed(t, file{`..\canary`, "x", 0}),
		"nul":                packed(t, file{"a\x00b", "x", 0}),
		"through-link":       packed(t, file{"l", filepath.Dir(canary), link}, file{"l/canary", "x", 0}),
		"over-link":          packed(t, file{"l", canary, link}, file{"l", "x", 0}),
		"chain-of-links":     packed(t, file{"d", ".", link}, file{"e", "d/../..", link}, file{"e/canary", "x", 0}),
		"folder-behind-link": packed(t, file{"l", filepath.Dir(canary), link}, file{"l/made/", "", 0}),
		"device":             packed(t, file{"d", "", fs.ModeDevice}),
		"pipe":               packed(t, file{"p", "", fs.ModeNamedPipe}),
		"twice":              packed(t, file{"f", "x", 0}, file{"f", "y", 0}),
		"file-and-folder":    packed(t, file{"f", "x", 0}, file{"f/g", "y", 0}),
		"bomb":               packed(t, file{"bomb", strings.Repeat("\x00", 263<<20), 0}),
		"empty":              packed(t),
		"no-archive":         []byte("x"),
	} {
		refusedAs(t, name, create(t.Context(), name, pkg), "InvalidParameterValueException")
	}
	if err := create(t.Context(), "good", packed(t, file{"bootstrap", "#!/bin/sh\n", 0o777}, file{"a/b/c", "x", 0o666}, file{"d/", "", 0o777})); err != nil {
		t.Error(err)
	}
}

func refusedAs(t *testing.T, name string, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("%.40q: %.200v, want %s", name, err, code)
	}
}
