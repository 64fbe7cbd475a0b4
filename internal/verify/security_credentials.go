package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"miniforge/internal/check"
)

// A dialect is how a service names what is wrong with a signature. Services
// that speak JSON say it in one way, those of the query protocol in another, S3
// in a third; SQS moved from the second to the first and may say either.
type dialect struct{ unsigned, signature, expired, unknown, token []string }

var (
	jsonDialect = dialect{
		unsigned: []string{"MissingAuthenticationTokenException", "MissingAuthenticationToken"}, signature: []string{"InvalidSignatureException"},
		expired: []string{"InvalidSignatureException"}, unknown: []string{"UnrecognizedClientException"}, token: []string{"UnrecognizedClientException"},
	}
	queryDialect = dialect{
		unsigned: []string{"MissingAuthenticationToken"}, signature: []string{"SignatureDoesNotMatch"}, expired: []string{"SignatureDoesNotMatch", "RequestExpired"},
		unknown: []string{"InvalidClientTokenId"}, token: []string{"InvalidClientTokenId"},
	}
	s3Dialect = dialect{
		unsigned: []string{"AccessDenied"}, signature: []string{"SignatureDoesNotMatch"}, expired: []string{"RequestTimeTooSkewed"},
		unknown: []string{"InvalidAccessKeyId"}, token: []string{"InvalidToken", "InvalidAccessKeyId"},
	}
)

// either accepts what both dialects say.
func (d dialect) either(o dialect) dialect {
	return dialect{
		slices.Concat(d.unsigned, o.unsigned),
		slices.Concat(d.signature, o.signature), slices.Concat(d.expired, o.expired), slices.Concat(d.unknown, o.unknown), slices.Concat(d.token, o.token),
	}
}

// orDenied accepts that who is nobody is denied: the policy of a queue or a
// topic may let in anybody, so it is asked even then.
func (d dialect) orDenied() dialect {
	d.unsigned = slices.Concat(d.unsigned, []string{"AccessDenied", "AccessDeniedException", "AuthorizationError"})
	return d
}

// A door is one harmless call of one service. Sign replaces its signer.
type door struct {
	service string
	dialect dialect
	knock   func(ctx context.Context, cfg aws.Config, sign v4.HTTPSigner) error
}

// doors are those of services that between them speak every protocol.
func (r *Run) doors() []door {
	return []door{
		{"DynamoDB", jsonDialect, func(ctx context.Context, cfg aws.Config, sign v4.HTTPSigner) error {
			_, err := dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) { o.HTTPSignerV4 = sign }).ListTables(ctx, &dynamodb.ListTablesInput{Limit: aws.Int32(1)})
			return err
		}},
		{"KMS", jsonDialect, func(ctx context.Context, cfg aws.Config, sign v4.HTTPSigner) error {
			_, err := kms.NewFromConfig(cfg, func(o *kms.Options) { o.HTTPSignerV4 = sign }).ListAliases(ctx, &kms.ListAliasesInput{Limit: aws.Int32(1)})
			return err
		}},
		{"Lambda", jsonDialect, func(ctx context.Context, cfg aws.Config, sign v4.HTTPSigner) error {
			_, err := lambda.NewFromConfig(cfg, func(o *lambda.Options) { o.HTTPSignerV4 = sign }).ListFunctions(ctx, &lambda.ListFunctionsInput{MaxItems: aws.Int32(1)})
			return err
		}},
		{"SQS", jsonDialect.either(queryDialect).orDenied(), func(ctx context.Context, cfg aws.Config, sign v4.HTTPSigner) error {
			_, err := sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.HTTPSignerV4 = sign }).GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String(r.stack.Notifications())})
			return err
		}},
		{"SNS", queryDialect.orDenied(), func(ctx context.Context, cfg aws.Config, sign v4.HTTPSigner) error {
			_, err := sns.NewFromConfig(cfg, func(o *sns.Options) { o.HTTPSignerV4 = sign }).GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: aws.String(r.stack.TopicARN())})
			return err
		}},
		{"STS", queryDialect, func(ctx context.Context, cfg aws.Config, sign v4.HTTPSigner) error {
			_, err := sts.NewFromConfig(cfg, func(o *sts.Options) { o.HTTPSignerV4 = sign }).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
			return err
		}},
		{"S3", s3Dialect, func(ctx context.Context, cfg aws.Config, sign v4.HTTPSigner) error {
			_, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.HTTPSignerV4, o.UsePathStyle = sign, cfg.BaseEndpoint != nil }).
				ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String(r.stack.Bucket()), MaxKeys: aws.Int32(1)})
			return err
		}},
	}
}

