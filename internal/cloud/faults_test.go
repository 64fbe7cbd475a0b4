package cloud_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud"
	"miniforge/internal/cloud/fault"
)

// admin sends a request to the administration of faults.
func admin(t *testing.T, c *cloud.Cloud, method, body string, key aws.Credentials, service string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://cloud.test"+cloud.FaultPath, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if key.AccessKeyID != "" {
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(t.Context(), key, r, hex.EncodeToString(sum[:]), service, c.Region, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := c.Transport().RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// TestOnlyRootInjectsFaults: whoever can make the cloud fail can make it lie.
func TestOnlyRootInjectsFaults(t *testing.T) {
	c, err := cloud.New(t.Context(), cloud.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	root := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey}
	wrong := aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: strings.Repeat("x", 40)}
	const rule = `{"seed":1,"rules":[{"kind":"throttle","service":"sqs","operation":"ListQueues","count":1}]}`
	for _, tc := range []struct {
		name    string
		key     aws.Credentials
		service string
		want    int
	}{
		{"unsigned", aws.Credentials{}, "", http.StatusForbidden},
		{"wrong secret", wrong, cloud.FaultService, http.StatusForbidden},
		{"signed for another service", root, "sqs", http.StatusForbidden},
		{"root", root, cloud.FaultService, http.StatusOK},
	} {
		if got := admin(t, c, http.MethodPost, rule, tc.key, tc.service); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
	client := sqs.New(sqs.Options{
		Region: c.Region, BaseEndpoint: aws.String("http://cloud.test"), HTTPClient: &http.Client{Transport: c.Transport()}, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, ""),
	})
	_, err = client.ListQueues(t.Context(), &sqs.ListQueuesInput{})
	if api, ok := errors.AsType[smithy.APIError](err); !ok || api.ErrorCode() != "RequestThrottled" {
		t.Errorf("the SDK got %v; want RequestThrottled, as SQS says it", err)
	}
	if _, err := client.ListQueues(t.Context(), &sqs.ListQueuesInput{}); err != nil {
		t.Errorf("after the one fault: %v", err)
	}
	if s := c.Faults().Status(); s.Injected[fault.Throttle] != 1 {
		t.Errorf("injected %v", s.Injected)
	}
}
