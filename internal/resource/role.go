package resource

import (
	"context"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"miniforge/internal/graph"
)

// roleAPI is what a Role asks of IAM.
type roleAPI interface {
	GetRole(context.Context, *iam.GetRoleInput, ...func(*iam.Options)) (*iam.GetRoleOutput, error)
	CreateRole(context.Context, *iam.CreateRoleInput, ...func(*iam.Options)) (*iam.CreateRoleOutput, error)
	DeleteRole(context.Context, *iam.DeleteRoleInput, ...func(*iam.Options)) (*iam.DeleteRoleOutput, error)
	UpdateAssumeRolePolicy(context.Context, *iam.UpdateAssumeRolePolicyInput, ...func(*iam.Options)) (*iam.UpdateAssumeRolePolicyOutput, error)
	GetRolePolicy(context.Context, *iam.GetRolePolicyInput, ...func(*iam.Options)) (*iam.GetRolePolicyOutput, error)
	PutRolePolicy(context.Context, *iam.PutRolePolicyInput, ...func(*iam.Options)) (*iam.PutRolePolicyOutput, error)
	DeleteRolePolicy(context.Context, *iam.DeleteRolePolicyInput, ...func(*iam.Options)) (*iam.DeleteRolePolicyOutput, error)
	ListRolePolicies(context.Context, *iam.ListRolePoliciesInput, ...func(*iam.Options)) (*iam.ListRolePoliciesOutput, error)
	ListAttachedRolePolicies(context.Context, *iam.ListAttachedRolePoliciesInput, ...func(*iam.Options)) (*iam.ListAttachedRolePoliciesOutput, error)
	DetachRolePolicy(context.Context, *iam.DetachRolePolicyInput, ...func(*iam.Options)) (*iam.DetachRolePolicyOutput, error)
}

var _ roleAPI = (*iam.Client)(nil)

// InlinePolicy is the name of the one inline policy that a [Role] has.
const InlinePolicy = "grants"

// A Role is an IAM role with one inline policy and nothing else: a policy that
// somebody adds or attaches is drift, as it widens what was granted.
type Role struct {
	IAM   roleAPI
	Owner Owner
	Name  string
	ARN   string
	Path  string
	Trust Policy
	// Grants is called once the key exists, whose ARN policies name.
	Grants func() Policy
	Key    *Key
}

func (r *Role) ID() string              { return "iam/" + r.Name }
func (r *Role) Needs() []graph.Resource { return []graph.Resource{r.Key} }

func (r *Role) Observe(ctx context.Context) (graph.Observation, error) {
	var role *types.Role
	var grants string
	var inline, attached []string
	err := together(ctx, func(ctx context.Context) error {
		out, err := r.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &r.Name})
		if err == nil {
			role = out.Role
		}
		return err
	}, func(ctx context.Context) error {
		name := InlinePolicy
		out, err := r.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &r.Name, PolicyName: &name})
		if err == nil {
			grants = unescape(out.PolicyDocument)
		}
		return absentIsNil(err)
	}, func(ctx context.Context) (err error) {
		inline, err = r.inline(ctx)
		return absentIsNil(err)
	}, func(ctx context.Context) (err error) {
		attached, err = r.attached(ctx)
		return absentIsNil(err)
	})
	if gone(err) {
		return graph.Observation{}, nil
	} else if err != nil {
		return graph.Observation{}, failed("read role", r.Name, err)
	}
	tags := tagMap(role.Tags, func(t types.Tag) (*string, *string) { return t.Key, t.Value })
	var d drift
	d.replace("Path", r.Path, deref(role.Path))
	d.json("AssumeRolePolicy", r.Trust.String(), unescape(role.AssumeRolePolicyDocument))
	d.json("InlinePolicy", r.Grants().String(), grants)
	d.add("OtherPolicies", "", strings.Join(append(inline, attached...), ", "))
	return graph.Observation{Exists: true, Owned: r.Owner.owns(tags), Drift: d}, nil
}

// unescape decodes a policy document, which IAM gives back URL-encoded.
func unescape(document *string) string {
	if text, err := url.QueryUnescape(deref(document)); err == nil && strings.HasPrefix(deref(document), "%") {
		return text
	}
	return deref(document)
}

// inline lists the inline policies that are not ours.
func (r *Role) inline(ctx context.Context) (names []string, err error) {
	pages := iam.NewListRolePoliciesPaginator(r.IAM, &iam.ListRolePoliciesInput{RoleName: &r.Name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range page.PolicyNames {
			if n != InlinePolicy {
				names = append(names, n)
			}
		}
	}
	return names, nil
}

// attached lists the ARNs of attached managed policies.
func (r *Role) attached(ctx context.Context) (arns []string, err error) {
	pages := iam.NewListAttachedRolePoliciesPaginator(r.IAM, &iam.ListAttachedRolePoliciesInput{RoleName: &r.Name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range page.AttachedPolicies {
			arns = append(arns, deref(p.PolicyArn))
		}
	}
	return arns, nil
}

func (r *Role) Create(ctx context.Context) error {
	trust := r.Trust.String()
	_, err := r.IAM.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: &r.Name, Path: &r.Path, AssumeRolePolicyDocument: &trust,
		Tags: tagList(r.Owner.Tags(), func(k, v *string) types.Tag { return types.Tag{Key: k, Value: v} }),
	})
	if err != nil {
		return failed("create role", r.Name, err)
	}
	return r.putGrants(ctx)
}

func (r *Role) putGrants(ctx context.Context) error {
	name, document := InlinePolicy, r.Grants().String()
	_, err := r.IAM.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &r.Name, PolicyName: &name, PolicyDocument: &document})
	if gone(err) { // IAM reads may lag its writes
		return notYet("put policy of role", r.Name, err)
	}
	return failed("put policy of role", r.Name, err)
}

func (r *Role) Update(ctx context.Context, diffs []graph.Diff) error {
	if drifted(diffs, "AssumeRolePolicy") {
		trust := r.Trust.String()
		_, err := r.IAM.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &r.Name, PolicyDocument: &trust})
		if err != nil {
			return failed("update trust of role", r.Name, err)
		}
	}
	if drifted(diffs, "OtherPolicies") {
		if err := r.strip(ctx, false); err != nil {
			return err
		}
	}
	if drifted(diffs, "InlinePolicy") {
		return r.putGrants(ctx)
	}
	return nil
}

// strip removes the policies that are not ours, and ours too if all is set.
func (r *Role) strip(ctx context.Context, all bool) error {
	inline, err := r.inline(ctx)
	if err != nil {
		return absentIsNil(failed("list policies of role", r.Name, err))
	}
	if all {
		inline = append(inline, InlinePolicy)
	}
	for _, name := range inline {
		_, err := r.IAM.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &r.Name, PolicyName: &name})
		if err := deleted("policy "+name+" of role "+r.Name, err); err != nil {
			return err
		}
	}
	attached, err := r.attached(ctx)
	if err != nil {
		return absentIsNil(failed("list attached policies of role", r.Name, err))
	}
	for _, arn := range attached {
		_, err := r.IAM.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &r.Name, PolicyArn: &arn})
		if err := deleted("attachment of "+arn+" to role "+r.Name, err); err != nil {
			return err
		}
	}
	return nil
}

func (r *Role) Delete(ctx context.Context) error {
	if err := r.strip(ctx, true); err != nil {
		return err
	}
	_, err := r.IAM.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &r.Name})
	return deleted("role "+r.Name, err)
}
