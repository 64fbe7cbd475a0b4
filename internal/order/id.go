package order

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

const idPrefix = "ord_"

var idEncoding = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewID makes an id for an order placed at the given time. Ids sort by time.
func NewID(at time.Time) string {
	return idPrefix + strings.ToLower(ulid.MustNew(ulid.Timestamp(at), rand.Reader).String())
}

// IDForKey derives the id of the order placed under an idempotency key. Equal
// keys give equal ids, so one conditional write settles who came first.
func IDForKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return idPrefix + strings.ToLower(idEncoding.EncodeToString(sum[:]))
}

// ValidID reports whether id has the shape of an order id. What has not cannot
// be stored, so it need not be looked up.
func ValidID(id string) bool {
	rest, ok := strings.CutPrefix(id, idPrefix)
	if !ok || rest == "" || len(rest) > 64 {
		return false
	}
	for _, c := range []byte(rest) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// ChargeID is the payment gateway's id of an order's charge. It follows from
// the order's id, as it does with a gateway that is given an idempotency key.
func ChargeID(orderID string) string {
	sum := sha256.Sum256([]byte("charge:" + orderID))
	return "ch_" + strings.ToLower(idEncoding.EncodeToString(sum[:15]))
}
