package sfn

import (
	"strconv"
	"strings"

	"miniforge/internal/cloud/jsontext"
)

// appendLogLine writes an event as Step Functions logs it. Every event of every
// execution comes by here: it is written without a tree of values in between.
// https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
func appendLogLine(b []byte, x *execution, p *progress, r *record) []byte {
	b = strconv.AppendInt(append(b, `{"id":"`...), r.ID, 10)
	b = jsontext.AppendString(append(b, `","type":`...), r.Type, true)
	b = r.appendDetails(append(b, `,"details":`...), x.Logging.Data)
	b = strconv.AppendInt(append(b, `,"redrive_count":"`...), int64(p.Redrives), 10)
	b = strconv.AppendInt(append(b, `","previous_event_id":"`...), r.Prev, 10)
	b = strconv.AppendInt(append(b, `","event_timestamp":"`...), r.At.UnixMilli(), 10)
	b = jsontext.AppendString(append(b, `","execution_arn":`...), x.ARN, true)
	return append(b, '}')
}

// Lists of members that several types of events have.
var (
	outcome   = []string{"output", "outputDetails"}
	failure   = []string{"cause", "error"}
	iteration = []string{"index", "name"}
	task      = []string{"resource", "resourceType"}
	taskDone  = append(task[:2:2], outcome...)
	taskLost  = append(task[:2:2], failure...)
)

// logMembers are the members of the details of each type of event, in their
// order. Types without details are not here.
var logMembers = map[string][]string{
	"ExecutionStarted":        {"input", "inputDetails", "roleArn", "stateMachineAliasArn", "stateMachineVersionArn"},
	"ExecutionSucceeded":      outcome,
	"ExecutionFailed":         failure,
	"ExecutionAborted":        failure,
	"ExecutionTimedOut":       failure,
	"ExecutionRedriven":       {"redriveCount"},
	"StateEntered":            {"name", "input", "inputDetails"},
	"StateExited":             {"name", "output", "outputDetails"},
	"MapStateStarted":         {"length"},
	"MapIterationStarted":     iteration,
	"MapIterationSucceeded":   iteration,
	"MapIterationFailed":      iteration,
	"MapIterationAborted":     iteration,
	"TaskScheduled":           {"parameters", "region", "resource", "resourceType", "heartbeatInSeconds", "timeoutInSeconds"},
	"TaskStarted":             task,
	"TaskSubmitted":           taskDone,
	"TaskSucceeded":           taskDone,
	"TaskFailed":              taskLost,
	"TaskTimedOut":            taskLost,
	"TaskSubmitFailed":        taskLost,
	"LambdaFunctionScheduled": {"resource", "input", "inputDetails", "timeoutInSeconds"},
	"LambdaFunctionSucceeded": outcome,
	"LambdaFunctionFailed":    failure,
	"LambdaFunctionTimedOut":  failure,
	"ActivityScheduled":       {"resource", "heartbeatInSeconds", "input", "inputDetails", "timeoutInSeconds"},
	"ActivityStarted":         {"workerName"},
	"ActivitySucceeded":       outcome,
	"ActivityFailed":          failure,
	"ActivityTimedOut":        failure,
}

// stateEvents are the endings of types that begin with the state's type.
var stateEvents = []string{"StateEntered", "StateExited"}

// appendDetails writes the details of an event as its SDK type has them; data
// tells whether input and output are among them.
func (r *record) appendDetails(b []byte, data bool) []byte {
	kind := r.Type
	for _, ending := range stateEvents {
		if strings.HasSuffix(kind, ending) {
			kind = ending
		}
	}
	b = append(b, '{')
	for _, name := range logMembers[kind] {
		b = r.appendMember(b, name, data)
	}
	return append(b, '}')
}

// appendMember writes a member of the details, if the event has it.
func (r *record) appendMember(b []byte, name string, data bool) []byte {
	in, out := r.Input, r.Output
	if !data {
		in, out = nil, nil
	}
	switch name {
	case "input":
		return appendText(b, name, in)
	case "inputDetails":
		return appendWhole(b, name, in)
	case "parameters":
		if in == nil {
			in = new("")
		}
		return appendText(b, name, in)
	case "output":
		return appendText(b, name, out)
	case "outputDetails":
		return appendWhole(b, name, out)
	case "name":
		return appendText(b, name, r.Name)
	case "error":
		return appendText(b, name, r.Error)
	case "cause":
		return appendText(b, name, r.Cause)
	case "resource":
		return appendText(b, name, &r.Resource)
	case "resourceType":
		return appendText(b, name, &r.Kind)
	case "region":
		return appendText(b, name, &r.Region)
	case "roleArn":
		return appendText(b, name, &r.Role)
	case "stateMachineAliasArn":
		return appendText(b, name, optional(r.Alias))
	case "stateMachineVersionArn":
		return appendText(b, name, optional(r.Version))
	case "workerName":
		return appendText(b, name, r.Worker)
	case "heartbeatInSeconds":
		return appendNumber(b, name, positive(r.Heartbeat))
	case "timeoutInSeconds":
		return appendNumber(b, name, positive(r.Timeout))
	case "index":
		return appendNumber(b, name, new(int64(r.Index)))
	case "length":
		return appendNumber(b, name, new(int64(r.Length)))
	case "redriveCount":
		return appendNumber(b, name, new(int64(r.Redrives)))
	}
	return b
}

// appendName writes a member's name, after a comma unless it is the first.
func appendName(b []byte, name string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return append(append(append(b, '"'), name...), `":`...)
}

func appendText(b []byte, name string, s *string) []byte {
	if s == nil {
		return b
	}
	return jsontext.AppendString(appendName(b, name), *s, true)
}

func appendNumber(b []byte, name string, n *int64) []byte {
	if n == nil {
		return b
	}
	return strconv.AppendInt(appendName(b, name), *n, 10)
}

// appendWhole tells of a text, if there is one, that all of it is there.
func appendWhole(b []byte, name string, s *string) []byte {
	if s == nil {
		return b
	}
	return append(appendName(b, name), `{"truncated":false}`...)
}
