package dynamodb

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
)

// ids are the values of an attribute in items, in order.
func ids(items []map[string]types.AttributeValue, name string) []string {
	out := []string{}
	for _, i := range items {
		switch v := i[name].(type) {
		case *attr.S:
			out = append(out, v.Value)
		case *attr.N:
			out = append(out, v.Value)
		}
	}
	return out
}

func TestQueryOrderAndConditions(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "rk:N")
	for _, n := range []string{"10", "-3", "2", "0.5", "100", "0"} {
		r.put("tab", attr.Item{"id": str("a"), "rk": num(n)})
		r.put("tab", attr.Item{"id": str("b"), "rk": num(n)})
	}
	for condition, want := range map[string][]string{
		"id = :a":                             {"-3", "0", "0.5", "2", "10", "100"},
		"id = :a AND rk < :x":                 {"-3", "0", "0.5"},
		"id = :a AND rk <= :x":                {"-3", "0", "0.5", "2"},
		"id = :a AND rk > :x":                 {"10", "100"},
		"id = :a AND rk >= :x":                {"2", "10", "100"},
		"id = :a AND rk = :x":                 {"2"},
		"id = :a AND rk BETWEEN :x AND :y":    {"2", "10"},
		"rk BETWEEN :x AND :y AND (id) = :a ": {"2", "10"},
	} {
		values := attr.Item{":a": str("a")}
		for name, v := range map[string]string{":x": "2", ":y": "50"} {
			if strings.Contains(condition, name) {
				values[name] = num(v)
			}
		}
		for _, forward := range []bool{true, false} {
			out := must[sdk.QueryOutput](r, &sdk.QueryInput{TableName: new("tab"), KeyConditionExpression: &condition, ExpressionAttributeValues: values, ScanIndexForward: &forward})
			w := slices.Clone(want)
			if !forward {
				slices.Reverse(w)
			}
			equal(t, fmt.Sprint(condition, " forward ", forward), w, ids(out.Items, "rk"))
		}
	}
}

func TestQueryErrors(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "rk:N", globally("by-kind", "kind:S", "", types.ProjectionTypeKeysOnly))
	r.create("flat", "id:S", "")
	a := attr.Item{":a": str("a")}
	for _, c := range []struct {
		name string
		in   sdk.QueryInput
		want string
	}{
		{"no condition", sdk.QueryInput{}, "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."},
		{"no partition key", sdk.QueryInput{KeyConditionExpression: new("rk = :a"), ExpressionAttributeValues: a}, "Query condition missed key schema element: id"},
		{"another attribute", sdk.QueryInput{KeyConditionExpression: new("id = :a AND x = :a"), ExpressionAttributeValues: a}, "Query condition missed key schema element: rk"},
		{"partition key by range", sdk.QueryInput{KeyConditionExpression: new("id > :a"), ExpressionAttributeValues: a}, "Query key condition not supported"},
		{"no sort key", sdk.QueryInput{TableName: new("flat"), KeyConditionExpression: new("id = :a AND rk = :a"), ExpressionAttributeValues: a}, "Query key condition not supported"},
		{"other type", sdk.QueryInput{KeyConditionExpression: new("id = :a AND rk = :a"), ExpressionAttributeValues: a}, "One or more parameter values were invalid: Condition parameter type does not match schema type"},
		{"filter on key", sdk.QueryInput{KeyConditionExpression: new("id = :a"), FilterExpression: new("rk = :a"), ExpressionAttributeValues: a},
			"Filter Expression can only contain non-primary key attributes: Primary key attribute: rk"},
		{"no such index", sdk.QueryInput{IndexName: new("nope"), KeyConditionExpression: new("id = :a"), ExpressionAttributeValues: a}, "The table does not have the specified index: nope"},
		{"consistent index", sdk.QueryInput{IndexName: new("by-kind"), ConsistentRead: new(true), KeyConditionExpression: new("kind = :a"), ExpressionAttributeValues: a},
			"Consistent reads are not supported on global secondary indexes"},
		{"all attributes of an index", sdk.QueryInput{IndexName: new("by-kind"), Select: types.SelectAllAttributes, KeyConditionExpression: new("kind = :a"), ExpressionAttributeValues: a},
			"One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global secondary index by-kind because its projection type is not ALL"},
		{"count with projection", sdk.QueryInput{Select: types.SelectCount, ProjectionExpression: new("id"), KeyConditionExpression: new("id = :a"), ExpressionAttributeValues: a},
			"Cannot specify the ProjectionExpression when choosing to get only the Count"},
		{"start elsewhere", sdk.QueryInput{KeyConditionExpression: new("id = :a"), ExpressionAttributeValues: a, ExclusiveStartKey: attr.Item{"id": str("b"), "rk": num("1")}},
			"The provided starting key is outside query boundaries based on provided conditions"},
		{"start key without sort key", sdk.QueryInput{KeyConditionExpression: new("id = :a"), ExpressionAttributeValues: a, ExclusiveStartKey: attr.Item{"id": str("a")}},
			"The provided starting key is invalid: The provided key element does not match the schema"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.in.TableName == nil {
				c.in.TableName = new("tab")
			}
			_, err := do[sdk.QueryOutput](r, &c.in)
			refused(t, err, validation, c.want)
		})
	}
}

