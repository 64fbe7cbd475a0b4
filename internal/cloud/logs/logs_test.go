package logs

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

const account = "123456789012"

// fakeKMS is a KMS with one data key, that can be switched off.
type fakeKMS struct {
	off   bool
	asked []string // principals
}

func (f *fakeKMS) Call(_ context.Context, as wire.As, in any) (any, error) {
	f.asked = append(f.asked, as.Principal.Service)
	if f.off {
		return nil, &kmstypes.DisabledException{Message: new("disabled")}
	}
	plain := []byte("0123456789abcdef0123456789abcdef")
	switch x := in.(type) {
	case *kms.GenerateDataKeyInput:
		return &kms.GenerateDataKeyOutput{Plaintext: plain, CiphertextBlob: []byte(*x.KeyId), KeyId: x.KeyId}, nil
	case *kms.DecryptInput:
		return &kms.DecryptOutput{Plaintext: plain, KeyId: new(string(x.CiphertextBlob))}, nil
	}
	return nil, errors.New("not KMS")
}

func (f *fakeKMS) CallJSON(context.Context, wire.As, string, string, []byte) ([]byte, error) {
	return nil, errors.New("not used")
}

type fixture struct {
	*Service
	ctx context.Context
	kms *fakeKMS
	t   testing.TB
}

// start runs a service with its queue until the test ends.
func start(t testing.TB) *fixture {
	t.Helper()
	db := store.Memory()
	q := event.NewQueue(db, nil)
	f := &fixture{kms: &fakeKMS{}, t: t}
	f.Service = New(Options{DB: db, Tasks: q, Caller: f.kms, Account: account})
	mux := wire.NewMux(wire.Options{Account: account})
	f.Register(mux, q)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	f.ctx = wire.WithCall(t.Context(), &wire.Call{Service: "logs", Region: "us-east-1", Account: account, Principal: authz.Principal{Type: authz.Root}})
	return f
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (f *fixture) group(name, key string) {
	f.t.Helper()
	in := &sdk.CreateLogGroupInput{LogGroupName: &name}
	if key != "" {
		in.KmsKeyId = &key
	}
	must[*sdk.CreateLogGroupOutput](f.t)(f.CreateLogGroup(f.ctx, in))
}

func (f *fixture) stream(group, name string) {
	f.t.Helper()
	must[*sdk.CreateLogStreamOutput](f.t)(f.CreateLogStream(f.ctx, &sdk.CreateLogStreamInput{LogGroupName: &group, LogStreamName: &name}))
}

// put appends messages, a millisecond apart, the first one ago.
func (f *fixture) put(group, stream string, ago time.Duration, messages ...string) *sdk.PutLogEventsOutput {
	f.t.Helper()
	in := &sdk.PutLogEventsInput{LogGroupName: &group, LogStreamName: &stream}
	at := time.Now().Add(-ago).UnixMilli()
	for i, m := range messages {
		in.LogEvents = append(in.LogEvents, types.InputLogEvent{Message: new(m), Timestamp: new(at + int64(i))})
	}
	return must[*sdk.PutLogEventsOutput](f.t)(f.PutLogEvents(f.ctx, in))
}

func (f *fixture) filter(group, pattern string) []string {
	f.t.Helper()
	out := must[*sdk.FilterLogEventsOutput](f.t)(f.FilterLogEvents(f.ctx, &sdk.FilterLogEventsInput{LogGroupName: &group, FilterPattern: &pattern}))
	got := []string{}
	for _, e := range out.Events {
		got = append(got, *e.Message)
	}
	return got
}

func wantCode(t *testing.T, err error, code, text string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), text) {
		t.Errorf("got %v, want %s with %q", err, code, text)
	}
}

