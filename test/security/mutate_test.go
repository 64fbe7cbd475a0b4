package security

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"miniforge/internal/access"
)

// A statement as it is written, and a policy made of such.
type statement map[string]any

func statementsOf(t *testing.T, p access.Policy) []statement {
	t.Helper()
	var d struct{ Statement []statement }
	if err := json.Unmarshal([]byte(p.Document), &d); err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	return d.Statement
}

// without is the policy less one statement.
func without(all []statement, i int) []statement {
	return slices.Delete(slices.Clone(all), i, i+1)
}

// with is the policy with "*", or another pattern, added to an element of one
// statement.
func with(all []statement, i int, element, pattern string) []statement {
	changed := maps.Clone(all[i])
	switch old := changed[element].(type) {
	case []any:
		changed[element] = append(slices.Clone(old), pattern)
	case map[string]any: // a principal
		changed[element] = map[string]any{"AWS": pattern}
		for kind, who := range old {
			if kind != "AWS" {
				changed[element].(map[string]any)[kind] = who
			}
		}
	default:
		changed[element] = []any{old, pattern}
	}
	all = slices.Clone(all)
	all[i] = changed
	return all
}

// permissionsOf takes a single statement apart.
func permissionsOf(t *testing.T, s statement) []access.Permission {
	t.Helper()
	permissions, err := access.Parse(text(t, []statement{s}))
	if err != nil {
		t.Fatal(err)
	}
	return permissions
}

func text(t *testing.T, all []statement) string {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// put makes these statements the policy. One that nothing is left of is
// deleted; where that cannot be, one is put that allows nothing.
func (w *world) put(p access.Policy, all []statement) error {
	w.Helper()
	c, ctx, document := w.stack.Clients, w.Context(), text(w.T, all)
	var err error
	switch p.Kind {
	case access.Role:
		return w.putRole(p, all)
	case access.Key:
		_, err = c.KMS.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{
			KeyId: aws.String(w.keyID()), Policy: &document, BypassPolicyLockoutSafetyCheck: true,
		})
	case access.Queue:
		if len(all) == 0 {
			document = ""
		}
		var url *sqs.GetQueueUrlOutput
		if url, err = c.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &p.Name}); err == nil {
			_, err = c.SQS.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: url.QueueUrl, Attributes: map[string]string{"Policy": document}})
		}
	case access.Topic:
		if len(all) == 0 {
			document = ""
		}
		_, err = c.SNS.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: aws.String(w.stack.TopicARN()), AttributeName: aws.String("Policy"), AttributeValue: &document})
	case access.Bucket:
		if len(all) == 0 {
			_, err = c.S3.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: &p.Name})
			return err
		}
		_, err = c.S3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &p.Name, Policy: &document})
	case access.Function:
		return w.putPermissions(p, all)
	case access.LogDelivery:
		if len(all) == 0 {
			_, err = c.Logs.DeleteResourcePolicy(ctx, &cloudwatchlogs.DeleteResourcePolicyInput{PolicyName: &p.Part})
			return err
		}
		_, err = c.Logs.PutResourcePolicy(ctx, &cloudwatchlogs.PutResourcePolicyInput{PolicyName: &p.Part, PolicyDocument: &document})
	default:
		w.Fatalf("%s: nothing here puts policies of this kind", p)
	}
	return err
}

func (w *world) keyID() string {
	w.Helper()
	out, err := w.stack.Clients.KMS.DescribeKey(w.Context(), &kms.DescribeKeyInput{KeyId: aws.String(w.stack.KeyAlias())})
	if err != nil {
		w.Fatal(err)
	}
	return *out.KeyMetadata.KeyId
}

func (w *world) putRole(p access.Policy, all []statement) error {
	c, ctx := w.stack.Clients.IAM, w.Context()
	document := text(w.T, all)
	if p.Part == access.TrustPart {
		if len(all) == 0 { // IAM takes no empty one
			document = `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":{"Service":"nobody.amazonaws.com"},"Action":"sts:AssumeRole"}}`
		}
		_, err := c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: &p.Name, PolicyDocument: &document})
		return err
	}
	if len(all) == 0 {
		_, err := c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &p.Name, PolicyName: &p.Part})
		return err
	}
	_, err := c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &p.Name, PolicyName: &p.Part, PolicyDocument: &document})
	return err
}

// putPermissions takes all permissions of an alias away and adds these: Lambda
// writes the policy itself, its resource is always the alias.
func (w *world) putPermissions(p access.Policy, all []statement) error {
	c, ctx := w.stack.Clients.Lambda, w.Context()
	old, err := access.Read(ctx, w.stack, p.Holder)
	if err != nil {
		return err
	}
	for _, o := range old {
		if o.Part != p.Part {
			continue
		}
		for _, s := range statementsOf(w.T, o) {
			sid := s["Sid"].(string)
			if _, err := c.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: &p.Name, Qualifier: &p.Part, StatementId: &sid}); err != nil {
				return err
			}
		}
	}
	for _, s := range all {
		said := permissionsOf(w.T, s)
		one := said[max(0, slices.IndexFunc(said, func(p access.Permission) bool { return p.Action == "*" || p.Principal == "AWS *" }))]
		_, who, _ := strings.Cut(one.Principal, " ")
		_, source, _ := strings.Cut(one.Condition, "aws:sourcearn ")
		sid := s["Sid"].(string)
		if _, err := c.AddPermission(ctx, &lambda.AddPermissionInput{
			FunctionName: &p.Name, Qualifier: &p.Part, StatementId: &sid, Action: &one.Action, Principal: &who, SourceArn: &source,
		}); err != nil {
			return err
		}
	}
	return nil
}
