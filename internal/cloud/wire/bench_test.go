package wire_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

// benchMux serves one operation whose cost is that of the protocol alone.
func benchMux() *wire.Mux {
	who := authz.Principal{Type: authz.Root, ARN: "arn:aws:iam::000000000000:root"}
	m := wire.NewMux(wire.Options{Account: "000000000000", Authenticate: func(context.Context, string, string) (wire.Credential, error) {
		return wire.Credential{Secret: "SECRET", Principal: who}, nil
	}})
	union, variants := wire.Union[types.AttributeValue](&types.AttributeValueMemberS{}, &types.AttributeValueMemberM{}, &types.AttributeValueMemberN{})
	d := m.API(wire.API{Service: "dynamodb", Protocol: wire.JSON10, Target: "DynamoDB_20120810", Unions: map[reflect.Type]wire.Variants{union: variants}})
	wire.Handle(d, func(_ context.Context, in *dynamodb.UpdateItemInput) (*dynamodb.UpdateItemOutput, error) {
		return &dynamodb.UpdateItemOutput{Attributes: in.ExpressionAttributeValues}, nil
	}, wire.Members("TableName! 1..1024 [a-zA-Z0-9_.-]+", "Key!", "ReturnValues NONE|ALL_OLD|ALL_NEW"))
	return m
}

const benchBody = `{"TableName":"orders","Key":{"pk":{"S":"ORDER#0001"},"sk":{"S":"ORDER"}},"ReturnValues":"ALL_NEW",` +
	`"UpdateExpression":"SET #s = :s, updated_at = :t","ConditionExpression":"#s = :old","ExpressionAttributeNames":{"#s":"status"},` +
	`"ExpressionAttributeValues":{":s":{"S":"RESERVED"},":old":{"S":"VALIDATED"},":t":{"N":"1700000000"},":m":{"M":{"a":{"S":"b"},"c":{"N":"1"}}}}}`

// BenchmarkRequest serves one signed request without a socket.
func BenchmarkRequest(b *testing.B) {
	m := benchMux()
	r := httptest.NewRequest(http.MethodPost, "http://localhost:4566/", bytes.NewReader([]byte(benchBody)))
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.UpdateItem")
	r.Header.Set("Amz-Sdk-Invocation-Id", "5b4bb9a0-1d0c-4a0c-9a70-0a7a1b9b3a5e")
	r.Header.Set("Amz-Sdk-Request", "attempt=1; max=3")
	sign(b, r, credential, wire.Digest(benchBody), "dynamodb", "us-east-1", time.Now())
	b.ReportAllocs()
	for b.Loop() {
		r.Body = io.NopCloser(bytes.NewReader([]byte(benchBody)))
		w := nothing{http.Header{}, new(int)}
		m.ServeHTTP(w, r)
		if *w.status != http.StatusOK {
			b.Fatal(*w.status)
		}
	}
}

// nothing takes an answer and keeps its status alone.
type nothing struct {
	header http.Header
	status *int
}

// Header implements [http.ResponseWriter].
func (n nothing) Header() http.Header { return n.header }

// Write implements [http.ResponseWriter].
func (nothing) Write(b []byte) (int, error) { return len(b), nil }

// WriteHeader implements [http.ResponseWriter].
func (n nothing) WriteHeader(status int) { *n.status = status }

// BenchmarkCall makes one call between services, by the SDK's types.
func BenchmarkCall(b *testing.B) {
	m := benchMux()
	as := wire.As{Region: "us-east-1", Principal: authz.ServicePrincipal("states", "arn:aws:states:us-east-1:000000000000:stateMachine:m", "000000000000")}
	in := &dynamodb.UpdateItemInput{TableName: new("orders"), Key: map[string]types.AttributeValue{"pk": &types.AttributeValueMemberS{Value: "ORDER#1"}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Call(b.Context(), as, in); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCallJSON makes one as Step Functions does.
func BenchmarkCallJSON(b *testing.B) {
	m := benchMux()
	as := wire.As{Region: "us-east-1", Principal: authz.ServicePrincipal("states", "arn:aws:states:us-east-1:000000000000:stateMachine:m", "000000000000")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.CallJSON(b.Context(), as, "dynamodb", "UpdateItem", []byte(benchBody)); err != nil {
			b.Fatal(err)
		}
	}
}
