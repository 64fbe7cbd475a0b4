package kms

import (
	"context"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
)

// keyPolicy leaves a key to the account and adds statements.
func keyPolicy(statements ...string) string {
	all := append([]string{`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`}, statements...)
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(all, ",") + `]}`
}

func TestKeyPolicies(t *testing.T) {
	r := newRig(t, store.Memory())
	for name, c := range map[string]struct{ policy, code, message string }{
		"no JSON":             {`{`, "MalformedPolicyDocumentException", "invalid Json"},
		"lock-out":            {`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"kms:*","Resource":"*"}}`, "MalformedPolicyDocumentException", "The new key policy will not allow you to update the key policy in the future."},
		"without a principal": {`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`, "MalformedPolicyDocumentException", "Principal"},
		"too long":            {keyPolicy(`{"Sid":"` + strings.Repeat("x", 33000) + `","Effect":"Deny","Principal":"*","Action":"kms:Sign","Resource":"*"}`), "LimitExceededException", ""},
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, r, root, &sdk.CreateKeyInput{Policy: &c.policy}, c.code, c.message)
		})
	}
	locked := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"kms:*","Resource":"*"}}`
	id := *do[sdk.CreateKeyOutput](t, r, &sdk.CreateKeyInput{Policy: &locked, BypassPolicyLockoutSafetyCheck: true}).KeyMetadata.KeyId
	refuses(t, r, root, &sdk.DescribeKeyInput{KeyId: &id}, "AccessDeniedException", "no resource-based policy allows the kms:DescribeKey action")

	r.PrincipalExists = func(_ context.Context, arn string) (bool, error) { return !strings.Contains(arn, "ghost"), nil }
	ghost := keyPolicy(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/ghost"},"Action":"kms:Decrypt","Resource":"*"}`)
	refuses(t, r, root, &sdk.CreateKeyInput{Policy: &ghost}, "MalformedPolicyDocumentException", "Policy contains a statement with one or more invalid principals.")
}

func TestChangedPolicyCountsAtOnce(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, keyPolicy(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/reader"},"Action":"kms:Decrypt","Resource":"*"}`))
	in := &sdk.DecryptInput{CiphertextBlob: encrypt(t, r, id, "secret", nil)}
	if _, err := as[sdk.DecryptOutput](t, r, role, in); err != nil {
		t.Fatal(err)
	}
	do[sdk.PutKeyPolicyOutput](t, r, &sdk.PutKeyPolicyInput{KeyId: &id, Policy: new(keyPolicy())})
	refuses(t, r, role, in, "AccessDeniedException", "User: "+role.ARN+" is not authorized to perform: kms:Decrypt on resource: "+r.arn(region, id)+" because no identity-based policy allows the kms:Decrypt action")
}

func TestConditionKeys(t *testing.T) {
	r := newRig(t, store.Memory())
	const readerMay = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:role/reader"},"Action":["kms:Encrypt","kms:Decrypt"],"Resource":"*","Condition":{`
	for name, c := range map[string]struct {
		condition string
		who       authz.Principal
		ec        map[string]string
		want      bool
	}{
		"ViaService":                     {`"StringEquals":{"kms:ViaService":"sqs.us-east-1.amazonaws.com"}`, role.On("sqs"), nil, true},
		"directly, not ViaService":       {`"StringEquals":{"kms:ViaService":"sqs.us-east-1.amazonaws.com"}`, role, nil, false},
		"CallerAccount":                  {`"StringEquals":{"kms:CallerAccount":"111122223333"}`, role, nil, true},
		"EncryptionContext":              {`"StringEquals":{"kms:EncryptionContext:aws:sqs:arn":"q"}`, role, map[string]string{"aws:sqs:arn": "q"}, true},
		"another EncryptionContext":      {`"StringEquals":{"kms:EncryptionContext:aws:sqs:arn":"q"}`, role, map[string]string{"aws:sqs:arn": "r"}, false},
		"EncryptionContextKeys":          {`"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["a","b"]}`, role, map[string]string{"a": "1"}, true},
		"a further EncryptionContextKey": {`"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":["a","b"]}`, role, map[string]string{"a": "1", "c": "2"}, false},
		"KeySpec":                        {`"StringEquals":{"kms:KeySpec":"SYMMETRIC_DEFAULT"}`, role, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			id := newKeyID(t, r, keyPolicy(readerMay+c.condition+`}}`))
			_, err := as[sdk.EncryptOutput](t, r, c.who, &sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x"), EncryptionContext: c.ec})
			if (err == nil) != c.want {
				t.Errorf("got %v, want allowed %t", err, c.want)
			}
		})
	}
}

func TestServiceUsesAKeyForItsResource(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, keyPolicy(`{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":["kms:GenerateDataKey*","kms:Decrypt"],"Resource":"*",`+
		`"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:sns:us-east-1:111122223333:miniforge-*"},"StringEquals":{"aws:SourceAccount":"111122223333"}}}`))
	in := &sdk.GenerateDataKeyInput{KeyId: &id, KeySpec: types.DataKeySpecAes256}
	mine := authz.ServicePrincipal("sns", "arn:aws:sns:us-east-1:111122223333:miniforge-t", account).On("sqs")
	if _, err := as[sdk.GenerateDataKeyOutput](t, r, mine, in); err != nil {
		t.Error(err)
	}
	refuses(t, r, authz.ServicePrincipal("sns", "arn:aws:sns:us-east-1:111122223333:other", account).On("sqs"), in, "AccessDeniedException", "sns.amazonaws.com")
}

