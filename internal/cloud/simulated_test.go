package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"miniforge/internal/cloud/authz"
)

// TestTheSimulatorSaysWhatHappens gives a user and a role random policies, has
// them call, and asks IAM's simulator about each permission that was judged.
func TestTheSimulatorSaysWhatHappens(t *testing.T) {
	w := newSimulatedWorld(t)
	rapid.Check(t, func(t *rapid.T) {
		s := w.callers[rapid.SampledFrom(slices.Sorted(maps.Keys(w.callers))).Draw(t, "caller")]
		p := drawPolicies(t, s)
		if err := w.set(s, p); err != nil {
			t.Fatal(err)
		}
		name := rapid.SampledFrom(slices.Sorted(maps.Keys(trialCalls))).Draw(t, "call")
		w.judged = nil
		err := trialCalls[name](w.ctx, s.cfg)
		judged := slices.Clone(w.judged)
		if len(judged) == 0 {
			t.Fatalf("nothing was judged: %v", err)
		}
		api, _ := errors.AsType[smithy.APIError](err)
		refused := api != nil && strings.Contains(api.ErrorMessage(), "is not authorized to perform")
		for _, j := range judged {
			if (j.Err != nil) != refused {
				t.Fatalf("%s: judged %v, answered %v", j.Access.Action, j.Err, err)
			}
			w.compare(t, s, p, j)
		}
	})
}

// A somebody calls; keys are the condition keys that say who it is.
type somebody struct {
	arn, name string // of the user or role
	role      bool
	cfg       aws.Config
	keys      map[string]string
}

// policies are what decides about a caller.
type policies struct {
	inline, managed string
	boundary        string // "": none
	queue           string // of both queues; "": none
}

// A simulatedWorld is a cloud with two callers whose policies change.
type simulatedWorld struct {
	ctx       context.Context
	people    *iam.Client
	queues    *sqs.Client
	managed   string // ARN of the managed policy that both callers have
	bounds    string // of the one that may be their boundary
	queueURLs []string
	keys      map[string]string // ARN to policy of two KMS keys: one leaves itself to the account, one does not
	callers   map[string]*somebody
	judged    []Judgement // of the callers
}

const trialAccount = "123456789012"

