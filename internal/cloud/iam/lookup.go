package iam

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
)

// An identity is what a user or role is judged by.
type identity struct {
	entity
	arn      string
	policies []string  // documents
	holdings []holding // how each of them is held
	boundary string    // document
}

// A credential is an access key of a user in use.
type credential struct {
	secret    string
	principal authz.Principal
}

// Key returns the secret of a user's access key and whom it identifies. ok is
// false if there is no such key, or it is not active.
func (s *Service) Key(_ context.Context, accessKeyID string) (secret string, p authz.Principal, ok bool, err error) {
	if was, late := s.pastKeys.Before(accessKeyID); late && was == nil {
		return "", authz.Principal{}, false, nil
	}
	c, err := s.keys.Get(accessKeyID, func() (c *credential, found bool, err error) {
		err = s.DB.View(func(tx *store.Tx) error {
			k, ok, err := keyRows.Get(tx, accessKeyID)
			if err != nil || !ok || !k.Active {
				return err
			}
			u, ok, err := users.Get(tx, k.User)
			if ok {
				c = &credential{k.Secret, authz.Principal{Type: authz.User, ARN: s.arn(userKind, &u), ID: u.ID, Account: s.Account}}
			}
			return err
		})
		return c, c != nil, err
	})
	if err != nil || c == nil {
		return "", authz.Principal{}, false, err
	}
	return c.secret, c.principal, true, nil
}

// IdentityPolicies returns the documents of the policies of a user or role
// session, inline and attached, and that of its permissions boundary, "" if it
// has none. A principal that is gone has no policies. It is the
// [authz.Engine]'s Identity.
func (s *Service) IdentityPolicies(_ context.Context, p authz.Principal) (documents []string, boundary string, err error) {
	i, err := s.judged(p)
	if err != nil || i == nil {
		return nil, "", err
	}
	return i.policies, i.boundary, nil
}

// Exists tells whether the user or role that p stands for is still there.
func (s *Service) Exists(_ context.Context, p authz.Principal) (bool, error) {
	i, err := s.byARN(identityARN(p))
	return theSame(i, p) != nil, err
}

// PrincipalTags returns the tags of a user or of a session's role. It is the
// [authz.Engine]'s PrincipalTags.
func (s *Service) PrincipalTags(_ context.Context, p authz.Principal) (map[string]string, error) {
	i, err := s.judged(p)
	if err != nil || i == nil {
		return nil, err
	}
	return i.Tags, nil
}

// RoleTrust returns the trust policy of a role, "" if there is none. It is
// the resource policy of the role for sts:AssumeRole.
func (s *Service) RoleTrust(_ context.Context, roleARN string) (string, error) {
	i, err := s.inEffect(roleARN)
	if err != nil || i == nil {
		return "", err
	}
	return i.Trust, nil
}

// Role returns the unique id and the longest session of a role; ok is false if there is none.
func (s *Service) Role(_ context.Context, roleARN string) (id string, longest time.Duration, ok bool, err error) {
	i, err := s.byARN(roleARN)
	if err != nil || i == nil || !strings.Contains(roleARN, ":role/") {
		return "", 0, false, err
	}
	return i.ID, time.Duration(i.MaxSession) * time.Second, true, nil
}

// PolicyDocument returns the default version of a managed policy; ok is false if there is none.
func (s *Service) PolicyDocument(_ context.Context, arn string) (document string, ok bool, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		var p policyRow
		p, ok, err = policyOf(tx, arn)
		document = p.document()
		return err
	})
	return document, ok, err
}

// PrincipalExists tells whether what a policy names as a principal exists:
// an ARN, account id or unique id. What is of other accounts counts as existing.
func (s *Service) PrincipalExists(_ context.Context, name string) (ok bool, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		ok, err = s.exists(tx, name)
		return err
	})
	return ok, err
}

func (s *Service) exists(tx *store.Tx, name string) (bool, error) {
	if !strings.HasPrefix(name, "arn:") {
		if len(name) == 12 {
			return true, nil
		}
		return s.knownID(tx, name)
	}
	p := strings.SplitN(name, ":", 6)
	if len(p) < 6 || p[4] != s.Account || p[5] == "root" {
		return len(p) == 6, nil
	}
	k, arn := roleKind, name
	switch parts := strings.Split(p[5], "/"); parts[0] {
	case "user":
		k = userKind
	case "assumed-role":
		_, ok, err := roles.Get(tx, parts[1])
		return ok, err
	}
	e, ok, err := k.table.Get(tx, arn[strings.LastIndexByte(arn, '/')+1:])
	return ok && s.arn(k, &e) == arn, err
}

func (s *Service) knownID(tx *store.Tx, id string) (bool, error) {
	for _, k := range []*kind{roleKind, userKind} {
		for r, err := range k.table.Range(tx, "", "") {
			if err != nil {
				return false, err
			}
			if r.Value.ID == id {
				return true, nil
			}
		}
	}
	return false, nil
}

// identityARN is that of the user or role that a principal stands for.
func identityARN(p authz.Principal) string {
	if p.Type == authz.AssumedRole {
		return p.RoleARN
	}
	return p.ARN
}

// theSame is what stands under a principal's ARN, nil where that is another: a
// role that was made anew under the old name is another role.
func theSame(i *identity, p authz.Principal) *identity {
	if id, _, _ := strings.Cut(p.ID, ":"); i == nil || id != "" && id != i.ID {
		return nil
	}
	return i
}

// byARN returns a user or role by its ARN, nil if there is none.
func (s *Service) byARN(arn string) (*identity, error) {
	return s.identities.Get(arn, func() (i *identity, found bool, err error) {
		k := roleKind
		if strings.Contains(arn, ":user/") {
			k = userKind
		}
		err = s.DB.View(func(tx *store.Tx) error {
			e, ok, err := k.table.Get(tx, arn[strings.LastIndexByte(arn, '/')+1:])
			if err != nil || !ok || s.arn(k, &e) != arn {
				return err
			}
			i, err = load(tx, k, e, arn)
			return err
		})
		return i, i != nil, err
	})
}

func load(tx *store.Tx, k *kind, e entity, arn string) (*identity, error) {
	i := &identity{entity: e, arn: arn}
	for _, name := range slices.Sorted(maps.Keys(e.Inline)) {
		i.policies = append(i.policies, e.Inline[name])
		i.holdings = append(i.holdings, holding{kind: inlinePolicy, entity: k.word, holder: e.Name, name: name})
	}
	for _, a := range e.Attached {
		p, ok, err := policyOf(tx, a)
		if err != nil {
			return nil, err
		}
		if ok {
			i.policies = append(i.policies, p.document())
			i.holdings = append(i.holdings, holding{kind: p.kind(), name: p.Name, arn: p.ARN})
		}
	}
	if e.Boundary != "" {
		p, _, err := policyOf(tx, e.Boundary)
		if err != nil {
			return nil, err
		}
		// DeletePolicy keeps boundaries; should one be gone all the same, its
		// holder may do nothing rather than everything.
		if i.boundary = p.document(); i.boundary == "" {
			i.boundary = `{"Version":"2012-10-17","Statement":[]}`
		}
	}
	return i, nil
}

func userName(p *authz.Principal) string {
	if p.Type != authz.User {
		return ""
	}
	return p.ARN[strings.LastIndexByte(p.ARN, '/')+1:]
}
