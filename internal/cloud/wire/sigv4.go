package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"miniforge/internal/cloud/authz"
)

// Errors of an [Authenticator]; they become what AWS answers in the protocol at hand.
var (
	ErrUnknownKey   = errors.New("unknown access key")
	ErrInvalidToken = errors.New("invalid session token")
	ErrExpiredToken = errors.New("expired session token")
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	amzTime   = "20060102T150405Z"
	maxSkew   = 15 * time.Minute
	unsigned  = "UNSIGNED-PAYLOAD"
	streaming = "STREAMING-"
)

// A scope is the credential scope of a signature.
type scope struct{ keyID, date, region, service string }

func (s scope) String() string { return s.date + "/" + s.region + "/" + s.service + "/aws4_request" }

// A signature is what a request says of its own signing.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
type signature struct {
	scope
	at        time.Time
	expires   time.Duration // presigned only
	presigned bool
	headers   []string
	value     string
	token     string
	payload   string // as the canonical request has it
}

// A signed request is one whose signature holds.
type signed struct {
	scope
	authz.Principal
	body []byte // without chunk framing
}

// scopeOf reads the credential scope without judging it.
func scopeOf(r *http.Request) (scope, bool) {
	s, err := parseSignature(r)
	if err != nil {
		return scope{}, false
	}
	return s.scope, true
}

var (
	errMissing   = errors.New("missing authentication token")
	errSignature = errors.New("signature does not match")
)

type incompleteError struct{ text string }

func (e *incompleteError) Error() string { return e.text }

type skewError struct{ text string }

func (e *skewError) Error() string { return e.text }

// parseSignature reads the Authorization header or the presigned query.
func parseSignature(r *http.Request) (*signature, error) {
	if r.Header.Get("Authorization") == "" && r.URL.RawQuery != "" {
		if q := r.URL.Query(); q.Get("X-Amz-Algorithm") != "" {
			return parsePresigned(q)
		}
	}
	a := r.Header.Get("Authorization")
	if a == "" {
		return nil, errMissing
	}
	rest, ok := strings.CutPrefix(a, algorithm+" ")
	if !ok {
		return nil, &incompleteError{"Unsupported AWS 'algorithm': '" + strings.SplitN(a, " ", 2)[0] + "'."}
	}
	s := &signature{token: r.Header.Get("X-Amz-Security-Token"), payload: r.Header.Get("X-Amz-Content-Sha256")}
	var credential string
	for part := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch k {
		case "Credential":
			credential = v
		case "SignedHeaders":
			s.headers = strings.Split(v, ";")
		case "Signature":
			s.value = v
		}
	}
	date := r.Header.Get("X-Amz-Date")
	if date == "" {
		if t, err := http.ParseTime(r.Header.Get("Date")); err == nil {
			date = t.UTC().Format(amzTime)
		}
	}
	return s, s.complete(credential, date)
}

func parsePresigned(q url.Values) (*signature, error) {
	if q.Get("X-Amz-Algorithm") != algorithm {
		return nil, &incompleteError{"Unsupported AWS 'algorithm': '" + q.Get("X-Amz-Algorithm") + "'."}
	}
	s := &signature{
		presigned: true, token: q.Get("X-Amz-Security-Token"), value: q.Get("X-Amz-Signature"),
		headers: strings.Split(q.Get("X-Amz-SignedHeaders"), ";"), payload: q.Get("X-Amz-Content-Sha256"),
	}
	if e := q.Get("X-Amz-Expires"); e != "" {
		n, err := strconv.Atoi(e)
		if err != nil || n < 0 || n > 604800 {
			return nil, &incompleteError{"X-Amz-Expires must be a number between 0 and 604800 seconds"}
		}
		s.expires = time.Duration(n) * time.Second
	} else {
		s.expires = maxSkew
	}
	return s, s.complete(q.Get("X-Amz-Credential"), q.Get("X-Amz-Date"))
}

