package cloud

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"miniforge/internal/cloud/wire"
)

// FuzzOperations sends any request, signed by the root user, to the real
// operations of all services: it is done or refused as a client's mistake, in
// the protocol of its service. Seeds are one request of each operation as the
// SDK sends it, and requests that work, to all kinds of resources.
func FuzzOperations(f *testing.F) {
	z := newFuzzed(f)
	for i := range z.ops {
		z.fill(f, i)
	}
	z.furnish(f)
	for _, s := range z.seeds {
		f.Add(s.op, s.line, s.headers, s.body)
	}
	for _, s := range finds {
		f.Add(z.index(f, s.op), s.line, s.headers, []byte(s.body))
	}
	f.Fuzz(func(t *testing.T, op uint16, line, headers string, body []byte) {
		service := z.ops[int(op)%len(z.ops)].Service
		r := request(line, headers, body)
		if r == nil || !z.sign(t, r, service, body) {
			return
		}
		z.log.take()
		w := httptest.NewRecorder()
		z.cloud.ServeHTTP(w, r.WithContext(t.Context()))
		if w.Code >= http.StatusInternalServerError && w.Code != http.StatusNotImplemented {
			t.Errorf("%s: %d %.500s\n%s", z.ops[int(op)%len(z.ops)].Name, w.Code, w.Body, z.log.take())
		}
		if !wellFormed(w) {
			t.Errorf("the answer is no %s: %.500q", w.Header().Get("Content-Type"), w.Body)
		}
	})
}

// wellFormed tells whether an answer is what it says that it is.
func wellFormed(w *httptest.ResponseRecorder) bool {
	kind, body := w.Header().Get("Content-Type"), w.Body.Bytes()
	switch {
	case len(body) == 0 || w.Header().Get("ETag") != "": // an object of S3 has the type that its owner likes
		return true
	case strings.HasPrefix(kind, "application/json"), strings.HasPrefix(kind, "application/x-amz-json"):
		return json.Valid(body)
	case strings.Contains(kind, "xml"):
		d := xml.NewDecoder(bytes.NewReader(body))
		for {
			if _, err := d.Token(); err != nil {
				return errors.Is(err, io.EOF)
			}
		}
	}
	return true
}

// request makes the request that a server would read, or nil.
func request(line, headers string, body []byte) *http.Request {
	method, target, _ := strings.Cut(line, " ")
	u, err := url.ParseRequestURI(target)
	if err != nil || !strings.HasPrefix(u.Path, "/") {
		return nil
	}
	h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(headers + "\r\n\r\n"))).ReadMIMEHeader()
	if err != nil {
		return nil
	}
	for _, values := range h {
		if strings.ContainsFunc(strings.Join(values, ""), func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return nil // net/http refuses it
		}
	}
	r, err := http.NewRequest(method, "http://127.0.0.1:4566/", bytes.NewReader(body)) //nolint:noctx // it gets one
	if err != nil {
		return nil
	}
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.Header = u.Path, u.RawPath, u.RawQuery, http.Header(h)
	r.RequestURI = u.RequestURI()
	return r
}

// fuzzed is a cloud under attack, with everything in it.
type fuzzed struct {
	cloud *Cloud
	log   *lastErrors
	ops   []wire.Operation
	seeds []seed
}

type seed struct {
	op            uint16
	line, headers string
	body          []byte
}

