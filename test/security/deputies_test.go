package security

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"miniforge/internal/check"
	"miniforge/internal/cloud"
	"miniforge/internal/resource"
	"miniforge/internal/stack"
	"miniforge/internal/verify"
)

// TestStrangersAreSeen opens what keeps a stranger's topic, rule and API out,
// one after the other: the check of each says that it came through.
func TestStrangersAreSeen(t *testing.T) {
	w := newWorld(t)
	// An API has an id, not a name that tells whose it is.
	t.Cleanup(recorded.ignore(func(j cloud.Judgement) bool { return strings.HasPrefix(j.Principal.Service, "apigateway.") }))
	w.asks(verify.Options{Patience: 5 * time.Second}) // what is not refused never is
	t.Cleanup(w.closes)
	for name, tt := range map[string]struct {
		open func(context.Context) (closeAgain func(context.Context) error, err error)
		want string
	}{
		"topic": {w.openQueue, "not refused"},
		"rule":  {w.openTrust, "not refused"},
		"api":   {w.openFunction, "got 404"},
	} {
		t.Run(name, func(t *testing.T) {
			closeAgain, err := tt.open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := closeAgain(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			})
			r := check.Do(t.Context(), w.checks["deputies."+name])
			if text := strings.Join(complaints(r), "\n"); r.Outcome != check.Fail || !strings.Contains(text, tt.want) {
				t.Errorf("%s %s %s; want a failure that says %q", r.Outcome, r.Reason, text, tt.want)
			}
		})
	}
}

// openQueue lets every topic send to the queue, and use its key for that.
func (w *world) openQueue(ctx context.Context) (func(context.Context) error, error) {
	s := w.stack
	u, err := s.Clients.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(s.Notifications())})
	if err != nil {
		return nil, err
	}
	queue, err := s.Clients.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: u.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"Policy"}})
	if err != nil {
		return nil, err
	}
	id, err := s.Clients.KMS.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String(s.KeyAlias())})
	if err != nil {
		return nil, err
	}
	key, err := s.Clients.KMS.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: id.KeyMetadata.KeyId})
	if err != nil {
		return nil, err
	}
	set := func(ctx context.Context, queuePolicy, keyPolicy string) error {
		_, err := s.Clients.SQS.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: u.QueueUrl, Attributes: map[string]string{"Policy": queuePolicy}})
		if err == nil {
			_, err = s.Clients.KMS.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: id.KeyMetadata.KeyId, Policy: &keyPolicy})
		}
		return err
	}
	was, wasKey := queue.Attributes["Policy"], *key.Policy
	open := func(policy string) (string, error) {
		return widened(policy, resource.Statement{Effect: "Allow", Principal: resource.Service("sns.amazonaws.com"), Action: []string{"sqs:SendMessage", "kms:*"}, Resource: []string{"*"}})
	}
	toQueue, err := open(was)
	if err != nil {
		return nil, err
	}
	toKey, err := open(wasKey)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return set(ctx, was, wasKey) }, set(ctx, toQueue, toKey)
}

// widened is a policy with one statement more.
func widened(policy string, more resource.Statement) (string, error) {
	var p struct {
		Version   string
		Statement []any
	}
	if err := json.Unmarshal([]byte(policy), &p); err != nil {
		return "", err
	}
	p.Statement = append(p.Statement, more)
	b, err := json.Marshal(p)
	return string(b), err
}

// openTrust lets EventBridge assume the rule's role for whatever rule.
func (w *world) openTrust(ctx context.Context) (func(context.Context) error, error) {
	c, role := w.stack.Clients.IAM, w.stack.RuleRole()
	was, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: &role})
	if err != nil {
		return nil, err
	}
	trust, err := url.QueryUnescape(*was.Role.AssumeRolePolicyDocument)
	if err != nil {
		return nil, err
	}
	set := func(ctx context.Context, policy string) error {
		_, err := c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &role, PolicyDocument: &policy})
		return err
	}
	return func(ctx context.Context) error { return set(ctx, trust) }, set(ctx, resource.Trust("events.amazonaws.com", nil).String())
}

// openFunction lets every API invoke the function behind the stack's.
func (w *world) openFunction(ctx context.Context) (func(context.Context) error, error) {
	c, function, live, sid := w.stack.Clients.Lambda, w.stack.Function(stack.OrderIntake), aws.String(stack.LiveAlias), aws.String("any-api")
	_, err := c.AddPermission(ctx, &lambda.AddPermissionInput{
		FunctionName: &function, Qualifier: live, StatementId: sid, Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("apigateway.amazonaws.com"),
	})
	return func(ctx context.Context) error {
		_, err := c.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: &function, Qualifier: live, StatementId: sid})
		return err
	}, err
}
