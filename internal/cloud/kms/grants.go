package kms

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// A grantRow is a grant: it lets somebody use a key, without a policy.
//
// https://docs.aws.amazon.com/kms/latest/developerguide/grants.html
type grantRow struct {
	ID              string                  `json:"id"`
	Name            string                  `json:"name,omitempty"`
	Created         time.Time               `json:"created"`
	Grantee         string                  `json:"grantee,omitempty"` // ARN
	GranteeService  string                  `json:"grantee_service,omitempty"`
	Retiring        string                  `json:"retiring,omitempty"` // ARN
	RetiringService string                  `json:"retiring_service,omitempty"`
	Operations      []string                `json:"operations"`
	Constraints     *types.GrantConstraints `json:"constraints,omitempty"`
}

func (s *Service) registerGrants(api *wire.API) {
	const tokens = "GrantTokens 0..10"
	wire.Handle(api, s.CreateGrant, on(s, func(in *sdk.CreateGrantInput) *string { return in.KeyId }, grantKeys),
		wire.Members(keyIDRule, "GranteePrincipal 1..256", "RetiringPrincipal 1..256", "Operations! 1..", tokens, `Name 1..256 [a-zA-Z0-9:/_-]+`,
			"Operations[] Decrypt|Encrypt|GenerateDataKey|GenerateDataKeyWithoutPlaintext|ReEncryptFrom|ReEncryptTo|Sign|Verify|GetPublicKey|CreateGrant|RetireGrant|DescribeKey|GenerateDataKeyPair|GenerateDataKeyPairWithoutPlaintext|GenerateMac|VerifyMac|DeriveSharedSecret"))
	wire.Handle(api, s.ListGrants, on(s, func(in *sdk.ListGrantsInput) *string { return in.KeyId }),
		wire.Members(keyIDRule, "Limit 1..1000", "Marker 1..1024", "GrantId 1..128", "GranteePrincipal 1..256"))
	wire.Handle(api, s.ListRetirableGrants, wire.Members("RetiringPrincipal! 1..256", "Limit 1..1000", "Marker 1..1024"))
	wire.Handle(api, s.RevokeGrant, on(s, func(in *sdk.RevokeGrantInput) *string { return in.KeyId },
		func(_ *sdk.RevokeGrantInput, keys map[string][]string) {
			keys["kms:GrantIsForAWSResource"] = boolKey(false)
		}),
		wire.Members(keyIDRule, "GrantId! 1..128"))
	wire.Handle(api, s.RetireGrant, wire.Needs(func(c *wire.Call, in *sdk.RetireGrantInput) []authz.Access {
		name, id, err := grantOf(in)
		if err != nil {
			return nil // the operation says what is wrong
		}
		a, ok := s.access(c, "kms:RetireGrant", &name)
		if !ok {
			return nil
		}
		a.Context["kms:GrantId"] = []string{id}
		return []authz.Access{a}
	}), wire.Members("GrantToken 1..8192", "KeyId 1..2048", "GrantId 1..128"))
}

func grantKeys(in *sdk.CreateGrantInput, keys map[string][]string) {
	keys["kms:GrantIsForAWSResource"] = boolKey(keys["kms:ViaService"] != nil)
	if in.GranteePrincipal != nil {
		keys["kms:GranteePrincipal"] = []string{*in.GranteePrincipal}
	}
	if in.RetiringPrincipal != nil {
		keys["kms:RetiringPrincipal"] = []string{*in.RetiringPrincipal}
	}
	for _, o := range in.Operations {
		keys["kms:GrantOperations"] = append(keys["kms:GrantOperations"], string(o))
	}
	if c := in.Constraints; c != nil && len(c.EncryptionContextEquals) > 0 {
		keys["kms:GrantConstraintType"] = []string{"EncryptionContextEquals"}
	} else if c != nil && len(c.EncryptionContextSubset) > 0 {
		keys["kms:GrantConstraintType"] = []string{"EncryptionContextSubset"}
	}
}

