package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"miniforge/internal/access"
	"miniforge/internal/check"
)

// policyChecks hold every policy that is in force against the one that the
// stack declares: nothing may be missing, and nothing may have been added.
// They read and compare, so they need no endpoint that enforces anything.
func (r *Run) policyChecks() []check.Check {
	declared := once(func(ctx context.Context) ([]access.Policy, error) { return access.Declared(ctx, r.stack) })
	var checks []check.Check
	for _, h := range r.policyHolders() {
		checks = append(checks, check.Check{
			ID: "permissions." + strings.ReplaceAll(string(h.Kind), " ", "-") + "/" + h.Name, Title: h.String() + " has the permissions that it needs, and no other",
			Run: func(ctx context.Context, t *check.T) error { return r.permissions(ctx, t, h, declared) },
		})
	}
	return append(checks,
		// Other checks may have roles of their own for a while.
		check.Check{ID: "permissions.holders", Title: "Nothing of the stack has policies but what is declared", Run: r.holders, Last: true},
		check.Check{ID: "permissions.grants", Title: "No grant lets anybody but AWS's services use the key", Run: r.grants},
	)
}

// policyHolders lists what has policies, or might have.
func (r *Run) policyHolders() []access.Holder {
	n := r.stack.Names
	holders := []access.Holder{
		{Kind: access.Key, Name: n.KeyAlias()}, {Kind: access.Queue, Name: n.Notifications()}, {Kind: access.Queue, Name: n.DeadLetters()},
		{Kind: access.Topic, Name: n.Topic()}, {Kind: access.Bucket, Name: n.Bucket()}, {Kind: access.Bus, Name: n.Bus()},
		{Kind: access.LogDelivery, Name: n.Name},
	}
	for _, f := range n.Functions() {
		holders = append(holders, access.Holder{Kind: access.Function, Name: f})
	}
	for _, role := range n.Roles() {
		holders = append(holders, access.Holder{Kind: access.Role, Name: role})
	}
	return holders
}

func (r *Run) permissions(ctx context.Context, t *check.T, h access.Holder, declared func(context.Context) ([]access.Policy, error)) error {
	inForce, err := access.Read(ctx, r.stack, h)
	if err != nil {
		return err
	}
	if h.Kind == access.LogDelivery {
		return r.logDelivery(t, h, inForce)
	}
	if h.Kind == access.Role {
		if left, err := r.roleLeftOut(ctx, h.Name, len(inForce) == 0); err != nil || left {
			return err
		}
		if err := r.boundary(ctx, t, h.Name); err != nil {
			return err
		}
	}
	all, err := declared(ctx)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(slices.Clone(all), func(p access.Policy) bool { return p.Holder != h })
	for _, want := range all {
		i := slices.IndexFunc(inForce, func(p access.Policy) bool { return p.Part == want.Part })
		got := access.Policy{Holder: h, Part: want.Part, Document: "{}"}
		if i >= 0 {
			got = inForce[i]
			inForce = slices.Delete(inForce, i, i+1)
		}
		if err := claimPolicy(t, want, got); err != nil {
			return err
		}
	}
	return claimNoOther(t, h, inForce)
}

// claimPolicy claims each statement of a declared policy, and that there is
// nothing else.
func claimPolicy(t *check.T, want, got access.Policy) error {
	declared, err := access.Parse(want.Document)
	if err != nil {
		return fmt.Errorf("policy declared for %s: %w", want, err)
	}
	inForce, err := access.Parse(got.Document)
	if err != nil {
		return fmt.Errorf("%s: %w", got, err)
	}
	missing, additional := access.Compare(declared, inForce)
	claimExactly(t, want.String(), fmt.Sprintf("the %d that are declared", len(declared)), missing, additional)
	return nil
}

// claimExactly claims that nothing is missing, nor too much, and names what is.
func claimExactly(t *check.T, whose, want string, missing, additional []access.Permission) {
	for _, text := range access.Texts(missing) {
		t.Claim(whose+" permission", text, text+" is missing", false)
	}
	for _, text := range access.Texts(additional) {
		t.Claim(whose+" permission", "nothing that is not declared", text+" is too much", false)
	}
	got := want
	if len(missing)+len(additional) > 0 {
		got = fmt.Sprintf("%d missing, %d too much", len(missing), len(additional))
	}
	t.Claim(whose+" permissions", want, got, got == want)
}