func newSimulatedWorld(t *testing.T) *simulatedWorld {
	w := &simulatedWorld{ctx: t.Context(), keys: map[string]string{}}
	c, err := New(w.ctx, Options{Account: trialAccount, Audit: func(j Judgement) {
		if j.Principal.Type == authz.User || j.Principal.Type == authz.AssumedRole {
			w.judged = append(w.judged, j)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	root := c.config("")
	w.people, w.queues = iam.NewFromConfig(root), sqs.NewFromConfig(root)
	for name, team := range map[string]string{"forge-a": "forge", "other-b": "other"} {
		q := must[*sqs.CreateQueueOutput](t)(w.queues.CreateQueue(w.ctx, &sqs.CreateQueueInput{QueueName: &name, Tags: map[string]string{"team": team}}))
		w.queueURLs = append(w.queueURLs, *q.QueueUrl)
	}
	for name, arn := range map[string]*string{"managed": &w.managed, "bounds": &w.bounds} {
		*arn = *must[*iam.CreatePolicyOutput](t)(w.people.CreatePolicy(w.ctx, &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: new(policyOf(nil))})).Policy.Arn
	}
	for alias, condition := range map[string]string{"alias/open": ``, "alias/closed": `,"Condition":{"StringEquals":{"aws:PrincipalType":"Account"}}`} {
		policy := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + trialAccount + `"},"Action":"kms:*","Resource":"*"` + condition + `}}`
		k := must[*kms.CreateKeyOutput](t)(kms.NewFromConfig(root).CreateKey(w.ctx, &kms.CreateKeyInput{Policy: &policy})).KeyMetadata
		must[*kms.CreateAliasOutput](t)(kms.NewFromConfig(root).CreateAlias(w.ctx, &kms.CreateAliasInput{AliasName: &alias, TargetKeyId: k.KeyId}))
		w.keys[*k.Arn] = policy
	}
	w.callers = w.newCallers(t, c)
	for _, s := range w.callers {
		maps.Copy(s.keys, map[string]string{
			"aws:PrincipalAccount": trialAccount, "aws:PrincipalTag/team": "forge", "aws:RequestedRegion": "us-east-1", "aws:SourceIp": "127.0.0.1",
			"aws:SecureTransport": "true", "aws:ViaAWSService": "false", "aws:PrincipalIsAWSService": "false", "aws:PrincipalArn": s.arn,
			"aws:CurrentTime": "2026-06-01T00:00:00Z", // the policies ask for the century only
		})
	}
	return w
}

// newCallers makes a user and a role, and a session of the role.
func (w *simulatedWorld) newCallers(t *testing.T, c *Cloud) map[string]*somebody {
	team := []iamtypes.Tag{{Key: new("team"), Value: new("forge")}}
	u := must[*iam.CreateUserOutput](t)(w.people.CreateUser(w.ctx, &iam.CreateUserInput{UserName: new("ann"), Path: new("/team/"), Tags: team})).User
	must[*iam.AttachUserPolicyOutput](t)(w.people.AttachUserPolicy(w.ctx, &iam.AttachUserPolicyInput{UserName: u.UserName, PolicyArn: &w.managed}))
	k := must[*iam.CreateAccessKeyOutput](t)(w.people.CreateAccessKey(w.ctx, &iam.CreateAccessKeyInput{UserName: u.UserName})).AccessKey
	user := &somebody{arn: *u.Arn, name: "ann", cfg: c.with(*k.AccessKeyId, *k.SecretAccessKey, ""), keys: map[string]string{
		"aws:username": "ann", "aws:userid": *u.UserId, "aws:PrincipalType": "User",
	}}
	r := must[*iam.CreateRoleOutput](t)(w.people.CreateRole(w.ctx, &iam.CreateRoleInput{
		RoleName: new("worker"), Path: new("/app/"), Tags: team,
		AssumeRolePolicyDocument: new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + *u.Arn + `"},"Action":"sts:AssumeRole"}}`),
	})).Role
	must[*iam.AttachRolePolicyOutput](t)(w.people.AttachRolePolicy(w.ctx, &iam.AttachRolePolicyInput{RoleName: r.RoleName, PolicyArn: &w.managed}))
	session := must[*sts.AssumeRoleOutput](t)(sts.NewFromConfig(user.cfg).AssumeRole(w.ctx, &sts.AssumeRoleInput{RoleArn: r.Arn, RoleSessionName: new("trial")}))
	role := &somebody{arn: *r.Arn, name: "worker", role: true, keys: map[string]string{
		"aws:userid": *session.AssumedRoleUser.AssumedRoleId, "aws:PrincipalType": "AssumedRole", "aws:MultiFactorAuthPresent": "false",
	}}
	role.cfg = c.with(*session.Credentials.AccessKeyId, *session.Credentials.SecretAccessKey, *session.Credentials.SessionToken)
	return map[string]*somebody{"user": user, "role": role}
}

// with is a client's configuration with other credentials than root's.
func (c *Cloud) with(id, secret, token string) aws.Config {
	cfg := c.config("")
	cfg.Credentials, cfg.RetryMaxAttempts = credentials.NewStaticCredentialsProvider(id, secret, token), 1
	return cfg
}

// set puts policies in force.
func (w *simulatedWorld) set(s *somebody, p policies) (err error) {
	for _, url := range w.queueURLs {
		if _, err := w.queues.SetQueueAttributes(w.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{string(sqstypes.QueueAttributeNamePolicy): p.queue}}); err != nil {
			return err
		}
	}
	if err := errors.Join(w.rewrite(w.managed, p.managed), w.rewrite(w.bounds, p.boundary)); err != nil {
		return err
	}
	name, inline := &s.name, new("p")
	switch {
	case s.role:
		_, err = w.people.PutRolePolicy(w.ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: inline, PolicyDocument: &p.inline})
	default:
		_, err = w.people.PutUserPolicy(w.ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: inline, PolicyDocument: &p.inline})
	}
	if err != nil {
		return err
	}
	switch {
	case s.role && p.boundary != "":
		_, err = w.people.PutRolePermissionsBoundary(w.ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: name, PermissionsBoundary: &w.bounds})
	case s.role:
		_, err = w.people.DeleteRolePermissionsBoundary(w.ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: name})
	case p.boundary != "":
		_, err = w.people.PutUserPermissionsBoundary(w.ctx, &iam.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: &w.bounds})
	default:
		_, err = w.people.DeleteUserPermissionsBoundary(w.ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: name})
	}
	if _, none := errors.AsType[*iamtypes.NoSuchEntityException](err); none {
		return nil // it had no boundary
	}
	return err
}

// rewrite makes text the only version of a managed policy.
func (w *simulatedWorld) rewrite(arn, text string) error {
	if text == "" {
		return nil
	}
	if _, err := w.people.CreatePolicyVersion(w.ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: &text, SetAsDefault: true}); err != nil {
		return err
	}
	all, err := w.people.ListPolicyVersions(w.ctx, &iam.ListPolicyVersionsInput{PolicyArn: &arn})
	if err != nil {
		return err
	}
	for _, v := range all.Versions {
		if !v.IsDefaultVersion {
			if _, err := w.people.DeletePolicyVersion(w.ctx, &iam.DeletePolicyVersionInput{PolicyArn: &arn, VersionId: v.VersionId}); err != nil {
				return err
			}
		}
	}
	return nil
}