func TestMissingKeyIsToldToThoseWhoMightUseIt(t *testing.T) {
	r := newRig(t, store.Memory())
	in := &sdk.DescribeKeyInput{KeyId: new("00000000-0000-0000-0000-000000000000")}
	refuses(t, r, role, in, "AccessDeniedException", "kms:DescribeKey")
	r.identity = []string{`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"kms:*","Resource":"*"}}`}
	refuses(t, r, role, in, "NotFoundException", "does not exist")
}

func TestGrants(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, "")
	ec := map[string]string{"table": "orders", "more": "x"}
	blob := encrypt(t, r, id, "secret", ec)
	use := &sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec}
	refuses(t, r, role, use, "AccessDeniedException", "kms:Decrypt")

	make := &sdk.CreateGrantInput{
		KeyId: &id, GranteePrincipal: &role.RoleARN, RetiringPrincipal: &role.RoleARN, Name: new("g"),
		Operations: []types.GrantOperation{types.GrantOperationDecrypt}, Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"table": "orders"}},
	}
	grant := do[sdk.CreateGrantOutput](t, r, make)
	if again := do[sdk.CreateGrantOutput](t, r, make); *again.GrantId != *grant.GrantId {
		t.Error("the same named grant was made twice")
	}
	out, err := as[sdk.DecryptOutput](t, r, role, use)
	if err != nil || string(out.Plaintext) != "secret" {
		t.Errorf("granted, yet %v", err)
	}
	refuses(t, r, role, &sdk.EncryptInput{KeyId: &id, Plaintext: []byte("x"), EncryptionContext: ec}, "AccessDeniedException", "kms:Encrypt")
	other := encrypt(t, r, id, "secret", map[string]string{"table": "others"})
	refuses(t, r, role, &sdk.DecryptInput{CiphertextBlob: other, EncryptionContext: map[string]string{"table": "others"}}, "AccessDeniedException", "kms:Decrypt")

	if l := do[sdk.ListGrantsOutput](t, r, &sdk.ListGrantsInput{KeyId: &id}); len(l.Grants) != 1 || *l.Grants[0].GranteePrincipal != role.RoleARN {
		t.Errorf("grants: %+v", l.Grants)
	}
	if _, err := as[sdk.RetireGrantOutput](t, r, role, &sdk.RetireGrantInput{GrantToken: grant.GrantToken}); err != nil {
		t.Errorf("its retiring principal cannot retire the grant: %v", err)
	}
	refuses(t, r, role, use, "AccessDeniedException", "kms:Decrypt")
	refuses(t, r, root, &sdk.RevokeGrantInput{KeyId: &id, GrantId: grant.GrantId}, "NotFoundException", *grant.GrantId)
}

