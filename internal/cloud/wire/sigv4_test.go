package wire_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"miniforge/internal/cloud/wire"
)

var credential = aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "SECRET"}

// sign is the SDK's signature of a request, which ours is held against.
func sign(t testing.TB, r *http.Request, c aws.Credentials, payload, service, region string, at time.Time) {
	t.Helper()
	err := v4.NewSigner().SignHTTP(t.Context(), c, r, payload, service, region, at, func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
	if err != nil {
		t.Fatal(err)
	}
}

// A protocol is a service of each kind of protocol, by its errors.
var protocols = []struct {
	service string
	wire.Protocol
}{{"sqs", wire.JSON10}, {"sts", wire.Query}, {"lambda", wire.RESTJSON}, {"s3", wire.RESTXML}}

// TestRefusalsAreThoseOfAWS has the code that each protocol gives to what is
// wrong with a signature; "" is accepted.
func TestRefusalsAreThoseOfAWS(t *testing.T) {
	const none = ""
	resign := func(id, secret, token string, at time.Duration, payload string) func(testing.TB, *http.Request, string) {
		return func(t testing.TB, r *http.Request, service string) {
			r.Header.Del("Authorization")
			sign(t, r, aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}, payload, service, "us-east-1", time.Now().Add(at))
		}
	}
	edit := func(from, to string) func(testing.TB, *http.Request, string) {
		return func(_ testing.TB, r *http.Request, _ string) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
		}
	}
	header := func(k, v string) func(testing.TB, *http.Request, string) {
		return func(_ testing.TB, r *http.Request, _ string) { r.Header.Add(k, v) }
	}
	body := wire.Digest("body")
	for _, c := range []struct {
		name                   string
		change                 func(testing.TB, *http.Request, string)
		json, query, rest, xml string
	}{
		{"as signed", func(testing.TB, *http.Request, string) {}, none, none, none, none},
		{"header that is not AWS's added", header("X-Other", "v"), none, none, none, none},
		{"no signature", func(_ testing.TB, r *http.Request, _ string) { r.Header.Del("Authorization") },
			"MissingAuthenticationTokenException", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "AccessDenied"},
		{"wrong secret", resign("AKID", "secret", "", 0, body), "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidSignatureException", "SignatureDoesNotMatch"},
		{"unknown key", resign("AKOTHER", "SECRET", "", 0, body), "UnrecognizedClientException", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"},
		{"foreign token", resign("AKID", "SECRET", "foreign", 0, body), "UnrecognizedClientException", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidToken"},
		{"expired token", resign("AKID", "SECRET", "expired", 0, body), "ExpiredTokenException", "ExpiredToken", "ExpiredTokenException", "ExpiredToken"},
		{"too old", resign("AKID", "SECRET", "", -16*time.Minute, body), "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidSignatureException", "RequestTimeTooSkewed"},
		{"too new", resign("AKID", "SECRET", "", 16*time.Minute, body), "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidSignatureException", "RequestTimeTooSkewed"},
		{"old but not too old", resign("AKID", "SECRET", "", -14*time.Minute, body), none, none, none, none},
		{"new but not too new", resign("AKID", "SECRET", "", 14*time.Minute, body), none, none, none, none},
		{"other algorithm", edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed"},
		{"credential of four parts", edit("/aws4_request", ""), "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed"},
		{"credential of six parts", edit("AKID/", "AKID/x/"), "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed"},
		{"wrong terminator", edit("aws4_request", "aws5_request"), "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed"},
		{"region with a colon", edit("us-east-1", "us:1"), "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed"},
		{"no signature in the header", edit(", Signature=", ", Other="), "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed"},
		{"two signatures in the header", edit(", Signature=", ", Signature=0, Signature="), "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed"},
		{"host is not signed", edit(";host;", ";"), "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed"},
		{"signed header twice", edit(";host;", ";host;host;"), "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidSignatureException", "SignatureDoesNotMatch"},
		{"signed header that is absent", edit(";host;", ";host;x-absent;"), "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidSignatureException", "SignatureDoesNotMatch"},
		{"other region", edit("us-east-1", "us-east-2"), "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidSignatureException", "SignatureDoesNotMatch"},
		{"AWS header added", header("X-Amz-Acl", "public-read"), "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidSignatureException", "AccessDenied"},
		{"two Authorization headers", header("Authorization", "AWS4-HMAC-SHA256 x"), "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "InvalidArgument"},
		{"query that cannot be read", func(_ testing.TB, r *http.Request, _ string) { r.URL.RawQuery += "&a=%zz" }, "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "AuthorizationHeaderMalformed"},
		{"presigned too", func(_ testing.TB, r *http.Request, _ string) { r.URL.RawQuery += "&X-Amz-Algorithm=AWS4-HMAC-SHA256" }, "IncompleteSignatureException", "IncompleteSignature", "IncompleteSignatureException", "InvalidArgument"},
		{"parameter named as the signature added", func(_ testing.TB, r *http.Request, _ string) { r.URL.RawQuery += "&X-Amz-Signature=1" }, "InvalidSignatureException", "SignatureDoesNotMatch", "InvalidSignatureException", "SignatureDoesNotMatch"},
	} {
		for i, want := range []string{c.json, c.query, c.rest, c.xml} {
			p := protocols[i]
			t.Run(c.name+" to "+p.service, func(t *testing.T) {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:4566/a/b?x=1&x-y=2&x.z", strings.NewReader("body"))
				r.Header.Set("Content-Type", "text/plain")
				r.Header.Set("X-Amz-Content-Sha256", body)
				sign(t, r, credential, body, p.service, "us-east-1", time.Now())
				c.change(t, r, p.service)
				_, err := newMux().Authenticate(r, []byte("body"), p.service, p.Protocol)
				got := ""
				if e, ok := errors.AsType[*wire.Error](err); ok {
					got = e.Code
				} else if err != nil {
					t.Fatal(err)
				}
				if got != want {
					t.Errorf("%v, want %q", err, want)
				}
			})
		}
	}
}

// TestDigestOfTheBody has what each service makes of X-Amz-Content-Sha256.
func TestDigestOfTheBody(t *testing.T) {
	for _, c := range []struct{ name, payload, sqs, s3 string }{
		{"the body's", wire.Digest("body"), "", ""},
		{"another body's", wire.Digest("other"), "InvalidSignatureException", "XAmzContentSHA256Mismatch"},
		{"unsigned", "UNSIGNED-PAYLOAD", "InvalidSignatureException", ""},
		{"no digest", "digest", "InvalidSignatureException", "InvalidArgument"},
		{"unknown streaming", "STREAMING-SOMEHOW", "InvalidSignatureException", "InvalidArgument"},
	} {
		for service, want := range map[string]string{"sqs": c.sqs, "s3": c.s3} {
			t.Run(c.name+" to "+service, func(t *testing.T) {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "http://127.0.0.1/b/k", strings.NewReader("body"))
				r.Header.Set("X-Amz-Content-Sha256", c.payload)
				sign(t, r, credential, c.payload, service, "us-east-1", time.Now())
				p := wire.JSON10
				if service == "s3" {
					p = wire.RESTXML
				}
				_, err := newMux().Authenticate(r, []byte("body"), service, p)
				if e, ok := errors.AsType[*wire.Error](err); ok != (want != "") || ok && e.Code != want {
					t.Errorf("%v, want %q", err, want)
				}
			})
		}
	}
}

// presign returns the presigned form of a URL.
func presign(t testing.TB, method, target, payload, service string, at time.Time) string {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), credential, r, payload, service, "us-east-1", at, func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" })
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestPresignedRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		replace := func(from, to string) func(string) string {
			return func(s string) string { return strings.Replace(s, from, to, 1) }
		}
		for _, c := range []struct {
			name, want string
			change     func(string) string
			wait       time.Duration
			header     string
		}{
			{"as signed", "", nil, 0, ""},
			{"just in time", "", nil, time.Minute, ""},
			{"too late", "AccessDenied: Request has expired", nil, 61 * time.Second, ""},
			{"too early", "AccessDenied: Request is not valid yet", nil, -16 * time.Minute, ""},
			{"other key", "SignatureDoesNotMatch", replace("/b/k", "/b/j"), 0, ""},
			{"longer", "SignatureDoesNotMatch", replace("Expires=60", "Expires=600"), 0, ""},
			{"longer than a week", "AuthorizationQueryParametersError: X-Amz-Expires must be less than a week", replace("Expires=60", "Expires=604801"), 0, ""},
			{"negative", "AuthorizationQueryParametersError: X-Amz-Expires must be non-negative", replace("Expires=60", "Expires=-1"), 0, ""},
			{"no number", "AuthorizationQueryParametersError: X-Amz-Expires should be a number", replace("Expires=60", "Expires=x"), 0, ""},
			{"for ever", "AuthorizationQueryParametersError: Query-string authentication version 4 requires", replace("X-Amz-Expires=60", "x=60"), 0, ""},
			{"no date", "AuthorizationQueryParametersError: Query-string authentication version 4 requires", replace("X-Amz-Date", "Date"), 0, ""},
			{"malformed credential", "AuthorizationQueryParametersError: Error parsing the X-Amz-Credential parameter", replace("aws4_request", "aws5_request"), 0, ""},
			{"other algorithm", "AuthorizationQueryParametersError: X-Amz-Algorithm only supports", replace("AWS4-HMAC-SHA256", "AWS4"), 0, ""},
			{"header that was not signed", "AccessDenied: There were headers present in the request which were not signed", nil, 0, "X-Amz-Copy-Source"},
			{"signed by header too", "InvalidArgument: Only one auth mechanism allowed", nil, 0, "Authorization"},
		} {
			uri := presign(t, http.MethodGet, "http://127.0.0.1/b/k?X-Amz-Expires=60", "UNSIGNED-PAYLOAD", "s3", time.Now().Add(-c.wait))
			if c.change != nil {
				uri = c.change(uri)
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, uri, nil)
			if c.header != "" {
				r.Header.Set(c.header, "v")
			}
			_, err := newMux().Authenticate(r, nil, "s3", wire.RESTXML)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(code(err), c.want)) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		}
	})
}

