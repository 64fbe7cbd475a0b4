package verify

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"miniforge/internal/access"
	"miniforge/internal/check"
	"miniforge/internal/stack"
)

// protection is what keeps data unreadable at rest and on the wire. It is read
// from the services, so it needs no endpoint that enforces anything.
func (r *Run) protection() []check.Check {
	return []check.Check{
		{ID: "protection.at-rest", Title: "Tables, queues, topic, bucket and log groups are encrypted by the stack's own key", Run: r.encryption},
		{ID: "protection.key", Title: "That key is the customer's own, and is renewed every year", Run: r.key},
		{ID: "protection.in-transit", Title: "Queues, topic and bucket deny what does not come over TLS", Run: r.inTransit},
		{ID: "protection.bucket", Title: "The bucket is closed to the public, and keeps what is overwritten", Run: r.bucketClosed},
		{ID: "protection.identity", Title: "Each function runs as its own role, and no two share one", Run: r.identities},
	}
}

func (r *Run) inTransit(ctx context.Context, t *check.T) error {
	n := r.stack.Names
	for _, h := range []struct {
		access.Holder
		actions, resources []string // what must be denied
	}{
		{access.Holder{Kind: access.Queue, Name: n.Notifications()}, []string{"sqs:*"}, []string{n.QueueARN(n.Notifications())}},
		{access.Holder{Kind: access.Queue, Name: n.DeadLetters()}, []string{"sqs:*"}, []string{n.QueueARN(n.DeadLetters())}},
		{access.Holder{Kind: access.Topic, Name: n.Topic()}, []string{"sns:Publish"}, []string{n.TopicARN()}},
		{access.Holder{Kind: access.Bucket, Name: n.Bucket()}, []string{"s3:*"}, []string{n.BucketARN(), n.BucketARN() + "/*"}},
	} {
		policies, err := access.Read(ctx, r.stack, h.Holder)
		if err != nil {
			return err
		}
		var all []access.Permission
		for _, p := range policies {
			permissions, err := access.Parse(p.Document)
			if err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
			all = append(all, permissions...)
		}
		for _, action := range h.actions {
			for _, resource := range h.resources {
				got := "allowed"
				if deniesWithoutTLS(all, action, resource) {
					got = "denied"
				}
				check.Equal(t, fmt.Sprintf("%s: %s on %s without TLS", h, action, resource), "denied", got)
			}
		}
	}
	return nil
}

func deniesWithoutTLS(all []access.Permission, action, resource string) bool {
	for _, p := range all {
		if p.Effect == "Deny" && p.Principal == "AWS *" && strings.EqualFold(p.Condition, "Bool aws:securetransport false") &&
			(strings.EqualFold(p.Action, action) || p.Action == "*") && (p.Resource == resource || p.Resource == "*") {
			return true
		}
	}
	return false
}

func (r *Run) bucketClosed(ctx context.Context, t *check.T) error {
	c, bucket := r.stack.Clients.S3, aws.String(r.stack.Bucket())
	block, err := c.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: bucket})
	switch {
	case code(err) == "NoSuchPublicAccessBlockConfiguration":
		t.Claim("public access block", "all four settings", "none", false)
	case err != nil:
		return fmt.Errorf("read public access block of bucket %s: %w", *bucket, err)
	default:
		b := block.PublicAccessBlockConfiguration
		for _, setting := range []struct {
			name string
			on   *bool
		}{
			{"BlockPublicAcls", b.BlockPublicAcls}, {"IgnorePublicAcls", b.IgnorePublicAcls},
			{"BlockPublicPolicy", b.BlockPublicPolicy}, {"RestrictPublicBuckets", b.RestrictPublicBuckets},
		} {
			check.Equal(t, setting.name, true, aws.ToBool(setting.on))
		}
	}
	versioning, err := c.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: bucket})
	if err != nil {
		return fmt.Errorf("read versioning of bucket %s: %w", *bucket, err)
	}
	check.Equal(t, "versioning", s3types.BucketVersioningStatusEnabled, versioning.Status)
	return r.bucketNotPublic(ctx, t)
}

// bucketNotPublic reads the policy itself: not every endpoint says whether one
// makes a bucket public.
func (r *Run) bucketNotPublic(ctx context.Context, t *check.T) error {
	policies, err := access.Read(ctx, r.stack, access.Holder{Kind: access.Bucket, Name: r.stack.Bucket()})
	if err != nil {
		return err
	}
	var public []string
	for _, p := range policies {
		permissions, err := access.Parse(p.Document)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		for _, permission := range permissions {
			if permission.Effect == "Allow" && (permission.Principal == "AWS *" || strings.HasPrefix(permission.Principal, "not ")) {
				public = append(public, permission.String())
			}
		}
	}
	t.None("permissions for everybody", public)
	return nil
}

// identities asks Lambda as which role it runs the version that serves.
func (r *Run) identities(ctx context.Context, t *check.T) error {
	users := map[string]string{}
	for _, f := range stack.FunctionNames() {
		name := r.stack.Function(f)
		out, err := r.stack.Clients.Lambda.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{
			FunctionName: &name, Qualifier: aws.String(stack.LiveAlias),
		})
		if err != nil {
			return fmt.Errorf("read configuration of %s:%s: %w", name, stack.LiveAlias, err)
		}
		role := aws.ToString(out.Role)
		check.Equal(t, "role of "+name+":"+stack.LiveAlias, r.stack.RoleARN(name), role)
		if other, shared := users[role]; shared {
			t.Claim("users of "+role, name, name+" and "+other, false)
		}
		users[role] = name
	}
	return nil
}
