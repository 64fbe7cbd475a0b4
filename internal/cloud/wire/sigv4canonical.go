package wire

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:])
}

// holds compares the signature with our own, and then the digest of the body
// with the one that was signed: who cannot sign learns nothing of either.
func (s *signature) holds(r *http.Request, body, key []byte) error {
	if err := s.covers(r); err != nil {
		return err
	}
	payload, bodyErr := s.digest(body)
	text := algorithm + "\n" + s.at.Format(amzTime) + "\n" + s.scope.String() + "\n" + digest(s.canonical(r, payload))
	want := hex.EncodeToString(mac(key, text))
	if subtle.ConstantTimeCompare([]byte(want), []byte(s.value)) != 1 {
		return errSignature
	}
	return bodyErr
}

// covers tells whether the signed headers are a list that a signer makes, and
// hold every header of AWS: one that was not signed could have been added on the way.
func (s *signature) covers(r *http.Request) error {
	for i, h := range s.headers {
		if !isHeaderName(h) || i > 0 && s.headers[i-1] >= h || !present(r, h) {
			return errSignature
		}
	}
	for k := range r.Header {
		const aws = "x-amz-"
		if len(k) >= len(aws) && isLower(aws, k[:len(aws)]) && !slices.ContainsFunc(s.headers, func(h string) bool { return isLower(h, k) }) {
			return errNotSigned
		}
	}
	return nil
}

// isHeaderName tells whether s is a header's name in lower case.
func isHeaderName(s string) bool {
	other := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+.^_`|~-", r)
	}
	return s != "" && strings.IndexFunc(s, other) < 0
}

// isLower tells whether lower is s with its ASCII letters in lower case.
func isLower(lower, s string) bool {
	if len(lower) != len(s) {
		return false
	}
	for i := range len(s) {
		ch := s[i]
		if 'A' <= ch && ch <= 'Z' {
			ch += 'a' - 'A'
		}
		if ch != lower[i] {
			return false
		}
	}
	return true
}

// signedNames are the headers that SDKs sign, as they are in a signature and as
// they are in a request: http.Header would make the latter anew for each request.
var signedNames = map[string]string{
	"amz-sdk-invocation-id": "Amz-Sdk-Invocation-Id", "amz-sdk-request": "Amz-Sdk-Request", "x-amz-content-sha256": "X-Amz-Content-Sha256",
	"x-amz-date": "X-Amz-Date", "x-amz-security-token": "X-Amz-Security-Token", "x-amz-target": "X-Amz-Target",
}

// headerValues are those of a header by its name in lower case.
func headerValues(r *http.Request, name string) []string {
	if k, ok := signedNames[name]; ok {
		return r.Header[k]
	}
	return r.Header.Values(name)
}

func present(r *http.Request, header string) bool {
	switch header {
	case "host", "content-length", "transfer-encoding": // net/http keeps them elsewhere
		return true
	}
	return len(headerValues(r, header)) > 0
}

// digest is the digest of the body as the canonical request has it, and what
// is wrong with it. S3 alone takes bodies that are not signed, or chunk by chunk.
func (s *signature) digest(body []byte) (string, error) {
	s3 := s.service == "s3"
	switch s.payload {
	case unsigned, signedChunks, signedTrailer, unsignedChunks:
		if s3 {
			return s.payload, nil
		}
	}
	switch {
	case s.payload == "" && s3 && s.presigned:
		return unsigned, nil
	case s.payload == "" && s3:
		return digest(body), errNoDigest
	case s.payload == "":
		return digest(body), nil
	case s3 && len(s.payload) != sha256.Size*2:
		return s.payload, errBadDigest
	case s.payload != digest(body):
		return s.payload, errOtherBody
	}
	return s.payload, nil
}

func (s *signature) canonical(r *http.Request, payload string) []byte {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if s.service != "s3" { // S3 keys are signed as they are, all other paths escaped once more
		path = escape(path, true)
	} else if u, err := url.PathUnescape(path); err == nil {
		path = escape(u, true)
	}
	b := make([]byte, 0, 1024)
	line := func(parts ...string) {
		for _, p := range parts {
			b = append(b, p...)
		}
		b = append(b, '\n')
	}
	line(r.Method)
	line(path)
	line(canonicalQuery(s.query, s.presigned))
	for _, h := range s.headers {
		line(h, ":", headerValue(r, h))
	}
	line()
	line(strings.Join(s.headers, ";"))
	return append(b, payload...)
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
	values := headerValues(r, name)
	if len(values) == 1 {
		return singleSpaces(values[0])
	}
	values = slices.Clone(values)
	for i, v := range values {
		values[i] = singleSpaces(v)
	}
	return strings.Join(values, ",")
}

func singleSpaces(v string) string {
	if v == "" || v[0] != ' ' && v[len(v)-1] != ' ' && !strings.Contains(v, "  ") {
		return v
	}
	return strings.Join(strings.FieldsFunc(v, func(r rune) bool { return r == ' ' }), " ")
}

// canonicalQuery sorts by name, then by value. The signature cannot sign itself.
func canonicalQuery(q url.Values, presigned bool) string {
	if len(q) == 0 {
		return ""
	}
	type pair struct{ key, value string }
	pairs := make([]pair, 0, len(q))
	for k, vs := range q {
		if k == "X-Amz-Signature" && presigned {
			continue
		}
		for _, v := range vs {
			pairs = append(pairs, pair{escape(k, false), escape(v, false)})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(strings.Compare(a.key, b.key), strings.Compare(a.value, b.value))
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.key + "=" + p.value)
	}
	return b.String()
}

// escape is the URI encoding of SigV4: everything but unreserved characters.
func escape(s string, slash bool) string {
	const hexDigits = "0123456789ABCDEF"
	plain := 0
	for plain < len(s) && unreserved(s[plain], slash) {
		plain++
	}
	if plain == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:plain])
	for i := plain; i < len(s); i++ {
		switch c := s[i]; {
		case unreserved(c, slash):
			b.WriteByte(c)
		default:
			b.WriteString("%" + string(hexDigits[c>>4]) + string(hexDigits[c&15]))
		}
	}
	return b.String()
}

func unreserved(c byte, slash bool) bool {
	switch c {
	case '-', '_', '.', '~':
		return true
	case '/':
		return slash
	}
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
