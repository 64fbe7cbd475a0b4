package iam

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

// on is the access to one user or role under the operation's own name; more
// may add condition keys.
//
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
func on[In any](s *Service, k *kind, name func(*In) *string, more ...func(*In, map[string][]string)) wire.Option {
	return wire.Needs(func(c *wire.Call, in *In) []authz.Access {
		n := deref(name(in))
		if n == "" && k == userKind {
			n = userName(&c.Principal) // operations on oneself
		}
		a := authz.Access{Action: "iam:" + c.Op, Resource: "arn:aws:iam::" + s.Account + ":" + k.word + "/" + n, Context: map[string][]string{}}
		if e, err := s.get(k, n); err == nil {
			a.Resource = s.arn(k, &e)
			for t, v := range e.Tags {
				a.Context["iam:ResourceTag/"+t] = []string{v}
				a.Context["aws:ResourceTag/"+t] = []string{v}
			}
			if e.Boundary != "" {
				a.Context["iam:PermissionsBoundary"] = []string{e.Boundary}
			}
		}
		for _, m := range more {
			m(in, a.Context)
		}
		return []authz.Access{a}
	})
}

// making is the access to a user or role that does not exist yet.
func making[In any](s *Service, resource func(*In) string, boundary func(*In) *string, tags func(*In) []types.Tag) wire.Option {
	return wire.Needs(func(c *wire.Call, in *In) []authz.Access {
		a := authz.Access{Action: "iam:" + c.Op, Resource: "arn:aws:iam::" + s.Account + ":" + resource(in), Context: map[string][]string{}}
		if b := boundary(in); b != nil {
			a.Context["iam:PermissionsBoundary"] = []string{*b}
		}
		if tags := tags(in); len(tags) > 0 {
			tagKeys(a.Context, tags)
			tagging := authz.Access{Action: "iam:Tag" + strings.TrimPrefix(c.Op, "Create"), Resource: a.Resource, Context: a.Context}
			return []authz.Access{a, tagging}
		}
		return []authz.Access{a}
	})
}

func tagKeys(keys map[string][]string, tags []types.Tag) {
	for _, t := range tags {
		keys["aws:RequestTag/"+deref(t.Key)] = []string{deref(t.Value)}
		keys["aws:TagKeys"] = append(keys["aws:TagKeys"], deref(t.Key))
	}
}

func onPolicy[In any](arn func(*In) *string) wire.Option {
	return wire.On(func(_ *wire.Call, in *In) []string { return []string{deref(arn(in))} })
}

// under is the access to a list of users or roles.
func under[In any](s *Service, k *kind, prefix func(*In) *string) wire.Option {
	return wire.On(func(_ *wire.Call, in *In) []string {
		return []string{"arn:aws:iam::" + s.Account + ":" + k.word + path(prefix(in))}
	})
}
