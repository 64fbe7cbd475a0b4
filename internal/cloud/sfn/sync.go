package sfn

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/sfn/asl"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// maxExpress is how long an express execution may run.
const maxExpress = 5 * time.Minute

// StartSyncExecution runs an express execution to its end. It lives in memory
// only: if the process ends, the caller has had no answer and starts another.
func (s *Service) StartSyncExecution(ctx context.Context, in *sdk.StartSyncExecutionInput) (*sdk.StartSyncExecutionOutput, error) {
	a, err := s.parseARN(in.StateMachineArn, "stateMachine")
	if err != nil {
		return nil, err
	}
	name, input, err := accept(in.Name, in.Input)
	if err != nil {
		return nil, err
	}
	var x execution
	var m *asl.Machine
	err = s.DB.View(func(tx *store.Tx) (err error) {
		x, m, err = s.prepare(tx, wire.CallOf(ctx), a, name, input, in.TraceHeader)
		if err == nil && !x.Express {
			err = &types.StateMachineTypeNotSupported{Message: new("This operation is not supported by this type of state machine")}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p := progress{Status: running, Last: 1, Deadline: x.Start.Add(maxExpress)}
	if m.Timeout > 0 && m.Timeout < maxExpress {
		p.Deadline = x.Start.Add(m.Timeout)
	}
	r := s.newRun(&x, p, m, false)
	data, err := asl.Decode([]byte(*input))
	if err != nil {
		return nil, err // accept has read it before
	}
	r.begin(data, *input)
	if err := r.loop(ctx, nil); err != nil {
		return nil, err
	}
	included := &types.CloudWatchEventsExecutionDataDetails{Included: true}
	out := &sdk.StartSyncExecutionOutput{
		ExecutionArn: &x.ARN, Name: &x.Name, StateMachineArn: &x.Machine, StartDate: &x.Start, StopDate: &r.p.Stop,
		Status: types.SyncExecutionStatus(r.p.Status), Input: input, InputDetails: included, Error: r.p.Error, Cause: r.p.Cause,
		TraceHeader: in.TraceHeader, BillingDetails: billing(&x, &r.p),
	}
	if r.p.Output != nil {
		out.Output, out.OutputDetails = r.p.Output, included
	}
	if in.IncludedData == types.IncludedDataMetadataOnly {
		out.Input, out.Output, out.InputDetails, out.OutputDetails = nil, nil, &types.CloudWatchEventsExecutionDataDetails{}, nil
	}
	return out, nil
}

// billing counts as AWS does: by 100 ms, at 64 MB.
func billing(x *execution, p *progress) *types.BillingDetails {
	ms := (p.Stop.Sub(x.Start).Milliseconds()/100 + 1) * 100
	return &types.BillingDetails{BilledDurationInMilliseconds: ms, BilledMemoryUsedInMB: 64}
}

// awaitChild waits for the end of an execution that a task has started.
func (e *effect) awaitChild(ctx context.Context, as wire.As) (any, *asl.Error) {
	// Subscribe before looking, so that nothing is missed in between.
	ended, cancel := e.run.s.Signals.Subscribe(endKey(e.child))
	defer cancel()
	for {
		d, err := wire.Do[sdk.DescribeExecutionOutput](ctx, e.run.s.Caller, as, &sdk.DescribeExecutionInput{ExecutionArn: &e.child})
		if err != nil {
			return nil, e.failure(err)
		}
		if d.Status != types.ExecutionStatusRunning {
			return e.childOutput(d)
		}
		select {
		case <-ctx.Done():
			return nil, &asl.Error{Name: asl.ErrTaskFailed, Cause: ctx.Err().Error()}
		case <-ended:
		}
	}
}

// childOutput is what .sync returns: texts as they are, or with .sync:2 as JSON.
func (e *effect) childOutput(d *sdk.DescribeExecutionOutput) (any, *asl.Error) {
	m := map[string]any{
		"ExecutionArn": *d.ExecutionArn, "Name": *d.Name, "StateMachineArn": *d.StateMachineArn, "Status": string(d.Status),
		"StartDate": d.StartDate.UnixMilli(), "Input": *d.Input, "InputDetails": map[string]any{"Included": true},
	}
	if d.StopDate != nil {
		m["StopDate"] = d.StopDate.UnixMilli()
	}
	for name, v := range map[string]*string{"Output": d.Output, "Error": d.Error, "Cause": d.Cause} {
		if v != nil {
			m[name] = *v
		}
	}
	if d.Output != nil {
		m["OutputDetails"] = map[string]any{"Included": true}
	}
	if d.Status != types.ExecutionStatusSucceeded {
		return nil, &asl.Error{Name: asl.ErrTaskFailed, Cause: string(asl.Encode(m))}
	}
	if strings.HasSuffix(e.res.pattern, ":2") {
		for _, name := range []string{"Input", "Output"} {
			if text, ok := m[name].(string); ok && json.Valid([]byte(text)) {
				m[name], _ = asl.Decode([]byte(text)) // valid
			}
		}
	}
	return m, nil
}
