package sts

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

// maxPacked bounds session policies and tags together, in bytes before packing.
const maxPacked = 8192

func (s *Service) registerAssume(api *wire.API) {
	wire.Handle(api, s.AssumeRole, wire.Needs(assumeAccess), wire.Members(
		"RoleArn! 20..2048", `RoleSessionName! 2..64 [\w+=,.@-]*`, "DurationSeconds 900..43200", `ExternalId 2..1224 [\w+=,.@:\/-]*`,
		"Policy 1..2048", "PolicyArns 0..10", "PolicyArns[].Arn 20..2048", "Tags 0..50", "Tags[].Key! 1..128", "Tags[].Value! 0..256",
		"TransitiveTagKeys 0..50", `SerialNumber 9..256 [\w+=/:,.@-]*`, `TokenCode 6..6 [\d]*`, `SourceIdentity 2..64 [\w+=,.@-]*`))
}

// assumeAccess is what the role's trust policy is asked.
//
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssecuritytokenservice.html
func assumeAccess(c *wire.Call, in *sdk.AssumeRoleInput) []authz.Access {
	if c.Principal.Type == authz.Root {
		return nil // refused by the operation, whatever the role trusts
	}
	keys := map[string][]string{"sts:RoleSessionName": {*in.RoleSessionName}}
	if in.ExternalId != nil {
		keys["sts:ExternalId"] = []string{*in.ExternalId}
	}
	if in.SourceIdentity != nil {
		keys["sts:SourceIdentity"] = []string{*in.SourceIdentity}
	}
	for _, t := range in.Tags {
		keys["aws:RequestTag/"+deref(t.Key)] = []string{deref(t.Value)}
		keys["aws:TagKeys"] = append(keys["aws:TagKeys"], deref(t.Key))
	}
	if len(in.TransitiveTagKeys) > 0 {
		keys["sts:TransitiveTagKeys"] = in.TransitiveTagKeys
	}
	all := []authz.Access{{Action: "sts:AssumeRole", Resource: *in.RoleArn, Context: keys}}
	if len(in.Tags) > 0 {
		all = append(all, authz.Access{Action: "sts:TagSession", Resource: *in.RoleArn, Context: keys})
	}
	if in.SourceIdentity != nil {
		all = append(all, authz.Access{Action: "sts:SetSourceIdentity", Resource: *in.RoleArn, Context: keys})
	}
	return all
}