// compare asks the simulator about what was judged: by the caller's ARN, and
// by the documents themselves.
func (w *simulatedWorld) compare(t *rapid.T, s *somebody, p policies, j Judgement) {
	want := iamtypes.PolicyEvaluationDecisionTypeAllowed
	if denied, ok := errors.AsType[*authz.DeniedError](j.Err); ok {
		want = iamtypes.PolicyEvaluationDecisionTypeImplicitDeny
		if denied.Decision.Explicit {
			want = iamtypes.PolicyEvaluationDecisionTypeExplicitDeny
		}
	}
	bySource := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &s.arn, ActionNames: []string{j.Access.Action}, ResourceArns: []string{j.Access.Resource}, ContextEntries: s.entries(j.Access)}
	byText := &iam.SimulateCustomPolicyInput{PolicyInputList: []string{p.inline, p.managed}, ActionNames: bySource.ActionNames, ResourceArns: bySource.ResourceArns, ContextEntries: bySource.ContextEntries}
	if p.boundary != "" {
		byText.PermissionsBoundaryPolicyInputList = []string{p.boundary}
	}
	policy := w.keys[j.Access.Resource]
	if existing(j.Access.Resource) {
		policy = p.queue
	}
	if policy != "" {
		if s.role {
			return // no such simulation
		}
		bySource.ResourcePolicy, byText.ResourcePolicy, byText.CallerArn = &policy, &policy, &s.arn
	}
	got, err := w.people.SimulatePrincipalPolicy(w.ctx, bySource)
	if err != nil {
		t.Fatal(err)
	}
	custom, err := w.people.SimulateCustomPolicy(w.ctx, byText)
	if err != nil {
		t.Fatal(err)
	}
	for how, r := range map[string]iamtypes.EvaluationResult{"principal": got.EvaluationResults[0], "custom": custom.EvaluationResults[0]} {
		if r.EvalDecision != want {
			t.Fatalf("%s %s on %s: simulated (%s) %s, enforced %s (%v)\n%+v", s.arn, j.Access.Action, j.Access.Resource, how, r.EvalDecision, want, j.Err, p)
		}
		if (r.EvalDecision == iamtypes.PolicyEvaluationDecisionTypeImplicitDeny) != (len(r.MatchedStatements) == 0) {
			t.Fatalf("%s: %s by %d statements", how, r.EvalDecision, len(r.MatchedStatements))
		}
		if (r.PermissionsBoundaryDecisionDetail != nil) != (p.boundary != "") {
			t.Fatalf("%s: boundary %+v", how, r.PermissionsBoundaryDecisionDetail)
		}
	}
	names := cmpopts.IgnoreFields(iamtypes.Statement{}, "SourcePolicyId")
	if d := cmp.Diff(got.EvaluationResults, custom.EvaluationResults, names, cmpopts.IgnoreUnexported(iamtypes.EvaluationResult{}, iamtypes.Statement{}, iamtypes.Position{}, iamtypes.PermissionsBoundaryDecisionDetail{}),
		cmpopts.SortSlices(func(a, b iamtypes.Statement) bool { return fmt.Sprint(*a.StartPosition) < fmt.Sprint(*b.StartPosition) })); d != "" {
		t.Fatalf("by source and by text differ:\n%s", d)
	}
}

// entries are all condition keys of a request, for the simulator.
func (s *somebody) entries(a authz.Access) (all []iamtypes.ContextEntry) {
	add := func(key string, values ...string) {
		all = append(all, iamtypes.ContextEntry{ContextKeyName: &key, ContextKeyValues: values, ContextKeyType: iamtypes.ContextKeyTypeEnumStringList})
	}
	for k, v := range s.keys {
		add(k, v)
	}
	for k, v := range a.Context {
		add(k, v...)
	}
	if a.Resource != "*" {
		add("aws:ResourceAccount", trialAccount)
	}
	if existing(a.Resource) {
		team, _, _ := strings.Cut(a.Resource[strings.LastIndexByte(a.Resource, ':')+1:], "-")
		add("aws:ResourceTag/team", team)
	}
	return all
}

// existing tells whether a resource is one of the two queues.
func existing(arn string) bool {
	return strings.HasSuffix(arn, ":forge-a") || strings.HasSuffix(arn, ":other-b")
}

func policyOf(statements []map[string]any) string {
	all := append([]map[string]any{{"Effect": "Allow", "Action": "none:Nothing", "Resource": "*"}}, statements...)
	doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	if err != nil {
		panic(err)
	}
	return string(doc)
}
