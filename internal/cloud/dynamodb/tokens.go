package dynamodb

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"miniforge/internal/cloud/dynamodb/attr"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// tokenRows holds the tokens of transactions under region/token; tokenTimes the
// same keys in the order of time, to forget them.
const (
	tokenRows  = store.Table[tokenRow]("dynamodb.tokens")
	tokenTimes = store.Table[[]byte]("dynamodb.token-times")
)

// A tokenRow remembers a transaction by its token.
type tokenRow struct {
	Digest [32]byte  `json:"digest"` // of the request
	At     time.Time `json:"at"`
}

// tokenLife is how long a token makes a transaction idempotent.
const tokenLife = 10 * time.Minute

// redeem tells whether the transaction of this token is done already, and
// otherwise remembers it with the transaction itself.
func (s *Service) redeem(ctx context.Context, tx *store.Tx, in *sdk.TransactWriteItemsInput) (done bool, err error) {
	if in.ClientRequestToken == nil {
		return false, nil
	}
	digest := digestOf(in)
	now := time.Now()
	key := wire.CallOf(ctx).Region + "/" + *in.ClientRequestToken
	old, ok, err := tokenRows.Get(tx, key)
	if err != nil {
		return false, err
	}
	if ok && now.Sub(old.At) < tokenLife {
		if old.Digest != digest {
			return false, &types.IdempotentParameterMismatchException{
				Message: new("Found a request with the same client token but different parameters: the ClientRequestToken has been used by another request"),
			}
		}
		return true, nil
	}
	if err := forgetTokens(tx, now); err != nil {
		return false, err
	}
	if err := tokenTimes.Put(tx, tokenTime(now)+key, []byte(key)); err != nil {
		return false, err
	}
	return false, tokenRows.Put(tx, key, tokenRow{Digest: digest, At: now})
}

func tokenTime(t time.Time) string { return fmt.Sprintf("%016x/", t.UnixMicro()) }

// forgetTokens drops some expired tokens: more than are added, so that their
// number stays bounded by the rate of transactions.
func forgetTokens(tx *store.Tx, now time.Time) error {
	const some = 4
	var drop []store.Row[[]byte]
	for r, err := range tokenTimes.Range(tx, "", tokenTime(now.Add(-tokenLife))) {
		if err != nil {
			return err
		}
		if drop = append(drop, r); len(drop) == some {
			break
		}
	}
	for _, r := range drop {
		key := string(r.Value)
		if err := tokenTimes.Delete(tx, r.Key); err != nil {
			return err
		}
		t, ok, err := tokenRows.Get(tx, key)
		if err != nil {
			return err
		}
		if ok && now.Sub(t.At) >= tokenLife {
			if err := tokenRows.Delete(tx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// digestOf tells requests with one token apart: by everything that they do.
func digestOf(in *sdk.TransactWriteItemsInput) [32]byte {
	var b []byte
	for _, t := range in.TransactItems {
		p, _ := part(t) // read before
		b = fmt.Appendf(b, "%s %q %q %q %q", p.action, deref(p.table), deref(p.update), deref(p.condition), p.names)
		b = attr.AppendSorted(attr.AppendSorted(b, p.key), p.values)
	}
	return sha256.Sum256(b)
}
