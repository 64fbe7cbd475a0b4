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

// holds compares the signature with our own, and then the digest of the body
// with the one that was signed: who cannot sign learns nothing of either.
func (s *signature) holds(r *http.Request, body, key []byte) error {
	if err := s.covers(r); err != nil {
		return err
	}
	payload, bodyErr := s.digest(body)
	text := algorithm + "\n" + s.at.Format(amzTime) + "\n" + s.scope.String() + "\n" + digest([]byte(s.canonical(r, payload)))
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
		if !headerName.MatchString(h) || i > 0 && s.headers[i-1] >= h || !present(r, h) {
			return errSignature
		}
	}
	for k := range r.Header {
		if k = strings.ToLower(k); strings.HasPrefix(k, "x-amz-") && !slices.Contains(s.headers, k) {
			return errNotSigned
		}
	}
	return nil
}

func present(r *http.Request, header string) bool {
	switch header {
	case "host", "content-length", "transfer-encoding": // net/http keeps them elsewhere
		return true
	}
	return len(r.Header.Values(header)) > 0
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
	b.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(r.URL.Query(), s.presigned) + "\n")
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
		values[i] = singleSpaces(v)
	}
	return strings.Join(values, ",")
}

func singleSpaces(v string) string {
	return strings.Join(strings.FieldsFunc(v, func(r rune) bool { return r == ' ' }), " ")
}

// canonicalQuery sorts by name, then by value. The signature cannot sign itself.
func canonicalQuery(q url.Values, presigned bool) string {
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
