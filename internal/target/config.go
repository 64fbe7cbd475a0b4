package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// connections is how many connections to one endpoint are kept for reuse: as
// many as the graph's workers and a burst of orders use at once.
const connections = 64

// newHTTPClient must be the SDK's own type: only that takes AWS_CA_BUNDLE.
// Without real it connects to no host of AWS, where redirects may lead.
func newHTTPClient(real bool) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost, t.MaxIdleConns = connections, 2*connections
		if real {
			return
		}
		dial := t.DialContext
		t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, _, err := net.SplitHostPort(address); err != nil || realAWS(host) {
				return nil, &GuardError{address}
			}
			return dial(ctx, network, address)
		}
	})
}

// The limits of a call's repetitions. An endpoint that is busy may refuse the
// same call several times in a row, and up makes hundreds of calls: the SDK's
// three attempts would fail it. Nine pauses add up to about a minute and a half.
const (
	maxAttempts = 10
	maxBackoff  = 20 * time.Second
)

// Retryer repeats calls that were throttled, that the service could not serve,
// or whose answer was lost, with exponential back-off and jitter, until the
// deadline of the command's context. It has no budget over all calls, as the
// SDK's own has, which would end a command that meets a busy endpoint.
func Retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = maxAttempts, maxBackoff, ratelimit.None
		o.Retryables = append(o.Retryables, retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{http.StatusTooManyRequests: {}}})
	})
}

// loadConfig reads the SDK's own chain: environment, profiles, SSO, containers.
func loadConfig(ctx context.Context, o Options) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithHTTPClient(newHTTPClient(o.Target == AWS)),
		config.WithRetryer(Retryer),
		config.WithLogger(logging.Nop{}), // its warnings would get between the lines of progress
	}
	if o.Region != "" {
		options = append(options, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(o.Profile))
	}
	if o.Target != AWS {
		// An instance's role belongs to real AWS, and asking for it where there
		// is none takes seconds.
		options = append(options, config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cfg, fmt.Errorf("%w: load configuration of AWS: %w", ErrCredentials, err)
	}
	return cfg, nil
}

func static(id, secret string) aws.CredentialsProvider {
	return aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(id, secret, ""))
}

// Explain says of an SDK's error whether the endpoint or the credentials are
// at fault: it wraps ErrUnreachable or ErrCredentials then.
func Explain(endpoint string, err error) error {
	if sent, is := errors.AsType[*smithyhttp.RequestSendError](err); is && !errors.Is(err, context.Canceled) {
		if guard, is := errors.AsType[*GuardError](err); is {
			return fmt.Errorf("%w: %w", ErrUnreachable, guard)
		}
		if op, is := errors.AsType[*net.OpError](sent); is {
			return fmt.Errorf("%s: %w: %w", endpoint, ErrUnreachable, op)
		}
		return fmt.Errorf("%s: %w: %w", endpoint, ErrUnreachable, sent.Unwrap())
	}
	if api, is := errors.AsType[smithy.APIError](err); is && slices.Contains(refusals, api.ErrorCode()) {
		return fmt.Errorf("%s: %w: %s: %s", endpoint, ErrCredentials, api.ErrorCode(), api.ErrorMessage())
	}
	return err
}

// refusals are the codes by which AWS refuses credentials as such; AccessDenied
// is not one of them, as it judges what they may do.
var refusals = []string{
	"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException",
	"ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "MissingAuthenticationToken", "IncompleteSignature",
	"RequestTimeTooSkewed", "AuthFailure", "OptInRequired",
}