func TestPagesOfQueryAndFilter(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "rk:S", globally("by-kind", "kind:S", "rk:S", types.ProjectionTypeAll))
	for i := range 10 {
		r.put("tab", attr.Item{"id": str(fmt.Sprint("p", i%2)), "rk": str(fmt.Sprintf("%02d", i)), "kind": str("k"), "odd": &attr.Bool{Value: i%4 > 1}})
	}
	for _, forward := range []bool{true, false} {
		var got []string
		var start attr.Item
		scanned, pages := 0, 0
		for pages == 0 || start != nil {
			out := must[sdk.QueryOutput](r, &sdk.QueryInput{
				TableName: new("tab"), IndexName: new("by-kind"), KeyConditionExpression: new("kind = :k"), FilterExpression: new("odd = :t"), ScanIndexForward: &forward,
				ExpressionAttributeValues: attr.Item{":k": str("k"), ":t": &attr.Bool{Value: true}}, Limit: new(int32(3)), ExclusiveStartKey: start,
			})
			got, start, scanned, pages = append(got, ids(out.Items, "rk")...), out.LastEvaluatedKey, scanned+int(out.ScannedCount), pages+1
			if int(out.Count) != len(out.Items) {
				t.Errorf("count %d of %d items", out.Count, len(out.Items))
			}
			if start != nil && len(start) != 3 {
				t.Errorf("LastEvaluatedKey of an index has %d attributes, want those of both keys", len(start))
			}
		}
		want := []string{"02", "03", "06", "07"}
		if !forward {
			slices.Reverse(want)
		}
		equal(t, fmt.Sprint("items forward ", forward), want, got)
		if scanned != 10 || pages != 4 {
			t.Errorf("scanned %d in %d pages, want 10 in 4", scanned, pages)
		}
	}
}

func TestPageEndsAtOneMegabyte(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "")
	for i := range 4 {
		r.put("tab", attr.Item{"id": str(fmt.Sprint(i)), "pad": str(strings.Repeat("x", 390<<10))})
	}
	out := must[sdk.ScanOutput](r, &sdk.ScanInput{TableName: new("tab")})
	if out.Count != 3 || out.LastEvaluatedKey == nil {
		t.Errorf("first page has %d items, last key %v; want 3 items and a key", out.Count, out.LastEvaluatedKey)
	}
	rest := must[sdk.ScanOutput](r, &sdk.ScanInput{TableName: new("tab"), ExclusiveStartKey: out.LastEvaluatedKey, Select: types.SelectCount})
	if rest.Count != 1 || rest.Items != nil || rest.LastEvaluatedKey != nil {
		t.Errorf("second page: %d, items %v, last key %v; want the count of 1 only", rest.Count, rest.Items, rest.LastEvaluatedKey)
	}
}

