package cloud

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// piped serves one connection, in virtual time when in a bubble.
func piped(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	c := &Cloud{log: slog.New(slog.DiscardHandler)}
	s := c.server()
	s.Handler = c.guard(h)
	client, server := net.Pipe()
	l := &pipeListener{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
	l.conn <- server
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = client.Close()
		_ = s.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return client
}

type pipeListener struct {
	conn   chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func TestSlowBodiesAreCutOff(t *testing.T) {
	for name, tc := range map[string]struct {
		every time.Duration // between two bytes
		after time.Duration // the body is given up
	}{
		"nothing comes":          {time.Hour, bodyPause},
		"a byte now and then":    {bodyPause / 4, bodyPause},
		"just before each pause": {bodyPause - time.Second, bodyPause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				read := make(chan error, 1)
				conn := piped(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					_, err := io.ReadAll(r.Body)
					read <- err
				}))
				start := time.Now()
				go func() {
					_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
					for {
						select {
						case <-time.After(tc.every):
						case <-t.Context().Done():
							return
						}
						if _, err := conn.Write([]byte("x")); err != nil {
							return
						}
					}
				}()
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the body ended with %v", err)
				}
				if d := time.Since(start); d != tc.after {
					t.Errorf("after %v, want %v", d, tc.after)
				}
				_ = conn.Close()
			})
		})
	}
}

func TestAnAnswerMayTakeLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := piped(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			select {
			case <-time.After(15 * time.Minute):
				w.WriteHeader(http.StatusNoContent)
			case <-r.Context().Done():
				t.Error("the request was given up")
			}
		}))
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusNoContent {
			t.Error(res.Status)
		}
	})
}

func TestForeignHostsAreRefused(t *testing.T) {
	c := &Cloud{log: slog.New(slog.DiscardHandler), endpoint: "http://cloud.test:4566"}
	for host, want := range map[string]bool{
		"127.0.0.1:4566": true, "127.8.9.1": true, "[::1]:4566": true, "localhost:1": true, "LOCALHOST": true, "a.localhost.": true, "cloud.test:4566": true,
		"evil.example:4566": false, "": false, "10.0.0.1": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "notlocalhost": false,
	} {
		if got := c.known(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
	for path, want := range map[string]int{HealthPath: http.StatusForbidden, "/_miniforge/other": http.StatusOK} {
		conn := piped(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: evil.example\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &pipeListener{conn: make(chan net.Conn, 2), closed: make(chan struct{})}
		l := bound(inner, 1)
		accepted := make(chan net.Conn, 3)
		ended := make(chan error, 1)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					ended <- err
					return
				}
				accepted <- c
			}
		}()
		for range 2 {
			client, server := net.Pipe()
			defer client.Close()
			inner.conn <- server
		}
		synctest.Wait()
		if len(accepted) != 1 || len(inner.conn) != 1 {
			t.Fatalf("%d connections are served, %d wait", len(accepted), len(inner.conn))
		}
		first := <-accepted
		_ = first.Close()
		_ = first.Close() // gives back no second slot
		synctest.Wait()
		second := <-accepted // or all of the bubble would be blocked
		if len(l.(*boundListener).slots) != 1 {
			t.Errorf("%d slots are taken", len(l.(*boundListener).slots))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		_ = second.Close()
	})
}

func TestLargeHeadersAreRefused(t *testing.T) {
	conn := piped(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("served") }))
	go func() {
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 1<<20)+"\r\n\r\n")
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(res.Status)
	}
}
