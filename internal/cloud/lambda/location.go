package lambda

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// CodePath is where [Service.ServeCode] serves packages.
const CodePath = "/_miniforge/lambda/code/"

// locationTime is how long the URL of a package is good for.
const locationTime = 10 * time.Minute

// locationKey signs the URLs of packages. It lasts as long as the process: so
// do the URLs.
var locationKey = sync.OnceValue(func() []byte {
	k := make([]byte, 32)
	_, _ = rand.Read(k) // never fails: crypto/rand ends the process instead
	return k
})

func signLocation(code, expires string) string {
	m := hmac.New(sha256.New, locationKey())
	m.Write([]byte(code + "/" + expires))
	return hex.EncodeToString(m.Sum(nil))
}

// location is a URL of a package that needs no other signature.
func (s *Service) location(endpoint, code string) string {
	expires := strconv.FormatInt(time.Now().Add(locationTime).Unix(), 10)
	return endpoint + CodePath + code + "?expires=" + expires + "&signature=" + signLocation(code, expires)
}

// ServeCode serves the packages that GetFunction names.
func (s *Service) ServeCode(w http.ResponseWriter, r *http.Request) {
	code, q := strings.TrimPrefix(r.URL.Path, CodePath), r.URL.Query()
	expires, err := strconv.ParseInt(q.Get("expires"), 10, 64)
	if err != nil || !hmac.Equal([]byte(q.Get("signature")), []byte(signLocation(code, q.Get("expires")))) {
		http.Error(w, "signature does not match", http.StatusForbidden)
		return
	}
	if time.Now().Unix() > expires {
		http.Error(w, "request has expired", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/zip")
	http.ServeFile(w, r, filepath.Join(s.Dir, code, packageFile)) //nolint:gosec // code is one that this process signed
}
