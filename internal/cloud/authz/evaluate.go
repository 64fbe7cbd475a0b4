package authz

import "strings"

// A Source is the kind of policy that decided.
type Source string

// The kinds of policies, as denials name them.
const (
	IdentityBased Source = "identity-based policy"
	ResourceBased Source = "resource-based policy"
	BoundaryBased Source = "permissions boundary"
	SessionBased  Source = "session policy"
)

// A Request is one access with everything that it is judged by.
type Request struct {
	Principal *Principal
	Action    string // "sqs:SendMessage"
	Resource  string // ARN or "*"
	Context   Context

	Identity []*Policy // attached to the user or role, inline or managed
	Boundary *Policy   // permissions boundary; nil: none
	Session  []*Policy // session policies; none: the session is not narrowed
	Policy   *Policy   // of the resource; nil: it has none

	// Foreign says that the resource belongs to another account than the
	// principal: both sides must allow.
	Foreign bool
	// Guarded says that only the resource's policy can open the resource,
	// itself or by leaving it to the account: KMS keys, trust in roles.
	Guarded bool
	// Granted says that a KMS grant allows the access.
	Granted bool
}

// A Decision is the outcome of a [Request].
type Decision struct {
	Allowed  bool
	Explicit bool   // denied by a statement, not for want of one
	Source   Source // what denies or, when allowed, what allows
	Policy   int    // index of the deciding policy among those of its kind
	Sid      string // of the deciding statement, if it has one
}

// verdict is what one policy, or several of a kind, say to a request.
type verdict struct {
	denied  bool
	allowed bond
	policy  int
	sid     string
}

// Evaluate judges a request by the rules of one account: an explicit deny
// wins; else the resource's policy, or the principal's own policies within its
// boundary and session policies, must allow.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
func Evaluate(r *Request) Decision {
	action := strings.ToLower(r.Action)
	resource := r.judge(action, true, r.Policy)
	if resource.denied {
		return deny(ResourceBased, resource, true)
	}
	switch r.Principal.Type {
	case Service, Anonymous:
		if r.Granted || resource.allowed >= namedBond {
			return allow(ResourceBased, resource)
		}
		return deny(ResourceBased, verdict{}, false)
	case Root:
		return r.root(resource)
	}
	identity := r.judge(action, false, r.Identity...)
	boundary, session := r.judge(action, false, r.Boundary), r.judge(action, false, r.Session...)
	switch {
	case identity.denied:
		return deny(IdentityBased, identity, true)
	case boundary.denied:
		return deny(BoundaryBased, boundary, true)
	case session.denied:
		return deny(SessionBased, session, true)
	}
	base, ok := r.base(identity, resource)
	switch {
	case !ok:
		return base
	case base.Source == ResourceBased && resource.allowed == directBond && !r.Foreign:
		return base // nothing narrows what a resource gives to just this user or session
	case r.Boundary != nil && boundary.allowed == noBond:
		return deny(BoundaryBased, verdict{}, false)
	case len(r.Session) > 0 && session.allowed == noBond:
		return deny(SessionBased, verdict{}, false)
	}
	return base
}

// root judges the account's root user, whom only the policies of resources can refuse.
func (r *Request) root(resource verdict) Decision {
	if (r.Guarded || r.Foreign) && resource.allowed == noBond && !r.Granted {
		return deny(ResourceBased, verdict{}, false)
	}
	return allow(IdentityBased, verdict{})
}

// base judges by identity and resource policies alone.
func (r *Request) base(identity, resource verdict) (Decision, bool) {
	own := identity.allowed != noBond
	switch {
	case r.Granted:
		return allow(ResourceBased, verdict{}), true
	case r.Foreign && own && resource.allowed != noBond:
		return allow(IdentityBased, identity), true
	case r.Foreign && !own:
		return deny(IdentityBased, verdict{}, false), false
	case r.Foreign:
		return deny(ResourceBased, verdict{}, false), false
	case resource.allowed >= namedBond:
		return allow(ResourceBased, resource), true
	case r.Guarded && resource.allowed == noBond:
		return deny(ResourceBased, verdict{}, false), false
	case own:
		return allow(IdentityBased, identity), true
	}
	return deny(IdentityBased, verdict{}, false), false
}

func allow(s Source, v verdict) Decision {
	return Decision{Allowed: true, Source: s, Policy: v.policy, Sid: v.sid}
}

func deny(s Source, v verdict, explicit bool) Decision {
	return Decision{Explicit: explicit, Source: s, Policy: v.policy, Sid: v.sid}
}

// judge goes through policies of one kind. The first deny ends it. action is
// that of the request in lower case.
func (r *Request) judge(action string, resource bool, policies ...*Policy) (v verdict) {
	for i, p := range policies {
		if p == nil {
			continue
		}
		for j := range p.Statements {
			s := &p.Statements[j]
			if s.Allow && v.allowed == directBond {
				continue
			}
			b := s.applies(r, action, resource)
			switch {
			case b == noBond:
			case !s.Allow:
				return verdict{denied: true, policy: i, sid: s.Sid}
			case b > v.allowed:
				v = verdict{allowed: b, policy: i, sid: s.Sid}
			}
		}
	}
	return v
}

// applies tells whether the statement is about the request, and how closely
// it names the principal.
func (s *Statement) applies(r *Request, action string, resource bool) bond {
	if matchAny(s.actions, action, r.Context) == s.notActions {
		return noBond
	}
	if s.resources != nil && matchAny(s.resources, r.Resource, r.Context) == s.notResources {
		return noBond
	}
	b := directBond
	if resource {
		if b = s.names(r); b == noBond {
			return noBond
		}
	}
	for i := range s.conditions {
		if !s.conditions[i].holds(r.Context) {
			return noBond
		}
	}
	return b
}

func (s *Statement) names(r *Request) bond {
	switch {
	case s.principals == nil:
		return noBond // a resource policy's statement without a principal is about nobody
	case !s.notPrincipals:
		return s.principals.bond(r.Principal)
	case s.Allow && s.principals.bond(r.Principal) != noBond:
		return noBond // to be named in any way is enough not to be let in
	case !s.Allow && s.principals.spares(r.Principal, r.Boundary != nil):
		return noBond
	}
	return namedBond
}

func matchAny(patterns []pattern, s string, c Context) bool {
	for i := range patterns {
		if patterns[i].match(s, c) {
			return true
		}
	}
	return false
}

// Matching returns the statements of p that are about a request, allowing or
// denying. resource says that p is the policy of a resource, whose statements
// must name the principal.
func (p *Policy) Matching(r *Request, resource bool) []Statement {
	var out []Statement
	action := strings.ToLower(r.Action)
	for i := range p.Statements {
		if p.Statements[i].applies(r, action, resource) != noBond {
			out = append(out, p.Statements[i])
		}
	}
	return out
}

// ContextKeys maps the condition keys that p asks for, in lower case, to the
// way it writes them.
func (p *Policy) ContextKeys() map[string]string {
	keys := map[string]string{}
	note := func(patterns []pattern) {
		for i := range patterns {
			for _, t := range patterns[i].tokens {
				if t.kind == variableToken {
					keys[strings.ToLower(t.text)] = t.text
				}
			}
		}
	}
	for i := range p.Statements {
		s := &p.Statements[i]
		note(s.resources)
		for j := range s.conditions {
			note(s.conditions[j].values)
			keys[s.conditions[j].key] = s.conditions[j].name
		}
	}
	return keys
}