func TestSegmentsOfScan(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:N", "")
	want := map[string]bool{}
	for i := range 200 {
		n := fmt.Sprint(i)
		want[n] = true
		r.put("tab", attr.Item{"id": num(n)})
	}
	const total = 7
	for seg := range int32(total) {
		var start attr.Item
		for first := true; first || start != nil; first = false {
			out := must[sdk.ScanOutput](r, &sdk.ScanInput{TableName: new("tab"), Segment: &seg, TotalSegments: new(int32(total)), Limit: new(int32(10)), ExclusiveStartKey: start})
			for _, id := range ids(out.Items, "id") {
				if !want[id] {
					t.Errorf("item %s comes twice", id)
				}
				delete(want, id)
			}
			start = out.LastEvaluatedKey
		}
	}
	if len(want) > 0 {
		t.Errorf("%d items are in no segment", len(want))
	}
	_, err := do[sdk.ScanOutput](r, &sdk.ScanInput{TableName: new("tab"), Segment: new(int32(7)), TotalSegments: new(int32(7))})
	refused(t, err, validation, "The Segment parameter is zero-based and must be less than parameter TotalSegments: Segment: 7 is not less than TotalSegments: 7")
	_, err = do[sdk.ScanOutput](r, &sdk.ScanInput{TableName: new("tab"), Segment: new(int32(0))})
	refused(t, err, validation, "The TotalSegments parameter is required but was not present in the request when Segment parameter is present")
}

func TestLocalIndexFetchesFromTable(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "rk:S", func(in *sdk.CreateTableInput) {
		in.AttributeDefinitions = append(in.AttributeDefinitions, define("rank:N"))
		in.LocalSecondaryIndexes = []types.LocalSecondaryIndex{{
			IndexName: new("by-rank"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{"x"}},
			KeySchema: []types.KeySchemaElement{{AttributeName: new("id"), KeyType: types.KeyTypeHash}, {AttributeName: new("rank"), KeyType: types.KeyTypeRange}},
		}}
	})
	r.put("tab", attr.Item{"id": str("a"), "rk": str("1"), "rank": num("2"), "x": num("1"), "y": num("1")})
	r.put("tab", attr.Item{"id": str("a"), "rk": str("2"), "rank": num("1")})
	r.put("tab", attr.Item{"id": str("a"), "rk": str("3")})
	ask := func(more func(*sdk.QueryInput)) []map[string]types.AttributeValue {
		in := &sdk.QueryInput{TableName: new("tab"), IndexName: new("by-rank"), KeyConditionExpression: new("id = :a"), ExpressionAttributeValues: attr.Item{":a": str("a")}, ConsistentRead: new(true)}
		more(in)
		return must[sdk.QueryOutput](r, in).Items
	}
	held := attr.Item{"id": str("a"), "rk": str("1"), "rank": num("2"), "x": num("1")}
	equal(t, "what the index holds", []map[string]types.AttributeValue{{"id": str("a"), "rk": str("2"), "rank": num("1")}, held}, ask(func(*sdk.QueryInput) {}))
	equal(t, "all attributes", []string{"", "1"}[1:], ids(ask(func(in *sdk.QueryInput) { in.Select = types.SelectAllAttributes }), "y"))
	equal(t, "projection beyond the index", []string{"1"}, ids(ask(func(in *sdk.QueryInput) { in.ProjectionExpression = new("y") }), "y"))
}

func TestBeginsWithAndZeroBytes(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "rk:B")
	for _, k := range []string{"a", "a\x00", "a\x00\x00", "a\x01", "a\xff", "ab", "b"} {
		r.put("tab", attr.Item{"id": str("x"), "rk": &attr.B{Value: []byte(k)}, "name": str(fmt.Sprintf("%q", k))})
	}
	out := must[sdk.QueryOutput](r, &sdk.QueryInput{
		TableName: new("tab"), KeyConditionExpression: new("id = :x AND begins_with(rk, :p)"), ExpressionAttributeValues: attr.Item{":x": str("x"), ":p": &attr.B{Value: []byte("a\x00")}},
	})
	equal(t, "items", []string{`"a\x00"`, `"a\x00\x00"`}, ids(out.Items, "name"))
}
