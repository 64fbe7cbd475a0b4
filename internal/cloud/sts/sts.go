// Package sts is the Security Token Service: it tells who a caller is and
// issues temporary credentials, which carry all that is known of their session
// in a sealed token. They need no row, so they survive restarts and are
// checked without a look-up; a token is opened once and then known.
//
// https://docs.aws.amazon.com/STS/latest/APIReference/welcome.html
package sts

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	Account string
	// Master is the cloud's master key, 32 bytes. Session tokens are sealed
	// under a key derived from it.
	Master []byte
	// Role returns the unique id and the longest session of a role; ok is
	// false if there is none.
	Role func(ctx context.Context, arn string) (id string, longest time.Duration, ok bool, err error)
	// PolicyDocument returns the document of a managed policy; ok is false if
	// there is none.
	PolicyDocument func(ctx context.Context, arn string) (document string, ok bool, err error)
}

// A Service issues and checks temporary credentials.
type Service struct {
	Options
	seal   cipher.AEAD
	opened opened
}

// New makes the service. Master must be 32 bytes long: anything else panics at start-up.
func New(o Options) *Service {
	secret, err := hkdf.Key(sha256.New, o.Master, nil, "miniforge sts session token", 32)
	if err != nil || len(o.Master) != 32 {
		panic("sts: the master key is not 32 bytes long")
	}
	block, err := aes.NewCipher(secret)
	if err != nil {
		panic("sts: " + err.Error())
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("sts: " + err.Error())
	}
	return &Service{Options: o, seal: seal}
}

// Register adds the operations.
func (s *Service) Register(m *wire.Mux, _ *event.Queue) {
	api := m.API(wire.API{
		Service: "sts", Protocol: wire.Query, Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		Statuses: map[string]int{"AccessDenied": http.StatusForbidden},
		Names:    map[string]string{"PolicyDescriptorType.Arn": "arn"},
		Invalid:  func(_ string, p []wire.Problem) error { return validation(wire.ProblemText(p)) },
	})
	s.registerIdentity(api)
	s.registerAssume(api)
}

func validation(text string) error { return wire.Errorf("ValidationError", "%s", text) }

// A token is what a session token carries.
type token struct {
	KeyID     string          `json:"k"`
	Secret    string          `json:"s"`
	Expires   time.Time       `json:"e"`
	Principal authz.Principal `json:"p"`
}

// issue makes credentials for p that are valid for d.
func (s *Service) issue(p authz.Principal, d time.Duration) (*types.Credentials, error) {
	id, secret := make([]byte, 10), make([]byte, 30)
	_, _ = rand.Read(id) // never fails: crypto/rand ends the process instead
	_, _ = rand.Read(secret)
	now := time.Now().UTC().Truncate(time.Second)
	p.Issued = now
	t := token{
		KeyID: "ASIA" + base32.StdEncoding.EncodeToString(id), Secret: base64.StdEncoding.EncodeToString(secret), Expires: now.Add(d), Principal: p,
	}
	plain, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode session token: %w", err)
	}
	sealed := base64.StdEncoding.EncodeToString(s.seal.Seal(nil, nil, plain, []byte(tokenFormat)))
	return &types.Credentials{AccessKeyId: &t.KeyID, SecretAccessKey: &t.Secret, SessionToken: &sealed, Expiration: &t.Expires}, nil
}

// tokenFormat is authenticated with each token: one of another format cannot be taken for this.
const tokenFormat = "session token 1"

// Session returns the secret and the identity of temporary credentials. The
// error is [wire.ErrInvalidToken] for a token that was not issued here or
// belongs to other credentials, [wire.ErrExpiredToken] for one whose time is over.
func (s *Service) Session(_ context.Context, accessKeyID, sessionToken string) (secret string, p authz.Principal, err error) {
	t := s.opened.get(sessionToken)
	known := t != nil
	if !known {
		if t, err = s.open(sessionToken); err != nil {
			return "", authz.Principal{}, err
		}
	}
	if subtle.ConstantTimeCompare([]byte(t.KeyID), []byte(accessKeyID)) != 1 {
		return "", authz.Principal{}, wire.ErrInvalidToken
	}
	now := time.Now()
	if !now.Before(t.Expires) {
		return "", authz.Principal{}, wire.ErrExpiredToken
	}
	if !known {
		s.opened.keep(sessionToken, t, now)
	}
	return t.Secret, t.Principal, nil
}

// open reads a token, if it was sealed here.
func (s *Service) open(sessionToken string) (*token, error) {
	sealed, err := base64.StdEncoding.DecodeString(sessionToken)
	if err != nil {
		return nil, wire.ErrInvalidToken
	}
	plain, err := s.seal.Open(nil, nil, sealed, []byte(tokenFormat))
	if err != nil {
		return nil, wire.ErrInvalidToken
	}
	var t token
	if err := json.Unmarshal(plain, &t); err != nil {
		return nil, fmt.Errorf("decode session token: %w", err)
	}
	return &t, nil
}
