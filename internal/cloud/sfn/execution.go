package sfn

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/aws-sdk-go-v2/service/sfn/types"
	"github.com/google/uuid"

	"miniforge/internal/cloud/authz"
	"miniforge/internal/cloud/event"
	"miniforge/internal/cloud/sfn/asl"
	"miniforge/internal/cloud/store"
	"miniforge/internal/cloud/wire"
)

func (s *Service) registerExecutions(api *wire.API) {
	wire.Handle(api, s.StartExecution, on(func(in *sdk.StartExecutionInput) *string { return in.StateMachineArn }),
		wire.Members("StateMachineArn! 1..256", "Name 1..80", "Input 0..262144", "TraceHeader 0..256"))
	wire.Handle(api, s.StartSyncExecution, on(func(in *sdk.StartSyncExecutionInput) *string { return in.StateMachineArn }),
		wire.Members("StateMachineArn! 1..256", "Name 1..80", "Input 0..262144", "TraceHeader 0..256", "IncludedData ALL_DATA|METADATA_ONLY"))
	wire.Handle(api, s.DescribeExecution, on(func(in *sdk.DescribeExecutionInput) *string { return in.ExecutionArn }),
		wire.Members("ExecutionArn! 1..256", "IncludedData ALL_DATA|METADATA_ONLY"))
	wire.Handle(api, s.ListExecutions, on(func(in *sdk.ListExecutionsInput) *string { return in.StateMachineArn }),
		wire.Members("StateMachineArn 1..256", "StatusFilter RUNNING|SUCCEEDED|FAILED|TIMED_OUT|ABORTED|PENDING_REDRIVE",
			"MaxResults 0..1000", "NextToken 1..3096", "RedriveFilter REDRIVEN|NOT_REDRIVEN"))
	wire.Handle(api, s.GetExecutionHistory, on(func(in *sdk.GetExecutionHistoryInput) *string { return in.ExecutionArn }),
		wire.Members("ExecutionArn! 1..256", "MaxResults 0..1000", "NextToken 1..1024"))
	wire.Handle(api, s.StopExecution, on(func(in *sdk.StopExecutionInput) *string { return in.ExecutionArn }),
		wire.Members("ExecutionArn! 1..256", "Error 0..256", "Cause 0..32768"))
	wire.Handle(api, s.RedriveExecution,
		wire.Needs(func(_ *wire.Call, in *sdk.RedriveExecutionInput) []authz.Access {
			target := "*"
			if in.ExecutionArn != nil {
				target = *in.ExecutionArn
			}
			return []authz.Access{{Action: "states:RedriveExecution", Resource: target}}
		}),
		wire.Members("ExecutionArn! 1..256", "ClientToken 1..64 [!-~]+"))
}

