package apigw

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// FuzzServe: any bytes from the client and any from the function make an
// answer, and 500 only for an answer that AWS calls malformed, too.
func FuzzServe(f *testing.F) {
	for _, s := range [][2]string{
		{"GET /orders/a%2Fb?x=1&x=2 HTTP/1.1\r\nHost: h\r\nCookie: a=b; c\r\n\r\n", `{"statusCode":201,"headers":{"a":"b","n":1},"cookies":["a=b"],"body":"x"}`},
		{"POST /orders HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", `{"statusCode":200,"isBase64Encoded":true,"body":"%"}`},
		{"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\xff\r\n0\r\n\r\n", `"text"`},
		{"HEAD /$default/%zz HTTP/1.0\r\n\r\n", `{"statusCode":99}`},
		{"GET //x?%zz=;& HTTP/1.1\r\nHost: \r\n\r\n", `{"statusCode":1e3,"headers":{"":"\r\n"}}`},
	} {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, raw, answer []byte) {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		r := newRig(t)
		r.invoke = func(_ context.Context, in *lambda.InvokeInput) (*lambda.InvokeOutput, error) {
			if !json.Valid(in.Payload) {
				t.Errorf("the event is no JSON: %q", in.Payload)
			}
			return &lambda.InvokeOutput{Payload: answer}, nil
		}
		api := r.api(nil, "GET /orders/{id}", "POST /orders", "ANY /{all+}", "$default")
		if req.URL, err = url.ParseRequestURI(BasePath + api + "/" + req.URL.EscapedPath() + "?" + req.URL.RawQuery); err != nil {
			return
		}
		w := httptest.NewRecorder()
		r.ServeHTTP(w, req.WithContext(t.Context()))
		var a struct {
			StatusCode *int `json:"statusCode"`
		}
		if w.Code == http.StatusInternalServerError && (json.Unmarshal(answer, &a) == nil && a.StatusCode == nil) {
			t.Errorf("500 for the answer %q", answer)
		}
	})
}
