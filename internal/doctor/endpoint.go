package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// A face is a path at which a known endpoint tells what it is.
type face struct{ name, path, contains string }

var faces = []face{
	{"Miniforge", "/_miniforge/health", "pid"},
	{"LocalStack", "/_localstack/health", `"services"`},
	{"moto", "/moto-api/data.json", "{"},
}

// Identity is what an endpoint says of itself.
type Identity struct {
	Name   string        `json:"name"`
	Server string        `json:"server,omitempty"` // its Server header
	Took   time.Duration `json:"took_ns"`          // of one request
	// Skew is by how much the endpoint's clock is ahead, to the second.
	Skew time.Duration `json:"skew_ns"`
}

// Identify finds out what answers at a URL.
func Identify(ctx context.Context, client *http.Client, url string) (Identity, error) {
	id := Identity{Name: "an AWS-compatible endpoint"}
	start := time.Now()
	resp, err := get(ctx, client, url+"/")
	if err != nil {
		return id, fmt.Errorf("reach %s: %w", url, err)
	}
	_ = resp.Body.Close()
	id.Took, id.Server = time.Since(start), resp.Header.Get("Server")
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		id.Skew = skew(date, time.Now())
	}
	for _, f := range faces {
		resp, err := get(ctx, client, url+f.path)
		if err != nil {
			return id, fmt.Errorf("reach %s: %w", url, err)
		}
		const enough = 4096
		body, _ := io.ReadAll(io.LimitReader(resp.Body, enough)) // what was read is looked at
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK && strings.Contains(string(body), f.contains) {
			id.Name = f.name
			break
		}
	}
	return id, nil
}

// skew is the difference of a date, which has cut-off seconds, to a time. Less
// than a second is none.
func skew(date, now time.Time) time.Duration {
	switch d := date.Sub(now); {
	case d > 0:
		return d.Truncate(time.Second)
	case d < -time.Second:
		return (d + time.Second).Truncate(time.Second)
	}
	return 0
}

func get(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// Signatures finds out whether requests with a wrong signature are refused.
func Signatures(ctx context.Context, cfg aws.Config) (bool, error) {
	good, err := cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return false, fmt.Errorf("read credentials: %w", err)
	}
	cfg.Credentials = credentials.NewStaticCredentialsProvider(good.AccessKeyID, strings.Repeat("x", len(good.SecretAccessKey)), good.SessionToken)
	_, err = sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	return refused(err)
}

// Policies finds out whether IAM's policies are enforced, by a canary: a user
// without any right, made for it and removed again, tries to list queues. An
// endpoint that enforces policies must refuse that.
func Policies(ctx context.Context, cfg aws.Config, user string, tags map[string]string) (enforced bool, err error) {
	client := iam.NewFromConfig(cfg)
	var list []types.Tag
	for k, v := range tags {
		list = append(list, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	var key *string
	defer func() {
		clear, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if cerr := removeUser(clear, client, user, key); cerr != nil {
			err = errors.Join(err, fmt.Errorf("remove the canary, user %s: %w", user, cerr))
		}
	}()
	if _, err := client.CreateUser(ctx, &iam.CreateUserInput{UserName: &user, Tags: list}); err != nil {
		return false, fmt.Errorf("make a user as a canary: %w", err)
	}
	made, err := client.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &user})
	if err != nil {
		return false, fmt.Errorf("make a key for the canary: %w", err)
	}
	key = made.AccessKey.AccessKeyId
	// On AWS the key is unknown for some seconds, which is a refusal, too: AWS
	// is not what this has to find out about.
	cfg.Credentials = credentials.NewStaticCredentialsProvider(aws.ToString(key), aws.ToString(made.AccessKey.SecretAccessKey), "")
	_, err = sqs.NewFromConfig(cfg).ListQueues(ctx, &sqs.ListQueuesInput{})
	return refused(err)
}

func removeUser(ctx context.Context, client *iam.Client, user string, key *string) error {
	if key != nil {
		if _, err := client.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &user, AccessKeyId: key}); err != nil {
			return err
		}
	}
	_, err := client.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &user})
	if api, is := errors.AsType[smithy.APIError](err); is && (api.ErrorCode() == "NoSuchEntity" || key == nil) {
		return nil // it was never made
	}
	return err
}

// refused reports whether an error is a refusal; another error is returned.
func refused(err error) (bool, error) {
	if err == nil {
		return false, nil
	}
	api, is := errors.AsType[smithy.APIError](err)
	if !is {
		return false, err
	}
	switch api.ErrorCode() {
	case "AccessDenied", "AccessDeniedException", "SignatureDoesNotMatch", "InvalidSignatureException", "InvalidClientTokenId", "UnrecognizedClientException", "AuthFailure", "IncompleteSignature":
		return true, nil
	}
	return false, err
}
