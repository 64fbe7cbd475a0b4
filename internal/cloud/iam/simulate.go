package iam

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerSimulator(api *wire.API) {
	common := wire.Members("ActionNames!", "ActionNames[] 3..128", "ResourceArns[] 1..2048", "ResourcePolicy 1..131072", "CallerArn 1..2048",
		markerRule, maxRule, "ResourceOwner 1..2048", "ResourceHandlingOption 1..64", "ContextEntries[].ContextKeyName 5..256")
	wire.Handle(api, s.SimulatePrincipalPolicy, wire.On(func(_ *wire.Call, in *sdk.SimulatePrincipalPolicyInput) []string {
		return []string{*in.PolicySourceArn}
	}), wire.Members("PolicySourceArn! 20..2048"), common)
	wire.Handle(api, s.SimulateCustomPolicy, wire.Members("PolicyInputList!"), common)
}

// A simulation is what both operations of the simulator come down to.
type simulation struct {
	documents  []document
	boundaries []document
	resource   *document // policy of every resource
	owner      string    // account of the resources; "": the caller's
	caller     authz.Principal
	context    authz.Keys
	actions    []string
	resources  []string
}

// A document is a policy with what the answer calls it.
type document struct {
	name   string
	text   string
	policy *authz.Policy
}

func documents(prefix string, texts []string, k authz.Kind) ([]document, error) {
	var out []document
	for i, t := range texts {
		p, err := authz.Parse(t)
		if err == nil {
			err = p.Check(k)
		}
		if err != nil {
			return nil, badInput(fmt.Sprintf("Invalid policy document in %s.%d: %s", prefix, i+1, err))
		}
		out = append(out, document{fmt.Sprintf("%s.%d", prefix, i+1), t, p})
	}
	return out, nil
}

// SimulatePrincipalPolicy judges actions by the policies of a user or role.
func (s *Service) SimulatePrincipalPolicy(_ context.Context, in *sdk.SimulatePrincipalPolicyInput) (*sdk.SimulatePrincipalPolicyOutput, error) {
	source := *in.PolicySourceArn
	i, err := s.byARN(source)
	if err != nil {
		return nil, err
	}
	if i == nil {
		if !strings.HasPrefix(source, "arn:aws:iam::") {
			return nil, badInput("Invalid Entity Arn: " + source + " does not clearly define entity type and name.")
		}
		name := source[strings.LastIndexByte(source, '/')+1:]
		if strings.Contains(source, ":user/") {
			return nil, userKind.missing(name)
		}
		return nil, roleKind.missing(name)
	}
	without, err := exclusions(in.PolicyExclusionList)
	if err != nil {
		return nil, err
	}
	own, err := i.documents(without)
	if err != nil {
		return nil, err
	}
	boundaries := in.PermissionsBoundaryPolicyInputList
	if len(boundaries) == 0 && i.boundary != "" && !without.excludes(holding{kind: string(types.PolicyIdentifierPolicyTypePermissionBoundary), arn: i.Boundary}) {
		boundaries = []string{i.boundary}
	}
	sim, err := s.simulation(&sdk.SimulateCustomPolicyInput{
		PolicyInputList: in.PolicyInputList, PermissionsBoundaryPolicyInputList: boundaries, ResourcePolicy: in.ResourcePolicy, ResourceOwner: in.ResourceOwner,
		ContextEntries: in.ContextEntries, ActionNames: in.ActionNames, ResourceArns: in.ResourceArns,
	})
	if err != nil {
		return nil, err
	}
	sim.documents = append(own, sim.documents...)
	switch {
	case in.CallerArn != nil:
		sim.caller, err = user(*in.CallerArn)
	case strings.Contains(source, ":user/"):
		sim.caller, err = user(source)
	case in.ResourcePolicy != nil:
		err = badInput("CallerArn is required when ResourcePolicy is specified and PolicySourceArn is not the ARN of a user.")
	default: // any session of the role
		sim.caller = authz.Principal{Type: authz.AssumedRole, RoleARN: source, Account: s.Account}
	}
	if err != nil {
		return nil, err
	}
	p, err := sim.page(in.Marker, in.MaxItems)
	return &sdk.SimulatePrincipalPolicyOutput{EvaluationResults: p.items, IsTruncated: p.truncated, Marker: p.marker}, err
}

