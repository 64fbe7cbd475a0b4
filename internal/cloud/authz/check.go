package authz

import (
	"regexp"
	"strings"
)

// A Kind is what a policy document is for, which decides what must be in it.
type Kind uint8

// The kinds of policy documents.
const (
	IdentityPolicy Kind = iota // attached to users and roles; boundaries and session policies too
	ResourcePolicy             // of queues, topics, buckets, keys, functions
	TrustPolicy                // who may assume a role
)

var vendor = regexp.MustCompile(`^[a-zA-Z0-9-]+$`)

// Check tells whether a policy that parsed may be one of the given kind, and
// returns nil or a [*ParseError] in the words of IAM.
func (p *Policy) Check(kind Kind) error {
	fail := func(reason string) error { return &ParseError{Reason: reason} }
	if kind == IdentityPolicy && p.Version != "2012-10-17" {
		return fail("Policy document must be version 2012-10-17 or greater.")
	}
	if len(p.Statements) == 0 {
		return fail(syntaxText)
	}
	sids := map[string]bool{}
	for i := range p.Statements {
		s := &p.Statements[i]
		if s.Sid != "" && sids[s.Sid] {
			return fail("Statement IDs (SID) in a single policy must be unique.")
		}
		sids[s.Sid] = true
		if reason := s.check(kind); reason != "" {
			return fail(reason)
		}
	}
	return nil
}

func (s *Statement) check(kind Kind) string {
	if len(s.actions) == 0 {
		return "Policy statement must contain actions."
	}
	for _, a := range s.actions {
		if reason := checkAction(a.source, kind); reason != "" {
			return reason
		}
	}
	switch kind {
	case IdentityPolicy:
		if s.principals != nil {
			return "Policy document should not specify a principal."
		}
		if len(s.resources) == 0 {
			return "Policy statement must contain resources."
		}
	case TrustPolicy:
		if s.resources != nil {
			return "Has prohibited field Resource"
		}
		if s.principals == nil {
			return "Missing required field Principal"
		}
		if s.notPrincipals && s.Allow {
			return "Allow with NotPrincipal is not allowed."
		}
	case ResourcePolicy:
		if s.principals == nil {
			return "Missing required field Principal"
		}
	}
	for _, r := range s.resources {
		if reason := checkResource(r.source); reason != "" && kind == IdentityPolicy {
			return reason
		}
	}
	return ""
}

func checkAction(a string, kind Kind) string {
	if a == "*" && kind != TrustPolicy {
		return ""
	}
	service, name, ok := strings.Cut(a, ":")
	switch {
	case kind == TrustPolicy && !strings.HasPrefix(strings.ToLower(a), "sts:"):
		return "AssumeRole policy may only specify STS AssumeRole actions."
	case !ok:
		return "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	case strings.Contains(name, ":"):
		return "Actions/Condition can contain only one colon."
	case !vendor.MatchString(service):
		return "Vendor " + service + " is not valid"
	}
	return ""
}

var partition = regexp.MustCompile(`^(aws|aws-cn|aws-us-gov|\*)$`)

func checkResource(r string) string {
	if r == "*" || strings.HasPrefix(r, "${") || strings.HasPrefix(r, "*") {
		return ""
	}
	parts := strings.SplitN(r, ":", 6)
	if len(parts) < 3 || parts[0] != "arn" {
		if found := strings.Contains(r, "*"); parts[0] == "arn" && found {
			return ""
		}
		return "Resource " + r + ` must be in ARN format or "*".`
	}
	if !partition.MatchString(parts[1]) && !strings.ContainsAny(parts[1], "*?$") {
		return `Partition "` + parts[1] + `" is not valid for resource "` + r + `".`
	}
	if strings.ContainsAny(parts[2], "*?") && len(parts) > 3 {
		return "Resource vendor must be fully qualified and cannot contain regexes."
	}
	if parts[2] == "iam" && len(parts) > 3 && parts[3] != "" {
		return "IAM resource " + r + " cannot contain region information."
	}
	if parts[2] == "s3" && len(parts) > 3 && parts[3] != "" && parts[3] != "*" && !strings.Contains(r, "accesspoint") {
		return "Resource " + r + " can not contain region information."
	}
	return ""
}
