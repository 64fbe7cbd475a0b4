package dynamodb

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"pgregory.net/rapid"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
)

// A model is the table as a plain map: key -> item.
type model map[string]attr.Item

func modelKey(item attr.Item) string {
	return item["id"].(*attr.S).Value + "/" + item["rk"].(*attr.N).Value
}

// TestAgainstModel makes random changes and compares everything that can be
// read with a map: items, queries, scans, the index, counts, and the stream,
// from which the table must follow.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{r: newBareRig(t, store.Memory()), model: model{}}
		m.r.create("tab", "id:S", "rk:N", globally("by-kind", "kind:S", "rk:N", types.ProjectionTypeAll), streaming(types.StreamViewTypeNewAndOldImages))
		t.Repeat(map[string]func(*rapid.T){"put": m.put, "update": m.update, "delete": m.remove, "move": m.move, "": m.compare})
	})
}

type machine struct {
	r     *rig
	model model
}

func (m *machine) key(t *rapid.T) attr.Item {
	return attr.Item{"id": str(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "id")), "rk": num(strconv.Itoa(rapid.IntRange(-2, 3).Draw(t, "rk")))}
}

func (m *machine) put(t *rapid.T) {
	item := m.key(t)
	if rapid.Bool().Draw(t, "indexed") {
		item["kind"] = str(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "kind"))
	}
	item["n"] = num(strconv.Itoa(rapid.IntRange(0, 2).Draw(t, "n")))
	onlyNew := rapid.Bool().Draw(t, "only new")
	in := &sdk.PutItemInput{TableName: new("tab"), Item: item, ReturnValues: types.ReturnValueAllOld}
	if onlyNew {
		in.ConditionExpression = new("attribute_not_exists(id)")
	}
	out, err := do[sdk.PutItemOutput](m.r, in)
	old := m.model[modelKey(item)]
	if onlyNew && old != nil {
		refused(m.r.t, err, "ConditionalCheckFailedException", "The conditional request failed")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if !attr.EqualItems(out.Attributes, old) {
		t.Fatalf("old item %v, want %v", out.Attributes, old)
	}
	m.model[modelKey(item)] = item
}

func (m *machine) update(t *rapid.T) {
	key := m.key(t)
	out, err := do[sdk.UpdateItemOutput](m.r, &sdk.UpdateItemInput{
		TableName: new("tab"), Key: key, UpdateExpression: new("SET n = if_not_exists(n, :z) + :d, kind = :k"), ReturnValues: types.ReturnValueAllNew,
		ExpressionAttributeValues: attr.Item{":z": num("0"), ":d": num("1"), ":k": str("x")},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := attr.CloneItem(key)
	n := 0
	if old := m.model[modelKey(key)]; old != nil {
		want = attr.CloneItem(old)
		if v, ok := old["n"].(*attr.N); ok {
			n, _ = strconv.Atoi(v.Value)
		}
	}
	want["n"], want["kind"] = num(strconv.Itoa(n+1)), str("x")
	if !attr.EqualItems(out.Attributes, want) {
		t.Fatalf("updated item %v, want %v", out.Attributes, want)
	}
	m.model[modelKey(key)] = want
}

func (m *machine) remove(t *rapid.T) {
	key := m.key(t)
	if _, err := do[sdk.DeleteItemOutput](m.r, &sdk.DeleteItemInput{TableName: new("tab"), Key: key}); err != nil {
		t.Fatal(err)
	}
	delete(m.model, modelKey(key))
}

// move moves an item to another key, if it is there and the other is free.
func (m *machine) move(t *rapid.T) {
	from, to := m.key(t), m.key(t)
	if modelKey(from) == modelKey(to) {
		return
	}
	_, err := do[sdk.TransactWriteItemsOutput](m.r, &sdk.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{Delete: &types.Delete{TableName: new("tab"), Key: from, ConditionExpression: new("attribute_exists(id)")}},
		{Put: &types.Put{TableName: new("tab"), Item: to, ConditionExpression: new("attribute_not_exists(id)")}},
	}})
	fits := m.model[modelKey(from)] != nil && m.model[modelKey(to)] == nil
	if (err == nil) != fits {
		t.Fatalf("move: %v, want success %v", err, fits)
	}
	if fits {
		delete(m.model, modelKey(from))
		m.model[modelKey(to)] = to
	}
}