// CreateGrant lets a principal use a key. The same grant, named the same, is
// made once.
func (s *Service) CreateGrant(ctx context.Context, in *sdk.CreateGrantInput) (*sdk.CreateGrantOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := s.checkGrant(ctx, in); err != nil {
		return nil, err
	}
	if err := k.usable(); err != nil {
		return nil, err
	}
	if dry(in.DryRun) {
		return nil, errDryRun
	}
	g := grantRow{
		ID: grantID(), Name: deref(in.Name), Created: time.Now(), Grantee: deref(in.GranteePrincipal), GranteeService: deref(in.GranteeServicePrincipal),
		Retiring: deref(in.RetiringPrincipal), RetiringService: deref(in.RetiringServicePrincipal), Constraints: in.Constraints,
	}
	for _, o := range in.Operations {
		g.Operations = append(g.Operations, string(o))
	}
	slices.Sort(g.Operations)
	g.Operations = slices.Compact(g.Operations)
	prefix := k.Region + "/" + k.ID + "/"
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		for r, err := range grantRows.Prefix(tx, prefix) {
			if err != nil {
				return err
			}
			if g.Name != "" && r.Value.same(g) {
				g.ID = r.Value.ID
				return nil
			}
		}
		tx.OnCommit(s.grants.Forget)
		return grantRows.Put(tx, prefix+g.ID, g)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.CreateGrantOutput{GrantId: &g.ID, GrantToken: new(grantToken(k.arn, g.ID))}, nil
}

func (s *Service) checkGrant(ctx context.Context, in *sdk.CreateGrantInput) error {
	if (in.GranteePrincipal == nil) == (in.GranteeServicePrincipal == nil) {
		return invalid("1 validation error detected: Value null at 'granteePrincipal' failed to satisfy constraint: Member must not be null")
	}
	for _, p := range []*string{in.GranteePrincipal, in.RetiringPrincipal} {
		if p == nil {
			continue
		}
		if !strings.HasPrefix(*p, "arn:aws:iam::") && !strings.HasPrefix(*p, "arn:aws:sts::") {
			return &types.InvalidArnException{Message: new("Invalid principal ARN: " + *p)}
		}
		if s.PrincipalExists != nil {
			if ok, err := s.PrincipalExists(ctx, *p); err != nil || !ok {
				return cmpErr(err, &types.InvalidArnException{Message: new("ARN does not refer to a valid principal: " + *p)})
			}
		}
	}
	for _, o := range in.Operations {
		switch o {
		case "Sign", "Verify", "GetPublicKey", "GenerateMac", "VerifyMac", "DeriveSharedSecret":
			return invalid("Operation " + string(o) + " is not valid for a key with KeySpec SYMMETRIC_DEFAULT")
		}
	}
	if c := in.Constraints; c != nil && len(c.EncryptionContextEquals) > 0 && len(c.EncryptionContextSubset) > 0 {
		return invalid("Only one of EncryptionContextEquals and EncryptionContextSubset can be specified")
	}
	return nil
}

// cmpErr is the first of two errors that there is.
func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// same tells whether two grants say the same.
func (g grantRow) same(o grantRow) bool {
	return g.Name == o.Name && g.Grantee == o.Grantee && g.GranteeService == o.GranteeService && g.Retiring == o.Retiring &&
		g.RetiringService == o.RetiringService && slices.Equal(g.Operations, o.Operations) && sameConstraints(g.Constraints, o.Constraints)
}

func sameConstraints(a, b *types.GrantConstraints) bool {
	if a == nil || b == nil {
		return a == b
	}
	return maps.Equal(a.EncryptionContextEquals, b.EncryptionContextEquals) &&
		maps.Equal(a.EncryptionContextSubset, b.EncryptionContextSubset) && deref(a.SourceArn) == deref(b.SourceArn)
}

