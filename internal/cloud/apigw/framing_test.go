package apigw

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// TestFunctionsDoNotFrameAnswers: what a function says of connections and
// lengths is not passed on: through a real socket, each answer is whole, and
// the connection serves another.
func TestFunctionsDoNotFrameAnswers(t *testing.T) {
	r := newRig(t)
	api := r.api(nil, "$default")
	server := httptest.NewServer(r)
	defer server.Close()
	for name, tc := range map[string]struct {
		answer string
		status int
		body   string
	}{
		"too short":       {`{"statusCode":200,"headers":{"Content-Length":"2"},"body":"hello"}`, 200, "hello"},
		"too long":        {`{"statusCode":200,"headers":{"content-length":"50"},"body":"hello"}`, 200, "hello"},
		"no number":       {`{"statusCode":200,"headers":{"Content-Length":"x"},"body":"hello"}`, 200, "hello"},
		"chunked":         {`{"statusCode":200,"headers":{"Transfer-Encoding":"chunked"},"body":"0\r\n\r\nHTTP/1.1 200 OK\r\n"}`, 200, "0\r\n\r\nHTTP/1.1 200 OK\r\n"},
		"closes":          {`{"statusCode":200,"headers":{"connection":"close","Keep-Alive":"timeout=1"},"body":"hello"}`, 200, "hello"},
		"upgrades":        {`{"statusCode":200,"headers":{"Upgrade":"x","Connection":"Upgrade"},"body":"hello"}`, 200, "hello"},
		"trailer":         {`{"statusCode":200,"headers":{"Trailer":"X-Late","Trailer:X-Late":"v"},"body":"hello"}`, 200, "hello"},
		"another header":  {`{"statusCode":200,"headers":{"X-A":"b\r\nX-Late: v","X-B\r\nX-Late: v\r\n":"v"},"body":"hello"}`, 200, "hello"},
		"switches":        {`{"statusCode":101,"headers":{"Upgrade":"x"},"body":"hello"}`, 500, `{"message":"Internal Server Error"}`},
		"promises":        {`{"statusCode":100}`, 500, `{"message":"Internal Server Error"}`},
		"nothing with it": {`{"statusCode":204,"body":"hello"}`, 204, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r.invoke = func(context.Context, *lambda.InvokeInput) (*lambda.InvokeOutput, error) {
				return &lambda.InvokeOutput{Payload: []byte(tc.answer)}, nil
			}
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			read := bufio.NewReader(conn)
			for range 2 {
				if _, err := io.WriteString(conn, "GET "+BasePath+api+"/ HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				res, err := http.ReadResponse(read, nil)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || res.StatusCode != tc.status || string(body) != tc.body || res.Header.Get("X-Late")+res.Trailer.Get("X-Late") != "" || res.Close {
					t.Errorf("%s %q, %v, %v", res.Status, body, err, res.Header)
				}
			}
		})
	}
}