func newFuzzed(f *testing.F) *fuzzed {
	f.Helper()
	z := &fuzzed{log: &lastErrors{}}
	var err error
	z.cloud, err = New(f.Context(), Options{Logger: slog.New(slog.NewTextHandler(z.log, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := z.cloud.Close(); err != nil {
			f.Error(err)
		}
	})
	z.ops = z.cloud.mux.Operations()
	return z
}

func (z *fuzzed) index(f *testing.F, name string) uint16 {
	f.Helper()
	i := slices.IndexFunc(z.ops, func(o wire.Operation) bool { return o.Service+"."+o.Name == name })
	if i < 0 {
		f.Fatalf("no operation %s", name)
	}
	return uint16(i) //nolint:gosec // there are a few hundred
}

// call has the SDK send an operation's input through rt and keeps what it sent.
func (z *fuzzed) call(f *testing.F, in any, rt http.RoundTripper) error {
	f.Helper()
	i := slices.IndexFunc(z.ops, func(o wire.Operation) bool { return o.In == reflect.TypeOf(in).Elem() })
	if i < 0 {
		f.Fatalf("no operation takes %T", in)
	}
	cfg := z.cloud.config("")
	cfg.RetryMaxAttempts = 1
	cfg.HTTPClient = &http.Client{Transport: recorder{z, uint16(i), rt}} //nolint:gosec // there are a few hundred
	pkg := z.ops[i].In.PkgPath()[strings.LastIndexByte(z.ops[i].In.PkgPath(), '/')+1:]
	res := reflect.ValueOf(clients[pkg](cfg)).MethodByName(z.ops[i].Name).Call([]reflect.Value{reflect.ValueOf(f.Context()), reflect.ValueOf(in)})
	err, _ := reflect.TypeAssert[error](res[1])
	return err
}

// fill keeps a request of operation i with all members, which goes nowhere.
func (z *fuzzed) fill(f *testing.F, i int) {
	f.Helper()
	in := reflect.New(z.ops[i].In)
	filler{rand.New(rand.NewPCG(11, uint64(i)))}.fill(in.Elem(), 0) //nolint:gosec // a test's randomness
	n := len(z.seeds)
	_ = z.call(f, in.Interface(), nowhere{}) // it has to fail
	if len(z.seeds) != n+1 {
		f.Fatalf("%s sent %d requests", z.ops[i].Name, len(z.seeds)-n)
	}
}

// furnish fills the cloud and keeps the requests that do it.
func (z *fuzzed) furnish(f *testing.F) {
	f.Helper()
	for _, in := range furniture(z.cloud.Account, z.cloud.Region) {
		if err := z.call(f, in, z.cloud.Transport()); err != nil {
			f.Fatalf("%T: %v", in, err)
		}
	}
}

// notReplayed are headers that are made anew or mean nothing to the cloud.
var notReplayed = []string{"Authorization", "X-Amz-Date", "Amz-Sdk-Invocation-Id", "Amz-Sdk-Request", "User-Agent", "Accept-Encoding", "Content-Length"}

type recorder struct {
	z    *fuzzed
	op   uint16
	next http.RoundTripper
}

func (r recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	h := req.Header.Clone()
	for _, name := range notReplayed {
		h.Del(name)
	}
	var text strings.Builder
	if err := h.Write(&text); err != nil {
		return nil, err
	}
	r.z.seeds = append(r.z.seeds, seed{r.op, req.Method + " " + req.URL.RequestURI(), strings.TrimSuffix(text.String(), "\r\n"), body})
	return r.next.RoundTrip(req)
}

type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("nowhere") }

// sign signs as the root user. It fails for requests that the SDK cannot sign.
func (z *fuzzed) sign(t *testing.T, r *http.Request, service string, body []byte) bool {
	t.Helper()
	digest := r.Header.Get("X-Amz-Content-Sha256")
	if !strings.HasPrefix(digest, "STREAMING-") && digest != "UNSIGNED-PAYLOAD" {
		sum := sha256.Sum256(body)
		digest = hex.EncodeToString(sum[:])
		r.Header.Set("X-Amz-Content-Sha256", digest)
	}
	cred := aws.Credentials{AccessKeyID: z.cloud.AccessKeyID, SecretAccessKey: z.cloud.SecretAccessKey}
	err := v4.NewSigner().SignHTTP(t.Context(), cred, r, digest, service, z.cloud.Region, time.Now(), func(o *v4.SignerOptions) {
		o.DisableURIPathEscaping = service == "s3"
	})
	return err == nil
}

// lastErrors holds what was logged since it was last taken.
type lastErrors struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements [io.Writer].
func (l *lastErrors) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lastErrors) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return strings.ReplaceAll(l.b.String(), `\n`, "\n")
}
