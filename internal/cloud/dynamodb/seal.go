package dynamodb

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/envelope"
	"miniforge/internal/cloud/wire"
)

// An encryption is how a table's items are sealed. Without a KMS key they are
// only under the cloud's own key, as all of the store: AWS's "AWS owned key".
type encryption struct {
	// Keys are the data keys in use: one, or two while the table is being
	// re-encrypted. Current is the number of that for new items; 0: none.
	Keys    []dataKey `json:"keys,omitempty"`
	Current int       `json:"current,omitempty"`
	Last    int       `json:"last,omitempty"` // number given out last
	// Pepper is the secret of the hashes in row keys; sealed under the current key.
	Pepper  []byte `json:"pepper"`
	GrantID string `json:"grant_id,omitempty"` // on the KMS key, for the service's own work
}

type dataKey struct {
	No      int    `json:"no"`
	KMS     string `json:"kms"` // ARN of the KMS key
	Managed bool   `json:"managed,omitempty"`
	Wrapped []byte `json:"wrapped"`
}

// kmsARN is the ARN of the KMS key for new items; "" if there is none.
func (e encryption) kmsARN() string {
	for _, k := range e.Keys {
		if k.No == e.Current {
			return k.KMS
		}
	}
	return ""
}

// An access is a table with the keys that its rows need. It is for one request.
type access struct {
	*table
	keys   map[int]*envelope.Key
	pepper []byte
	mac    hash.Hash // under the pepper; see partition
}

func (s *Service) sealContext(name string) map[string]string {
	return map[string]string{"aws:dynamodb:tableName": name, "aws:dynamodb:subscriberId": s.Account}
}

// service is the service's own identity, for work that no caller waits for.
// A grant on each table's key lets it in.
func (s *Service) service(t *tableRow) wire.As {
	return wire.As{Principal: authz.ServicePrincipal("dynamodb", s.tableARN(t.Region, t.Name), s.Account), Region: t.Region}
}

// open has KMS decrypt the table's data keys in the name of as. That is asked
// for each request, so that a key that was disabled, or a permission that was
// taken away, shows at once.
func (s *Service) open(ctx context.Context, t *table, as wire.As) (*access, error) {
	a := &access{table: t, pepper: t.Encryption.Pepper}
	if len(t.Encryption.Keys) == 0 {
		return a, nil
	}
	var err error
	if a.keys, err = s.unwrap(ctx, t.Name, t.Encryption.Keys, as); err != nil {
		return nil, err
	}
	if t.Encryption.Current != 0 {
		if a.pepper, err = t.openPepper(a.keys[t.Encryption.Current]); err != nil {
			return nil, fmt.Errorf("open secret of table %s: %w", t.Name, err)
		}
	}
	return a, nil
}

// openPepper opens the table's secret once: who has the key may have it again.
func (t *table) openPepper(key *envelope.Key) ([]byte, error) {
	if p := t.pepper.Load(); p != nil {
		return *p, nil
	}
	p, err := key.Open(t.Encryption.Pepper, pepperAAD(t.ID))
	if err == nil {
		t.pepper.Store(&p)
	}
	return p, err
}

func (s *Service) unwrap(ctx context.Context, table string, keys []dataKey, as wire.As) (map[int]*envelope.Key, error) {
	out := make(map[int]*envelope.Key, len(keys))
	for _, k := range keys {
		key, err := envelope.Unwrap(ctx, s.Caller, as, s.sealContext(table), k.Wrapped)
		if err != nil {
			return nil, keyError(err)
		}
		out[k.No] = key
	}
	return out, nil
}

// openFor finds the table of a request and opens it in the caller's name.
func (s *Service) openFor(ctx context.Context, given *string) (*access, error) {
	t, err := s.table(ctx, given)
	if err != nil {
		return nil, err
	}
	return s.open(ctx, t, wire.CallOf(ctx).As("dynamodb"))
}

func pepperAAD(id string) []byte { return []byte("pepper " + id) }

// begin begins a row, after what it has in the clear, by the number of the data
// key: what is appended to it is for seal.
func (a *access) begin(clear []byte) []byte {
	return binary.AppendUvarint(clear, uint64(a.Encryption.Current)) //nolint:gosec // small
}

// seal ends a row: what follows the first n bytes, which begin made, is
// encrypted and bound to the row's key.
func (a *access) seal(row string, b []byte, n int) []byte {
	if a.Encryption.Current == 0 {
		return b
	}
	return a.keys[a.Encryption.Current].SealTail(b, n, []byte(row))
}

// sealItem is the row of an item of about the given size.
func (a *access) sealItem(row string, item attr.Item, size int) []byte {
	b := a.begin(make([]byte, 0, size+size/2+roomToSeal))
	return a.seal(row, attr.Append(b, item), len(b))
}

// roomToSeal is for what a row holds beside items: numbers of keys, lengths.
const roomToSeal = 128 + envelope.Overhead