func TestRevokedGrantEndsAtOnce(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, "")
	g := do[sdk.CreateGrantOutput](t, r, &sdk.CreateGrantInput{
		KeyId: &id, GranteePrincipal: &role.RoleARN, Operations: []types.GrantOperation{types.GrantOperationDescribeKey},
		Constraints: &types.GrantConstraints{EncryptionContextEquals: map[string]string{"a": "b"}},
	})
	in := &sdk.DescribeKeyInput{KeyId: &id}
	if _, err := as[sdk.DescribeKeyOutput](t, r, role, in); err != nil {
		t.Errorf("constraints are about cryptography only: %v", err)
	}
	do[sdk.RevokeGrantOutput](t, r, &sdk.RevokeGrantInput{KeyId: &id, GrantId: g.GrantId})
	refuses(t, r, role, in, "AccessDeniedException", "kms:DescribeKey")
}

func TestBadGrants(t *testing.T) {
	r := newRig(t, store.Memory())
	id := newKeyID(t, r, "")
	ops := []types.GrantOperation{types.GrantOperationDecrypt}
	refuses(t, r, root, &sdk.CreateGrantInput{KeyId: &id, Operations: ops}, "ValidationException", "granteePrincipal")
	refuses(t, r, root, &sdk.CreateGrantInput{KeyId: &id, GranteePrincipal: new("bob"), Operations: ops}, "InvalidArnException", "bob")
	refuses(t, r, root, &sdk.CreateGrantInput{KeyId: &id, GranteePrincipal: &role.RoleARN, Operations: []types.GrantOperation{"Sign"}}, "ValidationException", "Sign")
	refuses(t, r, root, &sdk.RetireGrantInput{GrantToken: new("!")}, "InvalidGrantTokenException", "")
	refuses(t, r, root, &sdk.RetireGrantInput{}, "ValidationException", "grant token")
	refuses(t, r, root, &sdk.CreateGrantInput{KeyId: &id, GranteePrincipal: &role.RoleARN, Operations: ops, DryRun: new(true)}, "DryRunOperationException", "")
}

func BenchmarkGenerateDataKey(b *testing.B) {
	r := newRig(b, store.Memory())
	out, err := r.mux.Call(b.Context(), asRoot(), &sdk.CreateKeyInput{})
	if err != nil {
		b.Fatal(err)
	}
	id := out.(*sdk.CreateKeyOutput).KeyMetadata.KeyId
	b.ReportAllocs()
	for b.Loop() {
		in := &sdk.GenerateDataKeyInput{KeyId: id, KeySpec: types.DataKeySpecAes256, EncryptionContext: map[string]string{"aws:sqs:arn": "q"}}
		if _, err := r.mux.Call(b.Context(), asRoot(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecrypt opens a data key as services do for each of their requests.
func BenchmarkDecrypt(b *testing.B) {
	r := newRig(b, store.Memory())
	out, err := r.mux.Call(b.Context(), asRoot(), &sdk.CreateKeyInput{})
	if err != nil {
		b.Fatal(err)
	}
	ec := map[string]string{"aws:dynamodb:tableName": "orders", "aws:dynamodb:subscriberId": account}
	made, err := r.mux.Call(b.Context(), asRoot(), &sdk.GenerateDataKeyInput{KeyId: out.(*sdk.CreateKeyOutput).KeyMetadata.KeyId, KeySpec: types.DataKeySpecAes256, EncryptionContext: ec})
	if err != nil {
		b.Fatal(err)
	}
	blob := made.(*sdk.GenerateDataKeyOutput).CiphertextBlob
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.mux.Call(b.Context(), asRoot(), &sdk.DecryptInput{CiphertextBlob: blob, EncryptionContext: ec}); err != nil {
			b.Fatal(err)
		}
	}
}
