package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"miniforge/internal/target/local"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"local", ""},
		{"aws", ""},
		{"http://127.0.0.1:4566", ""},
		{"https://localhost:4566/", ""},
		{"", "target must be"},
		{"lokal", "target must be"},
		{"127.0.0.1:4566", "target must be"},
		{"ftp://host", "target must be"},
		{"http://", "target must be"},
		{"http://host/path", "without path"},
		{"http://user:secret@host", "without path, user"},
		{"https://sqs.eu-central-1.amazonaws.com", "say --target aws"},
		{"https://SQS.EU-CENTRAL-1.AMAZONAWS.COM.", "say --target aws"},
		{"https://lambda.us-east-1.api.aws", "say --target aws"},
	} {
		err := Parse(tc.in)
		if got := fmt.Sprint(err); (err == nil) != (tc.want == "") || tc.want != "" && !strings.Contains(got, tc.want) {
			t.Errorf("Parse(%q) = %v, want %q", tc.in, err, tc.want)
		}
	}
}

func TestRealAWS(t *testing.T) {
	for host, want := range map[string]bool{
		"amazonaws.com": true, "a.execute-api.us-east-1.amazonaws.com": true, "sqs.cn-north-1.amazonaws.com.cn": true, "x.on.aws": true,
		"localhost": false, "notamazonaws.com": false, "amazonaws.com.example.org": false, "127.0.0.1": false,
	} {
		if got := realAWS(host); got != want {
			t.Errorf("realAWS(%q) = %v, want %v", host, got, want)
		}
	}
}

// isolated keeps the SDK's chain from the machine's own configuration.
func isolated(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"} {
		t.Setenv(v, "")
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
}

func none(string) string { return "" }

// endpoint answers GetCallerIdentity, and tells who asked.
func endpoint(t *testing.T, status int, body string) (url string, asked func() string) {
	t.Helper()
	var authorization string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization = r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() string { return authorization }
}

const identity = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>` +
	`<Arn>arn:aws:iam::123456789012:root</Arn><UserId>123456789012</UserId><Account>123456789012</Account>` +
	`</GetCallerIdentityResult></GetCallerIdentityResponse>`

func TestOpenURL(t *testing.T) {
	isolated(t)
	url, asked := endpoint(t, http.StatusOK, identity)
	// A diversion of one service must not be followed.
	t.Setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
	got, err := Open(t.Context(), Options{Target: url + "/", Getenv: none})
	if err != nil {
		t.Fatal(err)
	}
	if got.Account != "123456789012" || got.Region != "us-east-1" || got.Endpoint != url || got.Kind != "url" || got.GOOS != "linux" {
		t.Errorf("target %+v", got)
	}
	if !strings.Contains(asked(), "Credential=test/") {
		t.Errorf("without credentials of the user it signed as %q, want the emulators' test", asked())
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAMINE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	if _, err := Open(t.Context(), Options{Target: url, Region: "eu-west-1", Getenv: none}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(asked(), "Credential=AKIAMINE/") || !strings.Contains(asked(), "/eu-west-1/") {
		t.Errorf("it signed as %q, want the user's key and region", asked())
	}
}

func TestOpenErrors(t *testing.T) {
	isolated(t)
	refused, _ := endpoint(t, http.StatusForbidden, `<ErrorResponse><Error><Type>Sender</Type><Code>InvalidClientTokenId</Code><Message>bad token</Message></Error></ErrorResponse>`)
	set := func(key, value string) func(string) string {
		return func(k string) string {
			if k == key {
				return value
			}
			return ""
		}
	}
	for _, tc := range []struct {
		name string
		o    Options
		want error
	}{
		{"no such target", Options{Target: "moon", Getenv: none}, ErrTarget},
		{"nobody listens", Options{Target: "http://127.0.0.1:1", Getenv: none}, ErrUnreachable},
		{"credentials refused", Options{Target: refused, Getenv: none}, ErrCredentials},
		{"no such profile", Options{Target: "http://127.0.0.1:1", Profile: "nobody", Getenv: none}, ErrCredentials},
		{"aws, but the environment leads elsewhere", Options{Target: AWS, Region: "us-east-1", Getenv: set("AWS_ENDPOINT_URL", "http://127.0.0.1:1")}, ErrTarget},
		{"aws without a region", Options{Target: AWS, Getenv: none}, ErrTarget},
		{"a local cloud that never was", Options{Target: Local, Folder: local.Folder(t.TempDir()), Start: StartKnown, Getenv: none}, local.ErrNeverStarted},
	} {
		if _, err := Open(t.Context(), tc.o); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestGuard(t *testing.T) {
	isolated(t)
	sent := false
	cfg := guarded(aws.Config{Region: "us-east-1", Credentials: static("a", "b"), HTTPClient: doer(func(*http.Request) (*http.Response, error) {
		sent = true
		return nil, errors.New("sent")
	})})
	// No endpoint: the SDK resolves that of AWS.
	_, err := sqs.NewFromConfig(cfg).ListQueues(t.Context(), &sqs.ListQueuesInput{}, func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
	if guard, is := errors.AsType[*GuardError](err); !is || guard.Host != "sqs.us-east-1.amazonaws.com" || sent {
		t.Errorf("error %v, sent %v; want a GuardError and nothing sent", err, sent)
	}
	redirecting := httptest.NewServer(http.RedirectHandler("https://apigateway.us-east-1.amazonaws.com/", http.StatusTemporaryRedirect))
	t.Cleanup(redirecting.Close)
	cfg = guarded(aws.Config{Region: "us-east-1", Credentials: static("a", "b"), HTTPClient: newHTTPClient(false), BaseEndpoint: &redirecting.URL})
	_, err = apigatewayv2.NewFromConfig(cfg).GetApis(t.Context(), &apigatewayv2.GetApisInput{}, func(o *apigatewayv2.Options) { o.RetryMaxAttempts = 1 })
	if _, is := errors.AsType[*GuardError](err); !is {
		t.Errorf("redirected: %v, want a GuardError", err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://x.execute-api.us-east-1.amazonaws.com/orders", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := guardedHTTP().Do(req)
	if _, is := errors.AsType[*GuardError](err); !is {
		t.Errorf("plain HTTP: %v, want a GuardError", err)
	}
	if resp != nil {
		resp.Body.Close()
	}
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

func TestExplainLeavesOthersAlone(t *testing.T) {
	for _, err := range []error{errors.New("else"), context.Canceled, fmt.Errorf("wrapped: %w", context.DeadlineExceeded)} {
		if got := Explain("x", err); !errors.Is(got, err) || errors.Is(got, ErrUnreachable) || errors.Is(got, ErrCredentials) {
			t.Errorf("Explain(%v) = %v", err, got)
		}
	}
}
