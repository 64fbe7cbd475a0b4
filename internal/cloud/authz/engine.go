package authz

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// An Engine authorises requests. Its functions fetch what a request is judged
// by; each may be nil. All fields are set before the first use.
type Engine struct {
	// Account owns the resources whose ARNs name no account (S3).
	Account string
	// Identity returns the documents of the policies that apply to a user or
	// role session by itself, and that of its permissions boundary ("": none).
	Identity func(ctx context.Context, p Principal) (policies []string, boundary string, err error)
	// PrincipalTags returns the tags of a user or role (aws:PrincipalTag/...).
	PrincipalTags func(ctx context.Context, p Principal) (map[string]string, error)
	// Resource returns the policy of a resource, "" if it has none. For a
	// role that is its trust policy.
	Resource func(ctx context.Context, arn string) (document string, err error)
	// ResourceTags returns the tags of a resource (aws:ResourceTag/...). It is
	// asked only when a policy refers to them.
	ResourceTags func(ctx context.Context, arn string) (map[string]string, error)
	// Grants tells whether a KMS grant allows an access.
	Grants func(ctx context.Context, p Principal, a Access) (bool, error)

	policies cache
}

// Common is what condition keys say about a request as a whole.
type Common struct {
	Region    string
	SourceIP  string
	UserAgent string
	Referer   string
}

// Authorize judges all accesses of a request. The first refusal is returned as
// a [*DeniedError]; other errors say that it could not be judged.
func (e *Engine) Authorize(ctx context.Context, p Principal, common Common, accesses []Access) error {
	if len(accesses) == 0 {
		return nil
	}
	s := &situation{ctx: ctx, engine: e, principal: p, common: common}
	r := Request{Principal: &s.principal, Context: s}
	if err := e.own(ctx, &r); err != nil {
		return err
	}
	for i := range accesses {
		s.access = &accesses[i]
		d, err := s.judge(r)
		if err != nil {
			return err
		}
		if !d.Allowed {
			return &DeniedError{Principal: p, Action: accesses[i].Action, Resource: accesses[i].Resource, Decision: d}
		}
	}
	return nil
}

// own fills in what a principal brings along.
func (e *Engine) own(ctx context.Context, r *Request) error {
	p := r.Principal
	if (p.Type == User || p.Type == AssumedRole) && e.Identity != nil {
		docs, boundary, err := e.Identity(ctx, *p)
		if err != nil {
			return fmt.Errorf("read policies of %s: %w", p.ARN, err)
		}
		if r.Identity, err = e.compileAll(docs); err != nil {
			return err
		}
		if boundary != "" {
			if r.Boundary, err = e.Compile(boundary); err != nil {
				return err
			}
		}
	}
	var err error
	r.Session, err = e.compileAll(p.SessionPolicy)
	return err
}

// judge judges the situation's access. r is what is the same for all accesses.
func (s *situation) judge(r Request) (Decision, error) {
	e, a := s.engine, s.access
	s.owner = owner(a.Resource, e.Account)
	r.Action, r.Resource = a.Action, a.Resource
	r.Foreign = s.principal.Account != s.owner && s.principal.Type != Service
	r.Guarded = Guarded(a.Action, a.Resource)
	// A role's trust policy is about assuming it, not about managing it.
	if e.Resource != nil && a.Resource != "*" && a.Resource != "" && !strings.HasPrefix(a.Action, "iam:") {
		doc, err := e.Resource(s.ctx, a.Resource)
		if err != nil {
			return Decision{}, fmt.Errorf("read policy of %s: %w", a.Resource, err)
		}
		if doc != "" {
			if r.Policy, err = e.Compile(doc); err != nil {
				return Decision{}, err
			}
		}
	}
	d := Evaluate(&r)
	if !d.Allowed && !d.Explicit && e.Grants != nil && strings.HasPrefix(a.Action, "kms:") {
		ok, err := e.Grants(s.ctx, s.principal, *a)
		if err != nil {
			return Decision{}, fmt.Errorf("read grants of %s: %w", a.Resource, err)
		}
		if ok {
			r.Granted = true
			d = Evaluate(&r)
		}
	}
	return d, s.err
}

// Guarded tells whether identity policies alone cannot allow an action on a
// resource (see [Request]).
func Guarded(action, resource string) bool {
	return strings.HasPrefix(action, "kms:") && strings.Contains(resource, ":key/") ||
		strings.HasPrefix(action, "sts:") && strings.Contains(resource, ":role/")
}

// owner is the account that a resource belongs to.
func owner(arn, account string) string {
	rest := arn
	for range 4 {
		_, after, ok := strings.Cut(rest, ":")
		if !ok {
			return account
		}
		rest = after
	}
	if id, _, _ := strings.Cut(rest, ":"); id != "" && id != "aws" {
		return id
	}
	return account
}

// Compile parses a document, or returns what an earlier call made of the same text.
func (e *Engine) Compile(document string) (*Policy, error) { return e.policies.get(document) }

func (e *Engine) compileAll(docs []string) ([]*Policy, error) {
	if len(docs) == 0 {
		return nil, nil
	}
	out := make([]*Policy, len(docs))
	for i, d := range docs {
		p, err := e.Compile(d)
		if err != nil {
			return nil, err
		}
		out[i] = p
	}
	return out, nil
}

// cacheSize bounds the compiled policies that are kept; a stack has about 30.
const cacheSize = 4096

// A cache holds compiled policies by their text.
type cache struct {
	mu       sync.RWMutex
	policies map[string]*Policy
}