// A forgery is a way to call without being entitled to.
type forgery struct {
	id, title string
	codes     func(dialect) []string
	forge     func(cfg *aws.Config, c aws.Credentials) v4.HTTPSigner
}

func forgeries() []forgery {
	signed := func(change func(*aws.Credentials)) func(*aws.Config, aws.Credentials) v4.HTTPSigner {
		return func(cfg *aws.Config, c aws.Credentials) v4.HTTPSigner {
			change(&c)
			cfg.Credentials = credentials.StaticCredentialsProvider{Value: c}
			return v4.NewSigner()
		}
	}
	return []forgery{
		{"unsigned", "Requests without a signature are refused", func(d dialect) []string { return d.unsigned },
			func(cfg *aws.Config, _ aws.Credentials) v4.HTTPSigner {
				cfg.HTTPClient = stripped{cfg.HTTPClient}
				return v4.NewSigner()
			}},
		{"wrong-secret", "Requests signed with a wrong secret are refused", func(d dialect) []string { return d.signature },
			signed(func(c *aws.Credentials) { c.SecretAccessKey += "x" })},
		{"tampered", "Requests that were changed after they were signed are refused", func(d dialect) []string { return d.signature },
			func(cfg *aws.Config, _ aws.Credentials) v4.HTTPSigner {
				cfg.HTTPClient = tampered{cfg.HTTPClient}
				return v4.NewSigner()
			}},
		{"expired", "Requests signed an hour ago are refused", func(d dialect) []string { return d.expired },
			func(*aws.Config, aws.Credentials) v4.HTTPSigner { return backdated{v4.NewSigner()} }},
		{"unknown-key", "Requests with an unknown access key are refused", func(d dialect) []string { return d.unknown },
			signed(func(c *aws.Credentials) { c.AccessKeyID, c.SessionToken = "AKIAMINIFORGENOTAKEY", "" })},
		{"foreign-token", "Requests with a session token that was not issued for their key are refused", func(d dialect) []string { return d.token },
			signed(func(c *aws.Credentials) { c.SessionToken = "this is no session token of anybody" })},
	}
}

// tampered changes a header that the signature covers.
type tampered struct{ aws.HTTPClient }

// Do implements [aws.HTTPClient].
func (s tampered) Do(r *http.Request) (*http.Response, error) {
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return nil, fmt.Errorf("tamper with the date of a request: %w", err)
	}
	r.Header.Set("X-Amz-Date", at.Add(-time.Second).Format("20060102T150405Z"))
	return s.HTTPClient.Do(r)
}

// backdated signs as if it were an hour ago.
type backdated struct{ v4.HTTPSigner }

// SignHTTP implements [v4.HTTPSigner].
func (s backdated) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, at time.Time, o ...func(*v4.SignerOptions)) error {
	return s.HTTPSigner.SignHTTP(ctx, c, r, hash, service, region, at.Add(-time.Hour), o...)
}

func (r *Run) badCredentials() []check.Check {
	var checks []check.Check
	for _, f := range forgeries() {
		checks = append(checks, r.needs(canary.authenticates, check.Check{
			ID: "credentials." + f.id, Title: f.title,
			Run: func(ctx context.Context, t *check.T) error { return r.refuses(ctx, t, f) },
		}))
	}
	return checks
}

// refuses knocks at every door: first as the caller, so that a refusal has no
// other reason than what is wrong with the credentials.
func (r *Run) refuses(ctx context.Context, t *check.T, f forgery) error {
	cfg := r.guests.config()
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	mine, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("read own credentials: %w", err)
	}
	var errs []error
	for _, d := range r.doors() {
		if err := d.knock(ctx, cfg, v4.NewSigner()); err != nil {
			errs = append(errs, fmt.Errorf("call %s with good credentials: %w", d.service, err))
			continue
		}
		forged := cfg.Copy()
		sign := f.forge(&forged, mine)
		err := d.knock(ctx, forged, sign)
		want, got := f.codes(d.dialect), code(err)
		if err != nil && got == "" {
			errs = append(errs, fmt.Errorf("call %s: %w", d.service, err))
			continue
		}
		if err == nil {
			got = "served"
		}
		t.Claim(d.service, strings.Join(slices.Compact(want), " or "), got, slices.Contains(want, got))
	}
	return errors.Join(errs...)
}
