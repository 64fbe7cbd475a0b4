package sfn

import (
	"context"
	"encoding/json"
	"strings"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/sfn/asl"
	"miniforge/internal/cloud/wire"
)

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
		return nil, &asl.Error{Name: asl.ErrTaskFailed, Cause: asl.EncodeToString(m)}
	}
	if strings.HasSuffix(e.res.pattern, ":2") {
		for _, name := range []string{"Input", "Output"} {
			if text, ok := m[name].(string); ok && json.Valid([]byte(text)) {
				m[name], _ = asl.Decode(text) // valid
			}
		}
	}
	return m, nil
}
