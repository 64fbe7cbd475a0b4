package lambda

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// document is an item in DynamoDB's JSON, for encoding/json.
func document(item map[string]streamtypes.AttributeValue) map[string]any {
	if item == nil {
		return nil
	}
	m := map[string]any{}
	for k, v := range item {
		m[k] = member(v)
	}
	return m
}

func member(v streamtypes.AttributeValue) map[string]any {
	switch x := v.(type) {
	case *streamtypes.AttributeValueMemberS:
		return map[string]any{"S": x.Value}
	case *streamtypes.AttributeValueMemberN:
		return map[string]any{"N": x.Value}
	case *streamtypes.AttributeValueMemberB:
		return map[string]any{"B": x.Value}
	case *streamtypes.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": x.Value}
	case *streamtypes.AttributeValueMemberNULL:
		return map[string]any{"NULL": x.Value}
	case *streamtypes.AttributeValueMemberSS:
		return map[string]any{"SS": x.Value}
	case *streamtypes.AttributeValueMemberNS:
		return map[string]any{"NS": x.Value}
	case *streamtypes.AttributeValueMemberBS:
		return map[string]any{"BS": x.Value}
	case *streamtypes.AttributeValueMemberM:
		return map[string]any{"M": document(x.Value)}
	case *streamtypes.AttributeValueMemberL:
		list := make([]any, len(x.Value))
		for i, e := range x.Value {
			list[i] = member(e)
		}
		return map[string]any{"L": list}
	}
	return map[string]any{"NULL": true}
}