func grantID() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// A grant token names the grant. It gives no right of its own: grants count
// as soon as they are made here.
func grantToken(arn, id string) string {
	return base64.StdEncoding.EncodeToString([]byte(arn + " " + id))
}

// grantOf is the key ARN and grant id that a request to retire means.
func grantOf(in *sdk.RetireGrantInput) (arn, id string, err error) {
	switch {
	case in.GrantToken != nil && in.KeyId == nil && in.GrantId == nil:
		b, err := base64.StdEncoding.DecodeString(*in.GrantToken)
		arn, id, ok := strings.Cut(string(b), " ")
		if err != nil || !ok {
			return "", "", &types.InvalidGrantTokenException{Message: new("The grant token is not valid.")}
		}
		return arn, id, nil
	case in.GrantToken == nil && in.KeyId != nil && in.GrantId != nil:
		return *in.KeyId, *in.GrantId, nil
	}
	return "", "", invalid("You must specify either a grant token, or both a key ID and a grant ID")
}

// ListGrants lists the grants of a key.
func (s *Service) ListGrants(ctx context.Context, in *sdk.ListGrantsInput) (*sdk.ListGrantsOutput, error) {
	k, err := s.findOnly(regionOf(ctx), in.KeyId)
	if err != nil {
		return nil, err
	}
	out := &sdk.ListGrantsOutput{Grants: []types.GrantListEntry{}}
	next, err := list(s.DB, grantRows, k.Region+"/"+k.ID+"/", in.Marker, in.Limit, 50, func(r store.Row[grantRow]) bool {
		g := r.Value
		if in.GrantId != nil && g.ID != *in.GrantId || in.GranteePrincipal != nil && g.Grantee != *in.GranteePrincipal ||
			in.GranteeServicePrincipal != nil && g.GranteeService != *in.GranteeServicePrincipal {
			return false
		}
		out.Grants = append(out.Grants, s.grantEntry(k.arn, g))
		return true
	})
	if err == nil && in.GrantId != nil && len(out.Grants) == 0 && in.Marker == nil {
		err = notFound("Grant ID " + *in.GrantId + " does not exist")
	}
	out.NextMarker, out.Truncated = next, next != nil
	return out, err
}

func (s *Service) grantEntry(arn string, g grantRow) types.GrantListEntry {
	e := types.GrantListEntry{
		KeyId: &arn, GrantId: &g.ID, CreationDate: &g.Created, Constraints: g.Constraints,
		IssuingAccount: new("arn:aws:iam::" + s.Account + ":root"),
	}
	for _, f := range []struct {
		to   **string
		from string
	}{{&e.Name, g.Name}, {&e.GranteePrincipal, g.Grantee}, {&e.GranteeServicePrincipal, g.GranteeService}, {&e.RetiringPrincipal, g.Retiring}, {&e.RetiringServicePrincipal, g.RetiringService}} {
		if f.from != "" {
			*f.to = &f.from
		}
	}
	for _, o := range g.Operations {
		e.Operations = append(e.Operations, types.GrantOperation(o))
	}
	return e
}

// ListRetirableGrants lists the grants of the region that a principal may retire.
func (s *Service) ListRetirableGrants(ctx context.Context, in *sdk.ListRetirableGrantsInput) (*sdk.ListRetirableGrantsOutput, error) {
	out := &sdk.ListRetirableGrantsOutput{Grants: []types.GrantListEntry{}}
	region := regionOf(ctx)
	next, err := list(s.DB, grantRows, region+"/", in.Marker, in.Limit, 50, func(r store.Row[grantRow]) bool {
		if r.Value.Retiring != *in.RetiringPrincipal {
			return false
		}
		id := strings.Split(r.Key, "/")[1]
		out.Grants = append(out.Grants, s.grantEntry(s.arn(region, id), r.Value))
		return true
	})
	out.NextMarker, out.Truncated = next, next != nil
	return out, err
}

