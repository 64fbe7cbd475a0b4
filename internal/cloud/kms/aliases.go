package kms

import (
	"context"
	"regexp"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerAliases(api *wire.API) {
	const name = "AliasName! 1..256"
	wire.Handle(api, s.CreateAlias, wire.Needs(func(c *wire.Call, in *sdk.CreateAliasInput) []authz.Access {
		return s.aliasAccess(c, *in.AliasName, in.TargetKeyId)
	}), wire.Members(name, "TargetKeyId! 1..2048"))
	wire.Handle(api, s.UpdateAlias, wire.Needs(func(c *wire.Call, in *sdk.UpdateAliasInput) []authz.Access {
		return s.aliasAccess(c, *in.AliasName, in.AliasName, in.TargetKeyId)
	}), wire.Members(name, "TargetKeyId! 1..2048"))
	wire.Handle(api, s.DeleteAlias, wire.Needs(func(c *wire.Call, in *sdk.DeleteAliasInput) []authz.Access {
		return s.aliasAccess(c, *in.AliasName, in.AliasName)
	}), wire.Members(name))
	wire.Handle(api, s.ListAliases, wire.Members("Limit 1..1000", "Marker 1..1024", "KeyId 1..2048"))
}

// aliasAccess is an operation on an alias and on each key that it leads to:
// all must be allowed.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/alias-access.html
func (s *Service) aliasAccess(c *wire.Call, alias string, keys ...*string) []authz.Access {
	all := []authz.Access{{Action: "kms:" + c.Op, Resource: s.aliasARN(c.Region, alias), Context: s.caller(c)}}
	for _, k := range keys {
		if a, ok := s.access(c, "kms:"+c.Op, k); ok {
			all = append(all, a)
		}
	}
	return all
}

func (s *Service) aliasARN(region, alias string) string {
	return "arn:aws:kms:" + region + ":" + s.Account + ":" + alias
}

var aliasName = regexp.MustCompile(`^alias/[a-zA-Z0-9/_-]+$`)

func checkAlias(name string) error {
	switch {
	case !strings.HasPrefix(name, "alias/"):
		return invalid(`Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	case strings.HasPrefix(name, "alias/aws/"):
		return &types.InvalidAliasNameException{Message: new("Aliases that begin with alias/aws/ are reserved")}
	case !aliasName.MatchString(name):
		return invalid("1 validation error detected: Value '" + name + "' at 'aliasName' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")
	}
	return nil
}

// CreateAlias gives a key a name that is unique in the region.
func (s *Service) CreateAlias(ctx context.Context, in *sdk.CreateAliasInput) (*sdk.CreateAliasOutput, error) {
	if err := checkAlias(*in.AliasName); err != nil {
		return nil, err
	}
	k, err := s.aliasTarget(ctx, in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &sdk.CreateAliasOutput{}, s.changeAlias(ctx, *in.AliasName, func(_ aliasRow, exists bool) (aliasRow, error) {
		if exists {
			return aliasRow{}, &types.AlreadyExistsException{Message: new("An alias with the name " + s.aliasARN(k.Region, *in.AliasName) + " already exists")}
		}
		return aliasRow{Key: k.ID, Created: now, Updated: now}, nil
	})
}

// UpdateAlias has an alias name another key.
func (s *Service) UpdateAlias(ctx context.Context, in *sdk.UpdateAliasInput) (*sdk.UpdateAliasOutput, error) {
	if err := checkAlias(*in.AliasName); err != nil {
		return nil, err
	}
	k, err := s.aliasTarget(ctx, in.TargetKeyId)
	if err != nil {
		return nil, err
	}
	return &sdk.UpdateAliasOutput{}, s.changeAlias(ctx, *in.AliasName, func(row aliasRow, exists bool) (aliasRow, error) {
		if !exists {
			return row, s.noAlias(k.Region, *in.AliasName)
		}
		row.Key, row.Updated = k.ID, time.Now()
		return row, nil
	})
}

// DeleteAlias takes a name from a key; the key stays.
func (s *Service) DeleteAlias(ctx context.Context, in *sdk.DeleteAliasInput) (*sdk.DeleteAliasOutput, error) {
	if err := checkAlias(*in.AliasName); err != nil {
		return nil, err
	}
	region := regionOf(ctx)
	return &sdk.DeleteAliasOutput{}, s.changeAlias(ctx, *in.AliasName, func(_ aliasRow, exists bool) (aliasRow, error) {
		if !exists {
			return aliasRow{}, s.noAlias(region, *in.AliasName)
		}
		return aliasRow{}, nil
	})
}

func (s *Service) noAlias(region, name string) error {
	return notFound("Alias " + s.aliasARN(region, name) + " is not found.")
}

func (s *Service) aliasTarget(ctx context.Context, name *string) (*key, error) {
	if strings.HasPrefix(*name, "alias/") {
		return nil, invalid("Aliases must refer to keys. Not aliases")
	}
	k, err := s.findOnly(regionOf(ctx), name)
	if err != nil {
		return nil, err
	}
	return k, k.alive()
}

// changeAlias rewrites an alias; a row without a key deletes it.
func (s *Service) changeAlias(ctx context.Context, name string, edit func(row aliasRow, exists bool) (aliasRow, error)) error {
	id := regionOf(ctx) + "/" + name
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		row, ok, err := aliasRows.Get(tx, id)
		if err != nil {
			return err
		}
		if row, err = edit(row, ok); err != nil {
			return err
		}
		tx.OnCommit(s.alias.Forget)
		if row.Key == "" {
			return aliasRows.Delete(tx, id)
		}
		return aliasRows.Put(tx, id, row)
	})
}

// ListAliases lists the aliases of the region, or of one key.
func (s *Service) ListAliases(ctx context.Context, in *sdk.ListAliasesInput) (*sdk.ListAliasesOutput, error) {
	region := regionOf(ctx)
	only := ""
	if in.KeyId != nil {
		k, err := s.findOnly(region, in.KeyId)
		if err != nil {
			return nil, err
		}
		only = k.ID
	}
	out := &sdk.ListAliasesOutput{Aliases: []types.AliasListEntry{}}
	next, err := list(s.DB, aliasRows, region+"/", in.Marker, in.Limit, 50, func(r store.Row[aliasRow]) bool {
		if only != "" && r.Value.Key != only {
			return false
		}
		name := strings.TrimPrefix(r.Key, region+"/")
		out.Aliases = append(out.Aliases, types.AliasListEntry{
			AliasName: &name, AliasArn: new(s.aliasARN(region, name)), TargetKeyId: &r.Value.Key,
			CreationDate: &r.Value.Created, LastUpdatedDate: &r.Value.Updated,
		})
		return true
	})
	out.NextMarker, out.Truncated = next, next != nil
	return out, err
}
