package kms

import (
	"encoding/base64"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/store"
)

// list goes through the rows under prefix, from where marker left off, until
// limit rows were taken, and returns the marker for the rest. A marker names
// the last row that was seen, so that changes in between lose and double
// nothing else.
func list[V any](db store.DB, t store.Table[V], prefix string, marker *string, limit *int32, size int, take func(store.Row[V]) bool) (*string, error) {
	after, err := decodeMarker(marker)
	if err != nil {
		return nil, err
	}
	if limit != nil {
		size = int(*limit)
	}
	from := prefix
	if after != "" {
		from = prefix + after + "\x00"
	}
	var next *string
	err = db.View(func(tx *store.Tx) error {
		taken, last := 0, ""
		for r, err := range t.Range(tx, from, store.PrefixEnd(prefix)) {
			if err != nil {
				return err
			}
			if taken == size {
				next = encodeMarker(last)
				return nil
			}
			last = strings.TrimPrefix(r.Key, prefix)
			if take(r) {
				taken++
			}
		}
		return nil
	})
	return next, err
}

func encodeMarker(s string) *string { return new(base64.StdEncoding.EncodeToString([]byte(s))) }

func decodeMarker(m *string) (string, error) {
	if m == nil {
		return "", nil
	}
	b, err := base64.StdEncoding.DecodeString(*m)
	if err != nil || len(b) == 0 {
		return "", &types.InvalidMarkerException{Message: new("Could not deserialize marker '" + *m + "'")}
	}
	return string(b), nil
}
