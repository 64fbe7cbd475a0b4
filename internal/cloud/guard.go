package cloud

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"miniforge/internal/cloud/apigw"
)

// Limits of the listener. See docs/security.md.
const (
	// maxConnections are served at a time; more wait in the kernel's queue.
	maxConnections = 4096
	// A body may pause for bodyPause and come at no less than bodyRate bytes a
	// second on the whole, after bodyPause to begin with.
	bodyPause = 20 * time.Second
	bodyRate  = 4 << 10
)

// guard is what stands between a socket and the cloud: a caller in the same
// process needs none of it.
func (c *Cloud) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if unsigned(r.URL.Path) && !c.known(r.Host) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"Forbidden"}`)
			return
		}
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &pacedBody{ReadCloser: r.Body, conn: http.NewResponseController(w), start: time.Now()}
		}
		next.ServeHTTP(w, r)
	})
}

// unsigned tells the paths that are served without a signature, which would
// have covered the Host header.
func unsigned(path string) bool {
	return path == HealthPath || strings.HasPrefix(path, apigw.BasePath)
}

// known tells whether a Host header names this machine. A page whose own name
// was made to point here (DNS rebinding) sends that name.
func (c *Cloud) known(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.IsLoopback()
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	c.mu.Lock()
	own := c.endpoint
	c.mu.Unlock()
	u, err := url.Parse(own)
	return err == nil && host != "" && strings.EqualFold(u.Hostname(), host)
}

// A pacedBody ends when it comes too slowly: the deadline of the connection
// moves with what has been read. A body that has been read has none, so that
// its answer may take as long as a long poll does.
type pacedBody struct {
	io.ReadCloser
	conn  *http.ResponseController
	start time.Time
	n     int64
}

// Read implements [io.Reader].
func (b *pacedBody) Read(p []byte) (int, error) {
	_ = b.conn.SetReadDeadline(b.deadline(time.Now())) // a closed connection fails to be read, too
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if errors.Is(err, io.EOF) {
		_ = b.conn.SetReadDeadline(time.Time{})
	}
	return n, err
}

func (b *pacedBody) deadline(now time.Time) time.Time {
	pause := now.Add(bodyPause)
	whole := b.start.Add(bodyPause + time.Duration(b.n/bodyRate)*time.Second)
	if whole.Before(pause) {
		return whole
	}
	return pause
}

// bound makes a listener accept no more than n connections at a time.
func bound(l net.Listener, n int) net.Listener {
	return &boundListener{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

type boundListener struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{}
}

// Accept implements [net.Listener]: it waits for a connection to end first
// when there are too many.
func (l *boundListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &boundConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close implements [net.Listener].
func (l *boundListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type boundConn struct {
	net.Conn
	free func()
}

// Close implements [net.Conn].
func (c *boundConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