// FuzzSigV4 signs a request with the SDK's signer, changes it, and checks that
// what is accepted would be signed the same.
func FuzzSigV4(f *testing.F) {
	f.Add("POST", "/", "", "X-Amz-Target", "AmazonSQS.SendMessage", "{}", uint8(0), "", "", "")
	f.Add("PUT", "/b/k%2F%20+", "x-id=PutObject&a=%20&a=+", "X-Other", " a  b ", "body", uint8(1), "", "x=1", "")
	f.Add("GET", "/a//b/../c", "b&a-b=1&a=2", "Range", "bytes=0-", "", uint8(2), "AWS4-HMAC-SHA256 Credential=AKID/20200101/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature=0", "", "X-Amz-Acl")
	f.Add("GET", "/é", "%zz", "Content-Type", "", "", uint8(3), "AWS4-HMAC-SHA256 Credential=////, SignedHeaders=;;, Signature=", "", "")
	m := newMux()
	f.Fuzz(func(t *testing.T, method, path, query, key, value, body string, flags uint8, authorization, moreQuery, moreHeader string) {
		service, protocol := "sqs", wire.JSON10
		if flags&1 != 0 {
			service, protocol = "s3", wire.RESTXML
		}
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Host != "" || !strings.HasPrefix(path, "/") {
			return
		}
		u.Scheme, u.Host, u.RawQuery = "http", "127.0.0.1", query
		r, err := http.NewRequestWithContext(t.Context(), method, u.String(), bytes.NewReader([]byte(body)))
		if err != nil || !token(key) || strings.ContainsAny(value, "\r\n\x00") {
			return
		}
		r.Header.Set(key, value)
		r.Header.Set("X-Amz-Content-Sha256", wire.Digest(body))
		at := time.Now()
		sign(t, r, credential, wire.Digest(body), service, "us-east-1", at)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		if moreQuery != "" {
			r.URL.RawQuery += "&" + moreQuery
		}
		if token(moreHeader) {
			r.Header.Add(moreHeader, value)
		}
		sent := []byte(body)
		if i := int(flags >> 1); i < len(sent) {
			sent[i]++
		}
		if _, err := m.Authenticate(r, sent, service, protocol); err != nil {
			return
		}
		if again := signature(t, r, string(sent), service, at); again != r.Header.Get("Authorization") {
			t.Errorf("accepted %s %s %v, which the SDK signs %q", r.Method, r.URL, r.Header, again)
		}
	})
}