// AssumeRole issues temporary credentials of a role. Whether the caller may is
// decided by the role's trust policy, before this is called.
func (s *Service) AssumeRole(ctx context.Context, in *sdk.AssumeRoleInput) (*sdk.AssumeRoleOutput, error) {
	who := wire.CallOf(ctx).Principal
	if who.Type == authz.Root {
		return nil, wire.Errorf("AccessDenied", "Roles may not be assumed by root accounts.")
	}
	if !strings.HasPrefix(*in.RoleArn, "arn:") || !strings.Contains(*in.RoleArn, ":role/") {
		return nil, validation(*in.RoleArn + " is invalid")
	}
	if in.SerialNumber != nil || in.TokenCode != nil {
		return nil, wire.Errorf("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
	}
	id, longest, ok, err := s.Role(ctx, *in.RoleArn)
	if err != nil {
		return nil, err
	}
	if !ok { // as for a role that does not trust the caller
		return nil, &authz.DeniedError{Principal: who, Action: "sts:AssumeRole", Resource: *in.RoleArn}
	}
	d, err := duration(in.DurationSeconds, longest, who)
	if err != nil {
		return nil, err
	}
	role := (*in.RoleArn)[strings.LastIndexByte(*in.RoleArn, '/')+1:]
	p := authz.Principal{
		Type: authz.AssumedRole, Account: s.Account, RoleARN: *in.RoleArn, ID: id + ":" + *in.RoleSessionName,
		ARN: "arn:aws:sts::" + s.Account + ":assumed-role/" + role + "/" + *in.RoleSessionName,
	}
	if p.SessionPolicy, err = s.sessionPolicies(ctx, in); err != nil {
		return nil, err
	}
	if p.Tags, p.Transitive, err = sessionTags(in, who); err != nil {
		return nil, err
	}
	c, err := s.issue(p, d)
	if err != nil {
		return nil, err
	}
	return &sdk.AssumeRoleOutput{
		Credentials: c, AssumedRoleUser: &types.AssumedRoleUser{Arn: &p.ARN, AssumedRoleId: &p.ID},
		PackedPolicySize: packed(&p), SourceIdentity: in.SourceIdentity,
	}, nil
}

func duration(seconds *int32, longest time.Duration, who authz.Principal) (time.Duration, error) {
	if seconds == nil {
		return time.Hour, nil
	}
	d := time.Duration(*seconds) * time.Second
	switch {
	case who.Type == authz.AssumedRole && d > time.Hour:
		return 0, validation("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	case d > longest:
		return 0, validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return d, nil
}

// sessionPolicies are the documents that narrow the session.
func (s *Service) sessionPolicies(ctx context.Context, in *sdk.AssumeRoleInput) (docs []string, err error) {
	if in.Policy != nil {
		docs = append(docs, *in.Policy)
	}
	for _, a := range in.PolicyArns {
		doc, ok, err := s.PolicyDocument(ctx, deref(a.Arn))
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, &types.MalformedPolicyDocumentException{Message: new("Policy ARN " + deref(a.Arn) + " does not exist or is not attachable.")}
		}
		docs = append(docs, doc)
	}
	total := 0
	for _, d := range docs {
		p, err := authz.Parse(d)
		if err == nil {
			err = p.Check(authz.IdentityPolicy)
		}
		if e, bad := errors.AsType[*authz.ParseError](err); bad {
			return nil, &types.MalformedPolicyDocumentException{Message: &e.Reason}
		}
		if total += len(d); total > maxPacked {
			return nil, &types.PackedPolicyTooLargeException{Message: new("The total packed size of the session policies and session tags exceeds the limit")}
		}
	}
	return docs, nil
}

// sessionTags are the tags of the session: those of the request, and those that
// the caller's session hands on.
func sessionTags(in *sdk.AssumeRoleInput, who authz.Principal) (tags map[string]string, transitive []string, err error) {
	for _, k := range who.Transitive {
		if tags == nil {
			tags = map[string]string{}
		}
		tags[k] = who.Tags[k]
	}
	transitive = slices.Clone(who.Transitive)
	seen := map[string]bool{}
	for _, t := range in.Tags {
		k := deref(t.Key)
		low := strings.ToLower(k)
		switch {
		case seen[low]:
			return nil, nil, validation("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		case strings.HasPrefix(low, "aws:"):
			return nil, nil, validation("Tag keys beginning with aws: are reserved")
		case slices.ContainsFunc(who.Transitive, func(h string) bool { return strings.EqualFold(h, k) }):
			return nil, nil, validation("One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
		seen[low] = true
		if tags == nil {
			tags = map[string]string{}
		}
		tags[k] = deref(t.Value)
	}
	for _, k := range in.TransitiveTagKeys {
		if !seen[strings.ToLower(k)] {
			return nil, nil, validation("The specified transitive tag key must be included in the requested tags.")
		}
		transitive = append(transitive, k)
	}
	return tags, transitive, nil
}

// packed is the share of the space for policies and tags in use, in percent;
// nil if there are none.
func packed(p *authz.Principal) *int32 {
	n := 0
	for _, d := range p.SessionPolicy {
		n += len(d)
	}
	for _, k := range slices.Sorted(maps.Keys(p.Tags)) {
		n += len(k) + len(p.Tags[k])
	}
	if n == 0 {
		return nil
	}
	return new(int32(min(100, 1+n*100/maxPacked)))
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
