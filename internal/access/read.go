package access

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/stack"
)

// Read returns all policies that a holder has, also those that nobody declared.
// A holder that does not exist has none.
func Read(ctx context.Context, s *stack.Stack, h Holder) (policies []Policy, err error) {
	add := func(part, document string) {
		if document != "" {
			policies = append(policies, Policy{Holder: h, Part: part, Document: document})
		}
	}
	switch h.Kind {
	case Role:
		err = readRole(ctx, s.Clients.IAM, h.Name, add)
	case Key:
		err = readKey(ctx, s.Clients.KMS, h.Name, add)
	case Queue:
		err = readQueue(ctx, s.Clients.SQS, h.Name, add)
	case Topic:
		var out *sns.GetTopicAttributesOutput
		if out, err = s.Clients.SNS.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: aws.String(s.TopicARNOf(h.Name))}); err == nil {
			add("", out.Attributes["Policy"])
		}
	case Bucket:
		var out *s3.GetBucketPolicyOutput
		if out, err = s.Clients.S3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &h.Name}); err == nil {
			add("", aws.ToString(out.Policy))
		}
	case Function:
		err = readFunction(ctx, s.Clients.Lambda, h.Name, add)
	case Bus:
		var out *eventbridge.DescribeEventBusOutput
		if out, err = s.Clients.Events.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: &h.Name}); err == nil {
			add("", aws.ToString(out.Policy))
		}
	case LogDelivery:
		err = readLogDelivery(ctx, s, add)
	}
	if err != nil && !absent(err) {
		return nil, fmt.Errorf("read policies of %s: %w", h, err)
	}
	return policies, nil
}

// absent recognises the answers for what does not exist, or has no policy.
func absent(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode() {
	case "NoSuchEntity", "NotFoundException", "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist",
		"NotFound", "NoSuchBucket", "NoSuchBucketPolicy", "ResourceNotFoundException":
		return true
	}
	return false
}

func readRole(ctx context.Context, c *iam.Client, name string, add func(part, document string)) error {
	role, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return err
	}
	add(TrustPart, decoded(role.Role.AssumeRolePolicyDocument))
	inline := iam.NewListRolePoliciesPaginator(c, &iam.ListRolePoliciesInput{RoleName: &name})
	for inline.HasMorePages() {
		page, err := inline.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, p := range page.PolicyNames {
			out, err := c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &p})
			if err != nil {
				return err
			}
			add(p, decoded(out.PolicyDocument))
		}
	}
	attached := iam.NewListAttachedRolePoliciesPaginator(c, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, p := range page.AttachedPolicies {
			document, err := managed(ctx, c, p.PolicyArn)
			if err != nil {
				return err
			}
			add(aws.ToString(p.PolicyArn), document)
		}
	}
	return nil
}

// managed is the version of a managed policy that is in force.
func managed(ctx context.Context, c *iam.Client, arn *string) (string, error) {
	policy, err := c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: arn})
	if err != nil {
		return "", err
	}
	version, err := c.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: arn, VersionId: policy.Policy.DefaultVersionId})
	if err != nil {
		return "", err
	}
	return decoded(version.PolicyVersion.Document), nil
}

// decoded undoes the URL-encoding in which IAM gives documents back.
func decoded(document *string) string {
	text := aws.ToString(document)
	if plain, err := url.QueryUnescape(text); err == nil && strings.HasPrefix(text, "%") {
		return plain
	}
	return text
}

func readKey(ctx context.Context, c *kms.Client, alias string, add func(part, document string)) error {
	key, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &alias})
	if err != nil {
		return err
	}
	out, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key.KeyMetadata.KeyId, PolicyName: aws.String("default")})
	if err == nil {
		add("", aws.ToString(out.Policy))
	}
	return err
}

// aliasOf names a key as the stack does: by its alias, if it has one.
func aliasOf(ctx context.Context, s *stack.Stack, id string) (string, error) {
	pages := kms.NewListAliasesPaginator(s.Clients.KMS, &kms.ListAliasesInput{KeyId: &id})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("list aliases of key %s: %w", id, err)
		}
		for _, a := range page.Aliases {
			return aws.ToString(a.AliasName), nil
		}
	}
	return id, nil
}

func readQueue(ctx context.Context, c *sqs.Client, name string, add func(part, document string)) error {
	queue, err := c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return err
	}
	out, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: queue.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNamePolicy},
	})
	if err == nil {
		add("", out.Attributes[string(sqstypes.QueueAttributeNamePolicy)])
	}
	return err
}

// readFunction asks for the function itself, its aliases and its versions: each
// has a policy of its own.
func readFunction(ctx context.Context, c *lambda.Client, name string, add func(part, document string)) error {
	qualifiers := []string{""}
	aliases := lambda.NewListAliasesPaginator(c, &lambda.ListAliasesInput{FunctionName: &name})
	for aliases.HasMorePages() {
		page, err := aliases.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, a := range page.Aliases {
			qualifiers = append(qualifiers, aws.ToString(a.Name))
		}
	}
	versions := lambda.NewListVersionsByFunctionPaginator(c, &lambda.ListVersionsByFunctionInput{FunctionName: &name})
	for versions.HasMorePages() {
		page, err := versions.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, v := range page.Versions {
			if version := aws.ToString(v.Version); version != "$LATEST" {
				qualifiers = append(qualifiers, version)
			}
		}
	}
	for _, q := range qualifiers {
		in := &lambda.GetPolicyInput{FunctionName: &name}
		if q != "" {
			in.Qualifier = &q
		}
		out, err := c.GetPolicy(ctx, in)
		if err == nil {
			add(q, aws.ToString(out.Policy))
		} else if !absent(err) {
			return err
		}
	}
	return nil
}