// written is a batch as encoding/json writes it.
func (sh *shard) written(t *rapid.T, records []streamtypes.Record) string {
	type change struct {
		Created  float64        `json:"ApproximateCreationDateTime"`
		Keys     map[string]any `json:"Keys,omitempty"`
		New      map[string]any `json:"NewImage,omitempty"`
		Old      map[string]any `json:"OldImage,omitempty"`
		Sequence string         `json:"SequenceNumber"`
		Size     int64          `json:"SizeBytes"`
		View     string         `json:"StreamViewType"`
	}
	type record struct {
		EventID      string                `json:"eventID"`
		EventName    string                `json:"eventName"`
		EventVersion string                `json:"eventVersion"`
		EventSource  string                `json:"eventSource"`
		Region       string                `json:"awsRegion"`
		Change       change                `json:"dynamodb"`
		Identity     *streamtypes.Identity `json:"userIdentity,omitempty"`
		SourceARN    string                `json:"eventSourceARN"`
	}
	all := []record{}
	for _, r := range records {
		d := r.Dynamodb
		all = append(all, record{
			EventID: aws.ToString(r.EventID), EventName: string(r.EventName), EventVersion: "1.1", EventSource: "aws:dynamodb", Region: sh.Region,
			SourceARN: *sh.Config.EventSourceArn, Identity: r.UserIdentity,
			Change: change{
				Created: float64(aws.ToTime(d.ApproximateCreationDateTime).Unix()), Keys: document(d.Keys), New: document(d.NewImage), Old: document(d.OldImage),
				Sequence: aws.ToString(d.SequenceNumber), Size: aws.ToInt64(d.SizeBytes), View: string(d.StreamViewType),
			},
		})
	}
	b, err := json.Marshal(map[string]any{"Records": all})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func attributesOf(depth int) *rapid.Generator[streamtypes.AttributeValue] {
	type value = streamtypes.AttributeValue
	text := rapid.OneOf(rapid.StringMatching(`[ -~]{0,8}`), rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	bytes := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Just[[]byte](nil))
	all := []*rapid.Generator[value]{
		rapid.Map(text, func(s string) value { return &streamtypes.AttributeValueMemberS{Value: s} }),
		rapid.Map(text, func(s string) value { return &streamtypes.AttributeValueMemberN{Value: s} }),
		rapid.Map(bytes, func(b []byte) value { return &streamtypes.AttributeValueMemberB{Value: b} }),
		rapid.Map(rapid.Bool(), func(b bool) value { return &streamtypes.AttributeValueMemberBOOL{Value: b} }),
		rapid.Map(rapid.Bool(), func(b bool) value { return &streamtypes.AttributeValueMemberNULL{Value: b} }),
		rapid.Map(rapid.SliceOfN(text, 0, 3), func(s []string) value { return &streamtypes.AttributeValueMemberSS{Value: s} }),
		rapid.Map(rapid.SliceOfN(text, 0, 3), func(s []string) value { return &streamtypes.AttributeValueMemberNS{Value: s} }),
		rapid.Map(rapid.SliceOfN(bytes, 0, 3), func(b [][]byte) value { return &streamtypes.AttributeValueMemberBS{Value: b} }),
		rapid.SampledFrom([]value{
			nil, &streamtypes.AttributeValueMemberM{}, &streamtypes.AttributeValueMemberL{}, &streamtypes.AttributeValueMemberSS{}, &streamtypes.AttributeValueMemberBS{},
		}),
	}
	if depth > 0 {
		inner := attributesOf(depth - 1)
		all = append(all,
			rapid.Map(rapid.SliceOfN(inner, 0, 3), func(l []value) value { return &streamtypes.AttributeValueMemberL{Value: l} }),
			rapid.Map(rapid.MapOfN(text, inner, 0, 3), func(m map[string]value) value { return &streamtypes.AttributeValueMemberM{Value: m} }))
	}
	return rapid.OneOf(all...)
}

// Records are written byte for byte as encoding/json writes them.
func TestRecordsAreWrittenAsJSON(t *testing.T) {
	sh := &shard{runner: &runner{mappingRow: mappingRow{Region: "us-east-1", Config: sdk.EventSourceMappingConfiguration{EventSourceArn: new(stream)}}}}
	rapid.Check(t, func(t *rapid.T) {
		item := rapid.OneOf(rapid.MapOfN(rapid.StringMatching(`[a-z<]{1,3}`), attributesOf(2), 0, 6), rapid.Just[map[string]streamtypes.AttributeValue](nil))
		var records []streamtypes.Record
		for range rapid.IntRange(0, 3).Draw(t, "records") {
			r := streamtypes.Record{
				EventName: rapid.SampledFrom([]streamtypes.OperationType{"INSERT", "MODIFY", "REMOVE", "<new>"}).Draw(t, "name"),
				Dynamodb:  &streamtypes.StreamRecord{Keys: item.Draw(t, "keys"), NewImage: item.Draw(t, "new"), OldImage: item.Draw(t, "old")},
			}
			if rapid.Bool().Draw(t, "whole") {
				r.EventID, r.UserIdentity = new("e"), &streamtypes.Identity{PrincipalId: new("dynamodb.amazonaws.com")}
				d := r.Dynamodb
				d.ApproximateCreationDateTime, d.SequenceNumber, d.SizeBytes = new(time.Unix(rapid.Int64Range(-1, 1<<33).Draw(t, "at"), 5)), new("1"), new(int64(12))
				d.StreamViewType = streamtypes.StreamViewTypeNewImage
			}
			records = append(records, r)
		}
		if d := cmp.Diff(sh.written(t, records), string(sh.event(records))); d != "" {
			t.Error(d)
		}
	})
}

// BenchmarkStreamEvent writes an order's first record for the function.
func BenchmarkStreamEvent(b *testing.B) {
	sh := &shard{runner: &runner{mappingRow: mappingRow{Region: "us-east-1", Config: sdk.EventSourceMappingConfiguration{EventSourceArn: new(stream)}}}}
	text := func(s string) streamtypes.AttributeValue { return &streamtypes.AttributeValueMemberS{Value: s} }
	item := map[string]streamtypes.AttributeValue{
		"order_id": text("ord_0123456789abcdef"), "status": text("SUBMITTED"), "created_at": text("2026-01-01T00:00:00Z"), "amount": &streamtypes.AttributeValueMemberN{Value: "1250"},
		"customer": &streamtypes.AttributeValueMemberM{Value: map[string]streamtypes.AttributeValue{"name": text("Ada"), "email": text("ada@example.com")}},
	}
	records := []streamtypes.Record{{EventID: new("e"), EventName: "INSERT", Dynamodb: &streamtypes.StreamRecord{Keys: item, NewImage: item, SequenceNumber: new("1")}}}
	b.ReportAllocs()
	for b.Loop() {
		sh.event(records)
	}
}