// RevokeGrant ends a grant.
func (s *Service) RevokeGrant(ctx context.Context, in *sdk.RevokeGrantInput) (*sdk.RevokeGrantOutput, error) {
	return &sdk.RevokeGrantOutput{}, s.endGrant(ctx, in.KeyId, *in.GrantId, dry(in.DryRun))
}

// RetireGrant ends a grant that its holder needs no more.
func (s *Service) RetireGrant(ctx context.Context, in *sdk.RetireGrantInput) (*sdk.RetireGrantOutput, error) {
	arn, id, err := grantOf(in)
	if err != nil {
		return nil, err
	}
	return &sdk.RetireGrantOutput{}, s.endGrant(ctx, &arn, id, dry(in.DryRun))
}

func (s *Service) endGrant(ctx context.Context, name *string, id string, dryRun bool) error {
	k, err := s.findOnly(regionOf(ctx), name)
	if err != nil {
		return err
	}
	row := k.Region + "/" + k.ID + "/" + id
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		_, ok, err := grantRows.Get(tx, row)
		switch {
		case err != nil:
			return err
		case !ok:
			return notFound("Grant ID " + id + " does not exist")
		case dryRun:
			return errDryRun
		}
		tx.OnCommit(s.grants.Forget)
		return grantRows.Delete(tx, row)
	})
}

// Granted tells whether a grant of the key allows an access. It is the
// [authz.Engine]'s Grants.
func (s *Service) Granted(_ context.Context, p authz.Principal, a authz.Access) (bool, error) {
	parts := strings.SplitN(a.Resource, ":", 6)
	if len(parts) != 6 || !strings.HasPrefix(parts[5], "key/") {
		return false, nil
	}
	row := parts[3] + "/" + strings.TrimPrefix(parts[5], "key/")
	all, err := s.grants.Get(row, func() (all []*grantRow, found bool, err error) {
		err = s.DB.View(func(tx *store.Tx) error {
			for r, err := range grantRows.Prefix(tx, row+"/") {
				if err != nil {
					return err
				}
				all = append(all, &r.Value)
			}
			_, found, err = keyRows.Get(tx, row)
			return err
		})
		return all, found, err
	})
	if err != nil {
		return false, err
	}
	operation := strings.TrimPrefix(a.Action, "kms:")
	for _, g := range all {
		if g.allows(operation, p, a.Context) {
			return true, nil
		}
	}
	return false, nil
}

func (g *grantRow) allows(operation string, p authz.Principal, keys map[string][]string) bool {
	is := func(arn, service string) bool {
		if p.Type == authz.Service {
			return service != "" && p.Service == service
		}
		return arn != "" && (arn == p.ARN || arn == p.RoleARN)
	}
	if operation == "RetireGrant" && is(g.Retiring, g.RetiringService) {
		return len(keys["kms:GrantId"]) == 1 && keys["kms:GrantId"][0] == g.ID
	}
	return is(g.Grantee, g.GranteeService) && slices.Contains(g.Operations, operation) && g.fits(p, keys)
}

// fits judges the constraints. They are about operations that take an
// encryption context; others, such as DescribeKey, are not constrained.
func (g *grantRow) fits(p authz.Principal, keys map[string][]string) bool {
	c := g.Constraints
	if c == nil {
		return true
	}
	if c.SourceArn != nil && p.Source != *c.SourceArn {
		return false
	}
	if keys["kms:EncryptionAlgorithm"] == nil {
		return true
	}
	pairs := 0
	for k := range keys {
		if strings.HasPrefix(k, contextPrefix) {
			pairs++
		}
	}
	if len(c.EncryptionContextEquals) > 0 && pairs != len(c.EncryptionContextEquals) {
		return false
	}
	for _, want := range []map[string]string{c.EncryptionContextEquals, c.EncryptionContextSubset} {
		for k, v := range want {
			if got := keys[contextPrefix+k]; len(got) != 1 || got[0] != v {
				return false
			}
		}
	}
	return true
}
