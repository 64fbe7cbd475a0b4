package lambda

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/lambda/sandbox"
	"miniforge/internal/cloud/store"
)

// versionOf answers with the version that runs.
func versionOf(env map[string]string, _ sandbox.Invocation) sandbox.Result {
	return sandbox.Result{Payload: []byte(`"` + env["AWS_LAMBDA_FUNCTION_VERSION"] + `"`)}
}

func TestVersionsAndAliases(t *testing.T) {
	f := start(t, fakeFunction(versionOf), nil)
	made := f.function("f", "one")
	if made.State != types.StatePending || made.LastUpdateStatus != "" || *made.Version != "$LATEST" {
		t.Errorf("created: %+v", made)
	}
	if c := must[*sdk.GetFunctionConfigurationOutput](t)(f.GetFunctionConfiguration(f.ctx, &sdk.GetFunctionConfigurationInput{FunctionName: new("f")})); c.State != types.StateActive || c.Environment.Variables["TEXT"] != "one" || *c.Timeout != 3 {
		t.Errorf("got %+v", c)
	}
	if v := f.publish("f"); v != "1" {
		t.Fatalf("first version is %s", v)
	}
	if v := f.publish("f"); v != "1" {
		t.Errorf("publishing again without a change made version %s", v)
	}
	f.update("f", "two")
	if v := f.publish("f"); v != "2" {
		t.Errorf("publishing new code made version %s", v)
	}
	alias := must[*sdk.CreateAliasOutput](t)(f.CreateAlias(f.ctx, &sdk.CreateAliasInput{FunctionName: new("f"), Name: new("live"), FunctionVersion: new("1")}))
	out := f.invokes("f:live", "{}")
	if string(out.Payload) != `"1"` || *out.ExecutedVersion != "1" {
		t.Errorf("alias ran %s", out.Payload)
	}
	_, err := f.DeleteFunction(f.ctx, &sdk.DeleteFunctionInput{FunctionName: new("f"), Qualifier: new("1")})
	wantCode(t, err, "ResourceConflictException", "live")
	_, err = f.UpdateAlias(f.ctx, &sdk.UpdateAliasInput{FunctionName: new("f"), Name: new("live"), RevisionId: new("old")})
	wantCode(t, err, "PreconditionFailedException", "Revision Id")
	must[*sdk.UpdateAliasOutput](t)(f.UpdateAlias(f.ctx, &sdk.UpdateAliasInput{
		FunctionName: new("f"), Name: new("live"), RevisionId: alias.RevisionId, RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0.5}},
	}))
	seen := map[string]int{}
	for range 200 {
		seen[string(f.invokes("f:live", "{}").Payload)]++
	}
	if seen[`"1"`] < 50 || seen[`"2"`] < 50 {
		t.Errorf("weights of one half gave %v", seen)
	}

	must[*sdk.DeleteFunctionOutput](t)(f.DeleteFunction(f.ctx, &sdk.DeleteFunctionInput{FunctionName: new("f")}))
	_, err = f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f"), Qualifier: new("live")})
	wantCode(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:123456789012:function:f:live")
	f.function("f", "three")
	if v := f.publish("f"); v != "3" {
		t.Errorf("a function made again began with version %s: numbers are never used twice", v)
	}
	left, err := filepath.Glob(filepath.Join(f.Dir, "*", packageFile))
	if err != nil || len(left) != 1 {
		t.Errorf("%d packages are kept (%v), want that of the one function", len(left), err)
	}
}

