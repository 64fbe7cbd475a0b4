package store

import (
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// Rows are CBOR (RFC 8949): a third of the cost of JSON, and bytes stay bytes.
// Fields have the names of their json tags.
var (
	rowEncoding = must(cbor.EncOptions{
		Time:          cbor.TimeRFC3339NanoUTC,
		TextMarshaler: cbor.TextMarshalerTextString,
	}.EncMode())
	rowDecoding = must(cbor.DecOptions{
		DefaultMapType:  reflect.TypeFor[map[string]any](),
		TextUnmarshaler: cbor.TextUnmarshalerTextString,
		MaxNestedLevels: 256, MaxArrayElements: 1 << 30, MaxMapPairs: 1 << 30,
	}.DecMode())
)

func must[V any](v V, err error) V {
	if err != nil {
		panic(err) // the options are constants
	}
	return v
}
