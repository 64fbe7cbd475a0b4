package sqs

import (
	"bytes"
	"context"
	"crypto/rand"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A vault stands for KMS: it keeps data keys under the context they were made with.
type vault struct {
	keys    map[string][]byte
	under   map[string]map[string]string
	refuse  map[string]error // by operation
	decrypt int
}

func (r *rig) vault() *vault {
	v := &vault{keys: map[string][]byte{}, under: map[string]map[string]string{}, refuse: map[string]error{}}
	api := r.Caller.(*wire.Mux).API(wire.API{Service: "kms", Protocol: wire.JSON11, Target: "TrentService"})
	wire.Handle(api, func(_ context.Context, in *kms.GenerateDataKeyInput) (*kms.GenerateDataKeyOutput, error) {
		if err := v.refuse["GenerateDataKey"]; err != nil {
			return nil, err
		}
		id, plain := rand.Text(), make([]byte, 32)
		_, _ = rand.Read(plain)
		v.keys[id], v.under[id] = bytes.Clone(plain), in.EncryptionContext
		return &kms.GenerateDataKeyOutput{KeyId: in.KeyId, Plaintext: plain, CiphertextBlob: []byte(id)}, nil
	})
	wire.Handle(api, func(_ context.Context, in *kms.DecryptInput) (*kms.DecryptOutput, error) {
		if err := v.refuse["Decrypt"]; err != nil {
			return nil, err
		}
		if v.keys[string(in.CiphertextBlob)] == nil || !maps.Equal(v.under[string(in.CiphertextBlob)], in.EncryptionContext) {
			return nil, &kmstypes.InvalidCiphertextException{}
		}
		v.decrypt++
		return &kms.DecryptOutput{KeyId: new("key"), Plaintext: bytes.Clone(v.keys[string(in.CiphertextBlob)])}, nil
	})
	return v
}

func TestMessagesOfAQueueWithAKeyAreCiphertext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v := r.vault()
		dlq := r.make("dlq", nil)
		u := r.make("q", map[string]string{"KmsMasterKeyId": "alias/k", "VisibilityTimeout": "0", "RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dlq","maxReceiveCount":1}`})
		attrs := map[string]types.MessageAttributeValue{"a": {DataType: new("String"), StringValue: new("hidden too")}}
		if _, err := r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: u, MessageBody: new("secret"), MessageAttributes: attrs}); err != nil {
			t.Fatal(err)
		}
		for _, under := range v.under {
			if under["aws:sqs:arn"] != "arn:aws:sqs:us-east-1:000000000000:q" {
				t.Errorf("data key under %v", under)
			}
		}
		if err := r.DB.View(func(tx *store.Tx) error {
			for row, err := range store.Table[[]byte]("sqs.messages").Range(tx, "", "") {
				if err != nil || bytes.Contains(row.Value, []byte("secret")) || bytes.Contains(row.Value, []byte("hidden")) {
					t.Errorf("%s %v", row.Value, err)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if got := r.expect(u, "secret"); *got[0].MessageAttributes["a"].StringValue != "hidden too" {
			t.Errorf("%v", got[0].MessageAttributes)
		}
		r.expect(u)
		r.expect(dlq, "secret") // still under the key of the queue that it came from
	})
}

func TestKeysThatRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v := r.vault()
		u := r.make("q", map[string]string{"KmsMasterKeyId": "alias/k", "VisibilityTimeout": "0"})
		denied := wire.Errorf("AccessDeniedException", "User is not authorized to perform: kms:Decrypt")
		send := func() error {
			_, err := r.SendMessage(r.ctx, &sdk.SendMessageInput{QueueUrl: u, MessageBody: new("x")})
			return err
		}
		receive := func() error {
			_, err := r.ReceiveMessage(r.ctx, &sdk.ReceiveMessageInput{QueueUrl: u})
			return err
		}
		if err := send(); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			op   string
			err  error
			call func() error
			want string
		}{
			{"GenerateDataKey", &kmstypes.DisabledException{Message: new("k is disabled.")}, send, "KmsDisabled: k is disabled."},
			{"GenerateDataKey", &kmstypes.NotFoundException{Message: new("no k")}, send, "KmsNotFound: no k"},
			{"GenerateDataKey", &kmstypes.KMSInvalidStateException{Message: new("k is pending deletion.")}, send, "KmsInvalidState: k is pending deletion."},
			{"Decrypt", denied, send, "KmsAccessDenied: User is not authorized to perform: kms:Decrypt"},
			{"Decrypt", denied, receive, "KmsAccessDenied: User is not authorized to perform: kms:Decrypt"},
		} {
			clear(v.refuse)
			v.refuse[tc.op] = tc.err
			if err := tc.call(); err == nil || !strings.HasSuffix(err.Error(), tc.want) {
				t.Errorf("%s: %v, want %s", tc.op, err, tc.want)
			}
		}
		clear(v.refuse)
		r.expect(u, "x") // what was refused was not lost, and not added
	})
}

func TestABatchUnderOneDataKeyIsUnwrappedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		v := r.vault()
		u := r.make("q", map[string]string{"KmsMasterKeyId": "alias/k"})
		if _, err := r.SendMessageBatch(r.ctx, &sdk.SendMessageBatchInput{QueueUrl: u, Entries: []types.SendMessageBatchRequestEntry{{Id: new("a"), MessageBody: new("1")}, {Id: new("b"), MessageBody: new("2")}}}); err != nil {
			t.Fatal(err)
		}
		v.decrypt = 0
		if got := r.receive10(u, 0); len(got) != 2 || v.decrypt != 1 {
			t.Errorf("%d messages, %d decryptions", len(got), v.decrypt)
		}
	})
}
