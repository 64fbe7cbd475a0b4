package dynamodb

import (
	"fmt"
	"sync/atomic"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

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

// ordersTable makes a table as the system's: a stream with both images, an
// index, a KMS key.
func ordersTable(r *rig) {
	r.create("tab", "id:S", "", encrypted(""), streaming(types.StreamViewTypeNewAndOldImages), globally("by-kind", "kind:S", "made:S", types.ProjectionTypeAll))
}

// order is an item as the system's orders.
func order(id string) attr.Item {
	return attr.Item{
		"id": str(id), "kind": str("SUBMITTED"), "made": str("2026-01-01T00:00:00.000000001Z"), "updated_at": str("2026-01-01T00:00:00.000000001Z"), "amount": num("1250"),
		"execution_arn": str("arn:aws:states:us-east-1:000000000000:execution:fulfilment:" + id),
		"customer":      &attr.M{Value: attr.Item{"name": str("Ada"), "email": str("ada@example.com")}},
		"items":         &attr.L{Value: []attr.Value{&attr.M{Value: attr.Item{"sku": str("MF-DRAGON-01"), "quantity": num("1")}}}},
		"timeline":      &attr.L{Value: []attr.Value{&attr.M{Value: attr.Item{"status": str("SUBMITTED"), "at": str("2026-01-01T00:00:00Z")}}}},
	}
}

// BenchmarkUpdateItem moves an order to its next state, as the workflow does.
func BenchmarkUpdateItem(b *testing.B) {
	r := newRig(b, store.Memory())
	ordersTable(r)
	r.put("tab", order("o"))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		must[sdk.UpdateItemOutput](r, &sdk.UpdateItemInput{
			TableName: new("tab"), Key: attr.Item{"id": str("o")},
			UpdateExpression:         new("SET #status = :reserved, updated_at = :now, timeline = list_append(if_not_exists(nothing, :none), :entry)"),
			ConditionExpression:      new("#status = :submitted AND execution_arn = :me AND attribute_not_exists(failure)"),
			ExpressionAttributeNames: map[string]string{"#status": "kind"},
			ExpressionAttributeValues: attr.Item{
				":reserved": str("SUBMITTED"), ":submitted": str("SUBMITTED"), ":me": str("arn:aws:states:us-east-1:000000000000:execution:fulfilment:o"), ":now": str(fmt.Sprint(n)),
				":none":  &attr.L{},
				":entry": &attr.L{Value: []attr.Value{&attr.M{Value: attr.Item{"status": str("RESERVED"), "at": str("2026-01-01T00:00:00Z")}}}},
			},
		})
	}
}

// BenchmarkGetRecords reads ten changes of orders.
func BenchmarkGetRecords(b *testing.B) {
	r := newRig(b, store.Memory())
	ordersTable(r)
	for i := range 10 {
		r.put("tab", order(fmt.Sprint(i)))
	}
	arn := r.stream("tab")
	it := must[streams.GetShardIteratorOutput](r, &streams.GetShardIteratorInput{
		StreamArn: arn, ShardId: r.shards(arn).Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
	}).ShardIterator
	b.ReportAllocs()
	for b.Loop() {
		if n := len(must[streams.GetRecordsOutput](r, &streams.GetRecordsInput{ShardIterator: it}).Records); n != 10 {
			b.Fatalf("%d records", n)
		}
	}
}
