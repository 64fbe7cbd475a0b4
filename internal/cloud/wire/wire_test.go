package wire_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	ddbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/wire"
)

// inproc carries requests to a handler without a socket.
type inproc struct{ h http.Handler }

func (t inproc) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Body == nil {
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	t.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// newMux has a JSON API (sqs), one with unions (dynamodb) and a query API (sns).
func newMux() *wire.Mux {
	m := wire.NewMux(wire.Options{Account: "000000000000", Authenticate: func(_ context.Context, id, token string) (wire.Credential, error) {
		switch {
		case token == "foreign":
			return wire.Credential{}, wire.ErrInvalidToken
		case token == "expired":
			return wire.Credential{}, wire.ErrExpiredToken
		case id != "AKID":
			return wire.Credential{}, wire.ErrUnknownKey
		}
		return wire.Credential{Secret: "SECRET", Principal: authz.Principal{Type: authz.Root, ARN: "arn:aws:iam::000000000000:root"}}, nil
	}})
	q := m.API(wire.API{Service: "sqs", Protocol: wire.JSON10, Target: "AmazonSQS", QueryCodes: map[string]string{"QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue"}})
	wire.Handle(q, func(_ context.Context, in *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
		return &sqs.SendMessageOutput{MessageId: in.MessageBody}, nil
	}, wire.Members("QueueUrl!", "MessageBody! 1..10", "DelaySeconds 0..900", "MessageDeduplicationId 1..5 [a-z]+"))
	wire.Handle(q, func(ctx context.Context, in *sqs.ReceiveMessageInput) (*sqs.ReceiveMessageOutput, error) {
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(in.WaitTimeSeconds) * time.Second):
		}
		return &sqs.ReceiveMessageOutput{}, nil
	})
	wire.Handle(q, func(context.Context, *sqs.GetQueueUrlInput) (*sqs.GetQueueUrlOutput, error) {
		return nil, &sqstypes.QueueDoesNotExist{Message: new("The specified queue does not exist.")}
	})
	wire.Handle(q, func(context.Context, *sqs.PurgeQueueInput) (*sqs.PurgeQueueOutput, error) { panic("defect") })
	union, variants := wire.Union[ddbtypes.AttributeValue](&ddbtypes.AttributeValueMemberS{}, &ddbtypes.AttributeValueMemberM{}, &ddbtypes.AttributeValueMemberN{})
	d := m.API(wire.API{Service: "dynamodb", Protocol: wire.JSON10, Target: "DynamoDB_20120810", Unions: map[reflect.Type]wire.Variants{union: variants}})
	wire.Handle(d, func(_ context.Context, in *dynamodb.PutItemInput) (*dynamodb.PutItemOutput, error) {
		return nil, &ddbtypes.ConditionalCheckFailedException{Message: new("The conditional request failed"), Item: in.Item}
	})
	n := m.API(wire.API{Service: "sns", Protocol: wire.Query, Version: "2010-03-31", Namespace: "http://sns.amazonaws.com/doc/2010-03-31/"})
	wire.Handle(n, func(_ context.Context, in *sns.PublishInput) (*sns.PublishOutput, error) {
		return &sns.PublishOutput{MessageId: in.MessageAttributes["a<b"].StringValue}, nil
	})
	wire.Handle(n, func(context.Context, *sns.GetTopicAttributesInput) (*sns.GetTopicAttributesOutput, error) {
		return nil, &snstypes.NotFoundException{Message: new("Topic does not exist")}
	})
	return m
}

func config(m *wire.Mux, id, secret, token string) aws.Config {
	return aws.Config{
		Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(id, secret, token),
		HTTPClient: &http.Client{Transport: inproc{m}}, RetryMaxAttempts: 1,
	}
}

func sqsClient(m *wire.Mux) *sqs.Client {
	return sqs.NewFromConfig(config(m, "AKID", "SECRET", ""), func(o *sqs.Options) { o.DisableMessageChecksumValidation = true })
}

func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return "no API error: " + err.Error()
}

func TestJSONRoundTrip(t *testing.T) {
	out, err := sqsClient(newMux()).SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: new("q"), MessageBody: new("é<\"\\\n")})
	if err != nil || *out.MessageId != "é<\"\\\n" {
		t.Errorf("got %v, %v", out, err)
	}
}

func TestQueryRoundTrip(t *testing.T) {
	c := sns.NewFromConfig(config(newMux(), "AKID", "SECRET", ""))
	out, err := c.Publish(t.Context(), &sns.PublishInput{TopicArn: new("t"), Message: new("m"), MessageAttributes: map[string]snstypes.MessageAttributeValue{
		"a<b": {DataType: new("String"), StringValue: new("x & <y>")}, "c": {DataType: new("String"), StringValue: new("z")},
	}})
	if err != nil || *out.MessageId != "x & <y>" {
		t.Errorf("got %v, %v", out, err)
	}
}

