package sfn

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
)

// maxEvents is how many events a history may have.
const maxEvents = 25_000

// A record is one event of a history.
type record struct {
	ID   int64     `json:"id"`
	Prev int64     `json:"prev"`
	At   time.Time `json:"at"`
	Type string    `json:"type"`
	detail
}

// A detail is what the details of all types of events hold.
type detail struct {
	Name      *string `json:"name,omitempty"`
	Input     *string `json:"input,omitempty"`
	Output    *string `json:"output,omitempty"`
	Error     *string `json:"error,omitempty"`
	Cause     *string `json:"cause,omitempty"`
	Role      string  `json:"role,omitempty"`
	Version   string  `json:"version,omitempty"`
	Alias     string  `json:"alias,omitempty"`
	Resource  string  `json:"resource,omitempty"`
	Kind      string  `json:"kind,omitempty"` // resource type
	Region    string  `json:"region,omitempty"`
	Timeout   int64   `json:"timeout,omitempty"` // seconds
	Heartbeat int64   `json:"heartbeat,omitempty"`
	Index     int32   `json:"index,omitempty"`
	Length    int32   `json:"length,omitempty"`
	Redrives  int32   `json:"redrives,omitempty"`
	Worker    *string `json:"worker,omitempty"`
}

// sdk is the event as GetExecutionHistory gives it; without data, inputs and
// outputs are left out.
func (r *record) sdk(data bool) types.HistoryEvent {
	e := types.HistoryEvent{Id: r.ID, PreviousEventId: r.Prev, Timestamp: &r.At, Type: types.HistoryEventType(r.Type)}
	var in, out *string
	var inDetails, outDetails *types.HistoryEventExecutionDataDetails
	if data {
		in, out = r.Input, r.Output
		whole := &types.HistoryEventExecutionDataDetails{}
		if in != nil {
			inDetails = whole
		}
		if out != nil {
			outDetails = whole
		}
	}
	switch {
	case len(r.Type) > 12 && r.Type[len(r.Type)-12:] == "StateEntered":
		e.StateEnteredEventDetails = &types.StateEnteredEventDetails{Name: r.Name, Input: in, InputDetails: inDetails}
		return e
	case len(r.Type) > 11 && r.Type[len(r.Type)-11:] == "StateExited":
		e.StateExitedEventDetails = &types.StateExitedEventDetails{Name: r.Name, Output: out, OutputDetails: outDetails}
		return e
	}
	switch e.Type {
	case types.HistoryEventTypeExecutionStarted:
		e.ExecutionStartedEventDetails = &types.ExecutionStartedEventDetails{
			Input: in, InputDetails: inDetails, RoleArn: &r.Role,
			StateMachineAliasArn: optional(r.Alias), StateMachineVersionArn: optional(r.Version),
		}
	case types.HistoryEventTypeExecutionSucceeded:
		e.ExecutionSucceededEventDetails = &types.ExecutionSucceededEventDetails{Output: out, OutputDetails: outDetails}
	case types.HistoryEventTypeExecutionFailed:
		e.ExecutionFailedEventDetails = &types.ExecutionFailedEventDetails{Error: r.Error, Cause: r.Cause}
	case types.HistoryEventTypeExecutionAborted:
		e.ExecutionAbortedEventDetails = &types.ExecutionAbortedEventDetails{Error: r.Error, Cause: r.Cause}
	case types.HistoryEventTypeExecutionTimedOut:
		e.ExecutionTimedOutEventDetails = &types.ExecutionTimedOutEventDetails{Error: r.Error, Cause: r.Cause}
	case types.HistoryEventTypeExecutionRedriven:
		e.ExecutionRedrivenEventDetails = &types.ExecutionRedrivenEventDetails{RedriveCount: &r.Redrives}
	case types.HistoryEventTypeMapStateStarted:
		e.MapStateStartedEventDetails = &types.MapStateStartedEventDetails{Length: r.Length}
	case types.HistoryEventTypeMapIterationStarted:
		e.MapIterationStartedEventDetails = r.iteration()
	case types.HistoryEventTypeMapIterationSucceeded:
		e.MapIterationSucceededEventDetails = r.iteration()
	case types.HistoryEventTypeMapIterationFailed:
		e.MapIterationFailedEventDetails = r.iteration()
	case types.HistoryEventTypeMapIterationAborted:
		e.MapIterationAbortedEventDetails = r.iteration()
	default:
		r.task(&e, in, out, inDetails, outDetails)
	}
	return e
}

