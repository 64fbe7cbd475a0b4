package lambda

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// maxPolicy is the most that a resource policy takes, in bytes.
const maxPolicy = 20 << 10

// A policyRow is the resource policy of a function, version or alias.
type policyRow struct {
	Revision   string      `json:"revision"`
	Statements []statement `json:"statements"`
}

type statement struct {
	Sid       string                       `json:"Sid"`
	Effect    string                       `json:"Effect"`
	Principal any                          `json:"Principal"`
	Action    string                       `json:"Action"`
	Resource  string                       `json:"Resource"`
	Condition map[string]map[string]string `json:"Condition,omitempty"`
}

func (p *policyRow) document() string {
	b, _ := json.Marshal(struct {
		Version   string      `json:"Version"`
		ID        string      `json:"Id"`
		Statement []statement `json:"Statement"`
	}{"2012-10-17", "default", p.Statements}) // plain data
	return string(b)
}

func (s *Service) registerPolicies(api *wire.API) {
	wire.Bind(api, "POST /2015-03-31/functions/{FunctionName}/policy", s.AddPermission, wire.Status(201), wire.QueryParam("Qualifier", "Qualifier"),
		wire.Members(nameRule, qualifierRule, "StatementId! 1..100 ([a-zA-Z0-9-_]+)", "Action! (lambda:[*]|lambda:[a-zA-Z]+|[*])", "Principal! [^\\s]+",
			"SourceAccount 0..12 \\d{12}", "EventSourceToken 0..256 [a-zA-Z0-9._\\-]+", "PrincipalOrgID 12..34 o-[a-z0-9]{10,32}", "FunctionUrlAuthType NONE|AWS_IAM"),
		wire.Needs(func(c *wire.Call, in *sdk.AddPermissionInput) []authz.Access {
			keys := map[string][]string{"lambda:Principal": {*in.Principal}}
			if in.FunctionUrlAuthType != "" {
				keys["lambda:FunctionUrlAuthType"] = []string{string(in.FunctionUrlAuthType)}
			}
			return []authz.Access{{Action: "lambda:AddPermission", Resource: asked(c, in.FunctionName, in.Qualifier).full(), Context: keys}}
		}))
	wire.Bind(api, "GET /2015-03-31/functions/{FunctionName}/policy", s.GetPolicy, wire.QueryParam("Qualifier", "Qualifier"), wire.Members(nameRule, qualifierRule),
		on(func(in *sdk.GetPolicyInput) (f, q *string) { return in.FunctionName, in.Qualifier }))
	wire.Bind(api, "DELETE /2015-03-31/functions/{FunctionName}/policy/{StatementId}", s.RemovePermission, wire.Status(204),
		wire.QueryParam("Qualifier", "Qualifier"), wire.QueryParam("RevisionId", "RevisionId"), wire.Members(nameRule, qualifierRule, "StatementId! 1..100 ([a-zA-Z0-9-_.]+)"),
		wire.Needs(func(c *wire.Call, in *sdk.RemovePermissionInput) []authz.Access {
			n := asked(c, in.FunctionName, in.Qualifier)
			a := authz.Access{Action: "lambda:RemovePermission", Resource: n.full()}
			if of := s.permitted(n, *in.StatementId); of != "" {
				a.Context = map[string][]string{"lambda:Principal": {of}}
			}
			return []authz.Access{a}
		}))
}

var accountID = regexp.MustCompile(`^\d{12}$`)

// principalOf is the principal of a statement by what was given for it.
func principalOf(text string) (any, error) {
	switch {
	case text == "*":
		return "*", nil
	case accountID.MatchString(text):
		return map[string]string{"AWS": "arn:aws:iam::" + text + ":root"}, nil
	case strings.HasPrefix(text, "arn:aws:iam::") || strings.HasPrefix(text, "arn:aws:sts::"):
		return map[string]string{"AWS": text}, nil
	case strings.HasSuffix(text, ".amazonaws.com"):
		return map[string]string{"Service": text}, nil
	}
	return nil, badValue("The provided principal was invalid. Please check the principal and try again.")
}

func newStatement(n name, in *sdk.AddPermissionInput) (st statement, err error) {
	st = statement{Sid: *in.StatementId, Effect: "Allow", Action: *in.Action, Resource: n.full(), Condition: map[string]map[string]string{}}
	if st.Principal, err = principalOf(*in.Principal); err != nil {
		return st, err
	}
	add := func(operator, key string, value *string) {
		if value == nil || *value == "" {
			return
		}
		if st.Condition[operator] == nil {
			st.Condition[operator] = map[string]string{}
		}
		st.Condition[operator][key] = *value
	}
	add("StringEquals", "AWS:SourceAccount", in.SourceAccount)
	add("ArnLike", "AWS:SourceArn", in.SourceArn)
	add("StringEquals", "lambda:EventSourceToken", in.EventSourceToken)
	add("StringEquals", "aws:PrincipalOrgID", in.PrincipalOrgID)
	add("StringEquals", "lambda:FunctionUrlAuthType", (*string)(ptrIf(in.FunctionUrlAuthType)))
	return st, nil
}