func TestModelledErrorsArriveAsTheirTypes(t *testing.T) {
	m := newMux()
	_, err := sqsClient(m).GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: new("q")})
	if _, ok := errors.AsType[*sqstypes.QueueDoesNotExist](err); !ok {
		t.Errorf("sqs: %v", err)
	}
	_, err = sns.NewFromConfig(config(m, "AKID", "SECRET", "")).GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: new("t")})
	if _, ok := errors.AsType[*snstypes.NotFoundException](err); !ok {
		t.Errorf("sns: %v", err)
	}
	item := map[string]ddbtypes.AttributeValue{"k": &ddbtypes.AttributeValueMemberM{Value: map[string]ddbtypes.AttributeValue{"n": &ddbtypes.AttributeValueMemberN{Value: "1"}}}}
	_, err = dynamodb.NewFromConfig(config(m, "AKID", "SECRET", "")).PutItem(t.Context(), &dynamodb.PutItemInput{TableName: new("t"), Item: item})
	failed, ok := errors.AsType[*ddbtypes.ConditionalCheckFailedException](err)
	if !ok {
		t.Fatalf("dynamodb: %v", err)
	}
	if d := cmp.Diff(item, failed.Item, cmpopts.IgnoreUnexported(ddbtypes.AttributeValueMemberM{}, ddbtypes.AttributeValueMemberN{})); d != "" {
		t.Errorf("the error's item (-want +got):\n%s", d)
	}
}

func TestAPanicIsOneRequestsInternalFailure(t *testing.T) {
	_, err := sqsClient(newMux()).PurgeQueue(t.Context(), &sqs.PurgeQueueInput{QueueUrl: new("q")})
	if got := code(err); !strings.HasPrefix(got, "InternalFailure") {
		t.Error(got)
	}
}

func TestValidationText(t *testing.T) {
	for name, tc := range map[string]struct {
		in   *sqs.SendMessageInput
		want string
	}{
		"too long": {
			&sqs.SendMessageInput{QueueUrl: new("q"), MessageBody: new("12345678901")},
			"ValidationException: 1 validation error detected: Value '12345678901' at 'messageBody' failed to satisfy constraint: Member must have length less than or equal to 10",
		},
		"two problems": {
			&sqs.SendMessageInput{QueueUrl: new("q"), MessageBody: new(""), DelaySeconds: 901},
			"ValidationException: 2 validation errors detected: Value '' at 'messageBody' failed to satisfy constraint: Member must have length greater than or equal to 1; Value '901' at 'delaySeconds' failed to satisfy constraint: Member must have value less than or equal to 900",
		},
		"pattern": {
			&sqs.SendMessageInput{QueueUrl: new("q"), MessageBody: new("b"), MessageDeduplicationId: new("A")},
			"ValidationException: 1 validation error detected: Value 'A' at 'messageDeduplicationId' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-z]+",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sqsClient(newMux()).SendMessage(t.Context(), tc.in)
			if got := code(err); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// raw sends a signed JSON request with a body that no SDK would send.
func raw(t *testing.T, m *wire.Mux, target, body string, change func(*http.Request)) (int, string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", strings.NewReader(body))
	r.Header.Set("X-Amz-Target", target)
	cred := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "SECRET"}
	if err := v4.NewSigner().SignHTTP(t.Context(), cred, r, wire.Digest(body), "sqs", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestBadBodiesAreClientErrors(t *testing.T) {
	for name, body := range map[string]string{
		"no JSON": "{", "wrong type": `{"QueueUrl":1}`, "list for object": `[]`, "number for list": `{"QueueUrl":"q","MessageAttributes":3}`,
		"out of range": `{"DelaySeconds":99999999999999}`, "bad base64": `{"MessageAttributes":{"a":{"BinaryValue":"%"}}}`, "deep": strings.Repeat(`{"MessageAttributes":`, 1), "missing member": `{}`, "null": `{"QueueUrl":null}`,
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := raw(t, newMux(), "AmazonSQS.SendMessage", body, nil)
			if status != http.StatusBadRequest {
				t.Errorf("%d %s", status, answer)
			}
		})
	}
}

func TestUnknownOperationNamesItself(t *testing.T) {
	status, answer := raw(t, newMux(), "AmazonSQS.AddPermission", "{}", nil)
	if status != http.StatusNotImplemented || !strings.Contains(answer, "AddPermission") {
		t.Errorf("%d %s", status, answer)
	}
}

func TestSignatureIsRequired(t *testing.T) {
	m := newMux()
	for name, tc := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"unsigned":       {func(r *http.Request) { r.Header.Del("Authorization") }, "MissingAuthenticationTokenException"},
		"body changed":   {func(r *http.Request) { r.Body = io.NopCloser(bytes.NewReader([]byte(`{"QueueUrl":"other"}`))) }, "InvalidSignatureException"},
		"header changed": {func(r *http.Request) { r.Header.Set("X-Amz-Target", "AmazonSQS.PurgeQueue") }, "InvalidSignatureException"},
		"header added":   {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "t") }, "InvalidSignatureException"},
		"path changed":   {func(r *http.Request) { r.URL.Path = "/x" }, "InvalidSignatureException"},
		"not our scheme": {func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, "IncompleteSignatureException"},
		"cut off":        {func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID") }, "IncompleteSignatureException"},
		"other day":      {func(r *http.Request) { r.Header.Set("X-Amz-Date", "20200101T000000Z") }, "IncompleteSignatureException"},
	} {
		t.Run(name, func(t *testing.T) {
			status, answer := raw(t, m, "AmazonSQS.SendMessage", `{"QueueUrl":"q","MessageBody":"b"}`, tc.change)
			if status != http.StatusBadRequest || !strings.Contains(answer, tc.want) {
				t.Errorf("%d %s, want %s", status, answer, tc.want)
			}
		})
	}
}

