package resource

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"miniforge/internal/graph"
)

// permissionAPI is what a Permission asks of Lambda.
type permissionAPI interface {
	GetPolicy(context.Context, *lambda.GetPolicyInput, ...func(*lambda.Options)) (*lambda.GetPolicyOutput, error)
	AddPermission(context.Context, *lambda.AddPermissionInput, ...func(*lambda.Options)) (*lambda.AddPermissionOutput, error)
	RemovePermission(context.Context, *lambda.RemovePermissionInput, ...func(*lambda.Options)) (*lambda.RemovePermissionOutput, error)
	listTagsAPI
}

var _ permissionAPI = (*lambda.Client)(nil)

// A Permission lets an HTTP API invoke a function through an alias. It lies on
// the alias: a permission on the bare function does not cover alias callers.
type Permission struct {
	Lambda permissionAPI
	Sid    string
	Alias  *Alias
	API    *HTTPAPI
}

func (p *Permission) ID() string              { return p.Alias.ID() + "/" + p.Sid }
func (p *Permission) Needs() []graph.Resource { return []graph.Resource{p.Alias, p.API} }

const apiGatewayPrincipal = "apigateway.amazonaws.com"

// statement is that of the policy which AddPermission writes.
func (p *Permission) statement() Statement {
	return Statement{
		Sid: p.Sid, Effect: "Allow", Principal: Service(apiGatewayPrincipal),
		Action: []string{"lambda:InvokeFunction"}, Resource: []string{p.Alias.ARN()},
		Condition: Conditions{"ArnLike": {"AWS:SourceArn": {p.API.ExecutionARN()}}},
	}
}

// Policy is the policy of the alias, which has this permission and no other.
func (p *Permission) Policy() Policy { return Policy{p.statement()} }

func (p *Permission) Observe(ctx context.Context) (graph.Observation, error) {
	var policy string
	var owned bool
	err := together(ctx, func(ctx context.Context) error {
		out, err := p.Lambda.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: &p.Alias.Function.Name, Qualifier: &p.Alias.Name})
		if err == nil {
			policy = deref(out.Policy)
		}
		return err
	}, func(ctx context.Context) (err error) {
		owned, err = functionOwned(ctx, p.Lambda, p.Alias.Function)
		return err
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read policy of", p.Alias.ID(), err)
	}
	statements, err := bySid(policy)
	if err != nil {
		return graph.Observation{}, fmt.Errorf("parse policy of %s: %w", p.Alias.ID(), err)
	}
	if _, exists := statements[p.Sid]; !exists {
		return graph.Observation{}, nil
	}
	d, err := p.compare(statements)
	return graph.Observation{Exists: true, Owned: owned, Drift: d}, err
}

// bySid returns the statements of a policy.
func bySid(policy string) (map[string]string, error) {
	var document struct{ Statement []json.RawMessage }
	if err := json.Unmarshal([]byte(policy), &document); err != nil {
		return nil, err
	}
	statements := map[string]string{}
	for _, raw := range document.Statement {
		var s struct{ Sid string }
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, err
		}
		statements[s.Sid] = string(raw)
	}
	return statements, nil
}

// othersField begins the field of a statement that is not declared.
const othersField = "Statement."

func (p *Permission) compare(statements map[string]string) ([]graph.Diff, error) {
	want, err := json.Marshal(p.statement())
	if err != nil {
		return nil, fmt.Errorf("encode permission %s: %w", p.ID(), err)
	}
	var d drift
	for _, sid := range slices.Sorted(maps.Keys(statements)) {
		if sid == p.Sid {
			d.json("Statement", string(want), statements[sid])
		} else {
			d.add(othersField+sid, "", statements[sid])
		}
	}
	return d, nil
}

func (p *Permission) Create(ctx context.Context) error {
	action, principal, source := "lambda:InvokeFunction", apiGatewayPrincipal, p.API.ExecutionARN()
	_, err := p.Lambda.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: &p.Alias.Function.Name, Qualifier: &p.Alias.Name, StatementId: &p.Sid,
		Action: &action, Principal: &principal, SourceArn: &source,
	})
	return failed("add permission", p.ID(), err)
}

// Update replaces the statement, as AddPermission does not overwrite, and
// removes those that others have added.
func (p *Permission) Update(ctx context.Context, diffs []graph.Diff) error {
	for _, d := range diffs {
		if other, ok := strings.CutPrefix(d.Field, othersField); ok {
			if err := p.remove(ctx, other); err != nil {
				return err
			}
			continue
		}
		if err := p.Delete(ctx); err != nil {
			return err
		}
		if err := p.Create(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *Permission) Delete(ctx context.Context) error { return p.remove(ctx, p.Sid) }

func (p *Permission) remove(ctx context.Context, sid string) error {
	_, err := p.Lambda.RemovePermission(ctx, &lambda.RemovePermissionInput{
		FunctionName: &p.Alias.Function.Name, Qualifier: &p.Alias.Name, StatementId: &sid,
	})
	return deleted("permission "+p.Alias.ID()+"/"+sid, err)
}
