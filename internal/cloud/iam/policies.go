package iam

import (
	"context"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const maxManaged = 6144 // characters, white space not counted

// A policyRow is a managed policy.
type policyRow struct {
	ARN         string            `json:"arn"`
	Name        string            `json:"name"`
	Path        string            `json:"path"`
	ID          string            `json:"id"` // ANPA...
	Description string            `json:"description,omitempty"`
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated"`
	Tags        map[string]string `json:"tags,omitempty"`
	Versions    []version         `json:"versions"`
	Default     string            `json:"default"` // version id
	Last        int               `json:"last"`    // number of the newest version ever
}

type version struct {
	ID       string    `json:"id"` // "v1"
	Document string    `json:"document"`
	Created  time.Time `json:"created"`
}

// document is the version that is in force.
func (p *policyRow) document() string {
	for _, v := range p.Versions {
		if v.ID == p.Default {
			return v.Document
		}
	}
	return ""
}

// policyOf returns a managed policy: the account's, or one of those that AWS keeps.
func policyOf(tx *store.Tx, arn string) (policyRow, bool, error) {
	if p, ok := awsPolicies[arn]; ok {
		return p, true, nil
	}
	return policies.Get(tx, arn)
}

func (s *Service) registerPolicies(api *wire.API) {
	wire.Handle(api, s.CreatePolicy, making(s, func(in *sdk.CreatePolicyInput) string { return "policy" + path(in.Path) + *in.PolicyName },
		func(*sdk.CreatePolicyInput) *string { return nil }, func(in *sdk.CreatePolicyInput) []types.Tag { return in.Tags }),
		wire.Members(policyRule, pathRule, documentRule, textRule, "Tags 0..50", "Tags[].Key! 1..128", "Tags[].Value! 0..256"))
	wire.Handle(api, s.GetPolicy, onPolicy(func(in *sdk.GetPolicyInput) *string { return in.PolicyArn }), wire.Members(policyARNRule))
	wire.Handle(api, s.ListPolicies, wire.Members("Scope All|AWS|Local", prefixRule, markerRule, maxRule, "PolicyUsageFilter PermissionsPolicy|PermissionsBoundary"))
	wire.Handle(api, s.DeletePolicy, onPolicy(func(in *sdk.DeletePolicyInput) *string { return in.PolicyArn }), wire.Members(policyARNRule))
	wire.Handle(api, s.ListEntitiesForPolicy, onPolicy(func(in *sdk.ListEntitiesForPolicyInput) *string { return in.PolicyArn }),
		wire.Members(policyARNRule, prefixRule, markerRule, maxRule, "EntityFilter User|Role|Group|LocalManagedPolicy|AWSManagedPolicy"))
}

// CreatePolicy makes a managed policy.
func (s *Service) CreatePolicy(ctx context.Context, in *sdk.CreatePolicyInput) (*sdk.CreatePolicyOutput, error) {
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	if err := checkManaged(*in.PolicyDocument); err != nil {
		return nil, err
	}
	at := now()
	p := policyRow{
		Name: *in.PolicyName, Path: path(in.Path), ID: newID("ANPA"), Description: deref(in.Description), Created: at, Updated: at, Tags: tags,
		Versions: []version{{"v1", *in.PolicyDocument, at}}, Default: "v1", Last: 1,
	}
	p.ARN = "arn:aws:iam::" + s.Account + ":policy" + p.Path + p.Name
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		for r, err := range policies.Range(tx, "", "") {
			if err != nil {
				return err
			}
			if strings.EqualFold(r.Value.Name, p.Name) {
				return exists("A policy called " + p.Name + " already exists. Duplicate names are not allowed.")
			}
		}
		return policies.Put(tx, p.ARN, p)
	})
	if err != nil {
		return nil, err
	}
	return &sdk.CreatePolicyOutput{Policy: new(s.policy(&p, uses{}))}, nil
}

func checkManaged(document string) error {
	if size(document) > maxManaged {
		return overLimit("Cannot exceed quota for PolicySize: 6144")
	}
	_, err := checkDocument(document, authz.IdentityPolicy)
	return err
}

// uses says who has a policy.
type uses struct {
	roles, users []entity // attached to
	boundaries   []entity // bounded by
}

func usesOf(tx *store.Tx, arn string) (u uses, err error) {
	for _, k := range []*kind{roleKind, userKind} {
		for r, err := range k.table.Range(tx, "", "") {
			if err != nil {
				return u, err
			}
			if r.Value.Boundary == arn {
				u.boundaries = append(u.boundaries, r.Value)
			}
			if !slices.Contains(r.Value.Attached, arn) {
				continue
			}
			if k == roleKind {
				u.roles = append(u.roles, r.Value)
			} else {
				u.users = append(u.users, r.Value)
			}
		}
	}
	return u, nil
}

func (s *Service) policy(p *policyRow, u uses) types.Policy {
	return types.Policy{
		Arn: &p.ARN, PolicyName: &p.Name, PolicyId: &p.ID, Path: &p.Path, Description: optional(p.Description), CreateDate: &p.Created,
		UpdateDate: &p.Updated, DefaultVersionId: &p.Default, IsAttachable: true, Tags: tagList(p.Tags),
		AttachmentCount: new(int32(len(u.roles) + len(u.users))), PermissionsBoundaryUsageCount: new(int32(len(u.boundaries))),
	}
}

// view reads a policy and who has it.
func (s *Service) view(arn string) (p policyRow, u uses, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		var ok bool
		if p, ok, err = policyOf(tx, arn); err != nil {
			return err
		}
		if !ok {
			return noPolicy(arn)
		}
		u, err = usesOf(tx, arn)
		return err
	})
	return p, u, err
}

