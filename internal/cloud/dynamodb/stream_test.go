package dynamodb

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
)

func (r *rig) stream(table string) *string {
	r.t.Helper()
	return must[sdk.DescribeTableOutput](r, &sdk.DescribeTableInput{TableName: &table}).Table.LatestStreamArn
}

func (r *rig) shards(arn *string) *streamtypes.StreamDescription {
	r.t.Helper()
	return must[streams.DescribeStreamOutput](r, &streams.DescribeStreamInput{StreamArn: arn}).StreamDescription
}

func TestStreamViews(t *testing.T) {
	for _, c := range []struct {
		view     types.StreamViewType
		old, new bool
	}{
		{types.StreamViewTypeKeysOnly, false, false}, {types.StreamViewTypeNewImage, false, true},
		{types.StreamViewTypeOldImage, true, false}, {types.StreamViewTypeNewAndOldImages, true, true},
	} {
		t.Run(string(c.view), func(t *testing.T) {
			r := newRig(t, store.Memory())
			r.create("tab", "id:S", "", streaming(c.view))
			r.put("tab", attr.Item{"id": str("a"), "n": num("1")})
			r.put("tab", attr.Item{"id": str("a"), "n": num("1")}) // changes nothing
			r.put("tab", attr.Item{"id": str("a"), "n": num("2")})
			must[sdk.DeleteItemOutput](r, &sdk.DeleteItemInput{TableName: new("tab"), Key: attr.Item{"id": str("a")}})
			got := r.records("tab")
			if len(got) != 3 {
				t.Fatalf("%d records, want 3", len(got))
			}
			for i, want := range []streamtypes.OperationType{streamtypes.OperationTypeInsert, streamtypes.OperationTypeModify, streamtypes.OperationTypeRemove} {
				d := got[i].Dynamodb
				if got[i].EventName != want || (d.OldImage != nil) != (c.old && i > 0) || (d.NewImage != nil) != (c.new && i < 2) {
					t.Errorf("record %d: %s, old %v, new %v", i, got[i].EventName, d.OldImage, d.NewImage)
				}
				if len(*d.SequenceNumber) < 21 || d.StreamViewType != streamtypes.StreamViewType(c.view) || *d.SizeBytes <= 0 || len(d.Keys) != 1 || len(*got[i].EventID) != 32 {
					t.Errorf("record %d is not as AWS's: %+v", i, d)
				}
			}
		})
	}
}

func TestIteratorTypes(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "", streaming(types.StreamViewTypeKeysOnly))
	for i := range 5 {
		r.put("tab", attr.Item{"id": str(fmt.Sprint(i))})
	}
	arn := r.stream("tab")
	shard := r.shards(arn).Shards[0].ShardId
	third := r.records("tab")[2].Dynamodb.SequenceNumber
	iterators := map[string]int{} // what each reads after one more write
	for _, c := range []struct {
		kind streamtypes.ShardIteratorType
		seq  *string
		want int
	}{
		{streamtypes.ShardIteratorTypeTrimHorizon, nil, 6}, {streamtypes.ShardIteratorTypeLatest, nil, 1},
		{streamtypes.ShardIteratorTypeAtSequenceNumber, third, 4}, {streamtypes.ShardIteratorTypeAfterSequenceNumber, third, 3},
	} {
		it := must[streams.GetShardIteratorOutput](r, &streams.GetShardIteratorInput{StreamArn: arn, ShardId: shard, ShardIteratorType: c.kind, SequenceNumber: c.seq}).ShardIterator
		iterators[*it] = c.want
	}
	r.put("tab", attr.Item{"id": str("new")})
	for it, want := range iterators {
		out := must[streams.GetRecordsOutput](r, &streams.GetRecordsInput{ShardIterator: &it})
		if len(out.Records) != want {
			t.Errorf("%s: %d records, want %d", it, len(out.Records), want)
		}
		if again := must[streams.GetRecordsOutput](r, &streams.GetRecordsInput{ShardIterator: out.NextShardIterator}); len(again.Records) != 0 {
			t.Errorf("%s: %d records after the last", it, len(again.Records))
		}
	}
	_, err := do[streams.GetRecordsOutput](r, &streams.GetRecordsInput{ShardIterator: new("x|1|y")})
	refused(t, err, validation, "Invalid ShardIterator")
	gone := "arn:aws:dynamodb:us-east-1:000000000000:table/tab/stream/2020-01-01T00:00:00.000"
	_, err = do[streams.DescribeStreamOutput](r, &streams.DescribeStreamInput{StreamArn: &gone})
	refused(t, err, "ResourceNotFoundException", "Requested resource not found: Stream: "+gone+" not found")
}

