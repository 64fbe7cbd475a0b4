package lambda

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"miniforge/internal/cloud/jsontext"
)

// Records are written as JSON without the help of reflection: every order makes
// several. The form is that of encoding/json, names of members in order.

// event is a batch as the function gets it.
func (sh *shard) event(records []streamtypes.Record) []byte {
	b := append(make([]byte, 0, 64+2048*len(records)), `{"Records":[`...)
	for i := range records {
		b = sh.appendRecord(comma(b, i), &records[i])
	}
	return append(b, "]}"...)
}

func (sh *shard) appendRecord(b []byte, r *streamtypes.Record) []byte {
	b = appendMember(b, `{"eventID":`, aws.ToString(r.EventID))
	b = appendMember(b, `,"eventName":`, string(r.EventName))
	b = append(b, `,"eventVersion":"1.1","eventSource":"aws:dynamodb"`...)
	b = appendMember(b, `,"awsRegion":`, sh.Region)
	b = appendChange(append(b, `,"dynamodb":`...), r.Dynamodb)
	if r.UserIdentity != nil {
		text, _ := json.Marshal(r.UserIdentity) // plain data
		b = append(append(b, `,"userIdentity":`...), text...)
	}
	return append(appendMember(b, `,"eventSourceARN":`, *sh.Config.EventSourceArn), '}')
}

func appendChange(b []byte, d *streamtypes.StreamRecord) []byte {
	b = strconv.AppendInt(append(b, `{"ApproximateCreationDateTime":`...), aws.ToTime(d.ApproximateCreationDateTime).Unix(), 10)
	for _, image := range []struct {
		begin string
		item  map[string]streamtypes.AttributeValue
	}{{`,"Keys":`, d.Keys}, {`,"NewImage":`, d.NewImage}, {`,"OldImage":`, d.OldImage}} {
		if len(image.item) > 0 {
			b = appendItem(append(b, image.begin...), image.item)
		}
	}
	b = appendMember(b, `,"SequenceNumber":`, aws.ToString(d.SequenceNumber))
	b = strconv.AppendInt(append(b, `,"SizeBytes":`...), aws.ToInt64(d.SizeBytes), 10)
	return append(appendMember(b, `,"StreamViewType":`, string(d.StreamViewType)), '}')
}

// appendItem writes an item in DynamoDB's JSON.
func appendItem(b []byte, item map[string]streamtypes.AttributeValue) []byte {
	if item == nil {
		return append(b, "null"...)
	}
	var room [32]string
	names := room[:0]
	for name := range item {
		names = append(names, name)
	}
	slices.Sort(names)
	b = append(b, '{')
	for i, name := range names {
		b = append(appendText(comma(b, i), name), ':')
		b = appendAttribute(b, item[name])
	}
	return append(b, '}')
}

func appendAttribute(b []byte, v streamtypes.AttributeValue) []byte {
	switch x := v.(type) {
	case *streamtypes.AttributeValueMemberS:
		b = appendMember(b, `{"S":`, x.Value)
	case *streamtypes.AttributeValueMemberN:
		b = appendMember(b, `{"N":`, x.Value)
	case *streamtypes.AttributeValueMemberB:
		b = appendBytes(append(b, `{"B":`...), x.Value)
	case *streamtypes.AttributeValueMemberBOOL:
		b = strconv.AppendBool(append(b, `{"BOOL":`...), x.Value)
	case *streamtypes.AttributeValueMemberNULL:
		b = strconv.AppendBool(append(b, `{"NULL":`...), x.Value)
	case *streamtypes.AttributeValueMemberSS:
		b = appendList(append(b, `{"SS":`...), x.Value, appendText)
	case *streamtypes.AttributeValueMemberNS:
		b = appendList(append(b, `{"NS":`...), x.Value, appendText)
	case *streamtypes.AttributeValueMemberBS:
		b = appendList(append(b, `{"BS":`...), x.Value, appendBytes)
	case *streamtypes.AttributeValueMemberM:
		b = appendItem(append(b, `{"M":`...), x.Value)
	case *streamtypes.AttributeValueMemberL:
		b = append(b, `{"L":[`...)
		for i, e := range x.Value {
			b = appendAttribute(comma(b, i), e)
		}
		b = append(b, ']')
	default:
		b = append(b, `{"NULL":true`...)
	}
	return append(b, '}')
}

// comma goes between what lists and objects hold.
func comma(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

func appendList[E any](b []byte, list []E, one func([]byte, E) []byte) []byte {
	if list == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, e := range list {
		b = one(comma(b, i), e)
	}
	return append(b, ']')
}

func appendBytes(b, data []byte) []byte {
	if data == nil {
		return append(b, "null"...)
	}
	return append(base64.StdEncoding.AppendEncode(append(b, '"'), data), '"')
}

func appendMember(b []byte, begin, text string) []byte {
	return appendText(append(b, begin...), text)
}

func appendText(b []byte, s string) []byte { return jsontext.AppendString(b, s, true) }
