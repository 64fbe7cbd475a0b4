package lambda

import (
	"testing"
	"testing/synctest"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"miniforge/internal/cloud/latency"
)

// slowly has each kind of change take a time of its own.
func slowly(c latency.Change) time.Duration {
	return map[latency.Change]time.Duration{
		latency.FunctionCreated: 2 * time.Second, latency.FunctionUpdated: 3 * time.Second,
		latency.MappingChanged: 5 * time.Second, latency.MappingBeginning: 20 * time.Second,
	}[c]
}

// TestFunctionsSettle: a function that is made cannot be used, and one that is
// changed cannot be changed, until that is in effect.
func TestFunctionsSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, fakeFunction(echo), nil)
		f.Settle = slowly
		f.function("f", "one")
		name := new("f")
		states := func(what string, state types.State, update types.LastUpdateStatus) {
			t.Helper()
			c := must[*sdk.GetFunctionConfigurationOutput](t)(f.GetFunctionConfiguration(f.ctx, &sdk.GetFunctionConfigurationInput{FunctionName: name}))
			if c.State != state || c.LastUpdateStatus != update {
				t.Errorf("%s: %s and %q, want %s and %q", what, c.State, c.LastUpdateStatus, state, update)
			}
		}
		const busy = "ResourceConflictException"
		states("made", types.StatePending, "")
		_, err := f.Invoke(f.ctx, &sdk.InvokeInput{FunctionName: name})
		wantCode(t, err, busy, "The function is currently in the following state: Pending")
		_, err = f.PublishVersion(f.ctx, &sdk.PublishVersionInput{FunctionName: name})
		wantCode(t, err, busy, "The function is currently in the following state: Pending")
		time.Sleep(2 * time.Second)
		states("ready", types.StateActive, types.LastUpdateStatusSuccessful)
		f.invokes("f", `{}`)

		f.update("f", "two")
		states("changed", types.StateActive, types.LastUpdateStatusInProgress)
		f.invokes("f", `{}`)
		_, err = f.PublishVersion(f.ctx, &sdk.PublishVersionInput{FunctionName: name})
		wantCode(t, err, busy, "An update is in progress for resource")
		time.Sleep(3 * time.Second)
		states("changed and ready", types.StateActive, types.LastUpdateStatusSuccessful)
		f.publish("f")
		f.stop()
	})
}

// TestMappingsSettle: Enabled is not yet polling, and nothing is lost meanwhile.
func TestMappingsSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &batches{}
		f := start(t, fakeFunction(b.run), nil)
		f.function("f", "one")
		f.Settle = slowly
		id := new(f.mapStream(nil))
		f.insert("a")
		state := func(what, want string) {
			t.Helper()
			if got := *must[*sdk.GetEventSourceMappingOutput](t)(f.GetEventSourceMapping(f.ctx, &sdk.GetEventSourceMappingInput{UUID: id})).State; got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		state("made", "Creating")
		_, err := f.DeleteEventSourceMapping(f.ctx, &sdk.DeleteEventSourceMappingInput{UUID: id})
		wantCode(t, err, "ResourceInUseException", "Cannot delete the event source mapping because it is in use.")
		time.Sleep(5 * time.Second)
		state("ready", "Enabled")
		b.want(t)
		time.Sleep(20 * time.Second)
		b.want(t, "a")

		must[*sdk.UpdateEventSourceMappingOutput](t)(f.UpdateEventSourceMapping(f.ctx, &sdk.UpdateEventSourceMappingInput{UUID: id, BatchSize: new(int32(7))}))
		state("changed", "Updating")
		_, err = f.UpdateEventSourceMapping(f.ctx, &sdk.UpdateEventSourceMappingInput{UUID: id, BatchSize: new(int32(8))})
		wantCode(t, err, "ResourceInUseException", "Cannot update the event source mapping because it is in use.")
		f.stop()
	})
}