func TestWriteWakesReaders(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "", streaming(types.StreamViewTypeKeysOnly))
	woken, cancel := r.Signals.Subscribe(*r.stream("tab"))
	defer cancel()
	r.put("tab", attr.Item{"id": str("a")})
	select {
	case <-woken:
	default:
		t.Error("a committed record did not notify the stream's readers")
	}
}

func TestStreamOutlivesTableForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, store.Memory())
		r.create("tab", "id:S", "", streaming(types.StreamViewTypeNewImage))
		r.put("tab", attr.Item{"id": str("a")})
		arn := r.stream("tab")
		must[sdk.DeleteTableOutput](r, &sdk.DeleteTableInput{TableName: new("tab")})
		time.Sleep(23 * time.Hour)
		if n := len(r.recordsOf(arn)); n != 1 {
			t.Errorf("%d records of the deleted table, want 1", n)
		}
		if d := r.shards(arn); d.StreamStatus != streamtypes.StreamStatusDisabled || d.Shards[0].SequenceNumberRange.EndingSequenceNumber == nil {
			t.Errorf("stream of a deleted table: %s with shard %+v, want DISABLED and a closed shard", d.StreamStatus, d.Shards[0])
		}
		time.Sleep(2 * time.Hour)
		_, err := do[streams.DescribeStreamOutput](r, &streams.DescribeStreamInput{StreamArn: arn})
		refused(t, err, "ResourceNotFoundException", "Requested resource not found: Stream: "+*arn+" not found")
		equal(t, "rows after a day", []string(nil), r.left())
	})
}

// left are all rows that the store holds of any table or stream.
func (r *rig) left() (rows []string) {
	r.t.Helper()
	err := r.DB.View(func(tx *store.Tx) error {
		for _, t := range []store.Table[[]byte]{itemRows, indexRows, ttlRows, stateRows, recordRows, store.Table[[]byte](streamRows), store.Table[[]byte](tableRows)} {
			for row, err := range t.Range(tx, "", "") {
				if err != nil {
					return err
				}
				rows = append(rows, string(t)+" "+row.Key)
			}
		}
		return nil
	})
	if err != nil {
		r.t.Error(err)
	}
	return rows
}

func TestShardsRollOverAndRecordsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, store.Memory())
		r.create("tab", "id:S", "", streaming(types.StreamViewTypeNewImage))
		for i := range 8 { // every 5 hours: longer than a shard takes records
			r.put("tab", attr.Item{"id": str(fmt.Sprint(i))})
			time.Sleep(5 * time.Hour)
		}
		d := r.shards(r.stream("tab"))
		for i, h := range d.Shards {
			last := i == len(d.Shards)-1
			if (h.SequenceNumberRange.EndingSequenceNumber == nil) != last || i > 0 && *h.ParentShardId != *d.Shards[i-1].ShardId {
				t.Errorf("shard %d of %d: %+v", i, len(d.Shards), h)
			}
		}
		// Records of the last 24 hours: written 5, 10, 15 and 20 hours ago.
		got := r.records("tab")
		if len(got) != 4 || len(d.Shards) < 4 || len(d.Shards) > 6 {
			t.Errorf("%d records in %d shards, want 4 in about 5", len(got), len(d.Shards))
		}
		_, err := do[streams.GetShardIteratorOutput](r, &streams.GetShardIteratorInput{
			StreamArn: r.stream("tab"), ShardId: d.Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeAtSequenceNumber,
			SequenceNumber: d.Shards[0].SequenceNumberRange.StartingSequenceNumber,
		})
		if err != nil {
			refused(t, err, "TrimmedDataAccessException", "The operation attempted to read past the oldest stream record in a shard.")
		}
		time.Sleep(25 * time.Hour)
		if n := len(r.records("tab")); n != 0 {
			t.Errorf("%d records after a day, want none", n)
		}
	})
}

func TestIteratorExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, store.Memory())
		r.create("tab", "id:S", "", streaming(types.StreamViewTypeNewImage))
		arn := r.stream("tab")
		it := must[streams.GetShardIteratorOutput](r, &streams.GetShardIteratorInput{
			StreamArn: arn, ShardId: r.shards(arn).Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeLatest,
		}).ShardIterator
		time.Sleep(14 * time.Minute)
		must[streams.GetRecordsOutput](r, &streams.GetRecordsInput{ShardIterator: it})
		time.Sleep(2 * time.Minute)
		_, err := do[streams.GetRecordsOutput](r, &streams.GetRecordsInput{ShardIterator: it})
		if _, ok := errors.AsType[*streamtypes.ExpiredIteratorException](err); !ok {
			t.Errorf("got %v, want ExpiredIteratorException", err)
		}
	})
}

func TestNewStreamHasNewLabel(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "", streaming(types.StreamViewTypeNewImage))
	first := r.stream("tab")
	r.put("tab", attr.Item{"id": str("a")})
	set := func(on bool, v types.StreamViewType) error {
		_, err := do[sdk.UpdateTableOutput](r, &sdk.UpdateTableInput{TableName: new("tab"), StreamSpecification: &types.StreamSpecification{StreamEnabled: &on, StreamViewType: v}})
		return err
	}
	refused(t, set(true, types.StreamViewTypeOldImage), validation, "Table already has an enabled stream: TableName: tab")
	if err := set(false, ""); err != nil {
		t.Fatal(err)
	}
	r.put("tab", attr.Item{"id": str("b")})
	if err := set(true, types.StreamViewTypeOldImage); err != nil {
		t.Fatal(err)
	}
	r.put("tab", attr.Item{"id": str("c")})
	second := r.stream("tab")
	if *first == *second {
		t.Error("the new stream has the ARN of the old one")
	}
	if a, b := len(r.recordsOf(first)), len(r.recordsOf(second)); a != 1 || b != 1 {
		t.Errorf("old stream has %d records, new one %d; want 1 and 1", a, b)
	}
	if n := len(must[streams.ListStreamsOutput](r, &streams.ListStreamsInput{TableName: new("tab")}).Streams); n != 2 {
		t.Errorf("%d streams are listed, want both", n)
	}
}

func TestTimeToLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, store.Memory())
		r.create("tab", "id:S", "", streaming(types.StreamViewTypeNewAndOldImages), globally("by-kind", "kind:S", "", types.ProjectionTypeAll))
		in := func(d time.Duration) attr.Value { return num(fmt.Sprint(time.Now().Add(d).Unix())) }
		r.put("tab", attr.Item{"id": str("before"), "ends": in(time.Hour)})
		ttl := func(on bool, name string) error {
			_, err := do[sdk.UpdateTimeToLiveOutput](r, &sdk.UpdateTimeToLiveInput{TableName: new("tab"), TimeToLiveSpecification: &types.TimeToLiveSpecification{Enabled: &on, AttributeName: &name}})
			return err
		}
		if err := ttl(true, "ends"); err != nil {
			t.Fatal(err)
		}
		refused(t, ttl(true, "ends"), validation, "TimeToLive is already enabled")
		refused(t, ttl(true, "other"), validation, "TimeToLive is active on a different AttributeName: current AttributeName is ends")
		synctest.Wait()
		r.put("tab", attr.Item{"id": str("soon"), "ends": in(time.Minute), "kind": str("k")})
		r.put("tab", attr.Item{"id": str("extended"), "ends": in(time.Minute)})
		r.put("tab", attr.Item{"id": str("extended"), "ends": in(2 * time.Hour)})
		r.put("tab", attr.Item{"id": str("text"), "ends": str("1")})
		r.put("tab", attr.Item{"id": str("ancient"), "ends": num("12345")})
		left := func(after string, want int) {
			t.Helper()
			synctest.Wait()
			if n := must[sdk.ScanOutput](r, &sdk.ScanInput{TableName: new("tab")}).Count; int(n) != want {
				t.Errorf("%s: %d items left, want %d", after, n, want)
			}
		}
		left("at first", 5)
		time.Sleep(2 * time.Minute)
		left("two minutes later", 4)
		time.Sleep(time.Hour)
		left("after an hour", 3)
		time.Sleep(time.Hour)
		left("after two hours", 2)
		all := r.records("tab")
		last := all[len(all)-1]
		if last.UserIdentity == nil || *last.UserIdentity.PrincipalId != "dynamodb.amazonaws.com" || last.EventName != streamtypes.OperationTypeRemove || last.Dynamodb.OldImage == nil {
			t.Errorf("record of an expired item: %+v", last)
		}
		if n := must[sdk.ScanOutput](r, &sdk.ScanInput{TableName: new("tab"), IndexName: new("by-kind")}).Count; n != 0 {
			t.Errorf("%d expired items are in the index", n)
		}
		if err := ttl(false, "ends"); err != nil {
			t.Fatal(err)
		}
		r.put("tab", attr.Item{"id": str("off"), "ends": in(time.Minute)})
		time.Sleep(time.Hour)
		left("with expiry turned off", 3)
	})
}

// Every type of value comes back from the stream as it was put.
func TestImagesHoldEveryType(t *testing.T) {
	r := newRig(t, store.Memory())
	r.create("tab", "id:S", "", encrypted(""), streaming(types.StreamViewTypeNewImage))
	r.put("tab", attr.Item{
		"id": str("a"), "n": num("-1.5"), "b": &attr.B{Value: []byte{0, 255}}, "empty": &attr.B{Value: []byte{}}, "yes": &attr.Bool{Value: true}, "no": &attr.Bool{},
		"null": &attr.Null{Value: true}, "ss": &attr.SS{Value: []string{"x", "y"}}, "ns": &attr.NS{Value: []string{"1", "2"}}, "bs": &attr.BS{Value: [][]byte{{1}, {2}}},
		"m": &attr.M{Value: attr.Item{"in": str("deep")}}, "l": &attr.L{Value: []attr.Value{str(""), &attr.L{}}},
	})
	got, err := json.Marshal(r.records("tab")[0].Dynamodb.NewImage)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"b":{"Value":"AP8="},"bs":{"Value":["AQ==","Ag=="]},"empty":{"Value":""},"id":{"Value":"a"},"l":{"Value":[{"Value":""},{"Value":[]}]},` +
		`"m":{"Value":{"in":{"Value":"deep"}}},"n":{"Value":"-1.5"},"no":{"Value":false},"ns":{"Value":["1","2"]},"null":{"Value":true},"ss":{"Value":["x","y"]},"yes":{"Value":true}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	image := r.records("tab")[0].Dynamodb.NewImage
	for name, want := range map[string]any{
		"id": &streamtypes.AttributeValueMemberS{}, "n": &streamtypes.AttributeValueMemberN{}, "b": &streamtypes.AttributeValueMemberB{}, "yes": &streamtypes.AttributeValueMemberBOOL{},
		"null": &streamtypes.AttributeValueMemberNULL{}, "ss": &streamtypes.AttributeValueMemberSS{}, "ns": &streamtypes.AttributeValueMemberNS{}, "bs": &streamtypes.AttributeValueMemberBS{},
		"m": &streamtypes.AttributeValueMemberM{}, "l": &streamtypes.AttributeValueMemberL{},
	} {
		if got := fmt.Sprintf("%T", image[name]); got != fmt.Sprintf("%T", want) {
			t.Errorf("%s is a %s, want a %T", name, got, want)
		}
	}
}