func (c *cache) get(document string) (*Policy, error) {
	c.mu.RLock()
	p := c.policies[document]
	c.mu.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := Parse(document)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.policies == nil || len(c.policies) >= cacheSize {
		c.policies = map[string]*Policy{}
	}
	c.policies[document] = p
	return p, nil
}

// A situation is the Context of a request's accesses, one after the other: keys
// are worked out when a policy asks.
type situation struct {
	ctx       context.Context
	engine    *Engine
	principal Principal
	common    Common
	access    *Access // the one that is judged
	owner     string  // of its resource
	err       error   // of a lookup that failed; the decision is void then

	room [4]string // for the values of keys
	used int
}

var _ Context = (*situation)(nil)

// Lookup implements [Context].
func (s *situation) Lookup(key string) ([]string, bool) {
	if v, ok := s.brought(key); ok {
		return v, true
	}
	name, ok := strings.CutPrefix(key, "aws:")
	if !ok {
		return nil, false
	}
	if kind, tag, ok := strings.Cut(name, "/"); ok {
		return s.tag(kind, tag)
	}
	if v, ok := s.ofPrincipal(name); ok {
		return v, v != nil
	}
	return s.ofRequest(name)
}

// brought are the keys that the service gave.
func (s *situation) brought(key string) ([]string, bool) {
	if v, ok := s.access.Context[key]; ok {
		return v, true
	}
	for k, v := range s.access.Context {
		if len(k) == len(key) && strings.EqualFold(k, key) {
			return v, true
		}
	}
	return nil, false
}

func (s *situation) tag(kind, tag string) ([]string, bool) {
	var tags map[string]string
	var err error
	switch {
	case kind == "principaltag":
		if v, ok := fold(s.principal.Tags, tag); ok { // session tags win
			return s.value(v), true
		}
		if s.engine.PrincipalTags != nil && (s.principal.Type == User || s.principal.Type == AssumedRole) {
			tags, err = s.engine.PrincipalTags(s.ctx, s.principal)
		}
	case kind == "resourcetag" && s.engine.ResourceTags != nil && s.access.Resource != "*":
		tags, err = s.engine.ResourceTags(s.ctx, s.access.Resource)
	}
	if err != nil {
		s.err = fmt.Errorf("read tags: %w", err)
		return nil, false
	}
	v, ok := fold(tags, tag)
	return s.value(v), ok
}

// value is the one value of a key. Few keys are asked for in a request: their
// values find room in the situation itself.
func (s *situation) value(x string) []string {
	if s.used == len(s.room) {
		return []string{x}
	}
	s.room[s.used] = x
	s.used++
	return s.room[s.used-1 : s.used : s.used]
}

// fold looks a tag up as condition keys name it: in any case.
func fold(tags map[string]string, key string) (string, bool) {
	for k, v := range tags {
		if strings.EqualFold(k, key) {
			return v, true
		}
	}
	return "", false
}

// ofPrincipal are the keys that say who asks. known, with no values, means
// that this principal has no such key.
func (s *situation) ofPrincipal(name string) (v []string, known bool) {
	p := &s.principal
	isService := p.Type == Service
	one := func(ok bool, x string) ([]string, bool) {
		if !ok || x == "" {
			return nil, true
		}
		return s.value(x), true
	}
	switch name {
	case "principalarn":
		if p.Type == AssumedRole {
			return one(true, p.RoleARN)
		}
		return one(!isService, p.ARN)
	case "principalaccount":
		return one(!isService, p.Account)
	case "principaltype":
		return one(!isService, string(p.Type))
	case "userid":
		return one(!isService, p.ID)
	case "username":
		return one(p.Type == User, p.ARN[strings.LastIndexByte(p.ARN, '/')+1:])
	case "principalisawsservice":
		return one(true, boolText(isService))
	case "principalservicename", "principalservicenameslist":
		return one(isService, p.Service)
	case "sourcearn":
		return one(isService, p.Source)
	case "sourceaccount":
		return one(isService, p.SourceAccount)
	case "viaawsservice":
		return one(true, boolText(p.Via != ""))
	case "calledvia", "calledviafirst", "calledvialast":
		return one(p.Via != "", p.Via+".amazonaws.com")
	case "tokenissuetime":
		return one(!p.Issued.IsZero(), p.Issued.UTC().Format(time.RFC3339))
	case "multifactorauthpresent":
		return one(p.Type == AssumedRole, "false")
	}
	return nil, false
}

func (s *situation) ofRequest(name string) ([]string, bool) {
	direct := s.principal.Type != Service && s.principal.Via == ""
	one := func(ok bool, x string) ([]string, bool) {
		if !ok || x == "" {
			return nil, false
		}
		return s.value(x), true
	}
	switch name {
	case "securetransport":
		// The cloud listens on loopback only: what nobody else can read counts
		// as secure, so that policies that demand TLS hold here as on AWS.
		return one(true, "true")
	case "sourceip":
		return one(direct, s.common.SourceIP)
	case "requestedregion":
		return one(true, s.common.Region)
	case "currenttime":
		return one(true, time.Now().UTC().Format(time.RFC3339))
	case "epochtime":
		return one(true, fmt.Sprint(time.Now().Unix()))
	case "useragent":
		return one(direct, s.common.UserAgent)
	case "referer":
		return one(direct, s.common.Referer)
	case "resourceaccount":
		return one(s.access.Resource != "*", s.owner)
	}
	return nil, false
}

func boolText(b bool) string {
	if b {
		return "true"
	}
	return "false"
}
