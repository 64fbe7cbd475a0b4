package lambda

import (
	"context"
	"encoding/base64"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A pager counts what goes on a page. The marker is the key of the first thing
// that is not on it.
type pager struct {
	limit int
	n     int
	next  *string
}

func (p *pager) full(key string) bool {
	if p.n == p.limit {
		p.next = new(base64.RawURLEncoding.EncodeToString([]byte("m1" + key)))
		return true
	}
	p.n++
	return false
}

func limitOf(asked *int32, most int) int {
	if asked == nil {
		return most
	}
	return min(int(*asked), most)
}

func openMarker(marker *string) (string, error) {
	if marker == nil || *marker == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(*marker)
	key, ok := strings.CutPrefix(string(b), "m1")
	if err != nil || !ok {
		return "", badValue("Invalid Marker: " + *marker)
	}
	return key, nil
}

// ListFunctions lists $LATEST of each function, or all versions.
func (s *Service) ListFunctions(ctx context.Context, in *sdk.ListFunctionsInput) (*sdk.ListFunctionsOutput, error) {
	c := wire.CallOf(ctx)
	from, err := openMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	all := in.FunctionVersion == types.FunctionVersionAll
	out := &sdk.ListFunctionsOutput{Functions: []types.FunctionConfiguration{}}
	p := pager{limit: limitOf(in.MaxItems, 50)}
	var rows []versionRow
	err = s.DB.View(func(tx *store.Tx) error {
		for r, err := range versions.Range(tx, max(from, c.Region+"/"), store.PrefixEnd(c.Region+"/")) {
			if err != nil {
				return err
			}
			if !all && *r.Value.Config.Version != latest {
				continue
			}
			if p.full(r.Key) {
				break
			}
			rows = append(rows, r.Value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range rows {
		n := name{region: c.Region, account: c.Account, function: *rows[i].Config.FunctionName}
		if all {
			n.qualifier = *rows[i].Config.Version
		}
		out.Functions = append(out.Functions, s.tell(ctx, n, &rows[i]))
	}
	out.NextMarker = p.next
	return out, nil
}