// signature is what the SDK's signer makes of those parts of a request that it says are signed.
func signature(t testing.TB, r *http.Request, body, service string, at time.Time) string {
	r = r.Clone(t.Context())
	_, list, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	list, _, _ = strings.Cut(list, ",")
	for k := range r.Header {
		if !slices.Contains(strings.Split(list, ";"), strings.ToLower(k)) {
			r.Header.Del(k)
		}
	}
	sign(t, r, credential, wire.Digest(body), service, "us-east-1", at)
	return r.Header.Get("Authorization")
}

func token(s string) bool {
	return s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// FuzzPresign signs a URL with the SDK's signer and checks that no other is accepted.
func FuzzPresign(f *testing.F) {
	f.Add("/b/k", "X-Amz-Expires=60", "", uint16(0), byte(0))
	f.Add("/b/k%20+é", "X-Amz-Expires=60&a=1&a=0&a-b", "", uint16(40), byte('x'))
	f.Add("/", "versionId=1", "&X-Amz-Expires=9", uint16(200), byte('0'))
	f.Add("/b", "", "&X-Amz-Signature=0", uint16(300), byte('&'))
	m := newMux()
	f.Fuzz(func(t *testing.T, path, query, more string, place uint16, b byte) {
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Host != "" || !strings.HasPrefix(path, "/") {
			return
		}
		if _, err := url.ParseQuery(query); err != nil || strings.Contains(query, "X-Amz-S") {
			return
		}
		u.Scheme, u.Host, u.RawQuery = "http", "127.0.0.1", query
		if _, err := url.ParseRequestURI(u.String()); err != nil || strings.ContainsAny(u.String(), " \t\r\n") {
			return
		}
		signed := presign(t, http.MethodGet, u.String(), "UNSIGNED-PAYLOAD", "s3", time.Now())
		changed := []byte(signed + more)
		if b != 0 {
			changed[int(place)%len(changed)] = b
		}
		got, err := url.ParseRequestURI(string(changed))
		if err != nil {
			return
		}
		want, err := url.Parse(signed)
		if err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Method: http.MethodGet, URL: got, Host: got.Host, Header: http.Header{}}
		if _, err := m.Authenticate(r.WithContext(t.Context()), nil, "s3", wire.RESTXML); err != nil {
			return
		}
		if got.Host != want.Host || got.Path != want.Path || got.Query().Encode() != want.Query().Encode() {
			t.Errorf("signed %s, accepted %s", signed, got)
		}
	})
}