// unseal undoes seal, at the cost of b.
func unseal(keys map[int]*envelope.Key, row string, b []byte) ([]byte, error) {
	no, w := binary.Uvarint(b)
	switch {
	case w <= 0:
		return nil, attr.ErrCorrupt
	case no == 0:
		return b[w:], nil
	case keys[int(no)] == nil: //nolint:gosec // small
		return nil, fmt.Errorf("row is sealed under data key %d, which the table no longer has", no)
	}
	return keys[int(no)].OpenInPlace(b[w:], []byte(row)) //nolint:gosec // small
}

// item reads an item from its row, which is of no use afterwards.
func (a *access) item(row string, b []byte) (attr.Item, error) {
	plain, err := unseal(a.keys, row, b)
	if err != nil {
		return nil, fmt.Errorf("read item of table %s: %w", a.Name, err)
	}
	item, _, err := attr.Decode(plain)
	if err != nil {
		return nil, fmt.Errorf("read item of table %s: %w", a.Name, err)
	}
	return item, nil
}

// newEncryption sets up the encryption of a new table. kmsKey "" means no KMS key.
func (s *Service) newEncryption(ctx context.Context, region, id, name, kmsKey string) (encryption, error) {
	pepper := make([]byte, 32)
	_, _ = rand.Read(pepper) // never fails
	return s.encryptUnder(ctx, encryption{}, region, id, name, kmsKey, pepper)
}

// encryptUnder returns e with a new current data key under a KMS key, or none.
// The caller must be allowed to use the KMS key and to grant its use.
func (s *Service) encryptUnder(ctx context.Context, e encryption, region, id, name, kmsKey string, pepper []byte) (encryption, error) {
	if kmsKey == "" {
		e.Current, e.Pepper, e.GrantID = 0, pepper, ""
		return e, nil
	}
	as := wire.CallOf(ctx).As("dynamodb")
	d, err := wire.Do[kms.DescribeKeyOutput](ctx, s.Caller, as, &kms.DescribeKeyInput{KeyId: &kmsKey})
	if err != nil {
		return e, keyParameterError(err)
	}
	k, err := envelope.NewKey(ctx, s.Caller, as, *d.KeyMetadata.Arn, s.sealContext(name))
	if err != nil {
		return e, keyParameterError(err)
	}
	g, err := wire.Do[kms.CreateGrantOutput](ctx, s.Caller, as, &kms.CreateGrantInput{
		KeyId: d.KeyMetadata.Arn, GranteeServicePrincipal: new("dynamodb.amazonaws.com"), RetiringServicePrincipal: new("dynamodb.amazonaws.com"),
		Operations: []kmstypes.GrantOperation{
			kmstypes.GrantOperationEncrypt, kmstypes.GrantOperationDecrypt, kmstypes.GrantOperationReEncryptFrom, kmstypes.GrantOperationReEncryptTo,
			kmstypes.GrantOperationGenerateDataKey, kmstypes.GrantOperationGenerateDataKeyWithoutPlaintext, kmstypes.GrantOperationDescribeKey,
			kmstypes.GrantOperationRetireGrant,
		},
		Constraints: &kmstypes.GrantConstraints{EncryptionContextSubset: s.sealContext(name)},
		Name:        new("dynamodb-" + id),
	})
	if err != nil {
		return e, keyParameterError(err)
	}
	e.Last++
	e.Current, e.GrantID = e.Last, deref(g.GrantId)
	e.Keys = append(slices.Clip(e.Keys), dataKey{
		No: e.Current, KMS: k.KeyARN, Managed: d.KeyMetadata.KeyManager == kmstypes.KeyManagerTypeAws, Wrapped: k.Wrapped,
	})
	e.Pepper = k.Seal(pepper, pepperAAD(id))
	return e, nil
}

// keyError is what DynamoDB makes of KMS's refusal to decrypt a data key.
func keyError(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorFault() == smithy.FaultServer {
		return err
	}
	code := api.ErrorCode()
	class := code
	if code == "AccessDeniedException" {
		class = "AWSKMSException"
	}
	return wire.Errorf("AccessDeniedException", "KMS key access denied error: com.amazonaws.services.kms.model.%s: %s (Service: AWSKMS; Status Code: 400; Error Code: %s; Request ID: %s; Proxy: null)",
		class, api.ErrorMessage(), code, uuid.NewString())
}

// keyParameterError is what DynamoDB makes of a KMS key that was named to
// encrypt a table and cannot be used.
func keyParameterError(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok || api.ErrorFault() == smithy.FaultServer {
		return err
	}
	if api.ErrorCode() == "AccessDeniedException" {
		return keyError(err)
	}
	return invalid("KMS validation error: %s (Service: AWSKMS; Status Code: 400; Error Code: %s; Request ID: %s; Proxy: null)",
		api.ErrorMessage(), api.ErrorCode(), uuid.NewString())
}
