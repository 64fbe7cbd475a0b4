package lambda

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	logs "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	streams "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/lambda/sandbox"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const (
	account = "123456789012"
	roleARN = "arn:aws:iam::123456789012:role/miniforge/f"
	stream  = "arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-11-23T05:00:00.000"
	dlq     = "arn:aws:sqs:us-east-1:123456789012:dlq"
)

// fakeCloud is the other services.
type fakeCloud struct {
	mu      sync.Mutex
	lines   []string
	sent    []string // bodies of messages to queues
	records []streamtypes.Record
	denied  map[string]bool // names of input types that are refused
}

func (f *fakeCloud) Call(_ context.Context, as wire.As, in any) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.denied[fmt.Sprintf("%T", in)] {
		return nil, wire.Errorf("AccessDeniedException", "not allowed")
	}
	switch x := in.(type) {
	case *sts.AssumeRoleInput:
		if as.Principal.Service != "lambda.amazonaws.com" || strings.Contains(*x.RoleArn, "stranger") || len(*x.RoleSessionName) < 2 {
			return nil, wire.Errorf("AccessDenied", "not allowed")
		}
		return &sts.AssumeRoleOutput{
			AssumedRoleUser: &ststypes.AssumedRoleUser{Arn: new("arn:aws:sts::" + account + ":assumed-role/f/" + *x.RoleSessionName), AssumedRoleId: new("AROA:f")},
			Credentials:     &ststypes.Credentials{AccessKeyId: new("ASIA"), SecretAccessKey: new("s"), SessionToken: new("t"), Expiration: new(time.Now().Add(time.Hour))},
		}, nil
	case *logs.PutLogEventsInput:
		for _, e := range x.LogEvents {
			f.lines = append(f.lines, *e.Message)
		}
		return &logs.PutLogEventsOutput{}, nil
	case *logs.CreateLogStreamInput:
		return &logs.CreateLogStreamOutput{}, nil
	case *s3.GetObjectInput:
		return nil, wire.Errorf("NoSuchKey", "The specified key does not exist.")
	case *sqs.GetQueueUrlInput:
		return &sqs.GetQueueUrlOutput{QueueUrl: x.QueueName}, nil
	case *sqs.SendMessageInput:
		f.sent = append(f.sent, *x.MessageBody)
		return &sqs.SendMessageOutput{}, nil
	}
	return f.stream(in)
}

// stream is one shard. An iterator is the index of the next record.
func (f *fakeCloud) stream(in any) (any, error) {
	switch x := in.(type) {
	case *streams.ListStreamsInput:
		return &streams.ListStreamsOutput{}, nil
	case *streams.DescribeStreamInput:
		if *x.StreamArn != stream {
			return nil, &streamtypes.ResourceNotFoundException{Message: new("no such stream")}
		}
		return &streams.DescribeStreamOutput{StreamDescription: &streamtypes.StreamDescription{Shards: []streamtypes.Shard{{ShardId: new("shard-1")}}}}, nil
	case *streams.GetShardIteratorInput:
		at := 0
		if x.ShardIteratorType == streamtypes.ShardIteratorTypeLatest {
			at = len(f.records)
		}
		for i, r := range f.records {
			if x.SequenceNumber != nil && *r.Dynamodb.SequenceNumber == *x.SequenceNumber {
				at = i + 1
			}
		}
		return &streams.GetShardIteratorOutput{ShardIterator: new(fmt.Sprint(at))}, nil
	case *streams.GetRecordsInput:
		var at int
		if _, err := fmt.Sscan(*x.ShardIterator, &at); err != nil {
			return nil, err
		}
		end := min(len(f.records), at+int(*x.Limit))
		return &streams.GetRecordsOutput{Records: append([]streamtypes.Record{}, f.records[at:end]...), NextShardIterator: new(fmt.Sprint(end))}, nil
	}
	return nil, fmt.Errorf("the fake cloud does not know %T", in)
}

func (f *fakeCloud) CallJSON(context.Context, wire.As, string, string, []byte) ([]byte, error) {
	return nil, errors.New("not used")
}

func (f *fakeCloud) messages() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.sent...)
}

// A fakeFunction is what sandboxes run: a Go function.
type fakeFunction func(env map[string]string, in sandbox.Invocation) sandbox.Result

func (f fakeFunction) Launch(_ context.Context, s sandbox.Spec) (sandbox.Sandbox, error) {
	env := map[string]string{}
	for _, e := range s.Env {
		k, v, _ := strings.Cut(e, "=")
		env[k] = v
	}
	return &fakeBox{f: f, env: env, line: s.Line, ended: make(chan struct{})}, nil
}

type fakeBox struct {
	f     fakeFunction
	env   map[string]string
	line  func(string)
	ended chan struct{}
	once  sync.Once
}

func (b *fakeBox) Invoke(in sandbox.Invocation) sandbox.Result {
	b.line("said by function")
	return b.f(b.env, in)
}
func (b *fakeBox) Ended() <-chan struct{} { return b.ended }
func (b *fakeBox) Close()                 { b.once.Do(func() { close(b.ended) }) }