func TestErrors(t *testing.T) {
	f := start(t, fakeFunction(echo), nil)
	f.function("f", "x")
	f.publish("f")
	create := func(change func(*sdk.CreateFunctionInput)) error {
		in := newFunction("g", "x")
		change(in)
		_, err := f.CreateFunction(f.ctx, in)
		return err
	}
	for name, c := range map[string]struct {
		err        error
		code, text string
	}{
		"taken":    {create(func(in *sdk.CreateFunctionInput) { in.FunctionName = new("f") }), "ResourceConflictException", "Function already exist: f"},
		"role":     {create(func(in *sdk.CreateFunctionInput) { in.Role = new("arn:aws:iam::123456789012:role/stranger") }), "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."},
		"no zip":   {create(func(in *sdk.CreateFunctionInput) { in.Code.ZipFile = []byte("no zip") }), "InvalidParameterValueException", "Could not unzip uploaded file. Please check your file, then try to upload again."},
		"zip slip": {create(func(in *sdk.CreateFunctionInput) { in.Code.ZipFile = pack(map[string]string{"../x": ""}) }), "InvalidParameterValueException", "Could not unzip"},
		"no object": {create(func(in *sdk.CreateFunctionInput) {
			in.Code = &types.FunctionCode{S3Bucket: new("bbb"), S3Key: new("k")}
		}), "InvalidParameterValueException", "Error occurred while GetObject. S3 Error Code: NoSuchKey."},
		"old runtime":  {create(func(in *sdk.CreateFunctionInput) { in.Runtime = types.RuntimeGo1x }), "InvalidParameterValueException", "The runtime parameter of go1.x is no longer supported"},
		"reserved env": {create(func(in *sdk.CreateFunctionInput) { in.Environment.Variables["AWS_REGION"] = "x" }), "InvalidParameterValueException", "Reserved keys used in this request: AWS_REGION"},
		"large env":    {create(func(in *sdk.CreateFunctionInput) { in.Environment.Variables["X"] = strings.Repeat("x", 4096) }), "InvalidParameterValueException", "exceeded the 4KB limit"},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, c.err, c.code, c.text) })
	}
	_, err := f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f"), Payload: []byte("{")})
	wantCode(t, err, "InvalidRequestContentException", "Could not parse request body into json")
	_, err = f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f:1"), Qualifier: new("2")})
	wantCode(t, err, "InvalidParameterValueException", "The derived qualifier from the function name does not match the specified qualifier.")
	_, err = f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("arn:aws:lambda:eu-west-1:123456789012:function:f")})
	wantCode(t, err, "ResourceNotFoundException", "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')")
	_, err = f.CreateAlias(f.ctx, &sdk.CreateAliasInput{FunctionName: new("f"), Name: new("a"), FunctionVersion: new("9")})
	wantCode(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:us-east-1:123456789012:function:f:9")
	_, err = f.GetAlias(f.ctx, &sdk.GetAliasInput{FunctionName: new("f"), Name: new("a")})
	wantCode(t, err, "ResourceNotFoundException", "Cannot find alias arn: arn:aws:lambda:us-east-1:123456789012:function:f:a")
	_, err = f.PublishVersion(f.ctx, &sdk.PublishVersionInput{FunctionName: new("f"), CodeSha256: new("x")})
	wantCode(t, err, "InvalidParameterValueException", "is different from current CodeSHA256 in $LATEST")
	big := make([]byte, maxSyncPayload+1)
	_, err = f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f"), Payload: big})
	wantCode(t, err, "RequestTooLargeException", "")
}

func TestPermissions(t *testing.T) {
	f := start(t, fakeFunction(echo), nil)
	f.function("f", "x")
	f.publish("f")
	must[*sdk.CreateAliasOutput](t)(f.CreateAlias(f.ctx, &sdk.CreateAliasInput{FunctionName: new("f"), Name: new("live"), FunctionVersion: new("1")}))
	add := &sdk.AddPermissionInput{
		FunctionName: new("f"), Qualifier: new("live"), StatementId: new("s"), Action: new("lambda:InvokeFunction"), Principal: new("apigateway.amazonaws.com"),
		SourceArn: new("arn:aws:execute-api:us-east-1:123456789012:a/*"),
	}
	must[*sdk.AddPermissionOutput](t)(f.AddPermission(f.ctx, add))
	_, err := f.AddPermission(f.ctx, add)
	wantCode(t, err, "ResourceConflictException", "The statement id (s) provided already exists.")
	doc := must[string](t)(f.ResourcePolicy(t.Context(), "arn:aws:lambda:us-east-1:123456789012:function:f:live"))
	for _, want := range []string{`"Service":"apigateway.amazonaws.com"`, `"Resource":"arn:aws:lambda:us-east-1:123456789012:function:f:live"`, `"ArnLike":{"AWS:SourceArn":"arn:aws:execute-api`} {
		if !strings.Contains(doc, want) {
			t.Errorf("policy lacks %s: %s", want, doc)
		}
	}
	if doc := must[string](t)(f.ResourcePolicy(t.Context(), "arn:aws:lambda:us-east-1:123456789012:function:f")); doc != "" {
		t.Errorf("the alias's permission holds for the function: %s", doc)
	}
	_, err = f.RemovePermission(f.ctx, &sdk.RemovePermissionInput{FunctionName: new("f"), Qualifier: new("live"), StatementId: new("other")})
	wantCode(t, err, "ResourceNotFoundException", "Statement other is not found in resource policy.")
	must[*sdk.RemovePermissionOutput](t)(f.RemovePermission(f.ctx, &sdk.RemovePermissionInput{FunctionName: new("f"), Qualifier: new("live"), StatementId: new("s")}))
	_, err = f.GetPolicy(f.ctx, &sdk.GetPolicyInput{FunctionName: new("f"), Qualifier: new("live")})
	wantCode(t, err, "ResourceNotFoundException", "The resource you requested does not exist.")
}

