package iam

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/store"
)

func (s *Service) arn(k *kind, e *entity) string {
	return "arn:aws:iam::" + s.Account + ":" + k.word + e.Path + e.Name
}

// get returns a user or role by name.
func (s *Service) get(k *kind, name string) (e entity, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		e, err = k.get(tx, name)
		return err
	})
	return e, err
}

func (k *kind) get(tx *store.Tx, name string) (entity, error) {
	e, ok, err := k.table.Get(tx, name)
	if err == nil && !ok {
		err = k.missing(name)
	}
	return e, err
}

// create adds a user or role, unless one has its name in any case.
func (s *Service) create(ctx context.Context, k *kind, e entity, check func(*store.Tx) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		for r, err := range k.table.Range(tx, "", "") {
			if err != nil {
				return err
			}
			if strings.EqualFold(r.Key, e.Name) {
				return exists(k.title + " with name " + e.Name + " already exists.")
			}
		}
		if err := check(tx); err != nil {
			return err
		}
		tx.OnCommit(s.forget)
		s.spread(tx, s.arn(k, &e), nil)
		return k.table.Put(tx, e.Name, e)
	})
}

// change rewrites a user or role. edit may refuse.
func (s *Service) change(ctx context.Context, k *kind, name string, edit func(tx *store.Tx, e *entity) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		e, err := k.get(tx, name)
		if err != nil {
			return err
		}
		if err := s.spreadFrom(tx, k, e); err != nil {
			return err
		}
		if err := edit(tx, &e); err != nil {
			return err
		}
		tx.OnCommit(s.forget)
		return k.table.Put(tx, name, e)
	})
}

// forget drops all that is remembered of identities: any change may touch any of them.
func (s *Service) forget() {
	s.identities.Forget()
	s.keys.Forget()
}

// own refuses changes of roles that belong to a service.
func (e *entity) own() error {
	if e.Service != "" {
		return unchangeable("Cannot perform the operation on the protected role '" + e.Name + "' - this role is only modifiable by AWS")
	}
	return nil
}

// remove deletes a user or role that holds nothing any more.
func (s *Service) remove(ctx context.Context, k *kind, name string, check func(*store.Tx) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		e, err := k.get(tx, name)
		switch {
		case err != nil:
			return err
		case e.own() != nil:
			return e.own()
		case len(e.Attached) > 0:
			return conflict("Cannot delete entity, must detach all policies first.")
		case len(e.Inline) > 0:
			return conflict("Cannot delete entity, must delete policies first.")
		}
		if err := check(tx); err != nil {
			return err
		}
		tx.OnCommit(s.forget)
		return k.table.Delete(tx, name)
	})
}

// list returns users or roles under a path, by name.
func (s *Service) list(k *kind, prefix *string) (all []entity, err error) {
	err = s.DB.View(func(tx *store.Tx) error {
		for r, err := range k.table.Range(tx, "", "") {
			if err != nil {
				return err
			}
			if prefix == nil || strings.HasPrefix(r.Value.Path, *prefix) {
				all = append(all, r.Value)
			}
		}
		return nil
	})
	return all, err
}

const pageSize = 100

// A page is one part of a list.
type page[T any] struct {
	items     []T
	truncated bool
	marker    *string
}

// paginate cuts the page after marker out of a list that is sorted by key. A
// marker names the last item before it, so that changes in between lose and
// double nothing else.
func paginate[T any](items []T, key func(T) string, marker *string, size *int32) (page[T], error) {
	p := page[T]{items: []T{}}
	if marker != nil {
		b, err := base64.StdEncoding.DecodeString(*marker)
		if err != nil {
			return p, validation("Invalid Marker.")
		}
		i, found := slices.BinarySearchFunc(items, string(b), func(t T, m string) int { return strings.Compare(key(t), m) })
		if found {
			i++
		}
		items = items[i:]
	}
	n := pageSize
	if size != nil {
		n = int(*size)
	}
	if len(items) > n {
		p.truncated, p.marker = true, new(base64.StdEncoding.EncodeToString([]byte(key(items[n-1]))))
		items = items[:n]
	}
	p.items = append(p.items, items...)
	return p, nil
}

func self(s string) string { return s }

// newID makes a unique id of the given kind: "AROA" and 17 letters and digits.
func newID(prefix string) string {
	b := make([]byte, 11)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return prefix + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)[:17]
}

// encoded is a policy document as IAM returns it: URL-encoded by RFC 3986.
func encoded(document string) *string {
	return new(strings.ReplaceAll(url.QueryEscape(document), "+", "%20"))
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func path(p *string) string {
	if p == nil {
		return "/"
	}
	return *p
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func boundaryOf(e *entity) *types.AttachedPermissionsBoundary {
	if e.Boundary == "" {
		return nil
	}
	return &types.AttachedPermissionsBoundary{PermissionsBoundaryArn: &e.Boundary, PermissionsBoundaryType: types.PermissionsBoundaryAttachmentTypePolicy}
}