func (r *record) iteration() *types.MapIterationEventDetails {
	return &types.MapIterationEventDetails{Name: r.Name, Index: r.Index}
}

// task fills in the details of events of tasks, functions and activities.
func (r *record) task(e *types.HistoryEvent, in, out *string, inDetails, outDetails *types.HistoryEventExecutionDataDetails) {
	resource, kind := &r.Resource, &r.Kind
	switch e.Type {
	case types.HistoryEventTypeTaskScheduled:
		parameters := in
		if parameters == nil {
			parameters = new("")
		}
		e.TaskScheduledEventDetails = &types.TaskScheduledEventDetails{
			Resource: resource, ResourceType: kind, Region: &r.Region, Parameters: parameters,
			TimeoutInSeconds: positive(r.Timeout), HeartbeatInSeconds: positive(r.Heartbeat),
		}
	case types.HistoryEventTypeTaskStarted:
		e.TaskStartedEventDetails = &types.TaskStartedEventDetails{Resource: resource, ResourceType: kind}
	case types.HistoryEventTypeTaskSubmitted:
		e.TaskSubmittedEventDetails = &types.TaskSubmittedEventDetails{Resource: resource, ResourceType: kind, Output: out, OutputDetails: outDetails}
	case types.HistoryEventTypeTaskSucceeded:
		e.TaskSucceededEventDetails = &types.TaskSucceededEventDetails{Resource: resource, ResourceType: kind, Output: out, OutputDetails: outDetails}
	case types.HistoryEventTypeTaskFailed:
		e.TaskFailedEventDetails = &types.TaskFailedEventDetails{Resource: resource, ResourceType: kind, Error: r.Error, Cause: r.Cause}
	case types.HistoryEventTypeTaskTimedOut:
		e.TaskTimedOutEventDetails = &types.TaskTimedOutEventDetails{Resource: resource, ResourceType: kind, Error: r.Error, Cause: r.Cause}
	case types.HistoryEventTypeTaskSubmitFailed:
		e.TaskSubmitFailedEventDetails = &types.TaskSubmitFailedEventDetails{Resource: resource, ResourceType: kind, Error: r.Error, Cause: r.Cause}
	case types.HistoryEventTypeLambdaFunctionScheduled:
		e.LambdaFunctionScheduledEventDetails = &types.LambdaFunctionScheduledEventDetails{
			Resource: resource, Input: in, InputDetails: inDetails, TimeoutInSeconds: positive(r.Timeout),
		}
	case types.HistoryEventTypeLambdaFunctionSucceeded:
		e.LambdaFunctionSucceededEventDetails = &types.LambdaFunctionSucceededEventDetails{Output: out, OutputDetails: outDetails}
	case types.HistoryEventTypeLambdaFunctionFailed:
		e.LambdaFunctionFailedEventDetails = &types.LambdaFunctionFailedEventDetails{Error: r.Error, Cause: r.Cause}
	case types.HistoryEventTypeLambdaFunctionTimedOut:
		e.LambdaFunctionTimedOutEventDetails = &types.LambdaFunctionTimedOutEventDetails{Error: r.Error, Cause: r.Cause}
	case types.HistoryEventTypeActivityScheduled:
		e.ActivityScheduledEventDetails = &types.ActivityScheduledEventDetails{
			Resource: resource, Input: in, InputDetails: inDetails,
			TimeoutInSeconds: positive(r.Timeout), HeartbeatInSeconds: positive(r.Heartbeat),
		}
	case types.HistoryEventTypeActivityStarted:
		e.ActivityStartedEventDetails = &types.ActivityStartedEventDetails{WorkerName: r.Worker}
	case types.HistoryEventTypeActivitySucceeded:
		e.ActivitySucceededEventDetails = &types.ActivitySucceededEventDetails{Output: out, OutputDetails: outDetails}
	case types.HistoryEventTypeActivityFailed:
		e.ActivityFailedEventDetails = &types.ActivityFailedEventDetails{Error: r.Error, Cause: r.Cause}
	case types.HistoryEventTypeActivityTimedOut:
		e.ActivityTimedOutEventDetails = &types.ActivityTimedOutEventDetails{Error: r.Error, Cause: r.Cause}
	}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func positive(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}
