package dynamodb

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"miniforge/internal/cloud/dynamodb/attr"
)

// shown is a record as GetRecords answers it.
func (rec record) shown(r streamRow, key string, seq uint64) types.Record {
	id := sha256.Sum256([]byte(key))
	out := types.Record{
		EventID: new(hex.EncodeToString(id[:16])), EventVersion: new("1.1"), EventSource: new("aws:dynamodb"), AwsRegion: &r.Region,
		EventName: types.OperationTypeModify,
		Dynamodb: &types.StreamRecord{
			ApproximateCreationDateTime: new(rec.at.Truncate(time.Second)), Keys: image(rec.keys), NewImage: image(rec.after), OldImage: image(rec.before),
			SequenceNumber: new(sequence(seq)), SizeBytes: new(int64(rec.size)), StreamViewType: types.StreamViewType(r.View),
		},
	}
	switch rec.op {
	case opInsert:
		out.EventName = types.OperationTypeInsert
	case opRemove:
		out.EventName = types.OperationTypeRemove
	case opExpire:
		out.EventName = types.OperationTypeRemove
		out.UserIdentity = &types.Identity{PrincipalId: new("dynamodb.amazonaws.com"), Type: new("Service")}
	}
	return out
}

// image is an item in the types of DynamoDB Streams.
func image(item attr.Item) map[string]types.AttributeValue {
	if item == nil {
		return nil
	}
	out := make(map[string]types.AttributeValue, len(item))
	for k, v := range item {
		out[k] = imageValue(v)
	}
	return out
}

func imageValue(v attr.Value) types.AttributeValue {
	switch v := v.(type) {
	case *attr.S:
		return &types.AttributeValueMemberS{Value: v.Value}
	case *attr.N:
		return &types.AttributeValueMemberN{Value: v.Value}
	case *attr.B:
		return &types.AttributeValueMemberB{Value: v.Value}
	case *attr.SS:
		return &types.AttributeValueMemberSS{Value: v.Value}
	case *attr.NS:
		return &types.AttributeValueMemberNS{Value: v.Value}
	case *attr.BS:
		return &types.AttributeValueMemberBS{Value: v.Value}
	case *attr.Bool:
		return &types.AttributeValueMemberBOOL{Value: v.Value}
	case *attr.M:
		return &types.AttributeValueMemberM{Value: image(v.Value)}
	case *attr.L:
		out := make([]types.AttributeValue, len(v.Value))
		for i, e := range v.Value {
			out[i] = imageValue(e)
		}
		return &types.AttributeValueMemberL{Value: out}
	}
	return &types.AttributeValueMemberNULL{Value: true}
}
