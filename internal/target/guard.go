package target

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// A GuardError means that a request for AWS itself was about to leave although
// the target is another.
type GuardError struct{ Host string }

// Error implements error.
func (e *GuardError) Error() string {
	return fmt.Sprintf("refused to send a request to %s: the target is not aws", e.Host)
}

// domains are those under which AWS answers.
var domains = []string{"amazonaws.com", "amazonaws.com.cn", "api.aws", "on.aws", "api.amazonwebservices.com.cn", "amazonaws.eu"}

// realAWS reports whether a host name is one of AWS.
func realAWS(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return slices.ContainsFunc(domains, func(domain string) bool {
		return host == domain || strings.HasSuffix(host, "."+domain)
	})
}

// guarded returns the configuration with a transport that sends nothing to AWS,
// whatever some endpoint resolution or redirect may come up with.
func guarded(cfg aws.Config) aws.Config {
	cfg.HTTPClient = guard{cfg.HTTPClient}
	return cfg
}

type guard struct{ next aws.HTTPClient }

// Do implements aws.HTTPClient.
func (g guard) Do(r *http.Request) (*http.Response, error) {
	if realAWS(r.URL.Hostname()) {
		return nil, &GuardError{r.URL.Hostname()}
	}
	return g.next.Do(r)
}

// guardedHTTP is a plain client with the same guard.
func guardedHTTP() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's own
	transport.MaxIdleConnsPerHost, transport.MaxIdleConns = connections, 2*connections
	return &http.Client{Transport: guardedTransport{transport}}
}

type guardedTransport struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (g guardedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if realAWS(r.URL.Hostname()) {
		return nil, &GuardError{r.URL.Hostname()}
	}
	return g.next.RoundTrip(r)
}
