package lambda

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/lambda/sandbox"
	"miniforge/internal/cloud/store"
)

// batches notes what a function gets.
type batches struct {
	mu   sync.Mutex
	all  []string
	fail func(ids []string) sandbox.Result
}

func (b *batches) run(_ map[string]string, in sandbox.Invocation) sandbox.Result {
	ids := orders(in.Payload)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, strings.Join(ids, ""))
	if b.fail != nil {
		return b.fail(ids)
	}
	return sandbox.Result{Payload: []byte("null")}
}

func (b *batches) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.all, want) {
		t.Errorf("batches %q, want %q", b.all, want)
	}
	b.all = nil
}

func (f *fixture) mapStream(change func(*sdk.CreateEventSourceMappingInput)) string {
	f.t.Helper()
	in := &sdk.CreateEventSourceMappingInput{FunctionName: new("f"), EventSourceArn: new(stream), StartingPosition: types.EventSourcePositionTrimHorizon}
	if change != nil {
		change(in)
	}
	out := must[*sdk.CreateEventSourceMappingOutput](f.t)(f.CreateEventSourceMapping(f.ctx, in))
	if *out.State != "Creating" {
		f.t.Errorf("state %s", *out.State)
	}
	return *out.UUID
}

func TestStreamIsHandedOnInOrderAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, dir, b := store.Memory(), t.TempDir(), &batches{}
		f := startWith(t, fakeFunction(b.run), db, &fakeCloud{}, dir)
		f.function("f", "x")
		f.insert("a", "b")
		id := f.mapStream(nil)
		b.want(t, "ab")
		f.insert("c")
		b.want(t, "c")
		got := must[*sdk.GetEventSourceMappingOutput](t)(f.GetEventSourceMapping(f.ctx, &sdk.GetEventSourceMappingInput{UUID: &id}))
		if *got.State != "Enabled" || *got.LastProcessingResult != "OK" {
			t.Errorf("mapping is %s, %s", *got.State, *got.LastProcessingResult)
		}
		f.stop()
		f.insert("d")
		g := startWith(t, fakeFunction(b.run), db, f.cloud, dir)
		b.want(t, "d")
		must[*sdk.DeleteEventSourceMappingOutput](t)(g.DeleteEventSourceMapping(g.ctx, &sdk.DeleteEventSourceMappingInput{UUID: &id}))
		synctest.Wait()
		g.insert("e")
		b.want(t)
		_, err := g.GetEventSourceMapping(g.ctx, &sdk.GetEventSourceMappingInput{UUID: &id})
		wantCode(t, err, "ResourceNotFoundException", "The resource you requested does not exist.")
	})
}

func TestStreamFilters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &batches{}
		f := start(t, fakeFunction(b.run), nil)
		f.function("f", "x")
		f.insert("a", "b", "a")
		f.mapStream(func(in *sdk.CreateEventSourceMappingInput) {
			in.FilterCriteria = &types.FilterCriteria{Filters: []types.Filter{{Pattern: new(`{"eventName":["INSERT"],"dynamodb":{"NewImage":{"order_id":{"S":["b"]}}}}`)}}}
		})
		b.want(t, "b")
	})
}

func TestPoisonRecordIsIsolatedByBisecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &batches{fail: func(ids []string) sandbox.Result {
			if slices.Contains(ids, "c") {
				return failing(nil, sandbox.Invocation{})
			}
			return sandbox.Result{}
		}}
		f := start(t, fakeFunction(b.run), nil)
		f.function("f", "x")
		f.insert("a", "b", "c", "d")
		f.mapStream(func(in *sdk.CreateEventSourceMappingInput) {
			in.BisectBatchOnFunctionError, in.MaximumRetryAttempts = new(true), new(int32(2))
			in.DestinationConfig = &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: new(dlq)}}
		})
		time.Sleep(time.Minute)
		b.want(t, "abcd", "ab", "cd", "c", "c", "c", "d")
		sent := f.cloud.messages()
		if len(sent) != 1 {
			t.Fatalf("destination got %q", sent)
		}
		var m streamFailure
		if err := json.Unmarshal([]byte(sent[0]), &m); err != nil {
			t.Fatal(err)
		}
		if m.Request.Condition != "RetryAttemptsExhausted" || m.Request.Invokes != 3 || m.Batch.Start != "002" || m.Batch.End != "002" || m.Batch.Size != 1 || m.Batch.StreamARN != stream {
			t.Errorf("destination got %+v", m)
		}
		b.fail = nil
		f.insert("e")
		b.want(t, "e")
	})
}

func TestPartialBatchResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := 1
		b := &batches{fail: func([]string) sandbox.Result {
			if fails--; fails >= 0 {
				return sandbox.Result{Payload: []byte(`{"batchItemFailures":[{"itemIdentifier":"001"}]}`)}
			}
			return sandbox.Result{Payload: []byte(`{"batchItemFailures":[]}`)}
		}}
		f := start(t, fakeFunction(b.run), nil)
		f.function("f", "x")
		f.insert("a", "b", "c")
		f.mapStream(func(in *sdk.CreateEventSourceMappingInput) {
			in.FunctionResponseTypes = []types.FunctionResponseType{types.FunctionResponseTypeReportBatchItemFailures}
		})
		time.Sleep(time.Minute)
		b.want(t, "abc", "bc")
	})
}

func TestMappingErrors(t *testing.T) {
	f := start(t, fakeFunction(echo), nil)
	f.function("f", "x")
	id := f.mapStream(nil)
	create := func(in sdk.CreateEventSourceMappingInput) error {
		_, err := f.CreateEventSourceMapping(f.ctx, &in)
		return err
	}
	wantCode(t, create(sdk.CreateEventSourceMappingInput{FunctionName: new("f"), EventSourceArn: new(stream), StartingPosition: "LATEST"}), "ResourceConflictException",
		`The event source arn (" `+stream+` ") and function (" f ") provided mapping already exists. Please update or delete the existing mapping with UUID `+id)
	wantCode(t, create(sdk.CreateEventSourceMappingInput{FunctionName: new("g"), EventSourceArn: new(stream), StartingPosition: "LATEST"}), "InvalidParameterValueException", "Function does not exist")
	wantCode(t, create(sdk.CreateEventSourceMappingInput{FunctionName: new("f"), EventSourceArn: new(stream)}), "InvalidParameterValueException", "Value null at 'startingPosition'")
	wantCode(t, create(sdk.CreateEventSourceMappingInput{FunctionName: new("f"), EventSourceArn: new(stream + "x"), StartingPosition: "LATEST"}), "InvalidParameterValueException", "Stream not found: "+stream+"x")
	wantCode(t, create(sdk.CreateEventSourceMappingInput{FunctionName: new("f"), EventSourceArn: new("arn:aws:ec2:us-east-1:1:x")}), "InvalidParameterValueException", "Unrecognized event source.")
	f.cloud.mu.Lock()
	f.cloud.denied["*dynamodbstreams.GetRecordsInput"] = true
	f.cloud.mu.Unlock()
	f.insert("a")
	wantCode(t, create(sdk.CreateEventSourceMappingInput{FunctionName: new("f:$LATEST"), EventSourceArn: new(stream), StartingPosition: "LATEST"}), "InvalidParameterValueException", "Cannot access stream")
}