func TestGetLogEventsPages(t *testing.T) {
	f := start(t)
	f.group("g", "")
	f.stream("g", "s")
	f.put("g", "s", time.Minute, "1", "2", "3", "4", "5")
	get := func(in sdk.GetLogEventsInput) (string, *sdk.GetLogEventsOutput) {
		in.LogGroupName, in.LogStreamName, in.Limit = new("g"), new("s"), new(int32(2))
		out := must[*sdk.GetLogEventsOutput](t)(f.GetLogEvents(f.ctx, &in))
		text := ""
		for _, e := range out.Events {
			text += *e.Message
		}
		return text, out
	}
	text, tail := get(sdk.GetLogEventsInput{})
	if text != "45" {
		t.Fatalf("the newest come first: got %q", text)
	}
	text, before := get(sdk.GetLogEventsInput{NextToken: tail.NextBackwardToken})
	if text != "23" {
		t.Errorf("backward from 45: got %q", text)
	}
	if text, _ := get(sdk.GetLogEventsInput{NextToken: before.NextForwardToken}); text != "45" {
		t.Errorf("forward from 23: got %q", text)
	}
	text, end := get(sdk.GetLogEventsInput{NextToken: tail.NextForwardToken})
	if text != "" || *end.NextForwardToken != *tail.NextForwardToken {
		t.Errorf("at the end: got %q and token %s, want nothing and %s", text, *end.NextForwardToken, *tail.NextForwardToken)
	}
	f.put("g", "s", 0, "6")
	if text, _ := get(sdk.GetLogEventsInput{NextToken: end.NextForwardToken}); text != "6" {
		t.Errorf("a new event after the end: got %q", text)
	}
	if text, _ := get(sdk.GetLogEventsInput{StartFromHead: new(true)}); text != "12" {
		t.Errorf("from the head: got %q", text)
	}
	_, err := f.GetLogEvents(f.ctx, &sdk.GetLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s"), NextToken: new("x")})
	wantCode(t, err, "InvalidParameterException", "nextToken is invalid")
}

func TestFilterLogEventsMergesStreamsAndPages(t *testing.T) {
	f := start(t)
	f.group("g", "")
	for _, s := range []string{"a", "b"} {
		f.stream("g", s)
	}
	f.put("g", "a", 9*time.Second, "a1")
	f.put("g", "b", 8*time.Second, "b1")
	f.put("g", "a", 7*time.Second, "a2")
	in := &sdk.FilterLogEventsInput{LogGroupName: new("g"), Limit: new(int32(1))}
	var got []string
	for {
		out := must[*sdk.FilterLogEventsOutput](t)(f.FilterLogEvents(f.ctx, in))
		for _, e := range out.Events {
			got = append(got, *e.LogStreamName+*e.Message)
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if d := cmp.Diff([]string{"aa1", "bb1", "aa2"}, got); d != "" {
		t.Error(d)
	}
}

func TestPutLogEventsRejects(t *testing.T) {
	f := start(t)
	f.group("g", "")
	f.stream("g", "s")
	now := time.Now()
	event := func(d time.Duration) types.InputLogEvent {
		return types.InputLogEvent{Message: new("m"), Timestamp: new(now.Add(d).UnixMilli())}
	}
	put := func(e ...types.InputLogEvent) (*sdk.PutLogEventsOutput, error) {
		return f.PutLogEvents(f.ctx, &sdk.PutLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s"), LogEvents: e})
	}
	_, err := put(event(0), event(-time.Second))
	wantCode(t, err, "InvalidParameterException", "must be in chronological order")
	_, err = put(event(-25*time.Hour), event(0))
	wantCode(t, err, "InvalidParameterException", "24 hours")
	out, err := put(event(0), event(3*time.Hour))
	if err != nil || *out.RejectedLogEventsInfo.TooNewLogEventStartIndex != 1 {
		t.Errorf("too new: %v, %+v", err, out)
	}
	out, err = put(event(-14*24*time.Hour-time.Hour), event(-14*24*time.Hour+time.Hour))
	if err != nil || *out.RejectedLogEventsInfo.TooOldLogEventEndIndex != 1 {
		t.Errorf("too old: %v, %+v", err, out)
	}
	if got := f.filter("g", ""); len(got) != 2 {
		t.Errorf("stored %d events, want the two in range", len(got))
	}
	_, err = f.PutLogEvents(f.ctx, &sdk.PutLogEventsInput{LogGroupName: new("g"), LogStreamName: new("no"), LogEvents: []types.InputLogEvent{event(0)}})
	wantCode(t, err, "ResourceNotFoundException", "The specified log stream does not exist.")
}

func TestEventsAreSealedUnderTheGroupsKey(t *testing.T) {
	f := start(t)
	f.group("g", "arn:aws:kms:us-east-1:123456789012:key/k")
	f.stream("g", "s")
	f.put("g", "s", 0, "secret word")
	err := f.DB.View(func(tx *store.Tx) error {
		for r, err := range events.Range(tx, "", "") {
			if err != nil {
				return err
			}
			if strings.Contains(string(r.Value), "secret") {
				t.Error("the message lies open in the store")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"secret word"}, f.filter("g", "secret")); d != "" {
		t.Error(d)
	}
	for _, p := range f.kms.asked {
		if p != "logs.us-east-1.amazonaws.com" {
			t.Errorf("KMS was asked by %q", p)
		}
	}
	f.kms.off = true
	_, err = f.FilterLogEvents(f.ctx, &sdk.FilterLogEventsInput{LogGroupName: new("g")})
	wantCode(t, err, "InvalidParameterException", "KMS key")
	_, err = f.CreateLogGroup(f.ctx, &sdk.CreateLogGroupInput{LogGroupName: new("h"), KmsKeyId: new("k")})
	wantCode(t, err, "InvalidParameterException", "The specified KMS key does not exist or is not allowed to be used with Arn 'arn:aws:logs:us-east-1:123456789012:log-group:h'")
}

func TestEventsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		f.group("g", "")
		f.stream("g", "s")
		must[*sdk.PutRetentionPolicyOutput](t)(f.PutRetentionPolicy(f.ctx, &sdk.PutRetentionPolicyInput{LogGroupName: new("g"), RetentionInDays: new(int32(1))}))
		f.put("g", "s", 0, "old")
		time.Sleep(12 * time.Hour)
		f.put("g", "s", 0, "new")
		for _, step := range []struct {
			wait time.Duration
			left int
		}{{11 * time.Hour, 2}, {2 * time.Hour, 1}, {12 * time.Hour, 0}} {
			time.Sleep(step.wait)
			synctest.Wait()
			n := 0
			err := f.DB.View(func(tx *store.Tx) error {
				for _, err := range events.Range(tx, "", "") {
					if err != nil {
						return err
					}
					n++
				}
				return nil
			})
			if err != nil || n != step.left {
				t.Errorf("%d events are stored (%v), want %d", n, err, step.left)
			}
		}
		f.put("g", "s", 0, "again")
		time.Sleep(25 * time.Hour)
		if got := f.filter("g", ""); len(got) != 0 {
			t.Errorf("an event outlived its retention: %q", got)
		}
	})
}

func TestDeletedGroupLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t)
		f.group("g", "")
		f.stream("g", "s")
		f.put("g", "s", 0, "x")
		must[*sdk.DeleteLogGroupOutput](t)(f.DeleteLogGroup(f.ctx, &sdk.DeleteLogGroupInput{LogGroupName: new("g")}))
		f.group("g", "")
		f.stream("g", "s")
		if got := f.filter("g", ""); len(got) != 0 {
			t.Errorf("a new group holds the old one's events: %q", got)
		}
		time.Sleep(time.Second)
		err := f.DB.View(func(tx *store.Tx) error {
			for r := range events.Range(tx, "", "") {
				t.Errorf("event %s is left", r.Key)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestDescribeLogGroups(t *testing.T) {
	f := start(t)
	for _, n := range []string{"/aws/lambda/a", "/aws/lambda/b", "/aws/lambda/c", "other"} {
		f.group(n, "")
	}
	list := func(in sdk.DescribeLogGroupsInput) (names []string) {
		for {
			out := must[*sdk.DescribeLogGroupsOutput](t)(f.DescribeLogGroups(f.ctx, &in))
			for _, g := range out.LogGroups {
				names = append(names, *g.LogGroupName)
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return names
			}
		}
	}
	for name, c := range map[string]struct {
		in   sdk.DescribeLogGroupsInput
		want []string
	}{
		"pages of two":     {sdk.DescribeLogGroupsInput{Limit: new(int32(2))}, []string{"/aws/lambda/a", "/aws/lambda/b", "/aws/lambda/c", "other"}},
		"prefix, in pages": {sdk.DescribeLogGroupsInput{LogGroupNamePrefix: new("/aws/"), Limit: new(int32(1))}, []string{"/aws/lambda/a", "/aws/lambda/b", "/aws/lambda/c"}},
		"pattern":          {sdk.DescribeLogGroupsInput{LogGroupNamePattern: new("the")}, []string{"other"}},
	} {
		if d := cmp.Diff(c.want, list(c.in)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	_, err := f.DescribeLogGroups(f.ctx, &sdk.DescribeLogGroupsInput{NextToken: new("bad")})
	wantCode(t, err, "InvalidParameterException", "The specified nextToken is invalid.")
}

// BenchmarkPutLogEvents writes what an execution of the workflow says.
func BenchmarkPutLogEvents(b *testing.B) {
	f := start(b)
	f.group("g", "key")
	must[*sdk.CreateLogStreamOutput](b)(f.CreateLogStream(f.ctx, &sdk.CreateLogStreamInput{LogGroupName: new("g"), LogStreamName: new("s")}))
	in := &sdk.PutLogEventsInput{LogGroupName: new("g"), LogStreamName: new("s")}
	for range 30 {
		in.LogEvents = append(in.LogEvents, types.InputLogEvent{Timestamp: new(time.Now().UnixMilli()), Message: new(strings.Repeat("x", 300))})
	}
	b.ReportAllocs()
	for b.Loop() {
		f.kms.asked = nil
		must[*sdk.PutLogEventsOutput](b)(f.PutLogEvents(f.ctx, in))
	}
}
