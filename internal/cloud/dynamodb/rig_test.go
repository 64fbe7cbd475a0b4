package dynamodb

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/kms"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const (
	account = "000000000000"
	region  = "us-east-1"
)

// A rig is the service with KMS beside it, on one store, with tasks running.
// Every access is allowed: who may do what is not what its tests are about.
type rig struct {
	*Service
	t     tester
	keys  *kms.Service
	mux   *wire.Mux
	queue *event.Queue
}

func newRig(t testing.TB, db store.DB) *rig {
	t.Helper()
	r := newBareRig(t, db)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error)
	go func() { done <- r.queue.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// A tester is what a rig needs of a test.
type tester interface {
	Helper()
	Context() context.Context
	Error(...any)
	Errorf(string, ...any)
	Fatalf(string, ...any)
	Fatal(...any)
}

// newBareRig is a rig whose tasks wait.
func newBareRig(t tester, db store.DB) *rig {
	log := slog.New(slog.DiscardHandler)
	q := event.NewQueue(db, log)
	m := wire.NewMux(wire.Options{Account: account})
	r := &rig{Service: New(Options{DB: db, Tasks: q, Caller: m, Account: account}), t: t, mux: m, queue: q}
	r.keys = kms.New(kms.Options{DB: db, Tasks: q, Log: log, Account: account, Master: make([]byte, 32)})
	r.keys.Register(m, q)
	r.Register(m, q)
	return r
}

func root() authz.Principal {
	return authz.Principal{Type: authz.Root, ARN: "arn:aws:iam::" + account + ":root", Account: account, ID: account}
}

// do calls an operation as a client would: with validation.
func do[Out any](r *rig, in any) (*Out, error) {
	return wire.Do[Out](r.t.Context(), r.mux, wire.As{Principal: root(), Region: region}, in)
}

// must is do for what has to succeed.
func must[Out any](r *rig, in any) *Out {
	r.t.Helper()
	out, err := do[Out](r, in)
	if err != nil {
		r.t.Fatalf("%T: %v", in, err)
	}
	return out
}

// create makes a table with the key "id" or, as "id,at", with a sort key; their
// types follow a colon: "id:S,at:N".
func (r *rig) create(name, hash, sort string, more ...func(*sdk.CreateTableInput)) {
	r.t.Helper()
	in := &sdk.CreateTableInput{TableName: &name, BillingMode: types.BillingModePayPerRequest}
	for i, k := range []string{hash, sort} {
		if k == "" {
			continue
		}
		kind := types.KeyTypeHash
		if i == 1 {
			kind = types.KeyTypeRange
		}
		in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: new(k[:len(k)-2]), KeyType: kind})
		in.AttributeDefinitions = append(in.AttributeDefinitions, define(k))
	}
	for _, m := range more {
		m(in)
	}
	must[sdk.CreateTableOutput](r, in)
}

// define is the definition of an attribute given as "name:S".
func define(k string) types.AttributeDefinition {
	return types.AttributeDefinition{AttributeName: new(k[:len(k)-2]), AttributeType: types.ScalarAttributeType(k[len(k)-1:])}
}

// globally adds a global index on "name:S" attributes.
func globally(name, hash, sort string, p types.ProjectionType, nonKey ...string) func(*sdk.CreateTableInput) {
	return func(in *sdk.CreateTableInput) {
		keys := []types.KeySchemaElement{{AttributeName: new(hash[:len(hash)-2]), KeyType: types.KeyTypeHash}}
		if sort != "" {
			keys = append(keys, types.KeySchemaElement{AttributeName: new(sort[:len(sort)-2]), KeyType: types.KeyTypeRange})
		}
		for _, k := range []string{hash, sort} {
			if k != "" && !slices.ContainsFunc(in.AttributeDefinitions, func(d types.AttributeDefinition) bool { return *d.AttributeName == k[:len(k)-2] }) {
				in.AttributeDefinitions = append(in.AttributeDefinitions, define(k))
			}
		}
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: &name, KeySchema: keys, Projection: &types.Projection{ProjectionType: p, NonKeyAttributes: nonKey},
		})
	}
}

func streaming(v types.StreamViewType) func(*sdk.CreateTableInput) {
	return func(in *sdk.CreateTableInput) {
		in.StreamSpecification = &types.StreamSpecification{StreamEnabled: new(true), StreamViewType: v}
	}
}

func (r *rig) put(table string, item attr.Item) {
	r.t.Helper()
	must[sdk.PutItemOutput](r, &sdk.PutItemInput{TableName: &table, Item: item})
}

func (r *rig) item(table string, key attr.Item) attr.Item {
	r.t.Helper()
	return must[sdk.GetItemOutput](r, &sdk.GetItemInput{TableName: &table, Key: key}).Item
}

func str(s string) attr.Value { return &attr.S{Value: s} }
func num(s string) attr.Value { return &attr.N{Value: s} }

// same compares SDK values, without what is not exported in them.
var same = cmpopts.IgnoreUnexported(attr.S{}, attr.N{}, attr.B{}, attr.SS{}, attr.NS{}, attr.BS{}, attr.M{}, attr.L{}, attr.Null{}, attr.Bool{})

func equal(t tester, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, same, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// refused wants an error with a code and, exactly, a text.
func refused(t tester, err error, code, text string) {
	t.Helper()
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		t.Errorf("got error %v, want %s: %s", err, code, text)
		return
	}
	if api.ErrorCode() != code || api.ErrorMessage() != text {
		t.Errorf("got  %s: %s\nwant %s: %s", api.ErrorCode(), api.ErrorMessage(), code, text)
	}
}
