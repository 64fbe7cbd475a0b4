package codecommit

import (
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crypto/sha256"
	"encoding/hex"

	sdk "github.com/aws/aws-sdk-go-v2/service/codecommit"
)

type handler struct{ *Service }

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.ServeGit(w, r) }

// password signs as the AWS CLI's credential helper does.
func password(secret, region, host, path string, at time.Time) string {
	stamp := at.UTC().Format("20060102T150405")
	canonical := sha256.Sum256([]byte("GIT\n" + path + "\n\nhost:" + host + "\n\nhost\n"))
	scope := stamp[:8] + "/" + region + "/codecommit/aws4_request"
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	return stamp + "Z" + hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(canonical[:])))
}

// A checkout runs git in a folder of its own, without the user's settings.
type checkout struct {
	t   *testing.T
	dir string
}

func (c checkout) git(args ...string) (string, error) {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "git", args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c checkout) must(args ...string) string {
	c.t.Helper()
	out, err := c.git(args...)
	if err != nil {
		c.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func (c checkout) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func remote(t *testing.T, server, user, secret, repository string) string {
	t.Helper()
	u, err := url.Parse(server + GitPath + repository)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password(secret, region, u.Hostname(), u.Path, time.Now()))
	return u.String()
}

// TestGit clones, pushes, fetches and is refused, with the real git.
func TestGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatalf("git is needed beside Go: %v", err)
	}
	r := newRig(t)
	server := r.serve(t)
	r.repository(t, "r")
	origin := remote(t, server, "AKANN", secret, "r")
	top := checkout{t, t.TempDir()}

	top.must("clone", "-q", origin, "empty")
	first := r.put(t, "r", map[string]string{"README.md": "hello", "src/a.go": "package a"})
	top.must("clone", "-q", origin, "one")
	one := checkout{t, filepath.Join(top.dir, "one")}
	if got := one.must("rev-parse", "HEAD"); got != first {
		t.Errorf("cloned %s, want %s", got, first)
	}
	one.must("fsck", "--strict")

	// A push is what the API shows, a commit of the API is what a pull gets.
	one.write("README.md", "hello again")
	one.write("new", "x")
	one.must("add", ".")
	one.must("commit", "-qm", "from git")
	one.must("push", "-q", "origin", "HEAD:main", "HEAD:feature")
	pushed := one.must("rev-parse", "HEAD")
	b, err := r.GetBranch(r.ctx, &sdk.GetBranchInput{RepositoryName: new("r"), BranchName: new("feature")})
	if err != nil || *b.Branch.CommitId != pushed {
		t.Fatalf("feature is %+v, %v, want %s", b, err, pushed)
	}
	if got := r.folder(t, "/"); got["README.md"] != "hello again" || got["new"] != "x" || len(got) != 3 {
		t.Errorf("the push is there as %v", got)
	}
	second := r.put(t, "r", map[string]string{"new": "y"}, "src/a.go")
	one.must("pull", "-q", "--ff-only", "origin", "main")
	if got := one.must("rev-parse", "HEAD"); got != second {
		t.Errorf("pulled %s, want %s", got, second)
	}
	one.must("push", "-q", "origin", ":feature")

	// Somebody else was faster.
	empty := checkout{t, filepath.Join(top.dir, "empty")}
	empty.write("other", "1")
	empty.must("add", ".")
	empty.must("commit", "-qm", "unrelated")
	if out, err := empty.git("push", "origin", "HEAD:main"); err == nil || !strings.Contains(out, "rejected") {
		t.Errorf("a push over others' commits: %v\n%s", err, out)
	}
	if out, err := one.git("push", "origin", ":main"); err == nil || !strings.Contains(out, "default branch") {
		t.Errorf("deleting the default branch: %v\n%s", err, out)
	}
	if out, err := top.git("clone", "--depth", "1", origin, "shallow"); err == nil || !strings.Contains(out, "shallow") {
		t.Errorf("a shallow clone: %v\n%s", err, out)
	}
}

func TestGitIsRefused(t *testing.T) {
	r := newRig(t)
	server := r.serve(t)
	r.repository(t, "r")
	get := func(u, service string) int {
		t.Helper()
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u+"/info/refs?service="+service, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Body.Close()
		return a.StatusCode
	}
	ok := remote(t, server, "AKANN", secret, "r")
	host, _, _ := strings.Cut(strings.TrimPrefix(server, "http://"), ":")
	old := strings.Replace(server, "http://", "http://AKANN:"+password(secret, region, host, GitPath+"r", time.Now().Add(-time.Hour))+"@", 1) + GitPath + "r"
	for name, c := range map[string]struct {
		url, service string
		want         int
	}{
		"right":             {ok, uploadPack, 200},
		"no credentials":    {server + GitPath + "r", uploadPack, 401},
		"another secret":    {remote(t, server, "AKANN", "guess", "r"), uploadPack, 401},
		"another key":       {remote(t, server, "AKBOB", secret, "r"), uploadPack, 401},
		"too old":           {old, uploadPack, 401},
		"for another":       {strings.Replace(remote(t, server, "AKANN", secret, "q"), "/q", "/r", 1), uploadPack, 401},
		"no repository":     {remote(t, server, "AKANN", secret, "no"), uploadPack, 401},
		"another programme": {ok, "git-upload-archive", 404},
	} {
		if got := get(c.url, c.service); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	r.mu.Lock()
	r.denied = "codecommit:GitPush"
	r.mu.Unlock()
	if pull, push := get(ok, uploadPack), get(ok, receivePack); pull != 200 || push != 403 {
		t.Errorf("with pushes denied, a pull gets %d and a push %d", pull, push)
	}
}
