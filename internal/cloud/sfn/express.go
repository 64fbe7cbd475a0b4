package sfn

import (
	"context"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"

	"miniforge/internal/cloud/sfn/asl"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

// Express executions leave no trace but their log: nobody can describe them.
// Started by StartExecution they run at least once, as on AWS, and are kept as
// standard ones are until they and the delivery of their log have ended.

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
	r := s.newRun(&x, progress{Status: running, Deadline: deadline(&x, m, x.Start)}, m, false)
	r.emit(nil, "ExecutionStarted", x.started())
	data, err := asl.Decode(*input)
	if err != nil {
		return nil, err // accept has read it before
	}
	r.begin(data, *input)
	if err := r.loop(ctx, nil); err != nil {
		return nil, err
	}
	if err := r.logExpress(ctx); err != nil {
		s.Log.Warn("execution log not delivered", "execution", x.ARN, "group", x.Logging.Group, "error", err)
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

// logExpress has the events of an execution that was never kept delivered.
func (r *run) logExpress(ctx context.Context) error {
	if !r.x.Logging.logsAny(r.kept) {
		return nil
	}
	return r.s.DB.Update(ctx, func(tx *store.Tx) error {
		return first(
			executions.Put(tx, r.x.ARN, *r.x),
			progresses.Put(tx, r.x.ARN, r.p),
			histories.Put(tx, historyKey(r.x.ARN, 1), r.kept),
			listing.Put(tx, listingKey(r.x.Machine, "*", r.x.Start, r.x.Name), r.x.ARN),
			r.s.sendLog(tx, r.x, r.p, r.kept),
		)
	})
}

// forget removes an express execution that has ended. If it has a log, that is
// delivered first, which then forgets it.
func (s *Service) forget(tx *store.Tx, x *execution, p *progress) error {
	if !x.Express || p.Status == running {
		return nil
	}
	return s.remove(tx, x)
}
