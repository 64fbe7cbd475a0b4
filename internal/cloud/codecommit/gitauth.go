package codecommit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

var (
	errUnauthorized = errors.New("credentials are wrong or missing: use git -c credential.helper='!aws codecommit credential-helper $@' -c credential.UseHttpPath=true")
	errForbidden    = errors.New("you are not authorized to do this")
)

// clockSkew is how far a signature's time may be from now.
const clockSkew = 15 * time.Minute

// admit finds out who asks and for which repository, and whether they may.
func (s *Service) admit(r *http.Request, name, program string) (*visit, int, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return nil, http.StatusUnauthorized, errUnauthorized
	}
	id, token, _ := strings.Cut(user, "%")
	credential, err := s.Credential(r.Context(), id, token)
	if err != nil {
		return nil, http.StatusUnauthorized, errUnauthorized
	}
	found, err := s.named(name)
	if err != nil {
		return nil, http.StatusInternalServerError, errors.New("the repository cannot be read")
	}
	// The URL does not say the region: the signature was made for one.
	regions := slices.Sorted(maps.Keys(found))
	i := slices.IndexFunc(regions, func(region string) bool {
		return validSignature(credential.Secret, password, region, r.Host, GitPath+name, time.Now())
	})
	if i < 0 {
		return nil, http.StatusUnauthorized, errUnauthorized
	}
	repo := found[regions[i]]
	v := &visit{s: s, repo: repo, principal: credential.Principal, call: &wire.Call{Service: "codecommit", Region: repo.Region, Account: s.Account, Principal: credential.Principal}}
	action := "GitPull"
	if program == receivePack {
		action = "GitPush"
	}
	v.call.Op = action
	if err := v.allow(r.Context(), action, ""); err != nil {
		return nil, http.StatusForbidden, errForbidden
	}
	return v, 0, nil
}

// allow judges one of git's actions, on a reference if one is named.
func (v *visit) allow(ctx context.Context, action, ref string) error {
	access := authz.Access{Action: "codecommit:" + action, Resource: v.s.arn(v.repo.Region, v.repo.Name)}
	if ref != "" {
		access.Context = map[string][]string{"codecommit:References": {ref}}
	}
	return v.s.Authorize(ctx, v.principal, v.repo.Region, access)
}

// named finds the repositories of a name by their region.
func (s *Service) named(name string) (map[string]repository, error) {
	all := map[string]repository{}
	return all, s.DB.View(func(tx *store.Tx) error {
		for r, err := range repositories.Range(tx, "", "") {
			if err != nil {
				return err
			}
			if r.Value.Name == name {
				all[r.Value.Region] = r.Value
			}
		}
		return nil
	})
}

// validSignature checks a password as the AWS CLI's credential helper makes it:
// the time in UTC and the hexadecimal SigV4 signature of a request of method
// GIT for the repository's path, without a body. The host goes without port.
func validSignature(secret, password, region, host, path string, now time.Time) bool {
	const layout = "20060102T150405"
	stamp, signature, ok := strings.Cut(password, "Z")
	at, err := time.Parse(layout, stamp)
	if !ok || err != nil || now.Sub(at).Abs() > clockSkew {
		return false
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	canonical := sha256.Sum256([]byte("GIT\n" + path + "\n\nhost:" + host + "\n\nhost\n"))
	scope := stamp[:8] + "/" + region + "/codecommit/aws4_request"
	key := []byte("AWS4" + secret)
	for part := range strings.SplitSeq(scope, "/") {
		key = mac(key, part)
	}
	want := hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(canonical[:])))
	return subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text)) // never fails
	return h.Sum(nil)
}