// prepare makes the row of a new execution.
func (s *Service) prepare(tx *store.Tx, call *wire.Call, a arn, name, input, trace *string) (x execution, m *asl.Machine, err error) {
	sm, v, err := s.resolve(tx, a, s.random())
	if err != nil {
		return x, nil, err
	}
	if sm.Deleting {
		return x, nil, &types.StateMachineDeleting{Message: new("State Machine Deleting: '" + sm.ARN + "'")}
	}
	if m, err = s.parsed(tx, sm.Definition); err != nil {
		return x, nil, err
	}
	x = execution{
		Name: *name, Machine: sm.ARN, Role: sm.Role, Region: a.region, Endpoint: call.Endpoint, Definition: sm.Definition,
		Revision: sm.Revision, Updated: sm.Updated, Logging: sm.Logging, Input: *input, Start: s.now(), Express: sm.Type == "EXPRESS",
	}
	if trace != nil {
		x.Trace = *trace
	}
	if v != nil {
		x.Version = v.ARN
		if strings.IndexFunc(a.rest, notDigit) >= 0 {
			x.Alias = a.full
		}
	}
	prefix := "arn:aws:states:" + a.region + ":" + s.Account + ":"
	x.ARN = prefix + "execution:" + a.name + ":" + x.Name
	if x.Express {
		x.ARN = prefix + "express:" + a.name + ":" + x.Name + ":" + s.uuid()
	}
	return x, m, nil
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// accept checks an execution's name and input, and makes those that are absent.
func accept(name, input *string) (n, in *string, err error) {
	if input == nil {
		input = new("{}")
	}
	if name == nil {
		name = new(uuid.NewString())
	}
	if err := validName(name); err != nil {
		return nil, nil, err
	}
	if _, err := asl.Decode(*input); err != nil {
		return nil, nil, &types.InvalidExecutionInput{Message: new(fmt.Sprintf("Invalid State Machine Execution Input: '%s'", err))}
	}
	return name, input, nil
}

// StartExecution starts an execution: it is durable when this returns.
func (s *Service) StartExecution(ctx context.Context, in *sdk.StartExecutionInput) (*sdk.StartExecutionOutput, error) {
	a, err := s.parseARN(in.StateMachineArn, "stateMachine")
	if err != nil {
		return nil, err
	}
	name, input, err := accept(in.Name, in.Input)
	if err != nil {
		return nil, err
	}
	out := &sdk.StartExecutionOutput{}
	return out, s.DB.Update(ctx, func(tx *store.Tx) error {
		x, m, err := s.prepare(tx, wire.CallOf(ctx), a, name, input, in.TraceHeader)
		if err != nil {
			return err
		}
		out.ExecutionArn, out.StartDate = &x.ARN, &x.Start
		if was, ok, err := executions.Get(tx, x.ARN); err != nil || ok {
			if err == nil {
				out.StartDate, err = &was.Start, s.sameAgain(tx, &was, *input)
			}
			return err
		}
		return s.create(tx, &x, m)
	})
}

// sameAgain tells whether a start is the repetition of one that still runs.
func (s *Service) sameAgain(tx *store.Tx, was *execution, input string) error {
	p, _, err := progresses.Get(tx, was.ARN)
	if err == nil && (p.Status != running || was.Input != input) {
		err = &types.ExecutionAlreadyExists{Message: new("Execution Already Exists: '" + was.ARN + "'")}
	}
	return err
}

// create writes a new execution with its first event and first thread.
func (s *Service) create(tx *store.Tx, x *execution, m *asl.Machine) error {
	p := progress{Status: running, Last: 1, Deadline: deadline(x, m, x.Start)}
	records := []*record{{ID: 1, At: x.Start, Type: "ExecutionStarted", detail: x.started()}}
	s.remember(tx, x, records)
	t := &thread{State: m.StartAt, Phase: entering, Input: []byte(x.Input)}
	return first(
		executions.Put(tx, x.ARN, *x),
		progresses.Put(tx, x.ARN, p),
		listing.Put(tx, listingKey(x.Machine, "*", x.Start, x.Name), x.ARN),
		listing.Put(tx, listingKey(x.Machine, running, x.Start, x.Name), x.ARN),
		histories.Put(tx, historyKey(x.ARN, 1), records),
		threadRows.Put(tx, threadKey(x.ARN, ""), t),
		s.Tasks.Send(tx, event.Task{Kind: runKind, ID: x.ARN}),
	)
}

func (x *execution) started() detail {
	return detail{Input: &x.Input, Role: x.Role, Version: x.Version, Alias: x.Alias}
}

// deadline is when an execution that starts (or is redriven) at start has taken
// too long; zero is never.
func deadline(x *execution, m *asl.Machine, start time.Time) time.Time {
	limit := m.Timeout
	if x.Express && (limit == 0 || limit > maxExpress) {
		limit = maxExpress
	}
	if limit == 0 {
		return time.Time{}
	}
	return start.Add(limit)
}

// lookUp reads an execution that may be described.
func (s *Service) lookUp(tx *store.Tx, arn *string) (x execution, p progress, err error) {
	if _, err := s.parseARN(arn, "execution"); err != nil {
		return x, p, err
	}
	x, ok, err := executions.Get(tx, *arn)
	if err != nil || !ok {
		return x, p, first(err, noExecution(*arn))
	}
	p, _, err = progresses.Get(tx, *arn)
	return x, p, err
}

// DescribeExecution tells about an execution.
func (s *Service) DescribeExecution(_ context.Context, in *sdk.DescribeExecutionInput) (*sdk.DescribeExecutionOutput, error) {
	var x execution
	var p progress
	err := s.DB.View(func(tx *store.Tx) (err error) {
		x, p, err = s.lookUp(tx, in.ExecutionArn)
		return err
	})
	if err != nil {
		return nil, err
	}
	included := &types.CloudWatchEventsExecutionDataDetails{Included: true}
	out := &sdk.DescribeExecutionOutput{
		ExecutionArn: &x.ARN, StateMachineArn: &x.Machine, Name: &x.Name, Status: types.ExecutionStatus(p.Status), StartDate: &x.Start,
		Input: &x.Input, InputDetails: included, Error: p.Error, Cause: p.Cause, RedriveCount: &p.Redrives,
		StateMachineVersionArn: optional(x.Version), StateMachineAliasArn: optional(x.Alias), TraceHeader: optional(x.Trace),
	}
	if p.Output != nil {
		out.Output, out.OutputDetails = p.Output, included
	}
	if !p.Stop.IsZero() {
		out.StopDate = &p.Stop
	}
	if !p.Redriven.IsZero() {
		out.RedriveDate = &p.Redriven
	}
	out.RedriveStatus, out.RedriveStatusReason = redrivable(&x, &p, time.Now())
	if in.IncludedData == types.IncludedDataMetadataOnly {
		out.Input, out.Output = nil, nil
		out.InputDetails, out.OutputDetails = &types.CloudWatchEventsExecutionDataDetails{}, nil
	}
	return out, nil
}

// ListExecutions lists a machine's executions, newest first.
func (s *Service) ListExecutions(_ context.Context, in *sdk.ListExecutionsInput) (*sdk.ListExecutionsOutput, error) {
	if in.MapRunArn != nil {
		return nil, noResource(*in.MapRunArn)
	}
	a, err := s.parseARN(in.StateMachineArn, "stateMachine")
	if err != nil {
		return nil, err
	}
	status := "*"
	if in.StatusFilter != "" {
		status = string(in.StatusFilter)
	}
	prefix := a.machine() + "\x00" + status + "\x00"
	from, err := decodeToken(in.NextToken, prefix)
	if err != nil {
		return nil, err
	}
	end := store.PrefixEnd(prefix)
	if from != "" {
		end = from + "\x00" // the token's row is the next
	}
	out := &sdk.ListExecutionsOutput{Executions: []types.ExecutionListItem{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		m, _, err := s.resolve(tx, a, 0)
		if err != nil {
			return err
		}
		if m.Type == "EXPRESS" {
			return &types.StateMachineTypeNotSupported{Message: new("This operation is not supported by this type of state machine")}
		}
		for r, err := range listing.RangeDown(tx, prefix, end) {
			if err != nil {
				return err
			}
			if len(out.Executions) == page(in.MaxResults) {
				out.NextToken = encodeToken(r.Key)
				return nil
			}
			item, ok, err := s.listed(tx, r.Value, a, in.RedriveFilter)
			if err != nil {
				return err
			}
			if ok {
				out.Executions = append(out.Executions, item)
			}
		}
		return nil
	})
}

// listed makes the list's item, if the version or alias and the filter ask for it.
func (s *Service) listed(tx *store.Tx, execution string, a arn, filter types.ExecutionRedriveFilter) (item types.ExecutionListItem, ok bool, err error) {
	x, _, err := executions.Get(tx, execution)
	if err != nil {
		return item, false, err
	}
	p, _, err := progresses.Get(tx, execution)
	if err != nil || a.rest != "" && a.full != x.Version && a.full != x.Alias ||
		filter == types.ExecutionRedriveFilterRedriven && p.Redrives == 0 || filter == types.ExecutionRedriveFilterNotRedriven && p.Redrives > 0 {
		return item, false, err
	}
	item = types.ExecutionListItem{
		ExecutionArn: &x.ARN, Name: &x.Name, StateMachineArn: &x.Machine, StartDate: &x.Start, Status: types.ExecutionStatus(p.Status),
		StateMachineVersionArn: optional(x.Version), StateMachineAliasArn: optional(x.Alias), RedriveCount: &p.Redrives,
	}
	if !p.Stop.IsZero() {
		item.StopDate = &p.Stop
	}
	if !p.Redriven.IsZero() {
		item.RedriveDate = &p.Redriven
	}
	return item, true, nil
}

// GetExecutionHistory lists an execution's events.
func (s *Service) GetExecutionHistory(_ context.Context, in *sdk.GetExecutionHistoryInput) (*sdk.GetExecutionHistoryOutput, error) {
	data := in.IncludeExecutionData == nil || *in.IncludeExecutionData
	out := &sdk.GetExecutionHistoryOutput{Events: []types.HistoryEvent{}}
	return out, s.DB.View(func(tx *store.Tx) error {
		_, p, err := s.lookUp(tx, in.ExecutionArn)
		if err != nil {
			return err
		}
		next := int64(1)
		if in.ReverseOrder {
			next = p.Last
		}
		prefix := *in.ExecutionArn + "\x00"
		if in.NextToken != nil {
			key, err := decodeToken(in.NextToken, prefix)
			if err != nil {
				return err
			}
			if _, err := fmt.Sscanf(key[len(prefix):], "%d", &next); err != nil {
				return &types.InvalidToken{Message: new("Invalid Token: 'Invalid token'")}
			}
		}
		take := func(r *record) bool {
			if len(out.Events) == page(in.MaxResults) {
				out.NextToken = encodeToken(historyKey(*in.ExecutionArn, r.ID))
				return false
			}
			out.Events = append(out.Events, r.sdk(data))
			return true
		}
		if in.ReverseOrder {
			return eventsDown(tx, *in.ExecutionArn, next, take)
		}
		return eventsUp(tx, *in.ExecutionArn, next, take)
	})
}

// eventsUp yields the events from id on; a row holds those of one commit, the
// first may begin before id.
func eventsUp(tx *store.Tx, arn string, id int64, take func(*record) bool) error {
	from := historyKey(arn, id)
	for r, err := range histories.RangeDown(tx, arn+"\x00", from+"\x00") {
		if err != nil {
			return err
		}
		from = r.Key
		break
	}
	for row, err := range histories.Range(tx, from, arn+"\x01") {
		if err != nil {
			return err
		}
		for _, r := range row.Value {
			if r.ID >= id && !take(r) {
				return nil
			}
		}
	}
	return nil
}

// eventsDown yields the events from id down to the first.
func eventsDown(tx *store.Tx, arn string, id int64, take func(*record) bool) error {
	for row, err := range histories.RangeDown(tx, arn+"\x00", historyKey(arn, id)+"\x00") {
		if err != nil {
			return err
		}
		for _, r := range slices.Backward(row.Value) {
			if r.ID <= id && !take(r) {
				return nil
			}
		}
	}
	return nil
}