func echo(_ map[string]string, in sandbox.Invocation) sandbox.Result {
	return sandbox.Result{Payload: in.Payload, Duration: time.Millisecond}
}

func failing(map[string]string, sandbox.Invocation) sandbox.Result {
	return sandbox.Result{Payload: []byte(`{"errorType":"E","errorMessage":"m"}`), Failed: true}
}

type fixture struct {
	*Service
	t     *testing.T
	ctx   context.Context
	cloud *fakeCloud
	// cancel begins the end that stop waits for.
	cancel, stop func()
}

// start runs a service until the test ends, or stop is called.
func start(t *testing.T, f sandbox.Launcher, db store.DB) *fixture {
	t.Helper()
	if db == nil {
		db = store.Memory()
	}
	return startWith(t, f, db, &fakeCloud{denied: map[string]bool{}}, t.TempDir())
}

func startWith(t *testing.T, f sandbox.Launcher, db store.DB, cloud *fakeCloud, dir string) *fixture {
	t.Helper()
	q := event.NewQueue(db, slog.New(slog.DiscardHandler))
	s := New(Options{
		DB: db, Tasks: q, Caller: cloud, Account: account, Dir: dir, Launcher: f,
		Endpoint: func() (string, error) { return "http://127.0.0.1:4566", nil },
	})
	mux := wire.NewMux(wire.Options{Account: account})
	s.Register(mux, q)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = q.Run(ctx) })
	wg.Go(func() { _ = s.Run(ctx) })
	fx := &fixture{Service: s, t: t, cloud: cloud, cancel: cancel, stop: sync.OnceFunc(func() { cancel(); wg.Wait() })}
	t.Cleanup(fx.stop)
	fx.ctx = wire.WithCall(t.Context(), &wire.Call{
		Service: "lambda", Region: "us-east-1", Account: account, RequestID: "request", Endpoint: "http://127.0.0.1:4566",
		Principal: authz.Principal{Type: authz.Root, ARN: "arn:aws:iam::" + account + ":root"},
	})
	return fx
}

func pack(files map[string]string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, text := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o755)
		f, _ := w.CreateHeader(h)
		_, _ = f.Write([]byte(text))
	}
	_ = w.Close()
	return b.Bytes()
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantCode(t *testing.T, err error, code, text string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), text) {
		t.Errorf("got %v, want %s with %q", err, code, text)
	}
}

// function makes a function whose package holds text.
func (f *fixture) function(name, text string) *sdk.CreateFunctionOutput {
	f.t.Helper()
	return must[*sdk.CreateFunctionOutput](f.t)(f.CreateFunction(f.ctx, newFunction(name, text)))
}

func newFunction(name, text string) *sdk.CreateFunctionInput {
	return &sdk.CreateFunctionInput{
		FunctionName: &name, Role: new(roleARN), Runtime: types.RuntimeProvidedal2023, Handler: new("bootstrap"),
		Code: &types.FunctionCode{ZipFile: pack(map[string]string{"bootstrap": text})}, Environment: &types.Environment{Variables: map[string]string{"TEXT": text}},
	}
}

func (f *fixture) invokes(name, payload string) *sdk.InvokeOutput {
	f.t.Helper()
	return must[*sdk.InvokeOutput](f.t)(f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: &name, Payload: []byte(payload)}))
}

func (f *fixture) publish(name string) string {
	f.t.Helper()
	return *must[*sdk.PublishVersionOutput](f.t)(f.PublishVersion(f.ctx, &sdk.PublishVersionInput{FunctionName: &name})).Version
}

func (f *fixture) update(name, text string) {
	f.t.Helper()
	must[*sdk.UpdateFunctionCodeOutput](f.t)(f.UpdateFunctionCode(f.ctx, &sdk.UpdateFunctionCodeInput{FunctionName: &name, ZipFile: pack(map[string]string{"bootstrap": text})}))
}

// insert puts orders on the stream and wakes who reads it.
func (f *fixture) insert(ids ...string) {
	f.cloud.mu.Lock()
	for _, id := range ids {
		f.cloud.records = append(f.cloud.records, streamtypes.Record{
			EventID: new("e" + id), EventName: streamtypes.OperationTypeInsert,
			Dynamodb: &streamtypes.StreamRecord{
				SequenceNumber: new(fmt.Sprintf("%03d", len(f.cloud.records))), ApproximateCreationDateTime: new(time.Now()),
				Keys:     map[string]streamtypes.AttributeValue{"order_id": &streamtypes.AttributeValueMemberS{Value: id}},
				NewImage: map[string]streamtypes.AttributeValue{"order_id": &streamtypes.AttributeValueMemberS{Value: id}},
			},
		})
	}
	f.cloud.mu.Unlock()
	f.Signals.Notify(stream)
}

// orders are the ids in a batch.
func orders(payload []byte) (ids []string) {
	var e struct {
		Records []struct {
			Dynamodb struct {
				Keys map[string]struct{ S string }
			}
		}
	}
	if json.Unmarshal(payload, &e) == nil {
		for _, r := range e.Records {
			ids = append(ids, r.Dynamodb.Keys["order_id"].S)
		}
	}
	return ids
}
