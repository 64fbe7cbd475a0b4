package resource

import (
	"context"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// policyKeeper is a Lambda that has one policy.
type policyKeeper struct{ statements []Statement }

func (k *policyKeeper) GetPolicy(context.Context, *lambda.GetPolicyInput, ...func(*lambda.Options)) (*lambda.GetPolicyOutput, error) {
	return &lambda.GetPolicyOutput{Policy: new(Policy(k.statements).String())}, nil
}

func (k *policyKeeper) AddPermission(_ context.Context, in *lambda.AddPermissionInput, _ ...func(*lambda.Options)) (*lambda.AddPermissionOutput, error) {
	k.statements = append(k.statements, Statement{
		Sid: *in.StatementId, Effect: "Allow", Principal: Service(*in.Principal), Action: []string{*in.Action}, Resource: []string{"arn:f:live"},
		Condition: Conditions{"ArnLike": {"AWS:SourceArn": {*in.SourceArn}}},
	})
	return &lambda.AddPermissionOutput{}, nil
}

func (k *policyKeeper) RemovePermission(_ context.Context, in *lambda.RemovePermissionInput, _ ...func(*lambda.Options)) (*lambda.RemovePermissionOutput, error) {
	k.statements = slices.DeleteFunc(k.statements, func(s Statement) bool { return s.Sid == *in.StatementId })
	return &lambda.RemovePermissionOutput{}, nil
}

func (k *policyKeeper) ListTags(context.Context, *lambda.ListTagsInput, ...func(*lambda.Options)) (*lambda.ListTagsOutput, error) {
	return &lambda.ListTagsOutput{}, nil
}

// TestPermissionIsTheOnlyOne changes the policy of an alias, and has it put
// back: what others have added goes.
func TestPermissionIsTheOnlyOne(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func([]Statement) []Statement
		want  []string
	}{
		"as declared": {func(s []Statement) []Statement { return s }, nil},
		"widened":     {func(s []Statement) []Statement { s[0].Condition = nil; return s }, []string{"Statement"}},
		"another": {func(s []Statement) []Statement {
			return append(s, Statement{Sid: "any", Effect: "Allow", Principal: map[string]string{"AWS": "*"}, Action: []string{"lambda:*"}, Resource: []string{"arn:f:live"}})
		}, []string{"Statement.any"}},
	} {
		t.Run(name, func(t *testing.T) {
			keeper := &policyKeeper{}
			p := &Permission{Lambda: keeper, Sid: "http-api", Alias: &Alias{Name: "live", Function: &Function{Name: "f", ARN: "arn:f"}}, API: &HTTPAPI{}}
			keeper.statements = tt.spoil(p.Policy())
			seen, err := p.Observe(t.Context())
			if err != nil || !seen.Exists || !slices.Equal(fields(seen.Drift), tt.want) {
				t.Fatalf("drift %v, %v; want %v", seen.Drift, err, tt.want)
			}
			if err := p.Update(t.Context(), seen.Drift); err != nil {
				t.Fatal(err)
			}
			if seen, err = p.Observe(t.Context()); err != nil || len(seen.Drift) > 0 {
				t.Errorf("after the update: drift %v, %v", seen.Drift, err)
			}
		})
	}
}
