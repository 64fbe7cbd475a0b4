package wire

import (
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

	signedChunks   = streaming + algorithm + "-PAYLOAD"
	signedTrailer  = streaming + algorithm + "-PAYLOAD-TRAILER"
	unsignedChunks = streaming + "UNSIGNED-PAYLOAD-TRAILER"
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
	query     url.Values
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

// scoped tells whether a request says by which key it is signed, for what: that
// is not judged here. s may be nil.
func (s *signature) scoped() bool { return s != nil && s.scope != scope{} }

var (
	errMissing       = errors.New("missing authentication token")
	errSignature     = errors.New("signature does not match")
	errTwoSignatures = errors.New("signed in the header and in the query")
	errNotSigned     = errors.New("headers are not signed")
	errNoDigest      = errors.New("digest of the body is missing")
	errBadDigest     = errors.New("digest of the body is no digest")
	errOtherBody     = errors.New("body is another than was signed")
)

// An incompleteError is a signature that cannot be read.
type incompleteError struct{ text string }

func (e *incompleteError) Error() string { return e.text }

// A credentialError is a credential scope that cannot be read.
type credentialError struct {
	text      string
	presigned bool
}

func (e *credentialError) Error() string { return e.text }

// A presignError is a presigned query that cannot be read, in the words of S3
// and in those of the other services.
type presignError struct{ s3, text string }

func (e *presignError) Error() string { return e.text }

// A skewError is a signature of another time.
type skewError struct {
	text      string
	presigned bool
}

func (e *skewError) Error() string { return e.text }

// parseSignature reads the Authorization header or the presigned query. What it
// returns with an error tells the scope, as far as it could be read.
func parseSignature(r *http.Request) (*signature, error) {
	var q url.Values
	if r.URL.RawQuery != "" {
		var err error
		if q, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			// Its parts that cannot be read are not signed either.
			return nil, &incompleteError{"The query string is not well-formed"}
		}
	}
	a := r.Header.Values("Authorization")
	switch presigned := q.Has("X-Amz-Algorithm"); {
	case len(a) > 1 || len(a) == 1 && presigned:
		return nil, errTwoSignatures
	case presigned:
		return parsePresigned(q)
	case len(a) == 0 || a[0] == "":
		return nil, errMissing
	}
	name, rest, _ := strings.Cut(a[0], " ")
	if name != algorithm {
		return nil, &incompleteError{"Unsupported AWS 'algorithm': '" + name + "'."}
	}
	s := &signature{query: q, token: r.Header.Get("X-Amz-Security-Token"), payload: r.Header.Get("X-Amz-Content-Sha256")}
	given := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := given[k]; !ok || twice {
			return nil, &incompleteError{"Authorization header is not well-formed: it must hold Credential, SignedHeaders and Signature once each."}
		}
		given[k] = v
	}
	s.value = given["Signature"]
	if h := given["SignedHeaders"]; h != "" {
		s.headers = strings.Split(h, ";")
	}
	date := r.Header.Get("X-Amz-Date")
	if date == "" {
		if t, err := http.ParseTime(r.Header.Get("Date")); err == nil {
			date = t.UTC().Format(amzTime)
		}
	}
	return s, s.complete(given["Credential"], date)
}

func parsePresigned(q url.Values) (*signature, error) {
	if a := q.Get("X-Amz-Algorithm"); a != algorithm {
		return nil, &presignError{"X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256\"", "Unsupported AWS 'algorithm': '" + a + "'."}
	}
	s := &signature{query: q, presigned: true, token: q.Get("X-Amz-Security-Token"), value: q.Get("X-Amz-Signature"), payload: q.Get("X-Amz-Content-Sha256"), expires: maxSkew}
	if h := q.Get("X-Amz-SignedHeaders"); h != "" {
		s.headers = strings.Split(h, ";")
	}
	if err := s.complete(q.Get("X-Amz-Credential"), q.Get("X-Amz-Date")); err != nil {
		return s, err
	}
	e := q.Get("X-Amz-Expires")
	n, err := strconv.Atoi(e)
	switch {
	case e == "" && s.service != "s3":
		return s, nil
	case e == "":
		return s, &presignError{queryParametersText, ""}
	case err != nil:
		return s, &presignError{"X-Amz-Expires should be a number", "X-Amz-Expires should be a number"}
	case n < 0:
		return s, &presignError{"X-Amz-Expires must be non-negative", "X-Amz-Expires must be non-negative"}
	case n > 604800:
		const text = "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"
		return s, &presignError{text, text}
	}
	s.expires = time.Duration(n) * time.Second
	return s, nil
}

