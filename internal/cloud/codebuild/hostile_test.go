//go:build unix

package codebuild

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codebuild/types"
)

type entry struct {
	name, text string
	mode       fs.FileMode
}

func packed(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name}
		h.SetMode(e.mode | 0o600)
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(e.name, "/") {
			continue
		}
		if _, err := w.Write([]byte(e.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSourcesAndArtifactsStayInside: neither a source archive nor a buildspec
// brings CodeBuild to write or to read beside the build's folder.
func TestSourcesAndArtifactsStayInside(t *testing.T) {
	const good = "version: 0.2\nphases: {build: {commands: ['true']}}\n"
	const link = fs.ModeSymlink
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	linked := "version: 0.2\nphases: {build: {commands: ['ln -s " + outside + " out && ln -s " + canary + " file && mkfifo pipe']}}\nartifacts: "
	for name, tc := range map[string]struct {
		source []entry
		text   string
	}{
		"up":                    {[]entry{{"../canary", "x", 0}}, "leads out"},
		"absolute":              {[]entry{{canary, "x", 0}}, "leads out"},
		"link to elsewhere":     {[]entry{{"l", "../../..", link}}, "leads out"},
		"absolute link":         {[]entry{{"l", canary, link}}, "leads out"},
		"through absolute link": {[]entry{{"l", outside, link}, {"l/canary", "x", 0}}, "leads out"},
		"over a link":           {[]entry{{"l", canary, link}, {"l", "x", 0}}, "leads out"},
		"chain of links":        {[]entry{{"a/", "", fs.ModeDir}, {"a/d", ".", link}, {"e", "a/d/../..", link}, {"e/canary", "x", 0}}, "escapes"},
		"buildspec elsewhere":   {[]entry{{"buildspec.yml", canary, link}}, "leads out"},
		"base directory":        {[]entry{{"buildspec.yml", linked + "{base-directory: out, files: ['**/*']}", 0}}, "leads out"},
		"base below a link":     {[]entry{{"buildspec.yml", linked + "{base-directory: out/., files: ['**/*']}", 0}}, "leads out"},
		"file of artifacts":     {[]entry{{"buildspec.yml", linked + "{files: ['file']}", 0}}, "escapes"},
		"pipe":                  {[]entry{{"buildspec.yml", linked + "{files: ['pipe']}", 0}}, "no matching artifact paths"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.project(good, map[string]string{})
			r.mu.Lock()
			r.objects["in/source"] = packed(t, tc.source...)
			r.mu.Unlock()
			b := r.await(*r.start(sdk.StartBuildInput{}).Id, complete)
			var said []string
			for _, p := range b.Phases {
				for _, c := range p.Contexts {
					said = append(said, *c.StatusCode+" "+*c.Message)
				}
			}
			if text := strings.Join(said, "\n"); b.BuildStatus != types.StatusTypeFailed || !strings.Contains(text, "CLIENT_ERROR") || !strings.Contains(text, tc.text) {
				t.Errorf("%s: %s\n%s", b.BuildStatus, text, r.log())
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.objects) != 1 {
				t.Errorf("objects of S3: %q", r.objects)
			}
			if text, err := os.ReadFile(canary); err != nil || string(text) != "secret" {
				t.Errorf("the file outside: %q, %v", text, err)
			}
			if all, err := os.ReadDir(outside); err != nil || len(all) != 1 {
				t.Errorf("files outside: %v, %v", all, err)
			}
		})
	}
}

// TestTheUsersEnvironmentIsTheirs: nothing of the process that runs the cloud
// is in a build, but where programs are.
func TestTheUsersEnvironmentIsTheirs(t *testing.T) {
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "SSH_AUTH_SOCK", "MARKER", "HOME"} {
		t.Setenv(name, "/private-"+name)
	}
	t.Setenv("GOCACHE", t.TempDir()) // or go env would name one below HOME
	t.Setenv("GOMODCACHE", t.TempDir())
	private, err := os.Create(filepath.Join(t.TempDir(), "private-file"))
	if err != nil {
		t.Fatal(err)
	}
	defer private.Close()
	r := newRig(t)
	r.project("version: 0.2\nphases: {build: {commands: ['env', 'ls -l /proc/self/fd || true', 'echo keys of $AWS_ACCESS_KEY_ID']}}\nartifacts: {files: [buildspec.yml]}\n", map[string]string{})
	b := r.await(*r.start(sdk.StartBuildInput{}).Id, complete)
	if b.BuildStatus != types.StatusTypeSucceeded || !strings.Contains(r.log(), "keys of AKROLE") {
		t.Fatalf("%s\n%s", b.BuildStatus, r.log())
	}
	if strings.Contains(r.log(), "private-") {
		t.Errorf("the build sees what is private:\n%s", r.log())
	}
}

// FuzzBuildspec: any text is a buildspec or is refused.
func FuzzBuildspec(f *testing.F) {
	for _, s := range []string{
		"version: 0.2\nenv: {variables: {A: b}, exported-variables: [A]}\nphases:\n  install: {runtime-versions: {golang: 1.26}}\n  build: {on-failure: ABORT, commands: [go build], finally: [true]}\nartifacts: {files: ['**/*'], discard-paths: yes, secondary-artifacts: {a: {files: [b]}}}\n",
		`{"version":0.2,"phases":{"build":{"commands":["x"]}}}`, "version: &a [*a]", "? - : !!binary x", "a: |\n  b\n--- \n...", "version: 0.2\nphases: {build: {commands: 5}}", "\xff\x00", "<<: *x", "%YAML 9",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := parseBuildspec(text)
		if (b == nil) == (err == nil) {
			t.Errorf("%v, %v", b, err)
		}
		if b != nil {
			matches(compile(b.Artifacts.Files), "a/b.c")
			b.Artifacts.discards()
		}
	})
}
