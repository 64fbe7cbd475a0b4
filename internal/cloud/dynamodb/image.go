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
			ApproximateCreationDateTime: new(rec.at.Truncate(time.Second)), Keys: rec.keys, NewImage: rec.after, OldImage: rec.before,
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

// An image is an item in the types of DynamoDB Streams.
type image = map[string]types.AttributeValue

var imageValues = attr.Union[types.AttributeValue]{
	S:    func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} },
	N:    func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} },
	B:    func(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} },
	SS:   func(s []string) types.AttributeValue { return &types.AttributeValueMemberSS{Value: s} },
	NS:   func(s []string) types.AttributeValue { return &types.AttributeValueMemberNS{Value: s} },
	BS:   func(b [][]byte) types.AttributeValue { return &types.AttributeValueMemberBS{Value: b} },
	M:    func(m image) types.AttributeValue { return &types.AttributeValueMemberM{Value: m} },
	L:    func(l []types.AttributeValue) types.AttributeValue { return &types.AttributeValueMemberL{Value: l} },
	Null: func() types.AttributeValue { return &types.AttributeValueMemberNULL{Value: true} },
	Bool: func(b bool) types.AttributeValue { return &types.AttributeValueMemberBOOL{Value: b} },
}
