package verify

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/access"
	"miniforge/internal/check"
)

// roleMatrix asks of each role whether it may do all that the stack declares
// for it, and nothing that the stack declares for others, nor anything that no
// role should do. It asks twice: by calls in the name of a copy of the role,
// where these do no harm, and for every cell by IAM's own simulator.
func (r *Run) roleMatrix() []check.Check {
	declared := once(func(ctx context.Context) ([]access.Policy, error) { return access.Declared(ctx, r.stack) })
	var checks []check.Check
	for _, role := range r.stack.Roles() {
		on := func(id, title string, f func(context.Context, *check.T, *row) error) check.Check {
			return r.needs(canary.authorises, check.Check{ID: "roles." + id + "/" + role, Title: title, Run: func(ctx context.Context, t *check.T) error {
				all, err := declared(ctx)
				if err != nil {
					return err
				}
				row, err := r.row(ctx, role, all)
				if err != nil {
					return err
				}
				return f(ctx, t, row)
			}})
		}
		checks = append(checks,
			on("simulated", "By IAM's own judgement, role "+role+" may do what is declared, and nothing else", r.simulated),
			on("tried", "A copy of role "+role+" is served what is declared, and denied all else", r.tried))
	}
	return checks
}

// A row is one role of the matrix.
type row struct {
	role               string
	live               []access.Policy // in force
	allowed, forbidden []cell
}

// A cell is an action on a resource, and the keys of the request that the
// permission asks for.
type cell struct {
	action, resource string
	keys             map[string]string
}

func (c cell) String() string { return c.action + " on " + c.resource }

func (r *Run) row(ctx context.Context, role string, declared []access.Policy) (*row, error) {
	live, err := access.Read(ctx, r.stack, access.Holder{Kind: access.Role, Name: role})
	if err != nil {
		return nil, err
	}
	if left, err := r.roleLeftOut(ctx, role, len(live) == 0); err != nil || left {
		return nil, err
	}
	row := &row{role: role, live: live}
	var own []access.Permission
	key, err := r.describeKey(ctx)
	if err != nil {
		return nil, err
	}
	all := r.nobodys(aws.ToString(key.Arn))
	for _, p := range declared {
		if p.Kind != access.Role || p.Part == access.TrustPart {
			continue
		}
		permissions, err := access.Parse(p.Document)
		if err != nil {
			return nil, fmt.Errorf("policy declared for %s: %w", p, err)
		}
		for _, permission := range permissions {
			c := concrete(permission)
			if p.Name == role {
				own = append(own, permission)
				row.allowed = append(row.allowed, c)
				continue
			}
			c.keys = nil // also the key itself, without the service that may use it
			all = append(all, c)
		}
	}
	for _, c := range all {
		known := slices.ContainsFunc(row.forbidden, func(o cell) bool { return o.String() == c.String() })
		if !known && !slices.ContainsFunc(own, func(p access.Permission) bool { return covers(p, c) }) {
			row.forbidden = append(row.forbidden, c)
		}
	}
	return row, nil
}