// claimNoOther claims that a holder has no policies but those declared.
func claimNoOther(t *check.T, h access.Holder, others []access.Policy) error {
	var texts []string
	for _, p := range others {
		permissions, err := access.Parse(p.Document)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		texts = append(texts, p.Part+" says "+strings.Join(access.Texts(permissions), ", "))
	}
	t.None(h.String()+": policies that are not declared", texts)
	return nil
}

// boundary claims that a role has none: the stack sets none, and one that
// somebody else sets takes permissions away.
func (r *Run) boundary(ctx context.Context, t *check.T, name string) error {
	out, err := r.stack.Clients.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return fmt.Errorf("read role %s: %w", name, err)
	}
	arn := "none"
	if b := out.Role.PermissionsBoundary; b != nil {
		arn = aws.ToString(b.PermissionsBoundaryArn)
	}
	check.Equal(t, "role "+name+" permissions boundary", "none", arn)
	return nil
}

// roleLeftOut reports an absent role of a pipeline that was left out as a
// skip. Otherwise an absent role is judged: all that it may do is missing.
func (r *Run) roleLeftOut(ctx context.Context, name string, absent bool) (bool, error) {
	n := r.stack.Names
	delivery := []string{n.PipelineRole(), n.BuildProject(), n.DeployProject(), n.DeploymentRole()}
	if !absent || !slices.Contains(delivery, name) {
		return false, nil
	}
	for _, role := range delivery {
		policies, err := access.Read(ctx, r.stack, access.Holder{Kind: access.Role, Name: role})
		if err != nil || len(policies) > 0 {
			return false, err
		}
	}
	return true, fmt.Errorf("%w: the stack was made without its pipeline", check.ErrSkip)
}

func (r *Run) logDelivery(t *check.T, h access.Holder, inForce []access.Policy) error {
	var all []access.Permission
	for _, p := range inForce {
		permissions, err := access.Parse(p.Document)
		if err != nil {
			return fmt.Errorf("%s policy %s: %w", h, p.Part, err)
		}
		all = append(all, permissions...)
	}
	missing, additional := access.Delivered(r.stack, all)
	claimExactly(t, h.String(), "to write to the groups of the workflow and the API", missing, additional)
	return nil
}

// holders claims that what the cloud lists as the stack's, and has a policy, is
// something that the stack declares.
func (r *Run) holders(ctx context.Context, t *check.T) error {
	listed, err := access.Holders(ctx, r.stack)
	if err != nil {
		return err
	}
	known := r.policyHolders()
	var strangers []string
	for _, h := range listed {
		if slices.Contains(known, h) {
			continue
		}
		if h.Kind == access.Role {
			if guest, err := r.guests.isGuest(ctx, h.Name); err != nil {
				return err
			} else if guest {
				continue
			}
		}
		policies, err := access.Read(ctx, r.stack, h)
		if err != nil {
			return err
		}
		if len(policies) > 0 {
			strangers = append(strangers, h.String())
		}
	}
	t.None("what has policies and is not declared", strangers)
	return nil
}

// grants looks for a way to the key that no policy shows. DynamoDB makes a
// grant for each table, to itself.
func (r *Run) grants(ctx context.Context, t *check.T) error {
	key, err := r.describeKey(ctx)
	if err != nil {
		return err
	}
	var others []string
	pages := kms.NewListGrantsPaginator(r.stack.Clients.KMS, &kms.ListGrantsInput{KeyId: key.KeyId})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return fmt.Errorf("list grants of key: %w", err)
		}
		for _, g := range page.Grants {
			grantee := aws.ToString(g.GranteePrincipal)
			if grantee == "" {
				grantee = aws.ToString(g.GranteeServicePrincipal)
			}
			if !strings.HasPrefix(grantee, "dynamodb.") || !strings.HasSuffix(grantee, ".amazonaws.com") {
				others = append(others, fmt.Sprintf("%s may %v", grantee, g.Operations))
			}
		}
	}
	t.None("grants to others than DynamoDB", others)
	return nil
}