// GetPolicy describes a managed policy.
func (s *Service) GetPolicy(_ context.Context, in *sdk.GetPolicyInput) (*sdk.GetPolicyOutput, error) {
	p, u, err := s.view(*in.PolicyArn)
	if err != nil {
		return nil, err
	}
	return &sdk.GetPolicyOutput{Policy: new(s.policy(&p, u))}, nil
}

// ListPolicies lists managed policies, without descriptions and tags.
func (s *Service) ListPolicies(_ context.Context, in *sdk.ListPoliciesInput) (*sdk.ListPoliciesOutput, error) {
	var all []types.Policy
	err := s.DB.View(func(tx *store.Tx) error {
		var rows []policyRow
		if in.Scope != types.PolicyScopeTypeAws {
			for r, err := range policies.Range(tx, "", "") {
				if err != nil {
					return err
				}
				rows = append(rows, r.Value)
			}
		}
		if in.Scope != types.PolicyScopeTypeLocal {
			for _, p := range awsPolicies {
				rows = append(rows, p)
			}
		}
		for i := range rows {
			u, err := usesOf(tx, rows[i].ARN)
			if err != nil {
				return err
			}
			p := s.policy(&rows[i], u)
			p.Description, p.Tags = nil, nil
			if listed(in, &p) {
				all = append(all, p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	byARN := func(p types.Policy) string { return *p.Arn }
	slices.SortFunc(all, func(a, b types.Policy) int { return strings.Compare(byARN(a), byARN(b)) })
	p, err := paginate(all, byARN, in.Marker, in.MaxItems)
	return &sdk.ListPoliciesOutput{Policies: p.items, IsTruncated: p.truncated, Marker: p.marker}, err
}

func listed(in *sdk.ListPoliciesInput, p *types.Policy) bool {
	used := *p.AttachmentCount > 0 || *p.PermissionsBoundaryUsageCount > 0
	switch {
	case in.PathPrefix != nil && !strings.HasPrefix(*p.Path, *in.PathPrefix):
		return false
	case in.OnlyAttached && !used:
		return false
	case in.PolicyUsageFilter == types.PolicyUsageTypePermissionsPolicy && in.OnlyAttached:
		return *p.AttachmentCount > 0
	case in.PolicyUsageFilter == types.PolicyUsageTypePermissionsBoundary:
		return *p.PermissionsBoundaryUsageCount > 0
	}
	return true
}

// DeletePolicy deletes a managed policy that nobody has and that has one version.
func (s *Service) DeletePolicy(ctx context.Context, in *sdk.DeletePolicyInput) (*sdk.DeletePolicyOutput, error) {
	return &sdk.DeletePolicyOutput{}, s.changePolicy(ctx, *in.PolicyArn, func(tx *store.Tx, p *policyRow) error {
		u, err := usesOf(tx, p.ARN)
		switch {
		case err != nil:
			return err
		case len(u.roles)+len(u.users) > 0:
			return conflict("Cannot delete a policy attached to entities.")
		case len(u.boundaries) > 0:
			return conflict("Cannot delete a policy that is in use as a permissions boundary.")
		case len(p.Versions) > 1:
			return conflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		p.Versions = nil // gone
		return nil
	})
}

// changePolicy rewrites a managed policy of the account; one without versions is deleted.
func (s *Service) changePolicy(ctx context.Context, arn string, edit func(*store.Tx, *policyRow) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, ok := awsPolicies[arn]; ok {
			return badInput("Policy " + arn + " is managed by AWS and cannot be changed.")
		}
		p, ok, err := policies.Get(tx, arn)
		if err == nil && !ok {
			err = noPolicy(arn)
		}
		if err != nil {
			return err
		}
		if err := s.spreadPolicy(tx, arn); err != nil {
			return err
		}
		if err := edit(tx, &p); err != nil {
			return err
		}
		tx.OnCommit(s.forget)
		if len(p.Versions) == 0 {
			return policies.Delete(tx, arn)
		}
		p.Updated = now()
		return policies.Put(tx, arn, p)
	})
}

// ListEntitiesForPolicy lists the users and roles that have a managed policy.
func (s *Service) ListEntitiesForPolicy(_ context.Context, in *sdk.ListEntitiesForPolicyInput) (*sdk.ListEntitiesForPolicyOutput, error) {
	_, u, err := s.view(*in.PolicyArn)
	if err != nil {
		return nil, err
	}
	type holder struct {
		kind *kind
		entity
	}
	var all []holder
	for k, list := range map[*kind][]entity{roleKind: u.roles, userKind: u.users} {
		if in.EntityFilter != "" && string(in.EntityFilter) != k.title {
			continue
		}
		for _, e := range list {
			if in.PathPrefix == nil || strings.HasPrefix(e.Path, *in.PathPrefix) {
				all = append(all, holder{k, e})
			}
		}
	}
	key := func(h holder) string { return h.kind.word + "/" + h.Name }
	slices.SortFunc(all, func(a, b holder) int { return strings.Compare(key(a), key(b)) })
	p, err := paginate(all, key, in.Marker, in.MaxItems)
	out := &sdk.ListEntitiesForPolicyOutput{
		PolicyGroups: []types.PolicyGroup{}, PolicyRoles: []types.PolicyRole{}, PolicyUsers: []types.PolicyUser{}, IsTruncated: p.truncated, Marker: p.marker,
	}
	for _, h := range p.items {
		if h.kind == roleKind {
			out.PolicyRoles = append(out.PolicyRoles, types.PolicyRole{RoleName: &h.Name, RoleId: &h.ID})
		} else {
			out.PolicyUsers = append(out.PolicyUsers, types.PolicyUser{UserName: &h.Name, UserId: &h.ID})
		}
	}
	return out, err
}
