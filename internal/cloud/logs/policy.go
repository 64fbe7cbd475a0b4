package logs

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// maxPolicies is how many resource policies an account has in a region.
const maxPolicies = 10

type policyRow struct {
	Document string `json:"document"`
	Updated  int64  `json:"updated"`
}

func (s *Service) registerPolicies(api *wire.API) {
	wire.Handle(api, s.PutResourcePolicy, wire.Members("PolicyDocument 1..51200"))
	wire.Handle(api, s.DeleteResourcePolicy)
	wire.Handle(api, s.DescribeResourcePolicies, wire.Members("NextToken 1..", "Limit 1..50", "PolicyScope ACCOUNT|RESOURCE"))
}

// PutResourcePolicy lets services write to groups of the account.
func (s *Service) PutResourcePolicy(ctx context.Context, in *sdk.PutResourcePolicyInput) (*sdk.PutResourcePolicyOutput, error) {
	if in.ResourceArn != nil {
		return nil, wire.Errorf("ValidationException", "Policies on single resources are not supported: leave out resourceArn.")
	}
	if in.PolicyName == nil || *in.PolicyName == "" || in.PolicyDocument == nil {
		return nil, invalid("Policy name and policy document must be specified.")
	}
	p, err := authz.Parse(*in.PolicyDocument)
	if err == nil {
		err = p.Check(authz.ResourcePolicy)
	}
	if err != nil {
		return nil, invalid("Invalid Policy Document: " + err.Error())
	}
	row := policyRow{Document: *in.PolicyDocument, Updated: time.Now().UnixMilli()}
	region := wire.CallOf(ctx).Region
	out := &sdk.PutResourcePolicyOutput{ResourcePolicy: describePolicy(*in.PolicyName, row)}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		n := 0
		for r, err := range policies.Prefix(tx, region+"/") {
			if err != nil {
				return err
			}
			if r.Key != region+"/"+*in.PolicyName {
				n++
			}
		}
		if n >= maxPolicies {
			return &types.LimitExceededException{Message: new("Resource limit exceeded.")}
		}
		return policies.Put(tx, region+"/"+*in.PolicyName, row)
	})
}

// DeleteResourcePolicy removes a policy.
func (s *Service) DeleteResourcePolicy(ctx context.Context, in *sdk.DeleteResourcePolicyInput) (*sdk.DeleteResourcePolicyOutput, error) {
	name := aws.ToString(in.PolicyName)
	key := wire.CallOf(ctx).Region + "/" + name
	return &sdk.DeleteResourcePolicyOutput{}, s.DB.Update(ctx, func(tx *store.Tx) error {
		if _, ok, err := policies.Get(tx, key); err != nil || !ok {
			if err == nil {
				err = &types.ResourceNotFoundException{Message: new("Policy with name [" + name + "] does not exist.")}
			}
			return err
		}
		return policies.Delete(tx, key)
	})
}

// DescribeResourcePolicies lists the policies of the account.
func (s *Service) DescribeResourcePolicies(ctx context.Context, in *sdk.DescribeResourcePoliciesInput) (*sdk.DescribeResourcePoliciesOutput, error) {
	after, err := openToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	limit := int(aws.ToInt32(in.Limit))
	if limit == 0 {
		limit = 50
	}
	out := &sdk.DescribeResourcePoliciesOutput{ResourcePolicies: []types.ResourcePolicy{}}
	if in.PolicyScope == types.PolicyScopeResource {
		return out, nil
	}
	prefix := wire.CallOf(ctx).Region + "/"
	return out, s.DB.View(func(tx *store.Tx) error {
		for r, err := range policies.Range(tx, prefix+after, store.PrefixEnd(prefix)) {
			name := strings.TrimPrefix(r.Key, prefix)
			switch {
			case err != nil:
				return err
			case name == after:
				continue
			case len(out.ResourcePolicies) == limit:
				out.NextToken = sealToken(*out.ResourcePolicies[limit-1].PolicyName)
				return nil
			}
			out.ResourcePolicies = append(out.ResourcePolicies, *describePolicy(name, r.Value))
		}
		return nil
	})
}

func describePolicy(name string, p policyRow) *types.ResourcePolicy {
	return &types.ResourcePolicy{PolicyName: &name, PolicyDocument: &p.Document, LastUpdatedTime: &p.Updated, PolicyScope: types.PolicyScopeAccount}
}

// PolicyTable is the table that ResourcePolicy reads: while it does not change,
// neither do policies.
const PolicyTable = string(policies)

// ResourcePolicy is all the account's policies of the ARN's region as one
// document: each may speak of any group.
func (s *Service) ResourcePolicy(_ context.Context, arn string) (string, error) {
	p := strings.SplitN(arn, ":", 5)
	if len(p) < 5 {
		return "", nil
	}
	var statements []json.RawMessage
	err := s.DB.View(func(tx *store.Tx) error {
		for r, err := range policies.Prefix(tx, p[3]+"/") {
			if err != nil {
				return err
			}
			own, err := statementsOf(r.Value.Document)
			if err != nil {
				return err
			}
			statements = append(statements, own...)
		}
		return nil
	})
	if err != nil || statements == nil {
		return "", err
	}
	b, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	return string(b), err
}

// statementsOf reads a document's statements, of which a single one need not be in a list.
func statementsOf(document string) ([]json.RawMessage, error) {
	var d struct{ Statement json.RawMessage }
	if err := json.Unmarshal([]byte(document), &d); err != nil {
		return nil, err
	}
	if strings.HasPrefix(strings.TrimSpace(string(d.Statement)), "[") {
		var all []json.RawMessage
		err := json.Unmarshal(d.Statement, &all)
		return all, err
	}
	return []json.RawMessage{d.Statement}, nil
}