func TestLogsOfAnInvocation(t *testing.T) {
	f := start(t, fakeFunction(echo), nil)
	f.function("f", "x")
	out := must[*sdk.InvokeOutput](t)(f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f"), LogType: types.LogTypeTail}))
	tail, err := base64.StdEncoding.DecodeString(*out.LogResult)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(tail), "\n")
	if lines[0] != "START RequestId: request Version: $LATEST" || lines[1] != "said by function" || lines[2] != "END RequestId: request" ||
		!strings.HasPrefix(lines[3], "REPORT RequestId: request\tDuration: 1.00 ms\tBilled Duration: ") {
		t.Errorf("tail: %q", lines)
	}
	f.stop()
	if got := strings.Join(f.cloud.lines, "\n"); !strings.HasPrefix(got, "INIT_START") || !strings.Contains(got, string(tail[:100])) {
		t.Errorf("CloudWatch Logs got %q", got)
	}
}

func TestReservedConcurrency(t *testing.T) {
	entered, leave := make(chan bool), make(chan bool)
	f := start(t, fakeFunction(func(_ map[string]string, in sandbox.Invocation) sandbox.Result {
		entered <- true
		<-leave
		return sandbox.Result{Payload: in.Payload}
	}), nil)
	f.function("f", "x")
	must[*sdk.PutFunctionConcurrencyOutput](t)(f.PutFunctionConcurrency(f.ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: new("f"), ReservedConcurrentExecutions: new(int32(1))}))
	done := make(chan error, 1)
	go func() {
		_, err := f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f")})
		done <- err
	}()
	<-entered
	_, err := f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f")})
	wantCode(t, err, "TooManyRequestsException", "Rate Exceeded.")
	close(leave)
	if err := <-done; err != nil {
		t.Error(err)
	}
	_, err = f.PutFunctionConcurrency(f.ctx, &sdk.PutFunctionConcurrencyInput{FunctionName: new("f"), ReservedConcurrentExecutions: new(int32(950))})
	wantCode(t, err, "InvalidParameterValueException", "below its minimum value of [100]")
}

func TestSandboxesAreReusedAndScaleOut(t *testing.T) {
	var launched atomic.Int32
	gate := make(chan bool)
	f := start(t, launcher(func(ctx context.Context, s sandbox.Spec) (sandbox.Sandbox, error) {
		launched.Add(1)
		return fakeFunction(func(_ map[string]string, in sandbox.Invocation) sandbox.Result {
			if string(in.Payload) == `"wait"` {
				<-gate
			}
			return sandbox.Result{Payload: []byte(s.Dir)}
		}).Launch(ctx, s)
	}), nil)
	f.function("f", "x")
	for range 5 {
		f.invokes("f", "1")
	}
	if n := launched.Load(); n != 1 {
		t.Errorf("%d sandboxes for one invocation after the other", n)
	}
	done := make(chan error)
	for range 3 {
		go func() {
			_, err := f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f"), Payload: []byte(`"wait"`)})
			done <- err
		}()
	}
	f.invokes("f", "1") // needs a sandbox beside those that wait
	close(gate)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	old := f.invokes("f", "1")
	f.update("f", "y")
	if out := f.invokes("f", "1"); string(out.Payload) == string(old.Payload) {
		t.Error("old code ran after the update")
	}
}

type launcher func(context.Context, sandbox.Spec) (sandbox.Sandbox, error)

func (l launcher) Launch(ctx context.Context, s sandbox.Spec) (sandbox.Sandbox, error) {
	return l(ctx, s)
}

func TestIdleSandboxesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, fakeFunction(echo), nil)
		f.function("f", "x")
		f.invokes("f", "1")
		time.Sleep(idleTime + time.Second)
		synctest.Wait()
		f.pool.mu.Lock()
		defer f.pool.mu.Unlock()
		if f.pool.total != 0 || len(f.pool.groups) != 0 {
			t.Errorf("%d sandboxes in %d groups are left", f.pool.total, len(f.pool.groups))
		}
	})
}