// SimulateCustomPolicy judges actions by the policies in the request.
func (s *Service) SimulateCustomPolicy(_ context.Context, in *sdk.SimulateCustomPolicyInput) (*sdk.SimulateCustomPolicyOutput, error) {
	sim, err := s.simulation(in)
	if err != nil {
		return nil, err
	}
	switch {
	case in.CallerArn != nil:
		sim.caller, err = user(*in.CallerArn)
	case in.ResourcePolicy != nil:
		err = badInput("CallerArn is required when ResourcePolicy is specified.")
	default:
		sim.caller = authz.Principal{Type: authz.User, Account: s.Account}
	}
	if err != nil {
		return nil, err
	}
	p, err := sim.page(in.Marker, in.MaxItems)
	return &sdk.SimulateCustomPolicyOutput{EvaluationResults: p.items, IsTruncated: p.truncated, Marker: p.marker}, err
}

// simulation reads what both operations have in common.
func (s *Service) simulation(in *sdk.SimulateCustomPolicyInput) (sim simulation, err error) {
	if sim.documents, err = documents("PolicyInputList", in.PolicyInputList, authz.IdentityPolicy); err != nil {
		return sim, err
	}
	if len(in.PermissionsBoundaryPolicyInputList) > 1 {
		return sim, badInput("Only one permissions boundary policy can be specified.")
	}
	if sim.boundaries, err = documents("PermissionsBoundaryPolicyInputList", in.PermissionsBoundaryPolicyInputList, authz.IdentityPolicy); err != nil {
		return sim, err
	}
	if in.ResourcePolicy != nil {
		d, err := documents("ResourcePolicy", []string{*in.ResourcePolicy}, authz.ResourcePolicy)
		if err != nil {
			return sim, err
		}
		d[0].name = "ResourcePolicy"
		sim.resource = &d[0]
	}
	if in.ResourceOwner != nil {
		owner := accountARN.FindStringSubmatch(*in.ResourceOwner)
		if owner == nil {
			return sim, badInput("Invalid ResourceOwner: " + *in.ResourceOwner)
		}
		sim.owner = owner[1]
	}
	sim.context = authz.Keys{}
	for _, e := range in.ContextEntries {
		sim.context[strings.ToLower(deref(e.ContextKeyName))] = e.ContextKeyValues
	}
	for _, a := range in.ActionNames {
		if !strings.Contains(a, ":") || strings.ContainsAny(a, "*?") {
			return sim, badInput("Invalid Input Action: " + a)
		}
	}
	sim.actions, sim.resources = in.ActionNames, in.ResourceArns
	if len(sim.resources) == 0 {
		sim.resources = []string{"*"}
	}
	return sim, nil
}

var (
	accountARN = regexp.MustCompile(`^arn:aws:iam::(\d{12}):root$`)
	userARN    = regexp.MustCompile(`^arn:aws:iam::(\d{12}):user/[\w+=,.@/-]+$`)
)

// user is the user that an ARN names, the only kind of caller that can be
// specified.
func user(arn string) (authz.Principal, error) {
	m := userARN.FindStringSubmatch(arn)
	if m == nil {
		return authz.Principal{}, badInput("Invalid CallerArn: " + arn)
	}
	return authz.Principal{Type: authz.User, ARN: arn, Account: m[1]}, nil
}

