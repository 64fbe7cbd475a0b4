//go:build unix

package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"miniforge/internal/cloud/lambda/sandbox"
)

const runtimeAPI = "/2018-06-01/runtime"

// apiOf is the host and the token of a function's Runtime API, as it knows them.
func apiOf(t *testing.T, box sandbox.Sandbox) (host, token string) {
	t.Helper()
	var env []string
	if err := json.Unmarshal(invoke(box, "env", nil, 10*time.Second).Payload, &env); err != nil {
		t.Fatal(err)
	}
	for _, v := range env {
		if v, ok := strings.CutPrefix(v, "AWS_LAMBDA_RUNTIME_API="); ok {
			host, token, _ = strings.Cut(v, "/")
		}
	}
	if host == "" || len(token) < 26 {
		t.Fatalf("host %q, token of %d characters", host, len(token))
	}
	return host, token
}

// TestOnlyTheFunctionReachesItsRuntimeAPI: somebody else on the machine finds
// the port, and can neither take an invocation nor answer one.
func TestOnlyTheFunctionReachesItsRuntimeAPI(t *testing.T) {
	box, _, err := launch(t)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := launch(t)
	if err != nil {
		t.Fatal(err)
	}
	host, token := apiOf(t, box)
	if _, theirs := apiOf(t, other); theirs == token {
		t.Fatal("two functions have the same token")
	}
	_, theirs := apiOf(t, other)
	gate := filepath.Join(t.TempDir(), "gate")
	result := make(chan sandbox.Result, 1)
	go func() { result <- invoke(box, "wait", gate, 30*time.Second) }()
	for _, attempt := range []struct{ method, path string }{
		{http.MethodGet, runtimeAPI + "/invocation/next"},
		{http.MethodGet, "/" + theirs + runtimeAPI + "/invocation/next"},
		{http.MethodGet, "/" + token[1:] + runtimeAPI + "/invocation/next"},
		{http.MethodGet, "//" + token + runtimeAPI + "/invocation/next"},
		{http.MethodGet, "/" + strings.ToLower(token) + runtimeAPI + "/invocation/next"},
		{http.MethodGet, "/x/../" + token[:10] + "/.." + runtimeAPI + "/invocation/next"},
		{http.MethodPost, runtimeAPI + "/invocation/id-wait/response"},
		{http.MethodPost, "/" + theirs + runtimeAPI + "/invocation/id-wait/response"},
		{http.MethodPost, runtimeAPI + "/invocation/id-wait/error"},
		{http.MethodPost, runtimeAPI + "/init/error"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), attempt.method, "http://"+host+attempt.path, strings.NewReader(`"stolen"`))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusForbidden || strings.Contains(string(text), token) {
			t.Errorf("%s %s: %s %s", attempt.method, attempt.path, res.Status, text)
		}
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r := <-result; string(r.Payload) != `"done"` || r.Failed {
		t.Errorf("the function's own answer is lost: %+v %s", r, r.Payload)
	}
}

// TestTheUsersEnvironmentIsTheirs: nothing of the process that runs the cloud
// is in a function, but what its specification says.
func TestTheUsersEnvironmentIsTheirs(t *testing.T) {
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "SSH_AUTH_SOCK", "HOME", "MARKER"} {
		t.Setenv(name, "private-"+name)
	}
	private, err := os.Create(filepath.Join(t.TempDir(), "private-file"))
	if err != nil {
		t.Fatal(err)
	}
	defer private.Close()
	box, _, err := launch(t)
	if err != nil {
		t.Fatal(err)
	}
	var env []string
	if err := json.Unmarshal(invoke(box, "env", nil, 10*time.Second).Payload, &env); err != nil {
		t.Fatal(err)
	}
	for _, v := range env { // the runtime sets the latter itself
		if !strings.HasPrefix(v, "AWS_LAMBDA_RUNTIME_API=") && !strings.HasPrefix(v, "_X_AMZN_TRACE_ID=") {
			t.Errorf("the function has %s", v)
		}
	}
	if runtime.GOOS != "linux" {
		return
	}
	var files []string
	if err := json.Unmarshal(invoke(box, "files", nil, 10*time.Second).Payload, &files); err != nil {
		t.Fatal(err)
	}
	if len(files) < 3 || slices.Contains(files, private.Name()) {
		t.Errorf("open files: %q", files)
	}
}
