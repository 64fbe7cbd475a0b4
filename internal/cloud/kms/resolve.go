package kms

import (
	"context"
	"strings"

	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// isKeyID tells whether s has the form of a key id: a UUID or, of a key of many
// regions, "mrk-" and 32 digits.
func isKeyID(s string) bool {
	const uuid, mrk = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "mrk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	form := uuid
	if strings.HasPrefix(s, "mrk-") {
		form = mrk
	}
	if len(s) != len(form) {
		return false
	}
	for i := range len(s) {
		digit := s[i] >= '0' && s[i] <= '9' || s[i] >= 'a' && s[i] <= 'f'
		if form[i] == 'x' && !digit || form[i] != 'x' && s[i] != form[i] {
			return false
		}
	}
	return true
}

// A reference is what a request calls a key by.
type reference struct {
	id    string // key id, if it was named so
	alias string // "alias/name", if it was named so
}

// parse reads a key id, key ARN, alias name or alias ARN. An ARN must be of
// the region of the call.
func (s *Service) parse(region, name string) (reference, error) {
	rest := name
	if strings.HasPrefix(name, "arn:") {
		p := strings.SplitN(name, ":", 6)
		if len(p) != 6 || p[2] != "kms" {
			return reference{}, notFound("Invalid arn " + name)
		}
		if p[3] != region {
			return reference{}, notFound("Invalid arn " + p[3])
		}
		rest = p[5]
		id, isKey := strings.CutPrefix(rest, "key/")
		switch {
		case isKey && p[4] != s.Account:
			return reference{}, notFoundKey(name)
		case isKey:
			rest = id
		case !strings.HasPrefix(rest, "alias/"):
			return reference{}, notFound("Invalid arn " + name)
		case p[4] != s.Account:
			return reference{}, notFound("Alias " + name + " is not found.")
		}
	}
	switch {
	case strings.HasPrefix(rest, "alias/"):
		return reference{alias: rest}, nil
	case isKeyID(rest):
		return reference{id: rest}, nil
	}
	return reference{}, notFound("Invalid keyId '" + rest + "'")
}

// find returns the key that a request means; plain ids only where AWS takes no alias.
func (s *Service) find(region string, name *string) (*key, error) {
	if name == nil {
		return nil, invalid("1 validation error detected: Value null at 'keyId' failed to satisfy constraint: Member must not be null")
	}
	ref, err := s.parse(region, *name)
	if err != nil {
		return nil, err
	}
	if ref.alias != "" {
		id, err := s.target(region, ref.alias)
		if err != nil {
			return nil, err
		}
		if id == "" {
			return nil, notFound("Alias arn:aws:kms:" + region + ":" + s.Account + ":" + ref.alias + " is not found.")
		}
		ref.id = id
	}
	k, err := s.key(region, ref.id)
	if err == nil && k == nil {
		err = notFoundKey(s.arn(region, ref.id))
	}
	return k, err
}

// findOnly is find for operations that take no alias.
func (s *Service) findOnly(region string, name *string) (*key, error) {
	if name != nil && strings.Contains(*name, "alias/") {
		if strings.HasPrefix(*name, "arn:") {
			return nil, notFound("Invalid arn " + *name)
		}
		return nil, notFound("Invalid keyId '" + *name + "'")
	}
	return s.find(region, name)
}

// target is the id of the key behind an alias, "" if there is none. Asking for
// the key that AWS manages for a service makes it.
func (s *Service) target(region, alias string) (string, error) {
	id, err := s.alias.Get(region+"/"+alias, func() (id string, ok bool, err error) {
		err = s.DB.View(func(tx *store.Tx) error {
			row, found, err := aliasRows.Get(tx, region+"/"+alias)
			id, ok = row.Key, found
			return err
		})
		return id, ok, err
	})
	if err != nil || id != "" {
		return id, err
	}
	if service, ok := strings.CutPrefix(alias, "alias/aws/"); ok && managed[service] {
		return s.makeManaged(region, service)
	}
	return "", nil
}

func regionOf(ctx context.Context) string { return wire.CallOf(ctx).Region }
