package wire

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

// unframe takes the aws-chunked framing off a body whose digest was announced
// as STREAMING-..., checking chunk signatures where there are any, and turns
// trailers into headers.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
func (s *signature) unframe(r *http.Request, body, key []byte) ([]byte, error) {
	if !strings.HasPrefix(s.payload, streaming) {
		return body, nil
	}
	signed := s.payload != unsignedChunks
	previous := s.value
	var out []byte
	for {
		line, rest, ok := bytes.Cut(body, []byte("\r\n"))
		size, ext, _ := strings.Cut(string(line), ";")
		n, err := strconv.ParseUint(size, 16, 63)
		if !ok || err != nil || n > uint64(len(rest)) {
			return nil, errChunks
		}
		chunk := rest[:n]
		if signed {
			text := strings.Join([]string{algorithm + "-PAYLOAD", s.at.Format(amzTime), s.scope.String(), previous, digest(nil), digest(chunk)}, "\n")
			want := hex.EncodeToString(mac(key, text))
			got := strings.TrimPrefix(ext, "chunk-signature=")
			if subtle.ConstantTimeCompare([]byte(want), []byte(got)) != 1 {
				return nil, errSignature
			}
			previous = want
		}
		out = append(out, chunk...)
		body = rest[n:]
		if n == 0 {
			break
		}
		if body, ok = bytes.CutPrefix(body, []byte("\r\n")); !ok {
			return nil, errChunks
		}
	}
	if err := s.trailers(r.Header, string(body), key, previous); err != nil {
		return nil, err
	}
	if want := r.Header.Get("X-Amz-Decoded-Content-Length"); want != "" && want != strconv.Itoa(len(out)) {
		return nil, &Error{Code: "IncompleteBody", Message: "You did not provide the number of bytes specified by the Content-Length HTTP header", Status: http.StatusBadRequest}
	}
	r.Header.Set("Content-Length", strconv.Itoa(len(out)))
	if e := strings.ReplaceAll(strings.ReplaceAll(r.Header.Get("Content-Encoding"), "aws-chunked,", ""), "aws-chunked", ""); e == "" {
		r.Header.Del("Content-Encoding")
	} else {
		r.Header.Set("Content-Encoding", e)
	}
	return out, nil
}

var errChunks = &Error{Code: "IncompleteBody", Message: "The request body terminated unexpectedly", Status: http.StatusBadRequest}

// trailers turns what follows the last chunk into headers. Where the chunks
// are signed, so are they.
func (s *signature) trailers(h http.Header, text string, key []byte, previous string) error {
	var signed strings.Builder
	given := ""
	for line := range strings.SplitSeq(text, "\r\n") {
		k, v, ok := strings.Cut(line, ":")
		k, v = strings.ToLower(k), strings.TrimSpace(v)
		switch {
		case !ok:
		case k == "x-amz-trailer-signature":
			given = v
		default:
			signed.WriteString(k + ":" + v + "\n")
			// Only checksums: a trailer must not become any other header.
			if strings.HasPrefix(k, "x-amz-checksum-") {
				h.Set(k, v)
			}
		}
	}
	if s.payload != signedTrailer {
		return nil
	}
	want := hex.EncodeToString(mac(key, strings.Join([]string{algorithm + "-TRAILER", s.at.Format(amzTime), s.scope.String(), previous, digest([]byte(signed.String()))}, "\n")))
	if subtle.ConstantTimeCompare([]byte(want), []byte(given)) != 1 {
		return errSignature
	}
	return nil
}