func (s *signature) complete(credential, date string) error {
	p := strings.Split(credential, "/")
	n := len(p)
	if n < 5 || p[n-1] != "aws4_request" {
		return &incompleteError{"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + credential + "'"}
	}
	s.scope = scope{keyID: strings.Join(p[:n-4], "/"), date: p[n-4], region: p[n-3], service: p[n-2]}
	t, err := time.Parse(amzTime, date)
	switch {
	case err != nil:
		return &incompleteError{"Date must be in ISO-8601 'basic format'. Got '" + date + "'. See http://en.wikipedia.org/wiki/ISO_8601"}
	case t.Format("20060102") != s.date:
		return &incompleteError{"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" + s.date + "' != '" + t.Format("20060102") + "', from '" + date + "'."}
	case s.value == "" || !slices.Contains(s.headers, "host"):
		return &incompleteError{"Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter with 'host'."}
	}
	s.at = t
	return nil
}

// authenticate checks a request's signature and finds out who made it.
func (m *Mux) authenticate(r *http.Request, body []byte, api *API) (signed, error) {
	s, err := parseSignature(r)
	if err == nil {
		err = s.fresh(time.Now())
	}
	if err != nil {
		return signed{}, api.authError(err)
	}
	cred, err := m.opts.Authenticate(r.Context(), s.keyID, s.token)
	if err != nil {
		return signed{}, api.authError(err)
	}
	key := s.key(cred.Secret)
	if !s.holds(r, body, key) {
		return signed{}, api.authError(errSignature)
	}
	plain, err := s.unframe(r, body, key)
	if err != nil {
		return signed{}, api.authError(err)
	}
	return signed{scope: s.scope, Principal: cred.Principal, body: plain}, nil
}

// Verify tells who signed a request that is for none of the APIs, with the
// given service in its credential scope. Its errors are those of JSON APIs.
func (m *Mux) Verify(r *http.Request, body []byte, service string) (authz.Principal, error) {
	api := &API{Service: service, Protocol: JSON11, mux: m}
	who, err := m.authenticate(r, body, api)
	if err == nil && who.service != service {
		err = Errorf("SignatureDoesNotMatch", "Credential should be scoped to correct service: '%s'.", service)
	}
	return who.Principal, err
}

func (s *signature) fresh(now time.Time) error {
	now = now.UTC()
	if s.presigned {
		if now.After(s.at.Add(s.expires)) || s.at.After(now.Add(maxSkew)) {
			return &skewError{"Request has expired"}
		}
		return nil
	}
	if d := now.Sub(s.at); d > maxSkew {
		return &skewError{fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 15 min.)", s.at.Format(amzTime), now.Add(-maxSkew).Format(amzTime), now.Format(amzTime))}
	} else if d < -maxSkew {
		return &skewError{fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 15 min.)", s.at.Format(amzTime), now.Add(maxSkew).Format(amzTime), now.Format(amzTime))}
	}
	return nil
}

func (s *signature) key(secret string) []byte {
	k := mac([]byte("AWS4"+secret), s.date)
	k = mac(k, s.region)
	k = mac(k, s.service)
	return mac(k, "aws4_request")
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// holds compares the signature with our own, and the digest of the body with
// the one that was signed. Headers of AWS that were not signed could have been
// added on the way: they are refused.
func (s *signature) holds(r *http.Request, body, key []byte) bool {
	for k := range r.Header {
		if k = strings.ToLower(k); strings.HasPrefix(k, "x-amz-") && !slices.Contains(s.headers, k) && !s.presigned {
			return false
		}
	}
	payload := s.payload
	switch {
	case payload == "" && s.presigned && s.service == "s3":
		payload = unsigned
	case payload == "":
		payload = digest(body)
	case payload != unsigned && !strings.HasPrefix(payload, streaming) && payload != digest(body):
		return false
	}
	canonical := s.canonical(r, payload)
	text := algorithm + "\n" + s.at.Format(amzTime) + "\n" + s.scope.String() + "\n" + digest([]byte(canonical))
	want := hex.EncodeToString(mac(key, text))
	return subtle.ConstantTimeCompare([]byte(want), []byte(s.value)) == 1
}

func (s *signature) canonical(r *http.Request, payload string) string {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if s.service != "s3" { // S3 keys are signed as they are, all other paths escaped once more
		path = escape(path, true)
	} else if u, err := url.PathUnescape(path); err == nil {
		path = escape(u, true)
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(r.URL.Query()) + "\n")
	for _, h := range s.headers {
		b.WriteString(h + ":" + headerValue(r, h) + "\n")
	}
	b.WriteString("\n" + strings.Join(s.headers, ";") + "\n" + payload)
	return b.String()
}

// headerValue is a header as it was signed. net/http takes some out of the map.
func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		if r.Host != "" {
			return r.Host
		}
		return r.URL.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	case "transfer-encoding":
		return strings.Join(r.TransferEncoding, ",")
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

func canonicalQuery(q url.Values) string {
	var pairs []string
	for k, vs := range q {
		if k == "X-Amz-Signature" {
			continue
		}
		for _, v := range vs {
			pairs = append(pairs, escape(k, false)+"="+escape(v, false))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escape is the URI encoding of SigV4: everything but unreserved characters.
func escape(s string, slash bool) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~', c == '/' && slash:
			b.WriteByte(c)
		default:
			b.WriteString("%" + string(hexDigits[c>>4]) + string(hexDigits[c&15]))
		}
	}
	return b.String()
}
