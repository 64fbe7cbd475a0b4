package wire_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"miniforge/internal/cloud/wire"
)

func TestBodiesAreBounded(t *testing.T) {
	large := func(n int64) func(*http.Request) { return func(r *http.Request) { r.ContentLength = n } }
	unsigned := func(r *http.Request) {
		r.Header.Del("Authorization")
		r.Header.Del("X-Amz-Target")
		r.ContentLength = 1<<20 + 1
	}
	for name, tc := range map[string]struct {
		body   string
		change func(*http.Request)
		status int
		want   string
	}{
		"announced":         {"{}", large(8<<20 + 1), http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException"},
		"not announced":     {strings.Repeat(" ", 8<<20+1), large(-1), http.StatusRequestEntityTooLarge, "RequestEntityTooLargeException"},
		"unsigned":          {"{}", unsigned, http.StatusBadRequest, "EntityTooLarge"},
		"cut off":           {"{}", func(r *http.Request) { r.Body = io.NopCloser(broken{io.ErrUnexpectedEOF}) }, http.StatusBadRequest, "IncompleteBody"},
		"too slow":          {"{}", func(r *http.Request) { r.Body = io.NopCloser(broken{os.ErrDeadlineExceeded}) }, http.StatusBadRequest, "RequestTimeout"},
		"just small enough": {`{"QueueUrl":"q","MessageBody":"b"}` + strings.Repeat(" ", 8<<20-34), nil, http.StatusOK, "MessageId"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := raw(t, newMux(), "AmazonSQS.SendMessage", tc.body, tc.change)
			if status != tc.status || !strings.Contains(answer, tc.want) {
				t.Errorf("%d %.300s", status, answer)
			}
		})
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func TestWhoComesWhenMemoryIsUsedUpIsSentAway(t *testing.T) {
	m := newMux()
	send := func(n int) int {
		status, _ := raw(t, m, "AmazonSQS.SendMessage", `{"QueueUrl":"q","MessageBody":"b"}`+strings.Repeat(" ", n), nil)
		return status
	}
	free := m.UseUp()
	if got := send(2 << 20); got != http.StatusServiceUnavailable {
		t.Errorf("a large body: %d", got)
	}
	if got := send(0); got != http.StatusOK {
		t.Errorf("a small body: %d", got)
	}
	free()
	if got := send(2 << 20); got != http.StatusOK {
		t.Errorf("afterwards: %d", got)
	}
	m.UseUp()() // all was given back
}

// FuzzRequests: whatever body comes, signed by somebody who may do it, it is
// taken or refused as a client's mistake.
func FuzzRequests(f *testing.F) {
	for _, s := range []string{
		`{"QueueUrl":"q","MessageBody":"b"}`, `{"MessageAttributes":{"a":{"BinaryValue":"AA==","DataType":"Binary"}}}`, `{"DelaySeconds":1e99}`, `[`, `{"a":` + strings.Repeat("[", 200),
		"Action=Publish&TopicArn=t&Message=m&MessageAttributes.entry.1.Name=a&MessageAttributes.entry.1.Value.DataType=String", "Action=Publish&MessageAttributes.entry.99999999999.Name=a", "Action=%zz&=",
	} {
		f.Add([]byte(s))
	}
	m := newMux()
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, target := range []string{"AmazonSQS.SendMessage", "DynamoDB_20120810.PutItem", ""} {
			status, answer := signedAs(t, m, target, string(body))
			if status >= http.StatusInternalServerError && status != http.StatusNotImplemented {
				t.Errorf("%s: %d %s", target, status, answer)
			}
		}
	})
}

func signedAs(t *testing.T, m http.Handler, target, body string) (int, string) {
	t.Helper()
	service := map[string]string{"AmazonSQS.SendMessage": "sqs", "DynamoDB_20120810.PutItem": "dynamodb", "": "sns"}[target]
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", strings.NewReader(body))
	if target != "" {
		r.Header.Set("X-Amz-Target", target)
	} else {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	cred := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "SECRET"}
	if err := v4.NewSigner().SignHTTP(t.Context(), cred, r, wire.Digest(body), service, "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}