func ptrIf[S ~string](s S) *S {
	if s == "" {
		return nil
	}
	return &s
}

// policyOf reads the policy of what a name asks for, which must exist.
func policyOf(tx *store.Tx, n name, revision *string) (p policyRow, ok bool, err error) {
	if n.qualifier == latest {
		return p, false, badValue("We currently do not support adding policies for $LATEST.")
	}
	if _, err := findQualified(tx, n); err != nil {
		return p, false, err
	}
	if p, ok, err = policies.Get(tx, n.key()+"/"+n.qualifier); err != nil {
		return p, false, err
	}
	if revision != nil && *revision != p.Revision {
		return p, ok, &types.PreconditionFailedException{
			Message: new("The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id"), Type: new("User"),
		}
	}
	return p, ok, nil
}

// AddPermission lets a principal use a function, version or alias.
func (s *Service) AddPermission(ctx context.Context, in *sdk.AddPermissionInput) (*sdk.AddPermissionOutput, error) {
	n, err := lookup(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	st, err := newStatement(n, in)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	return &sdk.AddPermissionOutput{Statement: new(string(text))}, s.DB.Update(ctx, func(tx *store.Tx) error {
		p, _, err := policyOf(tx, n, in.RevisionId)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(p.Statements, func(x statement) bool { return x.Sid == st.Sid }) {
			return conflict("The statement id (" + st.Sid + ") provided already exists. Please provide a new statement id, or remove the existing statement.")
		}
		p.Statements, p.Revision = append(p.Statements, st), uuid.NewString()
		if len(p.document()) > maxPolicy {
			return &types.PolicyLengthExceededException{Message: new("The final policy size is bigger than the limit (20480)."), Type: new("User")}
		}
		return policies.Put(tx, n.key()+"/"+n.qualifier, p)
	})
}

// GetPolicy tells a resource policy.
func (s *Service) GetPolicy(ctx context.Context, in *sdk.GetPolicyInput) (*sdk.GetPolicyOutput, error) {
	n, err := lookup(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	out := &sdk.GetPolicyOutput{}
	return out, s.DB.View(func(tx *store.Tx) error {
		p, ok, err := policyOf(tx, n, nil)
		if err != nil {
			return err
		}
		if !ok {
			return notFound("The resource you requested does not exist.")
		}
		out.Policy, out.RevisionId = new(p.document()), &p.Revision
		return nil
	})
}

// RemovePermission takes a statement out of a resource policy.
func (s *Service) RemovePermission(ctx context.Context, in *sdk.RemovePermissionInput) (*sdk.RemovePermissionOutput, error) {
	n, err := lookup(ctx, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	return &sdk.RemovePermissionOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		p, ok, err := policyOf(tx, n, in.RevisionId)
		if err != nil {
			return err
		}
		if !ok {
			return notFound("No policy is associated with the given resource.")
		}
		i := slices.IndexFunc(p.Statements, func(x statement) bool { return x.Sid == *in.StatementId })
		if i < 0 {
			return notFound("Statement " + *in.StatementId + " is not found in resource policy.")
		}
		p.Statements, p.Revision = slices.Delete(p.Statements, i, i+1), uuid.NewString()
		if len(p.Statements) == 0 {
			return policies.Delete(tx, n.key()+"/"+n.qualifier)
		}
		return policies.Put(tx, n.key()+"/"+n.qualifier, p)
	})
}

// permitted is the principal of a statement, "" if there is none.
func (s *Service) permitted(n name, sid string) (principal string) {
	_ = s.DB.View(func(tx *store.Tx) error {
		p, _, err := policies.Get(tx, n.key()+"/"+n.qualifier)
		for _, st := range p.Statements {
			if st.Sid == sid {
				principal = principalText(st.Principal)
			}
		}
		return err // the operation will say so
	})
	return principal
}

// principalText is a principal as a policy names it, without its type.
func principalText(p any) string {
	switch p := p.(type) {
	case string:
		return p
	case map[string]any: // as it was read
		for _, v := range p {
			text, _ := v.(string)
			return text
		}
	}
	return ""
}

// PolicyTable is the table that ResourcePolicy reads: while it does not change,
// neither do policies.
const PolicyTable = string(policies)

// ResourcePolicy is the policy of a function, version or alias by its ARN.
func (s *Service) ResourcePolicy(_ context.Context, arn string) (doc string, err error) {
	region, fn, qualifier := split(arn)
	if qualifier == latest {
		qualifier = ""
	}
	n := name{region: region, account: s.Account, function: fn, qualifier: qualifier}
	err = s.DB.View(func(tx *store.Tx) error {
		p, ok, err := policies.Get(tx, n.key()+"/"+n.qualifier)
		if ok {
			doc = p.document()
		}
		return err
	})
	return doc, err
}
