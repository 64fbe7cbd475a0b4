package wire

import (
	"net/http"

	"miniforge/internal/cloud/authz"
)

// Digest is the hex SHA-256 that signatures use.
func Digest(s string) string { return digest([]byte(s)) }

// Authenticate tells who signed a request to a service.
func (m *Mux) Authenticate(r *http.Request, body []byte, service string, p Protocol) (authz.Principal, error) {
	s, err := parseSignature(r)
	who, err := m.authenticate(r, s, err, body, &API{Service: service, Protocol: p, mux: m})
	return who.Principal, err
}

// UseUp takes all the memory that there is for large bodies until it is called again.
func (m *Mux) UseUp() (free func()) {
	if !m.large.TryAcquire(largeBodies) {
		panic("some is in use")
	}
	return func() { m.large.Release(largeBodies) }
}