// compare compares all ways of reading with the model.
func (m *machine) compare(t *rapid.T) {
	all := must[sdk.ScanOutput](m.r, &sdk.ScanInput{TableName: new("tab")})
	sameItems(t, "scan", m.model, all.Items)
	for _, id := range []string{"a", "b"} {
		want := model{}
		for k, i := range m.model {
			if i["id"].(*attr.S).Value == id {
				want[k] = i
			}
		}
		out := must[sdk.QueryOutput](m.r, &sdk.QueryInput{TableName: new("tab"), KeyConditionExpression: new("id = :v"), ExpressionAttributeValues: attr.Item{":v": str(id)}})
		sameItems(t, "query "+id, want, out.Items)
		inOrder(t, out.Items)
	}
	indexed := model{}
	for k, i := range m.model {
		if i["kind"] != nil {
			indexed[k] = i
		}
	}
	sameItems(t, "index", indexed, must[sdk.ScanOutput](m.r, &sdk.ScanInput{TableName: new("tab"), IndexName: new("by-kind")}).Items)
	m.counts(t, len(indexed))
	sameItems(t, "replayed stream", m.model, slices.Collect(maps.Values(m.replay(t))))
}

func (m *machine) counts(t *rapid.T, indexed int) {
	d := must[sdk.DescribeTableOutput](m.r, &sdk.DescribeTableInput{TableName: new("tab")}).Table
	size := 0
	for _, i := range m.model {
		size += attr.ItemSize(i)
	}
	if int(*d.ItemCount) != len(m.model) || int(*d.TableSizeBytes) != size || int(*d.GlobalSecondaryIndexes[0].ItemCount) != indexed {
		t.Fatalf("counts %d items, %d bytes, %d in the index; want %d, %d, %d",
			*d.ItemCount, *d.TableSizeBytes, *d.GlobalSecondaryIndexes[0].ItemCount, len(m.model), size, indexed)
	}
}

// replay makes the table from its stream.
func (m *machine) replay(t *rapid.T) map[string]map[string]types.AttributeValue {
	out := map[string]map[string]types.AttributeValue{}
	last := ""
	for _, rec := range m.r.records("tab") {
		d := rec.Dynamodb
		if *d.SequenceNumber <= last {
			t.Fatalf("sequence number %s follows %s", *d.SequenceNumber, last)
		}
		last = *d.SequenceNumber
		key := d.Keys["id"].(*streamtypes.AttributeValueMemberS).Value + "/" + d.Keys["rk"].(*streamtypes.AttributeValueMemberN).Value
		_, there := out[key]
		want := streamtypes.OperationTypeInsert
		switch {
		case d.NewImage == nil:
			want = streamtypes.OperationTypeRemove
		case there:
			want = streamtypes.OperationTypeModify
		}
		if rec.EventName != want || there != (d.OldImage != nil) {
			t.Fatalf("record %s with old image %v, want %s", rec.EventName, d.OldImage, want)
		}
		if d.NewImage == nil {
			delete(out, key)
			continue
		}
		item := attr.Item{}
		for k, v := range d.NewImage {
			switch v := v.(type) {
			case *streamtypes.AttributeValueMemberS:
				item[k] = str(v.Value)
			case *streamtypes.AttributeValueMemberN:
				item[k] = num(v.Value)
			}
		}
		out[key] = item
	}
	return out
}

// records are all records of a table's current stream.
func (r *rig) records(table string) []streamtypes.Record {
	r.t.Helper()
	arn := must[sdk.DescribeTableOutput](r, &sdk.DescribeTableInput{TableName: &table}).Table.LatestStreamArn
	return r.recordsOf(arn)
}

func (r *rig) recordsOf(arn *string) (out []streamtypes.Record) {
	r.t.Helper()
	d := must[streams.DescribeStreamOutput](r, &streams.DescribeStreamInput{StreamArn: arn}).StreamDescription
	for _, h := range d.Shards {
		it := must[streams.GetShardIteratorOutput](r, &streams.GetShardIteratorInput{StreamArn: arn, ShardId: h.ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon}).ShardIterator
		for it != nil {
			got := must[streams.GetRecordsOutput](r, &streams.GetRecordsInput{ShardIterator: it, Limit: new(int32(7))})
			out = append(out, got.Records...)
			it = got.NextShardIterator
			if len(got.Records) == 0 {
				break
			}
		}
	}
	return out
}

func sameItems(t *rapid.T, what string, want model, got []map[string]types.AttributeValue) {
	if len(got) != len(want) {
		t.Fatalf("%s: %d items, want %d", what, len(got), len(want))
	}
	for _, i := range got {
		if w := want[modelKey(i)]; w == nil || !attr.EqualItems(i, w) {
			t.Fatalf("%s: item %v, want %v", what, i, w)
		}
	}
}

func inOrder(t *rapid.T, items []map[string]types.AttributeValue) {
	for i := 1; i < len(items); i++ {
		if c, _ := attr.Compare(items[i-1]["rk"], items[i]["rk"]); c >= 0 {
			t.Fatal(fmt.Sprint("out of order: ", items[i-1]["rk"], " before ", items[i]["rk"]))
		}
	}
}
