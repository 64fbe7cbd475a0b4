// Package kms is the Key Management Service: symmetric keys that really
// encrypt, whose material never leaves the service unwrapped.
//
// https://docs.aws.amazon.com/kms/latest/APIReference/Welcome.html
package kms

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"time"

	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/memo"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Options are what the service needs.
type Options struct {
	DB      store.DB
	Tasks   event.Sender
	Log     *slog.Logger
	Account string
	// Master is the cloud's master key, 32 bytes. Key material is wrapped by
	// a key derived from it.
	Master []byte
	// PrincipalExists tells whether a user or role that a key policy or a
	// grant names exists; nil takes every name.
	PrincipalExists func(ctx context.Context, arn string) (bool, error)
}

// A Service serves the keys of all regions.
type Service struct {
	Options
	wrap   cipher.AEAD
	keys   memo.Map[string, *key]        // by region/id
	alias  memo.Map[string, string]      // region/alias -> key id
	grants memo.Map[string, []*grantRow] // by region/id
}

// Tables. Keys begin with the region, so that one region's rows are one range.
const (
	keyRows   = store.Table[keyRow]("kms.keys")      // region/id
	aliasRows = store.Table[aliasRow]("kms.aliases") // region/alias/name
	grantRows = store.Table[grantRow]("kms.grants")  // region/id/grant
)

// Kinds of tasks.
const (
	deleteTask = "kms.delete" // at the end of the waiting period
	rotateTask = "kms.rotate" // at the end of the rotation period
)

// A keyRow is a key as it is stored.
type keyRow struct {
	ID          string            `json:"id"`
	Region      string            `json:"region"`
	Description string            `json:"description,omitempty"`
	Created     time.Time         `json:"created"`
	State       string            `json:"state"`
	Deletion    time.Time         `json:"deletion,omitzero"`
	Window      int32             `json:"window,omitempty"` // days, while pending deletion
	Policy      string            `json:"policy"`
	Tags        map[string]string `json:"tags,omitempty"`
	ManagedBy   string            `json:"managed_by,omitempty"` // "sqs" for alias/aws/sqs
	Rotation    rotation          `json:"rotation"`
	Materials   []material        `json:"materials"` // the last one encrypts
}

type rotation struct {
	Enabled bool      `json:"enabled,omitempty"`
	Period  int32     `json:"period,omitempty"` // days
	Next    time.Time `json:"next,omitzero"`
	Demands int       `json:"demands,omitempty"` // rotations on demand so far
}

// A material is one version of a key's cryptographic material.
type material struct {
	ID       string    `json:"id"` // 64 hex digits
	Created  time.Time `json:"created"`
	OnDemand bool      `json:"on_demand,omitempty"`
	Wrapped  []byte    `json:"wrapped"`
}

type aliasRow struct {
	Key     string    `json:"key"` // key id
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

// A key is a keyRow in use: its materials are unwrapped. It never changes.
type key struct {
	keyRow
	arn   string
	aeads []cipher.AEAD
}

// New makes the service. Master must be 32 bytes long: anything else panics at start-up.
func New(o Options) *Service {
	secret, err := hkdf.Key(sha256.New, o.Master, nil, "miniforge kms key material", 32)
	if err != nil || len(o.Master) != 32 {
		panic("kms: the master key is not 32 bytes long")
	}
	wrap, err := newAEAD(secret)
	if err != nil {
		panic("kms: " + err.Error())
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{Options: o, wrap: wrap}
}

// newAEAD makes AES-GCM with random nonces, which are part of the output.
func newAEAD(secret []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Register adds the operations and the handlers of the timers.
func (s *Service) Register(m *wire.Mux, q *event.Queue) {
	api := m.API(wire.API{Service: "kms", Protocol: wire.JSON11, Target: "TrentService"})
	s.registerKeys(api)
	s.registerAliases(api)
	s.registerPolicies(api)
	s.registerGrants(api)
	s.registerRotation(api)
	s.registerTags(api)
	s.registerCrypt(api)
	q.Handle(deleteTask, 1, s.deleteDue)
	q.Handle(rotateTask, 1, s.rotateDue)
}

func (s *Service) arn(region, id string) string {
	return "arn:aws:kms:" + region + ":" + s.Account + ":key/" + id
}

// key returns a key by region and id, or nil.
func (s *Service) key(region, id string) (*key, error) {
	return s.keys.Get(region+"/"+id, func() (k *key, found bool, err error) {
		var row keyRow
		err = s.DB.View(func(tx *store.Tx) error {
			row, found, err = keyRows.Get(tx, region+"/"+id)
			return err
		})
		if err != nil || !found {
			return nil, false, err
		}
		k = &key{keyRow: row, arn: s.arn(region, id)}
		for _, m := range row.Materials {
			secret, err := s.wrap.Open(nil, nil, m.Wrapped, []byte(k.arn+"/"+m.ID))
			if err != nil {
				return nil, false, fmt.Errorf("unwrap material of key %s: the master key does not fit", id)
			}
			aead, err := newAEAD(secret)
			if err != nil {
				return nil, false, err
			}
			k.aeads = append(k.aeads, aead)
		}
		return k, true, nil
	})
}

// change rewrites a key's row. edit may refuse.
func (s *Service) change(ctx context.Context, k *key, edit func(tx *store.Tx, row *keyRow) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		row, ok, err := keyRows.Get(tx, k.Region+"/"+k.ID)
		if err != nil {
			return err
		}
		if !ok {
			return notFoundKey(k.arn)
		}
		if err := edit(tx, &row); err != nil {
			return err
		}
		return s.put(tx, row)
	})
}

// put writes a key's row; what was remembered of keys is dropped when that is durable.
func (s *Service) put(tx *store.Tx, row keyRow) error {
	tx.OnCommit(s.keys.Forget)
	return keyRows.Put(tx, row.Region+"/"+row.ID, row)
}
