package lambda

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const versionRule = " 1..1024 (\\$LATEST(\\.PUBLISHED)?|[0-9]+)"

func (s *Service) registerAliases(api *wire.API) {
	const aliasName = "Name! 1..128 [a-zA-Z0-9-_]+"
	wire.Bind(api, "POST /2015-03-31/functions/{FunctionName}/aliases", s.CreateAlias, wire.Status(201),
		wire.Members(nameRule, aliasName, "FunctionVersion!"+versionRule, "Description 0..256"),
		on(func(in *sdk.CreateAliasInput) (f, q *string) { return in.FunctionName, nil }))
	wire.Bind(api, "GET /2015-03-31/functions/{FunctionName}/aliases/{Name}", s.GetAlias, wire.Members(nameRule, aliasName),
		on(func(in *sdk.GetAliasInput) (f, q *string) { return in.FunctionName, nil }))
	wire.Bind(api, "PUT /2015-03-31/functions/{FunctionName}/aliases/{Name}", s.UpdateAlias,
		wire.Members(nameRule, aliasName, "FunctionVersion"+versionRule, "Description 0..256"),
		on(func(in *sdk.UpdateAliasInput) (f, q *string) { return in.FunctionName, nil }))
	wire.Bind(api, "DELETE /2015-03-31/functions/{FunctionName}/aliases/{Name}", s.DeleteAlias, wire.Status(204), wire.Members(nameRule, aliasName),
		on(func(in *sdk.DeleteAliasInput) (f, q *string) { return in.FunctionName, nil }))
	wire.Bind(api, "GET /2015-03-31/functions/{FunctionName}/aliases", s.ListAliases, wire.Members(nameRule, "FunctionVersion"+versionRule, "MaxItems 1..10000"),
		wire.QueryParam("FunctionVersion", "FunctionVersion"), wire.QueryParam("Marker", "Marker"), wire.QueryParam("MaxItems", "MaxItems"),
		on(func(in *sdk.ListAliasesInput) (f, q *string) { return in.FunctionName, nil }))
}

// CreateAlias gives a version a name.
func (s *Service) CreateAlias(ctx context.Context, in *sdk.CreateAliasInput) (*sdk.CreateAliasOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	if isNumber(*in.Name) {
		return nil, wire.Errorf("ValidationException", "1 validation error detected: Value '%s' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)", *in.Name)
	}
	a := aliasRow{Name: *in.Name, Version: *in.FunctionVersion, Description: aws.ToString(in.Description), Weights: weightsOf(in.RoutingConfig), Revision: uuid.NewString()}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, err := mustExist(tx, n); err != nil {
			return err
		}
		if _, taken, err := aliases.Get(tx, n.key()+"/"+a.Name); err != nil || taken {
			if taken {
				err = conflict("Alias already exists: " + n.qualified(a.Name))
			}
			return err
		}
		return s.putAlias(tx, n, a)
	})
	if err != nil {
		return nil, err
	}
	return as[sdk.CreateAliasOutput](a.describe(n)), nil
}

func weightsOf(r *types.AliasRoutingConfiguration) map[string]float64 {
	if r == nil {
		return nil
	}
	return r.AdditionalVersionWeights
}

// putAlias checks an alias's versions and keeps it.
func (s *Service) putAlias(tx *store.Tx, n name, a aliasRow) error {
	if _, ok, err := findVersion(tx, n, a.Version); err != nil || !ok {
		return missing(err, n.qualified(a.Version))
	}
	switch {
	case len(a.Weights) > 1:
		return badValue("Number of items in AdditionalVersionWeights cannot be greater than 1")
	case len(a.Weights) == 1 && a.Version == latest:
		return badValue("$LATEST is not supported for an alias pointing to more than 1 version")
	}
	for version, weight := range a.Weights {
		switch {
		case !isNumber(version):
			return wire.Errorf("ValidationException", "1 validation error detected: Value '{%s=%v}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+, Member must not be null]", version, weight)
		case weight < 0 || weight > 1:
			return wire.Errorf("ValidationException", "1 validation error detected: Value '{%s=%s}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]", version, decimal(weight))
		case version == a.Version:
			return badValue(fmt.Sprintf("Invalid function version %s. Function version %s is already included in routing configuration.", version, version))
		}
		if _, ok, err := findVersion(tx, n, version); err != nil || !ok {
			return missing(err, n.qualified(version))
		}
	}
	s.changed(tx)
	return aliases.Put(tx, n.key()+"/"+a.Name, a)
}