// TestUnsignedRequestsAreAnsweredInTheirProtocol has requests that do not say
// for whom they are but by their path.
func TestUnsignedRequestsAreAnsweredInTheirProtocol(t *testing.T) {
	m := newMux()
	l := m.API(wire.API{Service: "lambda", Protocol: wire.RESTJSON})
	wire.Bind(l, "GET /2017-03-31/tags/{Resource}", func(context.Context, *lambda.ListTagsInput) (*lambda.ListTagsOutput, error) {
		return nil, errors.New("an unsigned request was served")
	})
	for path, want := range map[string]string{
		"/2017-03-31/tags/f": `{"__type":"MissingAuthenticationTokenException"`,
		"/bucket/key":        "<Code>AccessDenied</Code>",
	} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://cloud.test"+path, nil))
		if !strings.Contains(w.Body.String(), want) || w.Code != http.StatusForbidden {
			t.Errorf("%s: %d %v %s, want %s", path, w.Code, w.Header(), w.Body, want)
		}
	}
}

func TestCredentialsAreChecked(t *testing.T) {
	for name, tc := range map[string]struct{ id, secret, token, want string }{
		"unknown key":   {"AKOTHER", "SECRET", "", "UnrecognizedClientException"},
		"wrong secret":  {"AKID", "secret", "", "InvalidSignatureException"},
		"expired token": {"AKID", "SECRET", "expired", "ExpiredTokenException"},
	} {
		t.Run(name, func(t *testing.T) {
			c := sqs.NewFromConfig(config(newMux(), tc.id, tc.secret, tc.token))
			_, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: new("q"), MessageBody: new("b")})
			if got := code(err); !strings.HasPrefix(got, tc.want) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestOldAndFutureSignaturesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMux()
		for _, wait := range []time.Duration{14 * time.Minute, 16 * time.Minute} {
			status, answer := raw(t, m, "AmazonSQS.SendMessage", `{"QueueUrl":"q","MessageBody":"b"}`, func(*http.Request) { time.Sleep(wait) })
			if ok := status == http.StatusOK; ok != (wait < 15*time.Minute) {
				t.Errorf("after %v: %d %s", wait, status, answer)
			}
		}
	})
}

func TestPresignedRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMux()
		get := func(change func(string) string, wait time.Duration) int {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1/?Action=GetTopicAttributes&TopicArn=t&Version=2010-03-31&X-Amz-Expires=60", nil)
			uri, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "SECRET"}, r, wire.Digest(""), "sns", "us-east-1", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(wait)
			w := httptest.NewRecorder()
			m.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, change(uri), nil))
			return w.Code
		}
		same := func(s string) string { return s }
		if got := get(same, 0); got != http.StatusBadRequest { // the operation's own NotFound: the signature held
			t.Errorf("fresh: %d", got)
		}
		if got := get(same, 61*time.Second); got != http.StatusForbidden {
			t.Errorf("expired: %d", got)
		}
		if got := get(func(s string) string { return strings.Replace(s, "TopicArn=t", "TopicArn=u", 1) }, 0); got != http.StatusForbidden {
			t.Errorf("changed: %d", got)
		}
	})
}

func TestLongPollInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if _, err := sqsClient(newMux()).ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: new("q"), WaitTimeSeconds: 20}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 20*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

func TestCallJSON(t *testing.T) {
	out, err := newMux().CallJSON(t.Context(), wire.As{}, "sqs", "SendMessage", []byte(`{"queueUrl":"q","MessageBody":"b"}`))
	if err != nil || string(out) != `{"MessageId":"b"}` {
		t.Errorf("%s, %v", out, err)
	}
	if _, err := newMux().CallJSON(t.Context(), wire.As{}, "sqs", "Nothing", []byte(`{}`)); err == nil {
		t.Error("an unknown operation was carried out")
	}
}

func TestWrongRegistrationPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("input and output of different operations were taken")
		}
	}()
	m := newMux()
	wire.Handle(m.API(wire.API{Service: "x"}), func(context.Context, *sqs.SendMessageInput) (*sqs.DeleteMessageOutput, error) { return nil, nil })
}
