package dynamodb

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
)

// encrypted puts a table under a KMS key; "" is the one that AWS manages.
func encrypted(key string) func(*sdk.CreateTableInput) {
	return func(in *sdk.CreateTableInput) {
		in.SSESpecification = &types.SSESpecification{Enabled: new(true), SSEType: types.SSETypeKms}
		if key != "" {
			in.SSESpecification.KMSMasterKeyId = &key
		}
	}
}

func (r *rig) newKey() string {
	r.t.Helper()
	return *must[kms.CreateKeyOutput](r, &kms.CreateKeyInput{}).KeyMetadata.Arn
}

func (r *rig) grants(key string) int {
	r.t.Helper()
	return len(must[kms.ListGrantsOutput](r, &kms.ListGrantsInput{KeyId: &key}).Grants)
}

// plaintext looks for a text in all that the service stores.
func (r *rig) plaintext(text string) (found []string) {
	r.t.Helper()
	err := r.DB.View(func(tx *store.Tx) error {
		for _, rows := range []store.Table[[]byte]{itemRows, indexRows, ttlRows, stateRows, recordRows, store.Table[[]byte](tableRows)} {
			for row, err := range rows.Range(tx, "", "") {
				if err != nil {
					return err
				}
				if bytes.Contains(row.Value, []byte(text)) || strings.Contains(row.Key, text) {
					found = append(found, string(rows))
				}
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

func TestEncryptedTableHoldsNoPlaintext(t *testing.T) {
	r := newRig(t, store.Memory())
	key := r.newKey()
	r.create("tab", "id:S", "", encrypted(key), streaming(types.StreamViewTypeNewAndOldImages), globally("by-mail", "mail:S", "", types.ProjectionTypeAll))
	r.put("tab", attr.Item{"id": str("secret-id"), "mail": str("secret-mail"), "x": str("secret-x")})
	r.put("tab", attr.Item{"id": str("secret-id"), "mail": str("secret-other"), "x": str("secret-y")})
	if found := r.plaintext("secret"); found != nil {
		t.Errorf("plaintext is stored in %v", found)
	}
	d := r.describe("tab")
	if d.SSEDescription == nil || *d.SSEDescription.KMSMasterKeyArn != key || d.SSEDescription.Status != types.SSEStatusEnabled {
		t.Errorf("SSEDescription: %+v", d.SSEDescription)
	}
	equal(t, "item", attr.Item{"id": str("secret-id"), "mail": str("secret-other"), "x": str("secret-y")}, r.item("tab", attr.Item{"id": str("secret-id")}))
	if n := len(r.records("tab")); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

func TestDisabledKeyLocksTable(t *testing.T) {
	r := newRig(t, store.Memory())
	key := r.newKey()
	r.create("tab", "id:S", "", encrypted(key), streaming(types.StreamViewTypeNewImage))
	r.put("tab", attr.Item{"id": str("a")})
	arn := r.stream("tab")
	it := must[streams.GetShardIteratorOutput](r, &streams.GetShardIteratorInput{
		StreamArn: arn, ShardId: r.shards(arn).Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
	}).ShardIterator
	must[kms.DisableKeyOutput](r, &kms.DisableKeyInput{KeyId: &key})
	id := attr.Item{"id": str("a")}
	for name, try := range map[string]func() error{
		"put": func() error {
			_, err := do[sdk.PutItemOutput](r, &sdk.PutItemInput{TableName: new("tab"), Item: id})
			return err
		},
		"get": func() error {
			_, err := do[sdk.GetItemOutput](r, &sdk.GetItemInput{TableName: new("tab"), Key: id})
			return err
		},
		"scan": func() error { _, err := do[sdk.ScanOutput](r, &sdk.ScanInput{TableName: new("tab")}); return err },
		"records": func() error {
			_, err := do[streams.GetRecordsOutput](r, &streams.GetRecordsInput{ShardIterator: it})
			return err
		},
	} {
		err, ok := errors.AsType[smithy.APIError](try())
		if !ok || err.ErrorCode() != "AccessDeniedException" || !strings.HasPrefix(err.ErrorMessage(), "KMS key access denied error: com.amazonaws.services.kms.model.DisabledException: "+key+" is disabled.") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d := r.describe("tab"); d.TableStatus != types.TableStatusInaccessibleEncryptionCredentials || d.SSEDescription.InaccessibleEncryptionDateTime == nil {
		t.Errorf("status %s of a table whose key is disabled", d.TableStatus)
	}
	must[kms.EnableKeyOutput](r, &kms.EnableKeyInput{KeyId: &key})
	equal(t, "item after enabling the key", id, r.item("tab", id))
	if d := r.describe("tab"); d.TableStatus != types.TableStatusActive {
		t.Errorf("status %s after enabling the key", d.TableStatus)
	}
}

func TestUnusableKeys(t *testing.T) {
	r := newRig(t, store.Memory())
	disabled := r.newKey()
	must[kms.DisableKeyOutput](r, &kms.DisableKeyInput{KeyId: &disabled})
	for key, want := range map[string]string{
		disabled:     "KMS validation error: " + disabled + " is disabled.",
		"alias/nope": "KMS validation error: Alias arn:aws:kms:us-east-1:000000000000:alias/nope is not found.",
	} {
		in := &sdk.CreateTableInput{
			TableName: new("tab"), BillingMode: types.BillingModePayPerRequest, AttributeDefinitions: []types.AttributeDefinition{define("id:S")},
			KeySchema: []types.KeySchemaElement{{AttributeName: new("id"), KeyType: types.KeyTypeHash}},
		}
		encrypted(key)(in)
		_, err := do[sdk.CreateTableOutput](r, in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	if n := len(must[sdk.ListTablesOutput](r, &sdk.ListTablesInput{}).TableNames); n != 0 {
		t.Errorf("%d tables were made all the same", n)
	}
}

func TestChangeOfKeyEncryptsAgain(t *testing.T) {
	r := newRig(t, store.Memory())
	first, second := r.newKey(), r.newKey()
	r.create("tab", "id:S", "", encrypted(first), streaming(types.StreamViewTypeNewImage))
	const n = chunk + 50
	for i := range n {
		r.put("tab", attr.Item{"id": str(fmt.Sprint(i)), "x": str("secret")})
	}
	use := func(sp *types.SSESpecification) error {
		_, err := do[sdk.UpdateTableOutput](r, &sdk.UpdateTableInput{TableName: new("tab"), SSESpecification: sp})
		return err
	}
	if err := use(&types.SSESpecification{Enabled: new(true), SSEType: types.SSETypeKms, KMSMasterKeyId: &second}); err != nil {
		t.Fatal(err)
	}
	refused(t, use(&types.SSESpecification{Enabled: new(true), KMSMasterKeyId: &second}), validation, "One or more parameter values were invalid: Table is already encrypted by given KMSMasterKeyId")
	until(t, "the new encryption", func() bool { return r.grants(first) == 0 }) // the last that it does
	if got := *r.describe("tab").SSEDescription.KMSMasterKeyArn; got != second {
		t.Errorf("key %s, want %s", got, second)
	}
	if n := r.grants(second); n != 1 {
		t.Errorf("%d grants on the new key, want 1", n)
	}
	if got := len(r.records("tab")); got != n {
		t.Errorf("%d records of before the change can be read, want %d", got, n)
	}
	must[kms.DisableKeyOutput](r, &kms.DisableKeyInput{KeyId: &first})
	if got := must[sdk.ScanOutput](r, &sdk.ScanInput{TableName: new("tab")}).Count; got != n {
		t.Errorf("%d items without the old key, want %d", got, n)
	}
	if err := use(&types.SSESpecification{Enabled: new(false)}); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of encryption", func() bool { return r.grants(second) == 0 })
	must[kms.DisableKeyOutput](r, &kms.DisableKeyInput{KeyId: &second})
	if got := must[sdk.ScanOutput](r, &sdk.ScanInput{TableName: new("tab")}).Count; got != n || r.describe("tab").SSEDescription != nil {
		t.Errorf("%d items without a KMS key, want %d", got, n)
	}
}

func TestGrantEndsWithTable(t *testing.T) {
	r := newRig(t, store.Memory())
	key := r.newKey()
	r.create("tab", "id:S", "", encrypted(key))
	if n := r.grants(key); n != 1 {
		t.Errorf("%d grants for the table, want 1", n)
	}
	must[sdk.DeleteTableOutput](r, &sdk.DeleteTableInput{TableName: new("tab")})
	until(t, "the end of the grant", func() bool { return r.grants(key) == 0 })
}

func TestManagedKey(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "", encrypted(""))
	r.put("tab", attr.Item{"id": str("secret")})
	if found := r.plaintext("secret"); found != nil {
		t.Errorf("plaintext is stored in %v", found)
	}
	if d := r.describe("tab").SSEDescription; d == nil || d.SSEType != types.SSETypeKms {
		t.Errorf("SSEDescription: %+v", d)
	}
}