// isRegion tells whether s can be the name of a region.
func isRegion(s string) bool {
	other := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	return len(s) >= 2 && len(s) <= 32 && strings.IndexFunc(s, other) < 0
}

func (s *signature) complete(credential, date string) error {
	fail := func(text string) error {
		if s.presigned {
			return &presignError{queryParametersText, text}
		}
		return &incompleteError{text}
	}
	var missing []string
	for _, part := range []struct{ name, value string }{{"Credential", credential}, {"Signature", s.value}, {"SignedHeaders", strings.Join(s.headers, ";")}} {
		if part.value == "" {
			missing = append(missing, "Authorization header requires '"+part.name+"' parameter.")
		}
	}
	if date == "" {
		missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	p := strings.Split(credential, "/")
	if len(p) == 5 {
		// Also of a request that is refused: the answer is in its service's protocol.
		s.scope = scope{keyID: p[0], date: p[1], region: p[2], service: p[3]}
	}
	if len(missing) > 0 {
		return fail(strings.Join(missing, " "))
	}
	if len(p) != 5 {
		return &credentialError{"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + credential + "'", s.presigned}
	}
	t, err := time.Parse(amzTime, date)
	switch {
	case p[4] != "aws4_request":
		return &credentialError{"Credential should be scoped with a valid terminator: 'aws4_request', not '" + p[4] + "'.", s.presigned}
	case !isRegion(s.region): // it becomes a part of ARNs
		return &credentialError{"Credential should be scoped to a valid region, not '" + s.region + "'.", s.presigned}
	case err != nil:
		return fail("Date must be in ISO-8601 'basic format'. Got '" + date + "'. See http://en.wikipedia.org/wiki/ISO_8601")
	case t.Format("20060102") != s.date:
		return &credentialError{"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" + s.date + "' != '" + t.Format("20060102") + "', from '" + date + "'.", s.presigned}
	case !slices.Contains(s.headers, "host"):
		return fail("'Host' must be a 'SignedHeader' in the AWS Authorization.")
	}
	s.at = t
	return nil
}

// authenticate checks a request's signature, as [parseSignature] read it or
// failed to, and finds out who made it.
func (m *Mux) authenticate(r *http.Request, s *signature, err error, body []byte, api *API) (signed, error) {
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
	key := m.keys.of(cred.Secret, s.scope)
	if err := s.holds(r, body, key); err != nil {
		return signed{}, api.authError(err)
	}
	m.keys.keep(cred.Secret, s.scope, key)
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
	s, err := parseSignature(r)
	who, err := m.authenticate(r, s, err, body, api)
	if err == nil && who.service != service {
		err = Errorf("SignatureDoesNotMatch", "Credential should be scoped to correct service: '%s'.", service)
	}
	return who.Principal, err
}

func (s *signature) fresh(now time.Time) error {
	now = now.UTC()
	if s.presigned {
		switch {
		case s.at.After(now.Add(maxSkew)):
			return &skewError{"Request is not valid yet", true}
		case now.After(s.at.Add(s.expires)):
			return &skewError{"Request has expired", true}
		}
		return nil
	}
	if d := now.Sub(s.at); d > maxSkew {
		return &skewError{fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 15 min.)", s.at.Format(amzTime), now.Add(-maxSkew).Format(amzTime), now.Format(amzTime)), false}
	} else if d < -maxSkew {
		return &skewError{fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 15 min.)", s.at.Format(amzTime), now.Add(maxSkew).Format(amzTime), now.Format(amzTime)), false}
	}
	return nil
}
