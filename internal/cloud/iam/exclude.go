package iam

import (
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/authz"
)

const inlinePolicy = string(types.PolicyIdentifierPolicyTypeInline)

// A holding is a policy as a user or role has it.
type holding struct {
	kind   string // a PolicyIdentifierPolicyType
	entity string // inline: "user" or "role"
	holder string // inline: whose it is
	name   string
	arn    string // managed
}

// source is what the simulator calls the policy.
func (h holding) source() string {
	if h.kind == inlinePolicy {
		return h.entity + "_" + h.holder + "_" + h.name
	}
	return h.name
}

// kind says whose policy it is.
func (p *policyRow) kind() string {
	if strings.HasPrefix(p.ARN, "arn:aws:iam::aws:") {
		return string(types.PolicyIdentifierPolicyTypeAwsManaged)
	}
	return string(types.PolicyIdentifierPolicyTypeUserManaged)
}

// documents are the policies of a user or role but those excluded.
func (i *identity) documents(without exclusion) ([]document, error) {
	all, err := documents("IdentityPolicy", i.policies, authz.IdentityPolicy)
	if err != nil {
		return nil, err
	}
	var out []document
	for n, d := range all {
		if !without.excludes(i.holdings[n]) {
			d.name = i.holdings[n].source()
			out = append(out, d)
		}
	}
	return out, nil
}

// An exclusion is the policies that a simulation leaves out.
type exclusion []func(holding) bool

func (e exclusion) excludes(h holding) bool {
	for _, match := range e {
		if match(h) {
			return true
		}
	}
	return false
}

// exclusions reads the identifiers of policies. Those that match none of the
// principal's are no error, malformed ones are.
//
// https://docs.aws.amazon.com/IAM/latest/APIReference/API_PolicyIdentifier.html
func exclusions(list []types.PolicyIdentifier) (exclusion, error) {
	var out exclusion
	for _, x := range list {
		switch x := x.(type) {
		case *types.PolicyIdentifierMemberPolicyType:
			out = append(out, func(h holding) bool { return h.kind == string(x.Value) })
		case *types.PolicyIdentifierMemberPolicyArn:
			prefix, name, ok := strings.Cut(x.Value, ":policy/")
			if !ok || !strings.HasPrefix(prefix, "arn:") || strings.ContainsAny(prefix, "*?") {
				return nil, badInput("Invalid policy ARN in PolicyExclusionList: " + x.Value)
			}
			match, err := wildcard(name)
			if err != nil {
				return nil, err
			}
			out = append(out, func(h holding) bool {
				rest, ok := strings.CutPrefix(h.arn, prefix+":policy/")
				return ok && match(rest)
			})
		case *types.PolicyIdentifierMemberInlinePolicyIdentifier:
			match, err := wildcard(deref(x.Value.AttachmentName))
			if err != nil {
				return nil, err
			}
			out = append(out, func(h holding) bool {
				return h.kind == inlinePolicy && h.entity == string(x.Value.AttachmentType) && h.name == deref(x.Value.PolicyName) && match(h.holder)
			})
		default:
			return nil, badInput("PolicyExclusionList has an identifier of no known type")
		}
	}
	return out, nil
}

// wildcard compiles a name in which one "*" and any number of "?" may stand.
func wildcard(name string) (func(string) bool, error) {
	if name == "" || strings.Count(name, "*") > 1 {
		return nil, badInput("Invalid wildcards in PolicyExclusionList: " + name)
	}
	quoted := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(name))
	return regexp.MustCompile(`^` + quoted + `$`).MatchString, nil
}