// page judges each action on each resource and cuts out the page after marker.
func (sim *simulation) page(marker *string, size *int32) (page[types.EvaluationResult], error) {
	type pair struct{ key, action, resource string }
	var all []pair
	for i, a := range sim.actions {
		for j, r := range sim.resources {
			all = append(all, pair{fmt.Sprintf("%06d/%06d", i, j), a, r})
		}
	}
	cut, err := paginate(all, func(p pair) string { return p.key }, marker, size)
	out := page[types.EvaluationResult]{items: []types.EvaluationResult{}, truncated: cut.truncated, marker: cut.marker}
	for _, p := range cut.items {
		out.items = append(out.items, sim.result(p.action, p.resource))
	}
	return out, err
}

// A recorder is a Context that notes which keys were asked for in vain.
type recorder struct {
	authz.Keys
	missing map[string]bool
}

// Lookup implements [authz.Context].
func (r recorder) Lookup(key string) ([]string, bool) {
	v, ok := r.Keys.Lookup(key)
	if !ok {
		r.missing[key] = true
	}
	return v, ok
}

func (sim *simulation) result(action, resource string) types.EvaluationResult {
	rec := recorder{sim.context, map[string]bool{}}
	r := authz.Request{Principal: &sim.caller, Action: action, Resource: resource, Context: rec}
	for _, d := range sim.documents {
		r.Identity = append(r.Identity, d.policy)
	}
	if sim.resource != nil {
		r.Policy = sim.resource.policy
		r.Guarded = authz.Guarded(action, resource)
		r.Foreign = sim.owner != "" && sim.owner != sim.caller.Account
	}
	out := types.EvaluationResult{EvalActionName: &action, EvalResourceName: &resource, EvalDecision: types.PolicyEvaluationDecisionTypeImplicitDeny}
	if len(sim.boundaries) > 0 {
		r.Boundary = sim.boundaries[0].policy
		within := authz.Evaluate(&authz.Request{Principal: r.Principal, Action: action, Resource: resource, Context: rec, Identity: []*authz.Policy{r.Boundary}})
		out.PermissionsBoundaryDecisionDetail = &types.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: within.Allowed}
	}
	d := authz.Evaluate(&r)
	switch {
	case d.Allowed:
		out.EvalDecision = types.PolicyEvaluationDecisionTypeAllowed
	case d.Explicit:
		out.EvalDecision = types.PolicyEvaluationDecisionTypeExplicitDeny
	}
	out.MatchedStatements = sim.matched(&r, d)
	out.MissingContextValues = sim.names(rec.missing)
	return out
}

// names are condition keys in the way that the policies write them.
func (sim *simulation) names(keys map[string]bool) []string {
	written := map[string]string{}
	for _, d := range slices.Concat(sim.documents, sim.boundaries) {
		maps.Copy(written, d.policy.ContextKeys())
	}
	if sim.resource != nil {
		maps.Copy(written, sim.resource.policy.ContextKeys())
	}
	out := []string{}
	for k := range keys {
		out = append(out, cmp.Or(written[k], k))
	}
	slices.Sort(out)
	return out
}

// matched names the statements that led to a decision: those that deny, or else those that allow.
func (sim *simulation) matched(r *authz.Request, d authz.Decision) []types.Statement {
	out := []types.Statement{}
	if !d.Allowed && !d.Explicit {
		return out
	}
	add := func(docs []document, resource bool) {
		for _, doc := range docs {
			for _, st := range doc.policy.Matching(r, resource) {
				if st.Allow == d.Allowed {
					out = append(out, types.Statement{
						SourcePolicyId: &doc.name, SourcePolicyType: "IAM Policy", StartPosition: position(doc.text, st.Start), EndPosition: position(doc.text, st.End),
					})
				}
			}
		}
	}
	add(sim.documents, false)
	if d.Explicit {
		add(sim.boundaries, false)
	}
	if sim.resource != nil {
		add([]document{*sim.resource}, true)
	}
	return out
}

// position is a place in a document as line and column, both from 1.
func position(text string, offset int) *types.Position {
	before := text[:min(offset, len(text))]
	return &types.Position{
		Line: int32(strings.Count(before, "\n")) + 1, Column: int32(len(before) - strings.LastIndexByte(before, '\n')),
	}
}
