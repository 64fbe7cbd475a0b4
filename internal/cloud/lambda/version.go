package lambda

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerVersions(api *wire.API) {
	wire.Bind(api, "POST /2015-03-31/functions/{FunctionName}/versions", s.PublishVersion, wire.Status(201), wire.Members(nameRule, "Description 0..256"),
		on(func(in *sdk.PublishVersionInput) (f, q *string) { return in.FunctionName, nil }))
	wire.Bind(api, "GET /2015-03-31/functions/{FunctionName}/versions", s.ListVersionsByFunction, wire.Members(nameRule, "MaxItems 1..10000"),
		wire.QueryParam("Marker", "Marker"), wire.QueryParam("MaxItems", "MaxItems"),
		on(func(in *sdk.ListVersionsByFunctionInput) (f, q *string) { return in.FunctionName, nil }))
}

// PublishVersion makes an immutable version of $LATEST, or tells the last one
// when nothing has changed since.
func (s *Service) PublishVersion(ctx context.Context, in *sdk.PublishVersionInput) (*sdk.PublishVersionOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	var v versionRow
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		l, err := latestOf(tx, n, in.RevisionId)
		if err != nil {
			return err
		}
		if have := aws.ToString(l.Config.CodeSha256); in.CodeSha256 != nil && *in.CodeSha256 != "" && *in.CodeSha256 != have {
			return badValue(fmt.Sprintf("CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.", *in.CodeSha256, have))
		}
		if v, err = s.publish(tx, n, &l, in.Description); err != nil {
			return err
		}
		s.changed(tx)
		return versions.Put(tx, versionKey(n, 0), l)
	})
	if err != nil {
		return nil, err
	}
	c := v.Config
	(&versionRow{}).pend(&c)
	c.Environment = s.reveal(ctx, n, &v)
	return as[sdk.PublishVersionOutput](c), nil
}

// publish makes a version of $LATEST, or returns the last one if it is the
// same. $LATEST gets a new revision; the caller writes it.
func (s *Service) publish(tx *store.Tx, n name, l *versionRow, description *string) (versionRow, error) {
	last, _, err := counters.Get(tx, n.key())
	if err != nil {
		return versionRow{}, err
	}
	if prior, ok, err := versions.Get(tx, versionKey(n, last)); err != nil || ok && last > 0 && prior.same(l) {
		return prior, err
	}
	v := *l
	v.Config.Version, v.Config.FunctionArn = new(strconv.FormatInt(last+1, 10)), new(n.qualified(strconv.FormatInt(last+1, 10)))
	if description != nil {
		v.Config.Description = description
	}
	s.touch(&v, false)
	v.Config.LastModified = l.Config.LastModified
	l.Config.RevisionId = new(uuid.NewString())
	return v, errors.Join(counters.Put(tx, n.key(), last+1), versions.Put(tx, versionKey(n, last+1), v))
}

// versionsOf lists a function's versions, $LATEST first.
func versionsOf(tx *store.Tx, n name) (all []versionRow, err error) {
	for r, err := range versions.Prefix(tx, n.key()+"/") {
		if err != nil {
			return nil, err
		}
		all = append(all, r.Value)
	}
	return all, nil
}

// ListVersionsByFunction lists $LATEST and the versions, in order of number.
func (s *Service) ListVersionsByFunction(ctx context.Context, in *sdk.ListVersionsByFunctionInput) (*sdk.ListVersionsByFunctionOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	from, err := openMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListVersionsByFunctionOutput{Versions: []types.FunctionConfiguration{}}
	p := pager{limit: limitOf(in.MaxItems, 50)}
	var rows []versionRow
	err = s.DB.View(func(tx *store.Tx) error {
		if _, err := mustExist(tx, n); err != nil {
			return err
		}
		for r, err := range versions.Range(tx, max(from, n.key()+"/"), store.PrefixEnd(n.key()+"/")) {
			if err != nil {
				return err
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
		n.qualifier = *rows[i].Config.Version
		out.Versions = append(out.Versions, s.tell(ctx, n, &rows[i]))
	}
	out.NextMarker = p.next
	return out, nil
}