func TestAsyncRetriesThenConcludes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		var tries []time.Duration
		f := start(t, fakeFunction(func(env map[string]string, in sandbox.Invocation) sandbox.Result {
			tries = append(tries, time.Since(begun).Round(time.Second))
			return failing(env, in)
		}), nil)
		in := newFunction("f", "x")
		in.DeadLetterConfig = &types.DeadLetterConfig{TargetArn: new(dlq)}
		must[*sdk.CreateFunctionOutput](t)(f.CreateFunction(f.ctx, in))
		must[*sdk.PutFunctionEventInvokeConfigOutput](t)(f.PutFunctionEventInvokeConfig(f.ctx, &sdk.PutFunctionEventInvokeConfigInput{
			FunctionName: new("f"), DestinationConfig: &types.DestinationConfig{OnFailure: &types.OnFailure{Destination: new(dlq)}},
		}))
		out := must[*sdk.InvokeOutput](t)(f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"a":1}`)}))
		if out.StatusCode != http.StatusAccepted || out.Payload != nil {
			t.Errorf("answered %d %s", out.StatusCode, out.Payload)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if want := []time.Duration{0, time.Minute, 3 * time.Minute}; !slices.Equal(tries, want) {
			t.Errorf("tried at %v, want %v", tries, want)
		}
		sent := f.cloud.messages()
		if len(sent) != 2 || sent[1] != `{"a":1}` {
			t.Fatalf("sent %q", sent)
		}
		var r record
		if err := json.Unmarshal([]byte(sent[0]), &r); err != nil {
			t.Fatal(err)
		}
		if r.Request.Condition != "RetriesExhausted" || r.Request.Invokes != 3 || string(r.Payload) != `{"a":1}` || r.Response.Error != "Unhandled" || !strings.HasSuffix(r.Request.Function, ":$LATEST") {
			t.Errorf("destination got %+v", r)
		}
	})
}

func TestCodeIsServedUnderItsLocation(t *testing.T) {
	f := start(t, fakeFunction(echo), nil)
	f.function("f", "x")
	out := must[*sdk.GetFunctionOutput](t)(f.GetFunction(f.ctx, &sdk.GetFunctionInput{FunctionName: new("f")}))
	get := func(url string) (int, []byte) {
		w := httptest.NewRecorder()
		f.ServeCode(w, httptest.NewRequest(http.MethodGet, url, nil))
		return w.Code, w.Body.Bytes()
	}
	if status, body := get(*out.Code.Location); status != http.StatusOK || !bytes.Equal(body, pack(map[string]string{"bootstrap": "x"})) {
		t.Errorf("%s: status %d, %d bytes", *out.Code.Location, status, len(body))
	}
	if status, _ := get(*out.Code.Location + "0"); status != http.StatusForbidden {
		t.Errorf("a changed signature: status %d", status)
	}
}

func TestEventOfAKilledProcessIsDoneByTheNext(t *testing.T) {
	db, dir, cloud := store.Memory(), t.TempDir(), &fakeCloud{}
	entered, ended := make(chan bool, 1), make(chan bool)
	f := startWith(t, fakeFunction(func(map[string]string, sandbox.Invocation) sandbox.Result {
		entered <- true
		<-ended // as a process that is killed
		return sandbox.Result{Failure: &sandbox.Failure{Type: sandbox.ExitError}}
	}), db, cloud, dir)
	f.function("f", "x")
	must[*sdk.InvokeOutput](t)(f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`"x"`)}))
	<-entered
	f.cancel()
	close(ended)
	f.stop()
	again := make(chan string, 1)
	startWith(t, fakeFunction(func(_ map[string]string, in sandbox.Invocation) sandbox.Result {
		again <- string(in.Payload)
		return sandbox.Result{}
	}), db, cloud, dir)
	if got := <-again; got != `"x"` {
		t.Errorf("the next process got %s", got)
	}
}

func TestManyCallersShareThePool(t *testing.T) {
	var running, most atomic.Int32
	f := start(t, fakeFunction(func(env map[string]string, in sandbox.Invocation) sandbox.Result {
		for n := running.Add(1); ; {
			if was := most.Load(); n <= was || most.CompareAndSwap(was, n) {
				break
			}
		}
		defer running.Add(-1)
		return echo(env, in)
	}), nil)
	f.pool.most = 3
	f.function("f", "x")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			for range 20 {
				want := fmt.Sprint(i)
				out, err := f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: new("f"), Payload: []byte(want)})
				if err != nil || string(out.Payload) != want {
					t.Errorf("got %s, %v; want %s", out.Payload, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > 3 {
		t.Errorf("%d sandboxes at a time, want at most 3", most.Load())
	}
}
