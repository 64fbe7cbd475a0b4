package envelope

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"miniforge/internal/cloud/wire"
)

// fakeKMS wraps keys by turning each byte over, and notes what it was asked.
type fakeKMS struct {
	context map[string]string
	err     error
}

func (f *fakeKMS) Call(_ context.Context, _ wire.As, in any) (any, error) {
	if f.err != nil {
		return nil, f.err
	}
	turned := func(b []byte) []byte {
		out := bytes.Clone(b)
		for i := range out {
			out[i] ^= 0xff
		}
		return out
	}
	switch in := in.(type) {
	case *kms.GenerateDataKeyInput:
		f.context = in.EncryptionContext
		plain := bytes.Repeat([]byte{7}, 32)
		return &kms.GenerateDataKeyOutput{Plaintext: plain, CiphertextBlob: turned(plain), KeyId: new("arn:" + *in.KeyId)}, nil
	case *kms.DecryptInput:
		f.context = in.EncryptionContext
		return &kms.DecryptOutput{Plaintext: turned(in.CiphertextBlob), KeyId: new("arn:k")}, nil
	}
	return nil, errors.New("unexpected call")
}

func (f *fakeKMS) CallJSON(context.Context, wire.As, string, string, []byte) ([]byte, error) {
	return nil, errors.New("unexpected call")
}

func TestSealedDataOpensAfterUnwrap(t *testing.T) {
	f := &fakeKMS{}
	ec := map[string]string{"aws:sqs:arn": "q"}
	k, err := NewKey(t.Context(), f, wire.As{}, "k", ec)
	if err != nil || k.KeyARN != "arn:k" || f.context["aws:sqs:arn"] != "q" {
		t.Fatalf("key %+v, context %v, %v", k, f.context, err)
	}
	sealed := k.Seal([]byte("order"), []byte("row 1"))
	if bytes.Contains(sealed, []byte("order")) || bytes.Equal(sealed, k.Seal([]byte("order"), []byte("row 1"))) {
		t.Error("sealed data shows what it holds")
	}
	same, err := Unwrap(t.Context(), f, wire.As{}, ec, k.Wrapped)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := same.Open(sealed, []byte("row 1")); err != nil || string(got) != "order" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestWhatWasChangedDoesNotOpen(t *testing.T) {
	k, err := NewKey(t.Context(), &fakeKMS{}, wire.As{}, "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	sealed := k.Seal([]byte("order"), []byte("row 1"))
	if _, err := k.Open(sealed, []byte("row 2")); !errors.Is(err, ErrSealed) {
		t.Errorf("under another row: %v", err)
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := k.Open(bad, []byte("row 1")); !errors.Is(err, ErrSealed) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	if _, err := k.Open(nil, nil); !errors.Is(err, ErrSealed) {
		t.Errorf("nothing: %v", err)
	}
}

// What is sealed or opened in place is what Seal and Open make, with and
// without room for it.
func TestInPlace(t *testing.T) {
	k, err := NewKey(t.Context(), &fakeKMS{}, wire.As{}, "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []int{0, Overhead - 1, Overhead, 100} {
		for _, text := range []string{"", "order", strings.Repeat("order", 100)} {
			row := append(make([]byte, 0, 4+len(text)+room), "head"+text...)
			row = k.SealTail(row, 4, []byte("row 1"))
			if string(row[:4]) != "head" || len(row) != 4+len(text)+Overhead {
				t.Fatalf("room for %d: %q became %q", room, text, row)
			}
			if got, err := k.Open(row[4:], []byte("row 1")); err != nil || string(got) != text {
				t.Errorf("room for %d: opened %q, %v, want %q", room, got, err, text)
			}
			if got, err := k.OpenInPlace(row[4:], []byte("row 1")); err != nil || string(got) != text {
				t.Errorf("room for %d: opened in place %q, %v, want %q", room, got, err, text)
			}
		}
	}
	if _, err := k.OpenInPlace(k.Seal([]byte("order"), []byte("row 1")), []byte("row 2")); !errors.Is(err, ErrSealed) {
		t.Errorf("under another row: %v", err)
	}
	if _, err := k.OpenInPlace(nil, nil); !errors.Is(err, ErrSealed) {
		t.Errorf("nothing: %v", err)
	}
}

// The cipher of a data key is kept, but KMS has the last word on its use.
func TestKeysAreAskedForEachTime(t *testing.T) {
	f := &fakeKMS{}
	k, err := NewKey(t.Context(), f, wire.As{}, "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Unwrap(t.Context(), f, wire.As{}, nil, k.Wrapped); err != nil || again.aead != k.aead {
		t.Errorf("the cipher was made again, or an error: %v", err)
	}
	f.err = errors.New("disabled")
	if _, err := Unwrap(t.Context(), f, wire.As{}, nil, k.Wrapped); !errors.Is(err, f.err) {
		t.Errorf("a disabled key was unwrapped: %v", err)
	}
}

func TestErrorsOfKMSComeThrough(t *testing.T) {
	want := errors.New("disabled")
	f := &fakeKMS{err: want}
	if _, err := NewKey(t.Context(), f, wire.As{}, "k", nil); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	if _, err := Unwrap(t.Context(), f, wire.As{}, nil, []byte("x")); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}
