package dynamodb

import (
	"fmt"
	"sync/atomic"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
)

// BenchmarkPutItem puts orders as the system does: a stream with both images,
// an index, a KMS key; in memory and durably, by 16 clients.
func BenchmarkPutItem(b *testing.B) {
	for name, c := range map[string]struct {
		durable bool
		more    []func(*sdk.CreateTableInput)
	}{
		"plain":           {false, nil},
		"durable":         {true, nil},
		"orders":          {false, []func(*sdk.CreateTableInput){encrypted(""), streaming(types.StreamViewTypeNewAndOldImages), globally("by-kind", "kind:S", "made:S", types.ProjectionTypeAll)}},
		"orders, durable": {true, []func(*sdk.CreateTableInput){encrypted(""), streaming(types.StreamViewTypeNewAndOldImages), globally("by-kind", "kind:S", "made:S", types.ProjectionTypeAll)}},
	} {
		b.Run(name, func(b *testing.B) {
			db := store.Memory()
			if c.durable {
				db = open(b, b.TempDir())
			}
			r := newRig(b, db)
			r.create("tab", "id:S", "", c.more...)
			var n atomic.Int64
			b.SetParallelism(16)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := n.Add(1)
					_, err := do[sdk.PutItemOutput](r, &sdk.PutItemInput{TableName: new("tab"), ConditionExpression: new("attribute_not_exists(id)"), Item: attr.Item{
						"id": str(fmt.Sprintf("ord_%010d", i)), "kind": str("SUBMITTED"), "made": str(fmt.Sprintf("2026-01-01T00:00:00.%09dZ", i)), "n": num("12"),
						"customer": &attr.M{Value: attr.Item{"name": str("Ada"), "email": str("ada@example.com")}},
						"items":    &attr.L{Value: []attr.Value{&attr.M{Value: attr.Item{"sku": str("MF-DRAGON-01"), "quantity": num("1")}}}},
					}})
					if err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "puts/s")
		})
	}
}
