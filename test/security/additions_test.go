package security

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"miniforge/internal/check"
	"miniforge/internal/stack"
)

const everything = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*","Resource":"*"}}`

// An addition is something that gives access without changing any policy that
// the stack has, and how to take it away again.
type addition struct {
	check string // that must fail
	says  string
	add   func(w *world) (undo func() error, err error)
}

func additions() map[string]addition {
	const role, function = "test-order-intake", "test-payment-processor"
	return map[string]addition{
		"an inline policy": {"permissions.role/" + role, "dynamodb:* on *", func(w *world) (func() error, error) {
			c, name := w.stack.Clients.IAM, aws.String("more")
			_, err := c.PutRolePolicy(w.Context(), &iam.PutRolePolicyInput{RoleName: aws.String(role), PolicyName: name, PolicyDocument: aws.String(everything)})
			return func() error {
				_, err := c.DeleteRolePolicy(w.Context(), &iam.DeleteRolePolicyInput{RoleName: aws.String(role), PolicyName: name})
				return err
			}, err
		}},
		"an attached policy":     {"permissions.role/" + role, "dynamodb:* on *", attached(role)},
		"a permissions boundary": {"permissions.role/" + role, "policy/limit", bounded(role)},
		"a role":                 {"permissions.holders", "role test-stranger", stranger("test-stranger")},
		"a permission of the function itself": {"permissions.function/" + function, "lambda:InvokeFunction", func(w *world) (func() error, error) {
			return permitted(w, function, nil)
		}},
		"a permission of a version": {"permissions.function/" + function, "1 says lambda:InvokeFunction", func(w *world) (func() error, error) {
			return permitted(w, function, aws.String("1"))
		}},
		"a policy of the bus": {"permissions.bus/test-orders", "events:PutEvents", func(w *world) (func() error, error) {
			c, bus, sid := w.stack.Clients.Events, aws.String(w.stack.Bus()), aws.String("other")
			_, err := c.PutPermission(w.Context(), &eventbridge.PutPermissionInput{
				EventBusName: bus, StatementId: sid, Action: aws.String("events:PutEvents"), Principal: aws.String("111122223333"),
			})
			return func() error {
				_, err := c.RemovePermission(w.Context(), &eventbridge.RemovePermissionInput{EventBusName: bus, StatementId: sid})
				return err
			}, err
		}},
		"a policy of a log group": {"permissions.log-delivery/test", "for Service es.amazonaws.com", func(w *world) (func() error, error) {
			c, name := w.stack.Clients.Logs, aws.String("other")
			_, err := c.PutResourcePolicy(w.Context(), &cloudwatchlogs.PutResourcePolicyInput{PolicyName: name, PolicyDocument: aws.String(
				`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"es.amazonaws.com"},"Action":"logs:PutLogEvents","Resource":"` +
					w.stack.LogGroupARN(w.stack.FunctionLogGroup(stack.OrderIntake)) + `:*"}}`)})
			return func() error {
				_, err := c.DeleteResourcePolicy(w.Context(), &cloudwatchlogs.DeleteResourcePolicyInput{PolicyName: name})
				return err
			}, err
		}},
		"a grant": {"permissions.grants", "role/miniforge/test/" + role, func(w *world) (func() error, error) {
			c, key := w.stack.Clients.KMS, aws.String(w.keyID())
			out, err := c.CreateGrant(w.Context(), &kms.CreateGrantInput{
				KeyId: key, GranteePrincipal: aws.String(w.stack.RoleARN(role)), Operations: []kmstypes.GrantOperation{kmstypes.GrantOperationDecrypt},
			})
			if err != nil {
				return nil, err
			}
			return func() error {
				_, err := c.RevokeGrant(w.Context(), &kms.RevokeGrantInput{KeyId: key, GrantId: out.GrantId})
				return err
			}, nil
		}},
	}
}

func attached(role string) func(*world) (func() error, error) {
	return func(w *world) (func() error, error) {
		c := w.stack.Clients.IAM
		p, err := c.CreatePolicy(w.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("more"), PolicyDocument: aws.String(everything)})
		if err != nil {
			return nil, err
		}
		_, err = c.AttachRolePolicy(w.Context(), &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: p.Policy.Arn})
		return func() error {
			_, err := c.DetachRolePolicy(w.Context(), &iam.DetachRolePolicyInput{RoleName: &role, PolicyArn: p.Policy.Arn})
			_, err2 := c.DeletePolicy(w.Context(), &iam.DeletePolicyInput{PolicyArn: p.Policy.Arn})
			return errors.Join(err, err2)
		}, err
	}
}

func bounded(role string) func(*world) (func() error, error) {
	return func(w *world) (func() error, error) {
		c := w.stack.Clients.IAM
		p, err := c.CreatePolicy(w.Context(), &iam.CreatePolicyInput{PolicyName: aws.String("limit"), PolicyDocument: aws.String(everything)})
		if err != nil {
			return nil, err
		}
		_, err = c.PutRolePermissionsBoundary(w.Context(), &iam.PutRolePermissionsBoundaryInput{RoleName: &role, PermissionsBoundary: p.Policy.Arn})
		return func() error {
			_, err := c.DeleteRolePermissionsBoundary(w.Context(), &iam.DeleteRolePermissionsBoundaryInput{RoleName: &role})
			_, err2 := c.DeletePolicy(w.Context(), &iam.DeletePolicyInput{PolicyArn: p.Policy.Arn})
			return errors.Join(err, err2)
		}, err
	}
}

func stranger(name string) func(*world) (func() error, error) {
	return func(w *world) (func() error, error) {
		c := w.stack.Clients.IAM
		_, err := c.CreateRole(w.Context(), &iam.CreateRoleInput{RoleName: &name, Path: aws.String(w.stack.RolePath()), AssumeRolePolicyDocument: aws.String(
			`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"` + w.stack.Account + `"},"Action":"sts:AssumeRole"}}`)})
		return func() error {
			_, err := c.DeleteRole(w.Context(), &iam.DeleteRoleInput{RoleName: &name})
			return err
		}, err
	}
}

func permitted(w *world, function string, qualifier *string) (func() error, error) {
	c, sid := w.stack.Clients.Lambda, aws.String("other")
	_, err := c.AddPermission(w.Context(), &lambda.AddPermissionInput{
		FunctionName: &function, Qualifier: qualifier, StatementId: sid, Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("sns.amazonaws.com"),
	})
	return func() error {
		_, err := c.RemovePermission(w.Context(), &lambda.RemovePermissionInput{FunctionName: &function, Qualifier: qualifier, StatementId: sid})
		return err
	}, err
}

// TestWhatIsAddedIsFound opens doors beside those that the stack has.
func TestWhatIsAddedIsFound(t *testing.T) {
	for name, a := range additions() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			undo, err := a.add(w)
			if err != nil {
				t.Fatal(err)
			}
			r := check.Do(t.Context(), w.checks[a.check])
			if err := undo(); err != nil {
				t.Fatal(err)
			}
			if said := strings.Join(complaints(r), "\n"); r.Outcome != check.Fail || !strings.Contains(said, a.says) {
				t.Errorf("%s: %s %s, want it to say %q", r.Outcome, r.Reason, said, a.says)
			}
			if r := check.Do(t.Context(), w.checks[a.check]); r.Outcome != check.Pass {
				t.Errorf("when it was gone again: %s %s %v", r.Outcome, r.Reason, complaints(r))
			}
		})
	}
}
