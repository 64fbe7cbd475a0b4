package authz

import (
	"regexp"
	"slices"
	"strings"
)

// principals is a compiled Principal or NotPrincipal element.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
type principals struct {
	everyone bool
	aws      []string // ARNs, account ids, unique ids
	services []string
	other    []string // Federated, CanonicalUser: nobody here is one
}

// A bond says how closely a statement of a resource policy names a principal,
// which decides what else the principal needs.
type bond uint8

const (
	noBond bond = iota
	// accountBond: the principal's account is named. That leaves it to the
	// account's identity policies.
	accountBond
	// namedBond: the principal's role. No identity policy is needed, but
	// boundaries and session policies still narrow.
	namedBond
	// directBond: everyone, or the user, the session or the service itself.
	// Boundaries and session policies narrow only by what they deny.
	directBond
)

var accountID = regexp.MustCompile(`^\d{12}$`)

func (c *compiler) principals(v any) *principals {
	p := &principals{}
	switch v := v.(type) {
	case string:
		if v != "*" {
			c.fail(`Invalid principal in policy: "*" is the only principal without a kind`)
		}
		p.everyone = true
	case object:
		if len(v.members) == 0 {
			c.fail("Missing required field Principal cannot be empty!")
		}
		for _, m := range v.members {
			c.principalsOf(p, m)
		}
	default:
		c.fail(syntaxText)
	}
	return p
}

func (c *compiler) principalsOf(p *principals, m member) {
	for _, s := range c.texts(m.value, false) {
		switch {
		case m.name == "AWS" && s == "*":
			p.everyone = true
		case m.name == "AWS":
			if !validPrincipal(s) {
				c.fail(`Invalid principal in policy: "AWS":"%s"`, s)
			}
			p.aws = append(p.aws, s)
		case m.name == "Service":
			if strings.ContainsAny(s, "*?") || !strings.Contains(s, ".") {
				c.fail(`Invalid principal in policy: "SERVICE":"%s"`, s)
			}
			p.services = append(p.services, s)
		case m.name == "Federated" || m.name == "CanonicalUser":
			p.other = append(p.other, s)
		default:
			c.fail(syntaxText)
		}
	}
}

var principalARN = regexp.MustCompile(`^arn:aws[a-z-]*:(iam|sts)::\d{12}:(root|(user|role|assumed-role|federated-user)/[\w+=,.@/-]+)$`)

var uniqueID = regexp.MustCompile(`^A[A-Z]{3}[A-Z0-9]{12,28}$`)

func validPrincipal(s string) bool {
	return accountID.MatchString(s) || principalARN.MatchString(s) || uniqueID.MatchString(s)
}

// bond tells how the element names who.
func (ps *principals) bond(who *Principal) bond {
	best := noBond
	if ps.everyone {
		return directBond
	}
	if who.Type == Service {
		if slices.Contains(ps.services, who.Service) {
			return directBond
		}
		return noBond
	}
	for _, s := range ps.aws {
		switch {
		case s == who.ARN || s == who.ID && s != who.Account:
			return directBond
		case who.Type == AssumedRole && (s == who.RoleARN || s == roleID(who)):
			best = max(best, namedBond)
		case who.Account != "" && (s == who.Account || isRoot(s, who.Account)):
			best = max(best, accountBond)
		}
	}
	return best
}

// isRoot tells whether s is the ARN of the account's root user.
func isRoot(s, account string) bool {
	s, isARN := strings.CutPrefix(s, "arn:aws:iam::")
	id, root, ok := strings.Cut(s, ":")
	return isARN && ok && id == account && root == "root"
}

func roleID(who *Principal) string {
	id, _, _ := strings.Cut(who.ID, ":")
	return id
}

// spares tells whether a Deny with this NotPrincipal element leaves who alone.
// A principal is several: the account, the role, the session, or the account
// and the user. Each one that is not named is denied, and who with it. A user
// or role with a permissions boundary is never spared.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
func (ps *principals) spares(who *Principal, bounded bool) bool {
	account := slices.Contains(ps.aws, who.Account) || slices.Contains(ps.aws, "arn:aws:iam::"+who.Account+":root")
	self := slices.Contains(ps.aws, who.ARN) || slices.Contains(ps.aws, who.ID)
	switch {
	case ps.everyone:
		return true
	case who.Type == Service:
		return slices.Contains(ps.services, who.Service)
	case who.Type == Root:
		return account
	case who.Type == AssumedRole:
		return !bounded && account && self && (slices.Contains(ps.aws, who.RoleARN) || slices.Contains(ps.aws, roleID(who)))
	}
	return !bounded && account && self
}

// Principals lists the ARNs, account ids and unique ids that the policy's
// Principal elements name, for services that check that they exist.
func (p *Policy) Principals() []string {
	var all []string
	for i := range p.Statements {
		if ps := p.Statements[i].principals; ps != nil {
			all = append(all, ps.aws...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
