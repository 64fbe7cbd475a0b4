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
	signedChunks := strings.HasPrefix(s.payload, streaming+algorithm)
	previous := s.value
	var out []byte
	for {
		line, rest, ok := bytes.Cut(body, []byte("\r\n"))
		size, ext, _ := strings.Cut(string(line), ";")
		n, err := strconv.ParseInt(size, 16, 64)
		if !ok || err != nil || n < 0 || n > int64(len(rest)) {
			return nil, &incompleteError{"The chunked body is not well-formed"}
		}
		chunk := rest[:n]
		if signedChunks {
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
		body = bytes.TrimPrefix(body, []byte("\r\n"))
	}
	for line := range strings.SplitSeq(string(body), "\r\n") {
		// Only checksums: a trailer must not become any other header.
		if k, v, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(strings.ToLower(k), "x-amz-checksum-") {
			r.Header.Set(k, strings.TrimSpace(v))
		}
	}
	if want := r.Header.Get("X-Amz-Decoded-Content-Length"); want != "" && want != strconv.Itoa(len(out)) {
		return nil, &incompleteError{"You did not provide the number of bytes specified by the Content-Length HTTP header"}
	}
	r.Header.Set("Content-Length", strconv.Itoa(len(out)))
	if e := strings.ReplaceAll(strings.ReplaceAll(r.Header.Get("Content-Encoding"), "aws-chunked,", ""), "aws-chunked", ""); e == "" {
		r.Header.Del("Content-Encoding")
	} else {
		r.Header.Set("Content-Encoding", e)
	}
	return out, nil
}