// nobodys is what no role of the stack may do.
func (r *Run) nobodys(key string) []cell {
	n := r.stack.Names
	var cells []cell
	on := func(resource string, actions ...string) {
		for _, a := range actions {
			cells = append(cells, cell{action: a, resource: resource})
		}
	}
	for _, table := range []string{n.Orders(), n.Inventory()} {
		on(n.TableARN(table), "dynamodb:DeleteItem", "dynamodb:Scan", "dynamodb:Query", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:GetItem",
			"dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:DeleteTable", "dynamodb:UpdateTable")
	}
	for _, queue := range []string{n.Notifications(), n.DeadLetters()} {
		on(n.QueueARN(queue), "sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:PurgeQueue", "sqs:SetQueueAttributes", "sqs:GetQueueAttributes", "sqs:DeleteQueue")
	}
	on(n.TopicARN(), "sns:Publish", "sns:Subscribe", "sns:SetTopicAttributes", "sns:DeleteTopic")
	on(n.BusARN(), "events:PutEvents", "events:DeleteEventBus")
	on(n.RuleARN(), "events:PutRule", "events:PutTargets", "events:DisableRule")
	on(n.StateMachineARN(), "states:StartExecution", "states:UpdateStateMachine", "states:DeleteStateMachine")
	on(n.BucketARN(), "s3:ListBucket", "s3:PutBucketPolicy", "s3:DeleteBucket")
	on(n.BucketARN()+"/probe", "s3:GetObject", "s3:PutObject", "s3:DeleteObject")
	for _, f := range n.Functions() {
		arn := strings.TrimSuffix(n.FunctionARN(""), n.Function("")) + f
		on(arn, "lambda:InvokeFunction", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration", "lambda:AddPermission", "lambda:DeleteFunction")
	}
	for _, role := range n.Roles() {
		on(n.RoleARN(role), "sts:AssumeRole", "iam:PassRole", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:DeleteRole")
	}
	on(key, "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:CreateGrant", "kms:PutKeyPolicy", "kms:DisableKey", "kms:ScheduleKeyDeletion")
	on("*", "iam:CreateUser", "iam:CreateAccessKey", "iam:CreateRole", "iam:ListRoles", "kms:CreateKey", "lambda:CreateFunction")
	return cells
}

var wildcard = strings.NewReplacer("*", "probe")

// concrete turns a permission into a request that it covers.
func concrete(p access.Permission) cell {
	c := cell{action: p.Action, resource: p.Resource, keys: map[string]string{}}
	if c.resource != "*" {
		c.resource = wildcard.Replace(c.resource)
	}
	for part := range strings.SplitSeq(p.Condition, " and ") {
		if f := strings.SplitN(part, " ", 3); len(f) == 3 {
			value, _, _ := strings.Cut(f[2], " | ")
			c.keys[f[1]] = wildcard.Replace(value)
		}
	}
	return c
}

// covers tells whether a permission allows a cell. One with a condition does
// only if the cell has keys.
func covers(p access.Permission, c cell) bool {
	return p.Effect == "Allow" && (p.Condition == "" || len(c.keys) > 0) && glob(strings.ToLower(p.Action), strings.ToLower(c.action)) && glob(p.Resource, c.resource)
}

func glob(pattern, text string) bool {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$").MatchString(text)
}

// simulated asks IAM itself to judge every cell by the policies in force.
func (r *Run) simulated(ctx context.Context, t *check.T, row *row) error {
	for _, half := range []half{{row.allowed, true}, {row.forbidden, false}} {
		v := verdicts{role: row.role, served: half.served}
		for _, group := range grouped(half.cells) {
			decisions, err := r.simulate(ctx, row.role, group)
			if err != nil {
				return err
			}
			for _, c := range group {
				got, judged := decisions[strings.ToLower(c.action)]
				if !judged {
					return fmt.Errorf("simulate role %s: no decision on %s", row.role, c)
				}
				v.add(c, string(got), got == iamtypes.PolicyEvaluationDecisionTypeAllowed)
			}
		}
		v.claim(t, "actions")
	}
	return nil
}

// A half of a row has the cells that are to be allowed, or those that are not.
type half struct {
	cells  []cell
	served bool
}

// verdicts are what became of the cells of a half.
type verdicts struct {
	role   string
	served bool // as they all should be, or not
	n      int
	wrong  []verdict
}

// A verdict is what became of some actions on one resource.
type verdict struct {
	resource, got string
	actions       []string
}

func (v *verdicts) add(c cell, got string, served bool) {
	v.n++
	if served == v.served {
		return
	}
	for i := range v.wrong {
		if w := &v.wrong[i]; w.resource == c.resource && w.got == got {
			w.actions = append(w.actions, c.action)
			return
		}
	}
	v.wrong = append(v.wrong, verdict{c.resource, got, []string{c.action}})
}

// claim names what is wrong, resource by resource, and says how much is right.
func (v *verdicts) claim(t *check.T, what string) {
	kind, want := "forbidden", "denied"
	if v.served {
		kind, want = "declared", "allowed"
	}
	right := v.n
	for _, w := range v.wrong {
		right -= len(w.actions)
		t.Claim(fmt.Sprintf("role %s: %s on %s", v.role, strings.Join(w.actions, ", "), w.resource), want, w.got, false)
	}
	t.Claim(kind+" "+what, fmt.Sprintf("all %d %s", v.n, want), fmt.Sprintf("%d %s", right, want), right == v.n)
}

// grouped puts together what one simulation can judge.
func grouped(cells []cell) [][]cell {
	var keys []string
	groups := map[string][]cell{}
	for _, c := range cells {
		k := fmt.Sprint(c.resource, c.keys)
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], c)
	}
	var out [][]cell
	for _, k := range keys {
		out = append(out, groups[k])
	}
	return out
}

func (r *Run) simulate(ctx context.Context, role string, group []cell) (map[string]iamtypes.PolicyEvaluationDecisionType, error) {
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String(r.stack.RoleARN(role)), ResourceArns: []string{group[0].resource}}
	for _, c := range group {
		in.ActionNames = append(in.ActionNames, c.action)
	}
	for key, value := range group[0].keys {
		in.ContextEntries = append(in.ContextEntries, iamtypes.ContextEntry{
			ContextKeyName: aws.String(key), ContextKeyType: iamtypes.ContextKeyTypeEnumString, ContextKeyValues: []string{value},
		})
	}
	decisions := map[string]iamtypes.PolicyEvaluationDecisionType{}
	pages := iam.NewSimulatePrincipalPolicyPaginator(r.stack.Clients.IAM, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("simulate role %s: %w", role, err)
		}
		for _, e := range page.EvaluationResults {
			decisions[strings.ToLower(aws.ToString(e.EvalActionName))] = e.EvalDecision
		}
	}
	return decisions, nil
}

// tried calls in the name of a copy of the role. A copy is as its live policies
// are, so that what somebody added to the role is found.
func (r *Run) tried(ctx context.Context, t *check.T, row *row) error {
	policies := map[string]string{}
	for i, p := range row.live {
		if p.Part != access.TrustPart {
			policies[fmt.Sprintf("copy-%d", i)] = p.Document
		}
	}
	cfg, err := r.guests.assume(ctx, "copy of "+row.role, policies)
	if err != nil {
		return err
	}
	calls, patiently := r.trials(cfg), r.guests.patience()
	for _, half := range []half{{row.allowed, true}, {row.forbidden, false}} {
		v := verdicts{role: row.role, served: half.served}
		for _, c := range half.cells {
			call := calls[c.action]
			// S3 denies also what is not there; the key is for services alone.
			if call == nil || half.served && (c.action == "s3:GetObject" || len(c.keys) > 0) {
				continue
			}
			err := call(ctx, c.resource)
			if err != nil && code(err) == "" {
				return fmt.Errorf("%s as a copy of role %s: %w", c, row.role, err)
			}
			if half.served && denied(err) {
				err = patiently(ctx, func(ctx context.Context) error {
					if err := call(ctx, c.resource); denied(err) {
						return err
					}
					return nil
				})
			}
			v.add(c, answered(err), !denied(err))
		}
		if v.n > 0 {
			v.claim(t, "calls")
		}
	}
	return nil
}

// answered is what the endpoint said of a call, without what only the SDK says.
func answered(err error) string {
	if err == nil {
		return "served"
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return err.Error()
}