// missing is the failure of a read, or that of having found nothing.
func missing(err error, arn string) error {
	if err != nil {
		return err
	}
	return noFunction(arn)
}

func decimal(f float64) string {
	if f == float64(int64(f)) {
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprint(f)
}

// GetAlias tells an alias.
func (s *Service) GetAlias(ctx context.Context, in *sdk.GetAliasInput) (*sdk.GetAliasOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	var a aliasRow
	err = s.DB.View(func(tx *store.Tx) (err error) {
		var ok bool
		if a, ok, err = aliases.Get(tx, n.key()+"/"+*in.Name); err == nil && !ok {
			err = notFound("Cannot find alias arn: " + n.qualified(*in.Name))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return as[sdk.GetAliasOutput](a.describe(n)), nil
}

// UpdateAlias points an alias elsewhere. A RoutingConfig without weights ends
// the division of traffic; without one it stays.
func (s *Service) UpdateAlias(ctx context.Context, in *sdk.UpdateAliasInput) (*sdk.UpdateAliasOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	var a aliasRow
	err = s.DB.Update(ctx, func(tx *store.Tx) (err error) {
		var ok bool
		a, ok, err = aliases.Get(tx, n.key()+"/"+*in.Name)
		switch {
		case err != nil:
			return err
		case !ok:
			return notFound("Alias not found: " + n.qualified(*in.Name))
		case in.RevisionId != nil && *in.RevisionId != a.Revision:
			return stale()
		}
		if in.FunctionVersion != nil {
			a.Version = *in.FunctionVersion
		}
		if in.Description != nil {
			a.Description = *in.Description
		}
		if in.RoutingConfig != nil {
			a.Weights = in.RoutingConfig.AdditionalVersionWeights
		}
		a.Revision = uuid.NewString()
		return s.putAlias(tx, n, a)
	})
	if err != nil {
		return nil, err
	}
	return as[sdk.UpdateAliasOutput](a.describe(n)), nil
}

// DeleteAlias removes an alias; one that is not there is no error.
func (s *Service) DeleteAlias(ctx context.Context, in *sdk.DeleteAliasInput) (*sdk.DeleteAliasOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	key := n.key() + "/" + *in.Name
	return &sdk.DeleteAliasOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		s.changed(tx)
		return errors.Join(aliases.Delete(tx, key), policies.Delete(tx, key), asyncs.Delete(tx, key))
	})
}

// ListAliases lists a function's aliases, or those of one version.
func (s *Service) ListAliases(ctx context.Context, in *sdk.ListAliasesInput) (*sdk.ListAliasesOutput, error) {
	n, err := lookup(ctx, in.FunctionName, nil)
	if err != nil {
		return nil, err
	}
	from, err := openMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListAliasesOutput{Aliases: []types.AliasConfiguration{}}
	p := pager{limit: limitOf(in.MaxItems, 50)}
	return out, s.DB.View(func(tx *store.Tx) error {
		if _, err := mustExist(tx, n); err != nil {
			return err
		}
		for r, err := range aliases.Range(tx, max(from, n.key()+"/"), store.PrefixEnd(n.key()+"/")) {
			if err != nil {
				return err
			}
			if _, weighted := r.Value.Weights[aws.ToString(in.FunctionVersion)]; in.FunctionVersion != nil && r.Value.Version != *in.FunctionVersion && !weighted {
				continue
			}
			if p.full(r.Key) {
				out.NextMarker = p.next
				return nil
			}
			out.Aliases = append(out.Aliases, r.Value.describe(n))
		}
		return nil
	})
}
